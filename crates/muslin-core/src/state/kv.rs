//! Keys with their history.

use super::version::{Content, KeyHistory, Version};
use super::{KeyRange, KvEvent, Refusal};
use crate::base::Revision;
use alloc::collections::btree_map::{BTreeMap, Entry};
use alloc::collections::vec_deque::VecDeque;
use bytes::Bytes;
use core::ops::Bound;

/// Values up to this size are copied out of the proposal that brought them; larger ones share its
/// buffer. A copy of this size costs less than a microsecond and keeps a small value from holding a
/// whole network frame in memory.
const COPIED_VALUE_MAX: usize = 4 << 10;

/// What a version costs in memory beside its value, and its line in the history.
const VERSION_OVERHEAD: u64 = 128;

/// What a key costs in memory beside its bytes, in the tree and by allocation.
const KEY_OVERHEAD: u64 = 96;

/// Revision of a store nothing was ever written to, as etcd has it: the first write gets 2.
const FIRST_REVISION: Revision = Revision(1);

/// Keys, their versions, and the order in which they changed.
#[derive(Clone, Debug)]
pub(super) struct Kv {
    pub(super) keys: BTreeMap<Bytes, KeyHistory>,
    /// Every retained change, in order of (revision, sub): what watches of the past are told from,
    /// and what compaction finds its work by.
    pub(super) history: VecDeque<Change>,
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
    /// Keys that exist.
    pub(super) live: u64,
    /// Approximate bytes in memory.
    pub(super) bytes: u64,
    /// Sum of the digests of all versions: whatever the order of writes, equal sets give equal
    /// sums.
    pub(super) digest: u64,
}

impl Totals {
    fn add(&mut self, key: &[u8], version: &Version) {
        self.digest = self.digest.wrapping_add(version.digest(key));
        self.bytes += VERSION_OVERHEAD + version.value().len() as u64;
    }

    fn remove(&mut self, key: &[u8], version: &Version) {
        self.digest = self.digest.wrapping_sub(version.digest(key));
        self.bytes -= VERSION_OVERHEAD + version.value().len() as u64;
    }
}

/// One line of the history.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// When.
    pub(super) revision: Revision,
    /// Which key; shared with the key in the tree.
    pub(super) key: Bytes,
}

/// Where in history a write stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    /// Of the command it belongs to.
    pub(super) revision: Revision,
    /// Its place among the command's writes.
    pub(super) sub: u32,
}

/// A value to be set and the lease it hangs on.
#[derive(Clone, Debug)]
pub(super) struct NewValue {
    pub(super) value: Bytes,
    pub(super) lease: u64,
}

impl Default for Kv {
    fn default() -> Kv {
        Kv {
            keys: BTreeMap::new(),
            history: VecDeque::new(),
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
        self.keys.get(key).map(KeyHistory::newest).filter(|version| version.is_set())
    }

    /// The keys of a range that have any version, in order.
    pub(super) fn span<'a>(
        &'a self,
        range: &KeyRange,
    ) -> impl Iterator<Item = (&'a Bytes, &'a KeyHistory)> + use<'a> {
        // One key is looked up, not searched for as a range of one: half the comparisons.
        let one = if range.is_point() { self.keys.get_key_value(&range.key[..]) } else { None };
        let start = Bound::Included(&range.key[..]);
        let many = range.end().map(|end| self.keys.range::<[u8], _>((start, end)));
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// Sets a key, at the revision after the present one; [`Kv::commit`] ends the revision.
    pub(super) fn put(&mut self, stamp: Stamp, key: &Bytes, new: NewValue) -> KvEvent {
        let value = owned_value(new.value);
        self.write(stamp, key, |present| {
            let (created, version) = match present {
                Some(Content::Set { created, version, .. }) => (*created, version + 1),
                Some(Content::Gone { .. }) | None => (stamp.revision, 1),
            };
            Content::Set { created, version, lease: new.lease, value }
        })
    }

    /// Deletes a key that exists.
    pub(super) fn delete(&mut self, stamp: Stamp, key: &Bytes, expired: bool) -> KvEvent {
        debug_assert!(self.present(key).is_some(), "only what exists is deleted");
        self.write(stamp, key, |_| Content::Gone { expired })
    }

    /// Looks the key up once: at a million keys that is most of a write's cost.
    fn write(
        &mut self,
        stamp: Stamp,
        key: &Bytes,
        content: impl FnOnce(Option<&Content>) -> Content,
    ) -> KvEvent {
        assert_eq!(stamp.revision, self.revision.next(), "K1: one command, one revision");
        let version = |content| Version { revision: stamp.revision, sub: stamp.sub, content };
        let event = match self.keys.entry(key.clone()) {
            Entry::Occupied(entry) => {
                let key = entry.key().clone();
                let history = entry.into_mut();
                let prev = history.newest().pair(&key);
                let next = version(content(Some(&history.newest().content)));
                self.totals.add(&key, &next);
                self.totals.live -= u64::from(prev.is_some());
                self.totals.live += u64::from(next.is_set());
                let event = next.event(&key, prev);
                history.push(next);
                event
            }
            Entry::Vacant(_) => {
                // The tree's own copy: a key outlives many proposals.
                let key = Bytes::copy_from_slice(key);
                let first = version(content(None));
                self.totals.add(&key, &first);
                self.totals.bytes += KEY_OVERHEAD + key.len() as u64;
                self.totals.live += u64::from(first.is_set());
                let event = first.event(&key, None);
                self.keys.insert(key, KeyHistory::new(first));
                event
            }
        };
        self.history.push_back(Change { revision: stamp.revision, key: event.kv.key.clone() });
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
        let kept = history.partition_point(|change| change.revision <= self.swept);
        let last = history.get(most.max(kept)).map_or(self.compacted, |change| change.revision);
        let to = last.min(self.compacted);
        // Whatever is superseded by `to` was superseded by a change that is still in the history:
        // the changes at the revision swept last were kept for this.
        let changed = history.partition_point(|change| change.revision <= to);
        for change in history.range(..changed) {
            let is_left = keys.get_mut(&change.key).is_none_or(|versions| {
                versions.compact(to, |version| totals.remove(&change.key, version))
            });
            if !is_left {
                keys.remove(&change.key);
                totals.bytes -= KEY_OVERHEAD + change.key.len() as u64;
            }
        }
        let before = history.partition_point(|change| change.revision < to);
        history.drain(..before);
        if history.capacity() / 4 > history.len() {
            history.shrink_to(history.len() * 2);
        }
        self.swept = to;
    }

    /// Whether a compaction is not yet carried out in full.
    pub(super) fn is_sweeping(&self) -> bool {
        self.swept < self.compacted
    }

    /// Takes in a key of a snapshot, whose order and numbers the caller has checked.
    pub(super) fn restore_key(&mut self, key: Bytes, history: KeyHistory) {
        for version in history.iter() {
            self.totals.add(&key, version);
        }
        self.totals.bytes += KEY_OVERHEAD + key.len() as u64;
        self.totals.live += u64::from(history.newest().is_set());
        self.keys.insert(key, history);
    }
}

fn owned_value(value: Bytes) -> Bytes {
    if value.len() <= COPIED_VALUE_MAX { Bytes::copy_from_slice(&value) } else { value }
}
