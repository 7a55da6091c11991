//! The disk of one simulated machine: what is written becomes durable later, in order, and a crash
//! takes what was not.

use crate::trace::payload_hash;
use muslin_core::base::mutant::{self, Mutant};
use muslin_core::base::{Index, LogId, PersistId, Term};
use muslin_core::node;
use muslin_core::raft::{self, Entry, HardState, Payload, Snapshot, SnapshotMeta, Write};
use std::collections::VecDeque;

/// What a disk holds at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Image {
    pub(crate) hard_state: HardState,
    snapshot: Option<Snapshot>,
    entries: VecDeque<Entry>,
}

impl Image {
    /// Carries out one write.
    fn apply(&mut self, write: Write) {
        match write {
            Write::Log { hard_state, entries } => {
                if let Some(hard_state) = hard_state {
                    self.hard_state = hard_state;
                }
                self.append(entries);
            }
            Write::Snapshot { snapshot, keep_from, discard_log } => {
                if discard_log {
                    self.entries.clear();
                }
                while self.entries.front().is_some_and(|entry| entry.id.index < keep_from) {
                    self.entries.pop_front();
                }
                self.snapshot = Some(snapshot);
            }
        }
    }

    fn append(&mut self, entries: Vec<Entry>) {
        let Some(first) = entries.first().map(|entry| entry.id.index) else { return };
        while self.entries.back().is_some_and(|entry| entry.id.index >= first) {
            self.entries.pop_back();
        }
        let before = self.entries.back().map_or(self.snapshot_last().index, |entry| entry.id.index);
        assert!(
            first == before.next() || self.entries.is_empty() && first <= before.next(),
            "a log has no gaps: {first} is written after {before}"
        );
        self.entries.extend(entries);
    }

    fn snapshot_last(&self) -> LogId {
        self.snapshot.as_ref().map_or(LogId::ZERO, |snapshot| snapshot.meta.last)
    }

    /// The last entry here, in the log or under the snapshot.
    pub(crate) fn last(&self) -> LogId {
        let log = self.entries.back().map_or(LogId::ZERO, |entry| entry.id);
        if log.index >= self.snapshot_last().index { log } else { self.snapshot_last() }
    }

    /// Whether this very entry is here, by itself or under the snapshot.
    pub(crate) fn has(&self, id: LogId) -> bool {
        match self.term_at(id.index) {
            Some(term) => term == id.term,
            // What a snapshot covers was committed; other checks see to it that there is one such
            // log.
            None => id.index <= self.snapshot_last().index,
        }
    }

    fn term_at(&self, index: Index) -> Option<Term> {
        let first = self.entries.front()?.id.index.0;
        let place = usize::try_from(index.0.checked_sub(first)?).ok()?;
        self.entries.get(place).map(|entry| entry.id.term)
    }
}

/// A disk with its queue of writes.
#[derive(Debug)]
pub(crate) struct Disk {
    /// Who votes before the first entry.
    founding: raft::Configuration,
    durable: Image,
    /// Issued and not durable, oldest first.
    pending: VecDeque<(PersistId, Write)>,
    /// How many of the pending are in the sync under way; none means the disk rests.
    syncing: usize,
    /// The newest durable write of this process.
    durable_id: PersistId,
    /// The snapshot being saved: the write after which it is issued, and where it ends.
    saving: Option<(PersistId, Index)>,
    written: Written,
}

impl Disk {
    /// An empty disk of a node of a cluster founded with these voters.
    pub(crate) fn empty(founding: raft::Configuration) -> Disk {
        let durable = Image::default();
        let written = Written::of(&durable, &founding);
        let (pending, durable_id) = (VecDeque::new(), PersistId::ZERO);
        Disk { founding, durable, pending, syncing: 0, durable_id, saving: None, written }
    }

    /// What would survive the harshest crash at this moment.
    pub(crate) fn durable(&self) -> &Image {
        &self.durable
    }

    /// The newest durable write.
    pub(crate) fn durable_id(&self) -> PersistId {
        self.durable_id
    }

    /// The log as the node sees it: with all it has issued.
    pub(crate) fn written(&self) -> &Written {
        &self.written
    }

    /// The node has decided on a write: seen in [`Disk::written`] before it is issued.
    pub(crate) fn note(&mut self, write: &Write) {
        self.written.apply(write);
    }

    /// What was noted has been looked at.
    pub(crate) fn trim(&mut self) {
        self.written.trim();
    }

    /// Takes a write that was noted.
    pub(crate) fn issue(&mut self, id: PersistId, write: Write) {
        self.pending.push_back((id, write));
    }

    /// Takes a snapshot to save: it goes along with the writes, after what was issued.
    pub(crate) fn save(&mut self, snapshot: Snapshot, keep_from: Index) {
        let id = self.pending.back().map_or(self.durable_id, |(id, _)| *id);
        self.saving = Some((id, snapshot.meta.last.index));
        let write = Write::Snapshot { snapshot, keep_from, discard_log: false };
        self.note(&write);
        self.pending.push_back((id, write));
    }

    /// The snapshot that was saved by the last sync, if one was.
    pub(crate) fn take_saved(&mut self) -> Option<Index> {
        let is_saved = !self
            .pending
            .iter()
            .any(|(_, write)| matches!(write, Write::Snapshot { discard_log: false, .. }));
        self.saving.take_if(|_| is_saved).map(|(_, index)| index)
    }

    /// Starts a sync of at most `most` writes if the disk rests and something waits: how many.
    pub(crate) fn start_sync(&mut self, most: usize) -> Option<usize> {
        if self.syncing > 0 || self.pending.is_empty() {
            return None;
        }
        self.syncing = self.pending.len().min(most.max(1));
        Some(self.syncing)
    }

    /// The sync is over: which writes are durable from here on.
    pub(crate) fn finish_sync(&mut self) -> Vec<PersistId> {
        let count = std::mem::take(&mut self.syncing);
        let done: Vec<(PersistId, Write)> = self.pending.drain(..count).collect();
        let mut ids = Vec::with_capacity(count);
        for (id, write) in done {
            self.durable.apply(write);
            self.durable_id = id;
            ids.push(id);
        }
        ids
    }

    /// Power is gone. Of the writes under way a prefix may have made it: the first `survivors`, and
    /// of the one after them the first `torn` entries if it is one to the log.
    pub(crate) fn crash(&mut self, survivors: usize, torn: usize) {
        let survivors = survivors.min(self.pending.len());
        let mut pending = std::mem::take(&mut self.pending).into_iter();
        for (_, write) in pending.by_ref().take(survivors) {
            self.durable.apply(write);
        }
        match pending.next() {
            Some((_, Write::Log { hard_state, mut entries })) if torn > 0 => {
                // The record of the hard state stands before those of the entries.
                entries.truncate(torn - 1);
                self.durable.apply(Write::Log { hard_state, entries });
            }
            Some((_, Write::Snapshot { mut snapshot, keep_from, discard_log }))
                if mutant::is_active(Mutant::IndexAheadOfState) =>
            {
                // Two files, of which the crash let one be replaced.
                if let Some(before) = &self.durable.snapshot {
                    snapshot.data = before.data.clone();
                    self.durable.apply(Write::Snapshot { snapshot, keep_from, discard_log });
                }
            }
            _ => {}
        }
        self.syncing = 0;
        self.saving = None;
        self.durable_id = PersistId::ZERO;
        self.written = Written::of(&self.durable, &self.founding);
    }

    /// How many writes are under way.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// What a node finds when it starts.
    pub(crate) fn recovered(&self) -> node::Recovered {
        let meta = self.durable.snapshot.as_ref().map(|snapshot| snapshot.meta.clone());
        node::Recovered {
            raft: raft::Recovered {
                hard_state: self.durable.hard_state,
                snapshot: meta.unwrap_or_default(),
                entries: self.durable.entries.iter().cloned().collect(),
            },
            snapshot: self.durable.snapshot.as_ref().map(|snapshot| snapshot.data.clone()),
            ..node::Recovered::default()
        }
    }
}

/// A place of a log, in short: its term, and a hash of what it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) term: Term,
    pub(crate) hash: u64,
    pub(crate) is_configuration: bool,
}

/// The log of a node as written, durable or not.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// The last entry under the snapshot.
    base: SnapshotMeta,
    /// Index of the front of `places`.
    first: u64,
    places: VecDeque<Place>,
    /// Below this nothing is needed.
    keep_from: Index,
    /// Configurations in the log, by index.
    configurations: VecDeque<(Index, raft::Configuration)>,
    /// Those replaced since the last look: something may have been committed under them before.
    replaced: Vec<raft::Configuration>,
}

impl Written {
    fn of(image: &Image, founding: &raft::Configuration) -> Written {
        let base = match &image.snapshot {
            Some(snapshot) => snapshot.meta.clone(),
            None => SnapshotMeta { last: LogId::ZERO, configuration: founding.clone() },
        };
        let mut written = Written { base, ..Written::default() };
        for entry in &image.entries {
            written.append(entry);
        }
        written
    }

    fn apply(&mut self, write: &Write) {
        match write {
            Write::Log { entries, .. } => {
                for entry in entries {
                    self.append(entry);
                }
            }
            Write::Snapshot { snapshot, keep_from, discard_log } => {
                if *discard_log {
                    self.places.clear();
                    self.configurations.clear();
                }
                self.keep_from = *keep_from;
                self.base = snapshot.meta.clone();
            }
        }
    }

    /// Forgets what a snapshot made superfluous. Not at once: what it covers may have been
    /// committed in the same batch, and is looked at first.
    pub(crate) fn trim(&mut self) {
        self.replaced.clear();
        while !self.places.is_empty() && self.first < self.keep_from.0 {
            self.places.pop_front();
            self.first += 1;
        }
    }

    fn append(&mut self, entry: &Entry) {
        let index = entry.id.index.0;
        if self.places.is_empty() {
            self.first = index;
        }
        assert!(index >= self.first, "a log is not written before its beginning");
        self.places.truncate((index - self.first) as usize);
        while self.configurations.back().is_some_and(|(at, _)| at.0 >= index) {
            self.replaced.extend(self.configurations.pop_back().map(|(_, it)| it));
        }
        let is_configuration = match &entry.payload {
            Payload::Configuration(configuration) => {
                self.configurations.push_back((entry.id.index, configuration.clone()));
                true
            }
            Payload::Empty | Payload::Command(_) => false,
        };
        let place =
            Place { term: entry.id.term, hash: payload_hash(&entry.payload), is_configuration };
        self.places.push_back(place);
    }

    /// What stands at an index, if the log reaches there.
    pub(crate) fn at(&self, index: Index) -> Option<Place> {
        let place = usize::try_from(index.0.checked_sub(self.first)?).ok()?;
        self.places.get(place).copied()
    }

    /// The term at an index, also where the snapshot ends.
    pub(crate) fn term_at(&self, index: Index) -> Option<Term> {
        match self.at(index) {
            Some(place) => Some(place.term),
            None if index == self.base.last.index => Some(self.base.last.term),
            None => None,
        }
    }

    /// The last entry written, or the snapshot's.
    pub(crate) fn last(&self) -> Index {
        let written = (self.first + self.places.len() as u64).saturating_sub(1);
        self.base.last.index.max(Index(written))
    }

    /// The last entry under the snapshot.
    pub(crate) fn base(&self) -> &SnapshotMeta {
        &self.base
    }

    /// The configurations in the log from the one in force at `index` on.
    pub(crate) fn voters_from(&self, index: Index) -> Vec<&raft::Configuration> {
        let later = self.configurations.partition_point(|(at, _)| *at <= index);
        let base = (later == 0).then_some(&self.base.configuration);
        let present = self.configurations.iter().skip(later.saturating_sub(1)).map(|(_, it)| it);
        base.into_iter().chain(present).collect()
    }

    /// Configurations from the one in force at `index` on; the first may be the snapshot's. Then
    /// those that were there until a moment ago.
    pub(crate) fn configurations_from(
        &self,
        index: Index,
    ) -> impl Iterator<Item = &raft::Configuration> {
        let later = self.configurations.partition_point(|(at, _)| *at <= index);
        let start = later.saturating_sub(1);
        let base = (later == 0).then_some(&self.base.configuration);
        let present = self.configurations.iter().skip(start).map(|(_, it)| it);
        base.into_iter().chain(present).chain(&self.replaced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muslin_core::base::NodeId;

    fn disk() -> Disk {
        Disk::empty(raft::Configuration::of_voters([NodeId(1)]))
    }

    fn write(disk: &mut Disk, id: u64, term: u64, indexes: std::ops::RangeInclusive<u64>) {
        let entry =
            |index| Entry { id: LogId::new(Term(term), Index(index)), payload: Payload::Empty };
        let hard_state = Some(HardState { term: Term(term), ..HardState::default() });
        let write = Write::Log { hard_state, entries: indexes.map(entry).collect() };
        disk.note(&write);
        disk.issue(PersistId(id), write);
    }

    fn sync(disk: &mut Disk) {
        assert!(disk.start_sync(1_000).is_some(), "something waits");
        disk.finish_sync();
    }

    #[test]
    fn a_crash_takes_what_was_not_synced() {
        let mut disk = disk();
        write(&mut disk, 1, 1, 1..=3);
        sync(&mut disk);
        write(&mut disk, 2, 2, 3..=5);
        assert_eq!(disk.written().term_at(Index(5)), Some(Term(2)));
        disk.crash(0, 0);
        assert_eq!(disk.durable().last(), LogId::new(Term(1), Index(3)));
        assert_eq!(disk.durable().hard_state.term, Term(1));
        assert_eq!(disk.written().term_at(Index(5)), None);
    }

    #[test]
    fn a_torn_write_leaves_its_beginning() {
        let mut disk = disk();
        write(&mut disk, 1, 1, 1..=3);
        sync(&mut disk);
        write(&mut disk, 2, 2, 3..=5);
        disk.crash(0, 2);
        assert_eq!(disk.durable().hard_state.term, Term(2));
        assert_eq!(disk.durable().last(), LogId::new(Term(2), Index(3)));
    }

    #[test]
    fn writes_survive_a_crash_in_their_order() {
        let mut disk = disk();
        write(&mut disk, 1, 1, 1..=3);
        write(&mut disk, 2, 1, 4..=5);
        write(&mut disk, 3, 1, 6..=6);
        disk.crash(2, 0);
        assert_eq!(disk.durable().last().index, Index(5));
        assert_eq!(disk.recovered().raft.entries.len(), 5);
    }
}
