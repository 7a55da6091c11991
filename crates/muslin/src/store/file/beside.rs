//! What is done beside the log: snapshots are saved, and what was written is looked at again.
//!
//! One lock per store orders the snapshots that the log installs and those that are saved beside
//! it. It is held while a file gets its name, not while it is written.

use super::super::{Aside, Damage, DiskCounters, Scrubbed, StoreError};
use super::disk;
use super::given::Given;
use super::log::Home;
use super::record::Place;
use super::scrub::{Item, Scrubber, Step};
use super::snapshot::{self, Effect};
use super::spares::Spares;
use muslin_core::base::{GroupId, Index};
use muslin_core::raft::Snapshot;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Shared by the log and whoever works beside it.
pub(super) struct Beside {
    home: Home,
    spares: Spares,
    given: Given,
    /// Who saves snapshots.
    room_told: RoomTold,
    counters: Arc<DiskCounters>,
    state: Mutex<State>,
    scrubber: Mutex<Scrubber>,
}

/// Snapshots by group: where each ends, and what it makes of the log.
pub(super) type Snapshots = BTreeMap<GroupId, (Index, Effect)>;

/// Of how many files that went back to the disk somebody was told, who waits for room.
#[derive(Default)]
pub(super) struct RoomTold(AtomicU64);

#[derive(Default)]
struct State {
    /// What stands in the files.
    published: Snapshots,
    /// Saved beside the log, which does not know yet.
    saved: Snapshots,
    /// Segments that are not written to any more, and the checksum of the closing seal of each.
    closed: BTreeMap<u64, u32>,
    /// Closed segments that have gone bad, and in what way.
    spoiled: BTreeMap<u64, Damage>,
    /// Groups whose snapshot has gone bad.
    lost: BTreeSet<GroupId>,
}

impl Beside {
    pub(super) fn new(home: Home, counters: Arc<DiskCounters>) -> Beside {
        let spares = home.spares();
        let given = Given::new(home.options.is_alone);
        let (state, scrubber) = (Mutex::default(), Mutex::default());
        let room_told = RoomTold::default();
        Beside { home, spares, given, room_told, counters, state, scrubber }
    }

    /// What recovery found.
    pub(super) fn found(&self, published: Snapshots, closed: BTreeMap<u64, u32>) {
        let mut state = self.lock();
        state.published = published;
        state.closed = closed;
    }

    /// The last closed segment that has gone bad.
    pub(super) fn spoiled(&self) -> Option<u64> {
        self.lock().spoiled.keys().next_back().copied()
    }

    /// A segment that has gone bad is not needed any more: what was wrong with it.
    pub(super) fn put_right(&self, number: u64) -> Option<Damage> {
        self.lock().spoiled.remove(&number)
    }

    pub(super) fn spares(&self) -> &Spares {
        &self.spares
    }

    pub(super) fn counters(&self) -> &Arc<DiskCounters> {
        &self.counters
    }

    /// Replaces a group's snapshot, in the order of the log. Says what that makes of the log.
    pub(super) fn install(
        &self,
        group: GroupId,
        snapshot: &Snapshot,
        keep_from: Index,
        void_before: Option<Place>,
    ) -> Result<Effect, StoreError> {
        let mut state = self.lock();
        let mut effect = state.effect(group, snapshot, keep_from);
        effect.void_before = void_before.unwrap_or(effect.void_before);
        let path = snapshot::path(&self.home.snapshots, group);
        let unfinished = disk::unfinished(&path);
        self.prepare(&unfinished, group, snapshot, effect)?;
        let before = disk::supersede(&unfinished, &path)?;
        state.published.insert(group, (snapshot.meta.last.index, effect));
        state.saved.remove(&group);
        state.lost.remove(&group);
        drop(state);
        self.given.take(before);
        Ok(effect)
    }

    /// Waits for what goes back to the disk. Whether any did of which whoever asks was not told:
    /// the disk may have been full just before.
    pub(super) fn has_made_room(&self, told: &RoomTold) -> bool {
        let given = self.given.settle();
        told.0.swap(given, Ordering::Relaxed) < given
    }

    /// Writes a snapshot's file. When there is no room, what goes back to the disk is waited for,
    /// and what is kept for that is given up.
    fn prepare(
        &self,
        unfinished: &Path,
        group: GroupId,
        snapshot: &Snapshot,
        effect: Effect,
    ) -> Result<(), StoreError> {
        let prepare = || snapshot::prepare(unfinished, self.home.owner, group, snapshot, effect);
        let mut prepared = prepare();
        let is_full = matches!(prepared, Err(StoreError::Full { .. }));
        if is_full && self.has_made_room(&self.room_told) {
            prepared = prepare();
        }
        if matches!(prepared, Err(StoreError::Full { .. }))
            && self.spares.give_up(snapshot.data.len() as u64)?
        {
            prepared = prepare();
        }
        if prepared.is_ok() {
            self.spares.has_saved();
        }
        prepared
    }

    /// Snapshots saved since this was last asked.
    pub(super) fn take_saved(&self) -> Snapshots {
        std::mem::take(&mut self.lock().saved)
    }

    /// They could not be taken note of.
    pub(super) fn put_back(&self, saved: Snapshots) {
        let mut state = self.lock();
        for (group, mark) in saved {
            state.saved.entry(group).or_insert(mark);
        }
    }

    /// A segment was closed.
    pub(super) fn closed(&self, number: u64, chain: u32) {
        self.lock().closed.insert(number, chain);
    }

    /// A segment is about to be removed.
    pub(super) fn dropped(&self, number: u64) {
        self.lock().closed.remove(&number);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What is behind it changes in single steps only.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a snapshot stands while it is made beside the log, which may be making one too.
    fn unfinished(&self, path: &Path) -> PathBuf {
        disk::unfinished(&path.with_extension("own"))
    }
}

impl State {
    /// What a snapshot of a group makes of the log. What was once not needed may be gone: it never
    /// comes back.
    fn effect(&self, group: GroupId, snapshot: &Snapshot, keep_from: Index) -> Effect {
        let (_, before) = self.published.get(&group).copied().unwrap_or_default();
        let end = snapshot.meta.last.index.next();
        Effect { keep_from: before.keep_from.max(keep_from.min(end)), ..before }
    }

    /// Everything that can be looked at.
    fn items(&self) -> Vec<Item> {
        let closed = self.closed.iter().map(|(number, chain)| Item::Segment(*number, *chain));
        closed.chain(self.published.keys().map(|group| Item::Snapshot(*group))).collect()
    }

    /// Takes note of damage. Whether it is news, and of a file that is still needed.
    fn spoil(&mut self, item: Item, damage: &Damage) -> bool {
        match item {
            Item::Segment(number, _) => {
                let is_needed = self.closed.contains_key(&number);
                is_needed && self.spoiled.insert(number, damage.clone()).is_none()
            }
            Item::Snapshot(group) => self.published.contains_key(&group) && self.lost.insert(group),
        }
    }

    /// Where the group's snapshot ends; `None` before the first.
    fn last(&self, group: GroupId) -> Option<Index> {
        self.published.get(&group).map(|(last, _)| *last)
    }
}

impl Aside for Beside {
    fn save(
        &self,
        group: GroupId,
        snapshot: &Snapshot,
        keep_from: Index,
    ) -> Result<(), StoreError> {
        let last = snapshot.meta.last.index;
        let path = snapshot::path(&self.home.snapshots, group);
        let unfinished = self.unfinished(&path);
        let (before, effect, is_wanted) = {
            let state = self.lock();
            let effect = state.effect(group, snapshot, keep_from);
            let (_, present) = state.published.get(&group).copied().unwrap_or_default();
            let is_wanted = state.lost.contains(&group) || effect.keep_from > present.keep_from;
            (state.last(group), effect, is_wanted)
        };
        if before > Some(last) || before == Some(last) && !is_wanted {
            return Ok(());
        }
        self.prepare(&unfinished, group, snapshot, effect)?;
        let mut state = self.lock();
        if state.last(group) != before {
            // One that a leader sent came first, and is later: its entries follow it, not this.
            disk::discard(&unfinished);
            return Ok(());
        }
        let superseded = disk::supersede(&unfinished, &path);
        let superseded = superseded.inspect_err(|_| disk::discard(&unfinished))?;
        state.published.insert(group, (last, effect));
        state.saved.insert(group, (last, effect));
        state.lost.remove(&group);
        drop(state);
        superseded.give_back();
        Ok(())
    }

    fn scrub(&self, bytes: u64) -> Result<Scrubbed, StoreError> {
        // Held by nobody else.
        let mut scrubber = self.scrubber.lock().unwrap_or_else(PoisonError::into_inner);
        if !scrubber.is_begun() {
            scrubber.begin(self.lock().items());
        }
        match scrubber.step(&self.home, bytes)? {
            Step::Read(count) => self.counters.scrubbed(count),
            Step::Judged(_, None) => {}
            Step::Judged(item, Some(damage)) => {
                if self.lock().spoil(item, &damage) {
                    self.counters.damaged();
                    return Ok(match item {
                        Item::Segment(..) => Scrubbed::Damaged(damage),
                        Item::Snapshot(group) => Scrubbed::SnapshotDamaged(group, damage),
                    });
                }
            }
            Step::Done => return Ok(Scrubbed::All),
        }
        Ok(Scrubbed::Some)
    }

    fn counters(&self) -> Arc<DiskCounters> {
        self.counters.clone()
    }
}
