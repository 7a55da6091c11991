//! The loop.

use super::crowd::{Crowd, Gathered};
use super::gate::Porter;
use super::handle::{EventRecord, Gauge, Handle, Mail, ReplyTo};
use super::held::Held;
use super::hub::{Teller, pump};
use super::inboxes::{Inboxes, Pauses, Reports};
use super::log_thread::{self, Desk, Report, Save};
use super::turns::Turns;
use crate::looks::{GATHER_MAX, Looks, STOPPED};
use crate::store::{RecoveredGroup, Store, StoreError};
use crate::transport::{Incoming, Transport};
use bytes::Bytes;
use muslin_core::base::{GroupId, Index, Machine, NodeId, Now, Outputs, RequestId};
use muslin_core::groups;
use muslin_core::node::{
    Consistency, Event, Failure, Input, Node, Options, Output, PeerMessage, Recovered, Reply,
    Request,
};
use muslin_core::raft::{self, DiskRoom};
use muslin_core::state::{Asker, Proposal, Query};
use muslin_core::wire;
use prost::Message as _;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot};

/// Requests that wait for the driver; further callers wait for room.
const MAIL_MAX: usize = 16_384;

/// What may wait for the disk before writes are refused.
const DISK_QUEUE_BYTES_MAX: u64 = 64 << 20;

/// When whoever was refused for that should come again: a disk of 100 MB/s has written a third of
/// it by then.
const DISK_BUSY_RETRY: Duration = Duration::from_millis(250);

/// How often the node is told the wall clock, which the operating system may have set right since.
const CLOCK_EVERY: Duration = Duration::from_secs(60);

/// How long a stopping node goes on, so that its good-bye and a leader's successor get out.
const STOPPING_TIME: Duration = Duration::from_millis(500);

/// Why a driver ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk has lost what it promised, and nobody else has it.
    #[error(
        "this node's disk has lost what it had acknowledged, and it votes alone: no other node has \
         the data or can take its vote away; restore the data directory from a backup"
    )]
    RebuildImpossible,
    /// This replica and its leader have committed different things.
    #[error(
        "what is committed here differs from what {} committed, from entry {at} on: the disk of \
         some node was set back to an earlier time, perhaps by a copy of its directory put in \
         place alone; keep this directory, find out which of them is right, and replace the other",
        group_words(*.group)
    )]
    Diverged {
        /// Whose log.
        group: GroupId,
        /// The first entry that differs.
        at: Index,
    },
    /// The system gave no thread.
    #[error("cannot start the log thread: {0}")]
    Thread(std::io::Error),
}

/// What a driver is made of.
pub struct Driver {
    /// Who the node is and how it behaves.
    pub options: Options,
    /// Keeps what must not be lost; recovered here.
    pub store: Box<dyn Store>,
    /// Reaches the peers.
    pub transport: Arc<dyn Transport>,
    /// What the transport hands up.
    pub incoming: mpsc::Receiver<Incoming>,
    /// Addresses where members may be, as they become known.
    pub contacts: mpsc::Receiver<Vec<SocketAddr>>,
    /// Seed of the node's generator.
    pub seed: u64,
}

/// Recovers the node and starts its loop. The returned task ends after [`Handle::shutdown`], or
/// with the error that makes going on unsafe; a panic in it must stop the process as well.
pub fn start(
    driver: Driver,
) -> Result<(Handle, tokio::task::JoinHandle<Result<(), DriverError>>), DriverError> {
    let Driver { options, mut store, transport, incoming, contacts, seed } = driver;
    let mut groups = store.recover()?;
    let damages = damages(&groups);
    let control = groups.remove(&GroupId::CONTROL).unwrap_or_default();
    if control.torn_bytes > 0 {
        tracing::warn!(bytes = control.torn_bytes, "cut a torn tail that was never acknowledged");
    }
    let recovered = Recovered {
        raft: control.raft,
        snapshot: control.snapshot.map(|snapshot| snapshot.data),
        groups: groups.into_iter().map(|(id, group)| (id, recovered_group(group))).collect(),
    };
    let (mail_sender, mail) = mpsc::channel(MAIL_MAX);
    let (reports_sender, reports) = mpsc::unbounded_channel();
    let held = Arc::new(Held::new(transport.clone()));
    let disk = log_thread::start(store, reports_sender, held.clone());
    let disk = disk.map_err(DriverError::Thread)?;
    let kinds = options.groups.machines.names().map(String::from).collect();
    let handle = Handle::new(mail_sender, disk.counters(), kinds);
    let mut run = Run {
        started: handle.started(),
        node: Node::new(options, recovered, seed, Now::START),
        out: Outputs::new(),
        transport,
        disk,
        porter: Porter::of(handle.gate()),
        handle: handle.clone(),
        replies: Replies::default(),
        held,
        held_from: Index::ZERO,
        next_event: 1,
        crowd: Crowd::default(),
        turns: Turns::new(handle.started()),
        clock_told: None,
        stopping: None,
        failure: None,
        _teller: Teller(handle.hub().clone()),
    };
    tokio::spawn(pump(handle.hub().clone()));
    for what in damages {
        run.report(Event::DiskDamaged { what });
    }
    let inboxes = Inboxes { mail, incoming, contacts, reports, pauses: Pauses::default() };
    let task = tokio::spawn(run.run(inboxes));
    Ok((handle, task))
}

/// Why a node to which this happened must not go on.
fn failure_of(event: &Event) -> Option<DriverError> {
    let (group, event) = match event {
        Event::Raft { group, event } => (*group, event),
        Event::Groups(groups::Event::Raft { group, event }) => (*group, event),
        _ => return None,
    };
    match event {
        raft::Event::RebuildImpossible if group == GroupId::CONTROL => {
            Some(DriverError::RebuildImpossible)
        }
        raft::Event::Diverged { at } => Some(DriverError::Diverged { group, at: *at }),
        _ => None,
    }
}

fn group_words(group: GroupId) -> String {
    match group {
        GroupId::CONTROL => String::from("the cluster"),
        other => format!("the replicas of group {other}"),
    }
}

fn recovered_group(group: RecoveredGroup) -> groups::Recovered {
    groups::Recovered { raft: group.raft, snapshot: group.snapshot.map(|snapshot| snapshot.data) }
}

/// Each thing that is wrong with the disk, once, as a person is told.
fn damages(groups: &BTreeMap<GroupId, RecoveredGroup>) -> BTreeSet<String> {
    let found = groups.values().filter_map(|group| group.damage.as_ref());
    let told: BTreeSet<String> = found
        .map(|damage| {
            format!(
                "{damage}; the damaged files are kept in `damaged`, and what they held is fetched \
                 from the other nodes"
            )
        })
        .collect();
    told.iter().for_each(|what| tracing::warn!("{what}"));
    told
}

struct Run {
    started: Instant,
    node: Node,
    out: Outputs<Output>,
    transport: Arc<dyn Transport>,
    disk: Desk,
    handle: Handle,
    replies: Replies,
    held: Arc<Held>,
    /// Where the log of the control group begins in memory, as the disk was told.
    held_from: Index,
    porter: Porter,
    next_event: u64,
    crowd: Crowd,
    turns: Turns,
    /// When the node was last told the wall clock.
    clock_told: Option<Instant>,
    stopping: Option<Stopping>,
    /// Why it must not go on.
    failure: Option<DriverError>,
    /// Watches end with it.
    _teller: Teller,
}

/// What a turn began with.
enum First {
    Report(Report),
    Incoming(Incoming),
    Mail(Mail),
    Contacts(Vec<SocketAddr>),
    /// Somebody waits at the gate.
    Readers,
    Timer,
}

impl First {
    /// Whether more of its kind is likely to be about to come: not in a node at rest, which would
    /// pause for nothing.
    fn may_have_company(&self) -> bool {
        match self {
            First::Report(_) | First::Mail(_) | First::Readers => true,
            First::Incoming(incoming) => matches!(incoming, Incoming::Message { .. }),
            First::Contacts(_) | First::Timer => false,
        }
    }
}

/// Who waits for a reply.
type Replies = HashMap<RequestId, ReplyTo, BuildHasherDefault<Spread>>;

/// Requests are numbered here, one after the other: nobody can choose numbers that collide.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn write_u64(&mut self, number: u64) {
        // The bits that tell neighbours apart are wanted at both ends.
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

struct Stopping {
    until: Instant,
    waiters: Vec<oneshot::Sender<()>>,
}

/// Whether it makes something to be written to the disk.
fn is_write(request: &Request) -> bool {
    matches!(request, Request::Write(_) | Request::Group { ask: groups::Ask::Propose(_), .. })
}

impl Run {
    /// Tells the node the wall clock, which it counts on from by itself until it is told again.
    fn tell_time(&mut self) {
        let is_due = self.clock_told.is_none_or(|told| told.elapsed() >= CLOCK_EVERY);
        if !is_due {
            return;
        }
        self.clock_told = Some(Instant::now());
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        self.step(Input::Clock(unix_ms));
    }

    async fn run(mut self, mut inboxes: Inboxes) -> Result<(), DriverError> {
        self.flush();
        let mut timer = pin!(tokio::time::sleep_until(self.deadline().into()));
        let gate = self.porter.gate();
        loop {
            self.tell_time();
            let wake = self.deadline();
            if timer.deadline() != wake.into() {
                timer.as_mut().reset(wake.into());
            }
            let first = tokio::select! {
                biased;
                Some(report) = inboxes.reports.recv() => First::Report(report),
                Some(incoming) = inboxes.incoming.recv() => First::Incoming(incoming),
                Some(mail) = inboxes.mail.recv() => First::Mail(mail),
                Some(contacts) = inboxes.contacts.recv() => First::Contacts(contacts),
                () = gate.called() => First::Readers,
                () = &mut timer => First::Timer,
            };
            if first.may_have_company() {
                inboxes.fill().await;
            }
            self.turns.begin(Instant::now());
            match first {
                First::Report(report) => self.on_report(report)?,
                First::Incoming(incoming) => self.on_incoming(incoming, &mut inboxes.reports)?,
                First::Mail(mail) => self.on_mail(mail),
                First::Contacts(contacts) => self.step(Input::Contacts(contacts)),
                First::Readers | First::Timer => {}
            }
            let was_stopped = wake + STOPPED <= Instant::now();
            let taken = self.gather(&mut inboxes)?;
            // What came in is known before a timer may conclude that nothing came.
            if was_stopped || taken == GATHER_MAX {
                self.catch_up(&mut inboxes, was_stopped).await?;
            }
            if self.deadline() <= Instant::now() {
                self.step(Input::Tick);
            }
            self.flush();
            if let Some(longest) = self.turns.end(Instant::now()) {
                self.handle.turned(longest);
            }
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
            if self.stopping.as_ref().is_some_and(|stopping| stopping.until <= Instant::now()) {
                return self.stop().await;
            }
        }
    }

    /// Reads all that has come in while this process did nothing, before it judges anybody for
    /// being silent.
    async fn catch_up(
        &mut self,
        inboxes: &mut Inboxes,
        was_stopped: bool,
    ) -> Result<(), DriverError> {
        let mut looks = Looks::new(was_stopped);
        loop {
            let taken = self.gather(inboxes)?;
            if !looks.again(taken).await {
                return Ok(());
            }
        }
    }

    /// Takes what else waits, without waiting; how much of it peers sent.
    fn gather(&mut self, inboxes: &mut Inboxes) -> Result<usize, DriverError> {
        self.on_reports(&mut inboxes.reports)?;
        let mut taken = 0;
        while taken < GATHER_MAX
            && let Ok(incoming) = inboxes.incoming.try_recv()
        {
            self.on_incoming(incoming, &mut inboxes.reports)?;
            taken += 1;
        }
        for _ in 0..GATHER_MAX {
            let Ok(mail) = inboxes.mail.try_recv() else { break };
            self.on_mail(mail);
        }
        self.ask_for_readers();
        Ok(taken)
    }

    /// All who wait at the gate are one question: whether the state is as fresh as they want it.
    fn ask_for_readers(&mut self) {
        for consistency in [Consistency::Linearizable, Consistency::Lease] {
            let Some(party) = self.porter.take(consistency) else { continue };
            let (id, query) = (self.handle.next_id(), Query::Revision);
            self.replies.insert(id, ReplyTo::Party(party));
            let request = Request::Read { query, consistency };
            self.step(Input::Request { id, asker: Asker::Cluster, request });
        }
    }

    /// What the disk reported comes first: a message may answer one that left behind a write.
    fn on_incoming(
        &mut self,
        incoming: Incoming,
        reports: &mut Reports,
    ) -> Result<(), DriverError> {
        self.on_reports(reports)?;
        match incoming {
            Incoming::Datagram { from, bytes } => self.step(Input::Datagram { from, bytes }),
            Incoming::Message { from, bytes } => match wire::decode_peer(bytes) {
                Ok(PeerMessage::Propose(proposals)) if self.is_disk_busy() => {
                    self.refuse(from, proposals);
                }
                Ok(message) => self.step(Input::Peer { from, message }),
                Err(error) => tracing::debug!(%from, %error, "dropped an unreadable message"),
            },
        }
        Ok(())
    }

    /// More waits for the disk than memory should hold: a leader whose disk is slower than those of
    /// a quorum commits without it, and would queue without end.
    fn is_disk_busy(&self) -> bool {
        self.disk.waiting_bytes() > DISK_QUEUE_BYTES_MAX
    }

    /// The sender tries again in a while.
    fn refuse(&self, from: NodeId, proposals: Vec<Bytes>) {
        let decoded = proposals.into_iter().filter_map(|bytes| Proposal::decode(bytes).ok());
        let sequences = decoded.map(|proposal| proposal.sequence).collect();
        let leader = self.node.raft().leader();
        let message = PeerMessage::ProposeRefused { sequences, leader, busy: true, full: false };
        self.transport.send(from, wire::encode_peer(&message));
    }

    fn on_mail(&mut self, mail: Mail) {
        match mail {
            Mail::Request { id, asker, request, reply } => {
                self.replies.insert(id, reply);
                if self.is_disk_busy() && is_write(&request) {
                    let failure = Failure::Busy { retry_after: DISK_BUSY_RETRY };
                    return self.reply(id, Reply::Failed(failure));
                }
                self.step(Input::Request { id, asker, request });
            }
            Mail::View(sender) => {
                // A reader that went away is no error.
                let _ = sender.send(self.node.state_view());
            }
            Mail::Ticket(ticket) => self.step(Input::Ticket(ticket)),
            Mail::Epoch(epoch) => self.step(Input::Epoch(epoch)),
            Mail::Places(places) => self.step(Input::Places(places)),
            Mail::Report(event) => self.report(*event),
            Mail::Shutdown(done) => {
                let until = Instant::now() + STOPPING_TIME;
                let stopping = Stopping { until, waiters: Vec::new() };
                let is_first = self.stopping.is_none();
                self.stopping.get_or_insert(stopping).waiters.push(done);
                if is_first {
                    self.step(Input::Shutdown);
                }
            }
        }
    }

    fn on_reports(&mut self, reports: &mut Reports) -> Result<(), DriverError> {
        while let Ok(report) = reports.try_recv() {
            self.on_report(report)?;
        }
        Ok(())
    }

    fn on_report(&mut self, report: Report) -> Result<(), DriverError> {
        match report {
            Report::Durable(ids) => {
                for (group, id) in ids {
                    self.step(Input::Persisted { group, id });
                }
            }
            Report::Saved { group, index } => self.step(Input::Saved { group, index }),
            Report::Wanted(group) => self.step(Input::SnapshotLost(group)),
            Report::Room(room) => {
                match room {
                    DiskRoom::Full => tracing::warn!("the disk is full: no writes until it is not"),
                    DiskRoom::Room => tracing::info!("the disk has room again"),
                }
                self.step(Input::Disk(room));
            }
            Report::Damaged(damage, snapshot_of) => {
                let cure = match snapshot_of {
                    None => {
                        "its entries are written again from memory, or a snapshot takes their place"
                    }
                    Some(_) => "a snapshot of the present state is taken to replace it",
                };
                tracing::warn!(%damage, "{cure}");
                self.report(Event::DiskDamaged { what: format!("{damage}; {cure}") });
                if let Some(group) = snapshot_of {
                    self.step(Input::SnapshotLost(group));
                }
            }
            Report::Failed(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn step(&mut self, input: Input) {
        self.porter.hide();
        let now = self.now();
        self.node.handle(now, input, &mut self.out);
        self.carry_out();
    }

    fn flush(&mut self) {
        if self.handle.hub().is_left() {
            self.step(Input::Unwatched);
        }
        self.step(Input::Flush);
        if let Some(told) = self.crowd.due(Instant::now()) {
            self.publish(told);
        }
        let fresh_at = self.node.fresh_at(self.now());
        self.handle.gauge(Gauge {
            fresh_at: fresh_at.map(|at| self.started + Duration::from_nanos(at.0)),
            term: self.node.raft().term(),
            leader: self.node.raft().leader(),
            epoch: self.node.epoch(),
            revision: self.node.state().revision(),
        });
        self.porter.show(|| self.node.state_view().1);
        let first = self.node.raft().first_index();
        if first > self.held_from {
            self.held_from = first;
            self.disk.let_go(GroupId::CONTROL, first);
        }
    }

    fn carry_out(&mut self) {
        let mut out = std::mem::take(&mut self.out);
        for output in out.drain() {
            match output {
                Output::Persist { group, id, write } => self.disk.write(group, id, write),
                Output::Save { group, snapshot, keep_from } => {
                    self.disk.save(Save { group, snapshot, keep_from });
                }
                Output::Hold(bytes) => self.disk.hold(bytes),
                Output::Send { to, after, message } => {
                    let message = wire::encode_peer(&message);
                    match after {
                        None => self.transport.send(to, message),
                        Some(after) => self.held.send(to, after, message),
                    }
                }
                Output::Datagram { to, bytes } => self.transport.datagram(to, bytes),
                Output::Changes(changes) => self.handle.hub().push(changes),
                Output::Reply { id, reply } => self.reply(id, reply),
                Output::Route { node, address } => self.transport.route(node, address),
                Output::Unroute(node) => self.transport.unroute(node),
                Output::Report(Event::Groups(event)) if event.is_detail() => {
                    tracing::debug!(?event);
                }
                Output::Report(event) => {
                    if let Some(failure) = failure_of(&event) {
                        self.failure.get_or_insert(failure);
                    }
                    self.report(event);
                }
            }
        }
        self.out = out;
    }

    fn report(&mut self, event: Event) {
        tracing::debug!(?event);
        if let Some(event) = self.crowd.take(event, Instant::now()) {
            self.publish(Gathered { event, time: SystemTime::now(), more: 0 });
        }
    }

    fn publish(&mut self, told: Gathered) {
        let Gathered { event, time, more } = told;
        self.handle.publish(EventRecord { number: self.next_event, time, event, more });
        self.next_event += 1;
    }

    fn reply(&mut self, id: RequestId, reply: Reply) {
        match self.replies.remove(&id) {
            // A caller that went away is no error.
            Some(ReplyTo::Once(sender)) => drop(sender.send(reply)),
            Some(ReplyTo::Party(party)) => party.answer(match reply {
                Reply::Failed(failure) => Err(failure),
                _ => Ok(Arc::new(self.node.state_view().1)),
            }),
            None => {}
        }
    }

    async fn stop(mut self) -> Result<(), DriverError> {
        self.node.abandon(&mut self.out);
        self.carry_out();
        self.transport.close().await;
        for waiter in self.stopping.into_iter().flat_map(|stopping| stopping.waiters) {
            let _ = waiter.send(());
        }
        Ok(())
    }

    fn deadline(&self) -> Instant {
        let stop = self.stopping.as_ref().map(|stopping| stopping.until);
        let node = self.node.deadline().map(|(at, _)| self.started + Duration::from_nanos(at.0));
        let idle = || Instant::now() + Duration::from_secs(60);
        [stop, node, self.crowd.until()].into_iter().flatten().min().unwrap_or_else(idle)
    }

    fn now(&self) -> Now {
        Now(u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}
