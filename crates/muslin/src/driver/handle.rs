//! What everyone but the driver holds of a node.

use super::gate::{Gate, Party, is_of_view};
use super::hub::Hub;
use super::reading;
use super::watch::Watch;
use crate::store::{DiskCounters, DiskNumbers};
use bytes::Bytes;
use muslin_core::base::{Epoch, Index, LeaseId, NodeId, RequestId, Revision, Term};
use muslin_core::node::{Consistency, Event, Failure, NodeStatus, Reply, Request};
use muslin_core::state::{Asker, Command, Frozen, NodeLoad, Outcome, Query, View, WatchSpec};
use muslin_core::swim;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
#[cfg(feature = "api")]
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
#[cfg(feature = "api")]
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::coop::consume_budget;

/// Events kept for those who ask what happened lately.
const EVENTS_KEPT: usize = 1_024;

/// A cheap, cloneable way to ask a node things.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    /// On whose behalf it asks.
    asker: Asker,
}

struct Shared {
    mail: mpsc::Sender<Mail>,
    gate: Arc<Gate>,
    next_request: AtomicU64,
    events: broadcast::Sender<Arc<EventRecord>>,
    recent: Mutex<VecDeque<Arc<EventRecord>>>,
    term: AtomicU64,
    leader: AtomicU64,
    epoch: AtomicU64,
    revision: AtomicU64,
    hub: Arc<Hub>,
    /// In nanoseconds since the start, and one more: zero is never.
    fresh: AtomicU64,
    /// In nanoseconds.
    turn: AtomicU64,
    started: Instant,
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
    /// When all was last applied here that the leader had told to be committed.
    pub fresh_at: Option<Instant>,
}

impl Gauge {
    /// How old what this node has applied may be; `None` when it has heard no leader yet.
    pub fn staleness(&self) -> Option<Duration> {
        self.fresh_at.map(|at| at.elapsed())
    }
}

/// Stands for "no leader is known" among the gauges; no node draws this identity.
const NOBODY: u64 = 0;

/// What reaches the driver from handles.
pub(crate) enum Mail {
    Request { id: RequestId, asker: Asker, request: Request, reply: ReplyTo },
    View(oneshot::Sender<(Index, View)>),
    Ticket(Bytes),
    Epoch(Epoch),
    Places(BTreeMap<String, SocketAddr>),
    Report(Box<Event>),
    Shutdown(oneshot::Sender<()>),
}

/// Where a reply goes.
pub(crate) enum ReplyTo {
    Once(oneshot::Sender<Reply>),
    /// They are let in when the node has answered.
    Party(Party),
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
            gate: Arc::default(),
            next_request: AtomicU64::new(1),
            events,
            recent: Mutex::new(VecDeque::with_capacity(EVENTS_KEPT)),
            term: AtomicU64::new(0),
            leader: AtomicU64::new(NOBODY),
            epoch: AtomicU64::new(0),
            revision: AtomicU64::new(0),
            hub: Arc::default(),
            fresh: AtomicU64::new(0),
            turn: AtomicU64::new(0),
            started: Instant::now(),
            disk,
            kinds,
        };
        Handle { shared: Arc::new(shared), asker: Asker::Cluster }
    }

    /// Asks on behalf of somebody: while auth is enabled, they get what they have the right to.
    /// A handle asks on behalf of the cluster itself, which may all, until this is said.
    pub fn asking(&self, asker: Asker) -> Handle {
        Handle { shared: self.shared.clone(), asker }
    }

    /// On whose behalf it asks.
    pub fn asker(&self) -> &Asker {
        &self.asker
    }

    /// Changes the replicated state. Settled when committed and applied on this node.
    pub async fn write(&self, command: Command) -> Result<Outcome, Failure> {
        self.outcome(Request::Write(command)).await
    }

    /// Reads the replicated state.
    pub async fn read(&self, query: Query, consistency: Consistency) -> Result<Outcome, Failure> {
        if !is_of_view(&query) {
            return self.outcome(Request::Read { query, consistency }).await;
        }
        // A task that reads in a loop lets others have their turn, though it never waits.
        consume_budget().await;
        let view = self.shared.gate.enter(consistency).await?;
        reading::answer(view, &self.asker, query).await
    }

    /// Extends a lease; its granted and remaining time in milliseconds, `None` when it does not
    /// exist.
    pub async fn keep_alive(
        &self,
        lease: LeaseId,
    ) -> Result<(Option<(u64, u64)>, Revision), Failure> {
        self.lease(Request::KeepAlive(lease.0)).await
    }

    /// As [`Handle::keep_alive`], in two steps: whoever extends many asks for all, then waits.
    #[cfg(feature = "api")]
    pub(crate) async fn begin_keep_alive(&self, lease: LeaseId) -> Result<Asked, Failure> {
        self.begin(Request::KeepAlive(lease.0)).await.map(Asked)
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

    /// The last changes of the node's opinion about another one, and why each was made. Never waits
    /// for other nodes.
    pub async fn evidence(&self, node: NodeId) -> Result<Vec<swim::Transition>, Failure> {
        match self.ask(Request::Evidence(node)).await? {
            Reply::Evidence(transitions) => Ok(transitions),
            other => Err(unexpected(other)),
        }
    }

    /// Says how busy the machine is. The node adds what it runs, and tells others if it is news.
    pub async fn tell_load(&self, load: NodeLoad) -> Result<(), Failure> {
        match self.ask(Request::Load(load)).await? {
            Reply::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// Kinds of groups whose state machines this node has, by name.
    pub fn group_kinds(&self) -> &[String] {
        &self.shared.kinds
    }

    /// The state as it is here, to be written down elsewhere. Never waits for other nodes: whoever
    /// wants what others have acknowledged reads linearizably first.
    pub async fn freeze(&self) -> Result<Frozen, Failure> {
        match self.ask(Request::Freeze).await? {
            Reply::Frozen(frozen) => Ok(*frozen),
            other => Err(unexpected(other)),
        }
    }

    /// Hands leadership to another voter, whoever leads; settled when that one does.
    pub async fn transfer_leader(&self, to: NodeId) -> Result<(), Failure> {
        match self.ask(Request::TransferLeader(to)).await? {
            Reply::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// Follows changes of keys. The first item is [`Started`](super::WatchItem::Started) or
    /// [`Compacted`](super::WatchItem::Compacted).
    pub async fn watch(&self, spec: WatchSpec) -> Result<Watch, Failure> {
        Watch::start(self, spec).await
    }

    /// Every event from now on. A receiver that lags loses the oldest and is told so.
    pub fn events(&self) -> broadcast::Receiver<Arc<EventRecord>> {
        self.shared.events.subscribe()
    }

    /// The last events, oldest first.
    pub fn recent_events(&self) -> Vec<Arc<EventRecord>> {
        self.shared.recent.lock().expect("no holder of this lock panics").iter().cloned().collect()
    }

    /// Shows others this ticket from now on.
    pub async fn set_ticket(&self, ticket: Bytes) {
        // A driver that is gone shows nothing any more.
        let _ = self.shared.mail.send(Mail::Ticket(ticket)).await;
    }

    /// Speaks in this epoch from now on, if it is later than the present one.
    pub async fn set_epoch(&self, epoch: Epoch) {
        // A driver that is gone says nothing any more.
        let _ = self.shared.mail.send(Mail::Epoch(epoch)).await;
    }

    /// Tells a node with static membership where members are, by name: replaces the last list.
    /// Whether it was taken: a node that has stopped takes nothing.
    pub async fn place_members(&self, places: BTreeMap<String, SocketAddr>) -> bool {
        self.shared.mail.send(Mail::Places(places)).await.is_ok()
    }

    /// Tells, among the node's events, what the shell around it has seen.
    pub async fn report(&self, event: Event) {
        // A driver that is gone tells nothing any more.
        let _ = self.shared.mail.send(Mail::Report(Box::new(event))).await;
    }

    /// Whether the driver has ended.
    pub fn is_stopped(&self) -> bool {
        self.shared.mail.is_closed()
    }

    /// Leaves the view, hands leadership over, and stops the driver. Returns when it has stopped.
    pub async fn shutdown(&self) {
        let (sender, receiver) = oneshot::channel();
        if self.shared.mail.send(Mail::Shutdown(sender)).await.is_ok() {
            let _ = receiver.await;
        }
    }

    /// Whether the threads of the disk have ended: they count for as long as they live.
    #[cfg(test)]
    pub(super) fn is_disk_left(&self) -> bool {
        Arc::strong_count(&self.shared.disk) == 1
    }

    /// What the store counts.
    pub fn disk(&self) -> DiskNumbers {
        self.shared.disk.numbers()
    }

    /// The longest turn of the driver lately, in the last ten seconds at least: so long nobody was
    /// answered.
    pub fn longest_turn(&self) -> Duration {
        Duration::from_nanos(self.shared.turn.load(Ordering::Relaxed))
    }

    pub(crate) fn turned(&self, longest: Duration) {
        let nanos = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        self.shared.turn.store(nanos, Ordering::Relaxed);
    }

    /// Bytes of changes that are kept for the readers of watches, of all together.
    pub fn watch_ring_bytes(&self) -> usize {
        self.shared.hub.bytes()
    }

    /// What the driver last showed. Each number is right by itself; together they may be of two
    /// moments.
    pub fn glance(&self) -> Gauge {
        let leader = self.shared.leader.load(Ordering::Relaxed);
        let fresh = self.shared.fresh.load(Ordering::Relaxed).checked_sub(1);
        Gauge {
            fresh_at: fresh.map(|at| self.shared.started + Duration::from_nanos(at)),
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
        let fresh = gauge.fresh_at.map(|at| at.saturating_duration_since(self.shared.started));
        let fresh = fresh.map_or(0, |at| u64::try_from(at.as_nanos()).unwrap_or(u64::MAX - 1) + 1);
        self.shared.fresh.store(fresh, Ordering::Relaxed);
    }

    /// When the node started: its own clock counts from here.
    pub(crate) fn started(&self) -> Instant {
        self.shared.started
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

    pub(super) fn gate(&self) -> Arc<Gate> {
        self.shared.gate.clone()
    }

    /// What is told to watches.
    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.shared.hub
    }

    pub(super) async fn mail(&self, mail: Mail) -> Result<(), Failure> {
        self.shared.mail.send(mail).await.map_err(|_| Failure::Stopping)
    }

    pub(super) fn next_id(&self) -> RequestId {
        RequestId(self.shared.next_request.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) async fn ask(&self, request: Request) -> Result<Reply, Failure> {
        settled(self.begin(request).await?.await)
    }

    async fn begin(&self, request: Request) -> Result<oneshot::Receiver<Reply>, Failure> {
        let (sender, receiver) = oneshot::channel();
        let (id, asker) = (self.next_id(), self.asker.clone());
        let reply = ReplyTo::Once(sender);
        self.mail(Mail::Request { id, asker, request, reply }).await?;
        Ok(receiver)
    }

    async fn outcome(&self, request: Request) -> Result<Outcome, Failure> {
        match self.ask(request).await? {
            Reply::Outcome(outcome) => Ok(outcome),
            other => Err(unexpected(other)),
        }
    }

    async fn lease(&self, request: Request) -> Result<(Option<(u64, u64)>, Revision), Failure> {
        kept(self.ask(request).await?)
    }
}

/// The granted and remaining time of a lease in milliseconds, `None` when it does not exist, and
/// the present revision.
pub(crate) type Kept = (Option<(u64, u64)>, Revision);

/// A lease's answer that is on its way. Cancel safe.
#[cfg(feature = "api")]
pub(crate) struct Asked(oneshot::Receiver<Reply>);

#[cfg(feature = "api")]
impl Future for Asked {
    type Output = Result<Kept, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|reply| kept(settled(reply)?))
    }
}

fn settled(reply: Result<Reply, oneshot::error::RecvError>) -> Result<Reply, Failure> {
    match reply {
        Ok(Reply::Failed(failure)) => Err(failure),
        Ok(reply) => Ok(reply),
        Err(_) => Err(Failure::Stopping),
    }
}

fn kept(reply: Reply) -> Result<Kept, Failure> {
    match reply {
        Reply::Lease { ttl, revision } => Ok((ttl, revision)),
        other => Err(unexpected(other)),
    }
}

/// A reply of another kind than asked for is a bug of the node.
pub(super) fn unexpected(reply: Reply) -> Failure {
    debug_assert!(false, "a reply of another kind than asked for: {reply:?}");
    Failure::Stopping
}
