//! A run of entries that many hold.

use super::Entry;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;

/// Consecutive entries, shared and never changed: the log, the write and the appends of one batch
/// are one list in memory. To clone it or to cut it copies no entry.
#[derive(Clone, Default)]
pub struct Entries {
    /// `None` when there are none, which costs no allocation.
    all: Option<Arc<Vec<Entry>>>,
    start: usize,
    end: usize,
}

impl Entries {
    /// No entries.
    pub fn new() -> Entries {
        Entries::default()
    }

    /// Those from this place on, up to but without that one; places count from the first one here.
    #[must_use]
    pub fn slice(&self, from: usize, to: usize) -> Entries {
        assert!(from <= to && to <= self.len(), "a part lies within the whole");
        if from == to {
            return Entries::new();
        }
        Entries { all: self.all.clone(), start: self.start + from, end: self.start + to }
    }

    /// Keeps the first so many.
    pub fn truncate(&mut self, kept: usize) {
        if kept < self.len() {
            *self = self.slice(0, kept);
        }
    }

    /// Them, as a slice.
    pub fn as_slice(&self) -> &[Entry] {
        self.all.as_ref().map_or(&[], |all| &all[self.start..self.end])
    }
}

impl Deref for Entries {
    type Target = [Entry];

    fn deref(&self) -> &[Entry] {
        self.as_slice()
    }
}

impl From<Vec<Entry>> for Entries {
    fn from(entries: Vec<Entry>) -> Entries {
        let end = entries.len();
        Entries { all: (end > 0).then(|| Arc::new(entries)), start: 0, end }
    }
}

impl FromIterator<Entry> for Entries {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Entries {
        Entries::from(entries.into_iter().collect::<Vec<Entry>>())
    }
}

impl PartialEq for Entries {
    fn eq(&self, other: &Entries) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Entries {}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

impl<'a> IntoIterator for &'a Entries {
    type Item = &'a Entry;
    type IntoIter = core::slice::Iter<'a, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Entries by value. Whoever else holds them keeps them: each is cloned.
impl IntoIterator for Entries {
    type Item = Entry;
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        IntoIter { entries: self, next: 0 }
    }
}

/// Gives entries by value; see [`Entries`].
#[derive(Debug)]
pub struct IntoIter {
    entries: Entries,
    next: usize,
}

impl Iterator for IntoIter {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let entry = self.entries.get(self.next)?.clone();
        self.next += 1;
        Some(entry)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.entries.len() - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for IntoIter {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Index, LogId, Term};
    use crate::raft::Payload;

    fn entries(indexes: core::ops::RangeInclusive<u64>) -> Entries {
        let entry =
            |index| Entry { id: LogId::new(Term(1), Index(index)), payload: Payload::Empty };
        indexes.map(entry).collect()
    }

    #[test]
    fn a_part_of_a_part_counts_from_its_own_first() {
        let part = entries(1..=9).slice(2, 8).slice(1, 3);
        assert_eq!(part, entries(4..=5));
        assert!(part.into_iter().eq(entries(4..=5).iter().cloned()));
    }

    #[test]
    fn truncating_to_more_than_there_is_changes_nothing() {
        let mut all = entries(1..=3);
        all.truncate(5);
        assert_eq!(all.len(), 3);
        all.truncate(0);
        assert_eq!(all, Entries::new());
    }
}
