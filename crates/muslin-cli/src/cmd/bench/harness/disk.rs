//! What the disk can do by itself, so that an engine is judged by what it makes of that.
//!
//! The yardstick does what three logs on one disk cannot avoid, and nothing else: three files, one
//! thread each, a whole batch written and synced, at once again. It is held to the disk in the
//! pauses of the very run that it judges, since a shared disk is never the same for long.

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

/// How long the disk is measured with all files, each time.
const TOGETHER: Duration = Duration::from_millis(400);

/// And with one alone, for comparison.
const ALONE: Duration = Duration::from_millis(100);

/// What the system may still be busy with when an engine pauses: segments made ahead of need.
const SETTLE: Duration = Duration::from_millis(100);

/// Syncs a second, as measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Syncs {
    /// Of each of three files, while all are written.
    pub(crate) together: f64,
    /// Of one file, while no other is written.
    pub(crate) alone: f64,
    /// Proposals per sync of the engine's own leader, if it tells.
    pub(crate) batch: Option<f64>,
}

/// Three files on the disk, and what was measured with them so far.
pub(crate) struct Yardstick {
    writers: Vec<Arc<Writer>>,
    together: Measured,
    alone: Measured,
}

/// Syncs of one file, and in what time.
#[derive(Default)]
struct Measured {
    syncs: f64,
    time: Duration,
}

impl Yardstick {
    /// Makes the files; batches are of so many bytes.
    pub(crate) fn new(dir: &Path, batch_bytes: usize) -> io::Result<Yardstick> {
        let writer = |number| Writer::new(dir.join(format!("syncs-{number}")), batch_bytes);
        let writers: io::Result<Vec<_>> = (0..FILES).map(|n| writer(n).map(Arc::new)).collect();
        let (together, alone) = Default::default();
        Ok(Yardstick { writers: writers?, together, alone })
    }

    /// Measures once more.
    pub(crate) fn measure(&mut self) -> io::Result<()> {
        std::thread::sleep(SETTLE);
        self.together += measure(&self.writers, TOGETHER)?;
        self.alone += measure(&self.writers[..1], ALONE)?;
        Ok(())
    }

    /// What came of all measurements.
    pub(crate) fn syncs(&self) -> Syncs {
        Syncs { together: self.together.rate(), alone: self.alone.rate(), batch: None }
    }
}

impl Measured {
    fn rate(&self) -> f64 {
        self.syncs / self.time.as_secs_f64().max(1e-9)
    }
}

impl std::ops::AddAssign for Measured {
    fn add_assign(&mut self, more: Measured) {
        self.syncs += more.syncs;
        self.time += more.time;
    }
}

/// Writes to these files for so long.
fn measure(writers: &[Arc<Writer>], length: Duration) -> io::Result<Measured> {
    let stop = Arc::new(AtomicBool::new(false));
    let start = Arc::new(Barrier::new(writers.len() + 1));
    let write = |writer: &Arc<Writer>| {
        let (writer, stop, start) = (Arc::clone(writer), Arc::clone(&stop), Arc::clone(&start));
        std::thread::spawn(move || {
            start.wait();
            writer.run(&stop)
        })
    };
    let threads: Vec<_> = writers.iter().map(write).collect();
    start.wait();
    let begin = Instant::now();
    std::thread::sleep(length);
    stop.store(true, Ordering::Relaxed);
    let time = begin.elapsed();
    let mut syncs = 0;
    for thread in threads {
        syncs += thread.join().map_err(|_| io::Error::other("a thread of ours panicked"))??;
    }
    Ok(Measured { syncs: syncs as f64 / writers.len() as f64, time })
}

/// One file, removed when this value ends.
struct Writer {
    path: PathBuf,
    file: File,
    batch: Vec<u8>,
}

impl Writer {
    fn new(path: PathBuf, batch_bytes: usize) -> io::Result<Writer> {
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
        let zeros = vec![0; 1 << 20];
        for at in (0..FILE_BYTES).step_by(zeros.len()) {
            file.write_all_at(&zeros, at)?;
        }
        file.sync_all()?;
        let batch = vec![b'm'; batch_bytes.clamp(1, FILE_BYTES as usize)];
        Ok(Writer { path, file, batch })
    }

    fn run(&self, stop: &AtomicBool) -> io::Result<u64> {
        let (mut at, mut syncs) = (0, 0);
        while !stop.load(Ordering::Relaxed) {
            if at + self.batch.len() as u64 > FILE_BYTES {
                at = 0;
            }
            self.file.write_all_at(&self.batch, at)?;
            self.file.sync_data()?;
            at += self.batch.len() as u64;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measurements_add_up() {
        let mut sum = Measured { syncs: 10.0, time: Duration::from_secs(1) };
        sum += Measured { syncs: 50.0, time: Duration::from_secs(2) };
        assert_eq!(sum.rate(), 20.0);
    }
}
