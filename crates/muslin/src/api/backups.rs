//! Backups that leave over the network, whatever asks for them.

use super::desk::Desk;
use super::http::Leaves;
use crate::backup::{Backup, Head, Origin};
use crate::driver::Handle;
use bytes::Bytes;
use muslin_core::node::{Consistency, Failure};
use muslin_core::state::{Frozen, Query};
use std::time::Duration;
use tokio::runtime;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::time::timeout;

/// Backups under way at once, of all nodes of a process. Each holds what the state was when it
/// began, and a block or three.
const AT_ONCE: usize = 2;

static PLACES: Semaphore = Semaphore::const_new(AT_ONCE);

/// Whoever finds all places taken may ask again then.
const BUSY_FOR: Duration = Duration::from_secs(1);

static LOOKS: Semaphore = Semaphore::const_new(1);

/// Blocks that wait for their reader.
const WAITING_MAX: usize = 2;

/// A reader that takes no block for so long is given up: what it holds grows with each write.
const PATIENCE: Duration = Duration::from_secs(60);

/// One that is under way. It ends early when its reader is given up, or the node ends: whoever
/// reads checks what comes.
pub(super) struct Leaving {
    pub(super) head: Head,
    /// How many bytes there are.
    pub(super) bytes: u64,
    /// Each with how many come after it.
    pub(super) chunks: mpsc::Receiver<(Bytes, u64)>,
}

/// Begins one: with `Local` of what the node knows, with anything else of all that was acknowledged
/// before.
pub(super) async fn begin(
    desk: &Desk,
    handle: &Handle,
    consistency: Consistency,
) -> Result<Leaving, Failure> {
    let busy = Failure::Busy { retry_after: BUSY_FOR };
    let place = PLACES.try_acquire().map_err(|_| busy)?;
    if consistency != Consistency::Local {
        handle.read(Query::Revision, consistency).await?;
    }
    let frozen = handle.freeze().await?;
    let origin = Origin {
        cluster: desk.cluster,
        cluster_name: desk.facts.cluster_name.clone(),
        node: desk.id,
    };
    // Goes through all of the state.
    let made = tokio::task::spawn_blocking(move || Backup::of(&origin, frozen));
    let backup = made.await.map_err(|_| Failure::Stopping)?;
    let (sender, chunks) = mpsc::channel(WAITING_MAX);
    let (head, bytes) = (backup.head().clone(), backup.bytes());
    let runtime = runtime::Handle::current();
    let leaves = desk.ops.backup_leaves(bytes);
    tokio::task::spawn_blocking(move || write(backup, (&sender, &leaves), &runtime, place));
    Ok(Leaving { head, bytes, chunks })
}

/// Makes something of the state as it is here, which takes going through all of it. One at a time:
/// others wait.
pub(super) async fn look<T: Send + 'static>(
    handle: &Handle,
    look: impl FnOnce(Frozen) -> T + Send + 'static,
) -> Result<T, Failure> {
    let _place = LOOKS.acquire().await.map_err(|_| Failure::Stopping)?;
    let frozen = handle.freeze().await?;
    tokio::task::spawn_blocking(move || look(frozen)).await.map_err(|_| Failure::Stopping)
}

fn write(
    backup: Backup,
    (sender, leaves): (&mpsc::Sender<(Bytes, u64)>, &Leaves),
    runtime: &runtime::Handle,
    _place: SemaphorePermit<'static>,
) {
    let mut chunks = backup.chunks();
    while let Some(chunk) = chunks.next() {
        let sent = timeout(PATIENCE, sender.send((chunk, chunks.left())));
        if !matches!(runtime.block_on(sent), Ok(Ok(()))) {
            return;
        }
        leaves.left(chunks.left());
    }
}
