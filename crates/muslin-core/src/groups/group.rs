//! One group's replica on this node: its consensus, its state, and who waits for it.

use super::snapshot;
use super::told::Told;
use super::types::Kept;
use super::{
    AFAR_ANSWER_BYTES_MAX, Answer, Ask, Claim, Event, Failure, GroupMachine, GroupStatus, Matter,
    Message, Output, Recovered,
};
use crate::base::mutant::{self, Mutant};
use crate::base::{
    GroupId, Index, LogId, Machine as _, NodeId, Now, Outputs, RequestId, Sum64, Wake,
};
use crate::plan::{self, VoterStep, VoterView};
use crate::raft::{
    self, Change, Configuration, Entries, Payload, Raft, Role, Snapshot, SnapshotMeta,
};
use crate::state::{Digest, GroupRecord, Sessions, Stub, Verdict};
use crate::waiting::{self, Proposal, Proposals, RETRY_AFTER_MIN, Reads, Relayed};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use prost::Message as _;

/// Who leads and who is named may differ this long before it is settled by force: the assigned
/// replica asks for votes although another leads, the leader claims the group although the assigned
/// one lives. Time enough to feed a replica that was away for a moment.
const HAND_OVER_TIME: Duration = Duration::from_secs(2);

/// A replica that lost or won an election against the record looks again after this: by then the
/// election it had a part in has ended.
const ELECTION_PAUSE: Duration = Duration::from_millis(100);

/// How often a hand-over, a claim or the search for a leader is tried again.
const SETTLE_AGAIN: Duration = Duration::from_millis(500);

/// Most commands of one node waiting at one group: many times what a group carries out while one
/// waits, and well within the window in which a repetition is known.
pub(super) const PROPOSALS_MAX: usize = 4_096;

/// Most queries of one node waiting at one group.
pub(super) const READS_MAX: usize = 4_096;

/// A query that waits for a round.
#[derive(Clone, Debug)]
struct Question {
    asker: Asker,
    query: Bytes,
}

/// Whom an answer is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asker {
    /// A client of this node.
    Here(RequestId),
    /// A node that keeps no replica, by its start and number.
    Afar { node: NodeId, boot: u64, number: u64 },
}

/// This node, as its groups see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Home {
    pub(super) id: NodeId,
    pub(super) boot: u64,
    pub(super) request_timeout: Duration,
    pub(super) snapshot_entries: u64,
    pub(super) snapshot_bytes: u64,
}

/// One group's replica on this node. A clone goes its own way.
#[derive(Clone, Debug)]
pub struct Group {
    home: Home,
    record: GroupRecord,
    raft: Raft,
    machine: Kept,
    sessions: Sessions,
    /// Last entry whose effect is in `machine`.
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
    proposals: Proposals,
    reads: Reads<Question>,
    /// Proposals of peers, for this leader to append at the next flush.
    relayed: Relayed,
    /// What was answered to nodes that keep no replica.
    told: Told,
    /// Who leads and who is named differ.
    dispute: Option<Dispute>,
    /// Not before this moment is the named replica asked again whether it leads.
    seek_again: Now,
    /// Entries applied since this was last asked for.
    fresh: u64,
}

#[derive(Clone, Copy, Debug)]
struct Dispute {
    since: Now,
    again: Now,
}

/// What is needed to open a replica.
pub(super) struct Opening {
    pub(super) home: Home,
    pub(super) raft: raft::Options,
    pub(super) record: GroupRecord,
    pub(super) machine: Kept,
    pub(super) recovered: Recovered,
    pub(super) seed: u64,
}

impl Group {
    /// A replica that continues from what is on the disk, or begins at the founding: the replicas
    /// in the record vote from the start, the same on each.
    ///
    /// # Panics
    /// When the saved snapshot cannot be read: the store has verified its checksum, so this is a
    /// bug.
    pub(super) fn open(opening: Opening, now: Now) -> Group {
        let Opening { home, raft: options, record, mut machine, mut recovered, seed } = opening;
        let mut sessions = Sessions::default();
        let snapshot_size = recovered.snapshot.as_ref().map_or(0, |bytes| bytes.len() as u64);
        match recovered.snapshot {
            Some(bytes) => {
                sessions = restored(bytes, &mut *machine);
            }
            None => {
                let voters = record.replicas.iter().map(|id| NodeId(*id));
                let configuration = Configuration::of_voters(voters);
                recovered.raft.snapshot = SnapshotMeta { last: LogId::ZERO, configuration };
            }
        }
        let applied = recovered.raft.snapshot.last.index;
        let raft = Raft::new(home.id, options, recovered.raft, seed, now);
        Group {
            home,
            record,
            raft,
            machine,
            sessions,
            applied,
            snapshot_at: applied,
            unsaved_bytes: 0,
            snapshot_size,
            is_snapshot_needed: false,
            is_snapshot_lost: false,
            proposals: Proposals::new(home.id, home.boot, PROPOSALS_MAX),
            reads: Reads::new(READS_MAX),
            relayed: Relayed::default(),
            told: Told::default(),
            dispute: None,
            seek_again: Now::START,
            fresh: 0,
        }
    }

    /// Which group.
    pub fn id(&self) -> GroupId {
        GroupId(self.record.id)
    }

    /// As it stands in the record.
    pub fn record(&self) -> &GroupRecord {
        &self.record
    }

    /// Its consensus.
    pub fn raft(&self) -> &Raft {
        &self.raft
    }

    /// What it replicates.
    pub fn machine(&self) -> &dyn GroupMachine {
        &*self.machine
    }

    /// The last entry whose effect is in the state.
    pub fn applied(&self) -> Index {
        self.applied
    }

    /// Replicas with equal applied indexes have equal digests (R6).
    pub fn digest(&self) -> u64 {
        let digest = Digest::new().number(self.applied.0).number(self.machine.digest());
        self.sessions.digest(digest).finish()
    }

    /// All that is known of it here.
    pub fn status(&self) -> GroupStatus {
        GroupStatus {
            record: self.record.clone(),
            role: self.raft.role(),
            term: self.raft.term(),
            leader: self.raft.leader(),
            last_index: self.raft.last().index,
            commit: self.raft.commit(),
            applied: self.applied,
            configuration: self.raft.configuration().clone(),
            digest: self.digest(),
        }
    }

    pub(super) fn deadline(&self) -> Option<(Now, Wake)> {
        self.raft.deadline()
    }

    /// The replicas on other nodes.
    pub(super) fn peers(&self) -> impl Iterator<Item = NodeId> + '_ {
        let home = self.home.id;
        self.record.replicas.iter().map(|id| NodeId(*id)).filter(move |id| *id != home)
    }

    /// Something is under way that must be looked after.
    pub(super) fn is_restless(&self) -> bool {
        !self.proposals.is_empty()
            || !self.reads.is_empty()
            || self.dispute.is_some()
            || self.is_under_repair()
    }

    /// Something waits for a flush.
    pub(super) fn is_waiting(&self) -> bool {
        self.proposals.has_unsent()
            || self.reads.has_waiting()
            || !self.relayed.is_empty()
            || self.raft.is_flush_due()
    }

    /// Whether the disk has lost what this replica promised, and there is no other to fetch it
    /// from: the group can only be taken out.
    pub fn is_lost(&self) -> bool {
        self.raft.is_rebuilding() && self.peers().next().is_none()
    }

    /// Whether a replica of it, this one or one of those it leads, waits for its vote.
    pub(super) fn is_rebuilt(&self) -> bool {
        self.raft.is_rebuilding() || self.is_under_repair()
    }

    /// A leader without all of its voters.
    fn is_under_repair(&self) -> bool {
        self.raft.role() == Role::Leader
            && (!self.raft.rebuilding().is_empty()
                || !self.raft.configuration().learners.is_empty())
    }
}

/// What is asked of it.
impl Group {
    /// Applies what the disk knew to be committed, and looks who is to lead.
    pub(super) fn begin(&mut self, now: Now, out: &mut Outputs<Output>) {
        let drive = self.raft.options().drive;
        self.look_for_dispute(now, Duration::ZERO);
        self.handle(now, raft::Input::Drive(drive), out);
        if self.is_lost() {
            let event = raft::Event::RebuildImpossible;
            out.push(Output::Report(Event::Raft { group: self.id(), event }));
        }
        self.tell_if_stuck(out);
    }

    /// With two voters neither can take the other's vote away: the one that rebuilds waits for
    /// ever, and somebody has to be told.
    fn tell_if_stuck(&self, out: &mut Outputs<Output>) {
        let configuration = self.raft.configuration();
        let is_of_two = configuration.voters.len() == 2 && configuration.is_voter(self.home.id);
        let other = configuration.voters.iter().find(|voter| **voter != self.home.id);
        if self.raft.is_rebuilding()
            && is_of_two
            && let Some(other) = other
        {
            let event = Event::CannotRebuild { group: self.id(), other: *other };
            out.push(Output::Report(event));
        }
    }

    pub(super) fn on_assigned(&mut self, now: Now, record: GroupRecord) {
        self.record = record;
        self.dispute = None;
        self.look_for_dispute(now, Duration::ZERO);
    }

    pub(super) fn on_ask(
        &mut self,
        now: Now,
        request: RequestId,
        ask: Ask,
        out: &mut Outputs<Output>,
    ) {
        let taken = match ask {
            Ask::Propose(_) | Ask::Query(_) if self.is_lost() => Err(Failure::Lost),
            Ask::Propose(_) if self.raft.stands_still() => Err(Failure::StandsStill),
            Ask::Propose(command) => self.proposals.add(now, Some(request), command),
            Ask::Query(query) => {
                let what = Question { asker: Asker::Here(request), query };
                self.reads.add(waiting::Ask { asked: now, what })
            }
            Ask::QueryLocal(query) => {
                out.push(Output::Reply { id: request, result: Ok(self.machine.query(&query)) });
                Ok(())
            }
        };
        if let Err(failure) = taken {
            fail(request, failure, out);
        }
    }

    /// A node that keeps no replica asks.
    pub(super) fn on_question(
        &mut self,
        now: Now,
        asker: Asker,
        (query, is_local): (Bytes, bool),
        out: &mut Outputs<Output>,
    ) {
        let taken = match is_local {
            _ if self.is_lost() => Err(Failure::Lost),
            true => {
                self.tell(asker, Ok(self.machine.query(&query)), out);
                Ok(())
            }
            false => {
                let what = Question { asker, query };
                self.reads.add(waiting::Ask { asked: now, what })
            }
        };
        if let Err(failure) = taken {
            self.tell(asker, Err(failure), out);
        }
    }

    /// Answers a question.
    fn tell(&self, asker: Asker, result: Result<Bytes, Failure>, out: &mut Outputs<Output>) {
        match asker {
            Asker::Here(id) => out.push(Output::Reply { id, result }),
            Asker::Afar { node, boot, number } => {
                let (group, matter) = (self.id(), Matter::Question(number));
                let answer = Answer::of_question(result);
                let message = Message::Answered { group, boot, matter, answer };
                out.push(Output::Send { to: node, after: None, message });
            }
        }
    }

    pub(super) fn on_relayed(&mut self, from: NodeId, proposals: Vec<Bytes>) {
        self.relayed.add(from, proposals);
    }

    pub(super) fn on_refused(
        &mut self,
        now: Now,
        sequences: &[u64],
        full: bool,
        out: &mut Outputs<Output>,
    ) {
        if !full {
            return self.proposals.refused(now, sequences);
        }
        for id in self.proposals.refused_for_space(now, sequences) {
            fail(id, Failure::NoSpace, out);
        }
    }

    pub(super) fn on_cancel(&mut self, request: RequestId) {
        self.proposals.cancel(request);
        self.reads.cancel(|question| question.asker == Asker::Here(request));
    }

    /// Gives up whoever waits: the process stops. A command may be in the log.
    pub(super) fn stop(&mut self, out: &mut Outputs<Output>) {
        self.abandon(Failure::TimedOut, Failure::Stopping, out);
    }

    /// Gives up whoever waits: the record has the group no more.
    pub(super) fn close(&mut self, out: &mut Outputs<Output>) {
        self.abandon(Failure::NoGroup, Failure::NoGroup, out);
    }

    fn abandon(&mut self, commands: Failure, queries: Failure, out: &mut Outputs<Output>) {
        for id in self.proposals.abandon() {
            fail(id, commands, out);
        }
        for question in self.reads.abandon() {
            self.tell(question.asker, Err(queries), out);
        }
    }

    /// What waits leaves: to the log, to the leader, or to a round of reads.
    pub(super) fn flush(&mut self, now: Now, out: &mut Outputs<Output>) {
        self.flush_proposals(now, out);
        self.handle(now, raft::Input::Flush, out);
        if self.reads.has_waiting() {
            match self.raft.leader() {
                Some(_) => {
                    let id = self.reads.start_round(now);
                    self.handle(now, raft::Input::Read(id), out);
                }
                None => self.seek_leader(now, out),
            }
        }
        self.answer_reads(out);
    }

    fn flush_proposals(&mut self, now: Now, out: &mut Outputs<Output>) {
        if !self.raft.accepts_proposals() {
            self.refuse_relayed(out);
            if self.raft.lacks_room() {
                for id in self.proposals.refuse_unsent() {
                    fail(id, Failure::NoSpace, out);
                }
            }
            if let Some(leader) = self.likely_leader() {
                let group = self.id();
                let is_spoken_to = self.raft.configuration().is_voter(self.home.id);
                for proposals in self.proposals.take_messages(now, is_spoken_to) {
                    let message = Message::Propose { group, proposals };
                    out.push(Output::Send { to: leader, after: None, message });
                }
            }
            return;
        }
        let limit = self.raft.options().uncommitted_entries_max;
        let room = limit.saturating_sub(self.raft.uncommitted());
        let mut batch = self.relayed.take(room);
        self.refuse_relayed(out);
        let own_room = room - batch.len();
        batch.extend(self.proposals.take_unsent(now, own_room, None));
        if !batch.is_empty() {
            self.handle(now, raft::Input::Propose(batch), out);
        }
    }

    /// Who is to be asked: the leader, or else, since a passive leader tells nobody that it leads
    /// unless there is something to tell, whoever is named.
    fn likely_leader(&self) -> Option<NodeId> {
        let named = self.record.leader.map(NodeId);
        self.raft.leader().or(named).filter(|leader| *leader != self.home.id)
    }

    /// What peers sent and was not appended.
    fn refuse_relayed(&mut self, out: &mut Outputs<Output>) {
        let (group, full) = (self.id(), self.raft.lacks_room());
        let leader = self.raft.leader().or(self.record.leader.map(NodeId));
        for (to, sequences) in self.relayed.refuse() {
            let message = Message::ProposeRefused { group, sequences, full, leader };
            out.push(Output::Send { to, after: None, message });
        }
    }

    /// A query waits, and who leads is not known here: a passive leader that has nothing to tell
    /// tells nobody that it leads. A message of no proposals asks it to.
    fn seek_leader(&mut self, now: Now, out: &mut Outputs<Output>) {
        let group = self.id();
        if let Some(to) = self.likely_leader()
            && self.seek_again <= now
            && !mutant::is_active(Mutant::LeaderNotSought)
        {
            self.seek_again = now + SETTLE_AGAIN;
            let message = Message::Propose { group, proposals: Vec::new() };
            out.push(Output::Send { to, after: None, message });
        }
    }

    fn answer_reads(&mut self, out: &mut Outputs<Output>) {
        for ask in self.reads.take_answerable(self.applied) {
            let Question { asker, query } = ask.what;
            self.tell(asker, Ok(self.machine.query(&query)), out);
        }
        if self.raft.stands_still() {
            for question in self.reads.take_confirmed() {
                self.tell(question.asker, Err(Failure::StandsStill), out);
            }
        }
    }
}

/// What is looked after while something is under way.
impl Group {
    /// Whatever has waited too long is tried again or given up.
    pub(super) fn do_chores(
        &mut self,
        now: Now,
        is_alive: impl Fn(NodeId) -> bool,
        out: &mut Outputs<Output>,
    ) {
        if self.raft.role() != Role::Leader {
            self.proposals.requeue_silent(now);
        }
        self.reads.retry_silent(now);
        let timeout = self.home.request_timeout;
        for id in self.proposals.expire(now, timeout) {
            fail(id, Failure::TimedOut, out);
        }
        for question in self.reads.expire(now, |_| timeout) {
            self.tell(question.asker, Err(Failure::TimedOut), out);
        }
        self.settle_dispute(now, &is_alive, out);
        if self.is_under_repair() {
            self.choose_voters(now, &is_alive, out);
        }
    }

    /// Whether who leads and who is named differ.
    fn look_for_dispute(&mut self, now: Now, pause: Duration) {
        let leads = self.raft.role() == Role::Leader;
        let is_named = self.record.leader == Some(self.home.id.0)
            || (!leads && mutant::is_active(Mutant::UnnamedCampaigns));
        if leads == is_named {
            self.dispute = None;
        } else if self.dispute.is_none() {
            self.dispute = Some(Dispute { since: now, again: now + pause });
        }
    }

    /// The named replica asks for votes; a leader that is not named hands over, or claims the
    /// group.
    fn settle_dispute(
        &mut self,
        now: Now,
        is_alive: &impl Fn(NodeId) -> bool,
        out: &mut Outputs<Output>,
    ) {
        let Some(dispute) = &mut self.dispute else { return };
        if now < dispute.again {
            return;
        }
        dispute.again = now + SETTLE_AGAIN;
        let is_patient = now < dispute.since + HAND_OVER_TIME;
        if self.raft.role() != Role::Leader {
            if self.raft.is_rebuilding() || !self.raft.configuration().is_voter(self.home.id) {
                // Nobody else campaigns while this one is named.
                if mutant::is_active(Mutant::NamedNeverDeclines) {
                    return;
                }
                return self.claim(true, out);
            }
            let leader = self.raft.leader();
            let is_led = leader.is_some_and(|leader| leader != self.home.id && is_alive(leader));
            // Whoever leads hands over to this one when it has heard of the assignment.
            if !(is_led && is_patient) {
                self.handle(now, raft::Input::Campaign, out);
            }
            return;
        }
        let named = self.record.leader.map(NodeId);
        match named.filter(|named| is_patient && is_alive(*named)) {
            Some(named) => self.handle(now, raft::Input::Transfer(named), out),
            None => self.claim(false, out),
        }
    }

    /// Tells the leader of the control group that the record says what cannot be, or is not.
    fn claim(&self, declines: bool, out: &mut Outputs<Output>) {
        let claim = Claim { group: self.id(), assignment: self.record.assignment, declines };
        out.push(Output::Claim(alloc::vec![claim]));
    }

    /// A replica whose disk has lost what it promised stops voting, is fed, and votes again (R11).
    fn choose_voters(
        &mut self,
        now: Now,
        is_alive: &impl Fn(NodeId) -> bool,
        out: &mut Outputs<Output>,
    ) {
        if !self.raft.has_committed_in_term() {
            return;
        }
        let replicas: BTreeSet<NodeId> =
            self.record.replicas.iter().map(|id| NodeId(*id)).collect();
        let configuration = self.raft.configuration();
        let view = VoterView {
            leader: self.home.id,
            voters: configuration.voters.clone(),
            learners: configuration.learners.clone(),
            changing: self.raft.is_changing(),
            alive: replicas.iter().copied().filter(|id| is_alive(*id)).collect(),
            members: replicas.clone(),
            wanted_voters: replicas.len(),
            control: replicas,
            rebuilding: self.raft.rebuilding().into_iter().collect(),
            matched: self.raft.progress().into_iter().collect(),
            last: self.raft.last().index,
            ..VoterView::default()
        };
        let Some(step) = plan::voters(&view).step else { return };
        let change = match step {
            VoterStep::AddLearner(node) => Change::AddLearner(node),
            VoterStep::Promote(node) => Change::AddVoter(node),
            VoterStep::Demote(node) => Change::Demote(node),
            VoterStep::Remove(node) => Change::Remove(node),
        };
        self.handle(now, raft::Input::Change(alloc::vec![change]), out);
    }
}

/// What its consensus says.
impl Group {
    pub(super) fn handle(&mut self, now: Now, input: raft::Input, out: &mut Outputs<Output>) {
        let mut said = Outputs::new();
        let speaker = match &input {
            raft::Input::Message { from, .. } => Some(*from),
            _ => None,
        };
        self.raft.handle(now, input, &mut said);
        for output in said.drain() {
            self.on_raft_output(output, out);
        }
        if speaker.is_some() && speaker == self.raft.leader() {
            self.proposals.leader_spoke();
        }
        self.look_for_dispute(now, ELECTION_PAUSE);
        self.take_snapshots(now, out);
    }

    fn on_raft_output(&mut self, output: raft::Output, out: &mut Outputs<Output>) {
        let group = self.id();
        match output {
            raft::Output::Persist { id, write } => out.push(Output::Persist { group, id, write }),
            raft::Output::Save { snapshot, keep_from } => {
                out.push(Output::Save { group, snapshot, keep_from });
            }
            raft::Output::Send { to, after, message } => {
                let after = after.map(|id| (group, id));
                let message = Message::Raft { group, message };
                out.push(Output::Send { to, after, message });
            }
            raft::Output::Commit(entries) => self.apply(entries, out),
            raft::Output::Install(snapshot) => self.install(snapshot),
            raft::Output::SnapshotNeeded => self.is_snapshot_needed = true,
            raft::Output::ReadReady { id, index } => {
                self.reads.confirm(id, index);
                self.answer_reads(out);
            }
            raft::Output::ReadFailed { id } => self.reads.fail(id),
            // Told when the replica was opened.
            raft::Output::Report(raft::Event::RebuildImpossible) if self.is_lost() => {}
            raft::Output::Report(event) => {
                if let raft::Event::RoleChanged { leader: Some(_), .. } = &event {
                    self.proposals.requeue_all();
                }
                let is_loss = matches!(event, raft::Event::RebuildBegun { .. });
                out.push(Output::Report(Event::Raft { group, event }));
                if is_loss {
                    self.tell_if_stuck(out);
                }
            }
        }
    }

    fn apply(&mut self, entries: Entries, out: &mut Outputs<Output>) {
        for entry in entries {
            // R6: entries take effect in the order of the log, each once.
            assert!(entry.id.index == self.applied.next(), "no entry is skipped or repeated");
            self.applied = entry.id.index;
            self.fresh += 1;
            let Payload::Command(bytes) = entry.payload else { continue };
            self.unsaved_bytes += bytes.len() as u64;
            let Ok(proposal) = Proposal::decode(bytes) else { continue };
            let Proposal { origin, boot, sequence, settled_below, command, asker: _ } = proposal;
            let origin = NodeId(origin);
            let stub = Stub { origin, boot, sequence, settled_below };
            let result = match self.sessions.admit(stub) {
                Verdict::Fresh => Ok(self.machine.apply(entry.id.index, command)),
                // Its first copy came inside a snapshot: it happened, and its answer is not known
                // here.
                Verdict::Duplicate => Err(Failure::TimedOut),
                Verdict::TooFar => Err(Failure::Busy { retry_after: RETRY_AFTER_MIN }),
            };
            if !self.record.replicas.contains(&origin.0) {
                self.answer_afar(stub, result, out);
            } else if origin == self.home.id
                && let Some(id) = self.proposals.settle(boot, sequence)
            {
                out.push(Output::Reply { id, result });
            }
        }
        self.answer_reads(out);
    }

    /// A command of a node that keeps no replica was applied: whoever leads tells it.
    fn answer_afar(
        &mut self,
        stub: Stub,
        result: Result<Bytes, Failure>,
        out: &mut Outputs<Output>,
    ) {
        let answer = match result {
            Ok(bytes) => {
                self.told.keep(stub, &bytes);
                Answer::Said(bytes)
            }
            Err(Failure::Busy { retry_after }) => Answer::Busy { retry_after },
            Err(_) => self.told.find(stub).map_or(Answer::Gone, Answer::Said),
        };
        if self.raft.role() != Role::Leader {
            return;
        }
        let answer = match answer {
            Answer::Said(bytes) if bytes.len() > AFAR_ANSWER_BYTES_MAX => Answer::TooLong,
            answer => answer,
        };
        let (group, matter) = (self.id(), Matter::Command(stub.sequence));
        let message = Message::Answered { group, boot: stub.boot, matter, answer };
        out.push(Output::Send { to: stub.origin, after: None, message });
    }

    fn install(&mut self, snapshot: Snapshot) {
        self.sessions = restored(snapshot.data, &mut *self.machine);
        self.applied = snapshot.meta.last.index;
        self.snapshot_at = self.applied;
        self.unsaved_bytes = 0;
    }

    /// The saved snapshot was found damaged: one of the present state takes its place, at once or
    /// when the one that is being saved is.
    pub(super) fn on_snapshot_lost(&mut self, now: Now, out: &mut Outputs<Output>) {
        self.is_snapshot_lost = true;
        self.take_snapshots(now, out);
    }

    /// Entries whose effect is in no snapshot.
    pub(crate) fn unsaved(&self) -> u64 {
        self.applied.0.saturating_sub(self.snapshot_at.0)
    }

    /// How many entries were applied since this was last asked.
    pub(super) fn take_fresh(&mut self) -> u64 {
        core::mem::take(&mut self.fresh)
    }

    fn take_snapshots(&mut self, now: Now, out: &mut Outputs<Output>) {
        let enough = self.home.snapshot_bytes.max(self.snapshot_size.saturating_mul(2));
        let is_due = self.unsaved() >= self.home.snapshot_entries
            || self.unsaved_bytes >= enough
            || self.is_snapshot_lost;
        let save = is_due && !self.raft.is_saving();
        if save || self.is_snapshot_needed {
            self.take_snapshot(now, save, out);
        }
    }

    /// Snapshots are made of a state that has everything the group has handed out: one to be saved,
    /// so that the log can shrink, or one for a peer that lags behind the log.
    pub(super) fn take_snapshot(&mut self, now: Now, save: bool, out: &mut Outputs<Output>) {
        assert!(self.applied == self.raft.applied(), "all that was handed out is applied");
        self.is_snapshot_needed = false;
        let data = snapshot::encode(&self.sessions, self.machine.snapshot());
        if save {
            self.snapshot_at = self.applied;
            (self.unsaved_bytes, self.snapshot_size) = (0, data.len() as u64);
            self.is_snapshot_lost = false;
        }
        let snapshot = Snapshot { meta: self.raft.snapshot_meta(), data };
        let checksum = Sum64::of(&snapshot.data);
        self.handle(now, raft::Input::Snapshot { snapshot, checksum, save }, out);
    }
}

fn fail(id: RequestId, failure: Failure, out: &mut Outputs<Output>) {
    out.push(Output::Reply { id, result: Err(failure) });
}

/// Puts a state back in place. R6: what was saved or sent was made by [`Group::take_snapshot`] and
/// has a good checksum, so that it can be read unless one of us has a bug.
fn restored(bytes: Bytes, machine: &mut dyn GroupMachine) -> Sessions {
    let (sessions, state) =
        snapshot::decode(bytes).expect("a snapshot with a good checksum can be read");
    machine.restore(state).expect("a machine reads the snapshots it makes");
    sessions
}
