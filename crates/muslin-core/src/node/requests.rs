//! What is asked of the node: taken in, sent off together at a flush, answered.

use super::leases::answer_to;
use super::machine::Node;
use super::reads::{Ask, Asker, Record, What};
use super::{Consistency, Failure, KeepAliveAnswer, Output, PeerMessage, Reply, Request};
use crate::base::mutant::{self, Mutant};
use crate::base::{LeaseId, Now, Outputs, RequestId};
use crate::groups;
use crate::raft::{self, Role};
use crate::state::{self, Command, CommandKind, LeaseRevoke, Needs, Refusal};
use crate::waiting::Intent;
use alloc::boxed::Box;
use bytes::Bytes;
use core::time::Duration;
use prost::Message as _;

/// How often a node looks for what has waited too long, while something waits.
pub(super) const CHORES_BUSY: Duration = Duration::from_millis(20);

/// What is asked of a group waits this long to learn whether there is one: an election and a round.
const RECORD_PATIENCE: Duration = Duration::from_secs(2);

impl Node {
    pub(super) fn on_request(
        &mut self,
        now: Now,
        (id, asker): (RequestId, state::Asker),
        request: Request,
        out: &mut Outputs<Output>,
    ) {
        if self.is_stopping && !matches!(request, Request::Status) {
            return fail(id, Failure::Stopping, out);
        }
        if let Err(failure) = self.check_asker(&asker, &request) {
            return fail(id, failure, out);
        }
        let taken = match request {
            Request::Write(_) if self.raft.stands_still() => Err(Failure::StandsStill),
            Request::Write(command) => {
                self.proposals.add(now, Some(id), Intent::of(encoded(&command), &asker))
            }
            Request::Read { query, consistency: Consistency::Local } => {
                let outcome = self.state.query_by(&asker, &query);
                out.push(Output::Reply { id, reply: Reply::Outcome(outcome) });
                Ok(())
            }
            Request::Read { query, consistency } => {
                let what = What::Query { request: id, asker, query };
                let ask = Ask { asked: now, what };
                match consistency {
                    Consistency::Lease => self.reads.add_for_lease(ask),
                    _ => self.reads.add(ask),
                }
            }
            Request::Watch(spec) => {
                self.watches.start((self.applied, &self.state), (id, asker), &spec, out);
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
            // The groups have a pace of their own.
            Request::Group { group, ask } => return self.ask_group(now, id, (group, ask), out),
            Request::GroupStatus(group) => return out.push(self.group_status(id, group)),
            Request::Freeze => {
                let frozen = Reply::Frozen(Box::new(self.state.freeze()));
                return out.push(Output::Reply { id, reply: frozen });
            }
        };
        if let Err(failure) = taken {
            fail(id, failure, out);
        }
        // Something waits from here on: it must not wait for the idle pace.
        self.next_chores = self.next_chores.min(now + CHORES_BUSY);
    }

    /// What is checked here and not where it is applied or answered: calls about no keys, of which
    /// this node's own copy says enough.
    fn check_asker(&self, asker: &state::Asker, request: &Request) -> Result<(), Failure> {
        let checked = match request {
            Request::KeepAlive(_) | Request::TimeToLive(_) => {
                self.state.check_needs(asker, Needs::Known)
            }
            Request::TransferLeader(_) | Request::Freeze => {
                self.state.check_needs(asker, Needs::Root)
            }
            Request::Write(Command { kind: Some(kind) })
                if mutant::is_active(Mutant::AuthCheckedBeforeLog) =>
            {
                self.state.check_command(asker, kind)
            }
            _ => Ok(()),
        };
        match checked {
            Err(Refusal::Auth(refusal)) => Err(Failure::Denied(refusal)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    pub(super) fn on_cancel(&mut self, id: RequestId) {
        self.proposals.cancel(id);
        self.reads.cancel(|what| what.waiter() == Some(id));
        self.groups.cancel(id);
        self.cancel_transfer(id);
    }
}

/// What leaves at a flush.
impl Node {
    pub(super) fn on_flush(&mut self, now: Now, out: &mut Outputs<Output>) {
        self.snapshots.turn_ends(now);
        self.flush_leases(now, out);
        self.flush_proposals(now, out);
        if self.raft.is_flush_due() {
            self.handle_raft(now, raft::Input::Flush, out);
        }
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
        self.take_snapshots(now, out);
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
                let is_spoken_to = self.raft.configuration().is_voter(self.options.id);
                for proposals in self.proposals.take_messages(now, is_spoken_to) {
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

    pub(super) fn expire_reads(&mut self, now: Now, out: &mut Outputs<Output>) {
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
    pub(super) fn fail_read(&mut self, what: &What, failure: Failure, out: &mut Outputs<Output>) {
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
    pub(super) fn take_lease_question(&mut self, ask: Ask, out: &mut Outputs<Output>) {
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
                    self.put_to_group(now, request, (group, ask), out);
                }
                What::Query { request, asker, query } => {
                    let reply = Reply::Outcome(self.state.query_by(&asker, &query));
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
        let Some(granted) = self.state.lease(lease) else {
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
    pub(super) fn end_leases(&mut self, now: Now) {
        if !self.lease_clock.is_running() || !self.raft.accepts_proposals() {
            return;
        }
        let keys_of = |id| self.state.lease(id).map_or(0, |lease| lease.keys().len());
        let ended = self.lease_clock.take_ended(now, keys_of);
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

pub(super) fn fail(id: RequestId, failure: Failure, out: &mut Outputs<Output>) {
    out.push(Output::Reply { id, reply: Reply::Failed(failure) });
}

pub(super) fn encoded(command: &Command) -> Bytes {
    Bytes::from(command.encode_to_vec())
}
