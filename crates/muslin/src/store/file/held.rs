//! The entries that the log may have to write again, as the replica holds them.
//!
//! The replica lets go of entries that are applied, while the disk needs them until a snapshot has
//! them. What is let go of here as well is known by its length alone: it cannot be written again.

use super::record;
use muslin_core::base::Index;
use muslin_core::raft::{Entries, Entry};
use std::collections::VecDeque;

/// Entries in one run of those that were found on the disk.
const RECOVERED_RUN: usize = 256;

/// Consecutive entries, in the runs in which they came: the replica holds the same runs, so that
/// what a batch costs here does not grow with its entries.
///
/// Invariant: no run is empty, and each begins just behind the one before.
#[derive(Clone, Default)]
pub(super) struct Held {
    runs: VecDeque<Entries>,
    /// Before the runs: what is needed, and not here.
    gone: Option<Gone>,
}

/// Entries that are needed, and not here any more.
#[derive(Clone, Copy)]
struct Gone {
    last: Index,
    /// Room that their records take, at most.
    room: u64,
}

impl Held {
    pub(super) fn last(&self) -> Option<Index> {
        self.runs.back().and_then(|run| run.last()).map(|entry| entry.id.index)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.runs.iter().flatten()
    }

    /// Puts entries at their place and drops what stood there and behind.
    pub(super) fn put(&mut self, entries: &Entries) {
        let Some(first) = entries.first() else { return };
        self.drop_from(first.id.index);
        self.runs.push_back(entries.clone());
    }

    /// Whether all that is needed is here.
    pub(super) fn is_whole(&self) -> bool {
        self.gone.is_none()
    }

    /// Room that the records of all take, of those that are not here as well.
    pub(super) fn room(&self) -> u64 {
        let here = self.iter().map(record::room).sum::<u64>();
        here + self.gone.map_or(0, |gone| gone.room)
    }

    /// Lets go of entries below this, which are needed all the same.
    pub(super) fn let_go_before(&mut self, first: Index) {
        while let Some(run) = self.runs.front()
            && let Some(last) = run.last()
            && last.id.index < first
        {
            let before = self.gone.map_or(0, |gone| gone.room);
            let room = before + run.iter().map(record::room).sum::<u64>();
            self.gone = Some(Gone { last: last.id.index, room });
            self.runs.pop_front();
        }
    }

    /// Entries below this are not needed.
    pub(super) fn forget_before(&mut self, keep_from: Index) {
        self.gone = self.gone.filter(|gone| gone.last >= keep_from);
        while let Some(run) = self.runs.front_mut()
            && let Some(first) = first_of(run)
            && first < keep_from
        {
            let gone = usize::try_from(keep_from.0 - first.0).unwrap_or(usize::MAX);
            if gone < run.len() {
                *run = run.slice(gone, run.len());
            } else {
                self.runs.pop_front();
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.runs.clear();
        self.gone = None;
    }

    fn drop_from(&mut self, index: Index) {
        while let Some(run) = self.runs.back_mut()
            && let Some(first) = first_of(run)
        {
            if first < index {
                let kept = usize::try_from(index.0 - first.0).unwrap_or(usize::MAX);
                return run.truncate(kept);
            }
            self.runs.pop_back();
        }
    }
}

/// As found on the disk, in runs of a moderate length: what is let go of goes by runs.
impl From<&[Entry]> for Held {
    fn from(entries: &[Entry]) -> Held {
        let runs = entries.chunks(RECOVERED_RUN).map(|run| Entries::from(run.to_vec())).collect();
        Held { runs, gone: None }
    }
}

fn first_of(run: &Entries) -> Option<Index> {
    run.first().map(|entry| entry.id.index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use muslin_core::base::{LogId, Term};
    use muslin_core::raft::Payload;
    use proptest::prelude::*;

    fn run(term: u64, first: u64, count: u64) -> Entries {
        let entry =
            |index| Entry { id: LogId::new(Term(term), Index(index)), payload: Payload::Empty };
        (first..first + count).map(entry).collect()
    }

    proptest! {
        /// Against a plain list: appends that may overlap what is there, what is let go of, and
        /// what is not needed.
        #[test]
        fn runs_hold_what_a_list_would(
            steps in prop::collection::vec((0u8..4, 0u64..8, 1u64..6), 0..40),
        ) {
            let (mut held, mut list) = (Held::default(), Vec::<Entry>::new());
            let (mut end, mut gone) = (1_u64, Vec::<Entry>::new());
            for (term, (step, back, count)) in steps.into_iter().enumerate() {
                if step == 3 {
                    let first = Index(end.saturating_sub(back));
                    held.let_go_before(first);
                    let here = held.iter().count();
                    let went = list.len() - here;
                    prop_assert!(list[..went].iter().all(|entry| entry.id.index < first));
                    gone.extend(list.drain(..went));
                } else if step < 2 {
                    let first = list.first().map_or(end, |entry: &Entry| entry.id.index.0);
                    let from = end.saturating_sub(back).max(first);
                    let entries = run(term as u64, from, count);
                    list.retain(|entry| entry.id.index.0 < from);
                    list.extend(entries.iter().cloned());
                    held.put(&entries);
                    end = from + count;
                } else {
                    let keep_from = Index(end.saturating_sub(back));
                    list.retain(|entry| entry.id.index >= keep_from);
                    gone.retain(|entry| entry.id.index >= keep_from);
                    held.forget_before(keep_from);
                }
                prop_assert_eq!(held.is_whole(), gone.is_empty());
                let room = list.iter().chain(&gone).map(record::room).sum::<u64>();
                prop_assert!(held.room() >= room);
                prop_assert!(held.iter().eq(list.iter()));
                prop_assert_eq!(held.last(), list.last().map(|entry| entry.id.index));
            }
        }
    }
}
