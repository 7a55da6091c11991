//! What the disk can do by itself, so that an engine is judged by what it makes of that.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

/// Files written at the same time: one per replica.
const FILES: usize = 3;

/// Length of each file, written in full beforehand: a sync then has no metadata to write.
const FILE_BYTES: u64 = 32 << 20;

/// How long the disk is measured.
const LENGTH: Duration = Duration::from_millis(1_000);

/// Syncs a second of one file, while three are written in batches of so many bytes with a sync
/// after each, as three logs would be.
pub(crate) fn syncs_per_second(dir: &Path, batch_bytes: usize) -> io::Result<f64> {
    let stop = Arc::new(AtomicBool::new(false));
    let start = Arc::new(Barrier::new(FILES + 1));
    let write = |number: usize| {
        let (stop, start) = (Arc::clone(&stop), Arc::clone(&start));
        let path = dir.join(format!("syncs-{number}"));
        std::thread::spawn(move || {
            let answer = Writer::new(path);
            start.wait();
            answer?.run(batch_bytes, &stop)
        })
    };
    let threads: Vec<_> = (0..FILES).map(write).collect();
    start.wait();
    let begin = Instant::now();
    std::thread::sleep(LENGTH);
    stop.store(true, Ordering::Relaxed);
    let mut syncs = 0;
    for thread in threads {
        syncs += thread.join().map_err(|_| io::Error::other("a thread of ours panicked"))??;
    }
    Ok(syncs as f64 / FILES as f64 / begin.elapsed().as_secs_f64())
}

/// One file, removed when this value ends.
struct Writer {
    path: PathBuf,
    file: File,
}

impl Writer {
    fn new(path: PathBuf) -> io::Result<Writer> {
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
        let zeros = vec![0; 1 << 20];
        for at in (0..FILE_BYTES).step_by(zeros.len()) {
            file.write_all_at(&zeros, at)?;
        }
        file.sync_all()?;
        Ok(Writer { path, file })
    }

    fn run(&self, batch_bytes: usize, stop: &AtomicBool) -> io::Result<u64> {
        let batch = vec![b'm'; batch_bytes.clamp(1, FILE_BYTES as usize)];
        let (mut at, mut syncs) = (0, 0);
        while !stop.load(Ordering::Relaxed) {
            if at + batch.len() as u64 > FILE_BYTES {
                at = 0;
            }
            self.file.write_all_at(&batch, at)?;
            self.file.sync_data()?;
            at += batch.len() as u64;
            syncs += 1;
        }
        Ok(syncs)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // What is left of it lies in a directory that goes too.
        let _ = std::fs::remove_file(&self.path);
    }
}
