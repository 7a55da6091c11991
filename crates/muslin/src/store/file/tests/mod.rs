//! What the contract cannot ask for: damage, crash images, foreign files, failing disks, speed.

mod damage;
mod faults;
mod life;
mod matrix;
mod power;
mod rebuild;
mod scrub;
mod speed;

use super::super::contract::{self, Subject};
use super::super::{Damage, RecoveredGroup, Store, StoreError};
use super::{FileStore, Options, Owner};
use bytes::Bytes;
use muslin_core::base::{ClusterId, GroupId, Index, LogId, NodeId, Term};
use muslin_core::raft::{
    Configuration, Entries, Entry, HardState, Payload, Snapshot, SnapshotMeta, Write,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const OWNER: Owner = Owner { cluster: ClusterId(0x51), node: NodeId(0xa1) };

type Groups = BTreeMap<GroupId, RecoveredGroup>;

struct Disks {
    segment_bytes: u64,
}

impl Subject for Disks {
    type Disk = TempDir;
    type Store = FileStore;

    fn disk(&self) -> TempDir {
        let dir = scratch();
        FileStore::create(dir.path(), OWNER, options(self.segment_bytes)).unwrap();
        dir
    }

    fn open(&self, disk: &TempDir) -> FileStore {
        FileStore::open(disk.path(), OWNER, options(self.segment_bytes))
    }
}

#[test]
fn the_contract_is_kept_whatever_the_length_of_segments() {
    for segment_bytes in [0, 512, 4096, 1 << 20] {
        contract::check_all(&Disks { segment_bytes });
    }
}

fn options(segment_bytes: u64) -> Options {
    Options { segment_bytes, is_alone: true }
}

/// In memory where the system offers it: these tests open thousands of stores.
fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.unwrap()
}

fn entries(term: u64, indexes: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
    let entry = |index: u64| Entry {
        id: LogId::new(Term(term), Index(index)),
        payload: Payload::Command(Bytes::from(vec![index as u8; 20 + index as usize % 7])),
    };
    indexes.map(entry).collect()
}

fn log(term: u64, indexes: std::ops::RangeInclusive<u64>) -> Write {
    Write::Log { hard_state: None, entries: entries(term, indexes).into() }
}

fn committed(term: u64, commit: u64) -> Write {
    let hard_state = HardState {
        term: Term(term),
        vote: Some(NodeId(1)),
        commit: Index(commit),
        ..HardState::default()
    };
    Write::Log { hard_state: Some(hard_state), entries: Entries::new() }
}

fn saved(term: u64, index: u64, keep_from: u64, discard_log: bool) -> Write {
    let last = LogId::new(Term(term), Index(index));
    let meta = SnapshotMeta { last, configuration: Configuration::of_voters([NodeId(1)]) };
    let snapshot = Snapshot { meta, data: Bytes::from(vec![index as u8; 50]) };
    Write::Snapshot { snapshot, keep_from: Index(keep_from), discard_log }
}

/// Opens a store; damage is put aside.
fn open_any(dir: &Path, segment_bytes: u64) -> Result<(FileStore, Groups), StoreError> {
    let mut store = FileStore::open(dir, OWNER, options(segment_bytes));
    let groups = store.recover()?;
    Ok((store, groups))
}

/// Opens a store that should be sound; damage is an error.
fn open(dir: &Path, segment_bytes: u64) -> Result<(FileStore, Groups), StoreError> {
    let (store, groups) = open_any(dir, segment_bytes)?;
    match groups.values().find_map(|group| group.damage.clone()) {
        Some(Damage { path, offset, what }) => Err(StoreError::Damaged { path, offset, what }),
        None => Ok((store, groups)),
    }
}

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for part in ["log", "snapshot"] {
        for entry in fs::read_dir(dir.join(part)).unwrap() {
            let name = Path::new(part).join(entry.unwrap().file_name());
            // Nothing in them counts.
            if name.extension().is_some_and(|ending| ending == "spare") {
                continue;
            }
            let bytes = fs::read(dir.join(&name)).unwrap();
            files.insert(name, bytes);
        }
    }
    files
}

/// How many segments there are.
fn segments(dir: &Path) -> usize {
    files(dir).keys().filter(|name| name.starts_with("log")).count()
}

fn lay_out(files: &BTreeMap<PathBuf, Vec<u8>>) -> TempDir {
    let dir = scratch();
    restore(dir.path(), files);
    dir
}

fn restore(dir: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) {
    for part in ["log", "snapshot", "damaged"] {
        let part = dir.join(part);
        if part.exists() {
            fs::remove_dir_all(&part).unwrap();
        }
    }
    for part in ["log", "snapshot"] {
        fs::create_dir(dir.join(part)).unwrap();
    }
    for (name, bytes) in files {
        fs::write(dir.join(name), bytes).unwrap();
    }
}
