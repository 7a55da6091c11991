//! Reading ranges of keys.

use super::kv::Kv;
use super::version::{Content, Version};
use super::{KeyRange, KeyValue, Range, Refusal, Response, SortOrder, SortTarget};
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
    pub(super) fn end(&self) -> Option<Bound<&[u8]>> {
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

    /// The order asked for; `None` when that is the order of the keys, in which they are kept.
    fn order(&self) -> Option<(SortTarget, SortOrder)> {
        match (self.sort_target(), self.sort_order()) {
            (SortTarget::Key, SortOrder::None | SortOrder::Ascend) => None,
            (target, SortOrder::None) => Some((target, SortOrder::Ascend)),
            (target, order) => Some((target, order)),
        }
    }

    fn is_within_bounds(&self, version: &Version) -> bool {
        let Content::Set { created, .. } = version.content else {
            return false;
        };
        let within = |low: u64, high: u64, revision: Revision| {
            revision.0 >= low && (high == 0 || revision.0 <= high)
        };
        within(self.min_mod_revision, self.max_mod_revision, version.revision)
            && within(self.min_create_revision, self.max_create_revision, created)
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
        let at = Revision(range.revision);
        let visible = self.span(&range.range).filter_map(|(key, history)| {
            let version =
                if at == Revision::ZERO { Some(history.newest()) } else { history.at(at) };
            version.filter(|version| version.is_set()).map(|version| (key, version))
        });
        if range.count_only {
            return Response::Range { kvs: Vec::new(), more: false, count: visible.count() as u64 };
        }
        let order = range.order();
        let limit = match range.limit {
            0 => usize::MAX,
            limit => usize::try_from(limit).unwrap_or(usize::MAX),
        };
        let gathered = if order.is_some() { usize::MAX } else { limit };
        let (mut count, mut matching, mut found) = (0, 0, Vec::new());
        for (key, version) in visible {
            count += 1;
            if range.is_within_bounds(version) {
                matching += 1;
                if found.len() < gathered {
                    found.push((key, version));
                }
            }
        }
        if let Some((target, order)) = order {
            sort(&mut found, target, order);
        }
        found.truncate(limit);
        let kvs = found.iter().filter_map(|(key, version)| shown(key, version, range)).collect();
        Response::Range { kvs, more: matching > limit, count }
    }
}

fn shown(key: &Bytes, version: &Version, range: &Range) -> Option<KeyValue> {
    let mut pair = version.pair(key)?;
    if range.keys_only {
        pair.value = Bytes::new();
    }
    Some(pair)
}

/// Stable, so that equals stay in the order of their keys: every node answers alike.
fn sort(found: &mut [(&Bytes, &Version)], target: SortTarget, order: SortOrder) {
    found.sort_by(|a, b| {
        let ascending = compare(*a, *b, target);
        if order == SortOrder::Descend { ascending.reverse() } else { ascending }
    });
}

fn compare(a: (&Bytes, &Version), b: (&Bytes, &Version), target: SortTarget) -> Ordering {
    let numbers = |version: &Version| match &version.content {
        Content::Set { created, version, .. } => (created.0, *version),
        Content::Gone { .. } => (0, 0),
    };
    match target {
        SortTarget::Key => a.0.cmp(b.0),
        SortTarget::Version => numbers(a.1).1.cmp(&numbers(b.1).1),
        SortTarget::Create => numbers(a.1).0.cmp(&numbers(b.1).0),
        SortTarget::Mod => a.1.revision.cmp(&b.1.revision),
        SortTarget::Value => a.1.value().cmp(b.1.value()),
    }
}
