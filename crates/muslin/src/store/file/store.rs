//! The store itself: its life from opening to refusal.

use super::super::{Aside, DiskCounters, RecoveredGroup, Store, StoreError};
use super::beside::{Beside, RoomTold};
use super::check::{self, Checked};
use super::copy;
use super::disk::{explain, make_dir, sync_dir};
use super::log::{Home, Log};
use super::recover;
use super::room;
use super::segment::{self, Owner};
use super::spares::Spares;
use muslin_core::base::{GroupId, Index};
use muslin_core::raft::{DiskRoom, Write};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::mem;
use std::path::Path;
use std::sync::Arc;

/// Number of the first segment, and what its chain of checksums begins with.
const FIRST_SEGMENT: u64 = 1;
const FIRST_SEED: u32 = 0;

/// How the store uses the disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Length of a log segment. A batch that does not fit gets a segment of its own length.
    pub segment_bytes: u64,
    /// The store starts no thread of its own: segments are made when they are asked for, by
    /// whoever asks. For tests and for programs that look at a stopped node's files.
    pub is_alone: bool,
}

impl Default for Options {
    /// 16 MiB: made in about 10 ms, and about 100 000 small entries until the next one.
    fn default() -> Options {
        Options { segment_bytes: 16 << 20, is_alone: false }
    }
}

/// The store on a disk. See the [module](super) for what it promises.
pub struct FileStore {
    home: Home,
    beside: Arc<Beside>,
    phase: Phase,
    /// The log.
    room_told: RoomTold,
}

enum Phase {
    /// Waits for [`Store::recover`].
    Closed,
    Open(Box<Log>),
    /// After an error: what is on the disk is unknown to this process.
    Refusing,
}

impl FileStore {
    /// Makes an empty store in a directory: `log/` with its first segment and `snapshot/`. Remakes
    /// one in which nothing was ever written; refuses any other that is there.
    pub fn create(root: &Path, owner: Owner, options: Options) -> Result<(), StoreError> {
        let home = Home::new(root, owner, options);
        for dir in [&home.log, &home.snapshots] {
            make_dir(dir)?;
        }
        sync_dir(root)?;
        if !FileStore::is_unused(root)? {
            let source = io::Error::from(io::ErrorKind::AlreadyExists);
            return explain("make a log in", &home.log, Err(source));
        }
        let header = home.header(FIRST_SEGMENT, 0, FIRST_SEGMENT, FIRST_SEED);
        segment::create(&home.log, &header)?;
        Ok(())
    }

    /// Whether a directory holds no store, or one in which nothing was ever written.
    pub(crate) fn is_unused(root: &Path) -> Result<bool, StoreError> {
        let (log, snapshots) = (root.join("log"), root.join("snapshot"));
        for dir in [&log, &snapshots] {
            let names = if dir.exists() { super::disk::names(dir)? } else { Vec::new() };
            for name in names {
                let path = dir.join(name);
                let bytes = explain("read", &path, fs::read(&path))?;
                let records = bytes.get(segment::HEADER_BYTES..).unwrap_or_default();
                if dir == &snapshots || records.iter().any(|byte| *byte != 0) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Refuses to make stores in these directories, which need not be there, when a disk has not
    /// the room that they take before anything is written.
    pub fn check_room(roots: &[&Path]) -> Result<(), StoreError> {
        room::check_new(roots, Options::default().segment_bytes)
    }

    /// The same of a store that was made, if nothing was ever written to it: it could take no
    /// write, not even that of an election. One that has been used starts on a full disk, to
    /// serve reads.
    pub fn check_first_room(root: &Path) -> Result<(), StoreError> {
        let checked = room::check_made(root, Options::default().segment_bytes);
        // To know whether it is unused takes reading all of it: only where it matters.
        if checked.is_ok() || FileStore::is_unused(root)? { checked } else { Ok(()) }
    }

    /// Looks at a store that nobody has open, and changes nothing.
    pub fn check(root: &Path, owner: Owner) -> Result<Checked, StoreError> {
        let options = Options { is_alone: true, ..Options::default() };
        check::check(&Home::new(root, owner, options))
    }

    /// What the groups of a store that nobody has open would find; changes nothing.
    pub fn look(
        root: &Path,
        owner: Owner,
    ) -> Result<BTreeMap<GroupId, RecoveredGroup>, StoreError> {
        let options = Options { is_alone: true, ..Options::default() };
        copy::look(&Home::new(root, owner, options))
    }

    /// Copies a store that nobody has open, durably, into a directory that has none. Refuses when
    /// its disk has not the room.
    pub fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
        copy::copy(from, to, Options::default().segment_bytes)
    }

    /// Removes one of the files that are kept for a full disk, of a store that nobody has opened.
    /// Whether there was one.
    pub fn give_up(root: &Path) -> Result<bool, StoreError> {
        Spares::give_up_one(&root.join("log"))
    }

    /// A store made earlier. Nothing is read before [`Store::recover`].
    pub fn open(root: &Path, owner: Owner, options: Options) -> FileStore {
        let home = Home::new(root, owner, options);
        let beside = Beside::new(home.clone(), Arc::new(DiskCounters::default()));
        let room_told = RoomTold::default();
        FileStore { home, beside: Arc::new(beside), phase: Phase::Closed, room_told }
    }

    fn refusal(&self) -> StoreError {
        StoreError::Io {
            action: "use the log after an earlier error in",
            path: self.home.log.clone(),
            source: io::Error::other("what reached the disk is not known"),
        }
    }
}

impl Store for FileStore {
    fn recover(&mut self) -> Result<BTreeMap<GroupId, RecoveredGroup>, StoreError> {
        match mem::replace(&mut self.phase, Phase::Refusing) {
            Phase::Closed => {
                let (log, groups) = recover::recover(&self.home, &self.beside)?;
                self.phase = Phase::Open(Box::new(log));
                Ok(groups)
            }
            Phase::Open(_) => panic!("a store recovers once, before any write"),
            Phase::Refusing => Err(self.refusal()),
        }
    }

    fn write(&mut self, batch: &[(GroupId, Write)]) -> Result<(), StoreError> {
        match self.at_work(|log| log.write(batch)) {
            Err(StoreError::Full { done, .. }) if self.beside.has_made_room(&self.room_told) => {
                let rest = self.at_work(|log| log.write(&batch[done..]));
                rest.map_err(|error| error.behind(done))
            }
            written => written,
        }
    }

    fn tend(&mut self) -> Result<DiskRoom, StoreError> {
        self.at_work(Log::tend)
    }

    fn rest(&mut self) -> Result<(), StoreError> {
        self.at_work(Log::rest)
    }

    fn let_go(&mut self, group: GroupId, first: Index) {
        if let Phase::Open(log) = &mut self.phase {
            log.let_go(group, first);
        }
    }

    fn wanted(&mut self) -> BTreeSet<GroupId> {
        match &mut self.phase {
            Phase::Open(log) => log.take_wanted(),
            Phase::Closed | Phase::Refusing => BTreeSet::new(),
        }
    }

    fn aside(&self) -> Arc<dyn Aside> {
        self.beside.clone()
    }
}

impl FileStore {
    /// Does something with the open log. Every error but a lack of room is the last.
    fn at_work<T>(
        &mut self,
        work: impl FnOnce(&mut Log) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match mem::replace(&mut self.phase, Phase::Refusing) {
            Phase::Open(mut log) => {
                let worked = work(&mut log);
                if matches!(worked, Ok(_) | Err(StoreError::Full { .. })) {
                    self.phase = Phase::Open(log);
                }
                worked
            }
            Phase::Closed => panic!("a store recovers before it is used"),
            Phase::Refusing => Err(self.refusal()),
        }
    }
}
