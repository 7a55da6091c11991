//! What survives a crash: the log, the hard state and the snapshots of every group of a node.
//!
//! [`mod@file`] is the real one; [`mem`] its twin in memory, which can crash on purpose.
//! [`contract`] is what both, and any other, must obey.

pub mod contract;
mod counters;
mod error;
pub mod file;
pub mod mem;

pub use counters::{DiskCounters, DiskNumbers, SYNC_CLASSES_US};
pub use error::StoreError;

use muslin_core::base::{GroupId, Index};
use muslin_core::raft::{DiskRoom, Recovered, Snapshot, Write};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Keeps what must not be lost.
///
/// Used by one thread, the node's log thread; every method may block on the disk. After an error
/// other than [`StoreError::Full`] the store refuses everything: a failed sync is never tried
/// again, the process stops and recovers.
pub trait Store: Send + 'static {
    /// Reads what is there. Called once, before any write. What was damaged is not refused: it is
    /// put aside, and the groups that it concerned are handed out as far as they can be vouched
    /// for, rebuilding.
    fn recover(&mut self) -> Result<BTreeMap<GroupId, RecoveredGroup>, StoreError>;

    /// Carries the writes out in order. When it returns, all of them are durable (one sync for all
    /// log writes of the batch). On [`StoreError::Full`] its first `done` writes are, and the call
    /// comes again with the rest; on any other error none may be reported as durable.
    fn write(&mut self, batch: &[(GroupId, Write)]) -> Result<(), StoreError>;

    /// Looks after what is written: lets go of what [`Aside::save`] made needless, repairs what
    /// [`Aside::scrub`] found, makes room ahead of need, and says whether there is enough. Called
    /// between batches, and about once a second when there are none.
    fn tend(&mut self) -> Result<DiskRoom, StoreError>;

    /// Says on the disk that what was written before is durable, so that damage there is not taken
    /// for a write that a crash cut short. Called once when no batch has come for a moment; the
    /// next batch says it otherwise.
    fn rest(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// The replica of a group holds no entries below this in memory any more, and a store that
    /// holds them beside it may let go of them too. The disk still needs them.
    fn let_go(&mut self, group: GroupId, first: Index) {
        let _ = (group, first);
    }

    /// Groups of which a snapshot is wanted, told once: the disk needs entries for lack of one that
    /// stand in the way, and that are not in memory to be written elsewhere. Asked behind
    /// [`Store::tend`].
    fn wanted(&mut self) -> BTreeSet<GroupId> {
        BTreeSet::new()
    }

    /// What is done beside the log. Called behind [`Store::recover`].
    fn aside(&self) -> Arc<dyn Aside>;
}

/// What a store does on another thread than the log's, so that nothing there waits for it.
pub trait Aside: Send + Sync + 'static {
    /// Replaces a group's saved snapshot, durably, unless a later one was installed meanwhile. All
    /// that was written of the group up to the snapshot's end must be durable. On
    /// [`StoreError::Full`] it is given again later.
    fn save(&self, group: GroupId, snapshot: &Snapshot, keep_from: Index)
    -> Result<(), StoreError>;

    /// Reads on for about so many bytes where the last call ended, and looks whether that is still
    /// what was written. What is damaged is put right by the next [`Store::tend`], or told by its
    /// error.
    fn scrub(&self, bytes: u64) -> Result<Scrubbed, StoreError>;

    /// What the store counts.
    fn counters(&self) -> Arc<DiskCounters>;
}

/// How far a look through the disk has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scrubbed {
    /// There is more.
    Some,
    /// All that was there was read.
    All,
    /// This was found in the log. The next [`Store::tend`] writes again what it held, as far as
    /// that is in memory; otherwise a snapshot is wanted.
    Damaged(Damage),
    /// This was found in the snapshot of a group: another must be saved in its place.
    SnapshotDamaged(GroupId, Damage),
}

/// What is wrong with a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// Which one.
    pub path: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// What, in a few words.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage { path, offset, what } = self;
        write!(f, "{} is damaged at byte {offset}: {what}", path.display())
    }
}

/// What a group finds.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RecoveredGroup {
    /// Log, hard state and what the snapshot stands for.
    pub raft: Recovered,
    /// The snapshot's state, if one was ever saved.
    pub snapshot: Option<Snapshot>,
    /// What was cut from the tail: bytes of records that were never acknowledged.
    pub torn_bytes: u64,
    /// What this start found damaged, if that concerns this group: then it rebuilds.
    pub damage: Option<Damage>,
}
