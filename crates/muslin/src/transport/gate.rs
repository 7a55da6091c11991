//! How many strangers may shake hands at once.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

/// Handshakes at once: with QUIC each costs about 0.4 ms of a processor and 40 KiB.
pub const HANDSHAKES_MAX: usize = 256;

/// Handshakes at once from one address, so that one machine cannot take all places.
pub const HANDSHAKES_PER_ADDRESS_MAX: usize = 64;

/// With this many under way, a dialler must first prove that it receives at its address.
const UNPROVEN_MAX: usize = 32;

/// Counts handshakes under way, by address.
#[derive(Default)]
pub(super) struct Gate {
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    total: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

/// What to do with a handshake that wants to begin.
pub(super) enum Admission {
    /// Let it; the place is free again when this is dropped.
    Go(Place),
    /// Have it prove its address first.
    Prove,
    /// Refuse it.
    Refuse,
}

/// A place at the gate.
pub(super) struct Place {
    gate: Arc<Gate>,
    address: IpAddr,
}

impl Gate {
    pub(super) fn admit(self: &Arc<Gate>, address: IpAddr, is_proven: bool) -> Admission {
        let mut running = self.running.lock().expect("no holder of this lock panics");
        let here = running.by_address.get(&address).copied().unwrap_or(0);
        if running.total >= HANDSHAKES_MAX || here >= HANDSHAKES_PER_ADDRESS_MAX {
            return Admission::Refuse;
        }
        if running.total >= UNPROVEN_MAX && !is_proven {
            return Admission::Prove;
        }
        running.total += 1;
        running.by_address.insert(address, here + 1);
        Admission::Go(Place { gate: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut running = self.gate.running.lock().expect("no holder of this lock panics");
        running.total -= 1;
        if let Some(here) = running.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                running.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn places_are_bounded_by_address_and_in_all_and_given_back() {
        let gate = Arc::new(Gate::default());
        let address = |last| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
        let mut places = Vec::new();
        for at in 0..HANDSHAKES_MAX {
            let from = address((at / HANDSHAKES_PER_ADDRESS_MAX) as u8);
            assert!(at < UNPROVEN_MAX || matches!(gate.admit(from, false), Admission::Prove));
            let Admission::Go(place) = gate.admit(from, true) else { panic!("refused {at}") };
            places.push(place);
        }
        assert!(matches!(gate.admit(address(9), true), Admission::Refuse));
        places.truncate(HANDSHAKES_PER_ADDRESS_MAX);
        assert!(matches!(gate.admit(address(0), true), Admission::Refuse));
        assert!(matches!(gate.admit(address(9), true), Admission::Go(_)));
        places.clear();
        assert!(gate.running.lock().unwrap().by_address.is_empty());
    }
}
