//! Reading ranges of keys.

use super::kv::Kv;
use super::version::Version;
use super::{Blob, KeyRange, KeyValue, Range, Refusal, Response, SortOrder, SortTarget};
use crate::base::Revision;
use alloc::vec::Vec;
use bytes::Bytes;
use core::cmp::Ordering;
use core::ops::Bound;

/// etcd's way to write "to the end".
const TO_THE_END: &[u8] = &[0];

impl KeyRange {
    /// One key.
    pub fn of_key(key: impl Into<Bytes>) -> KeyRange {
        KeyRange { key: key.into(), range_end: Bytes::new() }
    }

    /// All keys that begin so; all keys there are when `prefix` is empty.
    pub fn of_prefix(prefix: impl Into<Bytes>) -> KeyRange {
        let prefix: Bytes = prefix.into();
        if prefix.is_empty() {
            let all = Bytes::from_static(TO_THE_END);
            return KeyRange { key: all.clone(), range_end: all };
        }
        // The first key after all of them: the last byte that can be raised is, what follows is
        // cut.
        let mut end = prefix.to_vec();
        while end.last() == Some(&0xff) {
            end.pop();
        }
        match end.last_mut() {
            Some(last) => *last += 1,
            None => end = TO_THE_END.to_vec(),
        }
        KeyRange { key: prefix, range_end: end.into() }
    }

    /// Whether it names one key.
    pub fn is_point(&self) -> bool {
        self.range_end.is_empty()
    }

    /// Whether the key is in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        if self.is_point() {
            return key == self.key;
        }
        *key >= self.key[..] && (self.range_end == TO_THE_END || *key < self.range_end[..])
    }

    /// Where a range of several keys ends; `None` for one key or an empty range.
    pub fn end(&self) -> Option<Bound<&[u8]>> {
        if self.range_end == TO_THE_END {
            return Some(Bound::Unbounded);
        }
        (self.key < self.range_end).then_some(Bound::Excluded(&self.range_end[..]))
    }
}

impl Range {
    /// What can be refused without looking at the store.
    pub(super) fn check_form(&self) -> Result<(), Refusal> {
        if self.range.key.is_empty() {
            return Err(Refusal::EmptyKey);
        }
        let is_known =
            SortOrder::is_valid(self.sort_order) && SortTarget::is_valid(self.sort_target);
        if is_known { Ok(()) } else { Err(Refusal::Unknown) }
    }

    /// How many keys are looked at, at most.
    pub(super) fn looks_at(&self, kv: &Kv) -> usize {
        let there = kv.count(&self.range);
        let bounds = [self.min_mod_revision, self.max_mod_revision];
        let mut bounds =
            bounds.into_iter().chain([self.min_create_revision, self.max_create_revision]);
        let is_bounded = bounds.any(|bound| bound != 0);
        let is_first = self.sort_target() == SortTarget::Key && !is_bounded;
        match self.revision {
            0 if self.count_only => 0,
            0 if is_first => there.live.min(self.most()),
            _ => there.all,
        }
    }

    /// The order asked for; `None` when that is the order of the keys, in which they are kept.
    fn order(&self) -> Option<(SortTarget, SortOrder)> {
        match (self.sort_target(), self.sort_order()) {
            (SortTarget::Key, SortOrder::None | SortOrder::Ascend) => None,
            (target, SortOrder::None) => Some((target, SortOrder::Ascend)),
            (target, order) => Some((target, order)),
        }
    }

    fn is_within_bounds(&self, version: &Version) -> bool {
        let within = |low: u64, high: u64, revision: Revision| {
            revision.0 >= low && (high == 0 || revision.0 <= high)
        };
        within(self.min_mod_revision, self.max_mod_revision, version.revision)
            && within(self.min_create_revision, self.max_create_revision, version.created)
    }
}

impl Kv {
    /// Whether a range whose form was checked can be answered.
    pub(super) fn check_range(&self, range: &Range) -> Result<(), Refusal> {
        match range.revision {
            0 => Ok(()),
            revision => self.check_revision(Revision(revision)),
        }
    }

    /// Answers a range that was checked. Sees what the running command has written, unless an
    /// earlier revision is asked for.
    pub(super) fn range(&self, range: &Range) -> Response {
        if range.revision == 0 {
            let present = self.present_span(&range.range);
            let count = present.counts().live;
            let present = present.map(|(key, history)| (key, history.newest()));
            return range.answer(present, Some(count));
        }
        let at = Revision(range.revision);
        let seen = self.span(&range.range).filter_map(|(key, history)| {
            history.at(at).filter(|version| version.is_set()).map(|version| (key, version))
        });
        range.answer(seen, None)
    }
}

/// A pair as it is kept.
type Pair<'a> = (&'a Blob, &'a Version);

impl Range {
    /// Of all pairs of the range, of which there are so many if that is known, those asked for. Not
    /// more are looked at than it takes to tell.
    fn answer<'a>(
        &self,
        pairs: impl DoubleEndedIterator<Item = Pair<'a>>,
        count: Option<usize>,
    ) -> Response {
        if self.count_only {
            let count = count.unwrap_or_else(|| pairs.count());
            return Response::Range { kvs: Vec::new(), more: false, count: count as u64 };
        }
        match self.order() {
            None => self.gather(pairs, count),
            Some((SortTarget::Key, _)) => self.gather(pairs.rev(), count),
            Some((target, order)) => {
                let mut seen = 0;
                let pairs = pairs.inspect(|_| seen += 1);
                let mut found: Vec<Pair<'a>> =
                    pairs.filter(|(_, version)| self.is_within_bounds(version)).collect();
                sort(&mut found, target, order);
                let more = found.len() > self.most();
                self.told(&found, more, count.unwrap_or(seen))
            }
        }
    }

    /// The first of them, in the order in which they come.
    fn gather<'a>(
        &self,
        mut pairs: impl Iterator<Item = Pair<'a>>,
        count: Option<usize>,
    ) -> Response {
        let (mut found, mut seen, mut more) = (Vec::new(), 0, false);
        for (key, version) in pairs.by_ref() {
            seen += 1;
            if !self.is_within_bounds(version) {
                continue;
            }
            more = found.len() == self.most();
            if more {
                break;
            }
            found.push((key, version));
        }
        let count = count.unwrap_or_else(|| seen + pairs.count());
        self.told(&found, more, count)
    }

    /// Most pairs that are asked for.
    fn most(&self) -> usize {
        match self.limit {
            0 => usize::MAX,
            limit => usize::try_from(limit).unwrap_or(usize::MAX),
        }
    }

    fn told(&self, found: &[Pair<'_>], more: bool, count: usize) -> Response {
        let found = found.iter().take(self.most());
        let kvs = found.filter_map(|(key, version)| shown(key, version, self)).collect();
        Response::Range { kvs, more, count: count as u64 }
    }
}

fn shown(key: &Blob, version: &Version, range: &Range) -> Option<KeyValue> {
    let mut pair = version.pair(key)?;
    if range.keys_only {
        pair.value = Blob::default();
    }
    Some(pair)
}

/// Stable, so that equals stay in the order of their keys: every node answers alike.
fn sort(found: &mut [Pair<'_>], target: SortTarget, order: SortOrder) {
    found.sort_by(|a, b| {
        let ascending = compare(*a, *b, target);
        if order == SortOrder::Descend { ascending.reverse() } else { ascending }
    });
}

fn compare(a: Pair<'_>, b: Pair<'_>, target: SortTarget) -> Ordering {
    match target {
        SortTarget::Key => a.0.cmp(b.0),
        SortTarget::Version => a.1.version.cmp(&b.1.version),
        SortTarget::Create => a.1.created.cmp(&b.1.created),
        SortTarget::Mod => a.1.revision.cmp(&b.1.revision),
        SortTarget::Value => a.1.value.cmp(&b.1.value),
    }
}
