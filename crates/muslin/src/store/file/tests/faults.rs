//! Disks that fail, and disks that are full.

use super::super::disk::{Fault, Step, inject};
use super::*;
use muslin_core::raft::DiskRoom;
use std::io::ErrorKind;

const SEGMENT_BYTES: u64 = 1024;

/// Whether a step is of the kind that is to fail.
type IsHit = fn(&Step) -> bool;

/// Whatever step fails, with whatever error, the first time is the last: nothing is acknowledged
/// behind it, and what was acknowledged before is there.
#[test]
fn after_a_failed_step_the_store_refuses_everything() {
    let kinds: [(&str, IsHit); 5] = [
        ("write", |step| matches!(step, Step::Write { .. })),
        ("sync", |step| matches!(step, Step::Sync(_))),
        ("sync the directory", |step| matches!(step, Step::SyncDir(_))),
        ("rename", |step| matches!(step, Step::Rename { .. })),
        ("create", |step| matches!(step, Step::Create(_))),
    ];
    let (mut stopped, mut acknowledged_after) = (0, 0);
    for (name, of) in kinds {
        for after in 0..60 {
            let mut history = contract::History::new(after);
            let dir = scratch();
            FileStore::create(dir.path(), OWNER, options(SEGMENT_BYTES)).unwrap();
            let (mut store, _) = open(dir.path(), SEGMENT_BYTES).unwrap();
            inject(Some(Fault { of, after, times: 1, error: ErrorKind::Other }));
            let mut states = vec![Groups::new()];
            let mut safe = 0;
            let mut error = None;
            for _ in 0..20 {
                let batch = history.batch_by_write(&mut states);
                match store.write(&batch).and_then(|()| store.tend()) {
                    Ok(_) if error.is_none() => safe = states.len() - 1,
                    Ok(_) => acknowledged_after += 1,
                    Err(refusal) => drop(error.get_or_insert(refusal)),
                }
            }
            inject(None);
            drop(store);
            stopped += u64::from(error.is_some());
            let (_, mut groups) = open(dir.path(), SEGMENT_BYTES).unwrap();
            groups.values_mut().for_each(|group| group.torn_bytes = 0);
            let is_one = states[safe..].contains(&groups);
            assert!(is_one, "{name} {after}: not a state from what was acknowledged on");
        }
    }
    println!("steps that failed: {stopped}, acknowledged after one: {acknowledged_after}");
    assert!(stopped > 200 && acknowledged_after == 0);
}

/// No room at any step but a sync: the rest of the batch is given again when there is, and nothing
/// is lost or doubled.
#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    let of = |step: &Step| matches!(step, Step::Write { .. } | Step::Create(_));
    let mut refused = 0;
    for seed in 0..40 {
        let mut history = contract::History::new(seed);
        let dir = scratch();
        FileStore::create(dir.path(), OWNER, options(SEGMENT_BYTES)).unwrap();
        let (mut store, _) = open(dir.path(), SEGMENT_BYTES).unwrap();
        for at in 0..20 {
            let batch = history.batch();
            let fault = Fault { of, after: at % 7, times: 2, error: ErrorKind::StorageFull };
            inject(Some(fault));
            let mut rest = &batch[..];
            while let Err(error) = store.write(rest) {
                let StoreError::Full { done, .. } = error else { panic!("seed {seed}: {error}") };
                rest = &rest[done..];
                refused += 1;
            }
            inject(None);
            store.tend().unwrap();
        }
        drop(store);
        let (_, mut groups) = open(dir.path(), SEGMENT_BYTES).unwrap();
        groups.values_mut().for_each(|group| group.torn_bytes = 0);
        assert_eq!(groups, *history.groups(), "seed {seed}");
    }
    println!("refused for lack of room: {refused}");
    assert!(refused > 200);
}

/// A sync that finds no room may have lost what it was asked for: that is an end.
#[test]
fn a_sync_that_finds_no_room_is_the_last() {
    let dir = scratch();
    FileStore::create(dir.path(), OWNER, options(4096)).unwrap();
    let (mut store, _) = open(dir.path(), 4096).unwrap();
    let of = |step: &Step| matches!(step, Step::Sync(_));
    inject(Some(Fault { of, after: 0, times: 1, error: ErrorKind::StorageFull }));
    let error = store.write(&[(GroupId(0), log(1, 1..=1))]).unwrap_err();
    inject(None);
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    let error = store.write(&[(GroupId(0), log(1, 1..=1))]).unwrap_err();
    assert!(error.to_string().contains("after an earlier error"), "{error}");
}

/// The next segment and the reserve are there before they are needed, so that it is told while
/// there is room for what was issued.
#[test]
fn a_full_disk_is_told_while_what_was_issued_still_fits() {
    let dir = scratch();
    FileStore::create(dir.path(), OWNER, options(4096)).unwrap();
    let (mut store, _) = open(dir.path(), 4096).unwrap();
    assert_eq!(store.tend().unwrap(), DiskRoom::Room);
    inject(Some(Fault {
        of: |step| matches!(step, Step::Create(_)),
        after: 0,
        times: u64::MAX,
        error: ErrorKind::StorageFull,
    }));
    let mut at = 0;
    let mut write = |store: &mut FileStore| {
        at += 1;
        store.write(&[(GroupId(0), log(1, at..=at))]).map(|()| at)
    };
    let mut told_at = None;
    let full = loop {
        match write(&mut store) {
            Ok(at) if store.tend().unwrap() == DiskRoom::Full => drop(told_at.get_or_insert(at)),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(full, StoreError::Full { done: 0, .. }), "{full}");
    let written = at - 1;
    let told_at = told_at.expect("told before");
    assert!(written > told_at + 4096 / 110, "a segment is left: {told_at}, {written}");
    inject(None);
    assert_eq!(store.tend().unwrap(), DiskRoom::Room, "clears by itself");
    store.write(&[(GroupId(0), log(1, written + 1..=written + 9))]).unwrap();
    drop(store);
    let (_, groups) = open(dir.path(), 4096).unwrap();
    assert_eq!(groups[&GroupId(0)].raft.entries, entries(1, 1..=written + 9));
}

/// What a large snapshot leaves is on its way back to the disk when the log finds it full.
#[test]
fn the_log_waits_for_what_goes_back_to_the_disk() {
    let dir = scratch();
    FileStore::create(dir.path(), OWNER, options(4096)).unwrap();
    let (mut store, _) = open(dir.path(), 4096).unwrap();
    for last in [10, 20] {
        let mut installed = saved(1, last, last + 1, true);
        if let Write::Snapshot { snapshot, .. } = &mut installed {
            snapshot.data = vec![7; 9 << 20].into();
        }
        store.write(&[(GroupId(0), installed)]).unwrap();
    }
    // The segment that is at hand, and that which is to be the next.
    let batch = |first: u64| [(GroupId(0), log(1, first..=first + 99))];
    store.write(&batch(21)).unwrap();
    let of = |step: &Step| matches!(step, Step::Create(_));
    let full = || Some(Fault { of, after: 0, times: 1, error: ErrorKind::StorageFull });
    inject(full());
    store.write(&batch(121)).unwrap();
    inject(full());
    let error = store.write(&batch(221)).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "nothing was given back since: {error}");
    inject(None);
}

/// A snapshot lets go of old segments: it gets the reserve's room.
#[test]
fn a_snapshot_that_finds_no_room_gets_the_reserve() {
    let dir = scratch();
    FileStore::create(dir.path(), OWNER, options(4096)).unwrap();
    let (mut store, _) = open(dir.path(), 4096).unwrap();
    store.write(&[(GroupId(0), log(1, 1..=200))]).unwrap();
    assert_eq!(store.tend().unwrap(), DiskRoom::Room);
    let of =
        |step: &Step| matches!(step, Step::Create(path) if path.to_string_lossy().contains("snap"));
    for (index, times, is_saved) in [(150, 1, true), (200, 2, false), (200, 0, true)] {
        let Write::Snapshot { snapshot, keep_from, .. } = saved(1, index, index + 1, false) else {
            panic!("it is one")
        };
        inject(Some(Fault { of, after: 0, times, error: ErrorKind::StorageFull }));
        let result = store.aside().save(GroupId(0), &snapshot, keep_from);
        assert_eq!(result.is_ok(), is_saved, "{result:?}");
        inject(None);
        let room = store.tend().unwrap();
        assert_eq!(room == DiskRoom::Room, is_saved);
    }
    drop(store);
    let (_, groups) = open(dir.path(), 4096).unwrap();
    assert_eq!(groups[&GroupId(0)].raft.snapshot.last.index, Index(200));
    assert!(groups[&GroupId(0)].raft.entries.is_empty());
}
