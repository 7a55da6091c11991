//! Groups asked through a node that keeps no replica of them.

use super::groups::{count, create, leaders, propose, query};
use super::*;
use crate::base::GroupId;
use crate::groups::{Answer, Ask, Matter, Message};
use crate::state::GroupRemove;

const GROUP: GroupId = GroupId(1);

/// Four nodes, and a group on the first three, led.
fn world() -> World {
    let mut world = World::of(4);
    create(&mut world, &[1, 2, 3]);
    world.run(1_000);
    world
}

fn led_by(world: &World) -> u64 {
    leaders(world)[&GROUP].expect("it is led")
}

/// How many commands the group has carried out, by a replica that can be reached.
fn carried_out(world: &World) -> u64 {
    let is_reached = |id: &&u64| !world.cut.contains(id);
    let place = [1, 2, 3].iter().find(is_reached).expect("one is reached");
    let group = world.nodes[place].groups().group(GROUP).unwrap();
    u64::from_be_bytes(group.machine().query(b"")[..].try_into().unwrap())
}

#[test]
fn a_node_without_a_replica_answers_commands_and_questions() {
    let mut world = world();
    assert!(world.nodes[&4].groups().group(GROUP).is_none());
    for number in 1..=5 {
        assert_eq!(count(world.answer(4, propose(1, "x"), 50)), number);
        assert_eq!(count(world.answer(4, query(1), 50)), number);
        assert_eq!(count(world.answer(2, query(1), 50)), number);
    }
    let ask = Ask::QueryLocal(Bytes::new());
    let local = world.answer(4, Request::Group { group: GROUP, ask }, 50);
    assert_eq!(count(local), 5);
    world.said.clear();
    world.run(5_000);
    let of_groups = |said: &&PeerMessage| {
        matches!(said, PeerMessage::Groups(Message::Question { .. } | Message::Propose { .. }))
    };
    assert_eq!(world.said.iter().filter(of_groups).count(), 0, "nothing is left over");
}

#[test]
fn an_unknown_group_is_told_by_the_record_and_one_that_was_taken_out_too() {
    let mut world = world();
    assert_eq!(world.answer(4, propose(7, "x"), 100), Some(Reply::Failed(Failure::NoGroup)));
    assert_eq!(count(world.answer(4, propose(1, "x"), 100)), 1);
    // One that waits while the group goes.
    world.cut.extend([1, 2, 3]);
    let waits = world.ask(4, query(1));
    world.run(50);
    world.cut.clear();
    world.cut.insert(4);
    let remove = CommandKind::GroupRemove(GroupRemove { id: 1 });
    let by = world.follower();
    world.ask(by, Request::Write(Command::of(remove)));
    world.run(3_000);
    world.cut.clear();
    world.run(3_000);
    assert_eq!(world.replies[&waits], [Reply::Failed(Failure::NoGroup)]);
    assert_eq!(world.answer(4, query(1), 100), Some(Reply::Failed(Failure::NoGroup)));
}

#[test]
fn what_the_leader_took_with_it_is_told_by_the_next_and_done_once() {
    // Cut off at every moment of the way: before it arrives, when it is appended, committed, told.
    for moment in 0..12 {
        let mut world = world();
        assert_eq!(count(world.answer(4, propose(1, "before"), 50)), 1);
        let leader = led_by(&world);
        let asked = world.ask(4, propose(1, "x"));
        world.run(moment);
        world.cut.insert(leader);
        world.run(4_000);
        let replies = world.replies.remove(&asked).unwrap_or_default();
        assert_eq!(replies.len(), 1, "moment {moment}");
        assert_eq!(count(replies.first().cloned()), 2, "moment {moment}");
        assert_eq!(carried_out(&world), 2, "moment {moment}: it is done once");
        world.run(100);
        assert_eq!(count(world.answer(4, query(1), 100)), 2, "moment {moment}");
    }
}

#[test]
fn a_question_goes_on_to_the_next_replica_when_one_is_silent() {
    let mut world = world();
    assert_eq!(count(world.answer(4, propose(1, "x"), 50)), 1);
    let leader = led_by(&world);
    // Before the record has a word of it.
    let asked = world.ask(4, query(1));
    world.queue.retain(|_, (to, _)| *to != leader);
    world.cut.insert(leader);
    world.run(3_000);
    assert_eq!(count(world.replies[&asked].first().cloned()), 1);
}

#[test]
fn a_node_that_does_not_lead_says_who_does() {
    let mut world = world();
    assert_eq!(count(world.answer(4, propose(1, "x"), 50)), 1);
    let (before, other) = (led_by(&world), led_by(&world) % 3 + 1);
    // Whoever is asked has handed over, and the record does not say so yet.
    let mut out = Outputs::new();
    let now = world.now;
    let mut said = Outputs::new();
    let node = world.nodes.get_mut(&before).unwrap();
    node.groups.step(now, GROUP, crate::raft::Input::Transfer(NodeId(other)), &mut said);
    node.carry_groups(now, said, &mut out);
    world.carry_out(before, out);
    world.run(20);
    assert_eq!(led_by(&world), other);
    world.said.clear();
    assert_eq!(count(world.answer(4, propose(1, "y"), 100)), 2, "soon, not when it is silent");
    let refused = |said: &&PeerMessage| {
        matches!(said, PeerMessage::Groups(Message::ProposeRefused { leader, .. })
            if *leader == Some(NodeId(other)))
    };
    assert_eq!(world.said.iter().filter(refused).count(), 1, "it is sent on once");
}

#[test]
fn answers_to_an_earlier_start_and_of_strangers_are_not_heard() {
    let mut world = world();
    assert_eq!(count(world.answer(4, propose(1, "x"), 50)), 1);
    let anew = Options { boot: 3, ..options(4, 4) };
    world.start(anew);
    world.run(1_000);
    let asked = world.ask(4, propose(1, "y"));
    let answered = |boot| Message::Answered {
        group: GROUP,
        boot,
        matter: Matter::Command(1),
        answer: Answer::Said(Bytes::from_static(b"not yours")),
    };
    let leader = led_by(&world);
    for (from, boot) in [(leader, 2), (4, 3)] {
        let message = PeerMessage::Groups(answered(boot));
        world.step(4, Input::Peer { from: NodeId(from), message });
    }
    assert!(!world.replies.contains_key(&asked));
    world.run(100);
    assert_eq!(count(world.replies[&asked].first().cloned()), 2);
}

#[test]
fn as_much_as_may_wait_waits_and_the_rest_is_refused_and_all_time_out() {
    let mut world = world();
    assert_eq!(count(world.answer(4, propose(1, "x"), 50)), 1);
    world.cut.insert(4);
    let (mut commands, mut questions) = (Vec::new(), Vec::new());
    for _ in 0..4_097 {
        commands.push(world.ask(4, propose(1, "y")));
        questions.push(world.ask(4, query(1)));
    }
    for last in [commands.pop().unwrap(), questions.pop().unwrap()] {
        assert!(matches!(world.replies[&last][..], [Reply::Failed(Failure::Busy { .. })]));
    }
    world.run(10_000);
    for asked in commands.iter().chain(&questions) {
        assert_eq!(world.replies[asked], [Reply::Failed(Failure::TimedOut)]);
    }
    world.cut.clear();
    world.run(2_000);
    let told = count(world.answer(4, propose(1, "z"), 100));
    assert_eq!(told, 2, "what was given up did not come later");
}

#[test]
fn what_was_asked_through_cuts_took_effect_once() {
    for seed in 1..=4 {
        let mut world = world();
        let mut prng = crate::base::Prng::seeded(seed);
        let mut asked = BTreeMap::new();
        for round in 0..60 {
            match prng.draw() % 4 {
                0 if world.cut.is_empty() => {
                    world.cut.insert(prng.draw() % 4 + 1);
                }
                1 => world.cut.clear(),
                _ => {}
            }
            for number in 0..4 {
                let command = Bytes::from(std::format!("{round}.{number}"));
                let ask = Ask::Propose(command.clone());
                asked.insert(world.ask(4, Request::Group { group: GROUP, ask }), command);
            }
            world.run(prng.draw() % 700);
        }
        world.cut.clear();
        world.run(10_000);
        let machine = world.nodes[&1].groups().group(GROUP).unwrap().machine();
        let kept: Vec<Bytes> =
            (1..=carried_out(&world)).map(|place| machine.query(&place.to_be_bytes())).collect();
        let unique: BTreeSet<&Bytes> = kept.iter().collect();
        assert_eq!(unique.len(), kept.len(), "seed {seed}: one is there twice");
        let mut answered = 0;
        for (key, command) in &asked {
            match &world.replies[key][..] {
                [Reply::Group(place)] => {
                    let place = u64::from_be_bytes(place[..].try_into().unwrap());
                    assert_eq!(kept[place as usize - 1], *command, "seed {seed}");
                    answered += 1;
                }
                [Reply::Failed(Failure::TimedOut)] => {}
                other => panic!("seed {seed}: {other:?}"),
            }
        }
        assert!(answered > 100, "seed {seed}: {answered} answered");
    }
}

#[test]
fn an_answer_that_was_lost_with_the_leader_is_told_by_the_next() {
    let mut world = world();
    assert_eq!(count(world.answer(4, propose(1, "before"), 50)), 1);
    let leader = led_by(&world);
    let asked = world.ask(4, propose(1, "x"));
    let is_answer = |input: &Input| {
        matches!(input, Input::Peer { message: PeerMessage::Groups(Message::Answered { .. }), .. })
    };
    while !world.queue.values().any(|(_, input)| is_answer(input)) {
        world.run(1);
    }
    // The others have heard that it is committed.
    world.queue.retain(|_, (_, input)| !is_answer(input));
    world.cut.insert(leader);
    world.run(4_000);
    let replies = world.replies.remove(&asked).unwrap_or_default();
    assert_eq!(count(replies.first().cloned()), 2, "not only that it may have happened");
    assert_eq!(carried_out(&world), 2);
}

#[test]
fn a_question_is_answered_though_the_leader_is_out_of_this_nodes_reach() {
    let mut world = world();
    assert_eq!(count(world.answer(4, propose(1, "x"), 50)), 1);
    world.barred.insert((4, led_by(&world)));
    assert_eq!(count(world.answer(4, query(1), 2_500)), 1);
}
