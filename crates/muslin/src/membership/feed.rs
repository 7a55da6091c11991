//! What subscribers read.

use tokio::sync::broadcast;

/// Kept for each reader: a cluster of a thousand members that come or go at once, for a reader that
/// is away for a moment.
pub const FEED_MAX: usize = 1_024;

/// This reader was too slow, and so many were not kept for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0} were lost, since they were not read in time; read the members again")]
pub struct Lagged(pub u64);

/// What happened since it was asked for, in order. Bounded: see [`Lagged`].
pub struct Feed<T> {
    receiver: broadcast::Receiver<T>,
}

impl<T: Clone> Feed<T> {
    pub(super) fn of(sender: &broadcast::Sender<T>) -> Feed<T> {
        Feed { receiver: sender.subscribe() }
    }

    /// The next one; `None` when the member has stopped. Nothing is lost when the future is
    /// dropped.
    pub async fn next(&mut self) -> Option<Result<T, Lagged>> {
        match self.receiver.recv().await {
            Ok(next) => Some(Ok(next)),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Err(Lagged(missed))),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }

    /// The next one, if it is there.
    pub fn try_next(&mut self) -> Option<Result<T, Lagged>> {
        match self.receiver.try_recv() {
            Ok(next) => Some(Ok(next)),
            Err(broadcast::error::TryRecvError::Lagged(missed)) => Some(Err(Lagged(missed))),
            Err(_) => None,
        }
    }
}
