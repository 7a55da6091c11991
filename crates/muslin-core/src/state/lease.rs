//! Leases: which exist and what hangs on them.
//!
//! When a lease ends is the leader's business: the state only knows its granted time.

use super::{LeaseGrant, LeaseRevoke, Refusal};
use crate::base::LeaseId;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use bytes::Bytes;

/// Longest time to live: etcd's 9,000,000,000 s.
pub const LEASE_TTL_MS_MAX: u64 = 9_000_000_000_000;

/// Most leases at once: about 100 bytes each, and a leader that takes over starts them all anew.
pub const LEASES_MAX: usize = 1_000_000;

/// Largest lease id: etcd clients see a signed number.
pub(super) const LEASE_ID_MAX: u64 = i64::MAX as u64;

/// One lease.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lease {
    /// Granted time to live, in milliseconds.
    pub ttl_ms: u64,
    /// The keys that go when it ends.
    pub keys: BTreeSet<Bytes>,
}

/// All leases.
#[derive(Clone, Debug, Default)]
pub(super) struct Leases {
    pub(super) table: BTreeMap<LeaseId, Lease>,
}

impl Leases {
    /// Whether a put may name this lease; 0 is none.
    pub(super) fn check_attach(&self, lease: u64) -> Result<(), Refusal> {
        let exists = lease == 0 || self.table.contains_key(&LeaseId(lease));
        if exists { Ok(()) } else { Err(Refusal::LeaseNotFound) }
    }

    /// Makes a lease.
    pub(super) fn grant(&mut self, grant: &LeaseGrant) -> Result<LeaseId, Refusal> {
        let id = LeaseId(grant.id);
        // Zero means "no lease" everywhere else: proposing it is a bug of the proposer.
        if grant.id == 0 || grant.id > LEASE_ID_MAX {
            return Err(Refusal::LeaseNotFound);
        }
        if grant.ttl_ms == 0 || grant.ttl_ms > LEASE_TTL_MS_MAX {
            return Err(Refusal::LeaseTtl);
        }
        if self.table.contains_key(&id) {
            return Err(Refusal::LeaseExists);
        }
        if self.table.len() >= LEASES_MAX {
            return Err(Refusal::TooManyLeases);
        }
        self.table.insert(id, Lease { ttl_ms: grant.ttl_ms, keys: BTreeSet::new() });
        Ok(id)
    }

    /// Which leases a revoke ends, in order. The leader's own skips those that are gone; a client's
    /// is refused.
    pub(super) fn revoked(&self, revoke: &LeaseRevoke) -> Result<Vec<LeaseId>, Refusal> {
        let asked: BTreeSet<LeaseId> = revoke.ids.iter().copied().map(LeaseId).collect();
        let found: Vec<LeaseId> =
            asked.iter().copied().filter(|id| self.table.contains_key(id)).collect();
        let is_refused = !revoke.expired && (found.len() < asked.len() || asked.is_empty());
        if is_refused { Err(Refusal::LeaseNotFound) } else { Ok(found) }
    }

    /// Moves a key from one lease to another; 0 is none.
    pub(super) fn reattach(&mut self, key: &Bytes, from: u64, to: u64) {
        if from == to {
            return;
        }
        if let Some(lease) = self.table.get_mut(&LeaseId(from)) {
            lease.keys.remove(key);
        }
        if to != 0 {
            let lease = self.table.get_mut(&LeaseId(to)).expect("checked before the command ran");
            lease.keys.insert(key.clone());
        }
    }

    /// Ends a lease that no key hangs on any more.
    pub(super) fn end(&mut self, id: LeaseId) {
        let ended = self.table.remove(&id);
        assert!(ended.is_some_and(|lease| lease.keys.is_empty()), "K3: a lease ends with its keys");
    }
}
