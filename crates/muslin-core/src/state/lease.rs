//! Leases: which exist and what hangs on them.
//!
//! When a lease ends is the leader's business: the state only knows its granted time.

use super::tree::{Live, Tree};
use super::{Blob, LeaseGrant, LeaseRevoke, Refusal, TXN_KEYS_MAX, TXN_OPS_MAX};
use crate::base::LeaseId;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// Longest time to live: etcd's 9,000,000,000 s.
pub const LEASE_TTL_MS_MAX: u64 = 9_000_000_000_000;

/// Most leases at once: about 100 bytes each, and a leader that takes over starts them all anew.
pub const LEASES_MAX: usize = 1_000_000;

/// Most keys on a lease that takes another, beside those of the same transaction: all go at once
/// when it ends, which holds up every node as long as a deletion of so many.
pub const LEASE_KEYS_MAX: usize = TXN_KEYS_MAX;

/// Largest lease id: etcd clients see a signed number.
pub(super) const LEASE_ID_MAX: u64 = i64::MAX as u64;

/// One lease.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lease {
    /// Granted time to live, in milliseconds.
    pub ttl_ms: u64,
    /// A put with a time to live made it: it ends with the last key that hangs on it, and no list
    /// of leases names it.
    pub is_of_put: bool,
    /// The keys that go when it ends.
    pub(super) keys: Tree<Blob, ()>,
}

impl Lease {
    /// The keys that go when it ends, in order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &Blob> {
        self.keys.iter().map(|(key, ())| key)
    }
}

impl Live for Lease {
    fn is_live(&self) -> bool {
        true
    }
}

/// All leases. A copy costs nothing, and is what was there when it was made.
#[derive(Clone, Debug, Default)]
pub(super) struct Leases {
    pub(super) table: Tree<LeaseId, Lease>,
}

impl Leases {
    fn exists(&self, id: LeaseId) -> bool {
        self.table.get(&id).is_some()
    }

    /// Whether a put may name this lease; 0 is none.
    pub(super) fn check_attach(&self, lease: u64) -> Result<(), Refusal> {
        let exists = lease == 0 || self.exists(LeaseId(lease));
        if exists { Ok(()) } else { Err(Refusal::LeaseNotFound) }
    }

    /// Whether a lease that exists has room for a key, or has it already.
    pub(super) fn check_room(&self, lease: u64, key: &[u8]) -> Result<(), Refusal> {
        let found = self.table.get(&LeaseId(lease));
        let is_full = found.is_some_and(|(_, lease)| {
            lease.keys.counts().all >= LEASE_KEYS_MAX && lease.keys.get(key).is_none()
        });
        if is_full { Err(Refusal::LeaseFull) } else { Ok(()) }
    }

    /// Whether a put may make this lease.
    pub(super) fn check_own(&self, lease: u64) -> Result<(), Refusal> {
        if self.exists(LeaseId(lease)) {
            return Err(Refusal::LeaseExists);
        }
        // As many may be made by one transaction, each by a put that was checked alone.
        let has_room = self.table.counts().all + TXN_OPS_MAX <= LEASES_MAX;
        if has_room { Ok(()) } else { Err(Refusal::TooManyLeases) }
    }

    /// Makes the lease of a put that was checked. False when a put of the same transaction has made
    /// it: they share it, and the first says how long it lives.
    pub(super) fn make_own(&mut self, id: LeaseId, ttl_ms: u64) -> bool {
        let is_made = !self.exists(id);
        if is_made {
            self.table.insert(id, Lease { ttl_ms, is_of_put: true, ..Lease::default() });
        }
        is_made
    }

    /// Ends a lease that a put made, if nothing hangs on it any more; whether it ended.
    pub(super) fn end_own(&mut self, id: LeaseId) -> bool {
        let lease = self.table.get(&id);
        let is_over = lease.is_some_and(|(_, lease)| lease.is_of_put && lease.keys.is_empty());
        is_over && self.table.remove(&id).is_some()
    }

    /// Makes a lease.
    pub(super) fn grant(&mut self, grant: &LeaseGrant) -> Result<LeaseId, Refusal> {
        let id = LeaseId(grant.id);
        check_form(grant.id, grant.ttl_ms)?;
        if self.exists(id) {
            return Err(Refusal::LeaseExists);
        }
        if self.table.counts().all >= LEASES_MAX {
            return Err(Refusal::TooManyLeases);
        }
        self.table.insert(id, Lease { ttl_ms: grant.ttl_ms, ..Lease::default() });
        Ok(id)
    }

    /// Which leases a revoke ends, in order. The leader's own skips those that are gone; a client's
    /// is refused.
    pub(super) fn revoked(&self, revoke: &LeaseRevoke) -> Result<Vec<LeaseId>, Refusal> {
        let asked: BTreeSet<LeaseId> = revoke.ids.iter().copied().map(LeaseId).collect();
        let found: Vec<LeaseId> = asked.iter().copied().filter(|id| self.exists(*id)).collect();
        let is_refused = !revoke.expired && (found.len() < asked.len() || asked.is_empty());
        if is_refused { Err(Refusal::LeaseNotFound) } else { Ok(found) }
    }

    /// These are about to be revoked, with all their keys: none of them ends before that by itself.
    pub(super) fn begin_revoke(&mut self, ids: &[LeaseId]) {
        for id in ids {
            self.table.update(id, |_, lease| lease.is_of_put = false);
        }
    }

    /// Moves a key from one lease to another; 0 is none.
    pub(super) fn reattach(&mut self, key: &Blob, from: u64, to: u64) {
        if from == to {
            return;
        }
        if from != 0 {
            self.table.update(&LeaseId(from), |_, lease| lease.keys.remove(key));
        }
        if to != 0 {
            let attached =
                self.table.update(&LeaseId(to), |_, lease| lease.keys.insert(key.clone(), ()));
            assert!(attached.is_some(), "checked before the command ran");
        }
    }

    /// Ends a lease that no key hangs on any more.
    pub(super) fn end(&mut self, id: LeaseId) {
        let ended = self.table.remove(&id);
        assert!(
            ended.is_some_and(|(_, lease)| lease.keys.is_empty()),
            "K3: a lease ends with its keys"
        );
    }
}

/// What can be refused of a lease to be made without looking at those that exist.
pub(super) fn check_form(id: u64, ttl_ms: u64) -> Result<(), Refusal> {
    // Zero means "no lease" everywhere else: proposing it is a bug of the proposer.
    if id == 0 || id > LEASE_ID_MAX {
        return Err(Refusal::LeaseNotFound);
    }
    let is_ttl = (1..=LEASE_TTL_MS_MAX).contains(&ttl_ms);
    if is_ttl { Ok(()) } else { Err(Refusal::LeaseTtl) }
}
