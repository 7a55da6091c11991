//! The replica: its state, what it is asked from outside, and how inputs find their handler.

use super::arriving::Arriving;
use super::changes::Configurations;
use super::durability::Disk;
use super::follower::Acknowledged;
use super::log::Log;
use super::progress::{Leading, Peer};
use super::reads::{Asking, Rounds};
use super::rebuild::Rebuild;
use super::room::Reserve;
use super::snapshots::Outgoing;
use super::tail::Tail;
use super::{
    Bound, Configuration, DiskRoom, Drive, Event, HardState, Input, Options, Output, Readers,
    RebuildId, Recovered, Role, SnapshotMeta,
};
use crate::base::mutant::{self, Mutant};
use crate::base::{Index, LogId, Machine, NodeId, Now, Outputs, PersistId, Prng, Term, Wake};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

/// Election time-out of a group that never had a leader and of a replica that has just started,
/// lower bound: long enough for peers that start together to have connected.
const STARTING_TIMEOUT_MIN: Duration = Duration::from_millis(20);

/// Upper bound of the same: a group of three has a leader well within 0.3 s.
const STARTING_TIMEOUT_MAX: Duration = Duration::from_millis(120);

/// So often a replica that has just started asks for pre-votes that soon. While a leader is in
/// office they are refused; where all started together, nobody waits for a leader that is gone.
const STARTING_CAMPAIGNS: u32 = 4;

/// One replica of one group. See the [module](super) for what it does and promises.
#[derive(Clone, Debug)]
pub struct Raft {
    pub(super) id: NodeId,
    pub(super) options: Options,
    pub(super) prng: Prng,
    pub(super) now: Now,
    pub(super) term: Term,
    pub(super) vote: Option<NodeId>,
    pub(super) part: Part,
    /// The leader of the present term, if known; this replica itself when it leads.
    pub(super) leader: Option<NodeId>,
    /// When the leader was last heard.
    pub(super) heard: Option<Now>,
    /// When to campaign if no leader is heard.
    pub(super) election_due: Now,
    pub(super) log: Log,
    pub(super) disk: Disk,
    pub(super) configurations: Configurations,
    pub(super) commit: Index,
    /// Handed out by [`Output::Commit`] or inside a snapshot.
    pub(super) applied: Index,
    /// Where the saved snapshot ends, or the one being saved.
    pub(super) saved: Index,
    /// The snapshot being saved off the path of the writes: where it ends, and where the log may
    /// begin when it is saved.
    pub(super) saving: Option<(Index, Index)>,
    pub(super) rebuild: Option<Rebuild>,
    /// See [`Raft::lost_up_to`].
    pub(super) lost_up_to: Index,
    pub(super) room: DiskRoom,
    /// What it may still take while its disk is full.
    pub(super) reserve: Reserve,
    pub(super) drive: Drive,
    /// No vote is given before, unless the leader asks for it: its lease rests on that.
    pub(super) bound_until: Now,
    /// See [`HardState::leased`].
    pub(super) leased: bool,
    /// Times a passive replica has asked for votes since it was told to.
    pub(super) attempts: u32,
    /// Campaigns that come soon, since it has just started and has heard of no leader and no term.
    pub(super) starting: u32,
    /// Peers whose nodes are not alive, by what nodes know of each other.
    pub(super) absent: BTreeSet<NodeId>,
    pub(super) asking: Asking,
    pub(super) incoming: Option<Arriving>,
    /// What those that are fed from here need of the log.
    pub(super) readers: Option<Readers>,
    /// What else is kept of it, and when to look again whether less would do.
    pub(super) tail: Tail,
    /// Last read round drawn; never reused by this process.
    pub(super) round: u64,
    /// Last replication session drawn; never reused by this process.
    pub(super) session: u64,
    /// The process is about to stop: no votes, no campaigns, no proposals.
    pub(super) stopping: bool,
    /// Whether there is something to commit or to send at the next [`Input::Flush`].
    pub(super) is_flush_due: bool,
    /// The last acknowledgement given, which may still wait for its write.
    pub(super) acknowledged: Option<Acknowledged>,
}

/// What a replica does, with what only that needs.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Follower,
    PreCandidate {
        granted: BTreeSet<NodeId>,
    },
    Candidate {
        granted: BTreeSet<NodeId>,
        /// The write of its own vote, which counts when durable.
        vote: PersistId,
    },
    Leader(Box<Leader>),
}

/// What only a leader has.
#[derive(Clone, Debug)]
pub(super) struct Leader {
    pub(super) peers: BTreeMap<NodeId, Peer>,
    pub(super) heartbeat_due: Now,
    pub(super) rounds: Rounds,
    pub(super) transfer: Option<Transfer>,
    pub(super) outgoing: Option<Outgoing>,
    /// A snapshot was asked for and has not come.
    pub(super) is_snapshot_asked: bool,
    /// Too many disks are full for a quorum to take entries.
    pub(super) is_short: bool,
    /// Nobody was told to campaign: else a vote may be given in spite of this leader.
    pub(super) is_lease_intact: bool,
    /// Passive groups: something is to be asked again.
    pub(super) is_outstanding: bool,
    /// Not before this moment is leadership offered again because of a slow disk.
    pub(super) shed_again: Now,
}

/// Leadership on its way to another voter.
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    pub(super) target: NodeId,
    pub(super) until: Now,
    /// The target got on since the last flush, and may be ready.
    pub(super) has_moved: bool,
}

impl Raft {
    /// A replica as it starts. The same arguments and inputs give the same outputs.
    ///
    /// # Panics
    /// When the log does not follow the snapshot or ends before what was known to be committed: the
    /// store must have refused such a disk.
    pub fn new(id: NodeId, options: Options, recovered: Recovered, seed: u64, now: Now) -> Raft {
        let Recovered { hard_state, snapshot, entries } = recovered;
        let saved = snapshot.last.index;
        let (log, configurations) = recover_log(snapshot, entries);
        let last = log.last().index;
        assert!(hard_state.commit <= last, "R3: a committed entry is missing from the disk");
        assert!(hard_state.term >= log.last().term, "R5: the log knows a later term");
        let drive = options.drive;
        let mut raft = Raft {
            id,
            options,
            prng: Prng::seeded(seed),
            now,
            term: hard_state.term,
            vote: hard_state.vote,
            part: Part::Follower,
            leader: None,
            heard: None,
            election_due: now,
            log,
            disk: Disk::recovered(hard_state, last),
            configurations,
            commit: hard_state.commit.max(saved),
            applied: saved,
            saved,
            saving: None,
            rebuild: None,
            lost_up_to: Index::ZERO,
            room: DiskRoom::Room,
            reserve: Reserve::default(),
            drive,
            bound_until: Now::START,
            leased: hard_state.leased,
            attempts: 0,
            starting: STARTING_CAMPAIGNS,
            absent: BTreeSet::new(),
            asking: Asking::default(),
            incoming: None,
            readers: None,
            tail: Tail::default(),
            round: 0,
            session: 0,
            stopping: false,
            is_flush_due: false,
            acknowledged: None,
        };
        raft.asking = Asking::starting_at(raft.prng.draw());
        let is_remembered = raft.leased && !mutant::is_active(Mutant::LeaseForgotten);
        if raft.options.is_bound_by_leases() && is_remembered {
            // A leader may count on what this replica heard before it started.
            raft.bound_until = now + raft.options.election_timeout_min;
        }
        if hard_state.rebuilding {
            raft.rebuild = Some(Rebuild::numbered(RebuildId(raft.prng.draw())));
            raft.lost_up_to = Index(u64::MAX);
            // Whoever opened it may know of the loss from elsewhere: the disk must have the mark
            // before anything else of this replica.
            raft.disk.mark_hard_state();
        }
        if !raft.is_sole_voter() || raft.is_rebuilding() {
            raft.rearm_election();
        }
        raft
    }

    /// Its settings.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Which replica this is.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Its part in the group.
    pub fn role(&self) -> Role {
        match self.part {
            Part::Follower => Role::Follower,
            Part::PreCandidate { .. } => Role::PreCandidate,
            Part::Candidate { .. } => Role::Candidate,
            Part::Leader(_) => Role::Leader,
        }
    }

    /// The highest term it has seen.
    pub fn term(&self) -> Term {
        self.term
    }

    /// Who leads in that term, as far as it knows; itself when it leads.
    pub fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// Known to be committed.
    pub fn commit(&self) -> Index {
        self.commit
    }

    /// Handed out by [`Output::Commit`] or [`Output::Install`].
    pub fn applied(&self) -> Index {
        self.applied
    }

    /// The last entry of its log, committed or not.
    pub fn last(&self) -> LogId {
        self.log.last()
    }

    /// The first entry it could still send to a peer.
    pub fn first_index(&self) -> Index {
        self.log.base().index.next()
    }

    /// The term of one entry, as far as the log in memory reaches.
    pub fn term_at(&self, index: Index) -> Option<Term> {
        self.log.term_at(index)
    }

    /// Who votes: the last configuration in the log, committed or not.
    pub fn configuration(&self) -> &Configuration {
        self.configurations.in_force()
    }

    /// Who voted as of the last committed entry.
    pub fn committed_configuration(&self) -> &Configuration {
        self.configurations.as_of(self.commit)
    }

    /// What a snapshot of the state as of the last entry handed out stands for.
    pub fn snapshot_meta(&self) -> SnapshotMeta {
        let term = self.log.term_at(self.applied).expect("compaction stops at what is applied");
        SnapshotMeta {
            last: LogId::new(term, self.applied),
            configuration: match mutant::is_active(Mutant::SnapshotWithoutVoters) {
                true => self.configurations.oldest().clone(),
                false => self.configurations.as_of(self.applied).clone(),
            },
        }
    }

    /// How far each peer's log is known to match, itself included, in id order. Empty unless it
    /// leads.
    pub fn progress(&self) -> Vec<(NodeId, Index)> {
        let Part::Leader(leader) = &self.part else { return Vec::new() };
        let mut all: Vec<_> = leader.peers.iter().map(|(id, peer)| (*id, peer.matched)).collect();
        let place = all.partition_point(|(id, _)| *id < self.id);
        all.insert(place, (self.id, self.disk.durable_index()));
        all
    }

    /// How long ago a quorum was last heard. `None` unless it leads.
    pub fn quorum_heard(&self, now: Now) -> Option<Duration> {
        let Part::Leader(leader) = &self.part else { return None };
        // The arithmetic of indexes serves for moments: the latest one that a quorum has reached.
        let heard = self.configuration().quorum_index(|id| match leader.peers.get(&id) {
            Some(peer) if peer.counts() => Index(peer.heard.0),
            None if id == self.id => Index(now.0),
            _ => Index::ZERO,
        });
        Some(now.since(Now(heard.0)))
    }

    /// Peers that have answered nothing for an election time-out, in id order. Empty unless it
    /// leads.
    pub fn silent(&self, now: Now) -> Vec<NodeId> {
        let Part::Leader(leader) = &self.part else { return Vec::new() };
        if self.drive == Drive::Passive {
            // Nobody is asked anything.
            return Vec::new();
        }
        let patience = self.options.election_timeout_max;
        let is_silent = |peer: &super::progress::Peer| now.since(peer.heard) > patience;
        leader.peers.iter().filter(|(_, peer)| is_silent(peer)).map(|(id, _)| *id).collect()
    }

    /// Entries appended and not yet committed.
    pub fn uncommitted(&self) -> usize {
        usize::try_from(self.log.last().index.0 - self.commit.0).expect("the log fits in memory")
    }

    /// Term, vote and a commit index that would be written if anything were.
    pub fn hard_state(&self) -> HardState {
        HardState {
            term: self.term,
            vote: self.vote,
            commit: self.commit_mark(),
            rebuilding: self.is_rebuilding(),
            leased: self.leased,
        }
    }

    /// Whether an entry of the present term is committed (R4, R7).
    pub fn has_committed_in_term(&self) -> bool {
        self.log.term_at(self.commit) == Some(self.term)
    }

    /// All entries up to here are on this replica's disk.
    pub fn durable_index(&self) -> Index {
        self.disk.durable_index()
    }

    /// Whether [`Input::Propose`] may be given: it leads, hands leadership to nobody, does not
    /// stop, there is room on the disks of a quorum and on its own, and not too much waits.
    pub fn accepts_proposals(&self) -> bool {
        let Part::Leader(leader) = &self.part else { return false };
        leader.transfer.is_none()
            && !self.stopping
            && self.room == DiskRoom::Room
            && !leader.is_short
            && self.uncommitted() < self.options.uncommitted_entries_max
    }

    /// Hands out what is committed, once and in order.
    pub(super) fn hand_out(&mut self, out: &mut Outputs<Output>) {
        if self.applied < self.commit {
            let entries = self.log.range(self.applied.next(), self.commit);
            self.applied = self.commit;
            out.push(Output::Commit(entries));
        }
    }

    /// R3: from here on the entries up to `index` stay for ever.
    pub(super) fn commit_to(&mut self, index: Index, out: &mut Outputs<Output>) {
        assert!(index > self.commit, "R3: commit never goes back");
        assert!(index <= self.log.last().index, "R3: only what is in the log is committed");
        self.commit = index;
        self.hand_out(out);
    }

    pub(super) fn announce(&self, why: &'static str, out: &mut Outputs<Output>) {
        let (role, term, leader) = (self.role(), self.term, self.leader);
        out.push(Output::Report(Event::RoleChanged { role, term, leader, why }));
    }

    pub(super) fn is_sole_voter(&self) -> bool {
        let configuration = self.configuration();
        !configuration.is_joint()
            && configuration.voters.len() == 1
            && configuration.voters.contains(&self.id)
    }

    /// Draws the moment to campaign at unless a leader is heard.
    pub(super) fn rearm_election(&mut self) {
        let Options { election_timeout_min, election_timeout_max, heartbeat_interval, .. } =
            self.options;
        let is_founding = self.term == Term::ZERO && self.log.last() == LogId::ZERO;
        let is_starting = self.starting > 0 && self.drive == Drive::Ticking;
        let (earliest, low, high) = match self.may_campaign() {
            true if is_founding => (self.now, STARTING_TIMEOUT_MIN, STARTING_TIMEOUT_MAX),
            true if is_starting => {
                // A leader in office is heard first; and bound by a lease it could not ask at all.
                let heard = self.now + heartbeat_interval;
                let bound = if self.is_bound_by_lease() { self.bound_until } else { heard };
                (bound.max(heard), STARTING_TIMEOUT_MIN, STARTING_TIMEOUT_MAX)
            }
            _ => (self.now, election_timeout_min, election_timeout_max),
        };
        self.election_due = earliest + self.prng.duration(low, high);
    }

    fn on_tick(&mut self, out: &mut Outputs<Output>) {
        match &self.part {
            Part::Leader(leader) => {
                if leader.heartbeat_due > self.now {
                    return;
                }
                match self.drive {
                    Drive::Ticking => self.lead_on(out),
                    Drive::Passive => self.lead_passively(out),
                }
            }
            _ if self.drive == Drive::Passive => self.wait_passively(out),
            _ => {
                if self.election_due <= self.now {
                    self.on_silence(out);
                }
                self.ask_again(out);
            }
        }
    }

    /// Sends a promise about the term alone.
    pub(super) fn promise(&mut self, to: NodeId, message: Bound, out: &mut Outputs<Output>) {
        let write = self.persist_hard_state(out);
        out.push(Output::send_behind(write, to, message));
    }

    /// What replication looks at, and the leader's part of this replica, if it leads.
    pub(super) fn leading(&mut self) -> Option<(&mut Leader, Leading<'_>)> {
        let is_settled = self.has_committed_in_term();
        let Part::Leader(leader) = &mut self.part else { return None };
        let view = Leading {
            is_settled,
            now: self.now,
            term: self.term,
            commit: self.commit,
            log: &self.log,
            options: &self.options,
            absent: (self.drive == Drive::Passive).then_some(&self.absent),
        };
        Some((leader, view))
    }

    fn check(&self) {
        assert!(self.applied <= self.commit, "R3: only committed entries are handed out");
        assert!(self.commit <= self.log.last().index, "R3: committed entries stay in the log");
        assert!(self.log.last().term <= self.term, "R1: entries come from leaders of known terms");
        debug_assert!(self.log.base().index <= self.applied, "what is not applied is kept");
        debug_assert!(
            (self.role() == Role::Leader) == (self.leader == Some(self.id)),
            "R1: who leads knows it"
        );
    }
}

impl Machine for Raft {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Now, input: Input, out: &mut Outputs<Output>) {
        self.now = self.now.max(now);
        if self.is_rebuilding() {
            self.persist_hard_state(out);
        }
        // What the disk already knew to be committed.
        self.hand_out(out);
        match input {
            Input::Tick => self.on_tick(out),
            Input::Flush => self.on_flush(out),
            Input::Message { from, message } => self.on_message(from, message, out),
            Input::Persisted(id) => self.on_persisted(id, out),
            Input::Propose(proposals) => self.on_propose(proposals, out),
            Input::Change(changes) => self.on_change(&changes, out),
            Input::Read(id) => self.on_read(id, false, out),
            Input::Snapshot { snapshot, checksum, save } => {
                self.on_snapshot((snapshot, checksum), save, out);
            }
            Input::Transfer(target) => self.on_transfer(target, out),
            Input::Campaign => {
                self.attempts = 0;
                self.campaign("asked to campaign", out);
            }
            Input::Shutdown => self.on_shutdown(out),
            Input::Saved(index) => self.on_saved(index, out),
            Input::Disk(room) => self.on_disk(room, out),
            Input::Drive(drive) => self.on_drive(drive, out),
            Input::Peer { id, is_alive } => self.on_liveness(id, is_alive, out),
            Input::LeaseRead(id) => self.on_read(id, true, out),
            Input::Fed(fed) => self.on_fed(fed, out),
            Input::FedSnapshot { snapshot, standing, patience } => {
                self.on_fed_snapshot(snapshot, (standing, patience), out);
            }
        }
        if self.options.appends_gather_bytes == 0 {
            self.on_flush(out);
        }
        self.end_rebuild(out);
        if self.drive == Drive::Passive {
            self.pace_passively();
        }
        self.persist_hard_state(out);
        self.check();
    }

    fn deadline(&self) -> Option<(Now, Wake)> {
        if self.drive == Drive::Passive {
            return self.passive_deadline();
        }
        if let Part::Leader(leader) = &self.part {
            return Some((leader.heartbeat_due, Wake("heartbeat")));
        }
        let election = (self.election_due, Wake("election"));
        let again = self.asking.retry_due().map(|due| (due, Wake("ask again")));
        Some(again.map_or(election, |again| again.min(election)))
    }
}

/// The log in memory, from what the disk has. The entry at which memory begins is known by its id
/// alone, so the oldest recovered one serves as the base unless the snapshot ends just before it.
fn recover_log(snapshot: SnapshotMeta, entries: Vec<super::Entry>) -> (Log, Configurations) {
    let base = snapshot.last;
    let mut configurations = Configurations::starting(base.index, snapshot.configuration);
    let mut entries = entries.into_iter().peekable();
    let first = entries.peek().map_or(base.index.next(), |entry| entry.id.index);
    assert!(first <= base.index.next(), "R3: entries between the snapshot and the log are missing");
    let mut log = Log::after(base);
    if first <= base.index
        && let Some(oldest) = entries.next()
    {
        log = Log::after(oldest.id);
    }
    log.recover(entries.inspect(|entry| {
        if entry.id.index > base.index {
            configurations.note(entry);
        }
    }));
    if log.term_at(base.index) != Some(base.term) {
        // The snapshot was installed over a log that does not lead to it, and the crash came before
        // that log was dropped.
        configurations.roll_back(base.index.next());
        log = Log::after(base);
    }
    (log, configurations)
}
