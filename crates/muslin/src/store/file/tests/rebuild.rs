//! What becomes of damage: aside, written anew, told; whatever step the process dies at.

use super::super::check::Verdict;
use super::super::disk::{Fault, inject};
use super::*;
use std::io::ErrorKind;

const SEGMENT_BYTES: u64 = 1024;

/// Two groups over several segments, one of them with a snapshot.
fn lived() -> BTreeMap<PathBuf, Vec<u8>> {
    let dir = scratch();
    FileStore::create(dir.path(), OWNER, options(SEGMENT_BYTES)).unwrap();
    let (mut store, _) = open(dir.path(), SEGMENT_BYTES).unwrap();
    for at in 0..6 {
        let (from, to) = (at * 4 + 1, at * 4 + 4);
        store.write(&[(GroupId(0), log(1, from..=to)), (GroupId(5), log(2, from..=to))]).unwrap();
    }
    store.write(&[(GroupId(0), saved(1, 8, 9, false))]).unwrap();
    store.write(&[(GroupId(0), committed(3, 20)), (GroupId(5), committed(2, 24))]).unwrap();
    store.write(&[(GroupId(5), log(2, 25..=25))]).unwrap();
    drop(store);
    files(dir.path())
}

/// The last but one segment is damaged in its middle.
fn damaged_log() -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = lived();
    let names: Vec<PathBuf> =
        files.keys().filter(|name| name.starts_with("log")).cloned().collect();
    files.get_mut(&names[names.len() - 2]).unwrap()[400] ^= 1;
    files
}

#[test]
fn a_damaged_log_goes_aside_and_every_group_rebuilds_from_what_is_sound() {
    let dir = lay_out(&damaged_log());
    let (mut store, groups) = open_any(dir.path(), SEGMENT_BYTES).unwrap();
    assert_eq!(groups.len(), 2);
    for (id, group) in &groups {
        let damage = group.damage.as_ref().unwrap();
        assert!(damage.to_string().contains("is damaged at byte"), "{id}: {damage}");
        assert!(group.raft.hard_state.rebuilding);
        assert!(!group.raft.entries.is_empty(), "{id}: what stands before the damage is sound");
    }
    // The term of a record behind the damage is not forgotten.
    assert_eq!(groups[&GroupId(0)].raft.hard_state.term, Term(3));
    assert_eq!(groups[&GroupId(0)].raft.snapshot.last.index, Index(8));
    let reason = fs::read_to_string(dir.path().join("damaged/1/reason.txt")).unwrap();
    assert!(reason.contains("is damaged at byte"), "{reason}");
    assert!(dir.path().join("damaged/1/log").is_dir());
    // The others' log comes, and the rebuild ends.
    let last = groups[&GroupId(5)].raft.entries.last().unwrap().id.index.0;
    let hard_state = HardState { rebuilding: false, ..groups[&GroupId(5)].raft.hard_state };
    let write =
        Write::Log { hard_state: Some(hard_state), entries: entries(2, last + 1..=30).into() };
    store.write(&[(GroupId(5), write)]).unwrap();
    drop(store);
    let (_, again) = open(dir.path(), SEGMENT_BYTES).unwrap();
    assert_eq!(again[&GroupId(5)].raft.entries, entries(2, 1..=30));
    assert!(!again[&GroupId(5)].raft.hard_state.rebuilding);
    assert!(again[&GroupId(0)].raft.hard_state.rebuilding);
    let checked = FileStore::check(dir.path(), OWNER).unwrap();
    assert_eq!((checked.verdict, checked.rebuilding), (Verdict::Rebuilding, 1));
    assert_eq!(checked.damages, [], "what was damaged stands aside");
}

#[test]
fn a_damaged_snapshot_concerns_its_group_alone() {
    let mut files = lived();
    let name = Path::new("snapshot/0000000000000000.snap");
    files.get_mut(name).unwrap()[120] ^= 1;
    let dir = lay_out(&files);
    let (_, groups) = open_any(dir.path(), SEGMENT_BYTES).unwrap();
    assert!(groups[&GroupId(0)].damage.is_some() && groups[&GroupId(0)].snapshot.is_none());
    assert!(groups[&GroupId(0)].raft.hard_state.rebuilding);
    assert_eq!(groups[&GroupId(0)].raft.hard_state.term, Term(3));
    let other = &groups[&GroupId(5)];
    assert!(other.damage.is_none() && !other.raft.hard_state.rebuilding);
    assert_eq!(other.raft.entries, entries(2, 1..=25));
    assert!(dir.path().join("damaged/1").join(name.file_name().unwrap()).exists());
}

#[test]
fn a_log_directory_that_is_gone_is_damage() {
    for part in ["log", "snapshot"] {
        let dir = lay_out(&lived());
        fs::remove_dir_all(dir.path().join(part)).unwrap();
        let (mut store, groups) = open_any(dir.path(), SEGMENT_BYTES).unwrap();
        assert!(groups[&GroupId::CONTROL].damage.is_some(), "{part}");
        assert!(groups[&GroupId::CONTROL].raft.hard_state.rebuilding, "{part}");
        assert_eq!(groups[&GroupId::CONTROL].snapshot.is_some(), part == "log");
        // All of the log was still there: without the snapshot it is enough.
        let found = &groups[&GroupId::CONTROL].raft.entries;
        assert_eq!(found.len(), if part == "log" { 0 } else { 24 });
        let next = found.last().map_or(8, |entry| entry.id.index.0) + 1;
        store.write(&[(GroupId::CONTROL, log(4, next..=next + 3))]).unwrap();
        drop(store);
        let (_, groups) = open(dir.path(), SEGMENT_BYTES).unwrap();
        let count = groups[&GroupId::CONTROL].raft.entries.len();
        assert_eq!(count, if part == "log" { 4 } else { 28 });
    }
}

#[test]
fn what_goes_aside_is_kept_the_newest_few_times() {
    let dir = lay_out(&lived());
    for _ in 0..6 {
        fs::remove_dir_all(dir.path().join("log")).unwrap();
        open_any(dir.path(), SEGMENT_BYTES).unwrap();
    }
    let mut kept: Vec<String> = fs::read_dir(dir.path().join("damaged"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    kept.sort();
    assert_eq!(kept, ["4", "5", "6"]);
}

/// The process dies behind any step of the move, and again while it does it anew: what comes out is
/// always the same.
#[test]
fn a_crash_at_any_step_of_the_move_changes_nothing() {
    let mut snapshot_too = damaged_log();
    snapshot_too.get_mut(Path::new("snapshot/0000000000000000.snap")).unwrap()[120] ^= 1;
    for files in [damaged_log(), snapshot_too] {
        let expected = strip(open_any(lay_out(&files).path(), SEGMENT_BYTES).unwrap().1);
        let mut steps = 0;
        loop {
            let dir = lay_out(&files);
            let dies = |after| {
                let fault = Fault { of: |_| true, after, times: u64::MAX, error: ErrorKind::Other };
                inject(Some(fault));
                let has_died = open_any(dir.path(), SEGMENT_BYTES).is_err();
                inject(None);
                has_died
            };
            let has_died = dies(steps);
            dies(steps / 2);
            let (mut store, groups) = open_any(dir.path(), SEGMENT_BYTES).unwrap();
            assert_eq!(strip(groups), expected, "died behind step {steps}");
            store.write(&[(GroupId(9), log(1, 1..=3))]).unwrap();
            assert!(!dir.path().join("log.new").exists() && !dir.path().join("log.tmp").exists());
            if !has_died {
                break;
            }
            steps += 1;
        }
        println!("steps of a move: {steps}");
        assert!(steps > 30);
    }
}

/// A crash between the steps may have the damage told before, or as a missing file.
fn strip(mut groups: Groups) -> Groups {
    for group in groups.values_mut() {
        (group.torn_bytes, group.damage) = (0, None);
    }
    groups
}

/// A thousand groups, some of them quiet for long: found at once, and the log stays short.
#[test]
fn a_thousand_groups_share_a_log_that_stays_short() {
    let dir = scratch();
    let size = 64 << 10;
    FileStore::create(dir.path(), OWNER, options(size)).unwrap();
    let (mut store, _) = open(dir.path(), size).unwrap();
    let quiet: Vec<_> = (1..1000).map(|id| (GroupId(id), log(1, 1..=1))).collect();
    store.write(&quiet).unwrap();
    for at in 0..400 {
        store.write(&[(GroupId(0), log(1, at * 20 + 1..=at * 20 + 20))]).unwrap();
        if at % 20 == 19 {
            let Write::Snapshot { snapshot, keep_from, .. } =
                saved(1, at * 20 + 20, at * 20 + 20, false)
            else {
                panic!("it is one")
            };
            store.aside().save(GroupId(0), &snapshot, keep_from).unwrap();
        }
        store.tend().unwrap();
    }
    let count = segments(dir.path());
    drop(store);
    let (_, groups) = open(dir.path(), size).unwrap();
    assert_eq!(groups.len(), 1000);
    assert!((1..1000).all(|id| groups[&GroupId(id)].raft.entries == entries(1, 1..=1)));
    println!("{count} segments");
    assert!(count <= 14, "{count} segments");
}
