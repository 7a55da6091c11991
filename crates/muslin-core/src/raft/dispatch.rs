//! How a message finds its handler: terms first, then kinds.

use super::arriving::Chunk;
use super::follower::Append;
use super::reads::Answer;
use super::sanity::{is_sane, term_of};
use super::snapshots::{Piece, Taken};
use super::{Bound, Message, Output, Raft, Unbound};
use crate::base::mutant::{self, Mutant};
use crate::base::{NodeId, Outputs};

impl Raft {
    /// A message of an earlier term is answered, one of a later term is taken over; then it is of
    /// the present term, and is handled.
    pub(super) fn on_message(&mut self, from: NodeId, message: Message, out: &mut Outputs<Output>) {
        if from == self.id || !is_sane(&message) {
            return;
        }
        let term = term_of(&message);
        if term < self.term {
            if let (Message::Bound(Bound::VoteReply { granted, .. }), true) =
                (&message, mutant::is_active(Mutant::OldVotesCounted))
            {
                return self.on_vote_reply(from, *granted, out);
            }
            return self.answer_outdated(from, message, out);
        }
        if term > self.term && !self.admits_term(from, &message, out) {
            return;
        }
        match message {
            Message::Unbound(message) => self.on_unbound(from, message, out),
            Message::Bound(message) => self.on_bound(from, message, out),
        }
    }

    /// Takes over a higher term, where the message carries one that is to be taken over. False when
    /// the message is to be ignored.
    fn admits_term(&mut self, from: NodeId, message: &Message, out: &mut Outputs<Output>) -> bool {
        let (leader, why) = match message {
            // These name a term that nobody is in yet.
            Message::Unbound(Unbound::PreVote { .. })
            | Message::Unbound(Unbound::PreVoteReply { granted: true, .. }) => return true,
            Message::Unbound(Unbound::PreVoteReply { .. })
                if mutant::is_active(Mutant::PreVoteDeadlock) =>
            {
                return false;
            }
            Message::Bound(Bound::Vote { transfer: false, .. }) if self.hears_leader() => {
                return false;
            }
            Message::Unbound(
                Unbound::Append { .. }
                | Unbound::Heartbeat { .. }
                | Unbound::SnapshotChunk { .. }
                | Unbound::TimeoutNow { .. },
            ) => (Some(from), "heard the leader of a later term"),
            _ => (None, "heard of a later term"),
        };
        self.enter_term(term_of(message), leader, out);
        self.announce(why, out);
        true
    }

    fn on_unbound(&mut self, from: NodeId, message: Unbound, out: &mut Outputs<Output>) {
        match message {
            Unbound::PreVote { term, last } => self.on_pre_vote(from, term, last, out),
            Unbound::PreVoteReply { term, granted } => {
                self.on_pre_vote_reply(from, term, granted, out);
            }
            Unbound::Append { session, prev, entries, commit, .. } => {
                if self.follow(from, out) {
                    self.on_append(from, Append { session, prev, entries, commit }, out);
                }
            }
            Unbound::Heartbeat { session, commit, matched, round, lease, .. } => {
                if self.follow(from, out) {
                    self.note_lease(lease);
                    self.on_heartbeat(commit, matched, out);
                    self.answer_heartbeat(from, session, round, out);
                }
            }
            Unbound::SnapshotChunk {
                session,
                cluster,
                meta,
                offset,
                total,
                checksum,
                data,
                ..
            } => {
                if self.follow(from, out) {
                    let chunk = Chunk { meta, offset, total, checksum, data };
                    let piece = Piece { session, cluster, chunk };
                    self.on_snapshot_chunk(from, piece, out);
                }
            }
            Unbound::TimeoutNow { .. } => self.on_timeout_now(from, out),
            Unbound::ReadIndex { id, lease, .. } => self.on_read_index(from, id, lease, out),
            Unbound::ReadIndexReply { id, index, silent, .. } => {
                self.on_read_index_reply(from, id, Answer { index, silent }, out);
            }
        }
    }

    fn on_bound(&mut self, from: NodeId, message: Bound, out: &mut Outputs<Output>) {
        match message {
            Bound::Vote { last, .. } => self.on_vote(from, last, out),
            Bound::VoteReply { granted, .. } => self.on_vote_reply(from, granted, out),
            Bound::AppendReply { session, result, condition, .. } => {
                if self.note_condition(from, session, condition, out) {
                    self.on_append_reply(from, result);
                }
            }
            Bound::HeartbeatReply { session, round, condition, .. } => {
                if self.note_condition(from, session, condition, out) {
                    self.on_heartbeat_reply(from, round, out);
                }
            }
            Bound::SnapshotReply { session, last, received, installed, condition, .. } => {
                let taken = Taken { session, last, received, installed, condition };
                self.on_snapshot_reply(from, taken, out);
            }
        }
    }
}
