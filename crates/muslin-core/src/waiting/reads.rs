//! Linearizable reads: those that come between two flushes share one read index.

use super::{Failure, retry_after};
use crate::base::{Index, Now};
use crate::raft::ReadId;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

/// A read index not told this long is asked for again, under a fresh id: the message may be lost.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// Something to answer once a quorum has confirmed the leader after it was asked.
#[derive(Clone, Debug)]
pub(crate) struct Ask<W> {
    /// When it was asked, by this node's clock.
    pub(crate) asked: Now,
    /// What.
    pub(crate) what: W,
}

/// Reads of one group on their way.
#[derive(Clone, Debug)]
pub(crate) struct Reads<W> {
    /// Most that may wait at once.
    limit: usize,
    last_id: u64,
    /// Not yet given to a round.
    waiting: Vec<Ask<W>>,
    /// The same, for those that an answer by the leader's lease will do for.
    waiting_for_lease: Vec<Ask<W>>,
    /// Asked of the leader, by the id of the round.
    rounds: BTreeMap<ReadId, Round<W>>,
    /// To be answered when the state has come so far.
    confirmed: BTreeMap<Index, Vec<Ask<W>>>,
    count: usize,
}

#[derive(Clone, Debug)]
struct Round<W> {
    started: Now,
    asks: Vec<Ask<W>>,
}

/// What comes in.
impl<W> Reads<W> {
    pub(crate) fn new(limit: usize) -> Reads<W> {
        Reads {
            limit,
            last_id: 0,
            waiting: Vec::new(),
            waiting_for_lease: Vec::new(),
            rounds: BTreeMap::new(),
            confirmed: BTreeMap::new(),
            count: 0,
        }
    }

    pub(crate) fn add(&mut self, ask: Ask<W>) -> Result<(), Failure> {
        self.make_room(ask.asked)?;
        self.waiting.push(ask);
        Ok(())
    }

    /// As [`Reads::add`]; the leader's lease will do.
    pub(crate) fn add_for_lease(&mut self, ask: Ask<W>) -> Result<(), Failure> {
        self.make_room(ask.asked)?;
        self.waiting_for_lease.push(ask);
        Ok(())
    }

    fn make_room(&mut self, now: Now) -> Result<(), Failure> {
        if self.count >= self.limit {
            let oldest = self.oldest().unwrap_or(now);
            return Err(Failure::Busy { retry_after: retry_after(now, oldest) });
        }
        self.count += 1;
        Ok(())
    }

    /// When the first of each list was asked, which no other of it was asked much before.
    fn oldest(&self) -> Option<Now> {
        let lists = (self.rounds.values().next().map(|round| &round.asks).into_iter())
            .chain(self.confirmed.values().next())
            .chain([&self.waiting, &self.waiting_for_lease]);
        lists.filter_map(|list| Some(list.first()?.asked)).min()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(crate) fn has_waiting_for_lease(&self) -> bool {
        !self.waiting_for_lease.is_empty()
    }
}

/// Rounds.
impl<W> Reads<W> {
    /// Puts all that wait in one round; its id was never used before in this process.
    pub(crate) fn start_round(&mut self, now: Now) -> ReadId {
        let asks = core::mem::take(&mut self.waiting);
        self.start(now, asks)
    }

    /// The same for those that wait for an answer by the lease; without one they get a full round.
    pub(crate) fn start_lease_round(&mut self, now: Now) -> ReadId {
        let asks = core::mem::take(&mut self.waiting_for_lease);
        self.start(now, asks)
    }

    fn start(&mut self, now: Now, asks: Vec<Ask<W>>) -> ReadId {
        assert!(!asks.is_empty(), "a round is started for someone");
        self.last_id += 1;
        let id = ReadId(self.last_id);
        self.rounds.insert(id, Round { started: now, asks });
        id
    }

    /// The leader was confirmed: a state at `index` or later answers the round.
    pub(crate) fn confirm(&mut self, id: ReadId, index: Index) {
        if let Some(round) = self.rounds.remove(&id) {
            self.confirmed.entry(index).or_default().extend(round.asks);
        }
    }

    /// The round cannot be told: its reads wait for another.
    pub(crate) fn fail(&mut self, id: ReadId) {
        if let Some(round) = self.rounds.remove(&id) {
            self.waiting.extend(round.asks);
        }
    }

    /// Rounds whose answer may be lost are asked for again.
    pub(crate) fn retry_silent(&mut self, now: Now) {
        let silent: Vec<ReadId> = (self.rounds.iter())
            .filter(|(_, round)| round.started + RETRY_AFTER <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in silent {
            self.fail(id);
        }
    }
}

/// What comes of them.
impl<W> Reads<W> {
    /// Whatever can be answered from a state applied up to `applied`.
    pub(crate) fn take_answerable(&mut self, applied: Index) -> Vec<Ask<W>> {
        let mut asks = Vec::new();
        while let Some(entry) = self.confirmed.first_entry()
            && *entry.key() <= applied
        {
            asks.extend(entry.remove());
        }
        self.count -= asks.len();
        asks
    }

    /// Whatever was told what it waits for, when the state does not come so far.
    pub(crate) fn take_confirmed(&mut self) -> Vec<W> {
        let confirmed = core::mem::take(&mut self.confirmed).into_values().flatten();
        let gone: Vec<W> = confirmed.map(|ask| ask.what).collect();
        self.count -= gone.len();
        gone
    }

    /// Whoever asked these went.
    pub(crate) fn cancel(&mut self, is_gone: impl Fn(&W) -> bool) {
        self.remove(|ask| is_gone(&ask.what));
    }

    /// Gives up those that waited longer than each may.
    pub(crate) fn expire(&mut self, now: Now, timeout: impl Fn(&W) -> Duration) -> Vec<W> {
        self.remove(|ask| ask.asked + timeout(&ask.what) <= now)
    }

    /// Gives up all.
    pub(crate) fn abandon(&mut self) -> Vec<W> {
        self.remove(|_| true)
    }

    fn remove(&mut self, is_gone: impl Fn(&Ask<W>) -> bool) -> Vec<W> {
        let mut gone = Vec::new();
        let lists = (self.rounds.values_mut().map(|round| &mut round.asks))
            .chain(self.confirmed.values_mut())
            .chain([&mut self.waiting, &mut self.waiting_for_lease]);
        for list in lists {
            if list.iter().any(&is_gone) {
                gone.extend(list.extract_if(.., |ask| is_gone(ask)).map(|ask| ask.what));
            }
        }
        self.rounds.retain(|_, round| !round.asks.is_empty());
        self.confirmed.retain(|_, asks| !asks.is_empty());
        self.count -= gone.len();
        gone
    }
}
