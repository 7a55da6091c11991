//! Creation, whose files they are, segments that come and go, disks that fail.

use super::super::disk::{Step, keep_steps, pieces_given_here};
use super::*;

#[test]
fn segments_are_dropped_when_no_group_needs_them_and_states_carried_on() {
    let dir = scratch();
    FileStore::create(dir.path(), OWNER, options(1024)).unwrap();
    let (mut store, _) = open(dir.path(), 1024).unwrap();
    let (busy, idle) = (GroupId(0), GroupId(9));
    // Stands in the first segment only.
    store.write(&[(idle, committed(5, 0))]).unwrap();
    for at in 0..40 {
        store.write(&[(busy, log(1, at * 5 + 1..=at * 5 + 5))]).unwrap();
    }
    let before = segments(dir.path());
    store.write(&[(busy, saved(1, 198, 199, false))]).unwrap();
    let after = segments(dir.path());
    assert!(before > 10 && after <= 2, "{before} segments became {after}");
    drop(store);
    let (_, groups) = open(dir.path(), 1024).unwrap();
    assert_eq!(groups[&busy].raft.entries, entries(1, 199..=200));
    assert_eq!(groups[&idle].raft.hard_state.term, Term(5));
    assert!(!dir.path().join("log/0000000000000001.log").exists());
}

/// A segment that is let go of becomes the next: what is left of it is neither believed nor taken
/// for torn, wherever the new one ends.
#[test]
fn segments_are_written_over_and_what_was_in_them_does_not_count() {
    let dir = scratch();
    FileStore::create(dir.path(), OWNER, options(1024)).unwrap();
    let (mut store, _) = open(dir.path(), 1024).unwrap();
    let mut reused = 0;
    for at in 0..60 {
        let last = at * 5 + 5;
        store.write(&[(GroupId(0), log(1, last - 4..=last))]).unwrap();
        store.write(&[(GroupId(0), saved(1, last - 5, last - 4, false))]).unwrap();
        let image = lay_out(&files(dir.path()));
        let (_, groups) = open(image.path(), 1024).unwrap();
        assert_eq!(groups[&GroupId(0)].raft.entries, entries(1, last - 4..=last));
        assert_eq!(groups[&GroupId(0)].torn_bytes, 0);
        let live = files(dir.path());
        let (_, live) = live.iter().rfind(|(name, _)| name.starts_with("log")).unwrap();
        reused += u32::from(live[12] == 1);
    }
    assert!(reused > 30, "most segments were segments before: {reused}");
    let spares = fs::read_dir(dir.path().join("log")).unwrap().count() - segments(dir.path());
    assert!(spares <= 6, "{spares} spares");
}

#[test]
fn a_directory_of_snapshots_that_is_gone_is_made_anew_and_missed_by_whoever_had_one_in_it() {
    let dir = scratch();
    FileStore::create(dir.path(), OWNER, options(1024)).unwrap();
    let (mut store, _) = open(dir.path(), 1024).unwrap();
    store.write(&[(GroupId(0), log(1, 1..=3))]).unwrap();
    drop(store);
    fs::remove_dir(dir.path().join("snapshot")).unwrap();
    let (mut store, groups) = open(dir.path(), 1024).unwrap();
    assert_eq!(groups[&GroupId(0)].raft.entries, entries(1, 1..=3));
    assert_eq!(groups[&GroupId(0)].damage, None);
    store.write(&[(GroupId(0), saved(1, 2, 3, false))]).unwrap();
    drop(store);
    fs::remove_dir_all(dir.path().join("snapshot")).unwrap();
    let (_, groups) = open_any(dir.path(), 1024).unwrap();
    assert!(groups[&GroupId(0)].damage.is_some());
}

#[test]
fn a_group_that_needs_its_entries_keeps_the_log() {
    let dir = scratch();
    FileStore::create(dir.path(), OWNER, options(1024)).unwrap();
    let (mut store, _) = open(dir.path(), 1024).unwrap();
    store.write(&[(GroupId(9), log(1, 1..=12))]).unwrap();
    for at in 0..20 {
        store.write(&[(GroupId(0), log(1, at * 5 + 1..=at * 5 + 5))]).unwrap();
    }
    store.write(&[(GroupId(0), saved(1, 100, 101, false))]).unwrap();
    assert!(dir.path().join("log/0000000000000001.log").exists());
    store.write(&[(GroupId(9), saved(2, 8, 9, true))]).unwrap();
    assert!(!dir.path().join("log/0000000000000001.log").exists(), "a discard frees them too");
    drop(store);
    let (_, groups) = open(dir.path(), 1024).unwrap();
    assert!(groups.values().all(|group| group.raft.entries.is_empty() && group.snapshot.is_some()));
}

/// A crash at any step of moving on: the next segment made and not used, its name not final, the
/// closing seal not on the disk.
#[test]
fn a_crash_while_moving_to_the_next_segment_loses_nothing() {
    let dir = scratch();
    FileStore::create(dir.path(), OWNER, options(1024)).unwrap();
    let (mut store, _) = open(dir.path(), 1024).unwrap();
    let mut at = 0;
    let first = dir.path().join("log/0000000000000001.log");
    let second = dir.path().join("log/0000000000000002.log");
    let mut before = files(dir.path());
    while !second.exists() {
        before = files(dir.path());
        at += 1;
        store.write(&[(GroupId(0), log(1, at..=at))]).unwrap();
    }
    drop(store);
    let closed = fs::read(&first).unwrap();
    let mut unused = fs::read(&second).unwrap();
    unused[72..].fill(0);
    let open_end = &before[Path::new("log/0000000000000001.log")];
    let name = |ending: &str| PathBuf::from(format!("log/000000000000000{ending}"));
    let cases = [
        vec![("1.log", open_end.clone()), ("2.log.tmp", unused[..100].to_vec())],
        vec![("1.log", open_end.clone()), ("2.log", unused.clone())],
        vec![("1.log", closed), ("2.log", unused.clone())],
    ];
    for case in cases {
        let image: BTreeMap<_, _> =
            case.into_iter().map(|(ending, bytes)| (name(ending), bytes)).collect();
        let image = lay_out(&image);
        for life in 0..3 {
            let (mut store, groups) = open(image.path(), 1024).unwrap();
            let expected = entries(1, 1..=at - 1 + life);
            assert_eq!(groups[&GroupId(0)].raft.entries, expected);
            let next = at + life;
            store.write(&[(GroupId(0), log(1, next..=next))]).unwrap();
        }
    }
}

#[test]
fn a_crash_between_dropping_segments_loses_nothing() {
    let dir = scratch();
    FileStore::create(dir.path(), OWNER, options(1024)).unwrap();
    let (mut store, _) = open(dir.path(), 1024).unwrap();
    for at in 0..20 {
        store.write(&[(GroupId(0), log(1, at * 5 + 1..=at * 5 + 5))]).unwrap();
    }
    let before = files(dir.path());
    store.write(&[(GroupId(0), saved(1, 100, 101, false))]).unwrap();
    let after = files(dir.path());
    let (_, expected) = open(lay_out(&after).path(), 1024).unwrap();
    let removed: Vec<_> = before.keys().filter(|name| !after.contains_key(*name)).collect();
    assert!(removed.len() > 2);
    for kept in 0..removed.len() {
        let mut image = after.clone();
        for name in &removed[kept..] {
            image.insert((*name).clone(), before[*name].clone());
        }
        let image = lay_out(&image);
        let (mut store, groups) = open(image.path(), 1024).unwrap();
        assert_eq!(groups, expected);
        store.write(&[(GroupId(0), saved(1, 100, 101, false))]).unwrap();
        assert!(!image.path().join(removed[removed.len() - 1]).exists(), "they go the next time");
        drop(store);
        assert_eq!(open(image.path(), 1024).unwrap().1, expected);
    }
}

/// A log on the same disk waits for no more than what stands in front of its sync.
#[test]
fn a_large_snapshot_is_synced_piece_by_piece() {
    let dir = scratch();
    FileStore::create(dir.path(), OWNER, options(4096)).unwrap();
    let (store, _) = open(dir.path(), 4096).unwrap();
    let data = Bytes::from(vec![7; (7 << 20) + 5]);
    let meta = SnapshotMeta { last: LogId::new(Term(1), Index(3)), ..SnapshotMeta::default() };
    keep_steps();
    store.aside().save(GroupId(0), &Snapshot { meta, data }, Index(4)).unwrap();
    let (mut unsynced, mut most, mut written) = (0, 0, 0);
    for step in keep_steps() {
        match step {
            Step::Write { bytes, .. } => {
                (unsynced, written) = (unsynced + bytes.len(), written + bytes.len())
            }
            Step::Sync(_) => unsynced = 0,
            _ => {}
        }
        most = most.max(unsynced);
    }
    assert!(written > 7 << 20);
    assert!(most <= 3 << 20, "{most} bytes are in front of a sync");
    assert_eq!(unsynced, 0);
}

/// What the old one took is freed in pieces, by whoever replaced it and not by the file system.
#[test]
fn a_snapshot_that_is_replaced_is_given_back_before_its_last_reader_lets_go() {
    let dir = scratch();
    FileStore::create(dir.path(), OWNER, options(4096)).unwrap();
    let (store, _) = open(dir.path(), 4096).unwrap();
    let save = |last: u64| {
        let data = Bytes::from(vec![7; 9 << 20]);
        let meta =
            SnapshotMeta { last: LogId::new(Term(1), Index(last)), ..SnapshotMeta::default() };
        store.aside().save(GroupId(0), &Snapshot { meta, data }, Index(last + 1)).unwrap();
    };
    save(3);
    let path = dir.path().join("snapshot/0000000000000000.snap");
    let before = fs::File::open(&path).unwrap();
    save(5);
    assert!(before.metadata().unwrap().len() < 2 << 20);
    assert!(path.metadata().unwrap().len() > 9 << 20);
    let copy = dir.path().join("copy");
    fs::hard_link(&path, &copy).unwrap();
    save(7);
    assert!(copy.metadata().unwrap().len() > 9 << 20, "it has another name");
}

/// The snapshot file is in place, the log knows nothing of it: the crash came between.
#[test]
fn a_crash_right_behind_a_snapshot_keeps_the_snapshot_and_discards_the_log() {
    let dir = scratch();
    FileStore::create(dir.path(), OWNER, options(4096)).unwrap();
    let (mut store, _) = open(dir.path(), 4096).unwrap();
    store.write(&[(GroupId(0), log(1, 1..=9))]).unwrap();
    let before = files(dir.path());
    store.write(&[(GroupId(0), saved(2, 5, 1, true))]).unwrap();
    let snapshot = Path::new("snapshot/0000000000000000.snap");
    let mut image = before;
    image.insert(snapshot.to_owned(), files(dir.path())[snapshot].clone());
    let image = lay_out(&image);
    let (mut store, groups) = open(image.path(), 4096).unwrap();
    assert_eq!(groups[&GroupId(0)].raft.entries, []);
    assert_eq!(groups[&GroupId(0)].raft.snapshot.last, LogId::new(Term(2), Index(5)));
    store.write(&[(GroupId(0), log(3, 6..=7))]).unwrap();
    drop(store);
    let (_, groups) = open(image.path(), 4096).unwrap();
    assert_eq!(groups[&GroupId(0)].raft.entries, entries(3, 6..=7));
}

/// The seal in front of the place that a snapshot names is not synced by itself.
#[test]
fn entries_behind_a_discarded_log_count_though_an_unsynced_seal_was_lost() {
    let dir = scratch();
    FileStore::create(dir.path(), OWNER, options(4096)).unwrap();
    let (mut store, _) = open(dir.path(), 4096).unwrap();
    store.write(&[(GroupId(0), log(1, 1..=2))]).unwrap();
    store.write(&[(GroupId(0), saved(2, 5, 1, true))]).unwrap();
    drop(store);
    let mut image = files(dir.path());
    let segment = image.get_mut(Path::new("log/0000000000000001.log")).unwrap();
    let place = fs::read(dir.path().join("snapshot/0000000000000000.snap")).unwrap();
    let offset = u64::from_le_bytes(place[80..88].try_into().unwrap()) as usize;
    // Everything from the place on is lost, and it is where it was: nothing before it is.
    segment[offset..].fill(0);
    let whole = lay_out(&image);
    let (mut store, _) = open(whole.path(), 4096).unwrap();
    store.write(&[(GroupId(0), log(2, 6..=7))]).unwrap();
    drop(store);
    let (_, groups) = open(whole.path(), 4096).unwrap();
    assert_eq!(groups[&GroupId(0)].raft.entries, entries(2, 6..=7));
    // A log that ends before the place lost what was synced.
    image.get_mut(Path::new("log/0000000000000001.log")).unwrap()[offset - 40..].fill(0);
    assert!(matches!(open(lay_out(&image).path(), 4096), Err(StoreError::Damaged { .. })));
}

#[test]
fn another_nodes_files_are_refused_by_name() {
    let dir = scratch();
    FileStore::create(dir.path(), OWNER, options(1024)).unwrap();
    open(dir.path(), 1024).unwrap().0.write(&[(GroupId(0), saved(0, 0, 1, false))]).unwrap();
    let others = [Owner { node: NodeId(2), ..OWNER }, Owner { cluster: ClusterId(2), ..OWNER }];
    for other in others {
        let error = FileStore::open(dir.path(), other, options(1024)).recover().unwrap_err();
        assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(&OWNER.to_string()) && text.contains(&other.to_string()), "{text}");
    }
    // A segment of another node slipped in behind ours.
    let theirs = scratch();
    let other = others[0];
    FileStore::create(theirs.path(), other, options(1024)).unwrap();
    let name = "log/0000000000000001.log";
    fs::copy(theirs.path().join(name), dir.path().join(name)).unwrap();
    let error = open(dir.path(), 1024).map(|_| ()).unwrap_err();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
}

#[test]
fn a_later_format_is_refused_by_number() {
    let dir = scratch();
    FileStore::create(dir.path(), OWNER, options(1024)).unwrap();
    let name = dir.path().join("log/0000000000000001.log");
    let mut bytes = fs::read(&name).unwrap();
    bytes[8] = 2;
    let crc = super::super::crc::crc32c(&bytes[..68]);
    bytes[68..72].copy_from_slice(&crc.to_le_bytes());
    fs::write(&name, bytes).unwrap();
    let error = open(dir.path(), 1024).map(|_| ()).unwrap_err();
    assert!(matches!(error, StoreError::Format { found: 2, known: 1, .. }), "{error}");
}

#[test]
fn a_store_in_use_is_not_made_anew_and_an_unused_one_is() {
    let dir = scratch();
    for _ in 0..2 {
        FileStore::create(dir.path(), OWNER, options(1024)).unwrap();
    }
    open(dir.path(), 1024).unwrap().0.write(&[(GroupId(0), log(1, 1..=1))]).unwrap();
    let error = FileStore::create(dir.path(), OWNER, options(1024)).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    assert_eq!(open(dir.path(), 1024).unwrap().1[&GroupId(0)].raft.entries.len(), 1);
}

#[test]
fn unfinished_files_are_removed() {
    let dir = scratch();
    FileStore::create(dir.path(), OWNER, options(1024)).unwrap();
    let strays =
        ["log/0000000000000002.log.tmp", "snapshot/0000000000000000.snap.tmp"].map(|name| {
            let path = dir.path().join(name);
            fs::write(&path, b"half").unwrap();
            path
        });
    open(dir.path(), 1024).unwrap();
    assert!(strays.iter().all(|path| !path.exists()));
}

#[test]
fn only_the_owner_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let dir = scratch();
    FileStore::create(dir.path(), OWNER, options(1024)).unwrap();
    open(dir.path(), 1024).unwrap().0.write(&[(GroupId(0), saved(0, 0, 1, false))]).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir.path().join("log")), 0o700);
    for name in files(dir.path()).keys() {
        assert_eq!(mode(&dir.path().join(name)), 0o600, "{name:?}");
    }
}

/// As a follower installs what a leader sends it.
#[test]
fn the_log_does_not_wait_until_the_snapshot_before_is_given_back() {
    let dir = scratch();
    FileStore::create(dir.path(), OWNER, options(1024)).unwrap();
    let beside = Options { segment_bytes: 1024, is_alone: false };
    let mut store = FileStore::open(dir.path(), OWNER, beside);
    store.recover().unwrap();
    for last in [10, 20, 30] {
        let mut installed = saved(1, last, last + 1, true);
        if let Write::Snapshot { snapshot, .. } = &mut installed {
            snapshot.data = vec![7; 9 << 20].into();
        }
        store.write(&[(GroupId(0), installed)]).unwrap();
    }
    assert_eq!(pieces_given_here(), 0, "another thread does that");
}
