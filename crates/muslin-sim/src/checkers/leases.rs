//! K3: a lease never ends before what was promised, by true time and the drift that clocks may
//! have; and it ends within a bound once nobody keeps it.

use super::Broken;
use crate::time::Time;
use muslin_core::base::NodeId;
use muslin_core::state::LeaseRevoke;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Clone, Copy)]
struct Lease {
    /// The holder was told that it lives at least until here.
    promised: Time,
    /// When its expiry was committed.
    expired: Option<Time>,
    /// A client ended it.
    is_revoked: bool,
}

impl Lease {
    fn until(promised: Time) -> Lease {
        Lease { promised, expired: None, is_revoked: false }
    }
}

pub(crate) struct Leases {
    /// How fast the fastest clock is, in parts per million.
    drift_ppm: u64,
    leases: BTreeMap<u64, Lease>,
}

impl Leases {
    pub(crate) fn new(drift_ppm: u64) -> Leases {
        Leases { drift_ppm, leases: BTreeMap::new() }
    }

    /// A holder was told that a lease lives for `left` from some moment after `asked` on.
    pub(crate) fn on_alive(
        &mut self,
        node: NodeId,
        id: u64,
        (asked, left): (Time, Duration),
    ) -> Result<(), Broken> {
        // On the fastest clock that much passes sooner.
        let true_left = left * 1_000_000 / (1_000_000 + self.drift_ppm as u32);
        let promised = asked + true_left;
        let lease = self.leases.entry(id).or_insert(Lease::until(promised));
        lease.promised = lease.promised.max(promised);
        if let Some(expired) = lease.expired
            && expired < promised
        {
            let facts = format!(
                "{node:?} says to a question of {asked} that lease {id:x} lives for {left:?}; it \
                 had ended at {expired}"
            );
            return Err(Broken::new("K3", facts));
        }
        Ok(())
    }

    /// A holder was told that there is no such lease.
    pub(crate) fn on_gone(&self, node: NodeId, id: u64, at: Time) -> Result<(), Broken> {
        match self.leases.get(&id) {
            Some(lease) if at < lease.promised && !lease.is_revoked => {
                let facts = format!(
                    "{node:?} says that lease {id:x} is gone; its holder was told that it lives \
                     until {}",
                    lease.promised
                );
                Err(Broken::new("K3", facts))
            }
            _ => Ok(()),
        }
    }

    /// The end of leases was committed.
    pub(crate) fn on_revoked(&mut self, at: Time, revoke: &LeaseRevoke) -> Result<(), Broken> {
        for id in &revoke.ids {
            if !revoke.expired {
                self.leases.entry(*id).or_insert(Lease::until(at)).is_revoked = true;
                continue;
            }
            let promised = self.leases.get(id).map_or(Time::START, |lease| lease.promised);
            if at < promised {
                let facts = format!(
                    "lease {id:x} ends at {at}; its holder was told that it lives until {promised}"
                );
                return Err(Broken::new("K3", facts));
            }
            let lease = self.leases.entry(*id).or_insert(Lease::until(promised));
            lease.expired = lease.expired.or(Some(at));
        }
        Ok(())
    }
}
