//! How nodes reach each other.
//!
//! `quic` (feature `node`) is that of nodes: one UDP port that carries QUIC streams and sealed
//! gossip datagrams ([`seal`]), told apart by their first byte. [`net`] is that of membership
//! alone: the same datagrams on UDP, streams on TCP, and a shared key where the other has
//! certificates. [`mem`] is their twin in memory. [`contract`] is what all, and any other, must
//! obey.

pub mod contract;
mod counters;
mod gate;
mod gossip;
pub mod mem;
pub mod net;
mod outbox;
#[cfg(feature = "node")]
pub mod quic;
mod roster;
pub mod seal;
#[cfg(feature = "node")]
mod ticket_gate;

pub use counters::{Counter, CounterRow, TransportCounters};
pub use gate::{HANDSHAKES_MAX, HANDSHAKES_PER_ADDRESS_MAX};
pub use outbox::{FRAME_BYTES_MAX, OUTBOX_BYTES_MAX, OUTBOX_FRAMES_MAX};
pub use roster::{Barred, Roster, Standing};
#[cfg(feature = "node")]
pub use ticket_gate::TicketGate;

use bytes::Bytes;
use muslin_core::base::NodeId;
use std::net::SocketAddr;

/// Carries bytes between nodes.
///
/// Called by the driver task, and `send` by the thread that writes its log as well. No method may
/// block or wait: what cannot be taken at once is dropped, and counted; the protocols above repeat
/// what matters. What comes in goes to the [`Incoming`] channel given when the transport was
/// started.
pub trait Transport: Send + Sync + 'static {
    /// Queues one message on the stream to a peer, in order. Dropped when the peer has neither a
    /// route nor a connection, or its queue is full, or its connection is lost meanwhile.
    fn send(&self, to: NodeId, message: Bytes);

    /// Sends one gossip datagram, at most `muslin_core::swim::PACKET_BYTES_MAX` bytes. May be lost.
    fn datagram(&self, to: SocketAddr, bytes: Bytes);

    /// From now on this peer is reached at this address. A connection elsewhere is closed.
    fn route(&self, node: NodeId, address: SocketAddr);

    /// The peer was removed: its connection is closed and it is refused from now on.
    fn unroute(&self, node: NodeId);

    /// Closes every connection, having tried for a short while to flush what was queued.
    fn close(&self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// What a transport hands up. Authenticated: a message of another cluster never gets here.
#[derive(Clone, PartialEq, Debug)]
pub enum Incoming {
    /// A gossip datagram, opened.
    Datagram {
        /// From where.
        from: SocketAddr,
        /// What was sealed in it.
        bytes: Bytes,
    },
    /// One message of a stream.
    Message {
        /// From whom, as its certificate says.
        from: NodeId,
        /// The message.
        bytes: Bytes,
    },
}

/// Where a transport delivers. Bounded: streams wait when it is full (back-pressure to the peer),
/// datagrams are dropped.
pub type IncomingSender = tokio::sync::mpsc::Sender<Incoming>;
