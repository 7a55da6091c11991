//! One simulated machine: a disk, a clock, and the process of a node while it runs.

use crate::disk::Disk;
use crate::replica::View;
use crate::subject::Subject;
use crate::time::{Clock, Time};
use muslin_core::base::{GroupId, Index, NodeId, Now, PersistId};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

pub(crate) struct Host<S: Subject> {
    pub(crate) id: NodeId,
    /// Where it is reached at present.
    pub(crate) address: SocketAddr,
    pub(crate) disk: Disk,
    /// Start counter of its directory.
    pub(crate) boot: u64,
    /// Raised by every start and every crash: what was meant for an earlier life is dropped.
    pub(crate) life: u64,
    pub(crate) standing: Standing,
    pub(crate) process: Option<Process<S>>,
    /// Added to every sync.
    pub(crate) slow_disk: Duration,
    /// Added to every batch.
    pub(crate) starved: Duration,
    /// Its disk has no room for entries.
    pub(crate) is_full: bool,
    /// The next sync fails.
    pub(crate) sync_fails: bool,
    /// Its disk has lost what it promised, at some time.
    pub(crate) was_damaged: bool,
    /// What the group had committed when it did, the last time.
    pub(crate) lost_when: Index,
    /// When somebody last hindered it: its answers may be late for a while.
    pub(crate) hindered: Time,
}

/// What a machine is to the cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// Not admitted yet.
    Outside,
    /// A founder, or admitted.
    Member,
    /// Removed by the record; it may still have a vote.
    Removed,
    /// Removed, and switched off for good.
    Gone,
}

/// A message that waits for its write.
pub(crate) struct Held<M> {
    pub(crate) after: (GroupId, PersistId),
    pub(crate) to: NodeId,
    pub(crate) message: M,
}

pub(crate) struct Process<S: Subject> {
    pub(crate) subject: S,
    /// What its driver keeps for it.
    pub(crate) local: S::Local,
    pub(crate) clock: Clock,
    pub(crate) inbox: VecDeque<S::Input>,
    pub(crate) held: Vec<Held<S::Message>>,
    pub(crate) busy_until: Time,
    /// Its turn to work is in the queue.
    pub(crate) is_roused: bool,
    /// Its deadline as of the last batch, by its own clock.
    pub(crate) due: Option<Now>,
    /// When it will be woken for it.
    pub(crate) wake_at: Option<Time>,
    pub(crate) is_paused: bool,
    pub(crate) is_stopping: bool,
    /// It loses power after so many more outputs of the next batch.
    pub(crate) cut_after: Option<usize>,
    /// What was last seen of each of its groups, by number.
    pub(crate) seen: Vec<View>,
}

/// The port of every simulated node.
const PORT: u16 = 7400;

/// The first address of the machine at a place.
pub(crate) fn address_of(place: usize) -> SocketAddr {
    address_in(0, place)
}

/// The address of the machine at a place in another network: each has its own.
pub(crate) fn address_in(network: u8, place: usize) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, network, place as u8 + 1)), PORT + place as u16)
}

/// The place of an address, whatever the network.
pub(crate) fn place_of_address(address: SocketAddr) -> usize {
    usize::from(address.port().saturating_sub(PORT))
}

/// The identity of the node on the machine at a place: n1 is on the first.
pub(crate) fn id_of(place: usize) -> NodeId {
    NodeId(place as u64 + 1)
}

/// The place of a node.
pub(crate) fn place_of(id: NodeId) -> usize {
    (id.0 - 1) as usize
}
