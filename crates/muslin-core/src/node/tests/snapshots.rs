//! Making a snapshot holds up nobody.

use super::*;
use crate::base::GroupId;
use std::vec;

/// A node with a state of some pieces, and how many bytes they are about.
fn large() -> (World, usize) {
    let mut world = World::of(1);
    for key in ["a", "b", "c", "d"] {
        let value = Bytes::from(vec![7; 600 << 10]);
        let put = Put { key: key.into(), value, ..Put::default() };
        let request = Request::Write(Command::of(CommandKind::Put(put)));
        assert!(world.answer(1, request, 100).is_some());
    }
    (world, 2_400 << 10)
}

#[test]
fn between_two_pieces_there_is_time_however_long_the_first_took() {
    let (world, _) = large();
    let World { mut nodes, now, .. } = world;
    let node = nodes.get_mut(&1).unwrap();
    let mut out = Outputs::new();
    node.handle(now, Input::SnapshotLost(GroupId::CONTROL), &mut out);
    for millis in [7, 3, 1] {
        let begun = node.snapshots.deadline().unwrap();
        node.handle(begun, Input::Tick, &mut out);
        let end = begun + Duration::from_millis(millis);
        node.handle(end, Input::Flush, &mut out);
        assert_eq!(node.snapshots.deadline(), Some(end + Duration::from_millis(1)));
        node.handle(end + Duration::from_micros(500), Input::Flush, &mut out);
        assert_eq!(node.snapshots.deadline(), Some(end + Duration::from_millis(1)), "one pause");
    }
}

#[test]
fn a_large_snapshot_is_held_for_whoever_drops_it_last() {
    let (world, least) = large();
    let World { mut nodes, now, .. } = world;
    let node = nodes.get_mut(&1).unwrap();
    let mut out = Outputs::new();
    node.handle(now, Input::SnapshotLost(GroupId::CONTROL), &mut out);
    while let Some(due) = node.snapshots.deadline() {
        node.handle(due, Input::Tick, &mut out);
        node.handle(due, Input::Flush, &mut out);
    }
    let (mut held, mut saved) = (Vec::new(), Vec::new());
    for output in out.drain() {
        match output {
            Output::Hold(bytes) => held.push(bytes),
            Output::Save { snapshot, .. } => saved.push(snapshot.data),
            _ => {}
        }
    }
    assert_eq!(saved.len(), 1);
    assert!(saved[0].len() >= least);
    assert_eq!(held, saved);
    assert_eq!(held[0].as_ptr(), saved[0].as_ptr(), "the same memory");
}
