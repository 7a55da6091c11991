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
    /// What is on disk is damaged below the point known to be committed.
    #[error(
        "{} is damaged at byte {offset} ({what}); acknowledged data may be in it, so it is not \
         cut: join again under another name with an empty directory; restore a backup only \
         if no other node has the data",
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
