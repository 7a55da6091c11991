//! What survives a crash: the log, the hard state and the snapshots of every group of a node.
//!
//! [`mod@file`] is the real one; [`mem`] its twin in memory, which can crash on purpose.
//! [`contract`] is what both, and any other, must obey.

pub mod contract;
mod error;
pub mod file;
pub mod mem;

pub use error::StoreError;

use muslin_core::base::GroupId;
use muslin_core::raft::{Recovered, Snapshot, Write};
use std::collections::BTreeMap;

/// Keeps what must not be lost.
///
/// Used by one thread, the node's log thread; every method may block on the disk. After an error
/// the store refuses everything: a failed sync is never tried again, the process stops and
/// recovers.
pub trait Store: Send + 'static {
    /// Reads what is there. Called once, before any write.
    fn recover(&mut self) -> Result<BTreeMap<GroupId, RecoveredGroup>, StoreError>;

    /// Carries the writes out in order. When it returns, all of them are durable (one sync for all
    /// log writes of the batch); on an error none may be reported as durable.
    fn write(&mut self, batch: &[(GroupId, Write)]) -> Result<(), StoreError>;
}

/// What a group finds.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RecoveredGroup {
    /// Log, hard state and what the snapshot stands for.
    pub raft: Recovered,
    /// The snapshot's state, if one was ever saved.
    pub snapshot: Option<Snapshot>,
    /// What was cut from the tail: bytes of records that were never acknowledged.
    pub torn_bytes: u64,
}
