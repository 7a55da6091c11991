//! Peers over QUIC and sealed gossip, on one UDP port.
//!
//! Between two nodes there is one connection, with one bidirectional stream, over which each side
//! writes its messages, length in front. Whoever has something to say and no connection dials. Both
//! ends show a certificate of the cluster's authority; the dialler demands the name of the node it
//! means, the accepting end reads who comes from the certificate. First on the stream, each way, is
//! a `Hello`: protocol versions, cluster, epoch, node, and which start of the node's process it is.
//!
//! # Which connection counts
//! - When both dial each other at the same time, the dial of the smaller node id goes on and the
//!   other is refused; both ends decide so by themselves.
//! - Otherwise the latest connection replaces the one before: a node that dials has lost the old
//!   one. Which is the latest is counted, not timed: each `Hello` says how many connections its
//!   sender had taken into use when it was sent.
//! - A connection of an earlier start of the peer never replaces one of a later start, nor one of
//!   the same start one of another process: whoever still speaks then is a copy of the peer, and is
//!   told so.
//! - The messages of the replaced connection end before those of the next begin: order holds.
//!
//! # How a restarted peer is found again
//! Its new process knows the reset key of the old one (derived from the node's key), so it answers
//! packets of old connections with a stateless reset, and the sender dials again at once. A gossip
//! datagram that shows a later start does the same, and ends any waiting between dials.
//!
//! # Invariants
//! - M4: nothing of another cluster gets past the handshake or the seal.
//! - No answer to a datagram that is not authenticated, other than QUIC's own (never larger than
//!   it).
//! - A removed node is refused; a node not (yet) known here is accepted on its certificate, for a
//!   follower must hear a leader admitted while it was away.
//! - Nothing is allocated from a length before the bytes are there.
//!
//! # Limits
//! [`PEERS_MAX`] peers, [`HANDSHAKES_MAX`] handshakes at once ([`HANDSHAKES_PER_ADDRESS_MAX`] from
//! one address), frames up to [`FRAME_BYTES_MAX`](super::FRAME_BYTES_MAX).
//!
//! # Not here
//! What messages mean; choosing peers; multi-homing; a fall-back for networks that block UDP.

mod dial;
mod hello;
mod link;
mod peer;
mod registry;
mod socket;
mod stream;
mod transport;
mod tuning;
mod writer;

pub use super::{HANDSHAKES_MAX, HANDSHAKES_PER_ADDRESS_MAX};
pub use registry::PEERS_MAX;
pub use transport::{QuicTransport, Start, TransportError};

#[cfg(test)]
mod figures;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
