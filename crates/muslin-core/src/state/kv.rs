//! Keys with their history.

use super::tree::{Counts, Iter, Live, Tree};
use super::version::{Fate, KeyHistory, Version};
use super::{Blob, KeyRange, KvEvent, Refusal};
use crate::base::Revision;
use core::ops::Bound;

/// What a version costs in memory beside its value, and its line in the history.
const VERSION_OVERHEAD: u64 = 128;

/// What a key costs in memory beside its bytes, in the tree and by allocation.
const KEY_OVERHEAD: u64 = 96;

/// Revision of a store nothing was ever written to, as etcd has it: the first write gets 2.
const FIRST_REVISION: Revision = Revision(1);

/// Keys, their versions, and the order in which they changed. A copy costs nothing, and is what
/// was there when it was made.
#[derive(Clone, Debug)]
pub(super) struct Kv {
    pub(super) keys: Tree<Blob, KeyHistory>,
    /// Every retained change with its key: what watches of the past are told from, and what
    /// compaction finds its work by.
    pub(super) history: Tree<Stamp, Key>,
    pub(super) revision: Revision,
    /// Reads before this are refused.
    pub(super) compacted: Revision,
    /// What only reads before this could see is dropped; lags behind `compacted`.
    pub(super) swept: Revision,
    totals: Totals,
}

/// Sums kept along, so that asking for them costs nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    /// Approximate bytes in memory.
    pub(super) bytes: u64,
    /// Sum of the digests of all versions: whatever the order of writes, equal sets give equal
    /// sums.
    pub(super) digest: u64,
}

impl Totals {
    fn add(&mut self, key: &[u8], version: &Version) {
        self.digest = self.digest.wrapping_add(version.digest(key));
        self.bytes += VERSION_OVERHEAD + version.value.len() as u64;
    }

    fn remove(&mut self, key: &[u8], version: &Version) {
        self.digest = self.digest.wrapping_sub(version.digest(key));
        self.bytes -= VERSION_OVERHEAD + version.value.len() as u64;
    }
}

/// Which key a line of the history is of; shared with the key in the tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Key(pub(super) Blob);

impl Live for Key {
    fn is_live(&self) -> bool {
        true
    }
}

/// Where in history a write stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Stamp {
    /// Of the command it belongs to.
    pub(super) revision: Revision,
    /// Its place among the command's writes.
    pub(super) sub: u32,
}

impl Stamp {
    /// Before all writes of a revision.
    pub(super) fn before(revision: Revision) -> Stamp {
        Stamp { revision, sub: 0 }
    }

    /// After them; a store has fewer keys than that.
    fn after(revision: Revision) -> Stamp {
        Stamp { revision, sub: u32::MAX }
    }
}

/// A value to be set and the lease it hangs on.
#[derive(Clone, Debug)]
pub(super) struct NewValue {
    pub(super) value: Blob,
    pub(super) lease: u64,
}

impl Default for Kv {
    fn default() -> Kv {
        Kv {
            keys: Tree::default(),
            history: Tree::default(),
            revision: FIRST_REVISION,
            compacted: Revision::ZERO,
            swept: Revision::ZERO,
            totals: Totals::default(),
        }
    }
}

impl Kv {
    /// Sums over all keys.
    pub(super) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The latest version of a key that exists.
    pub(super) fn present(&self, key: &[u8]) -> Option<&Version> {
        let (_, history) = self.keys.get(key)?;
        Some(history.newest()).filter(|version| version.is_set())
    }

    /// The keys of a range that have any version, in order.
    pub(super) fn span(&self, range: &KeyRange) -> Span<'_> {
        Span::of(range, |key| self.keys.get(key), |start, end| self.keys.range(start, end))
    }

    /// The keys of a range that exist, in order, from either end.
    pub(super) fn present_span(&self, range: &KeyRange) -> Span<'_> {
        let present = |key: &[u8]| self.keys.get(key).filter(|(_, history)| history.is_live());
        Span::of(range, present, |start, end| self.keys.live_range(start, end))
    }

    /// How many keys a range has; live are those that exist.
    pub(super) fn count(&self, range: &KeyRange) -> Counts {
        self.span(range).counts()
    }

    /// Sets a key, at the revision after the present one; [`Kv::commit`] ends the revision.
    pub(super) fn put(&mut self, stamp: Stamp, key: &[u8], new: NewValue) -> KvEvent {
        let Stamp { revision, sub } = stamp;
        let NewValue { value, lease } = new;
        self.write(stamp, key, |present| {
            let (created, version) = match present.filter(|present| present.is_set()) {
                Some(present) => (present.created, present.version + 1),
                None => (revision, 1),
            };
            Version { revision, created, version, lease, value, sub, fate: Fate::Set }
        })
    }

    /// Deletes a key that exists.
    pub(super) fn delete(&mut self, stamp: Stamp, key: &[u8], expired: bool) -> KvEvent {
        debug_assert!(self.present(key).is_some(), "only what exists is deleted");
        self.write(stamp, key, |_| Version::gone(stamp.revision, stamp.sub, expired))
    }

    /// Looks the key up once: at a million keys that is most of a write's cost.
    fn write(
        &mut self,
        stamp: Stamp,
        key: &[u8],
        version: impl FnOnce(Option<&Version>) -> Version,
    ) -> KvEvent {
        assert_eq!(stamp.revision, self.revision.next(), "K1: one command, one revision");
        let totals = &mut self.totals;
        let event = self.keys.change(key, |slot| {
            let Some((key, history)) = slot else {
                // The tree's own copy: a key outlives many proposals.
                let (key, first) = (Blob::from(key), version(None));
                totals.add(&key, &first);
                totals.bytes += KEY_OVERHEAD + key.len() as u64;
                return (first.event(&key, None), Some((key, KeyHistory::new(first))));
            };
            let prev = history.newest().pair(key);
            let next = version(Some(history.newest()));
            totals.add(key, &next);
            let event = next.event(key, prev);
            history.push(next);
            (event, None)
        });
        self.history.insert(stamp, Key(event.kv.key.clone()));
        event
    }

    /// Ends a revision that wrote something.
    pub(super) fn commit(&mut self, revision: Revision) {
        assert_eq!(revision, self.revision.next(), "K1: revisions follow one another");
        self.revision = revision;
    }

    /// Whether a read at this revision can be answered.
    pub(super) fn check_revision(&self, revision: Revision) -> Result<(), Refusal> {
        if revision > self.revision {
            return Err(Refusal::FutureRevision);
        }
        if revision < self.compacted { Err(Refusal::Compacted) } else { Ok(()) }
    }

    /// Refuses reads before `to` from here on; [`Kv::sweep`] drops what only they could see.
    pub(super) fn compact(&mut self, to: Revision) -> Result<(), Refusal> {
        if to > self.revision {
            return Err(Refusal::FutureRevision);
        }
        if to <= self.compacted {
            return Err(Refusal::Compacted);
        }
        self.compacted = to;
        Ok(())
    }

    /// Goes on with a compaction, over about `most` changes, whole revisions only: a store swept up
    /// to a revision is a function of that revision, however many steps it took.
    pub(super) fn sweep(&mut self, most: usize) {
        let Kv { keys, history, totals, .. } = self;
        let through = |revision| history.count(Bound::Unbounded, Bound::Included(&revision));
        let kept = through(Stamp::after(self.swept)).all;
        let next = history.nth(most.max(kept));
        let to = next.map_or(self.compacted, |(stamp, _)| stamp.revision.min(self.compacted));
        // Whatever is superseded by `to` was superseded by a change that is still in the history:
        // the changes at the revision swept last were kept for this.
        let changes = history.range(Bound::Unbounded, Bound::Included(&Stamp::after(to)));
        for (_, Key(key)) in changes {
            let versions = |key: &Blob, versions: &mut KeyHistory| {
                versions.compact(to, |version| totals.remove(key, version))
            };
            if !keys.update::<[u8], _>(key, versions).unwrap_or(true) {
                keys.remove::<[u8]>(key);
                totals.bytes -= KEY_OVERHEAD + key.len() as u64;
            }
        }
        history.cut_before(&Stamp::before(to));
        self.swept = to;
    }

    /// Whether a compaction is not yet carried out in full.
    pub(super) fn is_sweeping(&self) -> bool {
        self.swept < self.compacted
    }

    /// Takes in a key of a snapshot, whose order and numbers the caller has checked.
    pub(super) fn restore_totals(&mut self, key: &[u8], history: &KeyHistory) {
        for version in history.iter() {
            self.totals.add(key, version);
        }
        self.totals.bytes += KEY_OVERHEAD + key.len() as u64;
    }
}

/// Keys of a range.
pub(super) enum Span<'a> {
    /// One key is looked up, not searched for as a range of one: half the comparisons.
    One(Option<(&'a Blob, &'a KeyHistory)>),
    Many(Iter<'a, Blob, KeyHistory>),
}

impl<'a> Span<'a> {
    fn of(
        range: &KeyRange,
        one: impl FnOnce(&[u8]) -> Option<(&'a Blob, &'a KeyHistory)>,
        many: impl FnOnce(Bound<&[u8]>, Bound<&[u8]>) -> Iter<'a, Blob, KeyHistory>,
    ) -> Span<'a> {
        match range.end() {
            _ if range.is_point() => Span::One(one(&range.key)),
            Some(end) => Span::Many(many(Bound::Included(&range.key), end)),
            None => Span::One(None),
        }
    }

    /// How many they are, before any was told.
    pub(super) fn counts(&self) -> Counts {
        match self {
            Span::One(one) => one.map_or(Counts::default(), |(_, history)| Counts::of(history)),
            Span::Many(many) => many.counts(),
        }
    }
}

impl<'a> Iterator for Span<'a> {
    type Item = (&'a Blob, &'a KeyHistory);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Span::One(one) => one.take(),
            Span::Many(many) => many.next(),
        }
    }
}

impl DoubleEndedIterator for Span<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Span::One(one) => one.take(),
            Span::Many(many) => many.next_back(),
        }
    }
}
