//! Addresses where members may be: how the first packet finds the cluster, and how two halves find
//! each other again.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;

/// Most contacts kept; what a list has beyond it is not tried.
const CONTACTS_MAX: usize = 256;

/// Contacts tried in one rejoin period, in turn.
const TRIED_PER_PERIOD: usize = 16;

/// One address.
#[derive(Clone, Debug)]
struct Contact {
    address: SocketAddr,
    /// Somebody there has answered since it was listed.
    has_answered: bool,
}

/// The present list, and who of it was asked.
#[derive(Debug, Default)]
pub(super) struct Contacts {
    list: Vec<Contact>,
    /// Where the next turn begins.
    next: usize,
    /// Pings of this turn and the one before, by number, with their turn.
    asked: BTreeMap<u64, (SocketAddr, u64)>,
    turn: u64,
}

impl Contacts {
    /// Replaces the list; returns what is new in it.
    pub(super) fn replace(
        &mut self,
        addresses: Vec<SocketAddr>,
        own: SocketAddr,
    ) -> Vec<SocketAddr> {
        let before = core::mem::take(&mut self.list);
        let mut fresh = Vec::new();
        for address in addresses {
            let is_listed = self.list.iter().any(|contact| contact.address == address);
            if address == own || is_listed || self.list.len() == CONTACTS_MAX {
                continue;
            }
            let known = before.iter().find(|contact| contact.address == address);
            let has_answered = known.is_some_and(|contact| contact.has_answered);
            if known.is_none() && fresh.len() < TRIED_PER_PERIOD {
                fresh.push(address);
            }
            self.list.push(Contact { address, has_answered });
        }
        self.next = 0;
        fresh
    }

    /// Whether a turn would ask anybody. Those that have answered are asked again when `again`.
    pub(super) fn is_any_due(&self, again: bool) -> bool {
        self.list.iter().any(|contact| again || !contact.has_answered)
    }

    /// Begins a turn: whom to ask in it.
    pub(super) fn turn(&mut self, again: bool) -> Vec<SocketAddr> {
        self.turn += 1;
        let oldest_kept = self.turn - 1;
        self.asked.retain(|_, (_, turn)| *turn >= oldest_kept);
        let mut due = Vec::new();
        for _ in 0..self.list.len() {
            if due.len() == TRIED_PER_PERIOD {
                break;
            }
            self.next = (self.next + 1) % self.list.len();
            let contact = &self.list[self.next];
            if again || !contact.has_answered {
                due.push(contact.address);
            }
        }
        due
    }

    /// Notes a ping to a contact.
    pub(super) fn asked(&mut self, number: u64, address: SocketAddr) {
        self.asked.insert(number, (address, self.turn));
    }

    /// An answer came: whether it is to such a ping, and whether the first from there.
    pub(super) fn answered(&mut self, number: u64) -> Option<First> {
        let (address, _) = self.asked.remove(&number)?;
        let contact = self.list.iter_mut().find(|contact| contact.address == address)?;
        let first = First(!contact.has_answered);
        contact.has_answered = true;
        Some(first)
    }
}

/// Whether an answer was the first from a contact.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct First(pub(super) bool);
