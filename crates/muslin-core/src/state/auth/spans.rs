//! Which keys a set of ranges covers together.

use crate::state::KeyRange;
use alloc::vec::Vec;
use bytes::Bytes;
use core::ops::Bound;

/// Ranges that neither overlap nor touch, in order: whether a key is in one takes a search.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Spans(Vec<Span>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Span {
    start: Bytes,
    end: End,
}

/// Where a span ends.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum End<K = Bytes> {
    /// This key is the first outside.
    Before(K),
    /// No key is outside. Greater than all others, by the order of the variants.
    Never,
}

impl Spans {
    /// What these ranges cover.
    pub(super) fn of(ranges: impl Iterator<Item = KeyRange>) -> Spans {
        let mut all: Vec<Span> = ranges.filter_map(|range| span(&range)).collect();
        all.sort_by(|one, next| one.start.cmp(&next.start));
        let mut merged: Vec<Span> = Vec::with_capacity(all.len());
        for span in all {
            match merged.last_mut() {
                Some(last) if last.end.reaches(&span.start) => {
                    if last.end < span.end {
                        last.end = span.end;
                    }
                }
                _ => merged.push(span),
            }
        }
        Spans(merged)
    }

    /// Where the span ends that the key is in.
    fn end_of(&self, key: &[u8]) -> Option<End<&[u8]>> {
        let after = self.0.partition_point(|span| span.start[..] <= *key);
        let span = &self.0[after.checked_sub(1)?];
        match &span.end {
            End::Before(end) if *key < end[..] => Some(End::Before(end)),
            End::Before(_) => None,
            End::Never => Some(End::Never),
        }
    }
}

impl End {
    /// Whether a span that starts at the key would leave no gap.
    fn reaches(&self, key: &[u8]) -> bool {
        match self {
            End::Before(end) => *key <= end[..],
            End::Never => true,
        }
    }
}

/// Nothing, of a range that no key is in.
fn span(range: &KeyRange) -> Option<Span> {
    let end = match range.end() {
        Some(Bound::Unbounded) => End::Never,
        Some(_) => End::Before(range.range_end.clone()),
        None if range.is_point() => {
            // The first key after the one.
            let mut after = range.key.to_vec();
            after.push(0);
            End::Before(after.into())
        }
        None => return None,
    };
    Some(Span { start: range.key.clone(), end })
}

/// Whether all of these spans together cover a range. Of a range that no key is in: whether they
/// cover where it begins.
pub(super) fn cover<'a>(spans: impl Iterator<Item = &'a Spans> + Clone, range: &KeyRange) -> bool {
    let mut at = &range.key[..];
    loop {
        let reached = spans.clone().filter_map(|spans| spans.end_of(at)).max();
        let reached = match reached {
            None => return false,
            Some(End::Never) => return true,
            Some(End::Before(reached)) => reached,
        };
        match range.end() {
            Some(Bound::Unbounded) => {}
            Some(Bound::Excluded(end) | Bound::Included(end)) if end > reached => {}
            Some(_) | None => return true,
        }
        at = reached;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All keys of up to two letters out of two, and one behind them all.
    const KEYS: [&[u8]; 8] = [b"a", b"a\0", b"aa", b"ab", b"b", b"ba", b"bb", b"c"];

    fn range() -> impl Strategy<Value = KeyRange> {
        let end = prop_oneof![Just(None), Just(Some(8)), (0..8usize).prop_map(Some)];
        (0..8usize, end).prop_map(|(start, end)| {
            let range_end = match end {
                None => Bytes::new(),
                Some(8) => Bytes::from_static(&[0]),
                Some(end) => Bytes::from_static(KEYS[end]),
            };
            KeyRange { key: Bytes::from_static(KEYS[start]), range_end }
        })
    }

    proptest! {
        #[test]
        fn a_range_is_covered_if_each_of_its_keys_is(
            held in prop::collection::vec(prop::collection::vec(range(), 0..4), 0..4),
            asked in range(),
        ) {
            let of = |ranges: &Vec<KeyRange>| Spans::of(ranges.iter().cloned());
            let spans: Vec<Spans> = held.iter().map(of).collect();
            let is_held = |key: &[u8]| held.iter().flatten().any(|range| range.contains(key));
            let covered = cover(spans.iter(), &asked);
            let within: Vec<&[u8]> = KEYS.into_iter().filter(|key| asked.contains(key)).collect();
            if covered {
                prop_assert!(within.into_iter().all(is_held));
            } else if asked.is_point() {
                prop_assert!(!is_held(&asked.key));
            } else {
                // There are keys between those above: what is not covered is one of them.
                let mut between: Vec<Vec<u8>> = Vec::new();
                for key in KEYS {
                    between.extend([key.to_vec(), [key, b"\0"].concat(), [key, b"z"].concat()]);
                    between.push([key, b"\0\0"].concat());
                }
                let is_missing = |key: &Vec<u8>| asked.contains(key) && !is_held(key);
                let is_empty = asked.end().is_none();
                prop_assert!(is_empty || between.iter().any(is_missing), "{asked:?} of {held:?}");
            }
        }
    }
}
