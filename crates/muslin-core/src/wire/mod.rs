//! Bytes on the network and on disk, and back.
//!
//! Protobuf, derived on structs that are private here, so that a change of a machine's type cannot
//! silently change the format. `docs/design/wire.md` lists every tag; golden bytes hold the format.
//!
//! - [`encode_peer`], [`decode_peer`]: what two nodes say on their stream.
//! - [`encode_packet`], [`decode_packet`]: a gossip datagram before it is sealed.
//! - [`encode_entry`], [`encode_hard_state`], [`encode_snapshot_meta`] and their twins: what the
//!   log keeps.
//!
//! # Invariants
//! 1. What one version encoded, it and every later one decodes to the same value: tags are never
//!    reused, a new field is optional and its absence is safe.
//! 2. No bytes make a decoder panic, and none make it allocate from a length they only claim:
//!    memory grows with the bytes that are there.
//! 3. A kind that is not known is [`WireError::UnknownKind`], never taken for another.
//! 4. Encoding writes one buffer of exactly the final size; payloads are shared with the buffer
//!    they were decoded from.
//!
//! # Limits
//! An empty element of a list takes two bytes on the wire and up to about a hundred in memory:
//! whoever hands bytes in bounds them first (the transport its frames, the detector its datagrams).
//!
//! # Not here
//! Framing, sealing, cluster id and checksums: the transport and the store add those. The
//! replicated commands: to consensus they are bytes, and the state has its own codec.

mod error;
mod feed;
mod gossip;
mod log;
mod peer;
mod raft;
#[cfg(test)]
mod tests;

pub use error::WireError;
pub use gossip::{decode_packet, encode_packet, metadata_len, packet_len, rumor_len};
pub use log::{
    decode_entry, decode_hard_state, decode_snapshot_meta, encode_entry, encode_hard_state,
    encode_snapshot_meta,
};
pub use peer::{decode_peer, encode_peer};

/// One buffer of exactly the final size (invariant 4).
fn encode(message: &impl prost::Message) -> bytes::Bytes {
    bytes::Bytes::from(message.encode_to_vec())
}
