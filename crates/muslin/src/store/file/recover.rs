//! From what is on the disk to a log that takes writes.

use super::super::{Damage, RecoveredGroup, StoreError};
use super::beside::Beside;
use super::direct::Direct;
use super::disk;
use super::held::Held;
use super::log::{Group, Home, Live, Log, Parts};
use super::rebuild;
use super::replay::{self, Found, Picture, Tail};
use super::segment;
use super::snapshot::{Effect, Saved};
use super::spares::Spares;
use muslin_core::base::GroupId;
use muslin_core::raft::{Recovered, SnapshotMeta};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The log, ready for writes, and what the groups find in it.
type Recovery = (Log, BTreeMap<GroupId, RecoveredGroup>);

/// Reads everything; on success all that was found is durable. What is damaged is put aside first,
/// and what is left is written anew.
pub(super) fn recover(home: &Home, beside: &Arc<Beside>) -> Result<Recovery, StoreError> {
    rebuild::finish_move(home)?;
    disk::clean(&home.log)?;
    Spares::forget_kept(&home.log)?;
    if !home.snapshots.exists() {
        // Whoever had a snapshot there misses it below.
        disk::make_dir(&home.snapshots)?;
        disk::sync_dir(&home.root)?;
    }
    disk::clean(&home.snapshots)?;
    let mut picture = replay::read(home)?;
    let mut damages = BTreeMap::new();
    if picture.first_damage().is_some() {
        damages = rebuild::put_aside(home, picture)?;
        beside.counters().damaged();
        picture = replay::read(home)?;
        if let Some(damage) = picture.first_damage() {
            // Written a moment ago: nothing on this disk can be relied on.
            let Damage { path, offset, what } = damage.clone();
            return Err(StoreError::Damaged { path, offset, what });
        }
    }
    let (log, mut groups) = begin(home, beside, picture)?;
    for (id, damage) in damages {
        groups.entry(id).or_default().damage = Some(damage);
    }
    Ok((log, groups))
}

/// Makes durable what was found, clears the tail, and makes the log ready.
fn begin(home: &Home, beside: &Arc<Beside>, mut picture: Picture) -> Result<Recovery, StoreError> {
    disk::sync_dir(&home.snapshots)?;
    for number in picture.closed.keys() {
        // The closing seal may be known to the page cache alone. The next segment is used on the
        // strength of it.
        let path = segment::path(&home.log, *number);
        disk::sync(&disk::open(&path)?, &path)?;
    }
    let tail = picture.tail.expect("a sound log has an end");
    replay::clear(&tail)?;
    if let Some(follower) = tail.follower {
        // Should its name come back, it is found unused again.
        disk::remove(&segment::path(&home.log, follower))?;
    }
    let mut torn = Some(tail.torn_bytes());
    let (mut groups, mut recovered) = (BTreeMap::new(), BTreeMap::new());
    let published = picture.snapshots.iter();
    let published = published
        .map(|(id, saved)| (*id, (saved.snapshot.meta.last.index, saved.effect)))
        .collect();
    for (id, found) in picture.groups {
        let (group, mut whole) = join(found, picture.snapshots.remove(&id));
        whole.torn_bytes = torn.take().unwrap_or(0);
        groups.insert(id, group);
        recovered.insert(id, whole);
    }
    beside.found(published, picture.closed);
    let (oldest, segments) = (picture.oldest, picture.segments);
    let parts = Parts { live: live(tail), oldest, segments, groups };
    let mut log = Log::new(home.clone(), beside.clone(), parts);
    log.seal()?;
    Ok((log, recovered))
}

fn live(tail: Tail) -> Live {
    Live {
        path: tail.segment.path,
        file: tail.segment.file,
        number: tail.segment.header.number,
        size: tail.segment.header.size,
        end: tail.offset,
        chain: tail.chain,
        direct: Direct::default(),
        // What is there may be known to the page cache alone.
        is_dirty: true,
    }
}

/// What the log has to know of a group, and what its replica gets.
pub(super) fn join(found: Found, saved: Option<Saved>) -> (Group, RecoveredGroup) {
    let keep_from = saved.as_ref().map_or(Effect::default(), |saved| saved.effect).keep_from;
    let snapshot = saved.map(|saved| saved.snapshot);
    let meta = snapshot.as_ref().map_or(SnapshotMeta::default(), |saved| saved.meta.clone());
    let mut entries = found.entries;
    entries.retain(|entry| entry.id.index >= keep_from);
    if entries.last().is_some_and(|entry| entry.id.index < meta.last.index) {
        // The snapshot was saved while the log was behind it.
        entries.clear();
    }
    let last = entries.last().map_or(meta.last.index, |entry| entry.id.index);
    let mut state = found.state;
    state.snapshot = snapshot.as_ref().map(|snapshot| snapshot.meta.last.index);
    let held = Held::from(&entries[..]);
    let state_segment = found.state_segment;
    let group = Group { state, state_segment, last, keep_from, entries: held, wanted_at: None };
    let hard_state = state.hard_state;
    let raft = Recovered { hard_state, snapshot: meta, entries };
    (group, RecoveredGroup { raft, snapshot, ..RecoveredGroup::default() })
}
