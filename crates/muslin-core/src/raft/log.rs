//! The log in memory: what follows the last compaction.

use super::{Entry, Payload};
use crate::base::{Index, LogId, Term};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Entries after `base`, which itself is known by term and index only.
///
/// Invariants: indexes are consecutive; terms never go down; `runs` holds `base` and then the first
/// entry of every later term, so that looking for a term costs as much as there were elections, not
/// as much as there are entries.
#[derive(Clone, Debug)]
pub(super) struct Log {
    base: LogId,
    entries: VecDeque<Entry>,
    runs: VecDeque<LogId>,
}

/// How much one append may carry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portion {
    /// Most entries.
    pub(super) entries: usize,
    /// Most payload bytes; one entry always fits.
    pub(super) bytes: usize,
}

/// Payload bytes of one entry, as flow control counts them.
pub(super) fn weight(entry: &Entry) -> usize {
    match &entry.payload {
        Payload::Empty => 0,
        Payload::Command(bytes) => bytes.len(),
        Payload::Configuration(configuration) => {
            let members = configuration.voters.len()
                + configuration.outgoing.len()
                + configuration.learners.len();
            members * size_of::<u64>()
        }
    }
}

impl Log {
    /// A log that begins after `base`.
    pub(super) fn after(base: LogId) -> Log {
        Log { base, entries: VecDeque::new(), runs: VecDeque::from([base]) }
    }

    /// The entry before the first one held.
    pub(super) fn base(&self) -> LogId {
        self.base
    }

    /// The last entry, or `base` when none is held.
    pub(super) fn last(&self) -> LogId {
        self.entries.back().map_or(self.base, |entry| entry.id)
    }

    /// The term of the entry at `index`, as far as the log reaches.
    pub(super) fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        let place = index.0.checked_sub(self.base.index.0)?.checked_sub(1)?;
        self.entries.get(usize::try_from(place).ok()?).map(|entry| entry.id.term)
    }

    /// Puts an entry at the end.
    pub(super) fn append(&mut self, entry: Entry) {
        let last = self.last();
        assert!(entry.id.index == last.index.next(), "R2: the log has no gaps");
        assert!(entry.id.term >= last.term, "R2: terms in the log never go down");
        if entry.id.term > last.term {
            self.runs.push_back(entry.id);
        }
        self.entries.push_back(entry);
    }

    /// Drops the entry at `from` and all after it.
    pub(super) fn truncate(&mut self, from: Index) {
        assert!(from > self.base.index, "R3: what is compacted was committed");
        self.entries.truncate(self.place(from));
        while self.runs.back().is_some_and(|run| run.index >= from) {
            self.runs.pop_back();
        }
        debug_assert!(!self.runs.is_empty(), "base stays");
    }

    /// Drops the entries up to and including `upto`, which the log must hold.
    pub(super) fn compact(&mut self, upto: Index) {
        let term = self.term_at(upto).expect("compaction stays within the log");
        self.entries.drain(..self.place(upto.next()));
        self.base = LogId::new(term, upto);
        while self.runs.get(1).is_some_and(|run| run.index <= upto) {
            self.runs.pop_front();
        }
        self.runs[0] = self.base;
    }

    /// The last entry at or before `index` whose term is at most `term`; `None` when it would lie
    /// before the base.
    pub(super) fn last_at_most(&self, term: Term, index: Index) -> Option<LogId> {
        let mut end = self.last().index;
        for run in self.runs.iter().rev() {
            if run.term <= term && run.index <= index {
                return Some(LogId::new(run.term, end.min(index)));
            }
            // The run before this one ends just before it; below the base nothing is looked for.
            end = Index(run.index.0.saturating_sub(1));
        }
        None
    }

    /// Consecutive entries from `from` on, as many as the portion allows, and their bytes.
    pub(super) fn gather(&self, from: Index, portion: Portion) -> (Vec<Entry>, usize) {
        let start = self.place(from);
        let mut bytes = 0;
        let mut count = 0;
        for entry in self.entries.range(start..).take(portion.entries) {
            let more = weight(entry);
            if count > 0 && bytes + more > portion.bytes {
                break;
            }
            bytes += more;
            count += 1;
        }
        (self.entries.range(start..start + count).cloned().collect(), bytes)
    }

    /// The entries from `first` to `last`, both included and both held.
    pub(super) fn range(&self, first: Index, last: Index) -> Vec<Entry> {
        self.entries.range(self.place(first)..self.place(last.next())).cloned().collect()
    }

    fn place(&self, index: Index) -> usize {
        assert!(index > self.base.index, "entries up to the base are gone");
        usize::try_from(index.0 - self.base.index.0 - 1).expect("the log fits in memory")
    }
}
