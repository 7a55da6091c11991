//! The log while it is written to: appends, moves on to the next segment, drops what is not needed.

use super::super::StoreError;
use super::beside::Beside;
use super::direct::Direct;
use super::disk;
use super::held::Held;
use super::rebuild;
use super::record::{self, GroupState, Place, SEAL_BYTES, STATE_ROOM, Told};
use super::segment::{self, HEADER_BYTES, Header, Owner};
use super::spares::{Spare, Spares};
use super::store::Options;
use muslin_core::base::{GroupId, Index};
use muslin_core::raft::{DiskRoom, Entries, HardState, Snapshot, Write};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// A batch buffer larger than this is given back after use: one huge batch is not paid for ever.
const BUFFER_KEPT_BYTES: usize = 4 << 20;

/// With so many segments the oldest is let go even if a group that writes little needs entries in
/// it: these are written again.
const CARRY_SEGMENTS: usize = 4;

/// At most this part of a segment is written again to let go of one: what is saved must be far more
/// than what it costs.
const CARRY_PART: u64 = 4;

/// Where everything is, and whose.
#[derive(Clone, Debug)]
pub(super) struct Home {
    pub(super) root: PathBuf,
    pub(super) log: PathBuf,
    pub(super) snapshots: PathBuf,
    pub(super) owner: Owner,
    pub(super) options: Options,
}

impl Home {
    pub(super) fn new(root: &Path, owner: Owner, options: Options) -> Home {
        let (log, snapshots) = (root.join("log"), root.join("snapshot"));
        Home { root: root.to_owned(), log, snapshots, owner, options }
    }

    /// The header of a segment that can hold this many bytes of records.
    pub(super) fn header(&self, number: u64, needed: u64, oldest: u64, seed: u32) -> Header {
        let needed = HEADER_BYTES as u64 + needed + 2 * SEAL_BYTES;
        let size = self.options.segment_bytes.max(needed);
        Header { owner: self.owner, number, size, oldest, seed, is_reused: false }
    }

    /// Segments made before they are needed, none of them yet.
    pub(super) fn spares(&self) -> Spares {
        let size = self.header(0, 0, 0, 0).size;
        Spares::new(&self.log, size, self.options.is_alone)
    }
}

/// The segment that is written to.
pub(super) struct Live {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) number: u64,
    pub(super) size: u64,
    /// Where the next record goes.
    pub(super) end: u64,
    /// Checksum of the last record.
    pub(super) chain: u32,
    pub(super) direct: Direct,
    /// Something may be written that was not synced.
    pub(super) is_dirty: bool,
}

impl Live {
    pub(super) fn place(&self) -> Place {
        Place { segment: self.number, offset: self.end }
    }

    /// Whether records of this many bytes fit, and behind them the batch's seal and the closing
    /// one.
    fn has_room(&self, needed: u64) -> bool {
        self.end + needed + 2 * SEAL_BYTES <= self.size
    }

    /// Writes what was encoded for this place. After an error nothing has changed but bytes behind
    /// the end.
    fn put(&mut self, bytes: &[u8], chain: u32) -> Result<(), StoreError> {
        let Live { path, file, size, end, direct, is_dirty, .. } = self;
        let write = || direct.write((file, path), *size, bytes, *end);
        *is_dirty = true;
        disk::write_by(path, bytes, *end, write)?;
        self.end += bytes.len() as u64;
        self.chain = chain;
        Ok(())
    }

    /// Nothing, when all of it has been synced.
    fn sync(&mut self) -> Result<(), StoreError> {
        if self.is_dirty {
            disk::sync(&self.file, &self.path)?;
            self.is_dirty = false;
        }
        Ok(())
    }

    /// Says that all before is on the disk. The caller has just seen to it, the seal before
    /// included: were that one lost and this one not, a mere crash would look like damage. Not
    /// synced.
    fn seal(&mut self, oldest: u64) -> Result<(), StoreError> {
        let mut bytes = Vec::with_capacity(SEAL_BYTES as usize);
        let seal = Told::Seal { oldest, closing: false };
        let chain = record::encode(&mut bytes, self.place(), self.chain, seal, true);
        self.put(&bytes, chain)
    }
}

/// What the log holds of a group.
#[derive(Clone, Default)]
pub(super) struct Group {
    /// As last written.
    pub(super) state: GroupState,
    /// In which segment that stands.
    pub(super) state_segment: u64,
    /// The last entry, or the snapshot's when there is none behind it.
    pub(super) last: Index,
    /// Entries below this are not needed.
    pub(super) keep_from: Index,
    /// Those that are, in order: to be written again when the segment they stand in must go.
    pub(super) entries: Held,
    /// A snapshot is wanted, since not all of them are in memory; it was when they began here.
    pub(super) wanted_at: Option<Index>,
}

impl Group {
    /// Puts entries at their place and drops what stood there and behind.
    fn put(&mut self, entries: &Entries) {
        self.entries.put(entries);
        self.last = entries.last().map_or(self.last, |entry| entry.id.index);
    }

    fn forget_before(&mut self, keep_from: Index) {
        self.keep_from = self.keep_from.max(keep_from);
        self.entries.forget_before(self.keep_from);
    }

    /// Room that state and entries take when they are written again.
    fn room(&self) -> u64 {
        STATE_ROOM + self.entries.room()
    }
}

/// What is encoded, and not yet on the disk.
struct Pending {
    /// Checksum of its last record.
    chain: u32,
    /// How many writes it stands for; none when the log tells its own affairs.
    writes: usize,
}

/// The log, ready for writes.
pub(super) struct Log {
    pub(super) home: Home,
    pub(super) live: Live,
    pub(super) spares: Spares,
    pub(super) beside: Arc<Beside>,
    pub(super) buffer: Vec<u8>,
    /// A write found no room: `buffer` holds it, and it goes first.
    pending: Option<Pending>,
    /// The next segment, made when there was no room for the closing seal.
    next: Option<(Header, File)>,
    /// No segment below this one is needed.
    pub(super) oldest: u64,
    /// Every segment on the disk, with the highest entry that counts of each group in it.
    pub(super) segments: BTreeMap<u64, BTreeMap<GroupId, Index>>,
    pub(super) groups: BTreeMap<GroupId, Group>,
    /// Something may have become needless since it was last looked for.
    is_loose: bool,
    /// The last batch has no seal yet.
    owes_seal: bool,
    /// Groups of which a snapshot is wanted, since the last question.
    wanted: BTreeSet<GroupId>,
}

/// A log as found.
pub(super) struct Parts {
    pub(super) live: Live,
    pub(super) oldest: u64,
    pub(super) segments: BTreeMap<u64, BTreeMap<GroupId, Index>>,
    pub(super) groups: BTreeMap<GroupId, Group>,
}

impl Log {
    pub(super) fn new(home: Home, beside: Arc<Beside>, parts: Parts) -> Log {
        let Parts { live, oldest, segments, groups } = parts;
        let spares = beside.spares().clone();
        Log {
            home,
            live,
            spares,
            beside,
            buffer: Vec::new(),
            pending: None,
            next: None,
            oldest,
            segments,
            groups,
            is_loose: true,
            owes_seal: false,
            wanted: BTreeSet::new(),
        }
    }

    /// The replica of a group holds nothing below this any more.
    pub(super) fn let_go(&mut self, id: GroupId, first: Index) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.entries.let_go_before(first);
        }
    }

    /// Groups of which a snapshot is wanted, once.
    pub(super) fn take_wanted(&mut self) -> BTreeSet<GroupId> {
        std::mem::take(&mut self.wanted)
    }

    /// Carries the writes out in order; all are durable on return.
    pub(super) fn write(&mut self, batch: &[(GroupId, Write)]) -> Result<(), StoreError> {
        let mut done = 0;
        while done < batch.len() {
            self.commit_own().map_err(|error| error.behind(done))?;
            let run = &batch[done..];
            let is_log = |(_, write): &&(GroupId, Write)| matches!(write, Write::Log { .. });
            let run = &run[..run.iter().take_while(is_log).count()];
            // In order: what was written before must not be younger on the disk than a snapshot.
            let carried = match (run.is_empty(), &batch[done]) {
                (true, (id, write)) => self.install(*id, write),
                (false, _) => self.append(run),
            };
            carried.map_err(|error| error.behind(done))?;
            done += run.len().max(1);
        }
        Ok(())
    }

    /// Writes and syncs log writes: one buffer, one sync, one seal.
    fn append(&mut self, run: &[(GroupId, Write)]) -> Result<(), StoreError> {
        match &self.pending {
            Some(pending) => assert!(pending.writes == run.len(), "what found no room comes again"),
            None => {
                let needed = run.iter().map(|(_, write)| room(write)).sum();
                if needed == 0 {
                    return Ok(());
                }
                self.make_room(needed)?;
                self.begin();
                for (id, write) in run {
                    self.stage(*id, write);
                }
                self.stage_end(run.len());
            }
        }
        self.commit()
    }

    /// Nothing has happened when there is none.
    fn make_room(&mut self, needed: u64) -> Result<(), StoreError> {
        let owed = if self.owes_seal { SEAL_BYTES } else { 0 };
        if self.live.has_room(needed + owed) { Ok(()) } else { self.move_on(needed) }
    }

    /// Begins a batch in the buffer, with the seal of the one before.
    fn begin(&mut self) {
        self.buffer.clear();
        self.pending = Some(Pending { chain: self.live.chain, writes: 0 });
        if self.owes_seal {
            self.tell(Told::Seal { oldest: self.oldest, closing: false }, true);
        }
    }

    fn stage_end(&mut self, writes: usize) {
        self.pending.as_mut().expect("a batch has begun").writes = writes;
    }

    /// Puts a record into the batch.
    fn tell(&mut self, told: Told, is_last: bool) {
        let pending = self.pending.as_mut().expect("a batch has begun");
        let offset = self.live.end + self.buffer.len() as u64;
        let at = Place { segment: self.live.number, offset };
        pending.chain = record::encode(&mut self.buffer, at, pending.chain, told, is_last);
    }

    /// Turns one write into records, the state behind the entries it may refer to.
    fn stage(&mut self, id: GroupId, write: &Write) {
        let Write::Log { hard_state, entries } = write else { return };
        if entries.is_empty() && hard_state.is_none() {
            return;
        }
        for (at, entry) in entries.iter().enumerate() {
            let is_last = hard_state.is_none() && at + 1 == entries.len();
            self.tell(Told::Entry { group: id, entry }, is_last);
        }
        let group = self.groups.entry(id).or_default();
        if let Some(first) = entries.first() {
            let (index, last) = (first.id.index, group.last);
            assert!(index <= last.next(), "{id}: entry {index} does not follow {last}");
            let snapshot = group.state.snapshot.unwrap_or_default();
            assert!(index > snapshot, "{id}: R3: entry {index} is in the snapshot at {snapshot}");
            group.put(entries);
        }
        if let Some(entry) = entries.last() {
            let highest = self.segments.entry(self.live.number).or_default();
            let highest = highest.entry(id).or_default();
            *highest = entry.id.index.max(*highest);
        }
        if let Some(hard_state) = hard_state {
            check_forward(id, group.state.hard_state, *hard_state);
            group.state.hard_state = *hard_state;
            self.tell_state(id);
        }
    }

    /// Puts a group's state into the batch, as the end of a write.
    fn tell_state(&mut self, id: GroupId) {
        let number = self.live.number;
        let group = self.groups.entry(id).or_default();
        group.state_segment = number;
        let state = group.state;
        self.tell(Told::State { group: id, state: &state }, true);
    }

    /// What the log had to tell of itself, and found no room for.
    fn commit_own(&mut self) -> Result<(), StoreError> {
        match self.pending {
            Some(Pending { writes: 0, .. }) => self.commit(),
            _ => Ok(()),
        }
    }

    /// Makes the batch in the buffer durable. When there is no room it stays there.
    fn commit(&mut self) -> Result<(), StoreError> {
        let begun = Instant::now();
        let chain = self.pending.as_ref().expect("a batch has begun").chain;
        self.live.put(&self.buffer, chain)?;
        self.live.sync()?;
        self.pending = None;
        self.beside.counters().synced(self.buffer.len() as u64, begun.elapsed());
        if self.buffer.capacity() > BUFFER_KEPT_BYTES {
            self.buffer = Vec::new();
        }
        // The batch is durable without it: whoever waits need not wait for that as well.
        self.owes_seal = true;
        Ok(())
    }

    /// Writes the seal of the last batch, unless the next has brought it.
    fn settle_seal(&mut self) -> Result<(), StoreError> {
        if !std::mem::take(&mut self.owes_seal) {
            return Ok(());
        }
        not_full(self.live.seal(self.oldest))
    }

    /// Ends the live segment and goes on in another, which is on the disk before the closing seal
    /// says that it exists.
    fn move_on(&mut self, needed: u64) -> Result<(), StoreError> {
        let closing = Told::Seal { oldest: self.oldest, closing: true };
        let mut bytes = Vec::with_capacity(SEAL_BYTES as usize);
        let chain = record::encode(&mut bytes, self.live.place(), self.live.chain, closing, true);
        let header = self.home.header(self.live.number + 1, needed, self.oldest, chain);
        let file = self.next_segment(&header)?;
        self.live.sync()?;
        if let Err(error) = self.live.put(&bytes, chain) {
            self.next = Some((header, file));
            return Err(error);
        }
        self.live.sync()?;
        self.beside.closed(self.live.number, chain);
        // The closing one says as much.
        self.owes_seal = false;
        self.live = Live {
            path: segment::path(&self.home.log, header.number),
            file,
            number: header.number,
            size: header.size,
            end: HEADER_BYTES as u64,
            chain,
            direct: Direct::default(),
            is_dirty: false,
        };
        self.segments.insert(header.number, BTreeMap::new());
        self.is_loose = true;
        Ok(())
    }

    /// Made ahead of need, unless it must be of a length of its own.
    fn next_segment(&mut self, header: &Header) -> Result<File, StoreError> {
        match self.next.take() {
            Some((made, file)) if made == *header => return Ok(file),
            // It follows another end, or is too short.
            Some((made, _)) => disk::remove(&segment::path(&self.home.log, made.number))?,
            None => {}
        }
        if header.size != self.spares.size() {
            return segment::create(&self.home.log, header);
        }
        let Spare { path, file, is_reused } = self.spares.take()?;
        segment::adopt(&path, &file, &self.home.log, &Header { is_reused, ..*header })?;
        self.spares.refill();
        Ok(file)
    }

    /// Replaces a group's snapshot by one that the leader sent.
    fn install(&mut self, id: GroupId, write: &Write) -> Result<(), StoreError> {
        let Write::Snapshot { snapshot, keep_from, discard_log } = write else { return Ok(()) };
        if self.pending.is_none() {
            // Room for the state first: with the snapshot in place there is no way back.
            self.make_room(STATE_ROOM)?;
            self.save(id, snapshot, *keep_from, *discard_log)?;
            self.begin();
            self.tell_state(id);
            self.stage_end(1);
        }
        self.commit()?;
        self.is_loose = true;
        self.tidy()
    }

    fn save(
        &mut self,
        id: GroupId,
        snapshot: &Snapshot,
        keep_from: Index,
        discard_log: bool,
    ) -> Result<(), StoreError> {
        let last = snapshot.meta.last.index;
        let group = self.groups.get(&id);
        let before = group.and_then(|group| group.state.snapshot).unwrap_or_default();
        assert!(last >= before, "{id}: snapshot {last} would replace the later {before}");
        // A log that ends before the snapshot cannot be continued behind it.
        let is_void = discard_log || group.map_or(Index::ZERO, |group| group.last) < last;
        // The place must be on the disk before a snapshot names it: with the seal before it lost,
        // entries to come would stand before the place, and not count.
        if is_void {
            self.live.sync()?;
        }
        let void_before = is_void.then(|| self.live.place());
        let effect = self.beside.install(id, snapshot, keep_from, void_before)?;
        let group = self.groups.entry(id).or_default();
        if is_void {
            group.entries.clear();
            group.last = last;
            for highest in self.segments.values_mut() {
                highest.remove(&id);
            }
        }
        group.state.snapshot = Some(last);
        group.forget_before(effect.keep_from);
        Ok(())
    }

    /// What the store does between batches.
    pub(super) fn tend(&mut self) -> Result<DiskRoom, StoreError> {
        self.spares.check()?;
        self.spares.refill();
        not_full(self.commit_own())?;
        if self.pending.is_none() {
            self.settle()?;
        }
        Ok(if self.spares.is_full() { DiskRoom::Full } else { DiskRoom::Room })
    }

    /// Nothing more is to be written for the moment: the last batch gets its seal.
    pub(super) fn rest(&mut self) -> Result<(), StoreError> {
        if self.pending.is_none() { self.settle_seal() } else { Ok(()) }
    }

    /// Says in the log which snapshots were saved beside it, and drops what nobody needs. No room
    /// for that is no error: it is done when there is.
    fn settle(&mut self) -> Result<(), StoreError> {
        let saved = self.beside.take_saved();
        if !saved.is_empty() {
            let needed = STATE_ROOM * saved.len() as u64;
            if let Err(error) = self.make_room(needed) {
                self.beside.put_back(saved);
                return not_full(Err(error));
            }
            self.begin();
            for (id, (last, effect)) in &saved {
                let group = self.groups.entry(*id).or_default();
                group.state.snapshot = group.state.snapshot.max(Some(*last));
                group.forget_before(effect.keep_from);
                self.tell_state(*id);
            }
            self.is_loose = true;
            if let Err(error) = self.commit() {
                return not_full(Err(error));
            }
        }
        self.tidy()
    }

    /// Drops what nobody needs.
    fn tidy(&mut self) -> Result<(), StoreError> {
        let is_spoiled = self.beside.spoiled().is_some();
        if !std::mem::take(&mut self.is_loose) && !is_spoiled {
            return Ok(());
        }
        let done = self.repair().and_then(|()| self.carry()).and_then(|()| self.drop_unneeded());
        self.is_loose = matches!(done, Err(StoreError::Full { .. }));
        not_full(done)
    }

    /// Writes again all that is needed of a segment that has gone bad, and of those before it, from
    /// memory: then it can go.
    fn repair(&mut self) -> Result<(), StoreError> {
        let Some(last) = self.beside.spoiled() else { return Ok(()) };
        let numbers: Vec<u64> = self.segments.range(..=last).map(|(number, _)| *number).collect();
        for number in numbers {
            let bound = self.bound_to(number);
            let whole = self.whole_of(bound);
            self.write_again(&whole)?;
        }
        Ok(())
    }

    /// Those of these groups whose entries are all in memory. Of the others a snapshot is wanted:
    /// once it is saved, no more is needed than what is in memory.
    fn whole_of(&mut self, mut ids: Vec<GroupId>) -> Vec<GroupId> {
        ids.retain(|id| {
            let group = self.groups.entry(*id).or_default();
            let is_whole = group.entries.is_whole();
            if !is_whole && group.wanted_at.replace(group.keep_from) != Some(group.keep_from) {
                self.wanted.insert(*id);
            }
            is_whole
        });
        ids
    }

    /// Writes again what groups that write little need of the oldest segments, so that these do not
    /// stay for ever.
    fn carry(&mut self) -> Result<(), StoreError> {
        if self.segments.len() < CARRY_SEGMENTS {
            return Ok(());
        }
        let mut budget = self.spares.size() / CARRY_PART;
        let numbers: Vec<u64> = self.segments.keys().copied().collect();
        for number in &numbers[..numbers.len() - CARRY_SEGMENTS + 1] {
            let bound = self.bound_to(*number);
            let rooms = bound.iter().map(|id| self.groups[id].room());
            let needed: u64 = rooms.sum();
            if needed > budget {
                break;
            }
            let (many, whole) = (bound.len(), self.whole_of(bound));
            if whole.len() < many {
                break;
            }
            budget -= needed;
            self.write_again(&whole)?;
        }
        Ok(())
    }

    /// The groups that need entries of a segment.
    fn bound_to(&self, number: u64) -> Vec<GroupId> {
        let highest = self.segments[&number].iter();
        let bound = highest.filter(|(id, index)| **index >= self.groups[id].keep_from);
        bound.map(|(id, _)| *id).collect()
    }

    /// Writes all that groups need once more, at the end of the log.
    pub(super) fn write_again(&mut self, ids: &[GroupId]) -> Result<(), StoreError> {
        for id in ids {
            assert!(self.groups[id].entries.is_whole(), "{id}: what is not here is not written");
            self.make_room(self.groups[id].room())?;
            self.begin();
            let entries = std::mem::take(&mut self.groups.entry(*id).or_default().entries);
            for entry in entries.iter() {
                self.tell(Told::Entry { group: *id, entry }, false);
            }
            self.tell_state(*id);
            for highest in self.segments.values_mut() {
                highest.remove(id);
            }
            if let Some(last) = entries.last() {
                let live = self.segments.entry(self.live.number).or_default();
                live.insert(*id, last);
            }
            self.groups.entry(*id).or_default().entries = entries;
            // No half of it counts: a crash leaves the earlier copy, which is still there.
            self.commit()?;
        }
        Ok(())
    }

    /// Removes the segments in front that no group needs.
    fn drop_unneeded(&mut self) -> Result<(), StoreError> {
        let unneeded = self.segments.keys().copied();
        let unneeded: Vec<u64> = unneeded
            .take_while(|number| *number != self.live.number && self.bound_to(*number).is_empty())
            .collect();
        let Some(last) = unneeded.last() else { return Ok(()) };
        self.oldest = self.oldest.max(last + 1);
        let held: Vec<GroupId> = self
            .groups
            .iter()
            .filter(|(_, group)| group.state_segment < self.oldest)
            .map(|(id, _)| *id)
            .collect();
        self.make_room(SEAL_BYTES + STATE_ROOM * held.len() as u64)?;
        // The seal first: should a segment be gone, a later record must say that it is not missed.
        self.live.sync()?;
        self.live.seal(self.oldest)?;
        self.owes_seal = false;
        if !held.is_empty() {
            self.begin();
            for id in held {
                self.tell_state(id);
            }
            self.commit()?;
        }
        self.live.sync()?;
        for number in unneeded {
            self.beside.dropped(number);
            let path = segment::path(&self.home.log, number);
            match self.beside.put_right(number) {
                Some(damage) => rebuild::keep(&self.home, &path, damage)?,
                None if self.spares.keep(&path)? => {}
                None => disk::remove(&path)?,
            }
            disk::sync_dir(&self.home.log)?;
            self.segments.remove(&number);
        }
        Ok(())
    }

    /// Called once after recovery: what was found is on the disk.
    pub(super) fn seal(&mut self) -> Result<(), StoreError> {
        if !self.live.has_room(0) {
            return Ok(());
        }
        self.live.seal(self.oldest)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.spares.settle();
        if self.pending.is_none() {
            // Without it, the start finds a batch of which it cannot know that it was synced.
            let _ = self.settle_seal();
        }
    }
}

/// Room that the records of a write take.
fn room(write: &Write) -> u64 {
    let Write::Log { hard_state, entries } = write else { return 0 };
    let entries = entries.iter().map(record::room).sum::<u64>();
    entries + hard_state.map_or(0, |_| STATE_ROOM)
}

/// R5, once more, where it becomes durable.
fn check_forward(id: GroupId, before: HardState, after: HardState) {
    assert!(after.term >= before.term, "{id}: R5: the term would go back");
    let keeps_vote = before.vote.is_none() || after.vote == before.vote;
    assert!(after.term > before.term || keeps_vote, "{id}: R5: the vote would change");
}

/// Waiting for room is not failing.
fn not_full(result: Result<(), StoreError>) -> Result<(), StoreError> {
    match result {
        Err(StoreError::Full { .. }) => Ok(()),
        result => result,
    }
}
