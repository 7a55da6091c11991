//! A store of one's own: a journal in one file, written and synced, never rewritten. First the
//! suite that every store must pass, then a node on it that is stopped and has all when it starts
//! again.
//!
//! `cargo run -p muslin --example own_persistence`

use bytes::{Buf, BufMut, Bytes, BytesMut};
use muslin::core::base::{ClusterId, GroupId, Index, NodeId};
use muslin::core::node::{Consistency, Options};
use muslin::core::raft::{DiskRoom, Snapshot, Write};
use muslin::core::state::{Command, CommandKind, Founding, Member, Put, Query};
use muslin::core::wire;
use muslin::driver::{Driver, start};
use muslin::store::mem::{Disk, MemStore};
use muslin::store::{Aside, DiskCounters, RecoveredGroup, Scrubbed, Store, StoreError, contract};
use muslin::transport::mem::MemNetwork;
use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// What each record begins with: how long the rest is.
const LENGTH_BYTES: usize = 4;

/// A record is a list of parts; a part that is not there has this length.
const ABSENT: u32 = u32::MAX;

/// Keeps every write, in order. What it amounts to is worked out by the store in memory.
struct Journal {
    path: PathBuf,
    file: Arc<Mutex<File>>,
    counters: Arc<DiskCounters>,
}

impl Journal {
    fn open(path: &Path) -> io::Result<Journal> {
        let file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
        let (file, counters) = (Arc::new(Mutex::new(file)), Arc::default());
        Ok(Journal { path: path.to_path_buf(), file, counters })
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(io::Error) -> StoreError {
        let path = self.path.clone();
        move |source| StoreError::Io { action, path, source }
    }

    /// All whole records; what a crash cut short is cut off.
    fn replay(&self) -> io::Result<Vec<(GroupId, Write)>> {
        let mut file = self.file.lock().expect("no holder of this lock panics");
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (mut rest, mut writes) = (Bytes::from(bytes), Vec::new());
        let mut whole = 0;
        while let Some(record) = part(&mut rest) {
            let unreadable = || io::Error::other("a record that nobody wrote");
            writes.push(decoded(record).ok_or_else(unreadable)?);
            whole = file.metadata()?.len() - rest.len() as u64;
        }
        file.set_len(whole)?;
        Ok(writes)
    }
}

/// Adds these records, and has them on the disk when it returns.
fn append(file: &Mutex<File>, records: &[Bytes]) -> io::Result<()> {
    let mut file = file.lock().expect("no holder of this lock panics");
    file.write_all(&records.concat())?;
    file.sync_data()
}

impl Store for Journal {
    fn recover(&mut self) -> Result<BTreeMap<GroupId, RecoveredGroup>, StoreError> {
        let writes = self.replay().map_err(self.failed("read"))?;
        let disk = Disk::new();
        let mut memory = MemStore::new(disk.clone());
        memory.recover()?;
        memory.write(&writes)?;
        MemStore::new(disk).recover()
    }

    fn write(&mut self, batch: &[(GroupId, Write)]) -> Result<(), StoreError> {
        let records: Vec<Bytes> =
            batch.iter().map(|(group, write)| encoded(*group, write)).collect();
        append(&self.file, &records).map_err(self.failed("write to"))
    }

    fn tend(&mut self) -> Result<DiskRoom, StoreError> {
        Ok(DiskRoom::Room)
    }

    fn aside(&self) -> Arc<dyn Aside> {
        let Journal { path, file, counters } = self;
        Arc::new(Beside { path: path.clone(), file: file.clone(), counters: counters.clone() })
    }
}

/// Snapshots go into the same journal.
struct Beside {
    path: PathBuf,
    file: Arc<Mutex<File>>,
    counters: Arc<DiskCounters>,
}

impl Aside for Beside {
    fn save(
        &self,
        group: GroupId,
        snapshot: &Snapshot,
        keep_from: Index,
    ) -> Result<(), StoreError> {
        let snapshot = snapshot.clone();
        let write = Write::Snapshot { snapshot, keep_from, discard_log: false };
        append(&self.file, &[encoded(group, &write)]).map_err(|source| StoreError::Io {
            action: "write to",
            path: self.path.clone(),
            source,
        })
    }

    fn scrub(&self, _: u64) -> Result<Scrubbed, StoreError> {
        Ok(Scrubbed::All)
    }

    fn counters(&self) -> Arc<DiskCounters> {
        self.counters.clone()
    }
}

/// One write as a record: the group, then its parts in the formats that the library has for them.
fn encoded(group: GroupId, write: &Write) -> Bytes {
    let mut parts = vec![Some(Bytes::copy_from_slice(&group.0.to_be_bytes()))];
    match write {
        Write::Log { hard_state, entries } => {
            parts.extend([None, hard_state.as_ref().map(wire::encode_hard_state)]);
            parts.extend(entries.iter().map(|entry| Some(wire::encode_entry(entry))));
        }
        Write::Snapshot { snapshot, keep_from, discard_log } => {
            let mut how = BytesMut::new();
            how.put_u64(keep_from.0);
            how.put_u8(u8::from(*discard_log));
            let meta = wire::encode_snapshot_meta(&snapshot.meta);
            parts.extend([Some(meta), Some(how.freeze()), Some(snapshot.data.clone())]);
        }
    }
    let mut record = BytesMut::zeroed(LENGTH_BYTES);
    for part in parts {
        record.put_u32(part.as_ref().map_or(ABSENT, |part| part.len() as u32));
        record.put_slice(&part.unwrap_or_default());
    }
    let length = (record.len() - LENGTH_BYTES) as u32;
    record[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    record.freeze()
}

/// The next part with its length in front, if it is whole.
fn part(rest: &mut Bytes) -> Option<Bytes> {
    let length = rest.clone().try_get_u32().ok()? as usize;
    (rest.len() >= LENGTH_BYTES + length).then(|| {
        rest.advance(LENGTH_BYTES);
        rest.split_to(length)
    })
}

fn decoded(mut record: Bytes) -> Option<(GroupId, Write)> {
    let group = GroupId(part(&mut record)?.try_get_u64().ok()?);
    if !absent(&mut record) {
        let meta = wire::decode_snapshot_meta(part(&mut record)?).ok()?;
        let mut how = part(&mut record)?;
        let (keep_from, discard_log) =
            (Index(how.try_get_u64().ok()?), how.try_get_u8().ok()? == 1);
        let snapshot = Snapshot { meta, data: part(&mut record)? };
        return Some((group, Write::Snapshot { snapshot, keep_from, discard_log }));
    }
    let hard_state = match absent(&mut record) {
        true => None,
        false => Some(wire::decode_hard_state(part(&mut record)?).ok()?),
    };
    let mut entries = Vec::new();
    while record.has_remaining() {
        entries.push(wire::decode_entry(part(&mut record)?).ok()?);
    }
    Some((group, Write::Log { hard_state, entries: entries.into() }))
}

fn absent(rest: &mut Bytes) -> bool {
    let is_absent = rest.clone().try_get_u32() == Ok(ABSENT);
    if is_absent {
        rest.advance(LENGTH_BYTES);
    }
    is_absent
}

/// Makes journals for the suite.
struct Journals {
    directory: tempfile::TempDir,
    made: Mutex<u32>,
}

impl contract::Subject for Journals {
    type Disk = PathBuf;
    type Store = Journal;

    fn disk(&self) -> PathBuf {
        let mut made = self.made.lock().expect("no holder of this lock panics");
        *made += 1;
        self.directory.path().join(made.to_string())
    }

    fn open(&self, disk: &PathBuf) -> Journal {
        Journal::open(disk).expect("the temporary directory takes files")
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    contract::check_all(&Journals { directory: tempfile::tempdir()?, made: Mutex::new(0) });
    println!("the contract holds");

    let directory = tempfile::tempdir()?;
    let path = directory.path().join("journal");
    let written = run(&path, true).await?;
    let found = run(&path, false).await?;
    println!("revision {written} was written, {found} was found");
    if found == written && written > 1 { Ok(()) } else { Err("something was lost".into()) }
}

/// One life of a node of one: writes if it is to, and says which revision there is.
async fn run(path: &Path, writes: bool) -> Result<u64, Box<dyn Error>> {
    let (cluster, id, address) = (ClusterId(1), NodeId(1), "127.0.0.1:7400".parse()?);
    let founder = Member { id: id.0, roles: vec!["control".into()], ..Member::default() };
    let mut options = Options::new(id, cluster, address);
    options.founding = Founding { members: vec![founder], ..Founding::default() };
    options.boot = if writes { 1 } else { 2 };
    let (inbox, incoming) = mpsc::channel(64);
    let (_seeds, contacts) = mpsc::channel(1);
    let transport = MemNetwork::seeded(42).start((cluster, id), Some(address), inbox);
    let store = Box::new(Journal::open(path)?);
    let driver = Driver { options, store, transport, incoming, contacts, seed: 42 };
    let (handle, task) = start(driver)?;
    for number in 0..if writes { 10 } else { 0 } {
        let put = Put { key: format!("k{number}").into(), value: "v".into(), ..Put::default() };
        handle.write(Command::of(CommandKind::Put(put))).await?.result?;
    }
    let seen = handle.read(Query::Revision, Consistency::Linearizable).await?;
    handle.shutdown().await;
    task.await??;
    Ok(seen.revision.0)
}
