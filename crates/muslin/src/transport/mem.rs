//! The transport's twin in memory: several nodes in one process, with loss and cuts on request.
//!
//! What holds for [`quic`](super::quic) holds here (the [`contract`](super::contract) says so);
//! there is no cryptography, so a node's cluster is simply compared.

use super::outbox::{Full, Outbox};
use super::{Incoming, IncomingSender, Transport, TransportCounters};
use bytes::Bytes;
use muslin_core::base::{ClusterId, NodeId, Prng};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;

/// How long closing tries to deliver what waits.
const FLUSH_MAX: Duration = Duration::from_millis(300);

/// How often closing looks whether all is delivered.
const FLUSH_POLL: Duration = Duration::from_millis(1);

/// A network in memory. Clones are the same network.
#[derive(Clone)]
pub struct MemNetwork {
    net: Arc<Mutex<Net>>,
}

struct Net {
    ports: BTreeMap<SocketAddr, Arc<Port>>,
    cuts: BTreeSet<(NodeId, NodeId)>,
    loss_per_million: u64,
    prng: Prng,
    next_port: u16,
}

/// One node of a [`MemNetwork`].
pub struct MemTransport {
    port: Arc<Port>,
}

struct Port {
    network: MemNetwork,
    cluster: ClusterId,
    node: NodeId,
    address: SocketAddr,
    incoming: IncomingSender,
    counters: Arc<TransportCounters>,
    runtime: tokio::runtime::Handle,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    peers: BTreeMap<NodeId, Arc<Peer>>,
    removed: BTreeSet<NodeId>,
}

struct Peer {
    node: NodeId,
    outbox: Outbox,
    wake: Notify,
    state: Mutex<PeerState>,
}

#[derive(Default)]
struct PeerState {
    route: Option<SocketAddr>,
    is_gone: bool,
    /// A message is out of the outbox and not yet delivered.
    is_busy: bool,
}

impl MemNetwork {
    /// A network without loss. The seed decides which datagrams are lost when there is.
    pub fn seeded(seed: u64) -> MemNetwork {
        let net = Net {
            ports: BTreeMap::new(),
            cuts: BTreeSet::new(),
            loss_per_million: 0,
            prng: Prng::seeded(seed),
            next_port: 1,
        };
        MemNetwork { net: Arc::new(Mutex::new(net)) }
    }

    /// Adds a node, at this address or one of its own. What was at the address is unplugged. Must
    /// be called inside a tokio runtime.
    pub fn start(
        &self,
        (cluster, node): (ClusterId, NodeId),
        address: Option<SocketAddr>,
        incoming: IncomingSender,
    ) -> Arc<MemTransport> {
        let mut net = self.net();
        let address = address.unwrap_or_else(|| {
            net.next_port += 1;
            SocketAddr::from((Ipv4Addr::LOCALHOST, net.next_port))
        });
        let port = Arc::new(Port {
            network: self.clone(),
            cluster,
            node,
            address,
            incoming,
            counters: Arc::default(),
            runtime: tokio::runtime::Handle::current(),
            table: Mutex::default(),
        });
        net.ports.insert(address, port.clone());
        Arc::new(MemTransport { port })
    }

    /// Loses that many of a million datagrams.
    pub fn set_loss(&self, per_million: u64) {
        self.net().loss_per_million = per_million;
    }

    /// Nothing gets from one node to the other any more.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.net().cuts.insert((from, to));
    }

    /// Mends all cuts.
    pub fn heal(&self) {
        self.net().cuts.clear();
    }

    fn net(&self) -> MutexGuard<'_, Net> {
        self.net.lock().expect("no holder of this lock panics")
    }
}

impl MemTransport {
    /// Where it is.
    pub fn local_address(&self) -> SocketAddr {
        self.port.address
    }

    /// What it has counted.
    pub fn counters(&self) -> Arc<TransportCounters> {
        self.port.counters.clone()
    }

    /// Stops at once, as a crash does: what waits is lost.
    pub fn unplug(&self) {
        self.port.unplug();
    }
}

impl Drop for MemTransport {
    fn drop(&mut self) {
        self.port.unplug();
    }
}

impl Transport for MemTransport {
    fn send(&self, to: NodeId, message: Bytes) {
        let counters = &self.port.counters;
        let peer = self.port.table().peers.get(&to).cloned();
        let Some(peer) = peer.filter(|peer| peer.state().route.is_some()) else {
            return counters.frames_no_route.raise();
        };
        match peer.outbox.push(message) {
            Ok(_) => peer.wake.notify_one(),
            Err(Full::Queue) => counters.frames_queue_full.raise(),
            Err(Full::Frame) => counters.frames_too_large.raise(),
        }
    }

    fn datagram(&self, to: SocketAddr, bytes: Bytes) {
        let port = &self.port;
        port.counters.datagrams_out.raise();
        let Some(target) = port.reach_datagram(to) else { return };
        let datagram = Incoming::Datagram { from: port.address, bytes };
        match target.incoming.try_send(datagram) {
            Ok(()) => target.counters.datagrams_in.raise(),
            Err(_) => target.counters.datagrams_overrun.raise(),
        }
    }

    fn route(&self, node: NodeId, address: SocketAddr) {
        if node != self.port.node {
            self.port.table().removed.remove(&node);
            let peer = self.port.peer(node);
            peer.state().route = Some(address);
            peer.wake.notify_one();
        }
    }

    fn unroute(&self, node: NodeId) {
        let mut table = self.port.table();
        table.removed.insert(node);
        if let Some(peer) = table.peers.remove(&node) {
            peer.end();
        }
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            let flushed = async {
                while self.port.table().peers.values().any(|peer| peer.is_busy()) {
                    tokio::time::sleep(FLUSH_POLL).await;
                }
            };
            let _ = tokio::time::timeout(FLUSH_MAX, flushed).await;
            self.unplug();
        })
    }
}

impl Port {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("no holder of this lock panics")
    }

    fn unplug(self: &Arc<Port>) {
        let mut net = self.network.net();
        if net.ports.get(&self.address).is_some_and(|port| Arc::ptr_eq(port, self)) {
            net.ports.remove(&self.address);
        }
        drop(net);
        let peers = std::mem::take(&mut self.table().peers);
        peers.values().for_each(|peer| peer.end());
    }

    fn peer(self: &Arc<Port>, node: NodeId) -> Arc<Peer> {
        let mut table = self.table();
        if let Some(peer) = table.peers.get(&node) {
            return peer.clone();
        }
        let (outbox, wake, state) = (Outbox::default(), Notify::new(), Mutex::default());
        let peer = Arc::new(Peer { node, outbox, wake, state });
        table.peers.insert(node, peer.clone());
        self.runtime.spawn(carry(self.clone(), peer.clone()));
        peer
    }

    /// Whoever is at an address and hears this node's datagrams, if this one is not lost.
    fn reach_datagram(&self, to: SocketAddr) -> Option<Arc<Port>> {
        let mut net = self.network.net();
        let loss = net.loss_per_million;
        let target = net.ports.get(&to)?.clone();
        let is_cut = net.cuts.contains(&(self.node, target.node));
        let is_lost = net.prng.chance(loss);
        drop(net);
        let is_removed = target.table().removed.contains(&self.node);
        let is_heard = target.cluster == self.cluster && !is_cut && !is_lost && !is_removed;
        is_heard.then_some(target)
    }

    /// The peer, where its route says, if it takes messages of this node.
    fn reach(&self, peer: &Peer) -> Option<Arc<Port>> {
        let route = peer.state().route?;
        let net = self.network.net();
        let target = net.ports.get(&route)?.clone();
        let is_cut = net.cuts.contains(&(self.node, target.node));
        drop(net);
        let is_removed = target.table().removed.contains(&self.node);
        let is_meant = target.cluster == self.cluster && target.node == peer.node;
        (is_meant && !is_cut && !is_removed).then_some(target)
    }
}

impl Peer {
    fn state(&self) -> MutexGuard<'_, PeerState> {
        self.state.lock().expect("no holder of this lock panics")
    }

    fn is_busy(&self) -> bool {
        self.state().is_busy || !self.outbox.is_empty()
    }

    fn end(&self) {
        self.state().is_gone = true;
        self.wake.notify_one();
    }
}

/// Delivers one peer's messages, in order, waiting while it is busy.
async fn carry(port: Arc<Port>, peer: Arc<Peer>) {
    loop {
        let message = {
            let mut state = peer.state();
            if state.is_gone {
                break;
            }
            let message = peer.outbox.pop();
            state.is_busy = message.is_some();
            message
        };
        let Some(bytes) = message else {
            peer.wake.notified().await;
            continue;
        };
        let Some(target) = port.reach(&peer) else {
            port.counters.frames_lost.raise();
            continue;
        };
        // As over a connection, it can be answered even if no route is known there.
        target.peer(port.node).state().route.get_or_insert(port.address);
        port.counters.frames_out.raise();
        let message = Incoming::Message { from: port.node, bytes };
        tokio::select! {
            sent = target.incoming.send(message) => match sent {
                Ok(()) => target.counters.frames_in.raise(),
                Err(_) => port.counters.frames_lost.raise(),
            },
            () = ended(&peer) => break,
        }
    }
    port.counters.frames_lost.add(peer.outbox.clear());
}

async fn ended(peer: &Peer) {
    while !peer.state().is_gone {
        peer.wake.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract;
    use super::*;
    use tokio::sync::mpsc;

    struct MemBench(MemNetwork);

    impl contract::Bench for MemBench {
        type Transport = MemTransport;

        async fn start(
            &self,
            place: contract::Place,
            incoming: IncomingSender,
        ) -> (Arc<MemTransport>, SocketAddr) {
            let cluster = ClusterId(if place.is_foreign { 2 } else { 1 });
            let transport = self.0.start((cluster, place.node), place.address, incoming);
            let address = transport.local_address();
            (transport, address)
        }

        async fn crash(&self, transport: Arc<MemTransport>) {
            transport.unplug();
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn memory_obeys_the_contract() {
        contract::test_all(&MemBench(MemNetwork::seeded(1))).await;
    }

    #[tokio::test]
    async fn cut_nodes_do_not_hear_each_other_until_healed() {
        let network = MemNetwork::seeded(1);
        let (sender, mut inbox) = mpsc::channel(100);
        let one = network.start((ClusterId(1), NodeId(1)), None, mpsc::channel(1).0);
        let two = network.start((ClusterId(1), NodeId(2)), None, sender);
        one.route(NodeId(2), two.local_address());
        network.cut(NodeId(1), NodeId(2));
        one.send(NodeId(2), Bytes::from_static(b"lost"));
        one.datagram(two.local_address(), Bytes::from_static(b"lost"));
        while one.counters().frames_lost.value() == 0 {
            tokio::task::yield_now().await;
        }
        network.heal();
        one.send(NodeId(2), Bytes::from_static(b"heard"));
        let bytes = Bytes::from_static(b"heard");
        assert_eq!(inbox.recv().await, Some(Incoming::Message { from: NodeId(1), bytes }));
    }

    #[tokio::test]
    async fn as_many_datagrams_are_lost_as_asked() {
        let network = MemNetwork::seeded(7);
        let (sender, _inbox) = mpsc::channel(2_000);
        let one = network.start((ClusterId(1), NodeId(1)), None, mpsc::channel(1).0);
        let two = network.start((ClusterId(1), NodeId(2)), None, sender);
        network.set_loss(300_000);
        (0..1_000).for_each(|_| one.datagram(two.local_address(), Bytes::new()));
        let heard = two.counters().datagrams_in.value();
        assert!((600..800).contains(&heard), "{heard}");
    }
}
