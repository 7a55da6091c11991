//! What is known of the peers, shared by all tasks of a transport.

use crate::identity::Keyring;
use crate::transport::gossip::Ear;
use crate::transport::outbox::Outbox;
use crate::transport::seal::Sealer;
use crate::transport::{IncomingSender, Roster, TransportCounters};
use muslin_core::base::{ClusterId, NodeId};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

/// Peers known at once: as many as gossip remembers senders.
pub const PEERS_MAX: usize = crate::transport::seal::SENDERS_MAX;

/// Who this node is, its peers, and where what comes in goes.
pub(super) struct Registry {
    pub(super) cluster: ClusterId,
    pub(super) node: NodeId,
    pub(super) boot: u64,
    pub(super) port: u16,
    pub(super) counters: Arc<TransportCounters>,
    pub(super) incoming: IncomingSender,
    pub(super) sealer: Sealer,
    pub(super) roster: Roster,
    /// Connections dialled so far.
    pub(super) dials: AtomicU64,
    table: Mutex<Table>,
}

/// Who is known.
#[derive(Default)]
pub(super) struct Table {
    pub(super) peers: BTreeMap<NodeId, Arc<Peer>>,
    /// The connection of each peer that counts.
    pub(super) links: BTreeMap<NodeId, InLink>,
}

impl Table {
    /// Makes room for another peer; whether there is.
    pub(super) fn make_room(&mut self) -> bool {
        if self.peers.len() < PEERS_MAX {
            return true;
        }
        let idle = self.peers.values().find(|peer| peer.is_idle()).map(|peer| peer.id);
        let forgotten = idle.and_then(|idle| self.peers.remove(&idle));
        forgotten.inspect(|peer| peer.end(Phase::Gone)).is_some()
    }
}

/// A connection that a peer dialled.
pub(super) struct InLink {
    /// Which start of the peer, and which of its dials.
    pub(super) number: (u64, u64),
    /// Ends what reads it.
    pub(super) reader: AbortHandle,
    /// Held by whoever hands up what this peer says.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
}

/// One peer.
pub(super) struct Peer {
    pub(super) id: NodeId,
    pub(super) outbox: Outbox,
    /// Something is in the outbox.
    pub(super) wake: Notify,
    /// A connection to it is open.
    is_linked: AtomicBool,
    orders: watch::Sender<Orders>,
}

/// What the task that writes to a peer is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Orders {
    pub(super) route: Option<SocketAddr>,
    /// The latest start of the peer that was heard.
    pub(super) boot: u64,
    pub(super) phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Phase {
    #[default]
    Open,
    /// Write what waits, then end.
    Finishing,
    Gone,
}

impl Registry {
    pub(super) fn new(
        (cluster, node): (ClusterId, NodeId),
        boot: u64,
        keyring: Keyring,
        port: u16,
        incoming: IncomingSender,
    ) -> Registry {
        Registry {
            cluster,
            node,
            boot,
            port,
            counters: Arc::default(),
            incoming,
            sealer: Sealer::new(cluster, node, boot, keyring),
            roster: Roster::new(super::transport::EPOCH),
            dials: AtomicU64::new(0),
            table: Mutex::default(),
        }
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("no holder of this lock panics")
    }

    /// Opens a gossip datagram and hands it up.
    pub(super) fn take_datagram(&self, from: SocketAddr, datagram: &[u8]) {
        let (sealer, roster) = (&self.sealer, &self.roster);
        let (counters, incoming) = (&*self.counters, &self.incoming);
        let ear = Ear { node: self.node, sealer, roster, counters, incoming };
        let Some((sender, boot)) = ear.take(from, datagram) else { return };
        if let Some(peer) = self.table().peers.get(&sender) {
            peer.heard(boot);
        }
    }
}

impl Peer {
    pub(super) fn new(id: NodeId) -> Peer {
        let (outbox, wake) = (Outbox::default(), Notify::new());
        let (is_linked, orders) = (AtomicBool::new(false), watch::Sender::default());
        Peer { id, outbox, wake, is_linked, orders }
    }

    pub(super) fn orders(&self) -> watch::Receiver<Orders> {
        self.orders.subscribe()
    }

    pub(super) fn set_linked(&self, is_linked: bool) {
        self.is_linked.store(is_linked, Ordering::Relaxed);
    }

    /// Nothing is under way to it: it can be forgotten, and found again by its next route.
    fn is_idle(&self) -> bool {
        !self.is_linked.load(Ordering::Relaxed) && self.outbox.is_empty()
    }

    pub(super) fn is_reachable(&self) -> bool {
        self.orders.borrow().route.is_some()
    }

    pub(super) fn set_route(&self, address: SocketAddr) {
        self.change(|orders| orders.route = Some(address));
    }

    /// It dialled from there: it can be answered, unless something better is known.
    pub(super) fn called_from(&self, address: SocketAddr) {
        self.change(|orders| orders.route = orders.route.or(Some(address)));
    }

    /// The peer was heard in this start of its process: a connection to an earlier one is dead.
    pub(super) fn heard(&self, boot: u64) {
        self.change(|orders| orders.boot = orders.boot.max(boot));
    }

    pub(super) fn end(&self, phase: Phase) {
        self.change(|orders| orders.phase = phase);
    }

    fn change(&self, change: impl FnOnce(&mut Orders)) {
        self.orders.send_if_modified(|orders| {
            let before = *orders;
            change(orders);
            before != *orders
        });
    }
}
