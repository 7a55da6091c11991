//! The log while it is written to: appends, moves on to the next segment, drops what is not needed.

use super::super::StoreError;
use super::disk;
use super::record::{self, Content, GroupState, Place, SEAL_BYTES};
use super::segment::{self, HEADER_BYTES, Header, Owner};
use super::snapshot::{self, Saved};
use super::store::Options;
use muslin_core::base::{GroupId, Index};
use muslin_core::raft::{Entry, HardState, Snapshot, Write};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// A batch buffer larger than this is given back after use: one huge batch is not paid for ever.
const BUFFER_KEPT_BYTES: usize = 4 << 20;

/// Where everything is, and whose.
#[derive(Clone, Debug)]
pub(super) struct Home {
    pub(super) log: PathBuf,
    pub(super) snapshots: PathBuf,
    pub(super) owner: Owner,
    pub(super) options: Options,
}

impl Home {
    pub(super) fn new(root: &Path, owner: Owner, options: Options) -> Home {
        Home { log: root.join("log"), snapshots: root.join("snapshot"), owner, options }
    }

    /// The header of a segment that can hold this many bytes of records.
    pub(super) fn header(&self, number: u64, needed: u64, oldest: u64, seed: u32) -> Header {
        let needed = HEADER_BYTES as u64 + needed + 2 * SEAL_BYTES;
        let size = self.options.segment_bytes.max(needed);
        Header { owner: self.owner, number, size, oldest, seed }
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
}

impl Live {
    fn place(&self) -> Place {
        Place { segment: self.number, offset: self.end }
    }

    /// Whether records of this many bytes fit, and behind them the batch's seal and the closing
    /// one.
    fn has_room(&self, needed: u64) -> bool {
        self.end + needed + 2 * SEAL_BYTES <= self.size
    }

    /// Writes what was encoded for this place.
    fn put(&mut self, bytes: &[u8], chain: u32) -> Result<(), StoreError> {
        disk::write(&self.file, &self.path, bytes, self.end)?;
        self.end += bytes.len() as u64;
        self.chain = chain;
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        disk::sync(&self.file, &self.path)
    }

    /// Says that all before is on the disk. The caller has just seen to it, the seal before
    /// included: were that one lost and this one not, a mere crash would look like damage. Not
    /// synced.
    fn seal(&mut self, oldest: u64, closing: bool) -> Result<(), StoreError> {
        let mut bytes = Vec::with_capacity(SEAL_BYTES as usize);
        let seal = Content::Seal { oldest, closing };
        let chain = record::encode(&mut bytes, self.place(), self.chain, &seal, true);
        self.put(&bytes, chain)
    }
}

/// What the log holds of a group.
#[derive(Clone, Copy, Default)]
pub(super) struct Group {
    /// As last written.
    pub(super) state: GroupState,
    /// In which segment that stands.
    pub(super) state_segment: u64,
    /// The last entry, or the snapshot's when there is none behind it.
    pub(super) last: Index,
    /// Entries below this are not needed.
    pub(super) keep_from: Index,
    /// Entries before this place do not count.
    pub(super) void_before: Place,
}

/// One record waiting for the next append.
struct Staged {
    content: Content,
    is_last: bool,
}

/// The log, ready for writes.
pub(super) struct Log {
    pub(super) home: Home,
    pub(super) live: Live,
    pub(super) buffer: Vec<u8>,
    /// No segment below this one is needed.
    pub(super) oldest: u64,
    /// Every segment on the disk, with the highest entry that counts of each group in it.
    pub(super) segments: BTreeMap<u64, BTreeMap<GroupId, Index>>,
    pub(super) groups: BTreeMap<GroupId, Group>,
}

impl Log {
    /// Carries the writes out in order; all are durable on return.
    pub(super) fn write(&mut self, batch: &[(GroupId, Write)]) -> Result<(), StoreError> {
        let mut staged = Vec::new();
        let mut saved = false;
        for (group, write) in batch {
            match write {
                Write::Log { hard_state, entries } => {
                    self.stage(*group, *hard_state, entries, &mut staged);
                }
                Write::Snapshot { snapshot, keep_from, discard_log } => {
                    // In order: what was written before must not be younger on the disk than it.
                    self.append(&mut staged)?;
                    self.save(*group, snapshot, *keep_from, *discard_log)?;
                    staged.push(self.state_of(*group));
                    saved = true;
                }
            }
        }
        self.append(&mut staged)?;
        if saved { self.drop_unneeded() } else { Ok(()) }
    }

    /// Turns one write into records, the state behind the entries it may refer to.
    fn stage(
        &mut self,
        id: GroupId,
        hard_state: Option<HardState>,
        entries: &[Entry],
        staged: &mut Vec<Staged>,
    ) {
        let group = self.groups.entry(id).or_default();
        for (at, entry) in entries.iter().enumerate() {
            let (index, last) = (entry.id.index, group.last);
            assert!(index <= last.next(), "{id}: entry {index} does not follow {last}");
            let snapshot = group.state.snapshot.unwrap_or_default();
            assert!(index > snapshot, "{id}: R3: entry {index} is in the snapshot at {snapshot}");
            group.last = index;
            let is_last = hard_state.is_none() && at + 1 == entries.len();
            let content = Content::Entry { group: id, entry: entry.clone() };
            staged.push(Staged { content, is_last });
        }
        if let Some(hard_state) = hard_state {
            let before = group.state.hard_state;
            assert!(hard_state.term >= before.term, "{id}: R5: the term would go back");
            let keeps_vote = before.vote.is_none() || hard_state.vote == before.vote;
            assert!(hard_state.term > before.term || keeps_vote, "{id}: R5: the vote would change");
            group.state.hard_state = hard_state;
            let content = Content::State { group: id, state: group.state };
            staged.push(Staged { content, is_last: true });
        }
    }

    /// The record that carries a group's state, to be a write of its own.
    fn state_of(&self, group: GroupId) -> Staged {
        let state = self.groups[&group].state;
        Staged { content: Content::State { group, state }, is_last: true }
    }

    /// Writes and syncs what is staged: one buffer, one sync, one seal.
    fn append(&mut self, staged: &mut Vec<Staged>) -> Result<(), StoreError> {
        if staged.is_empty() {
            return Ok(());
        }
        let needed = staged.iter().map(|staged| record::room(&staged.content)).sum();
        if !self.live.has_room(needed) {
            self.move_on(needed)?;
        }
        self.buffer.clear();
        let mut at = self.live.place();
        let mut chain = self.live.chain;
        for Staged { content, is_last } in staged.drain(..) {
            chain = record::encode(&mut self.buffer, at, chain, &content, is_last);
            at.offset = self.live.end + self.buffer.len() as u64;
            self.note(&content);
        }
        self.live.put(&self.buffer, chain)?;
        self.live.sync()?;
        if self.buffer.capacity() > BUFFER_KEPT_BYTES {
            self.buffer = Vec::new();
        }
        self.live.seal(self.oldest, false)
    }

    /// Remembers what of the live segment will be needed.
    fn note(&mut self, content: &Content) {
        let number = self.live.number;
        match content {
            Content::Seal { .. } => {}
            Content::State { group, .. } => {
                self.groups.entry(*group).or_default().state_segment = number;
            }
            Content::Entry { group, entry } => {
                let highest = self.segments.entry(number).or_default();
                let highest = highest.entry(*group).or_default();
                *highest = entry.id.index.max(*highest);
            }
        }
    }

    /// Ends the live segment and goes on in another, which is on the disk before the closing seal
    /// says that it exists.
    fn move_on(&mut self, needed: u64) -> Result<(), StoreError> {
        let closing = Content::Seal { oldest: self.oldest, closing: true };
        let mut bytes = Vec::with_capacity(SEAL_BYTES as usize);
        let place = self.live.place();
        let chain = record::encode(&mut bytes, place, self.live.chain, &closing, true);
        let header = self.home.header(self.live.number + 1, needed, self.oldest, chain);
        let file = segment::create(&self.home.log, &header)?;
        self.live.sync()?;
        self.live.put(&bytes, chain)?;
        self.live.sync()?;
        self.live = Live {
            path: segment::path(&self.home.log, header.number),
            file,
            number: header.number,
            size: header.size,
            end: HEADER_BYTES as u64,
            chain,
        };
        self.segments.insert(header.number, BTreeMap::new());
        Ok(())
    }

    /// Replaces a group's snapshot.
    fn save(
        &mut self,
        id: GroupId,
        snapshot: &Snapshot,
        keep_from: Index,
        discard_log: bool,
    ) -> Result<(), StoreError> {
        let mut group = self.groups.get(&id).copied().unwrap_or_default();
        let last = snapshot.meta.last.index;
        let before = group.state.snapshot.unwrap_or_default();
        assert!(last >= before, "{id}: snapshot {last} would replace the later {before}");
        // A log that ends before the snapshot cannot be continued behind it.
        if discard_log || group.last < last {
            // The place must be on the disk before a snapshot names it: with the seal before it
            // lost, entries to come would stand before the place, and not count.
            self.live.sync()?;
            group.void_before = self.live.place();
            group.last = last;
            for highest in self.segments.values_mut() {
                highest.remove(&id);
            }
        }
        group.state.snapshot = Some(last);
        // What was once not needed may be gone: it never comes back.
        group.keep_from = group.keep_from.max(keep_from.min(last.next()));
        let saved = Saved {
            snapshot: snapshot.clone(),
            keep_from: group.keep_from,
            void_before: group.void_before,
        };
        self.groups.insert(id, group);
        snapshot::save(&self.home.snapshots, self.home.owner, id, &saved)
    }

    /// Removes the segments in front that no group needs.
    fn drop_unneeded(&mut self) -> Result<(), StoreError> {
        let unneeded = self.segments.iter().take_while(|(number, highest)| {
            let needless = |(id, index): (&GroupId, &Index)| *index < self.groups[id].keep_from;
            **number != self.live.number && highest.iter().all(needless)
        });
        let unneeded: Vec<u64> = unneeded.map(|(number, _)| *number).collect();
        let Some(last) = unneeded.last() else { return Ok(()) };
        self.oldest = self.oldest.max(last + 1);
        // The seal first: should a segment be gone, a later record must say that it is not missed.
        if !self.live.has_room(SEAL_BYTES) {
            self.move_on(SEAL_BYTES)?;
        }
        self.live.sync()?;
        self.live.seal(self.oldest, false)?;
        let groups = self.groups.iter();
        let held = groups.filter(|(_, group)| group.state_segment < self.oldest);
        let mut staged: Vec<Staged> = held.map(|(id, _)| self.state_of(*id)).collect();
        self.append(&mut staged)?;
        self.live.sync()?;
        for number in unneeded {
            disk::remove(&segment::path(&self.home.log, number))?;
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
        self.live.seal(self.oldest, false)
    }
}
