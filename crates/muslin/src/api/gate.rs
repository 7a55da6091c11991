//! How many connections there may be, and how many from one address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

/// Most connections at once, where the process may have so many files open. Each that is quiet
/// costs some tens of kilobytes and at most 64 kB more while a head is read: about 256 MB in all.
/// What bodies take is bounded apart from it, see `bodies.rs`.
pub const CONNECTIONS_MAX: usize = 4_096;

/// Most connections from other machines. The rest is for this one: an operator can always get in.
pub(super) const REMOTE_CONNECTIONS_MAX: usize = CONNECTIONS_MAX / 4 * 3;

/// Most connections from one other address: a busy client of ours uses a handful.
pub(super) const CONNECTIONS_PER_ADDRESS_MAX: usize = 256;

/// Counts connections in and out.
pub(super) struct Gate {
    max: usize,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    local: usize,
    remote: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

/// One connection's place; given back when dropped.
pub(super) struct Pass {
    gate: Arc<Gate>,
    address: IpAddr,
}

impl Gate {
    /// For so many connections, and never more than [`CONNECTIONS_MAX`].
    pub(super) fn new(max: usize) -> Gate {
        Gate { max: max.min(CONNECTIONS_MAX), counts: Mutex::default() }
    }

    /// Lets a connection in, unless there are too many.
    pub(super) fn enter(self: &Arc<Gate>, address: IpAddr) -> Option<Pass> {
        let address = address.to_canonical();
        let mut counts = self.counts.lock().expect("no holder of this lock panics");
        if counts.local + counts.remote >= self.max {
            return None;
        }
        if address.is_loopback() {
            counts.local += 1;
        } else {
            let here = counts.by_address.get(&address).copied().unwrap_or(0);
            let remote_max = REMOTE_CONNECTIONS_MAX.min(self.max / 4 * 3);
            if counts.remote >= remote_max || here >= CONNECTIONS_PER_ADDRESS_MAX {
                return None;
            }
            counts.remote += 1;
            counts.by_address.insert(address, here + 1);
        }
        Some(Pass { gate: self.clone(), address })
    }

    /// How many are in.
    pub(super) fn len(&self) -> usize {
        let counts = self.counts.lock().expect("no holder of this lock panics");
        counts.local + counts.remote
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut counts = self.gate.counts.lock().expect("no holder of this lock panics");
        if self.address.is_loopback() {
            counts.local -= 1;
            return;
        }
        counts.remote -= 1;
        let here = counts.by_address.get(&self.address).copied().unwrap_or(0);
        if here <= 1 {
            counts.by_address.remove(&self.address);
        } else {
            counts.by_address.insert(self.address, here - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(gate: &Arc<Gate>, address: &str, times: usize) -> Vec<Pass> {
        let address = address.parse().unwrap();
        (0..times).filter_map(|_| gate.enter(address)).collect()
    }

    #[test]
    fn one_address_cannot_take_every_place() {
        let gate = Arc::new(Gate::new(CONNECTIONS_MAX));
        let one = enter(&gate, "192.0.2.1", 1_000);
        assert_eq!(one.len(), CONNECTIONS_PER_ADDRESS_MAX);
        assert_eq!(enter(&gate, "192.0.2.2", 1).len(), 1);
    }

    #[test]
    fn other_machines_leave_room_for_this_one() {
        let gate = Arc::new(Gate::new(CONNECTIONS_MAX));
        let remote: Vec<Pass> =
            (0..100).flat_map(|n| enter(&gate, &format!("192.0.2.{n}"), 100)).collect();
        assert_eq!(remote.len(), REMOTE_CONNECTIONS_MAX);
        let local = enter(&gate, "::ffff:127.0.0.1", CONNECTIONS_MAX);
        assert_eq!(local.len(), CONNECTIONS_MAX - REMOTE_CONNECTIONS_MAX);
    }

    #[test]
    fn where_files_are_few_connections_are_fewer() {
        let gate = Arc::new(Gate::new(40));
        let remote = enter(&gate, "192.0.2.1", 100);
        assert_eq!((remote.len(), enter(&gate, "127.0.0.1", 100).len()), (30, 10));
    }

    #[test]
    fn a_place_is_given_back() {
        let gate = Arc::new(Gate::new(CONNECTIONS_MAX));
        for _ in 0..3 {
            assert_eq!(enter(&gate, "192.0.2.1", 300).len(), CONNECTIONS_PER_ADDRESS_MAX);
        }
        assert_eq!(gate.len(), 0);
        assert!(gate.counts.lock().unwrap().by_address.is_empty());
    }
}
