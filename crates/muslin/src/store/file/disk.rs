//! Steps on the disk whose order matters, with errors that say what was tried.

use super::super::StoreError;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Files are written in pieces of at most this many bytes: one system call never takes long enough to
/// look like a hang.
pub(super) const PIECE_BYTES: usize = 1 << 20;

/// Ending of a file that is being made. Whatever has it after a crash is removed.
const UNFINISHED: &str = "tmp";

/// Files are for the owner alone: they hold the cluster's state and hashes of its secrets.
const FILE_MODE: u32 = 0o600;

/// Says what was tried, and on what.
pub(crate) fn explain<T>(
    action: &'static str,
    path: &Path,
    result: io::Result<T>,
) -> Result<T, StoreError> {
    result.map_err(|source| StoreError::Io { action, path: path.to_owned(), source })
}

/// Makes names in a directory durable: files made, renamed or removed there.
pub(crate) fn sync_dir(path: &Path) -> Result<(), StoreError> {
    let synced = File::open(path).and_then(|dir| dir.sync_all());
    explain("sync the directory", path, synced)
}

/// Replaces a file, or makes it, in one step that a crash cannot split: the old bytes or the parts one
/// after the other. Durable on return.
pub(crate) fn replace(path: &Path, parts: &[&[u8]]) -> Result<(), StoreError> {
    let unfinished = unfinished(path);
    let mut file = explain("create", &unfinished, create(&unfinished))?;
    for piece in parts.iter().flat_map(|part| part.chunks(PIECE_BYTES)) {
        explain("write", &unfinished, file.write_all(piece))?;
    }
    explain("sync", &unfinished, file.sync_all())?;
    drop(file);
    publish(&unfinished, path)
}

/// Gives a finished, synced file its name, durably.
pub(super) fn publish(unfinished: &Path, path: &Path) -> Result<(), StoreError> {
    explain("rename to its final name", unfinished, fs::rename(unfinished, path))?;
    sync_dir(path.parent().expect("every file of a store stands in its directory"))
}

/// Makes an empty file for reading and writing.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(FILE_MODE).open(path)
}

/// Where a file stands while it is being made.
pub(super) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(UNFINISHED);
    PathBuf::from(name)
}

/// The names in a directory, in order. Removes what a crash left unfinished.
pub(super) fn names(dir: &Path) -> Result<Vec<String>, StoreError> {
    let mut names = Vec::new();
    for entry in explain("list", dir, fs::read_dir(dir))? {
        let path = explain("list", dir, entry)?.path();
        if path.extension().is_some_and(|ending| ending == UNFINISHED) {
            explain("remove", &path, fs::remove_file(&path))?;
        } else if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}
