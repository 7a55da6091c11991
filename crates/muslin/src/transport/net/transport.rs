//! The transport itself.

use super::dial::write_to;
use super::listen::{accept, hear};
use super::peer::{Peer, Phase, Registry};
use super::sockets::{Sockets, outward};
use crate::identity::Keyring;
use crate::transport::outbox::Full;
use crate::transport::{IncomingSender, Transport, TransportCounters};
use bytes::Bytes;
use muslin_core::base::{ClusterId, Epoch, NodeId};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::task::JoinSet;

/// The one epoch of a cluster that has no record.
pub(super) const EPOCH: Epoch = Epoch(1);

/// How long closing tries to write what waits.
const FLUSH_MAX: Duration = Duration::from_millis(300);

/// Who starts a transport.
#[derive(Clone, Debug)]
pub struct Start {
    /// Datagrams and connections of other clusters are dropped.
    pub cluster: ClusterId,
    /// This node.
    pub node: NodeId,
    /// Greater at every start of the node; see [`Start::new`].
    pub boot: u64,
    /// The first key seals, all open.
    pub keyring: Keyring,
}

impl Start {
    /// The clock counts the starts. A node whose clock was set back is not heard until it has
    /// caught up.
    pub fn new(cluster: ClusterId, node: NodeId, keyring: Keyring) -> Start {
        let present = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let boot = u64::try_from(present.as_micros()).unwrap_or(u64::MAX);
        Start { cluster, node, boot, keyring }
    }
}

/// Peers over TCP, gossip over UDP. Ends with all its tasks when it is dropped.
pub struct NetTransport {
    engine: Arc<Engine>,
    udp: UdpSocket,
    address: SocketAddr,
    /// Those that listen.
    ears: Mutex<JoinSet<()>>,
}

/// What the tasks share.
pub(super) struct Engine {
    pub(super) registry: Arc<Registry>,
    runtime: tokio::runtime::Handle,
    /// Those that write, one for each peer; `None` when the transport has ended.
    writers: Mutex<Option<JoinSet<()>>>,
}

impl NetTransport {
    /// Starts on these sockets. Must be called inside a tokio runtime, which its tasks will use.
    pub fn start(
        start: Start,
        sockets: Sockets,
        incoming: IncomingSender,
    ) -> io::Result<Arc<NetTransport>> {
        let Start { cluster, node, boot, keyring } = start;
        let Sockets { udp, tcp } = sockets;
        let address = udp.local_addr()?;
        let listener = tokio::net::TcpListener::from_std(tcp)?;
        let socket = tokio::net::UdpSocket::from_std(udp.try_clone()?)?;
        let registry = Registry::new((cluster, node), boot, keyring, address.port(), incoming);
        let registry = Arc::new(registry);
        let runtime = tokio::runtime::Handle::current();
        let writers = Mutex::new(Some(JoinSet::new()));
        let engine = Arc::new(Engine { registry: registry.clone(), runtime, writers });
        let mut ears = JoinSet::new();
        ears.spawn(hear(registry, socket));
        ears.spawn(accept(engine.clone(), listener));
        Ok(Arc::new(NetTransport { engine, udp, address, ears: Mutex::new(ears) }))
    }

    /// Where it listens.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// What it has counted.
    pub fn counters(&self) -> Arc<TransportCounters> {
        self.engine.registry.counters.clone()
    }

    /// Seals and opens with other keys from here on. Connections under way go on.
    pub fn set_keyring(&self, keyring: Keyring) {
        self.engine.registry.sealer.set_keyring(keyring);
    }

    /// Stops at once, as a crash does: what waits is lost. The address is free when this returns.
    pub async fn unplug(&self) {
        let writers = self.engine.writers().take();
        let mut ears = std::mem::take(&mut *self.ears.lock().expect("no holder panics"));
        if let Some(mut writers) = writers {
            writers.shutdown().await;
        }
        ears.shutdown().await;
        *self.engine.registry.table() = super::peer::Table::default();
    }
}

impl Engine {
    fn writers(&self) -> std::sync::MutexGuard<'_, Option<JoinSet<()>>> {
        self.writers.lock().expect("no holder of this lock panics")
    }

    /// The peer, known from here on; `None` when there is no room, or the transport has ended.
    pub(super) fn peer(self: &Arc<Engine>, node: NodeId) -> Option<Arc<Peer>> {
        let mut table = self.registry.table();
        if let Some(peer) = table.peers.get(&node) {
            return Some(peer.clone());
        }
        let mut writers = self.writers();
        let writers = writers.as_mut().filter(|_| table.make_room())?;
        while writers.try_join_next().is_some() {}
        let peer = Arc::new(Peer::new(node));
        table.peers.insert(node, peer.clone());
        writers.spawn_on(write_to(self.registry.clone(), peer.clone()), &self.runtime);
        Some(peer)
    }
}

impl Transport for NetTransport {
    fn send(&self, to: NodeId, message: Bytes) {
        let registry = &self.engine.registry;
        let peer = registry.table().peers.get(&to).cloned();
        let Some(peer) = peer.filter(|peer| peer.is_reachable()) else {
            return registry.counters.frames_no_route.raise();
        };
        match peer.outbox.push(message) {
            Ok(true) => peer.wake.notify_one(),
            Ok(false) => {}
            Err(Full::Queue) => registry.counters.frames_queue_full.raise(),
            Err(Full::Frame) => registry.counters.frames_too_large.raise(),
        }
    }

    fn datagram(&self, to: SocketAddr, bytes: Bytes) {
        let registry = &self.engine.registry;
        let Some(sealed) = registry.sealer.seal(registry.roster.epoch(), &bytes) else {
            return registry.counters.datagrams_long.raise();
        };
        match self.udp.send_to(&sealed, outward(to, self.address.is_ipv6())) {
            Ok(_) => {
                registry.counters.datagrams_out.raise();
                registry.counters.datagram_bytes_out.add(sealed.len() as u64);
            }
            Err(_) => registry.counters.datagrams_unsent.raise(),
        }
    }

    fn route(&self, node: NodeId, address: SocketAddr) {
        if node == self.engine.registry.node {
            return;
        }
        self.engine.registry.roster.restore(node);
        if let Some(peer) = self.engine.peer(node) {
            peer.set_route(address);
        }
    }

    fn unroute(&self, node: NodeId) {
        self.engine.registry.roster.remove(node);
        let mut table = self.engine.registry.table();
        if let Some(peer) = table.peers.remove(&node) {
            peer.end(Phase::Gone);
        }
        if let Some(link) = table.links.remove(&node) {
            link.reader.abort();
        }
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            let peers = std::mem::take(&mut self.engine.registry.table().peers);
            peers.values().for_each(|peer| peer.end(Phase::Finishing));
            let writers = self.engine.writers().take();
            if let Some(mut writers) = writers {
                let flushed = async { while writers.join_next().await.is_some() {} };
                let _ = tokio::time::timeout(FLUSH_MAX, flushed).await;
            }
            self.unplug().await;
        })
    }
}
