//! A watch that goes on by itself when its reader was too slow for a while.
//!
//! The node cancels a watch whose queue is full, so that no reader costs it memory. Nothing is lost
//! by that: history is still there, and is told again from where the reader was, in pieces, as it
//! has room. Only when history was compacted away meanwhile does the reader notice.

use crate::driver::{Handle, Watch, WatchItem};
use muslin_core::base::Revision;
use muslin_core::node::Failure;
use muslin_core::state::WatchSpec;

/// Follows changes of keys, as [`Watch`] does, and never ends with [`WatchItem::Cancelled`] while
/// the node runs. [`WatchItem::Started`] is told once.
pub(super) struct Follow {
    handle: Handle,
    spec: WatchSpec,
    watch: Watch,
    begun: Begun,
    /// Everything up to here has been told.
    told: Revision,
    /// Progress asked for and not told.
    owed: usize,
    /// How much of what is owed the present watch has not been asked for.
    unasked: usize,
}

/// How far the present watch has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begun {
    /// The first one, and it has not started.
    No,
    /// It follows one that was cancelled, and has not started. If it is cancelled as well, the node
    /// stops.
    Again,
    /// It has started.
    Yes,
}

impl Follow {
    /// Begins. The first item is [`WatchItem::Started`] or [`WatchItem::Compacted`].
    pub(super) async fn start(handle: &Handle, spec: WatchSpec) -> Result<Follow, Failure> {
        let watch = handle.watch(spec.clone()).await?;
        let told = Revision(spec.start_revision.saturating_sub(1));
        let handle = handle.clone();
        Ok(Follow { handle, spec, watch, begun: Begun::No, told, owed: 0, unasked: 0 })
    }

    /// Has a [`WatchItem::Progress`] told, after everything that happened before.
    pub(super) fn request_progress(&mut self) {
        self.owed += 1;
        self.unasked += 1;
    }

    /// Waits for the next item. Cancel safe.
    pub(super) async fn next(&mut self) -> WatchItem {
        loop {
            while self.unasked > 0 {
                self.watch.request_progress().await;
                self.unasked -= 1;
            }
            match self.watch.next().await {
                Some(WatchItem::Started { from, revision }) => {
                    let before = std::mem::replace(&mut self.begun, Begun::Yes);
                    if before == Begun::No {
                        self.told = Revision(from.0.saturating_sub(1));
                        return WatchItem::Started { from, revision };
                    }
                }
                Some(WatchItem::Events { events, revision }) => {
                    self.told = revision;
                    return WatchItem::Events { events, revision };
                }
                Some(WatchItem::Progress { revision }) => {
                    self.owed = self.owed.saturating_sub(1);
                    self.told = self.told.max(revision);
                    return WatchItem::Progress { revision };
                }
                Some(WatchItem::Compacted { compacted }) => {
                    return WatchItem::Compacted { compacted };
                }
                Some(WatchItem::Cancelled { .. }) | None => {
                    if !self.resume().await {
                        return WatchItem::Cancelled { from: self.told.next() };
                    }
                }
            }
        }
    }

    async fn resume(&mut self) -> bool {
        if self.begun != Begun::Yes {
            return false;
        }
        self.spec.start_revision = self.told.next().0;
        let Ok(watch) = self.handle.watch(self.spec.clone()).await else { return false };
        self.watch = watch;
        self.begun = Begun::Again;
        self.unasked = self.owed;
        true
    }
}
