//! A connection in use, and the task that reads from it.

use super::hello::{CLOSING, Hello, REPLACED};
use super::peer::Peer;
use super::registry::Registry;
use super::stream::{FrameReader, StreamError};
use crate::transport::Incoming;
use muslin_core::base::NodeId;
use quinn::{Connection, ConnectionError, SendStream, VarInt};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// A connection whose two ends know each other, not yet in use.
pub(super) struct Candidate {
    pub(super) connection: Connection,
    pub(super) stream: SendStream,
    pub(super) reader: FrameReader,
    /// What the peer said first.
    pub(super) hello: Hello,
    /// This end dialled; otherwise it has yet to answer the greeting.
    pub(super) is_dialled: bool,
}

/// The connection to a peer that counts. Closed when dropped.
pub(super) struct Link {
    connection: Connection,
    hello: Hello,
    /// `None` once the next link waits for it.
    reader: Option<JoinHandle<()>>,
    registry: Arc<Registry>,
}

impl Link {
    /// Begins to read, after the reader of the link before has ended: order holds over a change.
    pub(super) fn begin(
        peer: Arc<Peer>,
        registry: Arc<Registry>,
        candidate: (Connection, FrameReader, Hello),
        previous: Option<Link>,
    ) -> Link {
        let (connection, reader, hello) = candidate;
        registry.counters.connections.raise();
        registry.counters.connections_opened.raise();
        let previous = previous.and_then(Link::replaced);
        let reading = Reading { peer, registry: registry.clone(), connection: connection.clone() };
        let reader = Some(tokio::spawn(reading.run(reader, previous)));
        Link { connection, hello, reader, registry }
    }

    pub(super) fn is_alive(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    pub(super) fn number(&self) -> usize {
        self.connection.stable_id()
    }

    /// Which start of the peer's process it is.
    pub(super) fn boot(&self) -> u64 {
        self.hello.boot
    }

    /// Which process of the peer it is, of those of one start; 0 where that is not said.
    pub(super) fn session(&self) -> u64 {
        self.hello.session
    }

    /// How many connections the peer had taken into use, as it said on this one.
    pub(super) fn links(&self) -> u64 {
        self.hello.links
    }

    /// Where the other end is.
    pub(super) fn address(&self) -> SocketAddr {
        canonical(self.connection.remote_address())
    }

    pub(super) fn close(&self, code: u32) {
        self.connection.close(VarInt::from_u32(code), b"");
    }

    /// Ends it in favour of another; its reader, for whoever must wait until it has ended.
    fn replaced(mut self) -> Option<JoinHandle<()>> {
        self.close(REPLACED);
        let reader = self.reader.take()?;
        reader.abort();
        Some(reader)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.registry.counters.connections.lower();
        self.close(CLOSING);
    }
}

/// An IPv4 address in IPv6 clothes is the IPv4 address.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

struct Reading {
    peer: Arc<Peer>,
    registry: Arc<Registry>,
    connection: Connection,
}

impl Reading {
    async fn run(self, mut reader: FrameReader, previous: Option<JoinHandle<()>>) {
        if let Some(previous) = previous {
            let _ = previous.await;
        }
        let end = self.deliver(self.peer.id, &mut reader).await;
        if matches!(end, Err(StreamError::Connection(ConnectionError::Reset))) {
            self.registry.counters.connections_reset.raise();
        }
        if let Err(StreamError::Refused(refusal)) = end {
            self.registry.counters.streams_broken.raise();
            tracing::warn!(peer = %self.peer.id, ?refusal, "connection closed: frame not allowed");
            self.connection.close(VarInt::from_u32(refusal as u32), b"");
        } else {
            // The peer has ended its side: it will dial again when it has something to say.
            self.connection.close(VarInt::from_u32(CLOSING), b"");
        }
        self.peer.unlink(self.connection.stable_id());
    }

    /// Hands messages up; waits while the node is busy, and so does the peer, by flow control.
    async fn deliver(&self, from: NodeId, reader: &mut FrameReader) -> Result<(), StreamError> {
        let counters = &self.registry.counters;
        while let Some(bytes) = reader.next(crate::transport::FRAME_BYTES_MAX).await? {
            counters.frames_in.raise();
            counters.frame_bytes_in.add(bytes.len() as u64);
            let message = Incoming::Message { from, bytes };
            if self.registry.incoming.send(message).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}
