//! Groups in the small world: who leads, what idles, what survives.

use super::*;
use crate::base::GroupId;
use crate::groups::{Ask, Message};
use crate::raft::Drive;
use crate::state::{GroupCreate, GroupRemove};

/// A world of three nodes with so many groups on all of them, led.
fn world_of(groups: u64) -> World {
    let mut world = World::of(3);
    for _ in 0..groups {
        create(&mut world, &[1, 2, 3]);
    }
    world.run(1_000);
    world
}

pub(super) fn create(world: &mut World, replicas: &[u64]) -> GroupId {
    let create = GroupCreate { id: 0, kind: "journal".into(), replicas: replicas.to_vec() };
    let request = Request::Write(Command::of(CommandKind::GroupCreate(create)));
    match world.answer(1, request, 100) {
        Some(Reply::Outcome(outcome)) => match outcome.result {
            Ok(Response::Group { id }) => id,
            other => panic!("not made: {other:?}"),
        },
        other => panic!("not answered: {other:?}"),
    }
}

pub(super) fn propose(group: u64, command: &'static str) -> Request {
    Request::Group {
        group: GroupId(group),
        ask: Ask::Propose(Bytes::from_static(command.as_bytes())),
    }
}

pub(super) fn query(group: u64) -> Request {
    Request::Group { group: GroupId(group), ask: Ask::Query(Bytes::new()) }
}

/// The place of a command in its journal, or how many there are.
pub(super) fn count(reply: Option<Reply>) -> u64 {
    match reply {
        Some(Reply::Group(answer)) => u64::from_be_bytes(answer[..].try_into().unwrap()),
        other => panic!("not answered: {other:?}"),
    }
}

/// Who leads each group, by those who are not cut off; nobody leads where replicas disagree.
pub(super) fn leaders(world: &World) -> BTreeMap<GroupId, Option<u64>> {
    let mut leaders = BTreeMap::new();
    for (id, node) in world.nodes.iter().filter(|(id, _)| !world.cut.contains(id)) {
        for group in node.groups().iter() {
            let leader = leaders.entry(group.id()).or_insert(None);
            if group.raft().role() == Role::Leader {
                assert_eq!(leader.replace(*id), None, "{} has two leaders", group.id());
            }
        }
    }
    leaders
}

fn led_by(world: &World) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    for (group, leader) in leaders(world) {
        let leader = leader.unwrap_or_else(|| panic!("nobody leads {group}"));
        *counts.entry(leader).or_default() += 1;
    }
    counts
}

#[test]
fn groups_are_led_evenly_and_answer_on_every_replica() {
    let mut world = world_of(9);
    assert_eq!(led_by(&world), BTreeMap::from([(1, 3), (2, 3), (3, 3)]));
    for node in 1..=3 {
        for group in 1..=9 {
            assert_eq!(count(world.answer(node, propose(group, "x"), 100)), node);
            assert_eq!(count(world.answer(node % 3 + 1, query(group), 100)), node);
        }
    }
    world.run(2_000);
    for group in (1..=9).map(GroupId) {
        let digests: BTreeSet<(u64, u64)> = (world.nodes.values())
            .map(|node| node.groups().group(group).unwrap())
            .map(|group| (group.applied().0, group.digest()))
            .collect();
        assert_eq!(digests.len(), 1, "{group} differs: {digests:?}");
    }
}

fn is_alive(message: &Message) -> bool {
    matches!(message, Message::Alive { .. })
}

#[test]
fn idle_groups_say_nothing_and_nodes_say_that_they_live() {
    let mut world = world_of(20);
    world.run(3_000);
    world.said.clear();
    world.run(10_000);
    let said = core::mem::take(&mut world.said);
    let of_groups = said.iter().filter(|message| {
        matches!(message, PeerMessage::Raft { group, .. } if *group != GroupId::CONTROL)
            || matches!(message, PeerMessage::Groups(said) if !is_alive(said))
    });
    let of_groups: Vec<&PeerMessage> = of_groups.collect();
    assert!(of_groups.is_empty(), "{} messages, the first: {:?}", of_groups.len(), of_groups[0]);
    let alive =
        said.iter().filter(|message| matches!(message, PeerMessage::Groups(Message::Alive { .. })));
    // Six directions, five a second.
    assert!((270..=330).contains(&alive.count()));
}

#[test]
fn the_groups_of_a_dead_node_are_led_by_others_and_come_back_when_it_does() {
    let mut world = world_of(9);
    for group in 1..=9 {
        assert_eq!(count(world.answer(2, propose(group, "before"), 100)), 1);
    }
    world.cut.insert(3);
    world.run(2_000);
    let counts = led_by(&world);
    assert_eq!(counts.keys().copied().collect::<Vec<_>>(), [1, 2]);
    for group in 1..=9 {
        assert_eq!(count(world.answer(1, propose(group, "meanwhile"), 100)), 2);
    }
    world.cut.clear();
    world.run(1_000);
    for group in 1..=9 {
        assert_eq!(count(world.answer(3, query(group), 1_500)), 2, "of group {group}");
    }
    world.run(12_000);
    assert_eq!(led_by(&world), BTreeMap::from([(1, 3), (2, 3), (3, 3)]));
}

#[test]
fn a_replica_that_leads_against_the_record_hands_over() {
    let mut world = world_of(1);
    let named = leaders(&world)[&GroupId(1)].unwrap();
    let other = named % 3 + 1;
    // By hand, as a replica with a longer log would.
    let mut out = Outputs::new();
    let now = world.now;
    let node = world.nodes.get_mut(&other).unwrap();
    let mut said = Outputs::new();
    node.groups.step(now, GroupId(1), crate::raft::Input::Campaign, &mut said);
    node.carry_groups(now, said, &mut out);
    world.carry_out(other, out);
    world.run(30);
    assert_eq!(leaders(&world)[&GroupId(1)], Some(other));
    world.run(3_000);
    assert_eq!(leaders(&world)[&GroupId(1)], Some(named));
}

#[test]
fn without_a_control_leader_groups_elect_for_themselves() {
    // Nodes 1 to 3 vote in the control group; the group is on 3 to 5.
    let mut world = World::of(3);
    for id in [4, 5] {
        let admit = Admit {
            member: Member { roles: std::vec![], ..member(id) },
            token_id: "t".into(),
            secret_hash: token().secret_hash,
            ..Admit::default()
        };
        world.revision_of(1, Request::Write(Command::of(CommandKind::Admit(admit.into()))));
        let joiner = options(id, 3);
        world.start(joiner);
        world.run(1_000);
    }
    let group = create(&mut world, &[3, 4, 5]);
    world.run(1_000);
    let leader = leaders(&world)[&group].unwrap();
    world.cut.extend([1, 2]);
    world.run(3_000);
    let asked = if leader == 5 { 4 } else { 5 };
    assert_eq!(count(world.answer(asked, propose(group.0, "a"), 200)), 1, "without a quorum");
    if leader != 3 {
        world.cut.insert(leader);
    }
    world.run(15_000);
    assert!(world.nodes[&asked].groups().drive() == Drive::Ticking);
    assert_eq!(count(world.answer(asked, propose(group.0, "b"), 2_000)), 2);
    world.cut.clear();
    world.run(5_000);
    assert!(world.nodes[&asked].groups().drive() == Drive::Passive);
    assert_eq!(count(world.answer(leader, propose(group.0, "c"), 2_000)), 3);
}

#[test]
fn a_group_that_was_taken_out_answers_nobody() {
    let mut world = world_of(2);
    let remove = CommandKind::GroupRemove(GroupRemove { id: 1 });
    world.revision_of(2, Request::Write(Command::of(remove)));
    world.run(100);
    let reply = world.answer(1, propose(1, "x"), 100);
    assert_eq!(reply, Some(Reply::Failed(Failure::NoGroup)));
    assert_eq!(count(world.answer(1, propose(2, "x"), 100)), 1);
}

#[test]
fn a_node_that_has_started_answers_for_groups_it_has_not_read_of_yet() {
    let mut world = world_of(1);
    assert_eq!(count(world.answer(2, propose(1, "before"), 100)), 1);
    // All it had is gone: it learns of the group from the log that the leader sends.
    let anew = Options { boot: 2, ..options(3, 3) };
    world.start(anew);
    let unknown = world.ask(3, query(7));
    let known = world.ask(3, query(1));
    let status = world.answer(3, Request::GroupStatus(Some(GroupId(1))), 0);
    assert_eq!(status, Some(Reply::Failed(Failure::Starting)), "nothing is known at once");
    world.run(1_500);
    assert_eq!(count(world.replies[&known].first().cloned()), 1, "and then it answers");
    let nothing = Reply::Failed(Failure::NoGroup);
    let told = &world.replies[&unknown];
    assert_eq!(told, core::slice::from_ref(&nothing), "there is none, by the record");
    let status = world.answer(3, Request::GroupStatus(Some(GroupId(7))), 0);
    assert_eq!(status, Some(nothing));
}

#[test]
fn a_node_that_started_alone_says_that_it_does_not_know_its_groups() {
    let mut world = world_of(1);
    world.cut.insert(3);
    let anew = Options { boot: 2, ..options(3, 3) };
    world.start(anew);
    assert_eq!(world.answer(3, query(1), 1_900), None, "it waits for an election");
    let waited = world.ask(3, propose(1, "x"));
    world.run(2_100);
    assert_eq!(world.replies[&waited], [Reply::Failed(Failure::Starting)]);
}

#[test]
fn a_group_is_known_on_every_replica_when_it_was_made_on_one() {
    let mut world = World::of(3);
    for number in 1..=5 {
        let create = GroupCreate { id: 0, kind: "journal".into(), replicas: [1, 2, 3].into() };
        let made = world.ask(1, Request::Write(Command::of(CommandKind::GroupCreate(create))));
        while !world.replies.contains_key(&made) {
            world.run(1);
        }
        let asked = (1..=3).map(|node| world.ask(node, propose(number, "x"))).collect::<Vec<_>>();
        world.run(1_000);
        for one in asked {
            assert!(matches!(world.replies[&one][..], [Reply::Group(_)]), "{one:?}");
        }
    }
}

/// What a node saves when it is told that a saved snapshot went bad, by where that ends.
fn saved_anew(world: &mut World, node: u64, group: GroupId) -> Vec<crate::base::Index> {
    let mut out = Outputs::new();
    let now = world.now;
    world.nodes.get_mut(&node).unwrap().handle(now, Input::SnapshotLost(group), &mut out);
    let ends = out.as_slice().iter().filter_map(|output| match output {
        Output::Save { group: of, snapshot, .. } if *of == group => Some(snapshot.meta.last.index),
        _ => None,
    });
    ends.collect()
}

#[test]
fn a_snapshot_that_went_bad_is_replaced_at_once_and_by_one_of_the_same_end_if_nothing_happened() {
    let mut world = world_of(1);
    for _ in 0..3 {
        world.answer(1, propose(1, "x"), 100);
        for group in [GroupId::CONTROL, GroupId(1)] {
            let first = saved_anew(&mut world, 1, group);
            assert_eq!(first.len(), 1, "{group}");
            assert_eq!(saved_anew(&mut world, 1, group), [], "{group}: that one comes first");
            world.step(1, Input::Saved { group, index: first[0] });
            world.run(500);
            let again = saved_anew(&mut world, 1, group);
            assert_eq!(again.len(), 1, "{group}: asked for anew");
            world.step(1, Input::Saved { group, index: again[0] });
        }
    }
}

#[test]
fn groups_are_saved_when_their_commands_have_many_bytes() {
    let mut world = world_of(1);
    let command = Bytes::from(std::vec![7; 1 << 20]);
    let before = world.nodes[&2].groups().group(GroupId(1)).unwrap().unsaved();
    assert!(before < 10);
    for _ in 0..9 {
        let ask = Ask::Propose(command.clone());
        world.answer(2, Request::Group { group: GroupId(1), ask }, 200);
    }
    let group = world.nodes[&2].groups().group(GroupId(1)).unwrap();
    assert!(group.applied().0 >= 9 && group.unsaved() < 9, "{} are not saved", group.unsaved());
}

/// Commands asked while nodes are cut off and come back, one at a time; those answered.
fn answered_through_cuts(world: &mut World, seed: u64) -> BTreeSet<(GroupId, Bytes)> {
    let mut prng = crate::base::Prng::seeded(seed);
    let mut asked = BTreeMap::new();
    for round in 0..80 {
        match prng.draw() % 4 {
            0 if world.cut.is_empty() => {
                world.cut.insert(prng.draw() % 3 + 1);
            }
            1 => world.cut.clear(),
            _ => {}
        }
        for number in 0..4 {
            let (node, group) = (prng.draw() % 3 + 1, GroupId(prng.draw() % 3 + 1));
            let command = Bytes::from(std::format!("{round}.{number}"));
            let ask = Ask::Propose(command.clone());
            asked.insert(world.ask(node, Request::Group { group, ask }), (group, command));
        }
        world.run(prng.draw() % 700);
    }
    world.cut.clear();
    world.run(10_000);
    let is_answered = |key: &(u64, RequestId)| {
        matches!(world.replies.get(key).map(|all| &all[..]), Some([Reply::Group(_)]))
    };
    asked.into_iter().filter(|(key, _)| is_answered(key)).map(|(_, what)| what).collect()
}

#[test]
fn what_groups_answered_stays_and_took_effect_once() {
    for seed in 1..=8 {
        let mut world = world_of(3);
        let answered = answered_through_cuts(&mut world, seed);
        assert!(answered.len() > 150, "seed {seed}: {} answered", answered.len());
        for group in (1..=3).map(GroupId) {
            let replicas = world.nodes.values().map(|node| node.groups().group(group).unwrap());
            let states: BTreeSet<(u64, u64)> =
                replicas.map(|replica| (replica.applied().0, replica.digest())).collect();
            assert_eq!(states.len(), 1, "seed {seed}: {group} differs: {states:?}");
            let commands = journal(&world.nodes[&1], group);
            let unique: BTreeSet<&Bytes> = commands.iter().collect();
            assert_eq!(unique.len(), commands.len(), "seed {seed}: {group} has one twice");
            for (_, command) in answered.iter().filter(|(of, _)| *of == group) {
                assert!(unique.contains(command), "seed {seed}: {group} lost {command:?}");
            }
        }
        assert_eq!(led_by(&world).len(), 3, "seed {seed}: led evenly again");
    }
}

/// Every command of a group's journal, as one node has it.
fn journal(node: &Node, group: GroupId) -> Vec<Bytes> {
    let machine = node.groups().group(group).unwrap().machine();
    let count = u64::from_be_bytes(machine.query(b"")[..].try_into().unwrap());
    (1..=count).map(|place| machine.query(&place.to_be_bytes())).collect()
}

/// Starts node 3 with an empty disk, of which the store says that it lost what it promised.
fn wipe(world: &mut World) {
    world.cut.insert(3);
    world.run(2_000);
    world.queue.retain(|_, (to, _)| *to != 3);
    let mut recovered = Recovered::default();
    recovered.raft.hard_state.rebuilding = true;
    world.start_from(Options { boot: 2, ..options(3, 3) }, recovered);
    world.cut.clear();
}

#[test]
fn a_group_that_a_lost_disk_may_have_had_is_opened_as_one_that_rebuilds() {
    let mut world = world_of(2);
    assert_eq!(count(world.answer(2, propose(1, "a"), 100)), 1);
    wipe(&mut world);
    let mut begun = BTreeSet::new();
    for _ in 0..3_000 {
        world.run(1);
        let groups = world.nodes[&3].groups().iter();
        let rebuilding = groups.filter(|group| group.raft().is_rebuilding());
        begun.extend(rebuilding.map(|group| group.id().0));
    }
    assert_eq!(begun, BTreeSet::from([1, 2]), "however soon the control replica was done");
    assert!(!world.nodes[&3].raft().is_rebuilding());
    let group = create(&mut world, &[1, 2, 3]);
    let replica = world.nodes[&3].groups().group(group).expect("made on all");
    assert!(!replica.raft().is_rebuilding(), "nothing was promised in a group made later");
    world.run(5_000);
    for group in 1..=3 {
        let replica = world.nodes[&3].groups().group(GroupId(group)).expect("made on all");
        assert!(!replica.raft().is_rebuilding(), "{group}");
        assert_eq!(replica.raft().configuration().voters.len(), 3, "{group}");
    }
}
