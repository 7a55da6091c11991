//! The versions of one key.

use super::digest::Digest;
use super::{KeyValue, KvEvent, KvEventKind};
use crate::base::Revision;
use alloc::vec::Vec;
use bytes::Bytes;

/// What one revision made of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Version {
    /// Revision that wrote it. A key has at most one version per revision (invariant 2).
    pub(super) revision: Revision,
    /// Its place among the writes of that revision.
    pub(super) sub: u32,
    /// What it wrote.
    pub(super) content: Content,
}

/// A value, or the mark of a deletion.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Content {
    /// The key was set.
    Set {
        /// Revision that created the key.
        created: Revision,
        /// Changes since then, from 1.
        version: u64,
        /// Attached to it; 0 is none.
        lease: u64,
        /// The value.
        value: Bytes,
    },
    /// The key was deleted.
    Gone {
        /// Because its lease ran out.
        expired: bool,
    },
}

impl Version {
    /// The pair as read; `None` of a deletion.
    pub(super) fn pair(&self, key: &Bytes) -> Option<KeyValue> {
        let Content::Set { created, version, lease, ref value } = self.content else {
            return None;
        };
        Some(KeyValue {
            key: key.clone(),
            value: value.clone(),
            create_revision: created.0,
            mod_revision: self.revision.0,
            version,
            lease,
        })
    }

    /// The change as watched, given the pair before it.
    pub(super) fn event(&self, key: &Bytes, prev: Option<KeyValue>) -> KvEvent {
        let kind = match self.content {
            Content::Set { .. } => KvEventKind::Put,
            Content::Gone { expired: false } => KvEventKind::Delete,
            Content::Gone { expired: true } => KvEventKind::Expired,
        };
        let kv = self.pair(key).unwrap_or_else(|| KeyValue {
            key: key.clone(),
            mod_revision: self.revision.0,
            ..KeyValue::default()
        });
        KvEvent { kind, kv, prev }
    }

    /// Whether the key exists in this version.
    pub(super) fn is_set(&self) -> bool {
        matches!(self.content, Content::Set { .. })
    }

    /// Lease the key is attached to in this version; 0 is none.
    pub(super) fn lease(&self) -> u64 {
        match self.content {
            Content::Set { lease, .. } => lease,
            Content::Gone { .. } => 0,
        }
    }

    /// The value; empty of a deletion.
    pub(super) fn value(&self) -> &[u8] {
        match &self.content {
            Content::Set { value, .. } => value,
            Content::Gone { .. } => &[],
        }
    }

    /// Digest of the version as one of this key.
    pub(super) fn digest(&self, key: &[u8]) -> u64 {
        let digest = Digest::new().bytes(key).number(self.revision.0).number(u64::from(self.sub));
        let digest = match &self.content {
            Content::Set { created, version, lease, value } => {
                digest.number(created.0).number(*version).number(*lease).bytes(value)
            }
            Content::Gone { expired } => digest.number(u64::from(*expired)),
        };
        digest.finish()
    }
}

/// All retained versions of one key: at least one, revisions ascending.
///
/// The newest is kept inline: most keys have only that one, and most reads want it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct KeyHistory {
    newest: Version,
    older: Vec<Version>,
}

impl KeyHistory {
    /// A key with one version.
    pub(super) fn new(first: Version) -> KeyHistory {
        KeyHistory { newest: first, older: Vec::new() }
    }

    /// The latest version.
    pub(super) fn newest(&self) -> &Version {
        &self.newest
    }

    /// All versions, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Version> {
        self.older.iter().chain(core::iter::once(&self.newest))
    }

    /// The version a read at this revision sees, be it a deletion.
    pub(super) fn at(&self, revision: Revision) -> Option<&Version> {
        if self.newest.revision <= revision {
            return Some(&self.newest);
        }
        let after = self.older.partition_point(|version| version.revision <= revision);
        self.older.get(after.checked_sub(1)?)
    }

    /// The version written at exactly this revision, and the one before it.
    pub(super) fn changed_at(&self, revision: Revision) -> Option<(&Version, Option<&Version>)> {
        if self.newest.revision == revision {
            return Some((&self.newest, self.older.last()));
        }
        let place = self.older.binary_search_by_key(&revision, |version| version.revision).ok()?;
        let before = place.checked_sub(1).map(|before| &self.older[before]);
        Some((&self.older[place], before))
    }

    /// Adds a version.
    pub(super) fn push(&mut self, version: Version) {
        assert!(version.revision > self.newest.revision, "invariant 2: one version per revision");
        self.older.push(core::mem::replace(&mut self.newest, version));
    }

    /// Drops what no read at `to` or later can see, and tells of each. A deletion at `to` itself
    /// stays: a watch may still begin there. False when nothing is left.
    pub(super) fn compact(&mut self, to: Revision, mut dropped: impl FnMut(&Version)) -> bool {
        let mut unseen = self.older.partition_point(|version| version.revision <= to);
        if self.newest.revision > to {
            // The last of them is what a read at `to` sees, unless it is an old deletion.
            let seen = unseen.checked_sub(1).map(|last| &self.older[last]);
            if seen.is_some_and(|version| version.is_set() || version.revision == to) {
                unseen -= 1;
            }
        }
        self.older.drain(..unseen).for_each(|version| dropped(&version));
        if self.older.is_empty() {
            self.older = Vec::new();
        }
        let is_old_deletion = !self.newest.is_set() && self.newest.revision < to;
        if is_old_deletion {
            debug_assert!(self.older.is_empty(), "everything older was dropped before it");
            dropped(&self.newest);
        }
        !is_old_deletion
    }
}
