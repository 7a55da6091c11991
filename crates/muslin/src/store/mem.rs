//! The store in memory, for tests: what was written survives the store, as long as its disk is
//! held, and the disk can be told to fail.

use super::{Aside, Damage, DiskCounters, RecoveredGroup, Scrubbed, Store, StoreError};
use muslin_core::base::{GroupId, Index, LogId};
use muslin_core::raft::{DiskRoom, Entry, HardState, Recovered, Snapshot, Write};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What survives when a [`MemStore`] is dropped. Clones are the same disk.
#[derive(Clone, Default)]
pub struct Disk {
    platter: Arc<Mutex<Platter>>,
}

/// What a failing write leaves behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leaves {
    /// Nothing of the batch.
    Nothing,
    /// This many of its writes, whole; the next one is torn, and recovery reports it cut.
    Some(usize),
}

#[derive(Default)]
struct Platter {
    groups: BTreeMap<GroupId, Group>,
    failure: Option<Failure>,
    is_damaged: bool,
    is_full: bool,
    is_torn: bool,
    writes: u64,
    /// Counts stores; only the latest may write, as only one process can hold a directory.
    store: u64,
}

struct Failure {
    writes_left: u64,
    leaves: Leaves,
}

#[derive(Clone, Default)]
struct Group {
    hard_state: HardState,
    snapshot: Option<Snapshot>,
    entries: Vec<Entry>,
}

impl Disk {
    /// An empty one.
    pub fn new() -> Disk {
        Disk::default()
    }

    /// The call of [`Store::write`] after `writes` more that succeed fails, once.
    pub fn fail_after(&self, writes: u64, leaves: Leaves) {
        self.platter().failure = Some(Failure { writes_left: writes, leaves });
    }

    /// The next recovery finds the logs of all groups damaged: it has their snapshots alone.
    pub fn damage(&self) {
        self.platter().is_damaged = true;
    }

    /// Whether there is no room from here on: but for hard states, which always fit.
    pub fn fill(&self, is_full: bool) {
        self.platter().is_full = is_full;
    }

    /// How many calls of [`Store::write`] succeeded.
    pub fn writes(&self) -> u64 {
        self.platter().writes
    }

    /// A disk of its own with what is on this one: a crash image.
    pub fn image(&self) -> Disk {
        let groups = self.platter().groups.clone();
        Disk { platter: Arc::new(Mutex::new(Platter { groups, ..Platter::default() })) }
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        // A test that panicked elsewhere leaves whole batches only.
        self.platter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The store in memory. Dropping it is a crash; another one on the same [`Disk`] recovers.
pub struct MemStore {
    disk: Disk,
    phase: Phase,
}

enum Phase {
    Closed,
    /// With the number that the disk gave this store.
    Open(u64),
    Refusing,
}

impl MemStore {
    /// On a disk.
    pub fn new(disk: Disk) -> MemStore {
        MemStore { disk, phase: Phase::Closed }
    }
}

impl Store for MemStore {
    fn recover(&mut self) -> Result<BTreeMap<GroupId, RecoveredGroup>, StoreError> {
        assert!(matches!(self.phase, Phase::Closed), "a store recovers once, before any write");
        self.phase = Phase::Refusing;
        let mut platter = self.disk.platter();
        let damage = std::mem::take(&mut platter.is_damaged).then(|| {
            let what = "damaged on purpose".to_owned();
            Damage { path: PathBuf::from("memory"), offset: 0, what }
        });
        if damage.is_some() {
            platter.groups.entry(GroupId::CONTROL).or_default();
            platter.groups.values_mut().for_each(Group::lose_log);
        }
        platter.store += 1;
        self.phase = Phase::Open(platter.store);
        let mut torn = u64::from(std::mem::take(&mut platter.is_torn));
        let groups = platter.groups.iter().map(|(id, group)| {
            let torn_bytes = std::mem::take(&mut torn);
            (*id, RecoveredGroup { torn_bytes, damage: damage.clone(), ..group.recovered() })
        });
        Ok(groups.collect())
    }

    fn write(&mut self, batch: &[(GroupId, Write)]) -> Result<(), StoreError> {
        let mut platter = self.disk.platter();
        match self.phase {
            Phase::Closed => panic!("a store recovers before it is written to"),
            Phase::Open(store) if store == platter.store => {}
            Phase::Open(_) | Phase::Refusing => {
                return Err(refused("an earlier error, or a later store on this disk"));
            }
        }
        let fits =
            |write: &Write| matches!(write, Write::Log { entries, .. } if entries.is_empty());
        if platter.is_full
            && let Some(done) = batch.iter().position(|(_, write)| !fits(write))
        {
            for (id, write) in batch[..done].iter().filter(|(_, write)| !is_nothing(write)) {
                platter.groups.entry(*id).or_default().write(*id, write);
            }
            return Err(StoreError::Full { path: PathBuf::from("memory"), done });
        }
        let failed = platter.next_fails();
        let carried = match failed {
            None => batch.len(),
            Some(Leaves::Nothing) => 0,
            Some(Leaves::Some(writes)) => writes.min(batch.len()),
        };
        for (id, write) in batch[..carried].iter().filter(|(_, write)| !is_nothing(write)) {
            platter.groups.entry(*id).or_default().write(*id, write);
        }
        if failed.is_some() {
            platter.is_torn = carried < batch.len() && failed != Some(Leaves::Nothing);
            self.phase = Phase::Refusing;
            return Err(refused("a failure made on purpose"));
        }
        platter.writes += 1;
        Ok(())
    }

    fn tend(&mut self) -> Result<DiskRoom, StoreError> {
        let platter = self.disk.platter();
        match self.phase {
            Phase::Closed => panic!("a store recovers before it is used"),
            Phase::Open(_) if platter.is_full => Ok(DiskRoom::Full),
            Phase::Open(_) => Ok(DiskRoom::Room),
            Phase::Refusing => Err(refused("an earlier error")),
        }
    }

    fn aside(&self) -> Arc<dyn Aside> {
        let Phase::Open(store) = self.phase else { panic!("a store recovers before it is used") };
        Arc::new(MemAside { disk: self.disk.clone(), store, counters: Arc::default() })
    }
}

/// What is done beside the log of a [`MemStore`].
struct MemAside {
    disk: Disk,
    store: u64,
    counters: Arc<DiskCounters>,
}

impl Aside for MemAside {
    fn save(
        &self,
        group: GroupId,
        snapshot: &Snapshot,
        keep_from: Index,
    ) -> Result<(), StoreError> {
        let mut platter = self.disk.platter();
        if self.store != platter.store {
            return Err(refused("a later store on this disk"));
        }
        if platter.is_full {
            return Err(StoreError::Full { path: PathBuf::from("memory"), done: 0 });
        }
        let found = platter.groups.entry(group).or_default();
        let before = found.snapshot.as_ref().map(|snapshot| snapshot.meta.last.index);
        if before < Some(snapshot.meta.last.index) {
            let snapshot = snapshot.clone();
            found.write(group, &Write::Snapshot { snapshot, keep_from, discard_log: false });
        }
        Ok(())
    }

    fn scrub(&self, _: u64) -> Result<Scrubbed, StoreError> {
        Ok(Scrubbed::All)
    }

    fn counters(&self) -> Arc<DiskCounters> {
        self.counters.clone()
    }
}

/// Says nothing of any group, not even that it exists.
fn is_nothing(write: &Write) -> bool {
    matches!(write, Write::Log { hard_state: None, entries } if entries.is_empty())
}

fn refused(why: &'static str) -> StoreError {
    let path = PathBuf::from("memory");
    StoreError::Io { action: "write to", path, source: io::Error::other(why) }
}

impl Platter {
    fn next_fails(&mut self) -> Option<Leaves> {
        let failure = self.failure.as_mut()?;
        if failure.writes_left > 0 {
            failure.writes_left -= 1;
            return None;
        }
        self.failure.take().map(|failure| failure.leaves)
    }
}

impl Group {
    fn write(&mut self, id: GroupId, write: &Write) {
        match write {
            Write::Log { hard_state, entries } => {
                for entry in entries {
                    self.put(id, entry);
                }
                self.hard_state = hard_state.unwrap_or(self.hard_state);
            }
            Write::Snapshot { snapshot, keep_from, discard_log } => {
                let last = snapshot.meta.last.index;
                if *discard_log || self.last() < last {
                    self.entries.clear();
                }
                self.entries.retain(|entry| entry.id.index >= (*keep_from).min(last.next()));
                self.snapshot = Some(snapshot.clone());
            }
        }
    }

    fn put(&mut self, id: GroupId, entry: &Entry) {
        let index = entry.id.index;
        assert!(index <= self.last().next(), "{id}: entry {index} does not follow {}", self.last());
        assert!(index > self.snapshot_last(), "{id}: R3: entry {index} is in the snapshot");
        let first = self.entries.first().map_or(index, |entry| entry.id.index);
        self.entries.truncate(index.0.saturating_sub(first.0) as usize);
        self.entries.push(entry.clone());
    }

    fn snapshot_last(&self) -> Index {
        self.snapshot.as_ref().map_or(Index::ZERO, |snapshot| snapshot.meta.last.index)
    }

    fn last(&self) -> Index {
        self.entries.last().map_or(self.snapshot_last(), |entry| entry.id.index)
    }

    fn recovered(&self) -> RecoveredGroup {
        let snapshot = self.snapshot.as_ref().map(|snapshot| snapshot.meta.clone());
        let raft = Recovered {
            hard_state: self.hard_state,
            snapshot: snapshot.unwrap_or_default(),
            entries: self.entries.clone(),
        };
        RecoveredGroup { raft, snapshot: self.snapshot.clone(), ..RecoveredGroup::default() }
    }

    /// What can be vouched for when the log cannot be read.
    fn lose_log(&mut self) {
        let last = self.snapshot.as_ref().map_or(LogId::ZERO, |snapshot| snapshot.meta.last);
        self.entries.clear();
        self.hard_state.commit = self.hard_state.commit.min(last.index);
        self.hard_state.rebuilding = true;
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract::{self, History, Subject};
    use super::*;
    use muslin_core::raft::Entries;

    struct Memory;

    impl Subject for Memory {
        type Disk = Disk;
        type Store = MemStore;

        fn disk(&self) -> Disk {
            Disk::new()
        }

        fn open(&self, disk: &Disk) -> MemStore {
            MemStore::new(disk.clone())
        }
    }

    #[test]
    fn the_contract_is_kept() {
        contract::check_all(&Memory);
    }

    #[test]
    fn a_failed_write_leaves_what_it_was_told_to_and_the_store_refuses() {
        for leaves in [Leaves::Nothing, Leaves::Some(0), Leaves::Some(1)] {
            let (disk, mut history) = (Disk::new(), History::new(1));
            let mut store = MemStore::new(disk.clone());
            store.recover().unwrap();
            let first = history.batch();
            store.write(&first).unwrap();
            disk.fail_after(1, leaves);
            store.write(&[]).unwrap();
            let before = history.groups().clone();
            let whole = (0..).map(|_| history.batch()).find(|batch| batch.len() > 1).unwrap();
            assert!(matches!(store.write(&whole), Err(StoreError::Io { .. })));
            assert!(matches!(store.write(&first), Err(StoreError::Io { .. })), "once is for ever");
            let found = MemStore::new(disk.clone()).recover().unwrap();
            let torn: u64 = found.values().map(|group| group.torn_bytes).sum();
            assert_eq!(torn > 0, leaves != Leaves::Nothing);
            if leaves == Leaves::Nothing {
                assert!(found.keys().all(|id| before.contains_key(id)));
            }
            assert_eq!(disk.writes(), 2);
        }
    }

    #[test]
    fn an_image_and_a_later_store_shut_the_earlier_one_out() {
        let (disk, mut history) = (Disk::new(), History::new(2));
        let mut store = MemStore::new(disk.clone());
        store.recover().unwrap();
        store.write(&history.batch()).unwrap();
        let image = disk.image();
        let mut later = MemStore::new(disk.clone());
        later.recover().unwrap();
        assert!(store.write(&[]).is_err(), "only the latest store may write");
        assert_eq!(MemStore::new(image).recover().unwrap(), *history.groups());
    }

    #[test]
    fn damage_leaves_the_snapshots_and_is_told_once() {
        let (disk, mut history) = (Disk::new(), History::new(3));
        let mut store = MemStore::new(disk.clone());
        store.recover().unwrap();
        (0..20).for_each(|_| store.write(&history.batch()).unwrap());
        disk.damage();
        let found = MemStore::new(disk.clone()).recover().unwrap();
        assert!(found.contains_key(&GroupId::CONTROL));
        assert!(
            found.values().all(|group| group.damage.is_some() && group.raft.entries.is_empty())
        );
        assert!(found.values().all(|group| group.raft.hard_state.rebuilding));
        let again = MemStore::new(disk).recover().unwrap();
        assert!(again.values().all(|group| group.damage.is_none()));
        assert!(again.values().all(|group| group.raft.hard_state.rebuilding), "until it is done");
    }

    #[test]
    fn a_full_disk_takes_hard_states_alone_and_goes_on_when_there_is_room() {
        let (disk, mut history) = (Disk::new(), History::new(4));
        let mut store = MemStore::new(disk.clone());
        store.recover().unwrap();
        disk.fill(true);
        let hard_state = HardState { term: muslin_core::base::Term(1), ..HardState::default() };
        let vote = Write::Log { hard_state: Some(hard_state), entries: Entries::new() };
        let mut batch = vec![(GroupId(9), vote)];
        batch.extend(history.batch());
        let Err(StoreError::Full { done, .. }) = store.write(&batch) else { panic!("it is full") };
        assert!(done >= 1);
        assert_eq!(store.tend().unwrap(), DiskRoom::Full);
        disk.fill(false);
        store.write(&batch[done..]).unwrap();
        assert_eq!(store.tend().unwrap(), DiskRoom::Room);
        let mut found = MemStore::new(disk).recover().unwrap();
        assert_eq!(found.remove(&GroupId(9)).unwrap().raft.hard_state, hard_state);
        assert_eq!(found, *history.groups());
    }
}
