//! Writes asked for here and not settled: sent to whoever leads, again when leadership moves.

use super::{COMMAND_BYTES_MAX, Failure};
use crate::base::mutant::{self, Mutant};
use crate::base::{NodeId, Now, RequestId, Term};
use crate::state::{Command, Proposal};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use prost::Message as _;

/// Most writes of one node waiting at once: well above what one second of a busy node brings, and
/// within the window in which the state can tell a repetition.
pub(super) const PROPOSALS_MAX: usize = 16_384;

/// A proposal not settled this long is sent again: a lost connection may have taken it.
const RESEND_AFTER: Duration = Duration::from_millis(1_000);

/// A refused proposal waits this long before it is sent again: at once would be a race of refusals
/// between two nodes, as fast as the network carries them, that swells with every doubled message.
const REFUSED_PAUSE: Duration = Duration::from_millis(20);

/// Writes of this process in the order of their sequence.
#[derive(Debug)]
pub(super) struct Proposals {
    origin: NodeId,
    boot: u64,
    /// Sequence of the front of `pending`; every lower one is settled.
    first: u64,
    /// By sequence, without gaps; `None` is settled.
    pending: VecDeque<Option<Pending>>,
    /// Sequences to hand to the leader, ascending.
    unsent: VecDeque<u64>,
}

#[derive(Debug)]
struct Pending {
    /// Who waits; nobody for the node's own proposals and for clients that went.
    request: Option<RequestId>,
    bytes: Bytes,
    asked: Now,
    /// When it goes to the leader again if nothing is heard of it; `None` until it went.
    again: Option<Now>,
    /// How often it went.
    sent: u32,
    /// Only this node may append it, as the leader of this term; it is dropped when the term is
    /// over.
    only_in: Option<Term>,
}

impl Pending {
    fn asked(now: Now) -> Pending {
        Pending {
            request: None,
            bytes: Bytes::new(),
            asked: now,
            again: None,
            sent: 0,
            only_in: None,
        }
    }
}

impl Proposals {
    pub(super) fn new(origin: NodeId, boot: u64) -> Proposals {
        Proposals { origin, boot, first: 1, pending: VecDeque::new(), unsent: VecDeque::new() }
    }

    /// Takes a write; it leaves at the next flush.
    pub(super) fn add(
        &mut self,
        now: Now,
        request: Option<RequestId>,
        command: Command,
    ) -> Result<(), Failure> {
        self.push(command, Pending { request, ..Pending::asked(now) })
    }

    /// Takes a write that is the decision of the leader of this term: nobody else's log may have it
    /// from this node later, when another leader may have decided otherwise (K3).
    pub(super) fn add_as_leader(
        &mut self,
        now: Now,
        term: Term,
        command: Command,
    ) -> Result<(), Failure> {
        self.push(command, Pending { only_in: Some(term), ..Pending::asked(now) })
    }

    fn push(&mut self, command: Command, mut pending: Pending) -> Result<(), Failure> {
        if self.pending.len() >= PROPOSALS_MAX {
            return Err(Failure::Busy);
        }
        let sequence = self.first + self.pending.len() as u64;
        let proposal = Proposal {
            origin: self.origin.0,
            boot: self.boot,
            sequence,
            settled_below: self.first,
            command: Some(command),
        };
        if proposal.encoded_len() > COMMAND_BYTES_MAX {
            return Err(Failure::TooLarge);
        }
        pending.bytes = Bytes::from(proposal.encode_to_vec());
        self.pending.push_back(Some(pending));
        self.unsent.push_back(sequence);
        Ok(())
    }

    /// At most `most` of those to hand to the leader, which are from now on sent. `leads_in` is the
    /// term when that is this node.
    pub(super) fn take_unsent(
        &mut self,
        now: Now,
        most: usize,
        leads_in: Option<Term>,
    ) -> Vec<Bytes> {
        let mut batch = Vec::with_capacity(self.unsent.len().min(most));
        while batch.len() < most {
            let Some(sequence) = self.unsent.pop_front() else { break };
            // Settled meanwhile: an earlier copy was applied.
            let Some(pending) = self.pending_mut(sequence) else { continue };
            let is_kept = mutant::is_active(Mutant::LeaseEndForwarded);
            if pending.only_in.is_some() && pending.only_in != leads_in && !is_kept {
                self.settle(self.boot, sequence);
                continue;
            }
            pending.again = Some(now + RESEND_AFTER);
            pending.sent = pending.sent.saturating_add(1);
            batch.push(pending.bytes.clone());
        }
        batch
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Leadership moved: whatever is not settled goes to the new leader.
    pub(super) fn requeue_all(&mut self) {
        self.unsent.clear();
        for (place, pending) in self.pending.iter_mut().enumerate() {
            if let Some(pending) = pending {
                pending.again = None;
                self.unsent.push_back(self.first + place as u64);
            }
        }
    }

    /// Those that a connection may have lost, and those refused a while ago, go again.
    pub(super) fn requeue_silent(&mut self, now: Now) {
        let is_due = |pending: &Pending| pending.again.is_some_and(|again| again <= now);
        let before = self.unsent.len();
        for (sequence, pending) in (self.first..).zip(&mut self.pending) {
            if let Some(pending) = pending
                && is_due(pending)
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
        let is_first = |sent: u32| sent == 1;
        self.give_up(sequences, is_first)
    }

    /// There is no room for those that wait to be sent. The same holds.
    pub(super) fn refuse_unsent(&mut self) -> Vec<RequestId> {
        let unsent: Vec<u64> = self.unsent.iter().copied().collect();
        self.give_up(&unsent, |sent| sent == 0)
    }

    fn give_up(&mut self, sequences: &[u64], is_gone: impl Fn(u32) -> bool) -> Vec<RequestId> {
        let boot = self.boot;
        let is_gone = |pending: &mut Pending| is_gone(pending.sent);
        let mut waiting = Vec::new();
        for sequence in sequences {
            if self.pending_mut(*sequence).is_some_and(is_gone) {
                waiting.extend(self.settle(boot, *sequence));
            }
        }
        waiting
    }

    /// An entry with this proposal was applied. Whoever waited for it, if this is the process that
    /// proposed it and it was not settled before.
    pub(super) fn settle(&mut self, boot: u64, sequence: u64) -> Option<RequestId> {
        if boot != self.boot {
            return None;
        }
        let place = self.place(sequence)?;
        let request = self.pending[place].take().and_then(|pending| pending.request);
        self.forget_settled();
        request
    }

    /// The client went: the write may still happen, nobody waits for it.
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

    /// Gives everyone up who waits: the process stops.
    pub(super) fn abandon(&mut self) -> Vec<RequestId> {
        let waiting = self.pending.iter().flatten().filter_map(|pending| pending.request).collect();
        self.first += self.pending.len() as u64;
        self.pending.clear();
        self.unsent.clear();
        waiting
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
