//! What local clients wait for, of the control group as of any other: proposals on their way to a
//! leader's log, reads on their way through a round.
//!
//! [`Proposals`] numbers what this process asks of one group, hands it to whoever leads, and hands
//! it over again when leadership moves, a connection is silent or the leader refuses; the table of
//! retries on the applying side makes the repetition harmless. [`Relayed`] is the other end: what
//! peers have handed to this replica. [`Reads`] puts those that come between two flushes into one
//! round.
//!
//! # Invariants
//! - Sequences are given once within a boot, and `settled_below` never passes one that may still be
//!   sent (K1).
//! - The id of a round is never used again within a process (R7).
//!
//! # Limits
//! Each queue is given its length by its owner. A full one answers [`Failure::Busy`] and says when
//! to ask again.
//!
//! # Not here
//! Who leads, what an entry does, and what is read: the owner's.

mod failure;
mod pace;
mod proposals;
mod reads;
mod relayed;

#[cfg(test)]
mod tests;

pub use failure::{COMMAND_BYTES_MAX, Failure};
pub(crate) use pace::{RETRY_AFTER_MIN, retry_after};
pub(crate) use proposals::{Intent, Proposal, Proposals};
pub(crate) use reads::{Ask, Reads};
pub(crate) use relayed::Relayed;
