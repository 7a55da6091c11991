//! Why a backup was not made, or cannot be used.

use muslin_core::state::RestoreError;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// What is wrong with the bytes of a backup, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It does not begin as a backup does.
    NoBackup,
    /// A program that came later wrote it.
    Format {
        /// The format that it has.
        found: u32,
    },
    /// Bytes are not what was written.
    Damaged {
        /// From this byte on, somewhere in the next `length`.
        offset: u64,
        /// How many bytes were found wrong together.
        length: u64,
    },
    /// Each part is what some backup had, and all together are not.
    Altered,
    /// It ends too early.
    CutShort {
        /// Its length.
        at: u64,
        /// The length it should have, if that could be read.
        of: Option<u64>,
    },
    /// Something follows its end.
    TooLong {
        /// The length it should have.
        of: u64,
    },
    /// What was written is no state: the writer was at fault.
    State(RestoreError),
    /// Its numbers have no room for those of another cluster.
    NoRoom,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NoBackup => f.write_str(
                "it is no backup of Muslin's (a snapshot of etcd's own cannot be restored either)",
            ),
            Fault::Format { found } => write!(
                f,
                "it has format {found}, and this program reads {}: use a later one",
                super::FORMAT
            ),
            Fault::Damaged { offset, length } => {
                write!(f, "it is damaged at byte {offset}, within the next {length}")
            }
            Fault::Altered => f.write_str("its SHA-256 is not that of its bytes: it was altered"),
            Fault::CutShort { at, of: Some(of) } => {
                write!(f, "it is cut short: it has {at} bytes of {of}")
            }
            Fault::CutShort { at, of: None } => write!(f, "it is cut short at byte {at}"),
            Fault::TooLong { of } => write!(f, "something follows its end at byte {of}"),
            Fault::State(error) => write!(f, "its state cannot be read: {error}"),
            Fault::NoRoom => f.write_str("its revision is too high to go on from"),
        }
    }
}

/// `Display` says what happened, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file is not to be used.
    #[error("{}: {fault}; nothing was done: use another backup", .path.display())]
    Bad {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        fault: Fault,
    },
    /// What came is not to be kept.
    #[error("what was received is not a whole backup: {0}; nothing was kept: save it again")]
    Received(Fault),
    /// The system.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl BackupError {
    pub(super) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> BackupError {
        let path = path.into();
        move |source| BackupError::Io { action, path, source }
    }
}
