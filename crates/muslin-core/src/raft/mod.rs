//! Consensus: a Raft group as a value.
//!
//! PLACEHOLDER-DOC (purpose, protocol in our words, invariants R1..R9, departures, limits, not here).

mod changes;
mod configuration;
mod durability;
mod election;
mod follower;
mod log;
mod message;
mod options;
mod output;
mod progress;
mod reads;
mod replica;
mod replication;
mod sanity;
mod snapshots;
#[cfg(test)]
mod tests;

pub use configuration::{Change, Configuration};
pub use message::{AppendResult, Bound, Entry, Message, Payload, SessionId, SnapshotMeta, Unbound};
pub use options::{Options, OptionsError};
pub use output::{Event, HardState, Input, Output, ReadId, Recovered, Role, Snapshot, Write};
pub use replica::Raft;
