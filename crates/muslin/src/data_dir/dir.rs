//! The directory from making to closing.

use super::config::{
    Addresses, FORMAT, NodeConfig, Refusal, Stored, check_format, corrupt, to_json,
};
use super::lock::{self, Lock};
use crate::store::StoreError;
use crate::store::file::{Checked, FileStore, Options, Owner, replace, sync_dir};
use muslin_core::base::{ClusterId, Epoch, NodeId};
use muslin_core::state::Founding;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

const NODE: &str = "node.json";
const PEERS: &str = "peers.json";
const IDENTITY: &str = "identity";

/// What may stand in a directory in which a node was not made to the end.
const UNFINISHED: &[&str] =
    &[lock::NAME, "log", "snapshot", IDENTITY, PEERS, "peers.json.tmp", "node.json.tmp"];

/// A list of peers that is longer is none of ours: nobody writes down more than a few hundred.
const PEERS_BYTES_MAX: u64 = 1 << 20;

/// The directory is for its owner alone: keys are in it.
const MODE: u32 = 0o700;

/// A data directory that this process has. Others are shut out until it is dropped: keep it as long
/// as its [store](DataDir::store) is used.
pub struct DataDir {
    path: PathBuf,
    stored: Stored,
    _lock: Lock,
}

impl DataDir {
    /// Makes a node in a directory that is not there, or empty. The first boot is 1.
    pub fn create(
        path: &Path,
        config: NodeConfig,
        founding: Founding,
    ) -> Result<DataDir, StoreError> {
        DataDir::create_with(path, config, founding, |_| Ok(()))
    }

    /// The same, with what `fill` puts into the directory. Cut short at any moment, it leaves a
    /// directory in which a node can be made again, or one with all that belongs to the node:
    /// `node.json` comes last.
    pub fn create_with<E: From<StoreError>>(
        path: &Path,
        config: NodeConfig,
        founding: Founding,
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<DataDir, E> {
        let dir = DataDir::begin(path, Stored { config, boot: 1, founding })?;
        fill(path)?;
        dir.save()?;
        if let Some(parent) = fs::canonicalize(path).ok().as_deref().and_then(Path::parent) {
            sync_dir(parent)?;
        }
        Ok(dir)
    }

    /// All but `node.json`.
    fn begin(path: &Path, stored: Stored) -> Result<DataDir, StoreError> {
        let made = DirBuilder::new().recursive(true).mode(MODE).create(path);
        made.map_err(|error| unusable("create", path, error))?;
        check_unused(path)?;
        let lock = Lock::take(path).map_err(|error| error.explain(path))?;
        // Another process may have been faster, and be gone again.
        check_unused(path)?;
        FileStore::check_room(&[path])?;
        let restricted = fs::set_permissions(path, Permissions::from_mode(MODE));
        restricted.map_err(|error| unusable("restrict", path, error))?;
        let dir = DataDir { path: path.to_owned(), stored, _lock: lock };
        FileStore::create(&dir.path, dir.owner(), Options::default())?;
        Ok(dir)
    }

    /// Whether [`DataDir::create`] would take this directory, as far as can be told without
    /// changing anything.
    pub fn check_unused(path: &Path) -> Result<(), StoreError> {
        match path.try_exists() {
            Ok(false) => Ok(()),
            Ok(true) => check_unused(path),
            Err(error) => Err(unusable("read", path, error)),
        }
    }

    /// Whether disks have room for nodes that are to be made in these directories.
    pub fn check_room(paths: &[&Path]) -> Result<(), StoreError> {
        FileStore::check_room(paths)
    }

    /// Whether the disk has room for the first start of a node that was made; of one that has run,
    /// nothing is asked.
    pub fn check_first_room(&self) -> Result<(), StoreError> {
        FileStore::check_first_room(&self.path)
    }

    /// Opens a node's directory and raises its boot counter.
    pub fn open(path: &Path) -> Result<DataDir, StoreError> {
        // Looked for before the lock is made: nothing is written to what is not ours.
        check_has_node(path)?;
        let node = path.join(NODE);
        let lock = Lock::take(path).map_err(|error| error.explain(path))?;
        let bytes = fs::read(&node).map_err(|error| unusable("read", &node, error))?;
        let stored = Stored::from_json(&bytes).map_err(|refusal| refusal.explain(&node))?;
        let mut dir = DataDir { path: path.to_owned(), stored, _lock: lock };
        dir.stored.boot += 1;
        dir.save()?;
        Ok(dir)
    }

    /// Looks at the files of a node that is not running, and changes nothing but the lock's.
    pub fn check(path: &Path) -> Result<Checked, StoreError> {
        check_has_node(path)?;
        let node = path.join(NODE);
        let _lock = Lock::take(path).map_err(|error| error.explain(path))?;
        let bytes = fs::read(&node).map_err(|error| unusable("read", &node, error))?;
        let stored = Stored::from_json(&bytes).map_err(|refusal| refusal.explain(&node))?;
        FileStore::check(path, owner_of(&stored.config)).map_err(|error| match error {
            // Nothing ran, so nothing stops.
            StoreError::Io { action, path, source } => {
                refuse(&path, &format!("cannot {action} it: {source}"))
            }
            other => other,
        })
    }

    /// Opens a directory that must be this node's. Another's is refused unchanged.
    pub fn open_as(path: &Path, cluster: ClusterId, node: NodeId) -> Result<DataDir, StoreError> {
        let wanted = Owner { cluster, node };
        let file = path.join(NODE);
        if let Ok(bytes) = fs::read(&file) {
            let stored = Stored::from_json(&bytes).map_err(|refusal| refusal.explain(&file))?;
            owner_of(&stored.config).must_be(wanted, path)?;
        }
        let dir = DataDir::open(path)?;
        dir.owner().must_be(wanted, path)?;
        Ok(dir)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who the node is.
    pub fn config(&self) -> &NodeConfig {
        &self.stored.config
    }

    /// What the cluster started from, as this node knows it.
    pub fn founding(&self) -> &Founding {
        &self.stored.founding
    }

    /// Number of this start, from 1. On the disk already.
    pub fn boot(&self) -> u64 {
        self.stored.boot
    }

    /// Remembers other addresses, durably.
    pub fn set_addresses(&mut self, addresses: Addresses) -> Result<(), StoreError> {
        if self.stored.config.addresses == addresses {
            return Ok(());
        }
        self.stored.config.addresses = addresses;
        self.save()
    }

    /// Remembers another profile.
    pub fn set_profile(&mut self, profile: &str) -> Result<(), StoreError> {
        if self.stored.config.profile == profile {
            return Ok(());
        }
        self.stored.config.profile = profile.to_owned();
        self.save()
    }

    /// Remembers a later epoch, durably: a start begins with it.
    pub fn set_epoch(&mut self, epoch: Epoch) -> Result<(), StoreError> {
        if self.stored.config.epoch >= epoch {
            return Ok(());
        }
        self.stored.config.epoch = epoch;
        self.save()
    }

    /// Where the node's certificates and keys are.
    pub fn identity_dir(&self) -> PathBuf {
        self.path.join(IDENTITY)
    }

    /// The log and the snapshots. Ask once; nothing is read yet.
    pub fn store(&self) -> FileStore {
        FileStore::open(&self.path, self.owner(), Options::default())
    }

    /// Where members were last seen is written here, by whoever follows that.
    pub fn peers_file(&self) -> PeersFile {
        PeersFile::of(&self.path)
    }

    /// Where members were last seen; empty if that was never saved.
    pub fn peers(&self) -> Result<BTreeMap<NodeId, SocketAddr>, StoreError> {
        peers(&self.path)
    }

    fn owner(&self) -> Owner {
        owner_of(&self.stored.config)
    }

    fn save(&self) -> Result<(), StoreError> {
        let (path, json) = (self.path.join(NODE), self.stored.to_json());
        let mut saved = replace(&path, &[&json]);
        // A node must be able to start on a full disk, if only to serve reads.
        while matches!(saved, Err(StoreError::Full { .. })) && FileStore::give_up(&self.path)? {
            saved = replace(&path, &[&json]);
        }
        saved.map_err(|error| match error {
            StoreError::Io { action, path, source } => unusable(action, &path, source),
            StoreError::Full { path, .. } => {
                refuse(&path, "the disk is full: free some space and start the node again")
            }
            other => other,
        })
    }
}

/// The file of members last seen. The directory must outlive it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeersFile {
    path: PathBuf,
}

impl PeersFile {
    /// Of the node in this directory.
    pub fn of(directory: &Path) -> PeersFile {
        PeersFile { path: directory.join(PEERS) }
    }

    /// Remembers where members were last seen.
    pub fn save(&self, peers: &BTreeMap<NodeId, SocketAddr>) -> Result<(), StoreError> {
        let peers = peers.iter().map(|(id, address)| (id.to_string(), *address)).collect();
        replace(&self.path, &[&to_json(&Peers { format: FORMAT, peers })])
    }
}

/// Where members were last seen, as a directory has it.
pub(super) fn peers(directory: &Path) -> Result<BTreeMap<NodeId, SocketAddr>, StoreError> {
    let path = directory.join(PEERS);
    let mut bytes = Vec::new();
    let read =
        fs::File::open(&path).and_then(|file| file.take(PEERS_BYTES_MAX).read_to_end(&mut bytes));
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        read => read.map_err(|error| unusable("read", &path, error))?,
    };
    let read = check_format(&bytes)
        .and_then(|()| serde_json::from_slice(&bytes).map_err(corrupt))
        .and_then(|peers: Peers| peers.into_map());
    read.map_err(|refusal| match refusal {
        Refusal::Corrupt(what) => refuse(&path, &format!("{what}; it is a hint: delete it")),
        Refusal::Format(_) => refusal.explain(&path),
    })
}

pub(super) fn owner_of(config: &NodeConfig) -> Owner {
    Owner { cluster: config.cluster, node: config.node }
}

/// Members and where they were last seen.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Peers {
    format: u32,
    peers: BTreeMap<String, SocketAddr>,
}

impl Peers {
    fn into_map(self) -> Result<BTreeMap<NodeId, SocketAddr>, Refusal> {
        let parse = |(id, address): (String, SocketAddr)| match NodeId::parse(&id) {
            Some(id) => Ok((id, address)),
            None => Err(Refusal::Corrupt(format!("`{id}` is not a node"))),
        };
        self.peers.into_iter().map(parse).collect()
    }
}

/// Refuses a directory in which no node is.
pub(super) fn check_has_node(path: &Path) -> Result<(), StoreError> {
    check_is_directory(path)?;
    match path.join(NODE).try_exists() {
        Ok(true) => Ok(()),
        Ok(false) => Err(StoreError::NoNode { path: path.to_owned() }),
        Err(error) => Err(unusable("read", path, error)),
    }
}

fn check_is_directory(path: &Path) -> Result<(), StoreError> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(refuse(path, "it is not a directory; give --data-dir one")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(StoreError::NoNode { path: path.to_owned() })
        }
        Err(error) => Err(unusable("read", path, error)),
    }
}

/// Empty, or left so by a creation that a crash cut short.
fn check_unused(path: &Path) -> Result<(), StoreError> {
    check_is_directory(path)?;
    if path.join(NODE).exists() {
        let why = "there is a node in it already; run that with `muslin up`, or name another";
        return Err(refuse(path, why));
    }
    let entries = fs::read_dir(path).map_err(|error| unusable("read", path, error))?;
    for entry in entries {
        let name = entry.map_err(|error| unusable("read", path, error))?.file_name();
        let name = name.to_string_lossy();
        if !UNFINISHED.contains(&name.as_ref()) {
            let why = format!("it is not empty (`{name}` is in it); name an empty or a new one");
            return Err(refuse(path, &why));
        }
    }
    if FileStore::is_unused(path)? {
        return Ok(());
    }
    let why = "there is a log in it but no node.json; restore that from a backup, or name another";
    Err(refuse(path, why))
}

impl Refusal {
    pub(super) fn explain(self, path: &Path) -> StoreError {
        match self {
            Refusal::Format(found) => {
                StoreError::Format { path: path.to_owned(), found, known: FORMAT }
            }
            Refusal::Corrupt(what) => refuse(
                path,
                &format!(
                    "{what}; put right what was edited or restore it from a backup, or remove the \
                     node from the cluster and join again with an empty directory"
                ),
            ),
        }
    }
}

pub(super) fn refuse(path: &Path, why: &str) -> StoreError {
    StoreError::Unusable { path: path.to_owned(), why: why.to_owned() }
}

/// What the system refused before anything was promised; rights are the usual reason.
pub(super) fn unusable(action: &'static str, path: &Path, source: io::Error) -> StoreError {
    let advice = match source.kind() {
        io::ErrorKind::PermissionDenied => "make it this user's own (chown), mode 0700",
        io::ErrorKind::ReadOnlyFilesystem => "its file system is mounted read-only",
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "something on the way is not a directory"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on its disk",
        _ => return StoreError::Io { action, path: path.to_owned(), source },
    };
    refuse(path, &format!("{source}; {advice}"))
}
