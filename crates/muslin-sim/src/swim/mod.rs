//! Failure detection alone, at thousands of machines, in virtual time.
//!
//! A [`World`] is made of machines that each run one [`Peer`]: this project's
//! [`Swim`](muslin_core::swim::Swim), or any other implementation that can be stepped. Around them
//! there is a network that loses and delays datagrams, machines that are slow, stand still or die,
//! and cuts. Everything is drawn from one number.
//!
//! A [`Scene`] directs a world and measures: how soon a death is known, who was taken for dead and
//! lived, what it costs. [`campaign`] runs many scenes and prints the tables.
//!
//! At every step, for implementations that promise it:
//! - a refuted suspicion kills nobody, and nobody is dead in a life in which nobody suspected it
//!   (M1);
//! - an incarnation never goes back, neither a node's own nor that in which one sees another (M2);
//! - no datagram is longer than it may be, and no view of a slice is larger.
//!
//! # The model
//! - A datagram takes 0.2 to 1 ms and is lost with the same chance each. A question on a stream
//!   takes a handshake, the question and the answer; what is lost of it is sent again after 30 ms,
//!   doubling, as by the transport of the product.
//! - A slow machine reads everything late, its datagrams as well as what comes on streams, or sends
//!   late, or both; its timers are on time.
//! - Clocks start anywhere and differ in rate by up to 100 millionths.
//!
//! # Not here
//! Sealing, admission, the record: whole nodes are [`Cluster`](crate::Cluster)'s.

mod air;
mod books;
mod campaign;
mod ours;
mod outcome;
mod peer;
mod rules;
mod scene;
mod storm;
mod table;
#[cfg(test)]
mod tests;
mod world;

pub use air::{Lag, Weather};
pub use books::{Books, Detection, HEADER_BYTES};
pub use campaign::{Engine, campaign};
pub use ours::Ours;
pub use outcome::Outcome;
pub use peer::{Belief, Birth, Effect, Happening, Peer, Seat, Setup, Sight};
pub use scene::{Plan, Scene};
pub use storm::Storm;
pub use world::World;
