//! Nodes of one cluster on one host find each other by files.
//!
//! `<runtime directory>/muslin-<uid>/<cluster id>/<node id>` holds the node's present address as
//! text. That is enough for a cluster on one machine to form again after all its addresses have
//! changed, with no list and no name server.
//!
//! A node holds a lock on its file for as long as it runs, so that whoever starts next can tell
//! what a killed process left, of this cluster or another, and removes it. Until then such a file
//! costs a ping now and then. Files are put in place and removed under a lock on their directory:
//! else a node that starts could lose its new file to one that takes it for the old one.

use super::{CONTACTS_MAX, Discovery, tidy};
use muslin_core::base::{ClusterId, NodeId};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// Only this user may look in, or put something there.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// The longest address in text, with some room.
const FILE_BYTES_MAX: u64 = 128;

/// What a file is called until it is whole.
const UNFINISHED: &str = "tmp";

/// How often a node looks whether a directory's lock is free, and how long it waits between two
/// looks: others hold it for a moment. One that is paused meanwhile must not keep a node from
/// starting, so it goes on without the lock then: at worst its file is taken for an old one, and
/// nodes of this host find it by other ways.
const LOCK_LOOKS: u32 = 50;
const LOCK_WAIT: Duration = Duration::from_millis(10);

/// How often a node begins anew because its directory was removed under it.
const BEGIN_ANEW_MAX: u32 = 10;

/// Most directories that one start looks through for what killed processes left.
const SWEPT_MAX: usize = 10_000;

/// Reads what the other nodes of this host have announced.
pub struct Local {
    directory: PathBuf,
    own: NodeId,
    last: Vec<SocketAddr>,
    is_failing: bool,
}

/// A node's own file: removed when this is dropped, at a clean stop, and with the last file of a
/// directory the directory.
#[derive(Debug)]
pub struct Announcement {
    path: PathBuf,
    /// Locked: the process lives.
    _file: File,
}

/// Where files that live as long as the user's session belong: `$XDG_RUNTIME_DIR`, or the directory
/// for temporary files.
pub fn runtime_directory() -> PathBuf {
    let named = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let named = named.filter(|path| path.is_absolute() && path.is_dir());
    named.unwrap_or_else(std::env::temp_dir)
}

impl Local {
    /// Announces a node in a [`runtime_directory`] and reads who else did. An error means that this
    /// host has no such place: go on without.
    pub fn announce(
        runtime: &Path,
        cluster: ClusterId,
        node: NodeId,
        address: SocketAddr,
    ) -> io::Result<(Local, Announcement)> {
        let user = nix::unistd::geteuid().as_raw();
        let of_user = runtime.join(format!("muslin-{user}"));
        let directory = of_user.join(cluster.to_string());
        let path = directory.join(node.to_string());
        let place = || {
            make_private(&of_user, user)?;
            sweep(&of_user);
            make_private(&directory, user)?;
            let _lock = locked(&directory, LOCK_LOOKS)?;
            replace(&path, &format!("{address}\n"))
        };
        let is_gone = |placed: &io::Result<File>| {
            placed.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        };
        let mut placed = place();
        for _ in 0..BEGIN_ANEW_MAX {
            if !is_gone(&placed) {
                break;
            }
            // Another node that started or stopped found the directory empty.
            placed = place();
        }
        let file = placed?;
        let local = Local { directory, own: node, last: Vec::new(), is_failing: false };
        Ok((local, Announcement { path, _file: file }))
    }

    fn read(&self) -> io::Result<Vec<SocketAddr>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let node = name.to_str().and_then(NodeId::parse);
            if node.is_some_and(|node| node != self.own) {
                found.extend(read_address(&entry.path()));
            }
            if found.len() == CONTACTS_MAX {
                break;
            }
        }
        // The order of a directory is no order.
        found.sort_unstable();
        Ok(tidy(found))
    }
}

impl Discovery for Local {
    fn contacts(&mut self) -> Vec<SocketAddr> {
        let found = self.read();
        let was_failing = std::mem::replace(&mut self.is_failing, found.is_err());
        match found {
            Ok(found) => self.last = found,
            Err(error) if !was_failing => {
                let directory = self.directory.display();
                tracing::warn!(%directory, %error, "cannot look for nodes on this host; trying on");
            }
            Err(_) => {}
        }
        self.last.clone()
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "cannot take back an address");
        }
        // Those that are not empty stay.
        for directory in self.path.ancestors().skip(1).take(2) {
            if fs::remove_dir(directory).is_err() {
                break;
            }
        }
    }
}

/// Removes what processes left that were killed.
fn sweep(of_user: &Path) {
    let Ok(clusters) = fs::read_dir(of_user) else { return };
    for cluster in clusters.take(SWEPT_MAX).flatten() {
        let is_ours = cluster.file_name().to_str().is_some_and(|n| ClusterId::parse(n).is_some());
        let is_directory = cluster.file_type().is_ok_and(|kind| kind.is_dir());
        if is_ours && is_directory {
            sweep_cluster(&cluster.path());
        }
    }
}

fn sweep_cluster(directory: &Path) {
    // Whose directory is in use is looked through by the next one.
    let Ok(Some(_lock)) = locked(directory, 1) else { return };
    let Ok(files) = fs::read_dir(directory) else { return };
    for file in files.take(CONTACTS_MAX).flatten() {
        let path = file.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let is_ours = stem.and_then(NodeId::parse).is_some();
        if is_ours && is_of_nobody(&path) {
            let _ = fs::remove_file(&path);
        }
    }
    let _ = fs::remove_dir(directory);
}

/// Whether no process holds a file's lock. Where files cannot be locked it is never known.
fn is_of_nobody(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| file.try_lock().is_ok())
}

/// The lock of a directory that is there, held until it is dropped. `None`: it was not to be had.
fn locked(directory: &Path, looks: u32) -> io::Result<Option<File>> {
    let file = File::open(directory)?;
    for look in 1..=looks {
        match file.try_lock() {
            Ok(()) => {
                // Who had it before may have removed the directory.
                let is_same = fs::metadata(directory)?.ino() == file.metadata()?.ino();
                return if is_same { Ok(Some(file)) } else { Err(io::ErrorKind::NotFound.into()) };
            }
            Err(TryLockError::Error(_)) => break,
            Err(TryLockError::WouldBlock) if look < looks => thread::sleep(LOCK_WAIT),
            Err(TryLockError::WouldBlock) => {}
        }
    }
    Ok(None)
}

/// A directory that was there already may be a trap set by another user of the host.
fn make_private(path: &Path, user: u32) -> io::Result<()> {
    match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(path)?;
    let is_private = found.is_dir() && found.uid() == user && found.mode() & 0o077 == 0;
    if is_private {
        return Ok(());
    }
    let what = format!("{} is not a directory of this user alone", path.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, what))
}

/// Puts a file in place, whole and locked.
fn replace(path: &Path, text: &str) -> io::Result<File> {
    let temporary = path.with_extension(UNFINISHED);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    // Where files cannot be locked, nobody takes this one for a dead process's either.
    let _ = file.try_lock();
    fs::rename(&temporary, path)?;
    Ok(file)
}

fn read_address(path: &Path) -> Option<SocketAddr> {
    let mut text = String::new();
    File::open(path).ok()?.take(FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim_end().parse().ok()
}
