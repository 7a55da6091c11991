//! Linearizable reads: those that come between two flushes share one read index.

use super::Failure;
use crate::base::{Index, LeaseId, NodeId, Now, RequestId};
use crate::raft::ReadId;
use crate::state::Query;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

/// Most reads of one node waiting at once.
const READS_MAX: usize = 16_384;

/// A read index not told this long is asked for again, under a fresh id: the message may be lost.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// Something to answer once a quorum has confirmed the leader after it was asked.
#[derive(Debug)]
pub(super) struct Ask {
    /// When it was asked, by this node's clock.
    pub(super) asked: Now,
    /// What.
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// Read the state.
    Query { request: RequestId, query: Query },
    /// Leader only: tell how long a lease has left, extending it first when `extend`.
    Lease { asker: Asker, lease: LeaseId, extend: bool },
}

/// Who asked about a lease.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asker {
    Local(RequestId),
    Peer { node: NodeId, number: u64 },
}

/// Reads on their way.
#[derive(Debug, Default)]
pub(super) struct Reads {
    last_id: u64,
    /// Not yet given to a round.
    waiting: Vec<Ask>,
    /// The same, for those that an answer by the leader's lease will do for.
    waiting_for_lease: Vec<Ask>,
    /// Asked of the leader, by the id of the round.
    rounds: BTreeMap<ReadId, Round>,
    /// To be answered when the state has come so far.
    confirmed: BTreeMap<Index, Vec<Ask>>,
    count: usize,
}

#[derive(Debug)]
struct Round {
    started: Now,
    asks: Vec<Ask>,
}

impl Reads {
    pub(super) fn add(&mut self, ask: Ask) -> Result<(), Failure> {
        if self.count >= READS_MAX {
            return Err(Failure::Busy);
        }
        self.count += 1;
        self.waiting.push(ask);
        Ok(())
    }

    /// As [`Reads::add`]; the leader's lease will do.
    pub(super) fn add_for_lease(&mut self, ask: Ask) -> Result<(), Failure> {
        self.add(ask)?;
        self.waiting_for_lease.extend(self.waiting.pop());
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn has_waiting_for_lease(&self) -> bool {
        !self.waiting_for_lease.is_empty()
    }

    /// Puts all that wait in one round; its id was never used before in this process.
    pub(super) fn start_round(&mut self, now: Now) -> ReadId {
        let asks = core::mem::take(&mut self.waiting);
        self.start(now, asks)
    }

    /// The same for those that wait for an answer by the lease; without one they get a full round.
    pub(super) fn start_lease_round(&mut self, now: Now) -> ReadId {
        let asks = core::mem::take(&mut self.waiting_for_lease);
        self.start(now, asks)
    }

    fn start(&mut self, now: Now, asks: Vec<Ask>) -> ReadId {
        assert!(!asks.is_empty(), "a round is started for someone");
        self.last_id += 1;
        let id = ReadId(self.last_id);
        self.rounds.insert(id, Round { started: now, asks });
        id
    }

    /// The leader was confirmed: a state at `index` or later answers the round.
    pub(super) fn confirm(&mut self, id: ReadId, index: Index) {
        if let Some(round) = self.rounds.remove(&id) {
            self.confirmed.entry(index).or_default().extend(round.asks);
        }
    }

    /// The round cannot be told: its reads wait for another.
    pub(super) fn fail(&mut self, id: ReadId) {
        if let Some(round) = self.rounds.remove(&id) {
            self.waiting.extend(round.asks);
        }
    }

    /// Whatever can be answered from a state applied up to `applied`.
    pub(super) fn take_answerable(&mut self, applied: Index) -> Vec<Ask> {
        let mut asks = Vec::new();
        while let Some(entry) = self.confirmed.first_entry()
            && *entry.key() <= applied
        {
            asks.extend(entry.remove());
        }
        self.count -= asks.len();
        asks
    }

    /// Rounds whose answer may be lost are asked for again.
    pub(super) fn retry_silent(&mut self, now: Now) {
        let silent: Vec<ReadId> = (self.rounds.iter())
            .filter(|(_, round)| round.started + RETRY_AFTER <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in silent {
            self.fail(id);
        }
    }

    /// The client went.
    pub(super) fn cancel(&mut self, gone: RequestId) {
        self.remove(|ask| matches!(ask.what, What::Query { request, .. } if request == gone));
    }

    /// Gives up those that waited longer than `timeout`.
    pub(super) fn expire(&mut self, now: Now, timeout: Duration) -> Vec<Ask> {
        self.remove(|ask| ask.asked + timeout <= now)
    }

    /// Gives up all.
    pub(super) fn abandon(&mut self) -> Vec<Ask> {
        self.remove(|_| true)
    }

    fn remove(&mut self, is_gone: impl Fn(&Ask) -> bool) -> Vec<Ask> {
        let mut gone = Vec::new();
        let lists = (self.rounds.values_mut().map(|round| &mut round.asks))
            .chain(self.confirmed.values_mut())
            .chain([&mut self.waiting, &mut self.waiting_for_lease]);
        for list in lists {
            if list.iter().any(&is_gone) {
                gone.extend(list.extract_if(.., |ask| is_gone(ask)));
            }
        }
        self.rounds.retain(|_, round| !round.asks.is_empty());
        self.confirmed.retain(|_, asks| !asks.is_empty());
        self.count -= gone.len();
        gone
    }
}
