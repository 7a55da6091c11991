//! Backups of states, whole and otherwise.

use super::*;
use muslin_core::base::{ClusterId, Index, LeaseId, NodeId, Revision};
use muslin_core::state::{
    Command, CommandKind, Founding, KeyRange, LeaseGrant, Member, Proposal, Put, REVISION_LEAP,
    Rebirth, State,
};
use prost::Message as _;
use std::path::Path;

/// Applies commands as one node's.
struct World {
    state: State,
    sequence: u64,
}

impl World {
    fn new() -> World {
        let member =
            Member { id: 1, name: "n1".into(), roles: vec!["control".into()], ..Member::default() };
        let founding = Founding { members: vec![member], ..Founding::default() };
        World { state: State::founded(&founding), sequence: 0 }
    }

    fn apply(&mut self, kind: CommandKind) {
        self.sequence += 1;
        let proposal = Proposal {
            origin: 1,
            boot: 1,
            sequence: self.sequence,
            settled_below: self.sequence,
            command: Some(Command::of(kind)),
            asker: None,
        };
        let index = self.state.applied().next();
        let applied = self.state.apply(index, proposal.encode_to_vec().into());
        applied.outcome.result.unwrap();
    }

    fn put(&mut self, key: &str, value: &[u8], lease: u64) {
        let (key, value) = (key.as_bytes().to_vec().into(), value.to_vec().into());
        self.apply(CommandKind::Put(Put { key, value, lease, ..Put::default() }));
    }

    /// So many keys of a kilobyte, some of them twice, one on a lease.
    fn of_keys(keys: usize) -> World {
        let mut world = World::new();
        world.apply(CommandKind::LeaseGrant(LeaseGrant { id: 7, ttl_ms: 60_000 }));
        for number in 0..keys {
            world.put(&format!("key-{number:06}"), &[number as u8; 1_024], 0);
        }
        world.put("key-000000", b"again", 7);
        world
    }

    fn backup(&self) -> Backup {
        let (cluster, node) = (ClusterId(0xabc), NodeId(1));
        let origin = Origin { cluster, cluster_name: "tests".into(), node };
        Backup::of(&origin, self.state.freeze())
    }

    fn bytes(&self) -> Vec<u8> {
        self.backup().chunks().flat_map(|chunk| chunk.to_vec()).collect()
    }
}

fn check(bytes: &[u8]) -> Result<Head, Fault> {
    let mut checker = Checker::default();
    // Cut as nobody else does.
    for piece in bytes.chunks(100_003) {
        checker.take(piece, |_| {})?;
    }
    checker.finish()
}

#[test]
fn what_was_saved_is_read_again_whatever_its_size() {
    let directory = tempfile::tempdir().unwrap();
    for keys in [0, 1, 3_000] {
        let world = World::of_keys(keys);
        let path = directory.path().join(format!("{keys}.backup"));
        let saved = save(world.backup(), &path).unwrap();
        assert_eq!(saved.bytes, std::fs::metadata(&path).unwrap().len());
        assert_eq!((saved.bytes - SUM_BYTES) % UNIT_BYTES, 0, "where etcd's tools look for it");
        let (head, state) = read(&path).unwrap();
        assert_eq!(state.digest(), world.state.digest());
        assert_eq!((head.keys, head.leases, head.groups), (keys.max(1) as u64, 1, 0));
        assert_eq!(head.revision, state.revision().0);
        let inspected = inspect(&path).unwrap();
        assert_eq!((inspected.saved.head, super::head(&path).unwrap()), (head.clone(), head));
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 3, "nothing else is left");
}

#[test]
fn a_flipped_byte_is_found_wherever_it_is_and_told_where() {
    let bytes = World::of_keys(2_500).bytes();
    assert!(bytes.len() > 2 * BLOCK_BYTES);
    let step = bytes.len() / 211;
    let near_the_ends = (0..700).chain(bytes.len() - 600..bytes.len());
    for at in near_the_ends.chain((0..bytes.len()).step_by(step)) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x10;
        let at = at as u64;
        match check(&bytes).expect_err("nothing may pass") {
            Fault::NoBackup => assert!(at < 8, "byte {at}"),
            Fault::Damaged { offset, length } => {
                assert!((offset..offset + length).contains(&at), "byte {at}: {offset}+{length}");
            }
            Fault::Altered => assert!(at + SUM_BYTES >= bytes.len() as u64, "byte {at}"),
            // A length that was damaged makes its sum wrong, not the file short.
            other => panic!("byte {at}: {other}"),
        }
    }
}

#[test]
fn what_is_cut_short_or_goes_on_is_refused() {
    let bytes = World::of_keys(2_500).bytes();
    for length in (0..bytes.len()).step_by(bytes.len() / 97).chain([bytes.len() - 1]) {
        match check(&bytes[..length]) {
            Err(Fault::CutShort { at, of }) => {
                assert_eq!(at, length as u64);
                assert!(of.is_none_or(|of| of == bytes.len() as u64));
            }
            other => panic!("{length}: {other:?}"),
        }
    }
    let longer = [&bytes[..], b"x"].concat();
    assert_eq!(check(&longer), Err(Fault::TooLong { of: bytes.len() as u64 }));
    assert_eq!(check(b"SQLite format 3"), Err(Fault::NoBackup));
}

#[test]
fn a_file_that_cannot_be_whole_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("b");
    std::fs::write(&path, "what was there before").unwrap();
    let bytes = World::of_keys(10).bytes();
    let mut saving = Saving::begin(&path).unwrap();
    saving.write(&bytes[..bytes.len() - 1]).unwrap();
    assert!(matches!(saving.finish(), Err(BackupError::Received(Fault::CutShort { .. }))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "what was there before");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    let refused = read(&path).err().unwrap().to_string();
    assert!(refused.contains("no backup of Muslin's"), "{refused}");
    assert!(read(Path::new("/nowhere/at/all")).is_err());
}

#[test]
fn another_cluster_begins_beyond_all_that_the_old_one_can_have_reached() {
    let world = World::of_keys(100);
    let before = world.state.clone();
    let member =
        Member { id: 9, name: "n9".into(), roles: vec!["control".into()], ..Member::default() };
    let founding = Founding { members: vec![member], ..Founding::default() };
    let rebirth = Rebirth { founding, at: Index(1), epoch_leap: 5 };
    let state = world.state.reborn(&rebirth).unwrap();
    let revision = Revision(before.revision().0 + REVISION_LEAP);
    assert_eq!((state.revision(), state.compacted()), (revision, revision));
    assert_eq!(state.epoch().0, before.epoch().0 + 5);
    assert_eq!((state.keys(), state.applied()), (before.keys(), Index(1)));
    assert_eq!(state.lease(LeaseId(7)).unwrap().keys().count(), 1);
    let members: Vec<NodeId> = state.members().keys().copied().collect();
    assert_eq!(members, [NodeId(9)]);
    // Whoever followed the old cluster, up to wherever it got, is told that it is over.
    for since in [2, before.revision().0 + 1, before.revision().0 + 1_000_000] {
        let history = state.view().events_since(Revision(since), &KeyRange::of_prefix(""), 10);
        assert!(history.is_err(), "{since}");
    }
    // What is written is a state as any other.
    let again = State::restore(state.snapshot()).unwrap();
    assert_eq!(again.digest(), state.digest());
    // The old one's number was the highest there may be: there is no room.
    let full =
        std::iter::repeat_n((), 10_000_000).try_fold(state, |state, ()| state.reborn(&rebirth));
    assert!(full.is_none());
}

#[test]
fn copies_have_equal_hashes_however_far_each_has_swept() {
    let mut world = World::of_keys(300);
    let at = world.state.revision();
    let hash = |world: &World, at| world.state.freeze().hash_kv(at).unwrap().hash;
    let (then, now) = (hash(&world, Revision(50)), hash(&world, at));
    assert_ne!(then, now);
    world.put("later", b"later", 0);
    assert_eq!((hash(&world, Revision(50)), hash(&world, at)), (then, now), "the past stays");
    let compact = muslin_core::state::Compact { revision: at.0 };
    world.apply(CommandKind::Compact(compact));
    assert!(world.state.is_sweeping());
    let half = hash(&world, at);
    let mut swept = World { state: world.state.clone(), sequence: world.sequence };
    while swept.state.is_sweeping() {
        swept.apply(CommandKind::LeaseGrant(LeaseGrant {
            ttl_ms: 60_000,
            id: swept.sequence + 100,
        }));
    }
    assert_eq!(hash(&swept, at), half);
    assert!(world.state.freeze().hash_kv(Revision(50)).is_err(), "compacted");
    assert!(world.state.freeze().hash_kv(Revision(5_000)).is_err(), "of the future");
}
