//! A log as durable as ours and as plain as can be: one file written ahead of time, one write and
//! one sync per batch, nothing else. No checksums, no segments, no recovery: what an engine loses
//! against us it does not lose here.

use crate::harness::mailbox::Mailbox;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Written in full beforehand, then over and over: a sync has no metadata to write.
const FILE_BYTES: u64 = 64 << 20;

/// Bytes of one piece while the file is made.
const PIECE_BYTES: usize = 1 << 20;

/// What a record has besides its payload: as much as one of ours.
const RECORD_HEADER: [u8; 40] = [0; 40];

/// Puts a record behind those of the batch.
pub(crate) fn encode(batch: &mut Vec<u8>, payload: &[u8]) {
    batch.extend_from_slice(&RECORD_HEADER);
    batch.extend_from_slice(payload);
}

/// Tells the engine that a batch, and all before it, is on the disk.
pub(crate) type Done = Box<dyn FnOnce() + Send>;

/// Records on their way to the disk; `None` ends the thread.
type Job = Option<(Vec<u8>, Done)>;

/// A log and its thread, which ends with this value.
pub(crate) struct LogFile {
    jobs: Arc<Mailbox<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl LogFile {
    /// Makes the file and starts the thread.
    pub(crate) fn start(path: &Path) -> io::Result<LogFile> {
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
        let zeros = vec![0; PIECE_BYTES];
        for at in (0..FILE_BYTES).step_by(PIECE_BYTES) {
            file.write_all_at(&zeros, at)?;
        }
        file.sync_all()?;
        let jobs: Arc<Mailbox<Job>> = Arc::default();
        let mail = Arc::clone(&jobs);
        let thread = std::thread::Builder::new().name("log".into()).spawn(move || {
            if let Err(error) = write(&file, &mail) {
                eprintln!("the log ends: {error}");
            }
        })?;
        Ok(LogFile { jobs, thread: Some(thread) })
    }

    /// Writes these records behind all given before, then calls `done`.
    pub(crate) fn append(&self, records: Vec<u8>, done: Done) {
        self.jobs.push(Some((records, done)));
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        self.jobs.push(None);
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed; the run without it fails by itself.
            let _ = thread.join();
        }
    }
}

/// Whatever came during the last sync goes out with the next.
fn write(file: &File, jobs: &Mailbox<Job>) -> io::Result<()> {
    let (mut mail, mut batch, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
    let mut at = 0;
    loop {
        jobs.take(&mut mail, None);
        for job in mail.drain(..) {
            let Some((records, done)) = job else { return Ok(()) };
            batch.extend_from_slice(&records);
            waiting.push(done);
        }
        if at + batch.len() as u64 > FILE_BYTES {
            at = 0;
        }
        file.write_all_at(&batch, at)?;
        file.sync_data()?;
        at += batch.len() as u64;
        batch.clear();
        waiting.drain(..).for_each(|done| done());
    }
}
