//! R2, R3, R4 and R8: logs that match, commits that last, leaders that have them all.

use super::Broken;
use crate::disk::{Place, Written};
use crate::trace::payload_hash;
use muslin_core::base::{Index, LogId, NodeId, Term};
use muslin_core::raft::{Configuration, Entry, Payload};

/// What any log ever held, and what was committed.
#[derive(Default)]
pub(crate) struct Logs {
    /// By index, from 1: every entry some node wrote there.
    sightings: Vec<Vec<Sighting>>,
    /// By index, from 1.
    committed: Vec<Committed>,
}

struct Sighting {
    term: Term,
    hash: u64,
    /// Term of the entry before it.
    prev: Option<Term>,
    /// Until it is committed.
    payload: Option<Payload>,
}

#[derive(Clone, Copy)]
struct Committed {
    term: Term,
    hash: u64,
    /// The term in which it was committed first.
    by: Term,
}

/// A node as seen from outside, after a batch of inputs.
pub(crate) struct Observed<'a> {
    pub(crate) node: NodeId,
    pub(crate) term: Term,
    /// It leads, and led in this term before the batch.
    pub(crate) leads: bool,
    pub(crate) written: &'a Written,
    /// What it knew to be committed before the batch, and knows after it.
    pub(crate) commit: (Index, Index),
    pub(crate) counted_by: CountedBy,
}

/// Which configurations an implementation counts by.
#[derive(Clone, Copy)]
pub(crate) enum CountedBy {
    /// The last one in the log.
    Appended,
    /// The last one applied; before the batch and after it, up to here.
    Applied(Index, Index),
}

impl CountedBy {
    /// The place whose configuration decides on an entry that changes it.
    fn decides_on(self, index: Index) -> Index {
        match self {
            CountedBy::Appended => index,
            CountedBy::Applied(..) => Index(index.0 - 1),
        }
    }
}

/// An entry committed for the first time.
pub(crate) struct Fresh {
    pub(crate) id: LogId,
    pub(crate) payload: Payload,
}

impl Logs {
    /// The last committed entry.
    pub(crate) fn last(&self) -> Index {
        Index(self.committed.len() as u64)
    }

    /// A node writes an entry; before it, its log has one of term `prev`.
    pub(crate) fn on_append(
        &mut self,
        node: NodeId,
        entry: &Entry,
        prev: Option<Term>,
    ) -> Result<(), Broken> {
        let slot = entry.id.index.0 as usize - 1;
        if self.sightings.len() <= slot {
            self.sightings.resize_with(slot + 1, Vec::new);
        }
        let hash = payload_hash(&entry.payload);
        let known = self.sightings[slot].iter_mut().find(|known| known.term == entry.id.term);
        let Some(known) = known else {
            let payload = Some(entry.payload.clone());
            self.sightings[slot].push(Sighting { term: entry.id.term, hash, prev, payload });
            return Ok(());
        };
        let differs = known.prev.is_some() && prev.is_some() && known.prev != prev;
        if known.hash != hash || differs {
            let facts = format!(
                "{node:?} writes entry {} with hash {hash:016x} after term {prev:?}, \
                 another log has it with hash {:016x} after term {:?}",
                entry.id, known.hash, known.prev
            );
            return Err(Broken::new("R2", facts));
        }
        known.prev = known.prev.or(prev);
        Ok(())
    }

    /// A node's commit index may have moved; `is_durable` says whether a node's disk has an entry.
    /// Appends what is committed for the first time to `fresh`.
    pub(crate) fn on_commit(
        &mut self,
        seen: &Observed<'_>,
        is_durable: impl Fn(NodeId, LogId) -> bool,
        fresh: &mut Vec<Fresh>,
    ) -> Result<(), Broken> {
        let (from, to) = seen.commit;
        let known = self.last();
        for index in from.0 + 1..=to.0 {
            self.on_committed(seen, Index(index), fresh)?;
        }
        if to > known {
            let last = self.committed[to.0 as usize - 1];
            if seen.leads && last.term != seen.term {
                let facts = format!(
                    "{:?} leads in term {} and commits entry {to} of term {} by counting",
                    seen.node, seen.term, last.term
                );
                return Err(Broken::new("R4", facts));
            }
            self.check_durable(seen, known, is_durable)?;
        }
        Ok(())
    }

    fn on_committed(
        &mut self,
        seen: &Observed<'_>,
        index: Index,
        fresh: &mut Vec<Fresh>,
    ) -> Result<(), Broken> {
        let slot = index.0 as usize - 1;
        let place = seen.written.at(index);
        let Some(committed) = self.committed.get(slot) else {
            let Some(place) = place else {
                let facts = format!("{:?} commits entry {index}, its log has it not", seen.node);
                return Err(Broken::new("R3", facts));
            };
            let Place { term, hash, .. } = place;
            self.committed.push(Committed { term, hash, by: seen.term });
            fresh.push(Fresh { id: LogId::new(term, index), payload: self.take(slot, term) });
            return Ok(());
        };
        match place {
            Some(place) if (place.term, place.hash) != (committed.term, committed.hash) => {
                let facts = format!(
                    "{:?} commits at {index} an entry of term {} (hash {:016x}); committed there \
                     was one of term {} (hash {:016x})",
                    seen.node, place.term, place.hash, committed.term, committed.hash
                );
                Err(Broken::new("R3", facts))
            }
            Some(_) => Ok(()),
            None if index <= seen.written.base().last.index => Ok(()),
            None => {
                let facts = format!("{:?} commits entry {index}, its log has it not", seen.node);
                Err(Broken::new("R3", facts))
            }
        }
    }

    fn take(&mut self, slot: usize, term: Term) -> Payload {
        let known = self.sightings[slot].iter_mut().find(|known| known.term == term);
        let payload = known.and_then(|known| known.payload.take());
        payload.expect("an entry is written before it is committed, and committed once")
    }

    /// Everything beyond `known` was committed just now: it must be on a quorum of disks.
    fn check_durable(
        &self,
        seen: &Observed<'_>,
        known: Index,
        is_durable: impl Fn(NodeId, LogId) -> bool,
    ) -> Result<(), Broken> {
        let to = seen.commit.1;
        let has = |configuration: &Configuration, index: Index| {
            let id = LogId::new(self.committed[index.0 as usize - 1].term, index);
            configuration.is_quorum(|node| is_durable(node, id))
        };
        let is_decided = match seen.counted_by {
            // The configuration in force was the last in the leader's log when it counted: one of
            // those from the one before `to` on.
            CountedBy::Appended => seen.written.configurations_from(to).any(|it| has(it, to)),
            CountedBy::Applied(before, after) => {
                seen.written.voters_between(before, after).iter().any(|it| has(it, to))
            }
        };
        if !is_decided {
            return Err(self.not_durable(seen, to, &is_durable));
        }
        // R8: no later one can have been appended before a configuration itself was committed.
        for index in known.0 + 1..=to.0 {
            let index = Index(index);
            if seen.written.at(index).is_some_and(|place| place.is_configuration)
                && let at = seen.counted_by.decides_on(index)
                && let Some(own) = seen.written.configurations_from(at).next()
                && !has(own, index)
            {
                return Err(self.not_durable(seen, index, &is_durable));
            }
        }
        Ok(())
    }

    fn not_durable(
        &self,
        seen: &Observed<'_>,
        index: Index,
        is_durable: &impl Fn(NodeId, LogId) -> bool,
    ) -> Broken {
        let id = LogId::new(self.committed[index.0 as usize - 1].term, index);
        let configuration = seen.written.configurations_from(index).next();
        let members = configuration.map(Configuration::members).unwrap_or_default();
        let on: Vec<NodeId> = members.into_iter().filter(|node| is_durable(*node, id)).collect();
        let facts = format!(
            "{:?} commits entry {id} in term {}, it is on the disks of {on:?} only; who votes: \
             {configuration:?}",
            seen.node, seen.term
        );
        Broken::new("R3", facts)
    }

    /// A node became leader: it must have everything committed in earlier terms.
    pub(crate) fn on_elected(
        &self,
        node: NodeId,
        term: Term,
        written: &Written,
    ) -> Result<(), Broken> {
        let before = self.committed.partition_point(|committed| committed.by < term);
        if before == 0 || before as u64 <= written.base().last.index.0 {
            return Ok(());
        }
        let index = Index(before as u64);
        let wanted = self.committed[before - 1];
        match written.at(index) {
            Some(place) if (place.term, place.hash) == (wanted.term, wanted.hash) => Ok(()),
            place => {
                let facts = format!(
                    "{node:?} is elected in term {term} and has {place:?} at {index}; committed \
                     there in term {} was an entry of term {}",
                    wanted.by, wanted.term
                );
                Err(Broken::new("R3", facts))
            }
        }
    }
}
