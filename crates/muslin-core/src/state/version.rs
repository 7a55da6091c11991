//! The versions of one key.

use super::digest::Digest;
use super::tree::{Live, Tree};
use super::{Blob, KeyValue, KvEvent, KvEventKind};
use crate::base::Revision;
use alloc::sync::Arc;
use core::ops::Bound;

/// What one revision made of a key.
///
/// Flat, as there is one of these for each key: what only a key that was set has is 0 in a
/// deletion, which is also how it is read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Version {
    /// Revision that wrote it. A key has at most one version per revision (invariant 2).
    pub(super) revision: Revision,
    /// Revision that created the key.
    pub(super) created: Revision,
    /// Changes since then, from 1.
    pub(super) version: u64,
    /// Attached to it; 0 is none.
    pub(super) lease: u64,
    /// The value.
    pub(super) value: Blob,
    /// Its place among the writes of that revision.
    pub(super) sub: u32,
    /// What became of the key.
    pub(super) fate: Fate,
}

/// What became of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// It was set.
    Set,
    /// It was deleted.
    Deleted,
    /// It was deleted as its lease ran out.
    Expired,
}

impl Version {
    /// The mark of a deletion.
    pub(super) fn gone(revision: Revision, sub: u32, expired: bool) -> Version {
        let fate = if expired { Fate::Expired } else { Fate::Deleted };
        let (created, value) = (Revision::ZERO, Blob::default());
        Version { revision, created, version: 0, lease: 0, value, sub, fate }
    }

    /// The pair as read; `None` of a deletion.
    pub(super) fn pair(&self, key: &Blob) -> Option<KeyValue> {
        self.is_set().then(|| self.numbers_and_value(key))
    }

    /// The change as watched, given the pair before it.
    pub(super) fn event(&self, key: &Blob, prev: Option<KeyValue>) -> KvEvent {
        let kind = match self.fate {
            Fate::Set => KvEventKind::Put,
            Fate::Deleted => KvEventKind::Delete,
            Fate::Expired => KvEventKind::Expired,
        };
        KvEvent { kind, kv: self.numbers_and_value(key), prev }
    }

    fn numbers_and_value(&self, key: &Blob) -> KeyValue {
        KeyValue {
            key: key.clone(),
            value: self.value.clone(),
            create_revision: self.created.0,
            mod_revision: self.revision.0,
            version: self.version,
            lease: self.lease,
        }
    }

    /// Whether the key exists in this version.
    pub(super) fn is_set(&self) -> bool {
        self.fate == Fate::Set
    }

    /// Digest of the version as one of this key.
    pub(super) fn digest(&self, key: &[u8]) -> u64 {
        let digest = Digest::new().bytes(key).number(self.revision.0).number(u64::from(self.sub));
        let digest = match self.fate {
            Fate::Set => {
                let digest = digest.number(self.created.0).number(self.version);
                digest.number(self.lease).bytes(&self.value)
            }
            Fate::Deleted => digest.number(0),
            Fate::Expired => digest.number(1),
        };
        digest.finish()
    }
}

impl Live for Version {
    fn is_live(&self) -> bool {
        self.is_set()
    }
}

/// All retained versions of one key: at least one, revisions ascending.
///
/// The newest is kept inline: most keys have only that one, and most reads want it. A copy shares
/// what is older, so that it costs the same however much that is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct KeyHistory {
    newest: Version,
    older: Option<Arc<Tree<Revision, Version>>>,
}

impl Live for KeyHistory {
    fn is_live(&self) -> bool {
        self.newest.is_set()
    }
}

impl KeyHistory {
    /// A key with one version.
    pub(super) fn new(first: Version) -> KeyHistory {
        KeyHistory { newest: first, older: None }
    }

    /// The latest version.
    pub(super) fn newest(&self) -> &Version {
        &self.newest
    }

    /// All versions, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Version> {
        let older = self.older.iter().flat_map(|older| older.iter().map(|(_, version)| version));
        older.chain(core::iter::once(&self.newest))
    }

    /// The version a read at this revision sees, be it a deletion.
    pub(super) fn at(&self, revision: Revision) -> Option<&Version> {
        if self.newest.revision <= revision {
            return Some(&self.newest);
        }
        self.last_older(Bound::Included(&revision))
    }

    /// The version written at exactly this revision, and the one before it.
    pub(super) fn changed_at(&self, revision: Revision) -> Option<(&Version, Option<&Version>)> {
        if self.newest.revision == revision {
            return Some((&self.newest, self.last_older(Bound::Unbounded)));
        }
        let (_, version) = self.older.as_ref()?.get(&revision)?;
        Some((version, self.last_older(Bound::Excluded(&revision))))
    }

    fn last_older(&self, to: Bound<&Revision>) -> Option<&Version> {
        let last = self.older.as_ref()?.range(Bound::Unbounded, to).next_back();
        last.map(|(_, version)| version)
    }

    /// Adds a version.
    pub(super) fn push(&mut self, version: Version) {
        assert!(version.revision > self.newest.revision, "invariant 2: one version per revision");
        let before = core::mem::replace(&mut self.newest, version);
        let older = Arc::make_mut(self.older.get_or_insert_default());
        older.insert(before.revision, before);
    }

    /// Drops what no read at `to` or later can see, and tells of each. A deletion at `to` itself
    /// stays: a watch may still begin there. False when nothing is left.
    pub(super) fn compact(&mut self, to: Revision, mut dropped: impl FnMut(&Version)) -> bool {
        let mut kept_from = to.next();
        if self.newest.revision > to {
            // The last of them is what a read at `to` sees, unless it is an old deletion.
            let seen = self.last_older(Bound::Included(&to));
            if let Some(seen) = seen.filter(|seen| seen.is_set() || seen.revision == to) {
                kept_from = seen.revision;
            }
        }
        if let Some(older) = &mut self.older {
            let mut unseen = older.range(Bound::Unbounded, Bound::Excluded(&kept_from)).peekable();
            if unseen.peek().is_some() {
                unseen.for_each(|(_, version)| dropped(version));
                Arc::make_mut(older).cut_before(&kept_from);
            }
        }
        if self.older.as_ref().is_some_and(|older| older.is_empty()) {
            self.older = None;
        }
        let is_old_deletion = !self.newest.is_set() && self.newest.revision < to;
        if is_old_deletion {
            debug_assert!(self.older.is_none(), "everything older was dropped before it");
            dropped(&self.newest);
        }
        !is_old_deletion
    }
}
