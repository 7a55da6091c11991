//! How old what this node has applied is, and handing leadership on, whoever is asked.

use super::requests::fail;
use super::{Failure, Node, Output, PeerMessage, Reply};
use crate::base::{Index, NodeId, Now, Outputs, RequestId};
use crate::raft::{self, Message, Role, Unbound};
use alloc::vec::Vec;

/// Most transfers that wait at once: operators ask for them, one after the other.
const TRANSFERS_MAX: usize = 64;

/// What is known of how far the others are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Freshness {
    /// At this moment everything was applied here that the leader then told to be committed.
    at: Option<Now>,
    /// The highest commit index that a leader has told.
    told: Index,
}

/// Requests to hand leadership on that wait for it to have happened.
#[derive(Clone, Debug, Default)]
pub(super) struct Transfers {
    waiting: Vec<Transfer>,
}

#[derive(Clone, Copy, Debug)]
struct Transfer {
    request: RequestId,
    to: NodeId,
    asked: Now,
}

impl Transfers {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Freshness {
    /// A message of the control group came.
    pub(super) fn note(&mut self, message: &Message) {
        let told = match message {
            Message::Unbound(Unbound::Append { commit, .. }) => *commit,
            Message::Unbound(Unbound::Heartbeat { commit, .. }) => *commit,
            Message::Unbound(Unbound::SnapshotChunk { meta, .. }) => meta.last.index,
            _ => return,
        };
        self.told = self.told.max(told);
    }
}

impl Freshness {
    /// All was applied here that was committed at this moment.
    pub(super) fn note_at(&mut self, at: Now) {
        self.at = self.at.max(Some(at));
    }
}

impl Node {
    /// A message of the control group was handled.
    pub(super) fn note_fresh(&mut self, now: Now, from: NodeId) {
        let is_leader = self.raft.leader() == Some(from);
        if is_leader && self.raft.commit() >= self.freshness.told && !self.raft.is_rebuilding() {
            self.freshness.at = Some(now);
        }
    }

    /// When all was last applied here that the leader had told to be committed; a leader has it
    /// from its quorum. `None` while this process has heard no leader.
    ///
    /// What the state says is of this moment or later, but for what was on its way and for a
    /// leader that did not know yet that it was none any more: for no longer than an election
    /// time-out.
    pub fn fresh_at(&mut self, now: Now) -> Option<Now> {
        if self.raft.role() == Role::Leader && self.raft.has_committed_in_term() {
            let heard = self.raft.quorum_heard(now);
            let at = heard.map(|age| Now(now.0.saturating_sub(age.as_nanos() as u64)));
            self.freshness.at = self.freshness.at.max(at);
        }
        self.freshness.at
    }

    /// Has leadership handed to another voter: by this node if it leads, else by the leader, which
    /// is asked once. Answered when that one leads.
    pub(super) fn transfer(
        &mut self,
        now: Now,
        request: RequestId,
        to: NodeId,
        out: &mut Outputs<Output>,
    ) -> Result<(), Failure> {
        let leader = self.raft.leader().ok_or(Failure::NoLeader)?;
        if self.transfers.waiting.len() >= TRANSFERS_MAX {
            return Err(Failure::Busy { retry_after: self.options.raft.election_timeout_max });
        }
        self.transfers.waiting.push(Transfer { request, to, asked: now });
        if leader == self.options.id {
            self.on_transfer_asked(now, to, out);
        } else if leader != to {
            let message = PeerMessage::TransferLeader(to);
            out.push(Output::Send { to: leader, after: None, message });
        }
        self.settle_transfers(out);
        Ok(())
    }

    /// Hands leadership on, if this node has it.
    pub(super) fn on_transfer_asked(&mut self, now: Now, to: NodeId, out: &mut Outputs<Output>) {
        if self.raft.role() == Role::Leader && to != self.options.id {
            self.handle_raft(now, raft::Input::Transfer(to), out);
        }
    }

    /// Answers those whose wish has come true.
    pub(super) fn settle_transfers(&mut self, out: &mut Outputs<Output>) {
        let leader = self.raft.leader();
        self.transfers.waiting.retain(|one| {
            let is_done = leader == Some(one.to);
            if is_done {
                out.push(Output::Reply { id: one.request, reply: Reply::Done });
            }
            !is_done
        });
    }

    /// Gives up those that have waited for too long.
    pub(super) fn expire_transfers(&mut self, now: Now, out: &mut Outputs<Output>) {
        let patience = self.options.request_timeout;
        self.transfers.waiting.retain(|one| {
            let is_over = one.asked + patience <= now;
            if is_over {
                fail(one.request, Failure::TimedOut, out);
            }
            !is_over
        });
    }

    /// Nobody waits for this answer any more.
    pub(super) fn cancel_transfer(&mut self, request: RequestId) {
        self.transfers.waiting.retain(|one| one.request != request);
    }

    /// Answers whoever still waits.
    pub(super) fn abandon_transfers(&mut self, out: &mut Outputs<Output>) {
        for one in core::mem::take(&mut self.transfers.waiting) {
            fail(one.request, Failure::TimedOut, out);
        }
    }
}
