//! What everyone but the driver holds of a node.

use crate::store::{DiskCounters, DiskNumbers};
use muslin_core::base::{Epoch, LeaseId, NodeId, RequestId, Revision, Term};
use muslin_core::node::{Consistency, Event, Failure, NodeStatus, Reply, Request};
use muslin_core::state::{Command, KvEvent, Outcome, Query, WatchSpec};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;
use tokio::sync::{broadcast, mpsc, oneshot};

/// Replies of a watch that may wait for their reader; one that falls further behind is cancelled,
/// and goes on from where it was.
const WATCH_QUEUE_MAX: usize = 256;

/// Events kept for those who ask what happened lately.
const EVENTS_KEPT: usize = 1_024;

/// A cheap, cloneable way to ask a node things.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

struct Shared {
    mail: mpsc::Sender<Mail>,
    next_request: AtomicU64,
    events: broadcast::Sender<Arc<EventRecord>>,
    recent: Mutex<VecDeque<Arc<EventRecord>>>,
    term: AtomicU64,
    leader: AtomicU64,
    epoch: AtomicU64,
    revision: AtomicU64,
    disk: Arc<DiskCounters>,
    kinds: Vec<String>,
}

/// A node's numbers at a glance. The driver shows them; readers ask nobody.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Gauge {
    /// The present term.
    pub term: Term,
    /// Who leads, as this node knows.
    pub leader: Option<NodeId>,
    /// The cluster's membership history.
    pub epoch: Epoch,
    /// Key-value revision applied here.
    pub revision: Revision,
}

/// Stands for "no leader is known" among the gauges; no node draws this identity.
const NOBODY: u64 = 0;

/// What reaches the driver from handles.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all mail is requests: boxing costs, and saves nothing"
)]
pub(crate) enum Mail {
    Request { id: RequestId, request: Request, reply: ReplyTo },
    Cancel(RequestId),
    Shutdown(oneshot::Sender<()>),
}

/// Where a reply goes.
pub(crate) enum ReplyTo {
    Once(oneshot::Sender<Reply>),
    Many(mpsc::Sender<Reply>),
}

/// One event with its place and wall-clock time.
#[derive(Clone, PartialEq, Debug)]
pub struct EventRecord {
    /// Numbered from 1 within this process.
    pub number: u64,
    /// When the driver carried it out.
    pub time: SystemTime,
    /// What happened.
    pub event: Event,
    /// To so many groups more the same happened within a moment.
    pub more: u64,
}

impl Handle {
    pub(crate) fn new(
        mail: mpsc::Sender<Mail>,
        disk: Arc<DiskCounters>,
        kinds: Vec<String>,
    ) -> Handle {
        let (events, _) = broadcast::channel(EVENTS_KEPT);
        let shared = Shared {
            mail,
            next_request: AtomicU64::new(1),
            events,
            recent: Mutex::new(VecDeque::with_capacity(EVENTS_KEPT)),
            term: AtomicU64::new(0),
            leader: AtomicU64::new(NOBODY),
            epoch: AtomicU64::new(0),
            revision: AtomicU64::new(0),
            disk,
            kinds,
        };
        Handle { shared: Arc::new(shared) }
    }

    /// Changes the replicated state. Settled when committed and applied on this node.
    pub async fn write(&self, command: Command) -> Result<Outcome, Failure> {
        self.outcome(Request::Write(command)).await
    }

    /// Reads the replicated state.
    pub async fn read(&self, query: Query, consistency: Consistency) -> Result<Outcome, Failure> {
        self.outcome(Request::Read { query, consistency }).await
    }

    /// Extends a lease; its granted and remaining time in milliseconds, `None` when it does not
    /// exist.
    pub async fn keep_alive(
        &self,
        lease: LeaseId,
    ) -> Result<(Option<(u64, u64)>, Revision), Failure> {
        self.lease(Request::KeepAlive(lease.0)).await
    }

    /// How long a lease has left; as [`Handle::keep_alive`], but extends nothing.
    pub async fn time_to_live(
        &self,
        lease: LeaseId,
    ) -> Result<(Option<(u64, u64)>, Revision), Failure> {
        self.lease(Request::TimeToLive(lease.0)).await
    }

    /// What the node is and knows. Never waits for other nodes.
    pub async fn status(&self) -> Result<NodeStatus, Failure> {
        match self.ask(Request::Status).await? {
            Reply::Status(status) => Ok(*status),
            other => Err(unexpected(other)),
        }
    }

    /// Kinds of groups whose state machines this node has, by name.
    pub fn group_kinds(&self) -> &[String] {
        &self.shared.kinds
    }

    /// Hands leadership to another voter.
    pub async fn transfer_leader(&self, to: NodeId) -> Result<(), Failure> {
        match self.ask(Request::TransferLeader(to)).await? {
            Reply::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// Follows changes of keys. The first item is [`WatchItem::Started`] or
    /// [`WatchItem::Compacted`].
    pub async fn watch(&self, spec: WatchSpec) -> Result<Watch, Failure> {
        let id = self.next_id();
        let (sender, receiver) = mpsc::channel(WATCH_QUEUE_MAX);
        let mail =
            Mail::Request { id, request: Request::Watch(spec), reply: ReplyTo::Many(sender) };
        self.shared.mail.send(mail).await.map_err(|_| Failure::Stopping)?;
        Ok(Watch { id, handle: self.clone(), receiver, more_due: false, ended: false })
    }

    /// Every event from now on. A receiver that lags loses the oldest and is told so.
    pub fn events(&self) -> broadcast::Receiver<Arc<EventRecord>> {
        self.shared.events.subscribe()
    }

    /// The last events, oldest first.
    pub fn recent_events(&self) -> Vec<Arc<EventRecord>> {
        self.shared.recent.lock().expect("no holder of this lock panics").iter().cloned().collect()
    }

    /// Leaves the view, hands leadership over, and stops the driver. Returns when it has stopped.
    pub async fn shutdown(&self) {
        let (sender, receiver) = oneshot::channel();
        if self.shared.mail.send(Mail::Shutdown(sender)).await.is_ok() {
            let _ = receiver.await;
        }
    }

    /// What the store counts.
    pub fn disk(&self) -> DiskNumbers {
        self.shared.disk.numbers()
    }

    /// What the driver last showed. Each number is right by itself; together they may be of two
    /// moments.
    pub fn glance(&self) -> Gauge {
        let leader = self.shared.leader.load(Ordering::Relaxed);
        Gauge {
            term: Term(self.shared.term.load(Ordering::Relaxed)),
            leader: (leader != NOBODY).then_some(NodeId(leader)),
            epoch: Epoch(self.shared.epoch.load(Ordering::Relaxed)),
            revision: Revision(self.shared.revision.load(Ordering::Relaxed)),
        }
    }

    /// For the driver: shows the numbers, at least whenever one of them has changed.
    pub(crate) fn gauge(&self, gauge: Gauge) {
        self.shared.term.store(gauge.term.0, Ordering::Relaxed);
        self.shared.leader.store(gauge.leader.map_or(NOBODY, |id| id.0), Ordering::Relaxed);
        self.shared.epoch.store(gauge.epoch.0, Ordering::Relaxed);
        self.shared.revision.store(gauge.revision.0, Ordering::Relaxed);
    }

    pub(crate) fn publish(&self, record: EventRecord) {
        let record = Arc::new(record);
        let mut recent = self.shared.recent.lock().expect("no holder of this lock panics");
        if recent.len() == EVENTS_KEPT {
            recent.pop_front();
        }
        recent.push_back(record.clone());
        drop(recent);
        let _ = self.shared.events.send(record);
    }

    fn next_id(&self) -> RequestId {
        RequestId(self.shared.next_request.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) async fn ask(&self, request: Request) -> Result<Reply, Failure> {
        let (sender, receiver) = oneshot::channel();
        let mail = Mail::Request { id: self.next_id(), request, reply: ReplyTo::Once(sender) };
        self.shared.mail.send(mail).await.map_err(|_| Failure::Stopping)?;
        match receiver.await {
            Ok(Reply::Failed(failure)) => Err(failure),
            Ok(reply) => Ok(reply),
            Err(_) => Err(Failure::Stopping),
        }
    }

    async fn outcome(&self, request: Request) -> Result<Outcome, Failure> {
        match self.ask(request).await? {
            Reply::Outcome(outcome) => Ok(outcome),
            other => Err(unexpected(other)),
        }
    }

    async fn lease(&self, request: Request) -> Result<(Option<(u64, u64)>, Revision), Failure> {
        match self.ask(request).await? {
            Reply::Lease { ttl, revision } => Ok((ttl, revision)),
            other => Err(unexpected(other)),
        }
    }
}

/// A reply of another kind than asked for is a bug of the node.
pub(super) fn unexpected(reply: Reply) -> Failure {
    debug_assert!(false, "a reply of another kind than asked for: {reply:?}");
    Failure::Stopping
}

/// Changes as they happen: complete, in order, each once (K2).
pub struct Watch {
    id: RequestId,
    handle: Handle,
    receiver: mpsc::Receiver<Reply>,
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
    /// The reader was too slow, or the node stops; the last item. Watch again from the revision
    /// after the last one told.
    Cancelled,
}

impl Watch {
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
            Some(Reply::WatchStarted { from, revision }) => WatchItem::Started { from, revision },
            Some(Reply::WatchRefused { compacted }) => WatchItem::Compacted { compacted },
            Some(Reply::WatchEvents { events, revision, behind }) => {
                self.more_due = behind;
                WatchItem::Events { events, revision }
            }
            Some(Reply::WatchProgress { revision }) => WatchItem::Progress { revision },
            Some(_) | None => WatchItem::Cancelled,
        };
        self.ended = matches!(item, WatchItem::Compacted { .. } | WatchItem::Cancelled);
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
        let _ = self.handle.shared.mail.send(mail).await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // A full mailbox only delays the end: the driver drops a watch whose reader is gone.
        let _ = self.handle.shared.mail.try_send(Mail::Cancel(self.id));
    }
}
