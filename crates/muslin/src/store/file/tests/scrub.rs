//! Damage that comes while the store is open.

use super::super::super::Scrubbed;
use super::*;
use std::collections::BTreeSet;

const SEGMENT_BYTES: u64 = 1024;

/// Looks through everything once; what it found.
fn scrubbed(store: &FileStore) -> Vec<Damage> {
    let mut found = Vec::new();
    for _ in 0..10_000 {
        match store.aside().scrub(100).unwrap() {
            Scrubbed::Some => {}
            Scrubbed::All => return found,
            Scrubbed::Damaged(damage) | Scrubbed::SnapshotDamaged(_, damage) => found.push(damage),
        }
    }
    panic!("a look comes to its end");
}

fn used() -> (TempDir, FileStore) {
    let dir = scratch();
    FileStore::create(dir.path(), OWNER, options(SEGMENT_BYTES)).unwrap();
    let (mut store, _) = open(dir.path(), SEGMENT_BYTES).unwrap();
    for at in 0..6 {
        let (from, to) = (at * 4 + 1, at * 4 + 4);
        store.write(&[(GroupId(0), log(1, from..=to)), (GroupId(5), log(2, from..=to))]).unwrap();
    }
    store.write(&[(GroupId(0), saved(1, 8, 9, false)), (GroupId(0), committed(1, 20))]).unwrap();
    (dir, store)
}

#[test]
fn a_sound_store_is_read_to_its_end_without_a_finding() {
    let (dir, store) = used();
    for _ in 0..2 {
        assert_eq!(scrubbed(&store), []);
    }
    let read = store.aside().counters().numbers().scrubbed_bytes;
    let closed = segments(dir.path()) as u64 - 1;
    assert!(read >= 2 * closed * SEGMENT_BYTES, "{read} bytes");
}

/// Each byte of each closed segment, in turn: found, written again, gone, and all is as before.
#[test]
fn a_segment_that_goes_bad_is_written_again_from_memory() {
    let (dir, mut store) = used();
    let first = files(dir.path()).keys().find(|name| name.starts_with("log")).unwrap().clone();
    let mut repaired = 0;
    for at in (0..SEGMENT_BYTES as usize).step_by(37) {
        let name = files(dir.path()).keys().find(|name| name.starts_with("log")).unwrap().clone();
        let path = dir.path().join(&name);
        let mut bytes = fs::read(&path).unwrap();
        if at >= bytes.iter().rposition(|byte| *byte != 0).unwrap() {
            continue;
        }
        bytes[at] ^= 0x10;
        fs::write(&path, bytes).unwrap();
        let found = scrubbed(&store);
        assert_eq!(found.len(), 1, "{name:?}@{at}: {found:?}");
        store.tend().unwrap();
        assert!(!path.exists(), "{name:?}@{at}: it is not needed any more");
        repaired += 1;
        assert_eq!(scrubbed(&store), []);
        // Something to close another segment with.
        store.write(&[(GroupId(7), log(1, at as u64 * 10 + 1..=at as u64 * 10))]).unwrap();
        let next = repaired * 8;
        store.write(&[(GroupId(8), log(1, next - 7..=next))]).unwrap();
    }
    assert!(repaired > 15);
    assert!(!dir.path().join(first).exists());
    assert_eq!(store.aside().counters().numbers().damages, repaired);
    drop(store);
    let (_, groups) = open(dir.path(), SEGMENT_BYTES).unwrap();
    assert_eq!(groups[&GroupId(0)].raft.entries, entries(1, 9..=24));
    assert_eq!(groups[&GroupId(0)].raft.hard_state.commit, Index(20));
    assert_eq!(groups[&GroupId(5)].raft.entries, entries(2, 1..=24));
    assert_eq!(groups[&GroupId(8)].raft.entries, entries(1, 1..=repaired * 8));
    assert!(dir.path().join("damaged").is_dir());
}

#[test]
fn a_snapshot_that_goes_bad_is_told_once_and_replaced_by_one_of_the_same_end_or_later() {
    let (dir, mut store) = used();
    let path = dir.path().join("snapshot/0000000000000000.snap");
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(scrubbed(&store).len(), 1, "at {at}");
        assert_eq!(scrubbed(&store), [], "at {at}: it is told once");
        // One that ends where the damaged one did, of a group in which nothing happened since.
        let Write::Snapshot { snapshot, keep_from, .. } = saved(1, 8, 9, false) else { panic!() };
        store.aside().save(GroupId(0), &snapshot, keep_from).unwrap();
        assert_eq!(fs::read(&path).unwrap(), whole, "at {at}: it is whole again");
    }
    let Write::Snapshot { snapshot, keep_from, .. } = saved(1, 20, 21, false) else { panic!() };
    store.aside().save(GroupId(0), &snapshot, keep_from).unwrap();
    store.tend().unwrap();
    assert_eq!(scrubbed(&store), []);
    drop(store);
    let (_, groups) = open(dir.path(), SEGMENT_BYTES).unwrap();
    assert_eq!(groups[&GroupId(0)].raft.entries, entries(1, 21..=24));
}

fn snapshot_of(write: &Write) -> &Snapshot {
    match write {
        Write::Snapshot { snapshot, .. } => snapshot,
        Write::Log { .. } => panic!("a snapshot"),
    }
}

/// What was let go of cannot be written elsewhere: the segment goes when a snapshot has it.
#[test]
fn a_segment_that_goes_bad_and_is_not_in_memory_waits_for_a_snapshot() {
    let (dir, mut store) = used();
    let first = files(dir.path()).keys().find(|name| name.starts_with("log")).unwrap().clone();
    store.let_go(GroupId(5), Index(17));
    let path = dir.path().join(&first);
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 0x10;
    fs::write(&path, bytes).unwrap();
    assert_eq!(scrubbed(&store).len(), 1);
    store.tend().unwrap();
    assert!(path.exists(), "it has what is nowhere else");
    assert_eq!(store.wanted(), BTreeSet::from([GroupId(5)]));
    store.tend().unwrap();
    assert_eq!(store.wanted(), BTreeSet::new(), "it is said once");
    let write = saved(2, 24, 21, false);
    store.aside().save(GroupId(5), snapshot_of(&write), Index(21)).unwrap();
    store.tend().unwrap();
    assert!(!path.exists(), "nobody needs it");
    drop(store);
    let (_, groups) = open(dir.path(), SEGMENT_BYTES).unwrap();
    assert_eq!(groups[&GroupId(5)].raft.entries, entries(2, 21..=24));
    assert_eq!(groups[&GroupId(0)].raft.entries, entries(1, 9..=24));
}

/// A group that writes nothing more holds up the log until a snapshot is made of it.
#[test]
fn entries_in_the_way_that_are_not_in_memory_make_a_snapshot_wanted() {
    let dir = scratch();
    FileStore::create(dir.path(), OWNER, options(SEGMENT_BYTES)).unwrap();
    let (mut store, _) = open(dir.path(), SEGMENT_BYTES).unwrap();
    store.write(&[(GroupId(5), log(1, 1..=2))]).unwrap();
    store.write(&[(GroupId(5), log(1, 3..=3))]).unwrap();
    store.let_go(GroupId(5), Index(3));
    for at in 0..20 {
        let last = at * 5 + 5;
        store.write(&[(GroupId(0), log(1, last - 4..=last))]).unwrap();
        store.write(&[(GroupId(0), saved(1, last, last + 1, false))]).unwrap();
        store.tend().unwrap();
    }
    assert!(dir.path().join("log/0000000000000001.log").exists());
    assert_eq!(store.wanted(), BTreeSet::from([GroupId(5)]));
    let write = saved(1, 3, 3, false);
    store.aside().save(GroupId(5), snapshot_of(&write), Index(3)).unwrap();
    store.tend().unwrap();
    assert!(!dir.path().join("log/0000000000000001.log").exists());
    drop(store);
    let (_, groups) = open(dir.path(), SEGMENT_BYTES).unwrap();
    assert_eq!(groups[&GroupId(5)].raft.entries, entries(1, 3..=3));
}
