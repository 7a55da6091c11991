//! What survives a crash: the log, the hard state and the snapshots of every group of a node.
//!
//! [`file`] is the real one; [`mem`] its twin in memory, which can crash on purpose. [`contract`] is
//! what both, and any other, must obey.

pub mod contract;
pub mod file;
pub mod mem;

use muslin_core::base::GroupId;
use muslin_core::raft::{Recovered, Snapshot, Write};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Keeps what must not be lost.
///
/// Used by one thread, the node's log thread; every method may block on the disk. After an error the
/// store refuses everything: a failed sync is never tried again, the process stops and recovers.
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

/// Why the store cannot go on. `Display` says what happened, where and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk refused.
    #[error("cannot {action} {}: {source}; the node stops so that nothing unsaved is promised: check the disk and start it again", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What is on disk is damaged below the point known to be committed.
    #[error("{} is damaged at byte {offset} ({what}); acknowledged data may be in it, so it is not cut: restore this directory from a backup, or remove the node and join it again with an empty directory", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// Another process has the directory.
    #[error("{} is in use by another muslin process{}; stop it first or give another --data-dir", path.display(), pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The other process, if it wrote its number.
        pid: Option<u32>,
    },
    /// The directory is another cluster's or node's.
    #[error("{} belongs to {found}, not to {wanted}; give this node's own --data-dir, or an empty one", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Who asks.
        wanted: String,
    },
    /// A directory or file cannot be used as it is, and nothing is lost.
    #[error("cannot use {}: {why}", path.display())]
    Unusable {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it and what to do.
        why: String,
    },
    /// The files are of a format this version does not read.
    #[error("{} has format {found}, this version reads {known}; start it with the version that wrote it", path.display())]
    Format {
        /// Which file.
        path: PathBuf,
        /// Its number.
        found: u32,
        /// Ours.
        known: u32,
    },
}
