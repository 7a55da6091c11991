//! How long history is kept.

use super::*;
use crate::state::{Compact, Membership, MembershipChange, Refusal, Settings};

fn set(world: &mut World, settings: Settings) {
    let leader = world.leader();
    let change = MembershipChange::SetSettings(settings);
    let change = CommandKind::Membership(Membership::at(1, change).into());
    world.revision_of(leader, Request::Write(Command::of(change)));
}

fn write(world: &mut World, times: u64) {
    let leader = world.leader();
    for _ in 0..times {
        world.ask(leader, put("key", "value", 0));
        world.run(5);
    }
}

/// Of every node: what was compacted, and whether it was carried out.
fn compacted(world: &World) -> Vec<(u64, bool)> {
    let states = world.nodes.values().map(Node::state);
    states.map(|state| (state.compacted().0, state.is_sweeping())).collect()
}

#[test]
fn a_busy_store_compacts_what_is_more_than_is_kept() {
    let mut world = World::of(3);
    set(&mut world, Settings { keep_revisions: 1_000, ..Settings::default() });
    write(&mut world, 1_050);
    assert_eq!(compacted(&world), [(0, false); 3], "a tenth more is borne");
    write(&mut world, 100);
    world.run(1_000);
    let all = compacted(&world);
    assert!((100..=151).contains(&all[0].0), "{all:?}");
    assert_eq!(all, [(all[0].0, false); 3], "and swept, although nobody writes any more");
}

#[test]
fn an_idle_store_forgets_what_is_older_than_is_kept_and_keeps_the_present() {
    let mut world = World::of(3);
    set(&mut world, Settings { keep_history_ms: 60_000, ..Settings::default() });
    write(&mut world, 10);
    let present = world.nodes[&1].state().revision().0;
    world.run(30_000);
    assert_eq!(compacted(&world), [(0, false); 3]);
    world.run(40_000);
    assert_eq!(compacted(&world), [(present, false); 3]);
    let answer = world.answer(2, read("key", Consistency::Linearizable), 100);
    assert_eq!(value_of(answer), Some("value".into()));
}

#[test]
fn whatever_was_compacted_by_hand_is_swept_on_an_idle_store() {
    let mut world = World::of(3);
    write(&mut world, 500);
    let leader = world.leader();
    let compact = CommandKind::Compact(Compact { revision: 400 });
    world.revision_of(leader, Request::Write(Command::of(compact)));
    world.run(2_000);
    assert_eq!(compacted(&world), [(400, false); 3]);
}

#[test]
fn a_full_store_refuses_to_add_takes_away_and_has_room_again_by_itself() {
    let mut world = World::of(3);
    set(&mut world, Settings { quota_bytes: 16 << 20, ..Settings::default() });
    let leader = world.leader();
    let large = |number: u64| {
        let (key, value) = (std::format!("key{number}").into(), std::vec![1; 1 << 20].into());
        Request::Write(Command::of(CommandKind::Put(Put { key, value, ..Put::default() })))
    };
    let outcome = |world: &mut World, request| match world.answer(leader, request, 300) {
        Some(Reply::Outcome(outcome)) => outcome.result.map(drop),
        other => panic!("{other:?}"),
    };
    let all: Vec<_> = (0..17).map(|number| outcome(&mut world, large(number))).collect();
    assert_eq!(all[..16], [const { Ok(()) }; 16][..]);
    assert_eq!(all[16], Err(Refusal::Full { quota: 16 << 20 }));
    let grant = CommandKind::LeaseGrant(crate::state::LeaseGrant { id: 7, ttl_ms: 1_000 });
    let refused = outcome(&mut world, Request::Write(Command::of(grant)));
    assert_eq!(refused, Err(Refusal::Full { quota: 16 << 20 }));
    let range = KeyRange { key: "key".into(), range_end: "kez".into() };
    let delete = crate::state::DeleteRange { range, prev_kv: false };
    let delete = Request::Write(Command::of(CommandKind::Delete(delete)));
    assert_eq!(outcome(&mut world, delete), Ok(()));
    world.run(2_000);
    assert!(!world.nodes[&leader].state().is_full());
    assert_eq!(outcome(&mut world, large(1)), Ok(()));
}
