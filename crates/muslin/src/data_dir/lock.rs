//! The lock that keeps a second process out.

use crate::store::StoreError;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process;

/// Name of the file. It stays when the process ends; the lock does not.
pub(super) const NAME: &str = "LOCK";

/// Held as long as this lives.
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of a directory, or says who has it.
    pub(super) fn take(dir: &Path) -> Result<Lock, LockError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(dir.join(NAME))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // The number is told as a courtesy; the lock counts.
                let _ = file.read_to_string(&mut text);
                return Err(LockError::Held(text.trim().parse().ok()));
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        file.set_len(0)?;
        writeln!(file, "{}", process::id())?;
        Ok(Lock { _file: file })
    }
}

/// Why there is no lock.
pub(super) enum LockError {
    Held(Option<u32>),
    Io(io::Error),
}

impl From<io::Error> for LockError {
    fn from(error: io::Error) -> LockError {
        LockError::Io(error)
    }
}

impl LockError {
    pub(super) fn explain(self, dir: &Path) -> StoreError {
        match self {
            LockError::Held(pid) => StoreError::Locked { path: dir.to_owned(), pid },
            LockError::Io(error) => super::dir::unusable("lock", dir, error),
        }
    }
}
