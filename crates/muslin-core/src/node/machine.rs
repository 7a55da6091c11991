//! The node: takes inputs to the part they concern and passes on what the parts say to each other.

use super::feed::{Source, Subscription};
use super::freshness::{Freshness, Transfers};
use super::leases::{LeaseClock, LeaseForwards, answer_to};
use super::load::LoadTold;
use super::reads::{Ask, Asker, READS_MAX, Record, What};
use super::steward::Steward;
use super::watches::Watches;
use super::{
    Consistency, Event, Failure, Input, KeepAliveAnswer, NodeStatus, Options, Output, PeerMessage,
    Placement, Recovered, Reply, Request,
};
use crate::base::{
    Epoch, GroupId, Index, LeaseId, Machine, NodeId, Now, Outputs, PersistId, Prng, RequestId, Wake,
};
use crate::groups::{self, Groups};
use crate::plan::VoterPlan;
use crate::raft::{self, Configuration, Entries, Payload, Raft, Role, Snapshot, SnapshotMeta};
use crate::state::{Command, CommandKind, KvEvent, LeaseNews, LeaseRevoke, State};
use crate::swim::{self, Metadata, Swim};
use crate::waiting::{Proposals, Reads, Relayed};
use crate::wire;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use prost::Message as _;

/// How often a node looks for what has waited too long, while something waits.
pub(super) const CHORES_BUSY: Duration = Duration::from_millis(20);

/// How often it looks when nothing waits.
const CHORES_IDLE: Duration = Duration::from_millis(250);

/// Most writes of one node waiting at once: well above what one second of a busy node brings, and
/// within the window in which the state can tell a repetition.
const PROPOSALS_MAX: usize = 16_384;

/// What is asked of a group waits this long to learn whether there is one: an election and a round.
const RECORD_PATIENCE: Duration = Duration::from_secs(2);

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
    watches: Watches,
    lease_clock: LeaseClock,
    lease_forwards: LeaseForwards,
    /// Proposals of peers, for this leader to append at the next flush.
    relayed: Relayed,
    /// Last entry whose effect is in `state`.
    applied: Index,
    /// Last entry whose effect is in the saved snapshot, or in the one being saved.
    snapshot_at: Index,
    /// Bytes of the commands applied since.
    unsaved_bytes: u64,
    /// Bytes of that snapshot.
    snapshot_size: u64,
    /// A peer waits for a snapshot.
    is_snapshot_needed: bool,
    /// The saved one has gone bad.
    is_snapshot_lost: bool,
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
    pub(super) heard: BTreeMap<NodeId, Now>,
    /// Where members are by name, with static membership.
    pub(super) places: BTreeMap<String, core::net::SocketAddr>,
    /// Removed by the record, and still counted on by the group.
    pub(super) leaving: BTreeSet<NodeId>,
    is_routed: bool,
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
            snapshot_at,
            unsaved_bytes: 0,
            snapshot_size,
            is_snapshot_needed: false,
            is_snapshot_lost: false,
            started: now,
            next_chores: now,
            described: None,
            heard: BTreeMap::new(),
            source: Source::default(),
            subscription: Subscription::numbered_from(prng.draw()),
            freshness: Freshness::default(),
            transfers: Transfers::default(),
            load_told: LoadTold::default(),
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

pub(super) fn encoded(command: &Command) -> Bytes {
    Bytes::from(command.encode_to_vec())
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
                self.is_snapshot_lost = true;
                self.take_snapshots(now, out);
            }
            Input::SnapshotLost(group) => {
                self.handle_groups(now, groups::Input::SnapshotLost(group), out);
            }
            Input::Disk(room) => {
                self.handle_raft(now, raft::Input::Disk(room), out);
                self.handle_groups(now, groups::Input::Disk(room), out);
            }
            Input::Request { id, request } => self.on_request(now, id, request, out),
            Input::Cancel(id) => self.on_cancel(id),
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
        [self.raft.deadline(), swim, groups, lease, chores].into_iter().flatten().min()
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
        if !self.leaving.is_empty() {
            self.part_from_removed(now, out);
        }
        let is_idle = self.proposals.is_empty()
            && self.reads.is_empty()
            && self.lease_forwards.is_empty()
            && self.transfers.is_empty();
        self.next_chores = now + if is_idle { CHORES_IDLE } else { CHORES_BUSY };
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

    fn on_request(&mut self, now: Now, id: RequestId, request: Request, out: &mut Outputs<Output>) {
        if self.is_stopping && !matches!(request, Request::Status) {
            return fail(id, Failure::Stopping, out);
        }
        let taken = match request {
            Request::Write(_) if self.raft.stands_still() => Err(Failure::StandsStill),
            Request::Write(command) => self.proposals.add(now, Some(id), encoded(&command)),
            Request::Read { query, consistency: Consistency::Linearizable } => {
                let what = What::Query { request: id, query };
                self.reads.add(Ask { asked: now, what })
            }
            Request::Read { query, consistency: Consistency::Lease } => {
                let what = What::Query { request: id, query };
                self.reads.add_for_lease(Ask { asked: now, what })
            }
            Request::Read { query, consistency: Consistency::Local } => {
                let outcome = self.state.query(&query);
                out.push(Output::Reply { id, reply: Reply::Outcome(outcome) });
                Ok(())
            }
            Request::Watch(spec) => {
                self.watches.start(&self.state, id, spec, out);
                Ok(())
            }
            Request::WatchMore { watch } => {
                self.watches.tell_more(&self.state, watch, out);
                Ok(())
            }
            Request::WatchProgress { watch } => {
                self.watches.tell_progress(&self.state, watch, out);
                Ok(())
            }
            Request::KeepAlive(lease) => self.lease_forwards.add(now, id, LeaseId(lease), true),
            Request::TimeToLive(lease) => self.lease_forwards.add(now, id, LeaseId(lease), false),
            Request::Status => {
                out.push(Output::Reply { id, reply: Reply::Status(Box::new(self.status(now))) });
                Ok(())
            }
            Request::Load(found) => {
                self.on_load(now, found, out);
                out.push(Output::Reply { id, reply: Reply::Done });
                Ok(())
            }
            Request::Evidence(node) => {
                let transitions = self.swim.evidence(node).cloned().collect();
                out.push(Output::Reply { id, reply: Reply::Evidence(transitions) });
                Ok(())
            }
            Request::TransferLeader(to) => self.transfer(now, id, to, out),
            Request::Group { group, ask } => {
                // The groups have a pace of their own.
                return self.ask_group(now, id, (group, ask), out);
            }
            Request::GroupStatus(group) => return out.push(self.group_status(id, group)),
        };
        if let Err(failure) = taken {
            fail(id, failure, out);
        }
        // Something waits from here on: it must not wait for the idle pace.
        self.next_chores = self.next_chores.min(now + CHORES_BUSY);
    }

    fn on_cancel(&mut self, id: RequestId) {
        self.watches.cancel(id);
        self.proposals.cancel(id);
        self.reads.cancel(|what| what.waiter() == Some(id));
        self.groups.cancel(id);
        self.cancel_transfer(id);
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

/// What leaves at a flush.
impl Node {
    fn on_flush(&mut self, now: Now, out: &mut Outputs<Output>) {
        self.flush_leases(now, out);
        self.flush_proposals(now, out);
        if self.reads.has_waiting() && self.raft.leader().is_some() {
            let id = self.reads.start_round(now);
            self.handle_raft(now, raft::Input::Read(id), out);
        }
        if self.reads.has_waiting_for_lease() && self.raft.leader().is_some() {
            let id = self.reads.start_lease_round(now);
            self.handle_raft(now, raft::Input::LeaseRead(id), out);
        }
        self.answer_reads(now, out);
        self.settle_transfers(out);
        self.feed_readers(now, out);
        self.handle_groups(now, groups::Input::Flush, out);
    }

    fn flush_proposals(&mut self, now: Now, out: &mut Outputs<Output>) {
        if !self.raft.accepts_proposals() {
            self.refuse_relayed(false, out);
            if self.raft.lacks_room() {
                for id in self.proposals.refuse_unsent() {
                    fail(id, Failure::NoSpace, out);
                }
            }
            if let Some(leader) = self.raft.leader().filter(|leader| *leader != self.options.id) {
                for proposals in self.proposals.take_messages(now) {
                    let message = PeerMessage::Propose(proposals);
                    out.push(Output::Send { to: leader, after: None, message });
                }
            }
            return;
        }
        let limit = self.options.raft.uncommitted_entries_max;
        let room = limit.saturating_sub(self.raft.uncommitted());
        let mut batch = self.relayed.take(room);
        self.refuse_relayed(true, out);
        let own_room = room - batch.len();
        let term = Some(self.raft.term());
        batch.extend(self.proposals.take_unsent(now, own_room, term));
        if !batch.is_empty() {
            self.handle_raft(now, raft::Input::Propose(batch), out);
        }
    }

    /// What peers sent and was not appended.
    fn refuse_relayed(&mut self, busy: bool, out: &mut Outputs<Output>) {
        let (leader, full) = (self.raft.leader(), self.raft.lacks_room());
        for (to, sequences) in self.relayed.refuse() {
            let message = PeerMessage::ProposeRefused { sequences, leader, busy, full };
            out.push(Output::Send { to, after: None, message });
        }
    }

    fn expire_reads(&mut self, now: Now, out: &mut Outputs<Output>) {
        let timeout = self.options.request_timeout;
        let patience = |what: &What| match what {
            What::Group { .. } => RECORD_PATIENCE.min(timeout),
            _ => timeout,
        };
        for what in self.reads.expire(now, patience) {
            let failure = match what {
                What::Group { .. } if self.record == Record::Read => Failure::NoGroup,
                What::Group { .. } => Failure::Starting,
                _ => Failure::TimedOut,
            };
            self.fail_read(&what, failure, out);
        }
    }

    /// Tells whoever waits on this node; a peer asks again by itself.
    fn fail_read(&mut self, what: &What, failure: Failure, out: &mut Outputs<Output>) {
        if matches!(what, What::Record) {
            self.record = Record::Unread;
        }
        if let Some(request) = what.waiter() {
            fail(request, failure, out);
        }
    }

    /// Questions about leases go to the leader, or are answered by this one after a read round.
    fn flush_leases(&mut self, now: Now, out: &mut Outputs<Output>) {
        if self.lease_forwards.is_empty() {
            return;
        }
        if self.raft.role() == Role::Leader {
            for (request, lease, extend, asked) in self.lease_forwards.take_all() {
                let what = What::Lease { asker: Asker::Local(request), lease, extend };
                if let Err(failure) = self.reads.add(Ask { asked, what }) {
                    fail(request, failure, out);
                }
            }
        } else if let Some(leader) = self.raft.leader() {
            for message in self.lease_forwards.take_unsent(now) {
                out.push(Output::Send { to: leader, after: None, message });
            }
        }
    }

    /// A peer's question about a lease: for the leader alone to answer, after a read round.
    fn take_lease_question(&mut self, ask: Ask, out: &mut Outputs<Output>) {
        let What::Lease { asker: Asker::Peer { node, number }, .. } = ask.what else { return };
        let is_leader = self.raft.role() == Role::Leader;
        if !is_leader || self.reads.add(ask).is_err() {
            out.push(answer_to(node, number, KeepAliveAnswer::NotLeader));
        }
    }

    fn answer_reads(&mut self, now: Now, out: &mut Outputs<Output>) {
        for ask in self.reads.take_answerable(self.applied) {
            self.record = Record::Read;
            match ask.what {
                What::Record => {}
                What::Group { request, group, ask } => {
                    let input = groups::Input::Ask { id: request, group, ask };
                    self.handle_groups(now, input, out);
                }
                What::Query { request, query } => {
                    let reply = Reply::Outcome(self.state.query(&query));
                    out.push(Output::Reply { id: request, reply });
                }
                What::Lease { asker, lease, extend } => {
                    let answer = self.answer_lease(now, ask.asked, lease, extend);
                    self.tell_lease(asker, answer, out);
                }
            }
        }
        if self.raft.stands_still() {
            for what in self.reads.take_confirmed() {
                self.fail_read(&what, Failure::StandsStill, out);
            }
        }
    }

    /// The round was confirmed after `received`, so no other leader was elected before it (K3).
    fn answer_lease(
        &mut self,
        now: Now,
        received: Now,
        lease: LeaseId,
        extend: bool,
    ) -> KeepAliveAnswer {
        if !self.lease_clock.is_running() {
            return KeepAliveAnswer::NotLeader;
        }
        let Some(granted) = self.state.leases().get(&lease) else {
            return KeepAliveAnswer::NotFound;
        };
        let ttl = Duration::from_millis(granted.ttl_ms);
        if extend && !self.lease_clock.extend(received, lease, ttl) {
            return KeepAliveAnswer::NotFound;
        }
        match self.lease_clock.left(now, lease) {
            None => KeepAliveAnswer::NotFound,
            Some(left) => {
                KeepAliveAnswer::Alive { ttl_ms: granted.ttl_ms, left_ms: left.as_millis() as u64 }
            }
        }
    }

    fn tell_lease(&mut self, asker: Asker, answer: KeepAliveAnswer, out: &mut Outputs<Output>) {
        let revision = self.state.revision();
        let ttl = match (asker, answer) {
            (Asker::Peer { node, number }, answer) => {
                return out.push(answer_to(node, number, answer));
            }
            (Asker::Local(id), KeepAliveAnswer::NotLeader) => {
                return fail(id, Failure::TimedOut, out);
            }
            (Asker::Local(_), KeepAliveAnswer::NotFound) => None,
            (Asker::Local(_), KeepAliveAnswer::Alive { ttl_ms, left_ms }) => {
                Some((ttl_ms, left_ms))
            }
        };
        if let Asker::Local(id) = asker {
            out.push(Output::Reply { id, reply: Reply::Lease { ttl, revision } });
        }
    }

    /// Leases whose time is up are ended by a logged command.
    fn end_leases(&mut self, now: Now) {
        if !self.lease_clock.is_running() || !self.raft.accepts_proposals() {
            return;
        }
        let ended = self.lease_clock.take_ended(now);
        if ended.is_empty() {
            return;
        }
        let ids = ended.iter().map(|lease| lease.0).collect();
        let command = Command::of(CommandKind::LeaseRevoke(LeaseRevoke { ids, expired: true }));
        if self.proposals.add_as_leader(now, self.raft.term(), encoded(&command)).is_err() {
            self.lease_clock.put_back(now + CHORES_BUSY, &ended);
        }
    }
}

/// What the parts say.
impl Node {
    pub(super) fn handle_swim(&mut self, now: Now, input: swim::Input, out: &mut Outputs<Output>) {
        let is_about_self = matches!(input, swim::Input::Describe(_));
        if self.is_static() && !is_about_self {
            // There are no members to be told of, and nobody is told of this one.
            return;
        }
        let mut said = Outputs::new();
        self.swim.handle(now, input, &mut said);
        for output in said.drain() {
            match output {
                swim::Output::Send { to, packet } => {
                    out.push(Output::Datagram { to, bytes: wire::encode_packet(&packet) });
                }
                swim::Output::Stream { to, packet } => {
                    let message = PeerMessage::Gossip(wire::encode_packet(&packet));
                    out.push(Output::Send { to, after: None, message });
                }
                swim::Output::Report(event) => self.on_view_event(event, out),
            }
        }
    }

    pub(super) fn handle_raft(&mut self, now: Now, input: raft::Input, out: &mut Outputs<Output>) {
        let mut said = Outputs::new();
        self.raft.handle(now, input, &mut said);
        for output in said.drain() {
            self.on_raft_output(now, output, out);
        }
        self.follow_leadership(now);
        self.follow_control(now, out);
        self.take_snapshots(now, out);
    }

    fn on_raft_output(&mut self, now: Now, output: raft::Output, out: &mut Outputs<Output>) {
        const GROUP: GroupId = GroupId::CONTROL;
        match output {
            raft::Output::Persist { id, write } => {
                out.push(Output::Persist { group: GROUP, id, write });
            }
            raft::Output::Send { to, after, message } => {
                let after = after.map(|id| (GROUP, id));
                let message = PeerMessage::Raft { group: GROUP, message };
                out.push(Output::Send { to, after, message });
            }
            raft::Output::Save { snapshot, keep_from } => {
                out.push(Output::Save { group: GROUP, snapshot, keep_from });
            }
            raft::Output::Commit(entries) => self.apply(now, entries, out),
            raft::Output::Install(snapshot) => self.install(now, snapshot, out),
            raft::Output::SnapshotNeeded => self.is_snapshot_needed = true,
            raft::Output::ReadReady { id, index } => self.reads.confirm(id, index),
            raft::Output::ReadFailed { id } => self.reads.fail(id),
            raft::Output::Report(event) => {
                if let raft::Event::RoleChanged { leader: Some(_), .. } = &event {
                    self.proposals.requeue_all();
                }
                let tells = matches!(
                    &event,
                    raft::Event::RebuildBegun { .. } | raft::Event::Rebuilt { .. }
                );
                out.push(Output::Report(Event::Raft { group: GROUP, event }));
                if tells {
                    self.describe(now, out);
                }
            }
        }
    }

    /// The others are told how this node is, whether it votes among it: without a leader nobody
    /// else could.
    pub(super) fn describe(&mut self, now: Now, out: &mut Outputs<Output>) {
        let is_rebuilding = self.raft.is_rebuilding();
        let metadata = Metadata { is_rebuilding, ..self.options.metadata.clone() };
        self.handle_swim(now, swim::Input::Describe(metadata), out);
    }

    /// Lease time runs on a leader that knows everything committed before it.
    fn follow_leadership(&mut self, now: Now) {
        let leads = self.raft.role() == Role::Leader && self.raft.has_committed_in_term();
        if leads && !self.lease_clock.is_running() {
            let leases = self.state.leases().iter();
            let leases = leases.map(|(id, lease)| (*id, Duration::from_millis(lease.ttl_ms)));
            self.lease_clock.start(now, leases);
        } else if !leads && self.lease_clock.is_running() {
            self.lease_clock.stop();
        }
    }

    fn apply(&mut self, now: Now, entries: Entries, out: &mut Outputs<Output>) {
        let mut events: Vec<KvEvent> = Vec::new();
        let keep_events = !self.watches.is_empty();
        for entry in entries {
            // R6: entries take effect in the order of the log, each once.
            assert!(entry.id.index == self.applied.next(), "no entry is skipped or repeated");
            self.applied = entry.id.index;
            let bytes = match entry.payload {
                Payload::Command(bytes) => bytes,
                Payload::Configuration(configuration) => {
                    if !configuration.is_joint() {
                        self.state.configured(entry.id.index, &configuration.voters);
                    }
                    continue;
                }
                Payload::Empty => continue,
            };
            self.unsaved_bytes += bytes.len() as u64;
            let applied = self.state.apply(entry.id.index, bytes);
            for news in applied.leases {
                self.on_lease_news(now, news, out);
            }
            for news in applied.groups {
                self.on_group_news(now, news, out);
            }
            for news in applied.members {
                self.on_member_news(now, entry.id.index, news, out);
            }
            if keep_events {
                events.extend(applied.events);
            }
            let Some((origin, boot, sequence)) = applied.origin else { continue };
            if origin != self.options.id {
                continue;
            }
            if let Some(id) = self.proposals.settle(boot, sequence) {
                // A repetition whose first copy came inside a snapshot: it happened, and its answer
                // is not known here.
                let reply = match applied.duplicate {
                    true => Reply::Failed(Failure::TimedOut),
                    false => Reply::Outcome(applied.outcome),
                };
                out.push(Output::Reply { id, reply });
            }
        }
        self.watches.on_applied(&events, self.state.revision(), out);
    }

    fn on_lease_news(&mut self, now: Now, news: LeaseNews, out: &mut Outputs<Output>) {
        match news {
            LeaseNews::Granted { id, ttl_ms } => {
                self.lease_clock.on_granted(now, id, Duration::from_millis(ttl_ms));
            }
            LeaseNews::Ended { id, expired } => {
                self.lease_clock.on_ended(id);
                if expired {
                    out.push(Output::Report(Event::LeaseExpired { lease: id.0 }));
                }
            }
        }
    }

    fn install(&mut self, now: Now, snapshot: Snapshot, out: &mut Outputs<Output>) {
        let state = State::restore(snapshot.data);
        // R6: a leader's snapshot, whole by its checksum, that cannot be read is a bug of one of
        // us.
        self.state = state.expect("a snapshot with a good checksum can be read");
        self.applied = snapshot.meta.last.index;
        self.snapshot_at = self.applied;
        self.unsaved_bytes = 0;
        assert!(!self.lease_clock.is_running(), "a leader installs no snapshot");
        self.route_members(out);
        self.is_scope_stale = true;
        self.watches.on_installed(&self.state, out);
        self.follow_record(now, out);
        self.next_chores = now;
    }

    /// Snapshots are made of a state that has everything the group has handed out: one to be saved,
    /// so that the log can shrink, or one for a peer that lags behind the log.
    fn take_snapshots(&mut self, now: Now, out: &mut Outputs<Output>) {
        let since = self.applied.0.saturating_sub(self.snapshot_at.0);
        let enough = self.options.snapshot_bytes.max(self.snapshot_size.saturating_mul(2));
        let is_due = since >= self.options.snapshot_entries
            || self.unsaved_bytes >= enough
            || self.is_snapshot_lost;
        let save = is_due && !self.raft.is_saving();
        if !save && !self.is_snapshot_needed {
            return;
        }
        assert!(self.applied == self.raft.applied(), "all that was handed out is applied");
        self.is_snapshot_needed = false;
        let snapshot = Snapshot { meta: self.raft.snapshot_meta(), data: self.state.snapshot() };
        if save {
            self.snapshot_at = self.applied;
            self.is_snapshot_lost = false;
            let (index, bytes) = (self.applied, snapshot.data.len() as u64);
            (self.unsaved_bytes, self.snapshot_size) = (0, bytes);
            out.push(Output::Report(Event::SnapshotTaken { index, bytes }));
        }
        self.handle_raft(now, raft::Input::Snapshot { snapshot, save }, out);
    }
}

pub(super) fn fail(id: RequestId, failure: Failure, out: &mut Outputs<Output>) {
    out.push(Output::Reply { id, reply: Reply::Failed(failure) });
}
