//! Who is alive: SWIM with suspicion, incarnations and refutation, as a value.
//!
//! PLACEHOLDER-DOC (purpose, protocol in our words, invariants M1.., departures, limits, not here).

mod contacts;
mod machine;
mod members;
mod options;
mod packets;
mod probing;
mod rumors;
mod spreading;
#[cfg(test)]
mod tests;
mod timing;
mod types;

pub use machine::Swim;
pub use options::Options;
pub use types::{Event, Input, Liveness, Metadata, Output, Packet, PacketKind, Rumor, ViewEntry};

/// Largest encoded packet: fits the smallest MTU QUIC assumes, with room for the seal.
pub const PACKET_BYTES_MAX: usize = 1_140;

/// Largest encoded metadata.
pub const METADATA_BYTES_MAX: usize = 512;
