//! The disk of one simulated machine: what is written becomes durable later, in order, and a crash
//! takes what was not.

use crate::trace::payload_hash;
use bytes::Bytes;
use muslin_core::base::mutant::{self, Mutant};
use muslin_core::base::{GroupId, Index, LogId, PersistId, Prng, Term};
use muslin_core::raft::{self, Entries, Entry, HardState, Payload, Snapshot, SnapshotMeta, Write};
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

    /// Keeps what a store can still vouch for.
    fn rot(&mut self, prng: &mut Prng) {
        if prng.chance(300_000) {
            self.snapshot = None;
        }
        let kept = prng.below(self.entries.len() as u64 + 1) as usize;
        self.entries.truncate(kept);
        let is_reached = |entry: &Entry| entry.id.index <= self.snapshot_last().index.next();
        if !self.entries.front().is_some_and(is_reached) {
            self.entries.clear();
        }
        if prng.chance(300_000) {
            self.hard_state = HardState::default();
        }
        let last = self.last();
        self.hard_state.commit = self.hard_state.commit.min(last.index);
        if self.hard_state.term < last.term {
            self.hard_state = HardState { term: last.term, vote: None, ..self.hard_state };
        }
    }

    fn append(&mut self, entries: Entries) {
        let Some(first) = entries.first().map(|entry| entry.id.index) else { return };
        while self.entries.back().is_some_and(|entry| entry.id.index >= first) {
            self.entries.pop_back();
        }
        let covered = self.snapshot_last().index;
        if self.entries.back().is_some_and(|entry| entry.id.index.next() < first)
            && first == covered.next()
        {
            // The snapshot was saved ahead of the log, which came to nothing in a crash.
            self.entries.clear();
        }
        let before = self.entries.back().map_or(self.snapshot_last().index, |entry| entry.id.index);
        assert!(
            first == before.next() || self.entries.is_empty() && first <= before.next(),
            "a log has no gaps: {first} is written after {before}"
        );
        self.entries.extend(entries);
    }

    fn is_used(&self) -> bool {
        self.hard_state != HardState::default() || self.last() != LogId::ZERO
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

/// What a disk keeps of one group.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    durable: Image,
    /// The newest durable write of this process.
    durable_id: PersistId,
    written: Written,
    /// The hard state last written, durable or not.
    hard_state: HardState,
    /// What was durable before the disk lost some of it, while the replica has not made up for it.
    lost: Option<Image>,
    /// Who votes before the first entry.
    founding: raft::Configuration,
}

impl Shelf {
    /// Whether the replica has not yet made up for what the disk lost. One of which nothing is left
    /// is not opened yet: whoever opens it must know.
    fn is_rebuilding(&self) -> bool {
        self.durable.hard_state.rebuilding || self.lost.is_some() && !self.durable.is_used()
    }

    fn of(durable: Image, founding: &raft::Configuration) -> Shelf {
        let written = Written::of(&durable, founding);
        let hard_state = durable.hard_state;
        let (durable_id, founding) = (PersistId::ZERO, founding.clone());
        Shelf { durable, durable_id, written, hard_state, lost: None, founding }
    }

    /// What would survive the harshest crash at this moment.
    pub(crate) fn durable(&self) -> &Image {
        &self.durable
    }

    /// The newest durable write.
    pub(crate) fn durable_id(&self) -> PersistId {
        self.durable_id
    }

    /// The log as the machine sees it: with all it has issued.
    pub(crate) fn written(&self) -> &Written {
        &self.written
    }

    /// The hard state last written, durable or not.
    pub(crate) fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// The machine has decided on a write: seen in [`Shelf::written`] before it is issued.
    pub(crate) fn note(&mut self, write: &Write) {
        if let Write::Log { hard_state: Some(hard_state), .. } = write {
            self.hard_state = *hard_state;
        }
        self.written.apply(write);
    }

    /// What was noted has been looked at.
    pub(crate) fn trim(&mut self) {
        self.written.trim();
    }
}

/// What becomes of the writes under way when power is lost. Sectors reach a disk in any order, so
/// each record survives or not by itself; recovery keeps what stands before the first gap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Loss {
    /// Nothing that was not synced is there.
    All,
    /// Each record is there with this chance, in a million.
    Some(u64),
}

/// What a disk has lost of what was durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Damage {
    All,
    /// The end of the log, or the snapshot and with it what follows.
    Part,
}

/// A disk with its queue of writes.
#[derive(Debug)]
pub(crate) struct Disk {
    /// Who votes in the control group before the first entry.
    founding: raft::Configuration,
    /// By number of the group.
    shelves: Vec<Shelf>,
    /// How many writes were ever issued.
    issued: u64,
    /// Issued and not durable, oldest first: one queue for all groups.
    pending: VecDeque<(GroupId, PersistId, Write)>,
    /// How many of the pending are in the sync under way; none means the disk rests.
    syncing: usize,
    /// Snapshots being saved off the path of the writes.
    saving: Vec<Saving>,
    saves: u64,
}

#[derive(Debug)]
struct Saving {
    number: u64,
    /// So many writes were issued before.
    behind: u64,
    group: GroupId,
    snapshot: Snapshot,
    keep_from: Index,
}

impl Disk {
    /// An empty disk of a node of a cluster founded with these voters.
    pub(crate) fn empty(founding: raft::Configuration) -> Disk {
        let shelves = vec![Shelf::of(Image::default(), &founding)];
        Disk {
            founding,
            shelves,
            issued: 0,
            pending: VecDeque::new(),
            syncing: 0,
            saving: Vec::new(),
            saves: 0,
        }
    }

    /// Whether an entry of a group may count as durable here. While a replica rebuilds that is
    /// what it acknowledged before: it takes no part in any quorum, so whatever the others had to
    /// have besides is still a part of theirs (R11). What it has since does not count.
    pub(crate) fn has(&self, group: GroupId, id: LogId) -> bool {
        let Some(shelf) = self.shelves.get(group.0 as usize) else { return false };
        match &shelf.lost {
            Some(lost) if shelf.is_rebuilding() => lost.has(id),
            _ => shelf.durable.has(id),
        }
    }

    /// What is kept of a group.
    pub(crate) fn shelf(&self, group: GroupId) -> &Shelf {
        &self.shelves[group.0 as usize]
    }

    pub(crate) fn shelf_mut(&mut self, group: GroupId) -> &mut Shelf {
        let place = group.0 as usize;
        while self.shelves.len() <= place {
            self.shelves.push(Shelf::of(Image::default(), &self.founding));
        }
        &mut self.shelves[place]
    }

    /// A group is made, in which these vote.
    pub(crate) fn open(&mut self, group: GroupId, founding: &raft::Configuration) {
        *self.shelf_mut(group) = Shelf::of(Image::default(), founding);
    }

    /// The groups of which anything is on the disk, besides the control group.
    pub(crate) fn groups(&self) -> impl Iterator<Item = GroupId> + '_ {
        let shelves = self.shelves.iter().enumerate().skip(1);
        shelves.filter(|(_, shelf)| shelf.durable.is_used()).map(|(it, _)| GroupId(it as u64))
    }

    /// Takes a write that was noted.
    pub(crate) fn issue(&mut self, group: GroupId, id: PersistId, write: Write) {
        self.issued += 1;
        self.pending.push_back((group, id, write));
    }

    /// Begins to save a snapshot; the number is for [`Disk::finish_save`].
    pub(crate) fn start_save(
        &mut self,
        group: GroupId,
        snapshot: Snapshot,
        keep_from: Index,
    ) -> u64 {
        self.saves += 1;
        let (number, behind) = (self.saves, self.issued);
        self.saving.push(Saving { number, behind, group, snapshot, keep_from });
        self.saves
    }

    /// Whether a snapshot may be saved: all that was issued before it is durable.
    pub(crate) fn can_finish_save(&self, number: u64) -> bool {
        let done = self.done();
        self.saving.iter().all(|saving| saving.number != number || saving.behind <= done)
    }

    /// How many of the writes that were ever issued are not under way any more.
    fn done(&self) -> u64 {
        self.issued - self.pending.len() as u64
    }

    /// A snapshot is saved: of which group, and where it ends.
    pub(crate) fn finish_save(&mut self, number: u64) -> Option<(GroupId, Index)> {
        let place = self.saving.iter().position(|saving| saving.number == number)?;
        let saving = self.saving.remove(place);
        let (group, index) = (saving.group, saving.snapshot.meta.last.index);
        if let Some(write) = self.put_in_place(saving) {
            self.shelves[group.0 as usize].note(&write);
        }
        Some((group, index))
    }

    /// Makes a saved snapshot the durable one, unless it has a later one. What was done.
    fn put_in_place(&mut self, saving: Saving) -> Option<Write> {
        let Saving { group, snapshot, keep_from, .. } = saving;
        let shelf = &mut self.shelves[group.0 as usize];
        if shelf.durable.snapshot_last().index >= snapshot.meta.last.index {
            return None;
        }
        let write = Write::Snapshot { snapshot, keep_from, discard_log: false };
        shelf.durable.apply(write.clone());
        Some(write)
    }

    /// Starts a sync of at most `most` writes if the disk rests and something waits: how many.
    pub(crate) fn start_sync(&mut self, most: usize) -> Option<usize> {
        if self.syncing > 0 || self.pending.is_empty() {
            return None;
        }
        self.syncing = self.pending.len().min(most.max(1));
        Some(self.syncing)
    }

    /// The sync is over: the newest write of each group that is durable from here on.
    pub(crate) fn finish_sync(&mut self, durable: &mut Vec<(GroupId, PersistId)>) {
        for _ in 0..std::mem::take(&mut self.syncing) {
            let (group, id, write) = self.pending.pop_front().expect("what is synced waits");
            let shelf = &mut self.shelves[group.0 as usize];
            shelf.durable.apply(write);
            shelf.durable_id = id;
            durable.push((group, id));
        }
    }

    /// The sync is said to be over, and nothing of it is on the disk.
    pub(crate) fn finish_sync_in_vain(&mut self, durable: &mut Vec<(GroupId, PersistId)>) {
        for _ in 0..std::mem::take(&mut self.syncing) {
            let (group, id, _) = self.pending.pop_front().expect("what is synced waits");
            self.shelves[group.0 as usize].durable_id = id;
            durable.push((group, id));
        }
    }

    /// Power is gone. How many writes under way are there in full.
    pub(crate) fn crash(&mut self, prng: &mut Prng, loss: Loss) -> usize {
        let (mut whole, done) = (0, self.done());
        let mut is_lost = || match loss {
            Loss::All => true,
            Loss::Some(chance) => !prng.chance(chance),
        };
        for (group, _, write) in std::mem::take(&mut self.pending) {
            let (kept, is_torn) = survivors(write, &mut is_lost);
            if let Some(write) = kept {
                self.shelves[group.0 as usize].durable.apply(write);
            }
            if is_torn {
                break;
            }
            whole += 1;
        }
        self.syncing = 0;
        for mut saving in std::mem::take(&mut self.saving) {
            if mutant::is_active(Mutant::IndexAheadOfState)
                && let Some(before) = &self.shelves[saving.group.0 as usize].durable.snapshot
            {
                // Two files, of which the crash let one be replaced.
                saving.snapshot.data = before.data.clone();
            }
            if !is_lost() && saving.behind <= done + whole as u64 {
                self.put_in_place(saving);
            }
        }
        for shelf in &mut self.shelves {
            let lost = shelf.lost.take();
            *shelf = Shelf::of(std::mem::take(&mut shelf.durable), &shelf.founding);
            shelf.lost = lost;
            if !shelf.is_rebuilding() {
                shelf.lost = None;
            }
        }
        whole
    }

    /// Something of what was durable is gone. What is left is handed out under the mark of a
    /// replica that rebuilds, as a store does that finds damage. Of a group of which nothing is
    /// left a store knows nothing; the control group it always knows.
    pub(crate) fn damage(&mut self, prng: &mut Prng, damage: Damage) {
        for (group, shelf) in self.shelves.iter_mut().enumerate() {
            if group > 0 && !shelf.durable.is_used() && shelf.lost.is_none() {
                continue;
            }
            let mut durable = std::mem::take(&mut shelf.durable);
            let lost = shelf.lost.take().unwrap_or_else(|| durable.clone());
            match damage {
                Damage::All => durable = Image::default(),
                Damage::Part => durable.rot(prng),
            }
            durable.hard_state.rebuilding = group == 0 || durable.is_used();
            if mutant::is_active(Mutant::DiskLossForgotten) && damage == Damage::All
                || mutant::is_active(Mutant::DamageCutAsTail) && damage == Damage::Part
            {
                durable.hard_state.rebuilding = false;
            }
            *shelf = Shelf::of(durable, &shelf.founding);
            shelf.lost = Some(lost);
        }
    }

    /// Whether a replica here has not yet made up for what its disk lost.
    pub(crate) fn is_rebuilding(&self) -> bool {
        self.shelves.iter().any(Shelf::is_rebuilding)
    }

    /// Whether this disk, from what is known to be committed to the end of its log of a group,
    /// knows only of the voters that the group was made with: nobody's vote is taken away.
    pub(crate) fn votes_as_founded(&self, group: GroupId, commit: Index) -> bool {
        let shelf = self.shelf(group);
        let known = shelf.written.voters_from(shelf.hard_state.commit.max(commit));
        known.into_iter().all(|it| *it == shelf.founding)
    }

    /// How many writes are under way.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// What a replica finds when it starts.
    pub(crate) fn recovered(&self, group: GroupId) -> raft::Recovered {
        let durable = &self.shelf(group).durable;
        let meta = durable.snapshot.as_ref().map(|snapshot| snapshot.meta.clone());
        raft::Recovered {
            hard_state: durable.hard_state,
            snapshot: meta.unwrap_or_default(),
            entries: durable.entries.iter().cloned().collect(),
        }
    }

    /// The state that the log goes on from.
    pub(crate) fn snapshot(&self, group: GroupId) -> Option<Bytes> {
        self.shelf(group).durable.snapshot.as_ref().map(|snapshot| snapshot.data.clone())
    }
}

/// What is left of a write, and whether something of it is missing. The record of the hard state
/// stands before those of the entries; a snapshot is there or not.
fn survivors(write: Write, is_lost: &mut impl FnMut() -> bool) -> (Option<Write>, bool) {
    if is_lost() {
        return (None, true);
    }
    let Write::Log { hard_state, mut entries } = write else { return (Some(write), false) };
    let kept = entries.iter().take_while(|_| !is_lost()).count();
    let is_torn = kept < entries.len();
    entries.truncate(kept);
    (Some(Write::Log { hard_state, entries }), is_torn)
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
    /// One was appended since the last look.
    has_fresh_voters: bool,
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
            // One saved beside the log, when a later one that was sent is on its way to the disk.
            Write::Snapshot { snapshot, .. } if snapshot.meta.last.index < self.base.last.index => {
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
        self.has_fresh_voters = false;
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
        if self.first + (self.places.len() as u64) < index {
            // A snapshot saved ahead of the log stands between the two.
            assert!(index <= self.base.last.index.0 + 1, "a log has no gaps: {index}");
            self.places.clear();
            self.configurations.clear();
            self.first = index;
        }
        while self.configurations.back().is_some_and(|(at, _)| at.0 >= index) {
            self.replaced.extend(self.configurations.pop_back().map(|(_, it)| it));
        }
        let is_configuration = match &entry.payload {
            Payload::Configuration(configuration) => {
                self.configurations.push_back((entry.id.index, configuration.clone()));
                self.has_fresh_voters = true;
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

    /// Whether a configuration was appended since the last look.
    pub(crate) fn has_fresh_voters(&self) -> bool {
        self.has_fresh_voters
    }

    /// The last entry written, or the snapshot's.
    pub(crate) fn last(&self) -> Index {
        let written = (self.first + self.places.len() as u64).saturating_sub(1);
        self.base.last.index.max(Index(written))
    }

    /// The configurations in the log from the one in force at `index` on.
    pub(crate) fn voters_from(&self, index: Index) -> Vec<&raft::Configuration> {
        let later = self.configurations.partition_point(|(at, _)| *at <= index);
        let base = (later == 0).then_some(&self.base.configuration);
        let present = self.configurations.iter().skip(later.saturating_sub(1)).map(|(_, it)| it);
        base.into_iter().chain(present).collect()
    }

    /// The configuration in force at `from`, and those in the log after it up to `to`.
    pub(crate) fn voters_between(&self, from: Index, to: Index) -> Vec<&raft::Configuration> {
        let later = self.configurations.partition_point(|(at, _)| *at <= to);
        let all = self.voters_from(from);
        let beyond = self.configurations.len() - later;
        all[..all.len() - beyond].to_vec()
    }

    /// The last entry under the snapshot.
    pub(crate) fn base(&self) -> &SnapshotMeta {
        &self.base
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

    const GROUP: GroupId = GroupId::CONTROL;

    fn disk() -> Disk {
        Disk::empty(raft::Configuration::of_voters([NodeId(1)]))
    }

    fn write(disk: &mut Disk, id: u64, term: u64, indexes: std::ops::RangeInclusive<u64>) {
        let entry =
            |index| Entry { id: LogId::new(Term(term), Index(index)), payload: Payload::Empty };
        let hard_state = Some(HardState { term: Term(term), ..HardState::default() });
        let write = Write::Log { hard_state, entries: indexes.map(entry).collect() };
        disk.shelf_mut(GROUP).note(&write);
        disk.issue(GROUP, PersistId(id), write);
    }

    fn sync(disk: &mut Disk) {
        assert!(disk.start_sync(1_000).is_some(), "something waits");
        disk.finish_sync(&mut Vec::new());
    }

    fn term_written(disk: &Disk, index: u64) -> Option<Term> {
        disk.shelf(GROUP).written().term_at(Index(index))
    }

    #[test]
    fn a_crash_takes_what_was_not_synced() {
        let mut disk = disk();
        write(&mut disk, 1, 1, 1..=3);
        sync(&mut disk);
        write(&mut disk, 2, 2, 3..=5);
        assert_eq!(term_written(&disk, 5), Some(Term(2)));
        disk.crash(&mut Prng::seeded(1), Loss::All);
        let durable = disk.shelf(GROUP).durable();
        assert_eq!(durable.last(), LogId::new(Term(1), Index(3)));
        assert_eq!(durable.hard_state.term, Term(1));
        assert_eq!(term_written(&disk, 5), None);
    }

    #[test]
    fn of_what_was_under_way_a_prefix_survives() {
        for seed in 0..200 {
            let mut disk = disk();
            write(&mut disk, 1, 1, 1..=3);
            sync(&mut disk);
            write(&mut disk, 2, 2, 3..=5);
            write(&mut disk, 3, 2, 6..=6);
            let whole = disk.crash(&mut Prng::seeded(seed), Loss::Some(700_000));
            let last = disk.shelf(GROUP).durable().last();
            match whole {
                0 => assert!(last.index < Index(5), "{last} of a torn write"),
                1 => assert_eq!(last.index, Index(5)),
                _ => assert_eq!(last.index, Index(6)),
            }
            let recovered = disk.recovered(GROUP).entries;
            assert_eq!(recovered.len() as u64, last.index.0, "there are no gaps");
        }
    }
}
