//! Steps on the disk whose order matters, with errors that say what was tried. Everything that
//! changes the disk goes through here, so that tests can cut the power between any two steps.

use super::super::StoreError;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Files are written in pieces of at most this many bytes: one system call never takes long enough
/// to look like a hang.
const PIECE_BYTES: usize = 1 << 20;

/// Ending of a file that is being made. Whatever has it after a crash is removed.
const UNFINISHED: &str = "tmp";

/// Files are for the owner alone: they hold the cluster's state and hashes of its secrets.
const FILE_MODE: u32 = 0o600;

/// Says what was tried, and on what.
pub(super) fn explain<T>(
    action: &'static str,
    path: &Path,
    result: io::Result<T>,
) -> Result<T, StoreError> {
    result.map_err(|source| StoreError::Io { action, path: path.to_owned(), source })
}

/// Makes an empty file for reading and writing.
pub(super) fn create(path: &Path) -> Result<File, StoreError> {
    note(|| Step::Create(path.to_owned()));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).mode(FILE_MODE);
    explain("create", path, options.open(path))
}

/// Writes at a place.
pub(super) fn write(file: &File, path: &Path, bytes: &[u8], at: u64) -> Result<(), StoreError> {
    note(|| Step::Write { path: path.to_owned(), at, bytes: bytes.to_vec() });
    explain("write", path, file.write_all_at(bytes, at))
}

/// Writes zeros.
pub(super) fn fill(file: &File, path: &Path, from: u64, to: u64) -> Result<(), StoreError> {
    let zeros = vec![0; PIECE_BYTES.min((to - from) as usize)];
    let mut at = from;
    while at < to {
        let piece = (to - at).min(zeros.len() as u64);
        write(file, path, &zeros[..piece as usize], at)?;
        at += piece;
    }
    Ok(())
}

/// Cuts a file, or lengthens it by zeros.
pub(super) fn set_length(file: &File, path: &Path, length: u64) -> Result<(), StoreError> {
    note(|| Step::SetLength { path: path.to_owned(), length });
    explain("set the length of", path, file.set_len(length))
}

/// Waits until what was written is on the disk.
pub(super) fn sync(file: &File, path: &Path) -> Result<(), StoreError> {
    note(|| Step::Sync(path.to_owned()));
    explain("sync", path, file.sync_data())
}

/// Makes names in a directory durable: files made, renamed or removed there.
pub(crate) fn sync_dir(path: &Path) -> Result<(), StoreError> {
    note(|| Step::SyncDir(path.to_owned()));
    let synced = File::open(path).and_then(|dir| dir.sync_all());
    explain("sync the directory", path, synced)
}

/// Removes a file. Not durable before the directory is synced.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    note(|| Step::Remove(path.to_owned()));
    explain("remove", path, fs::remove_file(path))
}

/// Gives a finished, synced file its name, durably.
pub(super) fn publish(unfinished: &Path, path: &Path) -> Result<(), StoreError> {
    note(|| Step::Rename { from: unfinished.to_owned(), to: path.to_owned() });
    explain("rename to its final name", unfinished, fs::rename(unfinished, path))?;
    sync_dir(path.parent().expect("every file of a store stands in its directory"))
}

/// Replaces a file, or makes it, in one step that a crash cannot split: the old bytes or the parts
/// one after the other. Durable on return.
pub(crate) fn replace(path: &Path, parts: &[&[u8]]) -> Result<(), StoreError> {
    let unfinished = unfinished(path);
    let file = create(&unfinished)?;
    let mut at = 0;
    for piece in parts.iter().flat_map(|part| part.chunks(PIECE_BYTES)) {
        write(&file, &unfinished, piece, at)?;
        at += piece.len() as u64;
    }
    sync(&file, &unfinished)?;
    publish(&unfinished, path)
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
            remove(&path)?;
        } else if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// One change of the disk, in the order of issue.
#[cfg_attr(not(test), allow(dead_code))]
#[derive(Clone, Debug)]
pub(super) enum Step {
    Create(PathBuf),
    Write { path: PathBuf, at: u64, bytes: Vec<u8> },
    SetLength { path: PathBuf, length: u64 },
    Sync(PathBuf),
    Rename { from: PathBuf, to: PathBuf },
    Remove(PathBuf),
    SyncDir(PathBuf),
}

#[cfg(test)]
thread_local! {
    static STEPS: std::cell::RefCell<Option<Vec<Step>>> = const { std::cell::RefCell::new(None) };
}

#[cfg(test)]
fn note(step: impl FnOnce() -> Step) {
    STEPS.with_borrow_mut(|steps| {
        if let Some(steps) = steps {
            steps.push(step());
        }
    });
}

#[cfg(not(test))]
fn note(_: impl FnOnce() -> Step) {}

/// From here on this thread's steps are kept; returns those kept so far.
#[cfg(test)]
pub(super) fn keep_steps() -> Vec<Step> {
    STEPS.replace(Some(Vec::new())).unwrap_or_default()
}
