//! Whether a transaction could write one key twice.

use super::{KeyRange, Op, OpKind, Refusal};
use alloc::collections::{BTreeMap, BTreeSet};
use core::ops::Bound;

/// What a list of operations may write, all branches of transactions inside counted.
#[derive(Default)]
pub(super) struct Writes<'a> {
    puts: BTreeSet<&'a [u8]>,
    deleted_keys: BTreeSet<&'a [u8]>,
    deleted_ranges: Ranges<'a>,
}

impl<'a> Writes<'a> {
    /// Refuses a key that is put twice, or put and deleted, if the operations could run together:
    /// the two branches of one transaction cannot. A key may be in several deletions: only one
    /// deletes it.
    pub(super) fn of_ops(ops: &'a [Op]) -> Result<Writes<'a>, Refusal> {
        let mut all = Writes::default();
        for op in ops {
            match &op.kind {
                Some(OpKind::Put(put)) => all.join(Writes::of_put(&put.key))?,
                Some(OpKind::Delete(delete)) => all.join(Writes::of_delete(&delete.range))?,
                Some(OpKind::Txn(txn)) => {
                    let mut either = Writes::of_ops(&txn.success)?;
                    either.unite(Writes::of_ops(&txn.failure)?);
                    all.join(either)?;
                }
                Some(OpKind::Range(_)) | None => {}
            }
        }
        Ok(all)
    }

    fn of_put(key: &'a [u8]) -> Writes<'a> {
        Writes { puts: BTreeSet::from([key]), ..Writes::default() }
    }

    fn of_delete(range: &'a KeyRange) -> Writes<'a> {
        let mut writes = Writes::default();
        if range.is_point() {
            writes.deleted_keys.insert(&range.key);
        } else if let Some(end) = range.end() {
            writes.deleted_ranges.insert(&range.key, End::of(end));
        }
        writes
    }

    fn unite(&mut self, other: Writes<'a>) {
        self.puts.extend(other.puts);
        self.deleted_keys.extend(other.deleted_keys);
        for (start, end) in other.deleted_ranges.by_start {
            self.deleted_ranges.insert(start, end);
        }
    }

    /// Unites with what may run beside it.
    fn join(&mut self, other: Writes<'a>) -> Result<(), Refusal> {
        let is_put_here = |key: &&[u8]| self.puts.contains(key);
        let is_deleted_here =
            |key: &&[u8]| self.deleted_keys.contains(key) || self.deleted_ranges.contains(key);
        let is_written_twice =
            other.puts.iter().any(|key| is_put_here(key) || is_deleted_here(key))
                || other.deleted_keys.iter().any(is_put_here)
                || other.deleted_ranges.contain_any(&self.puts);
        if is_written_twice {
            return Err(Refusal::DuplicateKey);
        }
        self.unite(other);
        Ok(())
    }
}

/// Where a range ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End<'a> {
    /// This key is the first outside.
    Before(&'a [u8]),
    /// No key is outside. Greater than all others, by the order of the variants.
    Never,
}

impl<'a> End<'a> {
    fn of(bound: Bound<&'a [u8]>) -> End<'a> {
        match bound {
            Bound::Excluded(key) => End::Before(key),
            Bound::Included(_) | Bound::Unbounded => End::Never,
        }
    }

    /// Whether the key is inside, given that the range starts before it.
    fn is_after(self, key: &[u8]) -> bool {
        match self {
            End::Before(end) => key < end,
            End::Never => true,
        }
    }

    /// Whether a range that starts at the key would leave no gap.
    fn reaches(self, key: &[u8]) -> bool {
        self.is_after(key) || self == End::Before(key)
    }
}

/// A set of keys as ranges that neither overlap nor touch, by start: a question takes one step of a
/// search, however many deletions a hostile transaction names.
#[derive(Default)]
struct Ranges<'a> {
    by_start: BTreeMap<&'a [u8], End<'a>>,
}

impl<'a> Ranges<'a> {
    fn insert(&mut self, start: &'a [u8], end: End<'a>) {
        let (mut start, mut end) = (start, end);
        let before = self.by_start.range(..=start).next_back();
        if let Some((before, _)) = before.filter(|(_, end)| end.reaches(start)) {
            start = before;
        }
        // From the start on, that range and all others within reach become one.
        while let Some((next, its_end)) = self.by_start.range(start..).next() {
            if !end.reaches(next) {
                break;
            }
            end = end.max(*its_end);
            let absorbed = *next;
            self.by_start.remove(absorbed);
        }
        self.by_start.insert(start, end);
    }

    fn contains(&self, key: &[u8]) -> bool {
        let before = self.by_start.range(..=key).next_back();
        before.is_some_and(|(_, end)| end.is_after(key))
    }

    fn contain_any(&self, keys: &BTreeSet<&[u8]>) -> bool {
        self.by_start.iter().any(|(start, end)| {
            let first = keys.range(*start..).next();
            first.is_some_and(|key| end.is_after(key))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEYS: [&[u8]; 8] = [b"a", b"aa", b"ab", b"b", b"ba", b"c", b"ca", b"d"];

    proptest! {
        #[test]
        fn ranges_contain_what_any_of_them_does(
            added in prop::collection::vec((0..8usize, 1..9usize), 0..8),
            asked in prop::collection::btree_set(0..8usize, 0..3),
        ) {
            let mut ranges = Ranges::default();
            for (start, len) in &added {
                let end = KEYS.get(start + len).map_or(End::Never, |end| End::Before(end));
                ranges.insert(KEYS[*start], end);
            }
            let holds = |place: usize| {
                added.iter().any(|(start, len)| (*start..start + len).contains(&place))
            };
            for (place, key) in KEYS.iter().enumerate() {
                prop_assert_eq!(ranges.contains(key), holds(place));
            }
            let keys: BTreeSet<&[u8]> = asked.iter().map(|place| KEYS[*place]).collect();
            prop_assert_eq!(ranges.contain_any(&keys), asked.into_iter().any(holds));
            let in_order = ranges.by_start.iter().zip(ranges.by_start.keys().skip(1));
            for ((_, end), next) in in_order {
                prop_assert!(!end.reaches(next), "they neither overlap nor touch");
            }
        }
    }
}
