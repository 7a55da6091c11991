//! Backups as files.

use super::format::{FRAME_BYTES, HEAD_BYTES_MAX};
use super::{Backup, BackupError, Checker, Fault, Head};
use bytes::Bytes;
use muslin_core::state::{AuthAnswer, AuthQuery, Counted, Query, Response, State};
use serde::Serialize;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Hashes of tokens and passwords are in it.
const MODE: u32 = 0o600;

/// How much is read at once.
const READ_BYTES: usize = 1 << 20;

/// A file that is being written: under another name until it is whole, durable and checked.
/// Dropped before, it leaves nothing.
pub struct Saving {
    path: PathBuf,
    unfinished: PathBuf,
    file: File,
    checker: Checker,
    bytes: u64,
    is_done: bool,
}

/// A file that is whole.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Saved {
    /// Where.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// What it says of itself.
    #[serde(flatten)]
    pub head: Head,
}

impl Saving {
    /// Begins one. Whatever has that name stays until the end.
    pub fn begin(path: &Path) -> Result<Saving, BackupError> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.unfinished", std::process::id()));
        let unfinished = path.with_file_name(name);
        let opened =
            OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(&unfinished);
        let file = opened.map_err(BackupError::io("create", &unfinished))?;
        let path = path.to_owned();
        Ok(Saving { path, unfinished, file, checker: Checker::default(), bytes: 0, is_done: false })
    }

    /// Writes the next bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.checker.take(bytes, |_| {}).map_err(BackupError::Received)?;
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).map_err(BackupError::io("write", &self.unfinished))
    }

    /// Gives the file its name, durably, if it is a whole backup.
    pub fn finish(mut self) -> Result<Saved, BackupError> {
        let head = std::mem::take(&mut self.checker).finish().map_err(BackupError::Received)?;
        self.file.sync_all().map_err(BackupError::io("sync", &self.unfinished))?;
        fs::rename(&self.unfinished, &self.path).map_err(BackupError::io("rename", &self.path))?;
        self.is_done = true;
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        let synced = File::open(parent).and_then(|directory| directory.sync_all());
        synced.map_err(BackupError::io("sync", parent))?;
        Ok(Saved { path: self.path.clone(), bytes: self.bytes, head })
    }
}

impl Drop for Saving {
    fn drop(&mut self) {
        if !self.is_done {
            // Whoever finds it later sees by its name that it is nothing.
            let _ = fs::remove_file(&self.unfinished);
        }
    }
}

/// Writes a backup to a file, which is whole afterwards or not there.
pub fn save(backup: Backup, path: &Path) -> Result<Saved, BackupError> {
    let mut saving = Saving::begin(path)?;
    for chunk in backup.chunks() {
        saving.write(&chunk)?;
    }
    saving.finish()
}

/// What a backup says of itself, of which nothing more is read.
pub fn head(path: &Path) -> Result<Head, BackupError> {
    let file = File::open(path).map_err(BackupError::io("open", path))?;
    let mut bytes = Vec::new();
    let most = (HEAD_BYTES_MAX + 2 * FRAME_BYTES) as u64;
    file.take(most).read_to_end(&mut bytes).map_err(BackupError::io("read", path))?;
    let mut checker = Checker::default();
    let taken = checker.take(&bytes, |_| {});
    let bad = |fault: Fault| BackupError::Bad { path: path.to_owned(), fault };
    match checker.into_head() {
        Some(head) => Ok(head),
        None => {
            Err(bad(taken.err().unwrap_or(Fault::CutShort { at: bytes.len() as u64, of: None })))
        }
    }
}

/// What is in a backup.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Inspected {
    /// Its file.
    #[serde(flatten)]
    pub saved: Saved,
    /// Names of the users.
    pub user_names: Vec<String>,
}

/// Reads a backup to its end, and the state in it, and says what it holds.
pub fn inspect(path: &Path) -> Result<Inspected, BackupError> {
    let (head, state) = read(path)?;
    let bytes = fs::metadata(path).map_err(BackupError::io("read", path))?.len();
    let user_names = match state.query(&Query::Auth(AuthQuery::Users)).result {
        Ok(Response::Auth(answer)) => match *answer {
            AuthAnswer::Names(names) => names,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    let Counted { keys, .. } = state.freeze().counts();
    if keys != head.keys {
        return Err(BackupError::Bad { path: path.to_owned(), fault: Fault::Altered });
    }
    Ok(Inspected { saved: Saved { path: path.to_owned(), bytes, head }, user_names })
}

/// Reads a backup: what it says of itself, and its state.
pub fn read(path: &Path) -> Result<(Head, State), BackupError> {
    let mut file = File::open(path).map_err(BackupError::io("open", path))?;
    let bad = |fault: Fault| BackupError::Bad { path: path.to_owned(), fault };
    let (mut checker, mut state) = (Checker::default(), Vec::new());
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = file.read(&mut buffer).map_err(BackupError::io("read", path))?;
        if read == 0 {
            break;
        }
        let taken = checker.take(&buffer[..read], |piece| state.extend_from_slice(piece));
        taken.map_err(bad)?;
    }
    let head = checker.finish().map_err(bad)?;
    let state = State::restore(Bytes::from(state)).map_err(|error| bad(Fault::State(error)))?;
    Ok((head, state))
}
