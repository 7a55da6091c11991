//! What is done about damage: the files go aside, for the person; what can be vouched for is
//! written anew; and every replica that may have lost something says so until the others have taken
//! its vote away (R11).
//!
//! In the order of the disk's steps, each of which a crash may follow:
//! 1. The new log is written to `log.tmp`, synced, and gets the name `log.new`: it is whole.
//! 2. Damaged snapshots and the old log go to `damaged/<n>`.
//! 3. `log.new` becomes `log`.
//!
//! Before the old log is away all is as it was, and the damage is found again. After it,
//! [`finish_move`] does the rest.

use super::super::{Damage, DiskCounters, StoreError};
use super::beside::Beside;
use super::direct::Direct;
use super::disk;
use super::held::Held;
use super::log::{Group, Home, Live, Log, Parts};
use super::record::GroupState;
use super::replay::{Found, Picture};
use super::segment::{self, HEADER_BYTES};
use super::snapshot::{self, Saved};
use super::store::Options;
use muslin_core::base::{GroupId, Index};
use muslin_core::raft::Entry;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where damaged files are kept, each time in a directory of its own, numbered from 1.
const ASIDE: &str = "damaged";

/// So many of these directories are kept, the newest.
const ASIDE_MAX: usize = 3;

/// Says in the directory what was found.
const REASON: &str = "reason.txt";

/// The new log begins a chain of its own.
const FIRST_SEED: u32 = 0;

pub(super) fn new_log(home: &Home) -> PathBuf {
    home.root.join("log.new")
}

fn unfinished_log(home: &Home) -> PathBuf {
    home.root.join("log.tmp")
}

/// Ends what a crash interrupted.
pub(super) fn finish_move(home: &Home) -> Result<(), StoreError> {
    disk::remove_tree(&unfinished_log(home))?;
    let new = new_log(home);
    if !new.exists() {
        return Ok(());
    }
    if home.log.exists() {
        // The damage is still there, and is found again.
        return disk::remove_tree(&new);
    }
    disk::rename(&new, &home.log)?;
    disk::sync_dir(&home.root)
}

/// Puts the damaged files aside and leaves a sound store. Says which groups were concerned.
pub(super) fn put_aside(
    home: &Home,
    picture: Picture,
) -> Result<BTreeMap<GroupId, Damage>, StoreError> {
    disk::make_dir(&home.log)?;
    disk::make_dir(&home.snapshots)?;
    let concerned = concerned(&picture);
    let snapshots: Vec<GroupId> = picture.snapshot_damages.keys().copied().collect();
    write_anew(home, picture, &concerned)?;
    disk::rename(&unfinished_log(home), &new_log(home))?;
    disk::sync_dir(&home.root)?;
    let aside = make_aside(home, &concerned)?;
    for group in snapshots {
        let path = snapshot::path(&home.snapshots, group);
        if path.exists() {
            disk::rename(&path, &aside.join(path.file_name().unwrap_or_default()))?;
        }
    }
    disk::sync_dir(&home.snapshots)?;
    disk::rename(&home.log, &aside.join("log"))?;
    disk::sync_dir(&aside)?;
    disk::sync_dir(&home.root)?;
    finish_move(home)?;
    forget_oldest(home)?;
    Ok(concerned)
}

/// The groups that may have lost something, and to what. Damage in the log concerns them all: any
/// may have stood where nothing can be read. The control group is one of them wherever there is a
/// node.
pub(super) fn concerned(picture: &Picture) -> BTreeMap<GroupId, Damage> {
    let mut concerned = picture.snapshot_damages.clone();
    if let Some(damage) = &picture.log_damage {
        for id in picture.groups.keys().chain([&GroupId::CONTROL]) {
            concerned.entry(*id).or_insert_with(|| damage.clone());
        }
    }
    concerned
}

/// Writes what can be vouched for to a log of its own, numbered on from the old one so that no
/// snapshot names a place in it.
fn write_anew(
    home: &Home,
    picture: Picture,
    concerned: &BTreeMap<GroupId, Damage>,
) -> Result<(), StoreError> {
    let named = picture.snapshots.values().map(|saved| saved.effect.void_before.segment);
    let number = named.chain([picture.highest]).max().unwrap_or(0) + 1;
    let home = Home {
        log: unfinished_log(home),
        options: Options { is_alone: true, ..home.options.clone() },
        ..home.clone()
    };
    disk::make_dir(&home.log)?;
    let header = home.header(number, 0, number, FIRST_SEED);
    let file = segment::create(&home.log, &header)?;
    let path = segment::path(&home.log, number);
    let (size, end) = (header.size, HEADER_BYTES as u64);
    let (chain, direct) = (FIRST_SEED, Direct::default());
    let live = Live { path, file, number, size, end, chain, direct, is_dirty: false };
    let mut found = picture.groups;
    for id in concerned.keys() {
        found.entry(*id).or_default();
    }
    let groups: BTreeMap<GroupId, Group> = found
        .into_iter()
        .map(|(id, found)| {
            let saved = picture.snapshots.get(&id);
            (id, vouched_for(found, saved, concerned.contains_key(&id)))
        })
        .collect();
    let ids: Vec<GroupId> = groups.keys().copied().collect();
    let segments = BTreeMap::from([(number, BTreeMap::new())]);
    let beside = Beside::new(home.clone(), Arc::new(DiskCounters::default()));
    let parts = Parts { live, oldest: number, segments, groups };
    Log::new(home, Arc::new(beside), parts).write_again(&ids)
}

/// What of a group is known to be right: its snapshot, and the entries that follow it without a
/// gap.
fn vouched_for(found: Found, saved: Option<&Saved>, is_concerned: bool) -> Group {
    let found = sound_part(found, saved, is_concerned);
    let meta = saved.map(|saved| saved.snapshot.meta.clone()).unwrap_or_default();
    let keep_from = saved.map_or(Index::ZERO, |saved| saved.effect.keep_from);
    let end = found.entries.last().map_or(meta.last, |entry| entry.id);
    let state = GroupState { snapshot: saved.map(|_| meta.last.index), ..found.state };
    let entries = Held::from(&found.entries[..]);
    Group { state, state_segment: 0, last: end.index, keep_from, entries, wanted_at: None }
}

/// The same, as it is found.
pub(super) fn sound_part(found: Found, saved: Option<&Saved>, is_concerned: bool) -> Found {
    let Found { mut state, state_segment, mut entries } = found;
    let last = saved.map(|saved| saved.snapshot.meta.last).unwrap_or_default();
    let keep_from = saved.map_or(Index::ZERO, |saved| saved.effect.keep_from);
    entries.retain(|entry| entry.id.index >= keep_from);
    let follows = |entries: &[Entry]| match (entries.first(), entries.last()) {
        (Some(first), Some(end)) => {
            first.id.index <= last.index.next() && end.id.index >= last.index
        }
        _ => false,
    };
    if !follows(&entries) {
        entries.clear();
    }
    let end = entries.last().map_or(last, |entry| entry.id);
    if is_concerned {
        let hard_state = &mut state.hard_state;
        if end.term > hard_state.term {
            // The log knows of a term whose record is lost: no vote in it is known.
            (hard_state.term, hard_state.vote) = (end.term, None);
        }
        hard_state.commit = hard_state.commit.min(end.index);
        hard_state.rebuilding = true;
    }
    Found { state, state_segment, entries }
}

/// Makes the directory for damaged files, with a note of what is wrong with them.
fn make_aside(home: &Home, concerned: &BTreeMap<GroupId, Damage>) -> Result<PathBuf, StoreError> {
    let all = home.root.join(ASIDE);
    disk::make_dir(&all)?;
    disk::sync_dir(&home.root)?;
    let number = numbers(&all)?.last().map_or(1, |last| last + 1);
    let aside = all.join(number.to_string());
    disk::make_dir(&aside)?;
    disk::sync_dir(&all)?;
    let mut text = String::new();
    for (id, damage) in concerned {
        let _ = writeln!(text, "{id}: {damage}");
    }
    disk::replace(&aside.join(REASON), &[text.as_bytes()])?;
    Ok(aside)
}

/// Keeps a damaged file of the log for the person, out of the way.
pub(super) fn keep(home: &Home, path: &Path, damage: Damage) -> Result<(), StoreError> {
    let aside = make_aside(home, &BTreeMap::from([(GroupId::CONTROL, damage)]))?;
    disk::rename(path, &aside.join(path.file_name().unwrap_or_default()))?;
    disk::sync_dir(&aside)?;
    forget_oldest(home)
}

fn forget_oldest(home: &Home) -> Result<(), StoreError> {
    let all = home.root.join(ASIDE);
    let numbers = numbers(&all)?;
    for number in numbers.iter().rev().skip(ASIDE_MAX) {
        disk::remove_tree(&all.join(number.to_string()))?;
    }
    Ok(())
}

/// The directories of earlier damage, in order.
fn numbers(all: &Path) -> Result<Vec<u64>, StoreError> {
    let names = disk::names(all)?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}
