//! Nodes of one cluster on one host find each other by files.
//!
//! `<runtime directory>/muslin-<uid>/<cluster id>/<node id>` holds the node's present address as
//! text. That is enough for a cluster on one machine to form again after all its addresses have
//! changed, with no list and no name server. A file left by a process that was killed costs a ping
//! now and then, and is replaced when that node starts again.

use super::{CONTACTS_MAX, Discovery, tidy};
use muslin_core::base::{ClusterId, NodeId};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Only this user may look in, or put something there.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// The longest address in text, with some room.
const FILE_BYTES_MAX: u64 = 128;

/// Reads what the other nodes of this host have announced.
pub struct Local {
    directory: PathBuf,
    own: NodeId,
    last: Vec<SocketAddr>,
    is_failing: bool,
}

/// A node's own file: removed when this is dropped, at a clean stop.
#[derive(Debug)]
pub struct Announcement {
    path: PathBuf,
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
        make_private(&of_user, user)?;
        let directory = of_user.join(cluster.to_string());
        make_private(&directory, user)?;
        let path = directory.join(node.to_string());
        replace(&path, &format!("{address}\n"))?;
        let local = Local { directory, own: node, last: Vec::new(), is_failing: false };
        Ok((local, Announcement { path }))
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
    }
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

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&temporary, path)
}

fn read_address(path: &Path) -> Option<SocketAddr> {
    let mut text = String::new();
    File::open(path).ok()?.take(FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim_end().parse().ok()
}
