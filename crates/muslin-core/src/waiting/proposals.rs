//! Commands asked of one group here and not settled: sent to whoever leads, again when leadership
//! moves.

use super::{COMMAND_BYTES_MAX, Failure, retry_after};
use crate::base::mutant::{self, Mutant};
use crate::base::{NodeId, Now, RequestId, Term};
use crate::state::{AskedBy, Asker};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use prost::Message as _;

/// A proposal not settled this long is sent again: a lost connection may have taken it.
const RESEND_AFTER: Duration = Duration::from_millis(1_000);

/// A refused proposal waits this long before it is sent again: at once would be a race of refusals
/// between two nodes, as fast as the network carries them, that swells with every doubled message.
const REFUSED_PAUSE: Duration = Duration::from_millis(20);

/// Payload bytes in one message of proposals to the leader; a larger proposal travels alone.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// With a message under way, this much is handed to the leader without waiting for a word of it.
const GATHER_BYTES: usize = 64 << 10;

/// What an entry of a group's log carries: a command and what makes a repetition harmless (Raft
/// thesis 6.3). The control group's [`state::Proposal`](crate::state::Proposal) is the same bytes
/// with the command read.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Proposal {
    /// The replica that took the command.
    #[prost(fixed64, tag = "1")]
    pub(crate) origin: u64,
    /// Start counter of that node.
    #[prost(uint64, tag = "2")]
    pub(crate) boot: u64,
    /// Numbered from 1 within a start and a group.
    #[prost(uint64, tag = "3")]
    pub(crate) sequence: u64,
    /// Every sequence below this is settled.
    #[prost(uint64, tag = "4")]
    pub(crate) settled_below: u64,
    /// What to do.
    #[prost(bytes = "bytes", tag = "5")]
    pub(crate) command: Bytes,
    /// On whose behalf, in the control group.
    #[prost(message, optional, tag = "6")]
    pub(crate) asker: Option<AskedBy>,
}

/// A command, and on whose behalf it is proposed.
pub(crate) struct Intent {
    command: Bytes,
    asker: Option<AskedBy>,
}

impl Intent {
    pub(crate) fn of(command: Bytes, asker: &Asker) -> Intent {
        Intent { command, asker: asker.proposed() }
    }
}

/// The cluster's own.
impl From<Bytes> for Intent {
    fn from(command: Bytes) -> Intent {
        Intent { command, asker: None }
    }
}

/// Commands of this process in the order of their sequence.
#[derive(Clone, Debug)]
pub(crate) struct Proposals {
    origin: NodeId,
    boot: u64,
    /// Most that may wait at once.
    limit: usize,
    /// Sequence of the front of `pending`; every lower one is settled.
    first: u64,
    /// By sequence, without gaps; `None` is settled.
    pending: VecDeque<Option<Pending>>,
    /// Sequences to hand to the leader, ascending.
    unsent: VecDeque<u64>,
    /// Payload bytes of those, about: what was settled unsent counts as well.
    unsent_bytes: usize,
    /// When a message of them went to a leader that has said nothing since.
    under_way: Option<Now>,
}

#[derive(Clone, Debug)]
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

/// What comes in.
impl Proposals {
    /// Of this node in this start of its process.
    pub(crate) fn new(origin: NodeId, boot: u64, limit: usize) -> Proposals {
        let (pending, unsent) = (VecDeque::new(), VecDeque::new());
        let (unsent_bytes, under_way) = (0, None);
        Proposals { origin, boot, limit, first: 1, pending, unsent, unsent_bytes, under_way }
    }

    /// Takes a command; it leaves at the next flush.
    pub(crate) fn add(
        &mut self,
        now: Now,
        request: Option<RequestId>,
        intent: impl Into<Intent>,
    ) -> Result<(), Failure> {
        self.push(now, intent.into(), |pending| pending.request = request)
    }

    /// Takes a command that is the decision of the leader of this term: nobody else's log may have
    /// it from this node later, when another leader may have decided otherwise (K3).
    pub(crate) fn add_as_leader(
        &mut self,
        now: Now,
        term: Term,
        command: Bytes,
    ) -> Result<(), Failure> {
        self.push(now, command.into(), |pending| pending.only_in = Some(term))
    }

    fn push(
        &mut self,
        now: Now,
        intent: Intent,
        describe: impl FnOnce(&mut Pending),
    ) -> Result<(), Failure> {
        if self.pending.len() >= self.limit {
            let oldest = self.pending.front().and_then(|front| Some(front.as_ref()?.asked));
            return Err(Failure::Busy { retry_after: retry_after(now, oldest.unwrap_or(now)) });
        }
        let Intent { command, asker } = intent;
        if command.len() > COMMAND_BYTES_MAX {
            return Err(Failure::TooLarge);
        }
        let sequence = self.first + self.pending.len() as u64;
        let (origin, boot) = (self.origin.0, self.boot);
        let settled_below = self.first;
        let proposal = Proposal { origin, boot, sequence, settled_below, command, asker };
        let bytes = Bytes::from(proposal.encode_to_vec());
        self.unsent_bytes += bytes.len();
        let mut pending =
            Pending { request: None, bytes, asked: now, again: None, sent: 0, only_in: None };
        describe(&mut pending);
        self.pending.push_back(Some(pending));
        self.unsent.push_back(sequence);
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

/// What leaves.
impl Proposals {
    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// At most `most` of those to hand to the leader, which are from now on sent. `leads_in` is the
    /// term when that is this node.
    pub(crate) fn take_unsent(
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
        if self.unsent.is_empty() {
            self.unsent_bytes = 0;
        }
        batch
    }

    /// All that is to be handed to another node that leads, by message. Where that one speaks to
    /// this node, little waits while a message is under way until it has spoken: what it was handed
    /// comes back with its next append, and what waits goes with the one after. Not for longer than
    /// it takes to send the message again: a passive leader to whom it did not come says nothing.
    pub(crate) fn take_messages(&mut self, now: Now, is_spoken_to: bool) -> Vec<Vec<Bytes>> {
        let is_under_way = self.under_way.is_some_and(|went| now < went + RESEND_AFTER);
        let waits = is_spoken_to && is_under_way && self.unsent_bytes < GATHER_BYTES;
        if waits || self.unsent.is_empty() {
            return Vec::new();
        }
        let (mut messages, mut last, mut bytes) = (Vec::new(), Vec::new(), 0);
        for proposal in self.take_unsent(now, usize::MAX, None) {
            if bytes + proposal.len() > MESSAGE_BYTES_MAX && !last.is_empty() {
                messages.push(core::mem::take(&mut last));
                bytes = 0;
            }
            bytes += proposal.len();
            last.push(proposal);
        }
        if !last.is_empty() {
            messages.push(last);
        }
        // All of them may have been given up meanwhile.
        if !messages.is_empty() {
            self.under_way = Some(now);
        }
        messages
    }

    /// The leader said something after what was handed to it: more may leave.
    pub(crate) fn leader_spoke(&mut self) {
        self.under_way = None;
    }

    /// Leadership moved: whatever is not settled goes to the new leader.
    pub(crate) fn requeue_all(&mut self) {
        self.under_way = None;
        self.unsent.clear();
        for (sequence, pending) in (self.first..).zip(&mut self.pending) {
            if let Some(pending) = pending {
                pending.again = None;
                self.unsent.push_back(sequence);
            }
        }
    }

    /// Those that a connection may have lost, and those refused a while ago, go again.
    pub(crate) fn requeue_silent(&mut self, now: Now) {
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
            self.under_way = None;
            self.unsent.make_contiguous().sort_unstable();
        }
    }
}

/// What comes of them.
impl Proposals {
    /// An entry with this proposal was applied. Whoever waited for it, if this is the process that
    /// proposed it and it was not settled before.
    pub(crate) fn settle(&mut self, boot: u64, sequence: u64) -> Option<RequestId> {
        if boot != self.boot {
            return None;
        }
        let place = self.place(sequence)?;
        let request = self.pending[place].take().and_then(|pending| pending.request);
        self.forget_settled();
        request
    }

    /// The asked one did not append these: they go again after a pause.
    pub(crate) fn refused(&mut self, now: Now, sequences: &[u64]) {
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
    pub(crate) fn refused_for_space(&mut self, now: Now, sequences: &[u64]) -> Vec<RequestId> {
        self.refused(now, sequences);
        self.give_up(sequences, 1)
    }

    /// There is no room for those that wait to be sent. The same holds.
    pub(crate) fn refuse_unsent(&mut self) -> Vec<RequestId> {
        let unsent: Vec<u64> = self.unsent.iter().copied().collect();
        self.give_up(&unsent, 0)
    }

    /// Forgets those that went so often.
    fn give_up(&mut self, sequences: &[u64], sent: u32) -> Vec<RequestId> {
        let mut waiting = Vec::new();
        for sequence in sequences {
            if self.pending_mut(*sequence).is_some_and(|pending| pending.sent == sent) {
                waiting.extend(self.settle(self.boot, *sequence));
            }
        }
        waiting
    }

    /// The client went: the command may still happen, nobody waits for it.
    pub(crate) fn cancel(&mut self, request: RequestId) {
        let waits = |pending: &&mut Pending| pending.request == Some(request);
        if let Some(pending) = self.pending.iter_mut().flatten().find(waits) {
            pending.request = None;
        }
    }

    /// Gives up those that waited longer than `timeout`: they are not sent again.
    pub(crate) fn expire(&mut self, now: Now, timeout: Duration) -> Vec<RequestId> {
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

    /// Gives everyone up who waits: the process stops, or the group is gone.
    pub(crate) fn abandon(&mut self) -> Vec<RequestId> {
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
        if self.pending.is_empty() {
            self.under_way = None;
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
