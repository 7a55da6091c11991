//! Why a store, or the directory it is in, cannot be used.

use std::path::PathBuf;

/// Why the store cannot go on. `Display` says what happened, where and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk refused.
    #[error(
        "cannot {action} {}: {source}; the node stops so that nothing unsaved is promised: \
         check the disk and start it again",
        path.display()
    )]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no room. Nothing is lost, and the store goes on: give the rest of the batch again
    /// when there is room.
    #[error(
        "the disk has no room for {}: free some space; the node takes no writes until then, and \
         goes on by itself",
        path.display()
    )]
    Full {
        /// For which file.
        path: PathBuf,
        /// This many writes of the batch, from its beginning, are durable.
        done: usize,
    },
    /// What is on disk is damaged below the point known to be committed.
    #[error(
        "{} is damaged at byte {offset} ({what}); start the node again: it puts the damaged files \
         aside and fetches what they held from the other nodes",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// Another process has the directory.
    #[error(
        "{} is in use by another muslin process{}; stop it first or give another --data-dir",
        path.display(),
        pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The other process, if it wrote its number.
        pid: Option<u32>,
    },
    /// The directory is another cluster's or node's.
    #[error(
        "{} belongs to {found}, not to {wanted}; give this node's own --data-dir, or an empty one",
        path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Who asks.
        wanted: String,
    },
    /// No node was made in the directory, or there is no such directory.
    #[error(
        "cannot use {}: there is no node in it; make one with `muslin init`, or with `muslin join`",
        path.display()
    )]
    NoNode {
        /// The directory.
        path: PathBuf,
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
    #[error(
        "{} has format {found}, this version reads {known}; start it with the version that wrote \
         it",
        path.display()
    )]
    Format {
        /// Which file.
        path: PathBuf,
        /// Its number.
        found: u32,
        /// Ours.
        known: u32,
    },
}

impl StoreError {
    /// The same, of a batch whose first writes are durable.
    pub(super) fn behind(self, writes: usize) -> StoreError {
        match self {
            StoreError::Full { path, done } => StoreError::Full { path, done: done + writes },
            other => other,
        }
    }

    /// For steps that cannot be taken twice: no room there is an end like any other.
    pub(super) fn fatal(self, action: &'static str) -> StoreError {
        match self {
            StoreError::Full { path, .. } => {
                StoreError::Io { action, path, source: std::io::ErrorKind::StorageFull.into() }
            }
            other => other,
        }
    }
}
