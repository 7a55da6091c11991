//! The transport itself.

use super::dial::Engine;
use super::hello::{CLOSING, Refusal};
use super::registry::{Registry, Table};
use super::socket::SplitSocket;
use super::tuning::Configs;
use crate::identity::{Identity, IdentityError, Keyring, draw_node_id};
use crate::transport::gate::{Gate, HANDSHAKES_MAX};
use crate::transport::outbox::Full;
use crate::transport::seal::Sealer;
use crate::transport::{IncomingSender, Roster, Transport, TransportCounters};
use bytes::Bytes;
use muslin_core::base::{Epoch, NodeId};
use quinn::{Endpoint, TokioRuntime, VarInt};
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long closing tries to write what waits, and then to say good-bye. Only a peer that is gone
/// takes all of it; one on a busy machine may be some hundred milliseconds in reading.
const FLUSH_MAX: Duration = Duration::from_secs(2);
const GOOD_BYE_MAX: Duration = Duration::from_millis(100);

/// How often closing looks whether all is written.
const FLUSH_POLL: Duration = Duration::from_millis(2);

/// Peers over QUIC, gossip sealed in datagrams, on one UDP socket.
pub struct QuicTransport {
    engine: Arc<Engine>,
    socket: Arc<SplitSocket>,
}

/// What distinguishes this start of the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Start {
    /// The cluster's membership history as the node knows it.
    pub epoch: Epoch,
    /// Greater at every start of the node: its durable start counter, or else a clock (with a
    /// clock, a node whose clock was set back is not heard by gossip until it has caught up). A
    /// node must not change from one to the other.
    pub boot: u64,
}

/// The clock stands in for a start counter.
impl From<Epoch> for Start {
    fn from(epoch: Epoch) -> Start {
        let present = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Start { epoch, boot: u64::try_from(present.as_micros()).unwrap_or(u64::MAX) }
    }
}

/// Why a transport could not start.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The identity is not usable.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The socket is not usable.
    #[error("cannot use the UDP socket: {0}; is another process on the port?")]
    Socket(#[from] std::io::Error),
}

impl QuicTransport {
    /// Starts on a bound socket. Must be called inside a tokio runtime, which its tasks will use.
    pub fn start(
        identity: &Identity,
        start: impl Into<Start>,
        socket: UdpSocket,
        incoming: IncomingSender,
    ) -> Result<Arc<QuicTransport>, TransportError> {
        let Start { epoch, boot } = start.into();
        let (cluster, node) = (identity.cluster, identity.node);
        let registry = Arc::new(Registry {
            cluster,
            node,
            boot,
            session: draw_node_id().0,
            counters: Arc::default(),
            incoming,
            sealer: Sealer::new(cluster, node, boot, identity.keyring.clone()),
            roster: Arc::new(Roster::new(epoch)),
            table: Mutex::new(Table::default()),
        });
        let configs = Configs::of(identity, HANDSHAKES_MAX)?;
        let socket = Arc::new(SplitSocket::new(socket, registry.clone())?);
        let endpoint = Endpoint::new_with_abstract_socket(
            configs.endpoint,
            Some(configs.server),
            socket.clone(),
            Arc::new(TokioRuntime),
        )?;
        let runtime = tokio::runtime::Handle::current();
        let (client, gate) = (RwLock::new(configs.client), Arc::new(Gate::default()));
        let engine = Arc::new(Engine { registry, endpoint, client, gate, runtime });
        engine.runtime.spawn(engine.clone().accept_all());
        Ok(Arc::new(QuicTransport { engine, socket }))
    }

    /// What it has counted.
    pub fn counters(&self) -> Arc<TransportCounters> {
        self.engine.registry.counters.clone()
    }

    /// Where it listens.
    pub fn local_address(&self) -> SocketAddr {
        self.engine.endpoint.local_addr().expect("a bound socket has an address")
    }

    /// Who is let in. Whoever keeps the record keeps it like the record.
    pub fn roster(&self) -> Arc<Roster> {
        self.engine.registry.roster.clone()
    }

    /// Shows another certificate from now on. Connections under way go on.
    pub fn renew(&self, identity: &Identity) -> Result<(), TransportError> {
        let configs = Configs::of(identity, HANDSHAKES_MAX)?;
        let mut client = self.engine.client.write().expect("no holder of this lock panics");
        *client = configs.client;
        self.engine.endpoint.set_server_config(Some(configs.server));
        Ok(())
    }

    /// Seals and opens gossip with other keys from now on.
    pub fn set_keyring(&self, keyring: Keyring) {
        self.engine.registry.sealer.set_keyring(keyring);
    }

    /// How many senders of gossip it remembers.
    #[cfg(test)]
    pub(super) fn senders(&self) -> usize {
        self.engine.registry.sealer.senders()
    }

    fn end(&self, flush: bool) {
        let peers: Vec<_> = self.engine.registry.table().peers.values().cloned().collect();
        peers.iter().for_each(|peer| peer.end(flush, CLOSING));
    }

    async fn flush_and_close(&self) {
        self.end(true);
        let flushed = async {
            // A peer's task holds the engine until it has ended.
            while self.engine.registry.table().peers.values().any(|peer| !peer.is_gone()) {
                tokio::time::sleep(FLUSH_POLL).await;
            }
        };
        let _ = tokio::time::timeout(FLUSH_MAX, flushed).await;
        self.end(false);
        self.engine.endpoint.close(VarInt::from_u32(CLOSING), b"");
        let _ = tokio::time::timeout(GOOD_BYE_MAX, self.engine.endpoint.wait_idle()).await;
    }
}

impl Drop for QuicTransport {
    fn drop(&mut self) {
        self.end(false);
        self.engine.endpoint.close(VarInt::from_u32(CLOSING), b"");
    }
}

impl Transport for QuicTransport {
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
        let counters = &registry.counters;
        let Some(sealed) = registry.sealer.seal(registry.epoch(), &bytes) else {
            return counters.datagrams_long.raise();
        };
        match self.socket.send_gossip(to, &sealed) {
            Ok(()) => {
                counters.datagrams_out.raise();
                counters.datagram_bytes_out.add(sealed.len() as u64);
            }
            Err(_) => counters.datagrams_unsent.raise(),
        }
    }

    fn route(&self, node: NodeId, address: SocketAddr) {
        if node == self.engine.registry.node {
            return;
        }
        self.engine.registry.roster.restore(node);
        if let Ok(peer) = self.engine.peer(node) {
            peer.set_route(address);
        }
    }

    fn unroute(&self, node: NodeId) {
        self.engine.registry.roster.remove(node);
        let peer = self.engine.registry.table().peers.remove(&node);
        if let Some(peer) = peer {
            peer.end(false, Refusal::Removed as u32);
        }
    }

    fn close(&self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.flush_and_close())
    }
}
