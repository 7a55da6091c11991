//! Who is alive: a failure detector and a view of the members, as a value.
//!
//! Every node holds a view of all others ([`ViewEntry`]) and answers from it at any time. The view
//! is a hint: it stops routing to a node at once, and removes nobody.
//!
//! The protocol is SWIM (Das, Gupta, Motivala 2002) with the parts of Lifeguard (Dadgar, Phillips,
//! Currey 2018) that keep slow nodes from accusing healthy ones:
//!
//! - **Probe** (SWIM 3.1, 4.3). Once a `probe_period` a node pings the next member of its round,
//!   which is the view in random order. No answer within `probe_timeout`: it pings again and asks
//!   `indirect_probes` others to ping ([`PacketKind::PingRequest`]). No answer half-way from there
//!   to the end of the period: it asks on a stream ([`Output::Stream`]) and pings again. None
//!   within the period: it suspects. A peer heard on a stream ([`Input::Heard`]) has answered.
//! - **Suspicion** (SWIM 4.2). The accuser tells the accused first, and again every period.
//!   Everybody who hears runs a timer; each of two further accusers shortens it, from six times the
//!   shortest (Lifeguard IV-B). At its end the suspect is down.
//! - **Incarnation** (SWIM 4.2). Only the node itself raises it. Later incarnations win; within
//!   one, `Left` beats `Down` beats `Suspect` beats `Alive`. A node that hears anything but its own
//!   words about itself goes one above it: that refutes a suspicion, brings a paused node back, and
//!   lets a restarted one rise above what the others remember. Whoever is talked to by a node it
//!   doubts, or knows in another life, says so in its answer.
//! - **Rumors** (SWIM 4.1) ride on every packet and, while there is news, in five gossip rounds a
//!   period to three members: the least sent first, each `retransmit_multiplier * ceil(log10(N +
//!   1))` times.
//! - **Local health** (Lifeguard IV-A). Helpers that do not even deny ([`PacketKind::Nack`]),
//!   probes that fail with nobody to ask, and suspicions about oneself stretch one's own period and
//!   time-out up to nine times; answered probes bring them back.
//! - **Comparison** ([`PacketKind::Sync`]). Every 30 periods, and when somebody comes back, a node
//!   sends the sums of 64 buckets of its view; the members of buckets that differ travel in both
//!   directions, at most 8 packets a gossip round. A newcomer differs in all of them.
//! - **Contacts** ([`Input::Contacts`]) are pinged without a name until they answer, then compared
//!   with. While a node is alone or holds somebody down it asks contacts and down members again
//!   every `rejoin_period`: that mends partitions.
//! - **Slice** ([`Input::Track`]). In a large cluster a node tracks those that follow it on a ring
//!   of hashes ([`ring`]), and those it needs; the record knows the others.
//! - **Gate** ([`Gate`]). Nobody is taken in, brought back or described anew without a valid ticket
//!   (M3); the one that let a member in is not asked about again.
//! - **Evidence** ([`Transition`]). Why each opinion was formed, for the last 16 of each member;
//!   what a watcher has to tell those who decide is a [`Testimony`].
//!
//! # Invariants
//! 1. A refuted suspicion never kills (M1): a refutation takes the timer with it, silence from
//!    before a refutation counts for nothing, and so does what this process did not hear while it
//!    was stopped.
//! 2. An incarnation never goes back (M2), and no single packet can raise one far.
//! 3. Opinions form a total order of (incarnation, state): nodes that heard the same rumors agree,
//!    whatever the order and however often they came.
//! 4. Address, metadata and ticket belong to an incarnation, too: the latest known description is
//!    kept, even when a suspicion of that life came before it.
//! 5. Every opinion names who formed it first (`by`), and every change of the view is an [`Event`].
//! 6. No packet is larger than [`PACKET_BYTES_MAX`]; no input makes more than a bounded number.
//! 7. The same seed and inputs give the same outputs.
//!
//! # Departures
//! - A failed probe of which all helpers deny an answer leaves the asker's health as it was: its
//!   packets come through both ways. Each missing denial counts one.
//! - A ping is repeated when others are asked: in a cluster of two or three there is nobody to ask.
//! - About four nodes that hear of a suspicion probe the suspect next, so that it is confirmed or
//!   refuted within a period at any size.
//! - An accusation by a node that is itself down is not believed; a `Down` that comes in a
//!   comparison, about a member held alive, is taken for a suspicion.
//! - Who is down or left is not compared, and is told to others with how long it has been gone: so
//!   it is forgotten at last, however often nodes tell each other.
//! - The timers only fire on [`Input::Tick`], so that whoever drives this can hand over all that
//!   has arrived first.
//!
//! # Limits
//! 20,000 members; 2,048 rumors waiting; 256 contacts; 256 probes done for others; 32 transfers
//! waiting; 64 callers; 4,096 removed members remembered. A node that refuted more than 2^20 times
//! while another heard nothing of it is not believed there.
//!
//! # Not here
//! Admission and removal (the record decides; see [`Input::Forget`]), sealing and cluster id (the
//! transport), finding contacts (the shell's discovery), who is in a slice (the record's members,
//! put on the ring by whoever holds them).

mod callers;
mod contacts;
mod digest;
mod evidence;
mod exchange;
mod gate;
mod health;
mod machine;
mod members;
mod options;
mod packets;
mod planted;
mod probing;
mod recall;
mod relays;
pub mod ring;
mod rumors;
mod slice;
mod spreading;
mod streams;
#[cfg(test)]
mod tests;
mod timing;
mod types;

pub use digest::{BUCKETS, Buckets, Digest};
pub use evidence::{Accuser, Detour, TRANSITIONS_MAX, Testimony, Trail, Transition};
pub use gate::{Gate, OpenGate, TICKET_BYTES_MAX};
pub use machine::Swim;
pub use options::{Options, Profile, UnknownProfile};
pub use ring::{Scope, Tracked};
pub use types::{Event, Input, Liveness, Metadata, Output, Packet, PacketKind, Rumor, ViewEntry};

/// Largest encoded packet: fits the smallest MTU QUIC assumes, with room for the seal.
pub const PACKET_BYTES_MAX: usize = 1_140;

/// Largest encoded metadata.
pub const METADATA_BYTES_MAX: usize = 512;
