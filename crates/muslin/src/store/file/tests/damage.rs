//! Every byte of a store cut, zeroed or flipped: the outcome is what was written, or a refusal.

use super::*;

const SEGMENT_BYTES: u64 = 1024;

/// A store with several segments, two groups, a snapshot, a discarded log and dropped segments; and
/// what it held.
struct Sample {
    files: BTreeMap<PathBuf, Vec<u8>>,
    /// All of it.
    whole: Groups,
    /// Before the last batch, and with the first write of that alone.
    earlier: [Groups; 2],
    /// Everything that was ever written.
    written: Vec<(GroupId, Entry)>,
    snapshots: Vec<(GroupId, Snapshot)>,
}

fn batches() -> Vec<Vec<(GroupId, Write)>> {
    let (a, b) = (GroupId(0), GroupId(1));
    let mut batches = vec![
        vec![(a, saved(0, 0, 1, false)), (a, log(1, 1..=4)), (a, committed(1, 2))],
        vec![(b, log(1, 1..=3))],
        vec![(a, log(2, 4..=9)), (b, log(2, 2..=5)), (b, committed(2, 3))],
        vec![(a, log(2, 10..=20))],
        vec![(a, committed(3, 15)), (a, saved(2, 15, 12, false))],
        vec![(b, saved(5, 9, 10, true)), (b, log(5, 10..=12))],
    ];
    batches.push(vec![(a, log(3, 21..=22)), (b, log(5, 13..=14))]);
    batches.push(vec![(a, committed(3, 22)), (b, log(5, 15..=15))]);
    batches
}

fn sample() -> Sample {
    let dir = scratch();
    FileStore::create(dir.path(), OWNER, options(SEGMENT_BYTES)).unwrap();
    let mut batches = batches();
    let (mut written, mut snapshots) = (Vec::new(), Vec::new());
    for (id, write) in batches.iter().flatten() {
        match write {
            Write::Log { entries, .. } => {
                written.extend(entries.iter().map(|entry| (*id, entry.clone())));
            }
            Write::Snapshot { snapshot, .. } => snapshots.push((*id, snapshot.clone())),
        }
    }
    let last = batches.pop().unwrap();
    for batch in batches {
        open(dir.path(), SEGMENT_BYTES).unwrap().0.write(&batch).unwrap();
    }
    let held = || open(lay_out(&files(dir.path())).path(), SEGMENT_BYTES).unwrap().1;
    let before = held();
    open(dir.path(), SEGMENT_BYTES).unwrap().0.write(&last).unwrap();
    let whole = held();
    let files = files(dir.path());
    assert!(files.len() >= 4, "two segments and two snapshots at least: {:?}", files.keys());
    let mut first = before.clone();
    first.get_mut(&GroupId(0)).unwrap().raft.hard_state = whole[&GroupId(0)].raft.hard_state;
    Sample { files, whole, earlier: [before, first], written, snapshots }
}

impl Sample {
    fn last_segment(&self) -> PathBuf {
        self.files.keys().rfind(|name| name.starts_with("log")).unwrap().clone()
    }

    /// Bytes in use of a segment.
    fn used(&self, name: &Path) -> usize {
        used(&self.files[name])
    }
}

/// Bytes in use of a segment. It ends in a seal, whose last byte that is not zero is its 25th.
fn used(segment: &[u8]) -> usize {
    segment.iter().rposition(|byte| *byte != 0).unwrap() + 16
}

#[derive(Default, Debug)]
struct Counts {
    whole: u64,
    cut: u64,
    rebuilt: u64,
    refused: u64,
}

/// Opens what became of the sample; it holds all or, where `cut` allows, an earlier state; or some
/// groups rebuild, with nothing that was never written; or it is refused. If it opens it takes
/// writes and opens again.
fn judge(dir: &Path, sample: &Sample, cut: &[Groups], counts: &mut Counts, what: &str) {
    let (mut store, mut groups) = match open_any(dir, SEGMENT_BYTES) {
        Ok(opened) => opened,
        Err(StoreError::Format { .. }) => {
            counts.refused += 1;
            return;
        }
        Err(other) => panic!("{what}: {other}"),
    };
    groups.values_mut().for_each(|group| group.torn_bytes = 0);
    if groups == sample.whole {
        counts.whole += 1;
    } else if groups.values().any(|group| group.damage.is_some()) {
        counts.rebuilt += 1;
        for (id, group) in &groups {
            sample.check_rebuilding(*id, group, what);
        }
    } else {
        assert!(cut.contains(&groups), "{what}: neither whole nor an allowed cut: {groups:#?}");
        counts.cut += 1;
    }
    store.write(&[(GroupId(7), log(1, 1..=2))]).unwrap();
    drop(store);
    let (_, mut again) = open_any(dir, SEGMENT_BYTES).unwrap();
    assert_eq!(again.remove(&GroupId(7)).unwrap().raft.entries, entries(1, 1..=2), "{what}");
    again.values_mut().for_each(|group| group.torn_bytes = 0);
    // Damage is told once; that a group rebuilds is not forgotten.
    groups.values_mut().for_each(|group| group.damage = None);
    assert_eq!(again, groups, "{what}: opened again");
}

impl Sample {
    /// A group that rebuilds has nothing that was never written, without a gap, and says so; any
    /// other is whole.
    fn check_rebuilding(&self, id: GroupId, group: &RecoveredGroup, what: &str) {
        if group.damage.is_none() {
            assert_eq!(Some(group), self.whole.get(&id), "{what}: {id} is not concerned");
            return;
        }
        let hard_state = group.raft.hard_state;
        assert!(hard_state.rebuilding, "{what}: {id}");
        let snapshot = group.snapshot.as_ref().map(|snapshot| snapshot.meta.clone());
        assert_eq!(group.raft.snapshot, snapshot.unwrap_or_default(), "{what}: {id}");
        let is_known = |snapshot: &Snapshot| self.snapshots.contains(&(id, snapshot.clone()));
        assert!(group.snapshot.as_ref().is_none_or(is_known), "{what}: {id}");
        let covered = group.raft.snapshot.last.index;
        let mut next = group.raft.entries.first().map_or(covered.next(), |entry| entry.id.index);
        assert!(next <= covered.next(), "{what}: {id}: a gap behind the snapshot");
        for entry in &group.raft.entries {
            assert_eq!(entry.id.index, next, "{what}: {id}");
            assert!(self.written.contains(&(id, entry.clone())), "{what}: {id}: {entry:?}");
            next = next.next();
        }
        assert!(hard_state.commit < next, "{what}: {id}: commits what is not there");
        let last = group.raft.entries.last().map_or(group.raft.snapshot.last, |entry| entry.id);
        assert!(hard_state.term >= last.term, "{what}: {id}");
        let known = self.whole.get(&id).map_or(Term(0), |group| group.raft.hard_state.term);
        assert!(hard_state.term <= known.max(last.term), "{what}: {id}: a term of nobody");
    }
}

#[test]
fn a_flipped_byte_anywhere_is_found_or_harmless() {
    let sample = sample();
    let mut counts = Counts::default();
    let dir = lay_out(&sample.files);
    for (name, bytes) in &sample.files {
        for at in 0..bytes.len() {
            for bits in [0x01, 0x80, 0xff] {
                let mut files = sample.files.clone();
                files.get_mut(name).unwrap()[at] ^= bits;
                restore(dir.path(), &files);
                // All of it was acknowledged and sealed: nothing may be cut.
                judge(dir.path(), &sample, &[], &mut counts, &format!("{name:?}@{at}^{bits:x}"));
            }
        }
    }
    println!("flipped bytes: {counts:?}");
    assert_eq!(counts.cut, 0);
    assert!(counts.rebuilt > 3_000 && counts.whole > 0);
}

#[test]
fn a_file_cut_at_any_length_is_found_or_whole() {
    let sample = sample();
    let mut counts = Counts::default();
    let dir = lay_out(&sample.files);
    for (name, bytes) in &sample.files {
        for length in 0..bytes.len() {
            let mut files = sample.files.clone();
            files.get_mut(name).unwrap().truncate(length);
            restore(dir.path(), &files);
            judge(dir.path(), &sample, &[], &mut counts, &format!("{name:?} to {length}"));
        }
    }
    println!("cut files: {counts:?}");
    assert!(counts.rebuilt > 1_000 && counts.whole > 0);
}

#[test]
fn a_missing_file_is_refused() {
    let sample = sample();
    for name in sample.files.keys() {
        let mut files = sample.files.clone();
        files.remove(name);
        let dir = lay_out(&files);
        let found = open(dir.path(), SEGMENT_BYTES).map(|_| ());
        assert!(matches!(found, Err(StoreError::Damaged { .. })), "{name:?}: {found:?}");
    }
}

/// Nothing but the log's own word says that these were there.
#[test]
fn a_missing_file_is_refused_though_the_rest_makes_sense_without_it() {
    let dir = scratch();
    FileStore::create(dir.path(), OWNER, options(512)).unwrap();
    let (mut store, _) = open(dir.path(), 512).unwrap();
    // Fills the first segment; a group's only vote is in it.
    store.write(&[(GroupId(9), committed(1, 0)), (GroupId(8), log(1, 1..=4))]).unwrap();
    store.write(&[(GroupId(0), log(1, 1..=4))]).unwrap();
    store.write(&[(GroupId(0), saved(1, 2, 1, false))]).unwrap();
    drop(store);
    let whole = files(dir.path());
    assert!(whole.len() >= 3);
    for name in ["log/0000000000000001.log", "snapshot/0000000000000000.snap"] {
        let mut files = whole.clone();
        files.remove(Path::new(name)).unwrap();
        let error = open(lay_out(&files).path(), 512).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("missing"), "{error}");
    }
}

/// The next record of one history behind that of another, each at its own place.
#[test]
fn a_record_of_another_history_is_not_believed() {
    let name = Path::new("log/0000000000000001.log");
    let image = |first_term, terms: u64| {
        let dir = scratch();
        FileStore::create(dir.path(), OWNER, options(4096)).unwrap();
        let (mut store, _) = open(dir.path(), 4096).unwrap();
        let batch: Vec<_> =
            (1..=terms).map(|at| (GroupId(0), log(first_term + at, at..=at))).collect();
        store.write(&batch).unwrap();
        drop(store);
        files(dir.path())
    };
    let (ours, theirs) = (image(1, 3), image(5, 3));
    let mut mixed = ours.clone();
    // The opening's seal, and the first entry of 61 bytes.
    let second = 72 + 40 + 64;
    mixed.get_mut(name).unwrap()[second..].copy_from_slice(&theirs[name][second..]);
    let found = open(lay_out(&mixed).path(), 4096).map(|(_, groups)| groups);
    assert!(matches!(found, Err(StoreError::Damaged { .. })), "{found:?}");
    // Unsealed, it is a torn tail.
    let end = used(&theirs[name]) - 40;
    mixed.get_mut(name).unwrap()[end..].fill(0);
    let (_, groups) = open(lay_out(&mixed).path(), 4096).unwrap();
    assert_eq!(groups[&GroupId(0)].raft.entries, entries(2, 1..=1));
}

/// What a power cut may leave of the batch that was being written: the seal behind it is not there,
/// and any of its bytes may be zero.
#[test]
fn a_batch_that_was_being_written_is_cut_at_a_write_and_nothing_else_is() {
    let sample = sample();
    let name = sample.last_segment();
    let used = sample.used(&name);
    // The seal of the last opening, the last batch and its own seal.
    let mut unsealed = sample.files.clone();
    let sealed_end = used - 40;
    unsealed.get_mut(&name).unwrap()[sealed_end..].fill(0);
    // The seal in front of it was not synced either; 64 bytes of state; an entry of 61.
    let batch_start = sealed_end - 128 - 40;
    let mut counts = Counts::default();
    let dir = lay_out(&sample.files);
    for from in 72..sealed_end {
        for to in [from + 1, from + 8, from + 64, sealed_end] {
            let to = to.min(sealed_end);
            let is_torn = from >= batch_start;
            // A disk that loses an acknowledged batch together with every seal behind it lied: only
            // a commit mark could tell.
            if to > batch_start && !is_torn {
                continue;
            }
            let mut files = unsealed.clone();
            files.get_mut(&name).unwrap()[from..to].fill(0);
            restore(dir.path(), &files);
            let allowed = if is_torn { &sample.earlier[..] } else { &[] };
            judge(dir.path(), &sample, allowed, &mut counts, &format!("zeros {from}..{to}"));
        }
    }
    println!("torn tails: {counts:?}");
    assert!(counts.cut > 100 && counts.rebuilt > 100);
}

#[test]
fn garbage_behind_the_end_is_cleared_and_counted() {
    let sample = sample();
    let name = sample.last_segment();
    let used = sample.used(&name);
    let mut files = sample.files.clone();
    let bytes = files.get_mut(&name).unwrap();
    bytes[used..used + 100].fill(0xab);
    bytes.extend_from_slice(b"appended by somebody");
    let dir = lay_out(&files);
    let (_, groups) = open(dir.path(), SEGMENT_BYTES).unwrap();
    assert_eq!(groups[&GroupId(0)].torn_bytes, 120);
    assert_eq!(groups[&GroupId(1)].torn_bytes, 0, "told once");
    let (_, again) = open(dir.path(), SEGMENT_BYTES).unwrap();
    assert_eq!(again[&GroupId(0)].torn_bytes, 0);
    assert_eq!(again, sample.whole);
}

/// A record of an earlier life of the file, whole in itself, behind a torn one.
#[test]
fn a_record_is_never_believed_at_another_place() {
    let sample = sample();
    let name = sample.last_segment();
    let used = sample.used(&name);
    let mut counts = Counts::default();
    for from in (72..used).step_by(8) {
        let mut files = sample.files.clone();
        let bytes = files.get_mut(&name).unwrap();
        let moved = bytes[from..used].to_vec();
        let end = bytes.len().min(used + moved.len());
        bytes[used..end].copy_from_slice(&moved[..end - used]);
        let dir = lay_out(&files);
        judge(dir.path(), &sample, &[], &mut counts, &format!("moved from {from}"));
    }
    assert_eq!(counts.refused + counts.rebuilt + counts.cut, 0);
}

#[test]
fn a_log_that_ends_below_the_commit_mark_is_refused() {
    let dir = scratch();
    FileStore::create(dir.path(), OWNER, options(4096)).unwrap();
    let (mut store, _) = open(dir.path(), 4096).unwrap();
    store.write(&[(GroupId(0), log(1, 1..=3)), (GroupId(0), committed(1, 4))]).unwrap();
    drop(store);
    let Err(error) = open(dir.path(), 4096) else { panic!("entry 4 was committed") };
    assert!(error.to_string().contains("ends at entry 3, but 4 was committed"), "{error}");
}

#[test]
fn a_command_that_looks_like_a_log_does_not_make_a_torn_tail_look_like_damage() {
    let dir = scratch();
    FileStore::create(dir.path(), OWNER, options(1 << 16)).unwrap();
    let (mut store, _) = open(dir.path(), 1 << 16).unwrap();
    store.write(&[(GroupId(0), log(1, 1..=3))]).unwrap();
    // Writes its seal.
    store.rest().unwrap();
    let segment = fs::read(dir.path().join("log/0000000000000001.log")).unwrap();
    let used = used(&segment);
    let copy = Payload::Command(Bytes::copy_from_slice(&segment[..used]));
    let entry = Entry { id: LogId::new(Term(1), Index(4)), payload: copy };
    store
        .write(&[(GroupId(0), Write::Log { hard_state: None, entries: vec![entry].into() })])
        .unwrap();
    drop(store);
    let mut files = files(dir.path());
    let bytes = files.values_mut().next().unwrap();
    // The batch's first record and the seal behind it did not reach the disk.
    let end = self::used(bytes);
    bytes[used..used + 8].fill(0);
    bytes[end - 40..].fill(0);
    let image = lay_out(&files);
    let (_, groups) = open(image.path(), 1 << 16).unwrap();
    assert_eq!(groups[&GroupId(0)].raft.entries, entries(1, 1..=3));
    assert!(groups[&GroupId(0)].torn_bytes > 0);
}
