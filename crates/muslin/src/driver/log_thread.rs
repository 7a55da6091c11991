//! The thread that writes the log, and the one that does the rest of the disk's work beside it.
//!
//! Whatever came during the last sync goes out with the next. A snapshot that is to be saved takes
//! its turn behind the writes that were issued before it, and then goes to the other thread: it may
//! be large, and the log must not wait for it.

use super::heavy::Heavy;
use super::held::Held;
use crate::store::{Aside, Damage, DiskCounters, Scrubbed, Store, StoreError};
use bytes::Bytes;
use muslin_core::base::{GroupId, Index, PersistId};
use muslin_core::raft::{DiskRoom, Entry, Payload, Snapshot, Write};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc as async_mpsc;

/// Something on its way to the disk.
pub(super) enum Job {
    /// To the log, in order.
    Write { group: GroupId, id: PersistId, write: Write },
    /// To a file of its own, when all that was issued before is durable.
    Save(Save),
    /// Nothing: the replica holds no entries below this any more.
    LetGo { group: GroupId, first: Index },
}

/// A snapshot to be saved.
pub(super) struct Save {
    pub(super) group: GroupId,
    pub(super) snapshot: Snapshot,
    pub(super) keep_from: Index,
}

/// For the thread beside the log.
enum Chore {
    /// Save it.
    Save(Save),
    /// Hold it until nobody else does.
    Hold(Bytes),
}

/// What the threads report.
pub(super) enum Report {
    /// These writes became durable, and all before them of their groups.
    Durable(Vec<(GroupId, PersistId)>),
    /// A snapshot was saved.
    Saved { group: GroupId, index: Index },
    /// The disk became full, or has room again.
    Room(DiskRoom),
    /// A snapshot of this group is wanted, so that the log can let go of what is in the way.
    Wanted(GroupId),
    /// Damage was found, and is being put right.
    Damaged(Damage, Option<GroupId>),
    /// The node must not go on.
    Failed(StoreError),
}

/// Most writes carried out with one sync, so that a report is never long in coming.
const BATCH_MAX: usize = 4_096;

/// No more writes are added to a batch of this many bytes: it fits a segment.
const BATCH_BYTES_MAX: u64 = 8 << 20;

/// With nothing to write for so long, the store is told to rest: longer than a closed loop of
/// proposers takes between two batches.
const REST_AFTER: Duration = Duration::from_millis(5);

/// How often the store is tended when nothing is written, and how long a full disk is left alone.
const TEND_EVERY: Duration = Duration::from_secs(1);

/// A look through the disk begins at the start, and so long after the last one ended.
const SCRUB_EVERY: Duration = Duration::from_secs(12 * 60 * 60);

/// Read at a time, and how often: 8 MiB/s, which no disk feels.
const SCRUB_BYTES: u64 = 1 << 20;
const SCRUB_PAUSE: Duration = Duration::from_millis(125);

/// What a write weighs in the queue besides its payload: about the length of its record.
const WRITE_BYTES: u64 = 64;

/// The way to the threads.
pub(super) struct Desk {
    jobs: mpsc::Sender<Job>,
    chores: mpsc::Sender<Chore>,
    counters: Arc<DiskCounters>,
}

impl Desk {
    pub(super) fn write(&self, group: GroupId, id: PersistId, write: Write) {
        self.counters.issued(weight(&write));
        // The thread ends only after it reported why; the report is read next.
        let _ = self.jobs.send(Job::Write { group, id, write });
    }

    pub(super) fn save(&self, save: Save) {
        let _ = self.jobs.send(Job::Save(save));
    }

    pub(super) fn hold(&self, bytes: Bytes) {
        let _ = self.chores.send(Chore::Hold(bytes));
    }

    pub(super) fn let_go(&self, group: GroupId, first: Index) {
        let _ = self.jobs.send(Job::LetGo { group, first });
    }

    /// What the store counts.
    pub(super) fn counters(&self) -> Arc<DiskCounters> {
        self.counters.clone()
    }

    /// Bytes issued and not durable, about.
    pub(super) fn waiting_bytes(&self) -> u64 {
        self.counters.waiting_bytes()
    }
}

/// Starts the threads over a store that has recovered; what is held for a write goes out with its
/// end. They end when the desk is dropped, or after
/// the first error.
pub(super) fn start(
    store: Box<dyn Store>,
    reports: async_mpsc::UnboundedSender<Report>,
    held: Arc<Held>,
) -> std::io::Result<Desk> {
    let (sender, jobs) = mpsc::channel::<Job>();
    let (chores_sender, chores) = mpsc::channel::<Chore>();
    let aside = store.aside();
    let counters = aside.counters();
    let desk = Desk { jobs: sender, chores: chores_sender.clone(), counters: counters.clone() };
    let beside = Beside {
        aside,
        reports: reports.clone(),
        waiting: BTreeMap::new(),
        heavy: Heavy::default(),
        next_scrub: Instant::now(),
    };
    let log = LogThread {
        store,
        reports,
        held,
        chores: chores_sender,
        counters,
        room: DiskRoom::Room,
        is_resting: true,
        batch: Vec::new(),
        ids: Vec::new(),
        bytes: 0,
    };
    let spawn = |name: &str| std::thread::Builder::new().name(name.into());
    spawn("muslin-log").spawn(move || log.run(&jobs))?;
    spawn("muslin-disk").spawn(move || beside.run(&chores))?;
    Ok(desk)
}

struct LogThread {
    store: Box<dyn Store>,
    reports: async_mpsc::UnboundedSender<Report>,
    held: Arc<Held>,
    chores: mpsc::Sender<Chore>,
    counters: Arc<DiskCounters>,
    /// As last reported.
    room: DiskRoom,
    /// The store was told that nothing is to be written.
    is_resting: bool,
    batch: Vec<(GroupId, Write)>,
    /// Of the batch, in the same order.
    ids: Vec<(GroupId, PersistId)>,
    /// Weight of the batch.
    bytes: u64,
}

/// Nobody listens any more, or there is nothing more to be said: the thread ends.
struct Ended;

impl LogThread {
    fn run(mut self, jobs: &mpsc::Receiver<Job>) {
        while self.turn(jobs).is_ok() {}
    }

    /// One batch, or a pause.
    fn turn(&mut self, jobs: &mpsc::Receiver<Job>) -> Result<(), Ended> {
        let patience = if self.is_resting { TEND_EVERY } else { REST_AFTER };
        let first = match jobs.recv_timeout(patience) {
            Ok(job) => Some(job),
            Err(RecvTimeoutError::Timeout) if !self.is_resting => return self.rest(),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return Err(Ended),
        };
        let mut saves = Vec::new();
        for job in first.into_iter().chain(jobs.try_iter()) {
            match job {
                Job::Save(save) => saves.push(save),
                Job::LetGo { group, first } => self.store.let_go(group, first),
                Job::Write { group, id, write } => {
                    self.bytes += weight(&write);
                    self.batch.push((group, write));
                    self.ids.push((group, id));
                }
            }
            if self.batch.len() >= BATCH_MAX || self.bytes >= BATCH_BYTES_MAX {
                break;
            }
        }
        self.carry_out()?;
        for save in saves {
            // The other thread ends only after it reported why.
            let _ = self.chores.send(Chore::Save(save));
        }
        self.tend()
    }

    /// Writes the batch, however long that takes: a full disk is tried again and again.
    fn carry_out(&mut self) -> Result<(), Ended> {
        while !self.batch.is_empty() {
            self.is_resting = false;
            let written = self.store.write(&self.batch);
            let done = match &written {
                Ok(()) => self.batch.len(),
                Err(StoreError::Full { done, .. }) => *done,
                Err(_) => return self.fail(written),
            };
            self.batch.drain(..done).for_each(drop);
            let ids = last_of_each(self.ids.drain(..done));
            let left = self.batch.iter().map(|(_, write)| weight(write)).sum();
            self.counters.done(done as u64, self.bytes - left);
            self.bytes = left;
            if !ids.is_empty() {
                self.report(Report::Durable(ids.clone()))?;
                self.held.release(&ids);
            }
            if written.is_err() {
                self.tell_room(DiskRoom::Full)?;
                std::thread::sleep(TEND_EVERY);
                self.tend_full()?;
            }
        }
        Ok(())
    }

    fn rest(&mut self) -> Result<(), Ended> {
        self.is_resting = true;
        let rested = self.store.rest();
        if rested.is_ok() { Ok(()) } else { self.fail(rested) }
    }

    fn tend(&mut self) -> Result<(), Ended> {
        match self.store.tend() {
            Ok(room) => self.tell_room(room)?,
            Err(error) => return self.fail(Err(error)),
        }
        self.store.wanted().into_iter().try_for_each(|group| self.report(Report::Wanted(group)))
    }

    /// Between two attempts: whether there is room is told when the write has gone through.
    fn tend_full(&mut self) -> Result<(), Ended> {
        match self.store.tend() {
            Ok(_) if self.reports.is_closed() => Err(Ended),
            Ok(_) => Ok(()),
            Err(error) => self.fail(Err(error)),
        }
    }

    fn tell_room(&mut self, room: DiskRoom) -> Result<(), Ended> {
        if room == self.room {
            return Ok(());
        }
        self.room = room;
        self.report(Report::Room(room))
    }

    fn fail(&mut self, result: Result<(), StoreError>) -> Result<(), Ended> {
        if let Err(error) = result {
            self.report(Report::Failed(error))?;
        }
        Err(Ended)
    }

    fn report(&self, report: Report) -> Result<(), Ended> {
        self.reports.send(report).map_err(|_| Ended)
    }
}

/// What happens beside the log: snapshots, and a look at what was written.
struct Beside {
    aside: Arc<dyn Aside>,
    reports: async_mpsc::UnboundedSender<Report>,
    /// The latest snapshot of each group that is to be saved.
    waiting: BTreeMap<GroupId, Save>,
    heavy: Heavy,
    next_scrub: Instant,
}

impl Beside {
    fn run(mut self, chores: &mpsc::Receiver<Chore>) {
        while self.turn(chores).is_ok() {}
    }

    fn turn(&mut self, chores: &mpsc::Receiver<Chore>) -> Result<(), Ended> {
        let mut wait = self.next_scrub.saturating_duration_since(Instant::now());
        if !self.waiting.is_empty() || !self.heavy.is_empty() {
            wait = wait.min(TEND_EVERY);
        }
        match chores.recv_timeout(wait) {
            Ok(chore) => self.take(chore),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(Ended),
        }
        chores.try_iter().for_each(|chore| self.take(chore));
        self.save_all()?;
        self.heavy.let_go();
        if self.next_scrub <= Instant::now() { self.scrub() } else { Ok(()) }
    }

    fn take(&mut self, chore: Chore) {
        match chore {
            Chore::Save(save) => drop(self.waiting.insert(save.group, save)),
            Chore::Hold(bytes) => self.heavy.hold(bytes),
        }
    }

    /// What finds no room waits.
    fn save_all(&mut self) -> Result<(), Ended> {
        for (group, save) in std::mem::take(&mut self.waiting) {
            let index = save.snapshot.meta.last.index;
            match self.aside.save(group, &save.snapshot, save.keep_from) {
                Ok(()) => self.report(Report::Saved { group, index })?,
                Err(StoreError::Full { .. }) => drop(self.waiting.insert(group, save)),
                Err(error) => return self.fail(error),
            }
        }
        Ok(())
    }

    fn scrub(&mut self) -> Result<(), Ended> {
        let pause = match self.aside.scrub(SCRUB_BYTES) {
            Ok(Scrubbed::Some) => SCRUB_PAUSE,
            Ok(Scrubbed::All) => SCRUB_EVERY,
            Ok(Scrubbed::Damaged(damage)) => {
                self.report(Report::Damaged(damage, None))?;
                SCRUB_PAUSE
            }
            Ok(Scrubbed::SnapshotDamaged(group, damage)) => {
                self.report(Report::Damaged(damage, Some(group)))?;
                SCRUB_PAUSE
            }
            Err(error) => return self.fail(error),
        };
        self.next_scrub = Instant::now() + pause;
        Ok(())
    }

    fn fail(&self, error: StoreError) -> Result<(), Ended> {
        self.report(Report::Failed(error))?;
        Err(Ended)
    }

    fn report(&self, report: Report) -> Result<(), Ended> {
        self.reports.send(report).map_err(|_| Ended)
    }
}

/// The last write of each group: it stands for all before it.
fn last_of_each(ids: impl Iterator<Item = (GroupId, PersistId)>) -> Vec<(GroupId, PersistId)> {
    ids.collect::<BTreeMap<_, _>>().into_iter().collect()
}

/// What a write costs while it waits, in bytes.
fn weight(write: &Write) -> u64 {
    let payload = |entry: &Entry| match &entry.payload {
        Payload::Command(command) => command.len() as u64,
        Payload::Empty | Payload::Configuration(_) => 0,
    };
    match write {
        Write::Log { entries, .. } => {
            WRITE_BYTES + entries.iter().map(|entry| WRITE_BYTES + payload(entry)).sum::<u64>()
        }
        Write::Snapshot { snapshot, .. } => WRITE_BYTES + snapshot.data.len() as u64,
    }
}
