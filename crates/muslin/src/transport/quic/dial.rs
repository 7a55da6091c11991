//! Making connections: to peers, and from them.

use super::hello::{Hello, Refusal};
use super::link::Candidate;
use super::peer::Peer;
use super::registry::{PEERS_MAX, Registry};
use super::stream::{FrameReader, StreamError};
use super::writer;
use crate::identity::{Principal, epoch_of, node_dns_name};
use crate::transport::gate::{Admission, Gate, Place};
use muslin_core::base::{Epoch, NodeId};
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, Incoming, VarInt};
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;
use std::sync::{Arc, RwLock};
use std::time::Duration;

/// A handshake and the greetings take at most this long.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);

/// The endpoint and all that its tasks need.
pub(super) struct Engine {
    pub(super) registry: Arc<Registry>,
    pub(super) endpoint: Endpoint,
    /// Changed when the certificate is renewed; connections under way keep theirs.
    pub(super) client: RwLock<ClientConfig>,
    pub(super) gate: Arc<Gate>,
    pub(super) runtime: tokio::runtime::Handle,
}

impl Engine {
    /// The peer of that id, with its task; made when it is not there.
    pub(super) fn peer(self: &Arc<Engine>, node: NodeId) -> Result<Arc<Peer>, Refusal> {
        let mut table = self.registry.table();
        if self.registry.roster.is_removed(node) {
            return Err(Refusal::Removed);
        }
        if let Some(peer) = table.peers.get(&node) {
            return Ok(peer.clone());
        }
        if table.peers.len() == PEERS_MAX {
            return Err(Refusal::Busy);
        }
        let peer = Arc::new(Peer::new(node));
        table.peers.insert(node, peer.clone());
        self.runtime.spawn(writer::run(peer.clone(), self.clone()));
        Ok(peer)
    }

    /// Connects to a peer. Whoever drops the future gives the dial up.
    pub(super) async fn dial(
        &self,
        peer: &Peer,
        address: SocketAddr,
    ) -> Result<Candidate, StreamError> {
        let registry = &self.registry;
        registry.counters.dials.raise();
        let name = node_dns_name(registry.cluster, peer.id);
        let client = self.client.read().expect("no holder of this lock panics").clone();
        let connecting = self.endpoint.connect_with(client, address, &name)?;
        let connection = connecting.await?;
        peer.dial_connected();
        let greeted = async {
            let (node, epoch) = self.principal(&connection)?;
            if node != peer.id {
                return Err(Refusal::Stranger.into());
            }
            let (mut stream, receive) = connection.open_bi().await?;
            let hello = Hello::of(registry.greeter(), peer.links()).framed();
            stream.write_chunk(hello).await.map_err(|_| StreamError::Ended)?;
            let mut reader = FrameReader::new(receive);
            let hello = Hello::read(&mut reader, registry.greeter(), peer.id).await?;
            self.check(node, epoch, &hello)?;
            Ok((stream, reader, hello))
        };
        let (stream, reader, hello) = close_if_refused(&connection, greeted.await)?;
        Ok(Candidate { connection, stream, reader, hello, is_dialled: true })
    }

    /// Takes connections until the endpoint is closed.
    pub(super) async fn accept_all(self: Arc<Engine>) {
        let counters = self.registry.counters.clone();
        while let Some(incoming) = self.endpoint.accept().await {
            let address = incoming.remote_address().ip();
            match self.gate.admit(address, incoming.remote_address_validated()) {
                Admission::Go(place) => {
                    tokio::spawn(self.clone().accept_one(incoming, place));
                }
                Admission::Prove => {
                    counters.handshakes_retried.raise();
                    // An error means that it has proved its address meanwhile: it may come again.
                    let _ = incoming.retry();
                }
                Admission::Refuse => {
                    counters.handshakes_busy.raise();
                    incoming.refuse();
                }
            }
        }
    }

    async fn accept_one(self: Arc<Engine>, incoming: Incoming, place: Place) {
        let taken = tokio::time::timeout(HANDSHAKE_TIMEOUT, self.take(incoming)).await;
        let taken = taken.unwrap_or(Err(StreamError::TimedOut));
        drop(place);
        let counters = &self.registry.counters;
        match taken {
            Ok(()) => {}
            Err(StreamError::Refused(Refusal::Removed)) => counters.handshakes_removed.raise(),
            Err(StreamError::Refused(Refusal::Epoch)) => counters.handshakes_epoch.raise(),
            Err(StreamError::Refused(Refusal::Version)) => counters.handshakes_version.raise(),
            Err(StreamError::Refused(Refusal::Duplicate)) => counters.handshakes_duplicate.raise(),
            Err(StreamError::Refused(Refusal::Busy)) => counters.handshakes_busy.raise(),
            Err(StreamError::Refused(Refusal::Copied)) => counters.handshakes_copied.raise(),
            Err(error) => {
                counters.handshakes_failed.raise();
                if is_barred(&error) {
                    counters.dials_barred.raise();
                }
                if is_copied(&error) {
                    counters.dials_copied.raise();
                }
                tracing::debug!(%error, "handshake failed");
            }
        }
    }

    async fn take(self: &Arc<Engine>, incoming: Incoming) -> Result<(), StreamError> {
        let connection = incoming.accept()?.await?;
        let taken = async {
            let (node, epoch) = self.principal(&connection)?;
            let peer = self.peer(node)?;
            let (stream, receive) = connection.accept_bi().await?;
            let mut reader = FrameReader::new(receive);
            let hello = Hello::read(&mut reader, self.registry.greeter(), node).await?;
            self.check(node, epoch, &hello)?;
            let (connection, is_dialled) = (connection.clone(), false);
            let candidate = Candidate { connection, stream, reader, hello, is_dialled };
            Ok(peer.adopt(&self.registry, candidate)?)
        };
        let taken = taken.await;
        close_if_refused(&connection, taken)
    }

    /// The papers and the memory of whoever is at the other end are both of the present epoch, or
    /// it has time to renew them.
    fn check(&self, node: NodeId, epoch: Epoch, hello: &Hello) -> Result<(), Refusal> {
        Ok(self.registry.roster.check(node, epoch.min(Epoch(hello.epoch)))?)
    }

    /// The node at the other end, as its certificate says: one of this cluster, and not this one.
    /// With it the epoch in which the certificate was given.
    fn principal(&self, connection: &Connection) -> Result<(NodeId, Epoch), Refusal> {
        let shown = connection.peer_identity().ok_or(Refusal::Stranger)?;
        let chain = shown.downcast::<Vec<CertificateDer<'static>>>();
        let chain = chain.map_err(|_| Refusal::Stranger)?;
        let leaf = chain.first().ok_or(Refusal::Stranger)?;
        match Principal::of(leaf) {
            Ok(Principal::Node { cluster, node })
                if cluster == self.registry.cluster && node != self.registry.node =>
            {
                Ok((node, epoch_of(cluster, leaf)))
            }
            _ => Err(Refusal::Stranger),
        }
    }
}

/// Tells the other end why it is refused.
fn close_if_refused<T>(
    connection: &Connection,
    result: Result<T, StreamError>,
) -> Result<T, StreamError> {
    if let Err(StreamError::Refused(refusal)) = &result {
        connection.close(VarInt::from_u32(*refusal as u32), b"");
    }
    result
}

/// Whether the other end refused because a connection the other way goes on.
pub(super) fn is_duplicate(error: &StreamError) -> bool {
    matches!(error, StreamError::Refused(Refusal::Duplicate)) || has_said(error, Refusal::Duplicate)
}

/// Whether the other end says that this node must be admitted again, or was removed.
pub(super) fn is_barred(error: &StreamError) -> bool {
    has_said(error, Refusal::Epoch) || has_said(error, Refusal::Removed)
}

/// Whether the other end says that another process runs as this node.
pub(super) fn is_copied(error: &StreamError) -> bool {
    has_said(error, Refusal::Copied)
}

/// Whether the other end has closed the connection with this.
fn has_said(error: &StreamError, refusal: Refusal) -> bool {
    match error {
        StreamError::Connection(ConnectionError::ApplicationClosed(close)) => {
            close.error_code == VarInt::from_u32(refusal as u32)
        }
        _ => false,
    }
}
