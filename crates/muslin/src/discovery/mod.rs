//! How a first packet finds the cluster.
//!
//! A discovery names addresses where members may be; the failure detector pings them until somebody
//! answers, and learns all others from whoever does. Addresses are hints and nothing else: every
//! datagram is sealed with the cluster's key, so that a wrong address costs one packet.
//!
//! | discovery | finds |
//! | --- | --- |
//! | [`Seeds`] | `host:port`, resolved at every try: a Kubernetes headless service is one |
//! | [`Srv`] | what a DNS SRV name says, in its order |
//! | [`Multicast`] | who calls out to a multicast group; off unless asked for |
//! | [`Listed`] | members by name, fixed by configuration |
//! | [`LastSeen`] | the members of an earlier process of this node |
//! | [`Fixed`] | a list that stays: the founders |
//! | [`Told`] | a list that another part keeps: members that only the record knows |
//! | [`Local`] | nodes of this cluster and user on this host, wherever they listen |
//! | [`Combined`] | several of these |
//! | [`Patient`] | one that may block, without waiting for it long |
//!
//! [`Method`] reads the ones that people ask for, as they write them: `srv:..`, `multicast`,
//! `static:..`.
//!
//! # Invariants
//! 1. No answer names an address twice, one that nobody can be reached at, or more than
//!    [`CONTACTS_MAX`].
//! 2. A source that fails gives what it last knew, and says so once; it never fails the others.
//! 3. Nothing that is found is believed: a wrong address costs a packet, or a joiner a connection.
//! 4. What is on this host's disk is written in one step and belongs to this user alone.
//!
//! # Not here
//! Admission: being found is not being let in. Who is asked how often: the detector decides.

mod asked;
mod beacon;
mod combined;
pub mod contract;
mod fixed;
mod group;
#[cfg(feature = "node")]
mod last_seen;
mod listed;
mod local;
mod method;
mod multicast;
mod patient;
mod seeds;
mod srv;
#[cfg(test)]
mod tests;
mod told;

pub use asked::{ASK_EVERY, ask};
pub use beacon::{BEACON_BYTES, Beacon};
pub use combined::Combined;
pub use fixed::Fixed;
pub use group::{GROUP, GROUP_PORT, Group, GroupError};
#[cfg(feature = "node")]
pub use last_seen::LastSeen;
pub use listed::{Listed, StaticError, StaticList};
pub use local::{Announcement, Local, runtime_directory};
pub use method::{Method, MethodError};
pub use multicast::{HEARD_FOR, HINTS_MAX, Keys, Member, Multicast, RECEIVED_MAX};
pub use patient::Patient;
pub use seeds::{Resolve, SEEDS_MAX, SeedError, Seeds};
pub use srv::{Srv, SrvError, SrvName};
pub use told::Told;

use std::net::SocketAddr;

/// Most addresses in one answer, as many as the detector keeps. One that answers is enough.
pub const CONTACTS_MAX: usize = 256;

/// Names addresses where members may be.
///
/// Called every few seconds by a thread that does nothing else: it may block (on a name server, on
/// a disk). It does not fail: whoever finds nothing names nobody.
pub trait Discovery: Send {
    /// The addresses as far as known at this moment.
    fn contacts(&mut self) -> Vec<SocketAddr>;
}

/// Whether a datagram can be sent there.
fn is_reachable(address: &SocketAddr) -> bool {
    address.port() != 0 && !address.ip().is_unspecified() && !address.ip().is_multicast()
}

/// Invariant 1.
fn tidy(addresses: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut tidied = Vec::new();
    for address in addresses {
        let is_fresh = is_reachable(&address) && !tidied.contains(&address);
        if is_fresh && tidied.len() < CONTACTS_MAX {
            tidied.push(address);
        }
    }
    tidied
}
