//! Peers over TCP and sealed gossip over UDP, on one port number, with a shared key.
//!
//! For membership alone: no certificates, no authority, nothing on disk. Whoever has a key of the
//! [`Keyring`](crate::identity::Keyring) is one of the cluster; with [`Keyring::public`] that is
//! everybody. Datagrams are those of [`seal`](super::seal).
//!
//! # Streams
//! A connection carries the messages of the side that dialled it, and nothing the other way but the
//! answer to its greeting. So two nodes that talk have two, each its own order. Whoever dials shows
//! in its `Hello` who it is, whom it means, and where it listens, which is where it is answered.
//!
//! ```text
//! dialler  -> Hello   | .. | nonce | tag |
//! acceptor -> Welcome | boot | nonce | tag |
//! dialler  -> records | length | sealed .. tag |      the first is empty
//! ```
//! Tags are HMACs under the shared key; the key of the records is derived from the shared key and
//! both nonces, so that nothing recorded can be played back. A connection counts from its first
//! record on; then the one before it of the same node ends, unless it is of a later start.
//!
//! # Invariants
//! - M4: nothing of another cluster gets past greeting or seal.
//! - Nothing is answered to a greeting that the key does not open.
//! - A removed node is refused.
//! - Nothing is allocated from a length before the sender has shown that it has the key, and then
//!   at most [`RECORD_BYTES_MAX`].
//!
//! # Limits
//! [`PEERS_MAX`] peers (one that is not connected makes room for the next),
//! [`HANDSHAKES_MAX`](super::HANDSHAKES_MAX) greetings at once, messages up to
//! [`FRAME_BYTES_MAX`](super::FRAME_BYTES_MAX). A connection on which nothing is said for a minute
//! ends.
//!
//! # Not here
//! Forward secrecy (who records traffic and learns the key later can read it), and which member a
//! packet is really from: all hold one key. Whoever needs either takes certificates: the transport
//! `quic`.
//!
//! [`Keyring::public`]: crate::identity::Keyring::public

mod dial;
mod greeting;
mod listen;
mod peer;
mod record;
mod sockets;
#[cfg(test)]
mod tests;
mod transport;

pub use peer::PEERS_MAX;
pub use record::RECORD_BYTES_MAX;
pub use sockets::Sockets;
pub use transport::{NetTransport, Start};
