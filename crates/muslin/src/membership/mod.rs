//! Membership alone: who is in, who is alive, and what they say, with no Raft, disk, or
//! certificate.
//!
//! ```
//! use muslin::membership::{Event, Membership, Profile};
//! use muslin::identity::Keyring;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keyring = Keyring::generate();
//! let member = |name: &str| {
//!     let builder = Membership::builder().name(name).bind("127.0.0.1:0".parse().unwrap());
//!     builder.profile(Profile::Fast).keyring(keyring.clone())
//! };
//! let first = member("n1").start().await?;
//! let mut events = first.subscribe();
//! let second = member("n2").seeds([first.myself().address.to_string()])?.start().await?;
//! while let Some(told) = events.next().await {
//!     if let Event::Joined(member) = told? {
//!         assert_eq!(member.name, "n2");
//!         break;
//!     }
//! }
//! second.leave().await;
//! # Ok(())
//! # }
//! ```
//!
//! The detector is the one that nodes run ([`core::swim`](muslin_core::swim)). Over it a member has
//! - a view of all members ([`Membership::members`]) and itself as the others see it
//!   ([`Membership::myself`]);
//! - events with their evidence ([`Membership::subscribe`]), and why each member is held to be what
//!   it is ([`Membership::explain`]);
//! - up to 400 bytes or so that each member says of itself ([`Membership::set_metadata`]);
//! - messages to one member by datagram or stream, and to all by gossip ([`Membership::send`]), of
//!   types of yours with a [`Codec`](crate::codec::Codec) ([`Membership::typed`]).
//!
//! # Who is let in
//! Whoever has a key. Without [`Builder::keyring`] a cluster is **open**: everybody who can send a
//! packet here can join, read, and speak for others. A warning says so at the start. An open
//! cluster is sealed later, while it runs, by changing keys ([`Membership::set_keyring`]).
//!
//! # Invariants
//! - Those of the detector: above all, a member that refuted a suspicion is not held down (M1).
//! - What is told in an event is in the view by then.
//! - Nothing waits for whoever reads events or messages: who is slow loses the oldest, and is told
//!   how many.
//!
//! # Limits
//! [`FEED_MAX`] events and as many messages kept for each reader; datagrams up to
//! [`DATAGRAM_BYTES_MAX`], messages by gossip up to [`BROADCAST_BYTES_MAX`], on streams up to
//! [`STREAM_BYTES_MAX`].
//!
//! # Not here
//! Agreement: two members may hold different views for a while, and both sides of a partition go
//! on. Whoever must have one truth starts a node ([`driver`](crate) with `consensus`, or a daemon).

mod broadcast;
mod builder;
mod event;
mod feed;
mod handle;
mod message;
mod run;
#[cfg(test)]
mod tests;
mod typed;

pub use builder::{Builder, StartError};
pub use event::{Event, Evidence, Member, Story, Tried};
pub use feed::{FEED_MAX, Feed, Lagged};
pub use handle::{Membership, Myself, Stopped};
pub use message::{
    BROADCAST_BYTES_MAX, DATAGRAM_BYTES_MAX, Message, STREAM_BYTES_MAX, SendError, Way,
};
pub use muslin_core::base::NodeId;
pub use muslin_core::swim::{Gate, Liveness, Options, Profile};
pub use typed::{Typed, TypedError};
