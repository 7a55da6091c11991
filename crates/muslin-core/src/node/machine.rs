//! The node: takes inputs to the part they concern and passes on what the parts say to each other.

use super::feed::{Source, Subscription};
use super::freshness::{Freshness, Transfers};
use super::history::{History, SWEEP_EVERY};
use super::leases::{LeaseClock, LeaseForwards};
use super::load::LoadTold;
use super::reads::{Ask, Asker, READS_MAX, Record, What};
use super::requests::{CHORES_BUSY, fail};
use super::snapshots::Snapshots;
use super::steward::Steward;
use super::watches::Watches;
use super::{
    Event, Failure, Input, NodeStatus, Options, Output, PeerMessage, Placement, Recovered, Reply,
};
use crate::base::{
    Epoch, GroupId, Index, LeaseId, Machine, NodeId, Now, Outputs, PersistId, Prng, Wake,
};
use crate::groups::{self, Groups};
use crate::plan::VoterPlan;
use crate::raft::{self, Configuration, Raft, Role, SnapshotMeta};
use crate::state::{State, View};
use crate::swim::{self, Metadata, Swim};
use crate::waiting::{Proposals, Reads, Relayed};
use crate::wire;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use bytes::Bytes;
use core::time::Duration;

/// How often it looks when nothing waits.
const CHORES_IDLE: Duration = Duration::from_millis(250);

/// Most writes of one node waiting at once: well above what one second of a busy node brings, and
/// within the window in which the state can tell a repetition.
const PROPOSALS_MAX: usize = 16_384;

/// A peer heard on a stream is told to the failure detector at most this often.
const HEARD_EVERY: Duration = Duration::from_millis(100);

/// One Muslin node, all that decides of it.
pub struct Node {
    pub(super) options: Options,
    pub(super) raft: Raft,
    pub(super) swim: Swim,
    pub(super) state: State,
    pub(super) groups: Groups,
    pub(super) placement: Placement,
    pub(super) steward: Steward,
    /// What this leader's planner last said of who votes.
    pub(super) voter_plan: Option<VoterPlan>,
    /// Whether the groups were told that the control group has a leader.
    pub(super) is_control_led: bool,
    pub(super) proposals: Proposals,
    pub(super) reads: Reads<What>,
    pub(super) record: Record,
    pub(super) watches: Watches,
    pub(super) lease_clock: LeaseClock,
    pub(super) lease_forwards: LeaseForwards,
    /// Proposals of peers, for this leader to append at the next flush.
    pub(super) relayed: Relayed,
    /// Last entry whose effect is in `state`.
    pub(super) applied: Index,
    pub(super) snapshots: Snapshots,
    pub(super) started: Now,
    pub(super) next_chores: Now,
    /// When this node last told the record its addresses.
    pub(super) described: Option<Now>,
    /// Whom this node feeds.
    pub(super) source: Source,
    /// Who feeds this node.
    pub(super) subscription: Subscription,
    pub(super) freshness: Freshness,
    pub(super) transfers: Transfers,
    pub(super) load_told: LoadTold,
    /// What this leader knows of the age of history.
    pub(super) history: History,
    pub(super) heard: BTreeMap<NodeId, Now>,
    /// Where members are by name, with static membership.
    pub(super) places: BTreeMap<String, core::net::SocketAddr>,
    /// Removed by the record, and still counted on by the group.
    pub(super) leaving: BTreeSet<NodeId>,
    pub(super) is_routed: bool,
    /// Whom the detector tracks because they are needed.
    pub(super) kept: BTreeSet<NodeId>,
    /// The members have changed since the detector was told whom to track.
    pub(super) is_scope_stale: bool,
    pub(super) is_stopping: bool,
}

/// The failure detector of a node that finds this state on its disk.
fn detector(options: &Options, state: &State, is_rebuilding: bool, seed: u64, now: Now) -> Swim {
    // A crash may have come between the rise of the epoch and the shell's note of it.
    let epoch = match state.is_current(options.id) {
        true => options.epoch.max(state.epoch()),
        false => options.epoch,
    };
    let metadata = Metadata { is_rebuilding, ..options.metadata.clone() };
    let (id, address, swim) = (options.id, options.address, options.swim.clone());
    let swim = Swim::new(id, epoch, address, metadata, swim, seed, now);
    swim.behind(options.gate.clone()).with_ticket(options.ticket.clone())
}

impl Node {
    /// A node that continues from what it finds on its disk, or begins at the founding.
    ///
    /// # Panics
    /// When `recovered.snapshot` cannot be read: the store has verified its checksum, so this is a
    /// bug.
    pub fn new(options: Options, recovered: Recovered, seed: u64, now: Now) -> Node {
        let mut prng = Prng::seeded(seed);
        let mut group = recovered.raft;
        let snapshot_size = recovered.snapshot.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let state = match recovered.snapshot {
            Some(bytes) => State::restore(bytes).expect("a saved snapshot was written by us"),
            None => {
                group.snapshot = founding_snapshot(&options);
                State::founded(&options.founding)
            }
        };
        let snapshot_at = group.snapshot.last.index;
        let raft = raft::Options { cluster: options.cluster, ..options.raft.clone() };
        let raft = Raft::new(options.id, raft, group, prng.draw(), now);
        let is_rebuilding = raft.is_rebuilding();
        let swim = detector(&options, &state, is_rebuilding, prng.draw(), now);
        let start = groups::Start {
            id: options.id,
            boot: options.boot,
            request_timeout: options.request_timeout,
            recovered: recovered.groups,
        };
        let groups = Groups::new(options.groups.clone(), start, prng.draw(), now);
        Node {
            groups,
            placement: Placement::default(),
            steward: Steward::default(),
            voter_plan: None,
            is_control_led: false,
            proposals: Proposals::new(options.id, options.boot, PROPOSALS_MAX),
            reads: Reads::new(READS_MAX),
            record: Record::Unread,
            watches: Watches::default(),
            lease_clock: LeaseClock::default(),
            lease_forwards: LeaseForwards::new(options.boot),
            relayed: Relayed::default(),
            applied: snapshot_at,
            snapshots: Snapshots::found(snapshot_at, snapshot_size),
            started: now,
            next_chores: now,
            described: None,
            heard: BTreeMap::new(),
            source: Source::default(),
            subscription: Subscription::numbered_from(prng.draw()),
            freshness: Freshness::default(),
            transfers: Transfers::default(),
            load_told: LoadTold::default(),
            history: History::default(),
            places: BTreeMap::new(),
            leaving: BTreeSet::new(),
            is_routed: false,
            kept: BTreeSet::new(),
            is_scope_stale: true,
            is_stopping: false,
            options,
            raft,
            swim,
            state,
        }
    }

    /// The cluster's membership history as this node knows it.
    pub fn epoch(&self) -> Epoch {
        self.options.epoch.max(self.state.epoch())
    }

    /// The control group's replica.
    pub fn raft(&self) -> &Raft {
        &self.raft
    }

    /// What this node's planner last said of who votes, and why, if it leads.
    pub fn voter_plan(&self) -> Option<&VoterPlan> {
        self.voter_plan.as_ref().filter(|_| self.raft.role() == Role::Leader)
    }

    /// The failure detector.
    pub fn swim(&self) -> &Swim {
        &self.swim
    }

    /// Last entry whose effect is in the state.
    pub(super) fn applied(&self) -> Index {
        self.applied
    }

    /// What is there of keys and leases at this moment, and the last entry whose effect is in it.
    pub fn state_view(&self) -> (Index, View) {
        (self.applied, self.state.view())
    }

    /// The replicated state as applied here.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What the node is and knows.
    pub fn status(&self, now: Now) -> NodeStatus {
        NodeStatus {
            id: self.options.id,
            cluster: self.options.cluster,
            epoch: self.epoch(),
            left_behind_by: self.swim.left_behind_by(),
            role: self.raft.role(),
            voter: self.raft.configuration().is_voter(self.options.id),
            term: self.raft.term(),
            leader: self.raft.leader(),
            last_index: self.raft.last().index,
            commit: self.raft.commit(),
            applied: self.applied,
            revision: self.state.revision(),
            compacted: self.state.compacted(),
            keys: self.state.keys(),
            state_bytes: self.state.approximate_bytes(),
            is_sweeping: self.state.is_sweeping(),
            quota_bytes: self.state.settings().quota(),
            settings: *self.state.settings(),
            configuration: self.raft.configuration().clone(),
            members: self.state.members().values().cloned().collect(),
            view: self.view(now),
            voter_plan: self.voter_plan().copied(),
            progress: self.raft.progress(),
            silent: self.raft.silent_as_told(now),
            is_rebuilding: self.raft.is_rebuilding(),
            rebuilding: self.raft.rebuilding(),
            full: self.without_room(now),
            fed_by: self.fed_by(now),
            fed: self.fed_members(now),
            groups: self.groups.counts(),
            quorum_age: self.raft.quorum_heard(now),
            uptime: now.since(self.started),
        }
    }
}

/// Founders vote from the start; whoever joins later starts from the same configuration, without
/// itself.
fn founding_snapshot(options: &Options) -> SnapshotMeta {
    let is_control = |member: &&crate::state::Member| {
        member.roles.iter().any(|role| role == super::CONTROL_ROLE)
    };
    let founders = options.founding.members.iter().filter(is_control);
    let voters = founders.map(|member| NodeId(member.id));
    SnapshotMeta { last: raft_start(), configuration: Configuration::of_voters(voters) }
}

fn raft_start() -> crate::base::LogId {
    crate::base::LogId::ZERO
}

impl Machine for Node {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Now, input: Input, out: &mut Outputs<Output>) {
        if !self.is_routed {
            self.is_routed = true;
            self.route_members(out);
            self.follow_record(now, out);
        }
        match input {
            Input::Tick => self.on_tick(now, out),
            Input::Flush => self.on_flush(now, out),
            Input::Datagram { from, bytes } => self.on_datagram(now, from, bytes, out),
            Input::Peer { from, message } => self.on_peer(now, from, message, out),
            Input::Persisted { group, id } => self.on_persisted(now, group, id, out),
            Input::Saved { group, index } => self.on_saved(now, group, index, out),
            Input::SnapshotLost(GroupId::CONTROL) => {
                self.snapshots.lost();
                self.take_snapshots(now, out);
            }
            Input::SnapshotLost(group) => {
                self.handle_groups(now, groups::Input::SnapshotLost(group), out);
            }
            Input::Disk(room) => {
                self.handle_raft(now, raft::Input::Disk(room), out);
                self.handle_groups(now, groups::Input::Disk(room), out);
            }
            Input::Request { id, asker, request } => {
                self.on_request(now, (id, asker), request, out);
            }
            Input::Cancel(id) => self.on_cancel(id),
            Input::Unwatched => self.watches.end(),
            Input::Contacts(contacts) => {
                self.handle_swim(now, swim::Input::Contacts(contacts), out);
            }
            Input::Clock(unix_ms) => self.steward.set_clock(now, unix_ms),
            Input::Ticket(ticket) => self.handle_swim(now, swim::Input::Ticket(ticket), out),
            Input::Epoch(epoch) => self.handle_swim(now, swim::Input::Epoch(epoch), out),
            Input::Places(places) => self.on_places(places, out),
            Input::Shutdown => self.on_shutdown(now, out),
        }
    }

    fn deadline(&self) -> Option<(Now, Wake)> {
        let lease = self.lease_clock.deadline().map(|at| (at, Wake("a lease ends")));
        let chores = Some((self.next_chores, Wake("chores")));
        let groups = self.groups.deadline();
        let swim = self.swim.deadline().filter(|_| !self.is_static());
        let snapshot = self.snapshots.deadline().map(|at| (at, Wake("a piece of a snapshot")));
        [self.raft.deadline(), swim, groups, lease, chores, snapshot].into_iter().flatten().min()
    }
}

impl Node {
    fn on_tick(&mut self, now: Now, out: &mut Outputs<Output>) {
        if self.raft.deadline().is_some_and(|(at, _)| at <= now) {
            self.handle_raft(now, raft::Input::Tick, out);
        }
        if self.swim.deadline().is_some_and(|(at, _)| at <= now) {
            self.handle_swim(now, swim::Input::Tick, out);
        }
        if self.groups.deadline().is_some_and(|(at, _)| at <= now) {
            self.handle_groups(now, groups::Input::Tick, out);
        }
        self.continue_snapshot(now, out);
        self.end_leases(now);
        if self.next_chores <= now {
            self.do_chores(now, out);
        }
    }

    /// Whatever has waited too long is tried again or given up.
    fn do_chores(&mut self, now: Now, out: &mut Outputs<Output>) {
        let timeout = self.options.request_timeout;
        if self.raft.role() != Role::Leader {
            self.proposals.requeue_silent(now);
        }
        self.reads.retry_silent(now);
        for id in self.proposals.expire(now, timeout) {
            fail(id, Failure::TimedOut, out);
        }
        self.expire_reads(now, out);
        for id in self.lease_forwards.expire(now, timeout) {
            fail(id, Failure::TimedOut, out);
        }
        self.expire_transfers(now, out);
        self.read_record(now);
        self.follow_scope(now, out);
        self.describe_self(now);
        self.keep_record(now, out);
        self.seek_feed(now, out);
        self.tend_readers(now, out);
        self.choose_voters(now, out);
        self.choose_leaders(now);
        self.keep_history(now);
        if !self.leaving.is_empty() {
            self.part_from_removed(now, out);
        }
        let is_idle = self.proposals.is_empty()
            && self.reads.is_empty()
            && self.lease_forwards.is_empty()
            && self.transfers.is_empty();
        self.next_chores = now + if is_idle { CHORES_IDLE } else { CHORES_BUSY };
        if self.state.is_sweeping() {
            self.next_chores = self.next_chores.min(now + SWEEP_EVERY);
        }
    }

    fn on_datagram(
        &mut self,
        now: Now,
        from: core::net::SocketAddr,
        bytes: Bytes,
        out: &mut Outputs<Output>,
    ) {
        match wire::decode_packet(bytes) {
            Ok(packet) => self.handle_swim(now, swim::Input::Packet { from, packet }, out),
            Err(_) => out.push(Output::Report(Event::BadMessage { why: "unreadable datagram" })),
        }
    }

    fn on_peer(&mut self, now: Now, from: NodeId, message: PeerMessage, out: &mut Outputs<Output>) {
        // What the failure detector says itself tells it more than that somebody spoke: told that
        // first, it would take a probe for settled before it learns that a stream settled it.
        let is_own_news = matches!(message, PeerMessage::Gossip(_));
        if !is_own_news && self.heard.get(&from).is_none_or(|at| *at + HEARD_EVERY <= now) {
            self.heard.insert(from, now);
            self.handle_swim(now, swim::Input::Heard(from), out);
        }
        self.note_heard(now, from, out);
        match message {
            PeerMessage::Raft { group: GroupId::CONTROL, message } => {
                self.on_control(now, from, message, out);
            }
            PeerMessage::Raft { group, message } => {
                let message = groups::Message::Raft { group, message };
                self.handle_groups(now, groups::Input::Message { from, message }, out);
            }
            PeerMessage::Groups(groups::Message::Claims(claims)) => {
                self.on_claims(now, from, &claims);
            }
            PeerMessage::Groups(message) => {
                self.handle_groups(now, groups::Input::Message { from, message }, out);
            }
            PeerMessage::Gossip(bytes) => match wire::decode_packet(bytes) {
                Ok(packet) => self.handle_swim(now, swim::Input::Stream { from, packet }, out),
                Err(_) => out.push(Output::Report(Event::BadMessage { why: "unreadable gossip" })),
            },
            PeerMessage::Feed(feed) => self.on_feed(now, from, feed, out),
            PeerMessage::Reports(reports) => self.on_reports(now, from, &reports),
            PeerMessage::Propose(proposals) => {
                self.relayed.add(from, proposals);
            }
            PeerMessage::TransferLeader(to) => self.on_transfer_asked(now, to, out),
            PeerMessage::ProposeRefused { sequences, full: true, .. } => {
                for id in self.proposals.refused_for_space(now, &sequences) {
                    fail(id, Failure::NoSpace, out);
                }
            }
            PeerMessage::ProposeRefused { sequences, .. } => {
                self.proposals.refused(now, &sequences);
            }
            PeerMessage::KeepAlive { number, lease } => {
                let asker = Asker::Peer { node: from, number };
                let what = What::Lease { asker, lease: LeaseId(lease), extend: true };
                self.take_lease_question(Ask { asked: now, what }, out);
            }
            PeerMessage::TimeToLive { number, lease } => {
                let asker = Asker::Peer { node: from, number };
                let what = What::Lease { asker, lease: LeaseId(lease), extend: false };
                self.take_lease_question(Ask { asked: now, what }, out);
            }
            PeerMessage::KeepAliveReply { number, answer } => {
                if let Some((id, ttl)) = self.lease_forwards.on_reply(number, answer) {
                    let revision = self.state.revision();
                    out.push(Output::Reply { id, reply: Reply::Lease { ttl, revision } });
                }
            }
        }
    }

    /// Consensus of the control group.
    fn on_control(
        &mut self,
        now: Now,
        from: NodeId,
        message: raft::Message,
        out: &mut Outputs<Output>,
    ) {
        if let raft::Message::Unbound(raft::Unbound::ReadIndex { .. }) = &message
            && !self.state.members().contains_key(&from)
            && !self.raft.configuration().members().contains(&from)
        {
            // Whoever was removed reads nothing.
            return;
        }
        self.freshness.note(&message);
        self.subscription.note(now, &message);
        self.handle_raft(now, raft::Input::Message { from, message }, out);
        if self.raft.leader() == Some(from) {
            self.proposals.leader_spoke();
        }
        self.note_fresh(now, from);
    }

    fn on_persisted(&mut self, now: Now, group: GroupId, id: PersistId, out: &mut Outputs<Output>) {
        if group == GroupId::CONTROL {
            self.handle_raft(now, raft::Input::Persisted(id), out);
        } else {
            self.handle_groups(now, groups::Input::Persisted { group, id }, out);
        }
    }

    fn on_saved(&mut self, now: Now, group: GroupId, index: Index, out: &mut Outputs<Output>) {
        if group == GroupId::CONTROL {
            self.handle_raft(now, raft::Input::Saved(index), out);
        } else {
            self.handle_groups(now, groups::Input::Saved { group, index }, out);
        }
    }

    fn on_shutdown(&mut self, now: Now, out: &mut Outputs<Output>) {
        self.is_stopping = true;
        self.propose_leave(now);
        self.handle_raft(now, raft::Input::Shutdown, out);
        self.handle_groups(now, groups::Input::Shutdown, out);
        self.handle_swim(now, swim::Input::Leave, out);
    }

    /// Answers whoever still waits: the process ends. Called by the driver as its last act.
    pub fn abandon(&mut self, out: &mut Outputs<Output>) {
        for id in self.proposals.abandon() {
            fail(id, Failure::TimedOut, out);
        }
        for what in self.reads.abandon() {
            self.fail_read(&what, Failure::Stopping, out);
        }
        self.abandon_transfers(out);
        self.abandon_groups(out);
    }
}
