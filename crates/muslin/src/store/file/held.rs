//! The entries that the log may have to write again, as the replica holds them.

use muslin_core::base::Index;
use muslin_core::raft::{Entries, Entry};
use std::collections::VecDeque;

/// Consecutive entries, in the runs in which they came: the replica holds the same runs, so that
/// what a batch costs here does not grow with its entries.
///
/// Invariant: no run is empty, and each begins just behind the one before.
#[derive(Clone, Default)]
pub(super) struct Held {
    runs: VecDeque<Entries>,
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

    pub(super) fn forget_before(&mut self, keep_from: Index) {
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

impl From<Entries> for Held {
    fn from(entries: Entries) -> Held {
        let mut held = Held::default();
        held.put(&entries);
        held
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
        /// Against a plain list: appends that may overlap what is there, and what is let go of.
        #[test]
        fn runs_hold_what_a_list_would(
            steps in prop::collection::vec((any::<bool>(), 0u64..8, 1u64..6), 0..40),
        ) {
            let (mut held, mut list) = (Held::default(), Vec::<Entry>::new());
            let mut end = 1;
            for (term, (appends, back, count)) in steps.into_iter().enumerate() {
                if appends {
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
                    held.forget_before(keep_from);
                }
                prop_assert!(held.iter().eq(list.iter()));
                prop_assert_eq!(held.last(), list.last().map(|entry| entry.id.index));
            }
        }
    }
}
