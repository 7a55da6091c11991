//! Commands asked of one group here and not settled: sent to whoever leads, again when leadership
//! moves.

use super::{GROUP_COMMAND_BYTES_MAX, Refusal};
use crate::base::{NodeId, Now, RequestId};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use prost::Message as _;

/// Most commands of one node waiting at one group: many times what a group carries out while one
/// waits, and well within the window in which a repetition is known.
pub(super) const PROPOSALS_MAX: usize = 4_096;

/// A command not settled this long is sent again: a lost connection may have taken it.
const RESEND_AFTER: Duration = Duration::from_millis(1_000);

/// A refused command waits this long before it is sent again.
const REFUSED_PAUSE: Duration = Duration::from_millis(20);

/// What an entry of a group's log carries: a command and what makes a repetition harmless (Raft
/// thesis 6.3).
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Proposal {
    /// The replica that took the command.
    #[prost(fixed64, tag = "1")]
    pub(super) origin: u64,
    /// Start counter of that node.
    #[prost(uint64, tag = "2")]
    pub(super) boot: u64,
    /// Numbered from 1 within a start and a group.
    #[prost(uint64, tag = "3")]
    pub(super) sequence: u64,
    /// Every sequence below this is settled.
    #[prost(uint64, tag = "4")]
    pub(super) settled_below: u64,
    /// What to do.
    #[prost(bytes = "bytes", tag = "5")]
    pub(super) command: Bytes,
}

/// Commands of this process in the order of their sequence.
#[derive(Clone, Debug)]
pub(super) struct Proposals {
    /// Sequence of the front of `pending`; every lower one is settled.
    first: u64,
    /// By sequence, without gaps; `None` is settled.
    pending: VecDeque<Option<Pending>>,
    /// Sequences to hand to the leader, ascending.
    unsent: VecDeque<u64>,
}

#[derive(Clone, Debug)]
struct Pending {
    /// Who waits; nobody when the client went.
    request: Option<RequestId>,
    bytes: Bytes,
    asked: Now,
    /// When it goes again if nothing is heard of it; `None` until it went.
    again: Option<Now>,
    /// How often it went.
    sent: u32,
}

impl Proposals {
    pub(super) fn new() -> Proposals {
        Proposals { first: 1, pending: VecDeque::new(), unsent: VecDeque::new() }
    }

    /// Takes a command; it leaves at the next flush.
    pub(super) fn add(
        &mut self,
        now: Now,
        (origin, boot): (NodeId, u64),
        request: RequestId,
        command: Bytes,
    ) -> Result<(), Refusal> {
        if self.pending.len() >= PROPOSALS_MAX {
            return Err(Refusal::Busy);
        }
        if command.len() > GROUP_COMMAND_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        let sequence = self.first + self.pending.len() as u64;
        let proposal =
            Proposal { origin: origin.0, boot, sequence, settled_below: self.first, command };
        let bytes = Bytes::from(proposal.encode_to_vec());
        let pending = Pending { request: Some(request), bytes, asked: now, again: None, sent: 0 };
        self.pending.push_back(Some(pending));
        self.unsent.push_back(sequence);
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Up to `count` commands to hand to the leader; they count as sent.
    pub(super) fn take_unsent(&mut self, now: Now, count: usize) -> Vec<Bytes> {
        let mut taken = Vec::new();
        while taken.len() < count
            && let Some(sequence) = self.unsent.pop_front()
        {
            let Some(pending) = self.pending_mut(sequence) else { continue };
            pending.again = Some(now + RESEND_AFTER);
            pending.sent = pending.sent.saturating_add(1);
            taken.push(pending.bytes.clone());
        }
        taken
    }

    /// Leadership moved: whatever is not settled goes to the new leader.
    pub(super) fn requeue_all(&mut self) {
        self.unsent.clear();
        for (sequence, pending) in (self.first..).zip(&mut self.pending) {
            if let Some(pending) = pending {
                pending.again = None;
                self.unsent.push_back(sequence);
            }
        }
    }

    /// Those that a connection may have lost, and those refused a while ago, go again.
    pub(super) fn requeue_silent(&mut self, now: Now) {
        let before = self.unsent.len();
        for (sequence, pending) in (self.first..).zip(&mut self.pending) {
            if let Some(pending) = pending
                && pending.again.is_some_and(|again| again <= now)
            {
                pending.again = None;
                self.unsent.push_back(sequence);
            }
        }
        if self.unsent.len() > before {
            self.unsent.make_contiguous().sort_unstable();
        }
    }

    /// The asked one did not append these: they go again after a pause.
    pub(super) fn refused(&mut self, now: Now, sequences: &[u64]) {
        for sequence in sequences {
            if let Some(pending) = self.pending_mut(*sequence)
                && let Some(again) = &mut pending.again
            {
                *again = (*again).min(now + REFUSED_PAUSE);
            }
        }
    }

    /// The asked one has no room for these. Whoever waits for one that went nowhere else is told;
    /// others go again, since an earlier copy may be in the log.
    pub(super) fn refused_for_space(&mut self, now: Now, sequences: &[u64]) -> Vec<RequestId> {
        self.refused(now, sequences);
        self.give_up(sequences, 1)
    }

    /// There is no room for those that wait to be sent. The same holds.
    pub(super) fn refuse_unsent(&mut self) -> Vec<RequestId> {
        let unsent: Vec<u64> = self.unsent.iter().copied().collect();
        self.give_up(&unsent, 0)
    }

    /// Forgets those that went so often.
    fn give_up(&mut self, sequences: &[u64], sent: u32) -> Vec<RequestId> {
        let mut waiting = Vec::new();
        for sequence in sequences {
            if self.pending_mut(*sequence).is_some_and(|pending| pending.sent == sent) {
                waiting.extend(self.settle(*sequence));
            }
        }
        waiting
    }

    /// An entry with this command was applied. Whoever waited for it, if it was not settled before.
    pub(super) fn settle(&mut self, sequence: u64) -> Option<RequestId> {
        let place = self.place(sequence)?;
        let request = self.pending[place].take().and_then(|pending| pending.request);
        self.forget_settled();
        request
    }

    /// The client went: the command may still happen, nobody waits for it.
    pub(super) fn cancel(&mut self, request: RequestId) {
        let waits = |pending: &&mut Pending| pending.request == Some(request);
        if let Some(pending) = self.pending.iter_mut().flatten().find(waits) {
            pending.request = None;
        }
    }

    /// Gives up those that waited longer than `timeout`: they are not sent again.
    pub(super) fn expire(&mut self, now: Now, timeout: Duration) -> Vec<RequestId> {
        let mut expired = Vec::new();
        while let Some(Some(pending)) = self.pending.front() {
            if now < pending.asked + timeout {
                break;
            }
            expired.extend(pending.request);
            self.pending[0] = None;
            self.forget_settled();
        }
        expired
    }

    fn forget_settled(&mut self) {
        while let Some(None) = self.pending.front() {
            self.pending.pop_front();
            self.first += 1;
        }
    }

    fn place(&self, sequence: u64) -> Option<usize> {
        let place = usize::try_from(sequence.checked_sub(self.first)?).ok()?;
        (place < self.pending.len()).then_some(place)
    }

    fn pending_mut(&mut self, sequence: u64) -> Option<&mut Pending> {
        let place = self.place(sequence)?;
        self.pending[place].as_mut()
    }
}
