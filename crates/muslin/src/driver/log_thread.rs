//! The one thread that writes: whatever came during the last sync goes out with the next.

use crate::store::{Store, StoreError};
use muslin_core::base::{GroupId, Index, PersistId};
use muslin_core::raft::Write;
use std::sync::mpsc;
use std::thread::JoinHandle;
use tokio::sync::mpsc as async_mpsc;

/// One write on its way to the disk.
pub(super) struct Job {
    pub(super) group: GroupId,
    pub(super) done: Done,
    pub(super) write: Write,
}

/// What a job makes true.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Done {
    /// This write, and every one of its group before it, is durable.
    Persisted(PersistId),
    /// The snapshot that ends here is saved.
    Saved(Index),
}

/// What the thread reports: writes that became durable, in order, or why it stopped.
pub(super) type Report = Result<Vec<(GroupId, Done)>, StoreError>;

/// Most writes carried out with one sync, so that a report is never long in coming.
const BATCH_MAX: usize = 4_096;

/// Starts the thread. It ends when `jobs` is dropped, or after its first error.
pub(super) fn start(
    mut store: Box<dyn Store>,
    reports: async_mpsc::UnboundedSender<Report>,
) -> std::io::Result<(mpsc::Sender<Job>, JoinHandle<()>)> {
    let (sender, jobs) = mpsc::channel::<Job>();
    let thread = std::thread::Builder::new().name("muslin-log".into()).spawn(move || {
        let mut batch = Vec::new();
        let mut done = Vec::new();
        while let Ok(first) = jobs.recv() {
            for job in std::iter::once(first).chain(jobs.try_iter()).take(BATCH_MAX) {
                done.push((job.group, job.done));
                batch.push((job.group, job.write));
            }
            let result = store.write(&batch).map(|()| std::mem::take(&mut done));
            batch.clear();
            let has_failed = result.is_err();
            // Nobody listens any more: the driver has stopped, and so does this.
            if reports.send(result).is_err() || has_failed {
                return;
            }
        }
    })?;
    Ok((sender, thread))
}
