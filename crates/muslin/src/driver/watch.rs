//! Changes on their way from the driver to whoever follows them.
//!
//! The driver never waits for a reader, and no reader costs it much: what waits is bounded by
//! number and by bytes, of one watch and of all. One over a bound is cancelled, what waited for it
//! is let go, and it may watch again from where its reader was: history is still there.

use super::Handle;
use super::handle::{Mail, ReplyTo};
use muslin_core::base::{RequestId, Revision};
use muslin_core::node::{Failure, Reply, Request};
use muslin_core::state::{KeyValue, KvEvent, WatchSpec};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, oneshot};

/// Replies that may wait for the reader of one watch.
const REPLIES_MAX: usize = 256;

/// Bytes of events that may wait for the reader of one watch: ten of the largest values. One reply
/// may always wait, however large it is.
const WATCH_BYTES_MAX: u64 = 16 << 20;

/// Bytes of events that may wait for the readers of all watches of a node. Each counts for every
/// watch it waits for, although they share the value: one that is compacted away is kept by the
/// last of them.
const ALL_BYTES_MAX: u64 = 128 << 20;

/// What an event takes beside its keys and values.
const EVENT_OVERHEAD: u64 = size_of::<KvEvent>() as u64;

/// Bytes that wait for the readers of all watches.
#[derive(Clone, Default)]
pub(super) struct Backlog(Arc<AtomicU64>);

impl Backlog {
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn take(&self, bytes: u64) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What waits for one reader.
struct Queue {
    backlog: Backlog,
    state: Mutex<State>,
    news: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Reply>,
    bytes: u64,
    /// One of the two ends is gone.
    is_closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // What is behind it is whole whenever it is let go.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, lets_go: bool) {
        let mut state = self.lock();
        state.is_closed = true;
        if lets_go {
            // That it began must be told first, whatever follows.
            let keeps = matches!(state.waiting.front(), Some(Reply::WatchStarted { .. }));
            state.waiting.truncate(usize::from(keeps));
            self.backlog.take(std::mem::take(&mut state.bytes));
        }
        drop(state);
        self.news.notify_one();
    }
}

/// The driver's end.
pub(crate) struct WatchSender(Arc<Queue>);

/// The reader is gone, or too slow.
pub(super) struct Cancelled;

impl WatchSender {
    pub(super) fn push(&self, reply: Reply) -> Result<(), Cancelled> {
        let weight = weight(&reply);
        let mut state = self.0.lock();
        let after = state.bytes + weight;
        let is_bearable = state.bytes == 0
            || weight == 0
            || after <= WATCH_BYTES_MAX && self.0.backlog.bytes() + weight <= ALL_BYTES_MAX;
        if state.is_closed || state.waiting.len() >= REPLIES_MAX || !is_bearable {
            drop(state);
            self.0.close(true);
            return Err(Cancelled);
        }
        state.waiting.push_back(reply);
        state.bytes = after;
        self.0.backlog.add(weight);
        drop(state);
        self.0.news.notify_one();
        Ok(())
    }
}

impl Drop for WatchSender {
    fn drop(&mut self) {
        self.0.close(false);
    }
}

/// The reader's end.
struct Receiver(Arc<Queue>);

impl Receiver {
    /// Cancel safe.
    async fn recv(&mut self) -> Option<Reply> {
        loop {
            {
                let mut state = self.0.lock();
                if let Some(reply) = state.waiting.pop_front() {
                    let weight = weight(&reply);
                    state.bytes -= weight;
                    self.0.backlog.take(weight);
                    return Some(reply);
                }
                if state.is_closed {
                    return None;
                }
            }
            self.0.news.notified().await;
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.0.close(true);
    }
}

/// What a reply holds in memory; nothing worth counting unless it tells events.
fn weight(reply: &Reply) -> u64 {
    let Reply::WatchEvents { events, .. } = reply else { return 0 };
    let pair = |kv: &KeyValue| (kv.key.len() + kv.value.len()) as u64;
    let event =
        |event: &KvEvent| EVENT_OVERHEAD + pair(&event.kv) + event.prev.as_ref().map_or(0, pair);
    events.iter().map(event).sum()
}

/// Changes as they happen: complete, in order, each once (K2).
pub struct Watch {
    id: RequestId,
    handle: Handle,
    receiver: Receiver,
    /// The first revision not told.
    next: Revision,
    /// The driver waits to hear that there is room again.
    more_due: bool,
    ended: bool,
}

/// What a watch tells.
#[derive(Clone, PartialEq, Debug)]
pub enum WatchItem {
    /// It began: every event of `from` or later will be told.
    Started {
        /// First revision that will be seen.
        from: Revision,
        /// Present revision.
        revision: Revision,
    },
    /// It cannot begin, history is gone; the last item.
    Compacted {
        /// The earliest revision that can be watched from.
        compacted: Revision,
    },
    /// Changes, whole revisions, in order.
    Events {
        /// One or more.
        events: Vec<KvEvent>,
        /// All changes up to here have been told.
        revision: Revision,
    },
    /// Nothing more happened up to here.
    Progress {
        /// All changes up to here have been told.
        revision: Revision,
    },
    /// The reader was too slow, or the node stops; the last item.
    Cancelled {
        /// Watch again from here, and nothing is missed. As asked for if it had not begun.
        from: Revision,
    },
}

impl Watch {
    /// Asks the driver for one.
    pub(super) async fn start(handle: &Handle, spec: WatchSpec) -> Result<Watch, Failure> {
        let (id, next) = (handle.next_id(), Revision(spec.start_revision));
        let (backlog, state, news) = (handle.backlog().clone(), Mutex::default(), Notify::new());
        let queue = Arc::new(Queue { backlog, state, news });
        let reply = ReplyTo::Many(WatchSender(queue.clone()));
        handle.mail(Mail::Request { id, request: Request::Watch(spec), reply }).await?;
        let (handle, receiver) = (handle.clone(), Receiver(queue));
        Ok(Watch { id, handle, receiver, next, more_due: false, ended: false })
    }

    /// Waits for the next item; `None` after the last. Cancel safe: nothing is lost when the call
    /// is dropped and made again.
    pub async fn next(&mut self) -> Option<WatchItem> {
        if self.ended {
            return None;
        }
        // Asked before the wait, never after: an item once taken must not be lost to a cancelled
        // call.
        if self.more_due {
            self.tell(Request::WatchMore { watch: self.id }).await;
            self.more_due = false;
        }
        let item = match self.receiver.recv().await {
            Some(Reply::WatchStarted { from, revision }) => {
                self.next = from;
                WatchItem::Started { from, revision }
            }
            Some(Reply::WatchRefused { compacted }) => WatchItem::Compacted { compacted },
            Some(Reply::WatchEvents { events, revision, behind }) => {
                self.more_due = behind;
                self.next = revision.next();
                WatchItem::Events { events, revision }
            }
            Some(Reply::WatchProgress { revision }) => {
                self.next = self.next.max(revision.next());
                WatchItem::Progress { revision }
            }
            Some(_) | None => WatchItem::Cancelled { from: self.next },
        };
        self.ended = matches!(item, WatchItem::Compacted { .. } | WatchItem::Cancelled { .. });
        Some(item)
    }

    /// Asks for a [`WatchItem::Progress`], told after everything that happened before.
    pub async fn request_progress(&self) {
        self.tell(Request::WatchProgress { watch: self.id }).await;
    }

    /// Says something that is answered through the watch itself, or not at all.
    async fn tell(&self, request: Request) {
        let (sender, _) = oneshot::channel();
        let reply = ReplyTo::Once(sender);
        let mail = Mail::Request { id: self.handle.next_id(), request, reply };
        let _ = self.handle.mail(mail).await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // A full mailbox only delays the end: the driver drops a watch whose reader is gone.
        self.handle.cancel(self.id);
    }
}
