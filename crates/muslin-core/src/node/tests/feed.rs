//! The record's way to members that have no part in the control group.

use super::*;
use crate::base::{Index, LogId};
use crate::raft;
use crate::state::{Membership, MembershipChange, Whom};
use std::string::String;

const WORKERS: core::ops::RangeInclusive<u64> = 4..=8;

fn admit(world: &mut World, id: u64, role: &str) {
    let admit = Admit {
        member: Member { roles: std::vec![String::from(role)], ..member(id) },
        token_id: token().id,
        secret_hash: token().secret_hash,
        unix_ms: 1,
        ..Admit::default()
    };
    let leader = world.leader();
    world.revision_of(leader, Request::Write(Command::of(CommandKind::Admit(admit.into()))));
    world.start(options(id, 3));
}

/// Three voters and some workers.
fn world() -> World {
    let mut world = World::of(3);
    WORKERS.for_each(|id| admit(&mut world, id, "worker"));
    world.run(3_000);
    world
}

fn feeder(world: &World, id: u64) -> u64 {
    world.nodes[&id].fed_by(world.now).unwrap_or_else(|| panic!("nobody feeds n{id}")).voter.0
}

fn check_equal(world: &World, ids: impl IntoIterator<Item = u64>) {
    let leader = &world.nodes[&world.leader()];
    for id in ids {
        let node = &world.nodes[&id];
        assert_eq!(node.raft().applied(), leader.raft().applied(), "n{id}");
        assert_eq!(node.state().digest(), leader.state().digest(), "R6: n{id}");
        assert_eq!(node.raft().leader(), leader.raft().leader(), "n{id}");
    }
}

#[test]
fn members_that_are_not_to_vote_are_fed_by_voters_and_answer_for_themselves() {
    let mut world = world();
    let leader = world.leader();
    let configuration = world.nodes[&leader].raft().configuration().clone();
    assert_eq!(configuration.members(), (1..=3).map(NodeId).collect());
    let feeders: BTreeSet<u64> = WORKERS.map(|id| feeder(&world, id)).collect();
    assert!(feeders.len() > 1 && feeders.iter().all(|voter| *voter <= 3), "{feeders:?}");
    world.revision_of(6, put("a", "1", 0));
    for id in WORKERS {
        let reply = world.answer(id, read("a", Consistency::Linearizable), 100);
        assert_eq!(value_of(reply), Some("1".into()), "n{id}");
    }
    check_equal(&world, WORKERS);
    world.run(3_000);
    let fed = world.nodes[&leader].fed_members(world.now);
    let told: BTreeMap<u64, u64> = fed.iter().map(|one| (one.node.0, one.by.0)).collect();
    let expected = WORKERS.map(|id| (id, feeder(&world, id))).collect();
    assert_eq!(told, expected, "the leader knows who feeds whom");
    let last = world.nodes[&leader].raft().applied();
    assert!(fed.iter().all(|one| one.upto == last), "{fed:?} of {last}");
}

#[test]
fn the_leader_speaks_to_voters_alone() {
    let mut world = world();
    world.said.clear();
    let leader = world.leader();
    world.revision_of(leader, put("a", "1", 0));
    let appends = |message: &&PeerMessage| {
        matches!(message, PeerMessage::Raft { message: crate::raft::Message::Unbound(
            crate::raft::Unbound::Append { entries, .. }), .. } if !entries.is_empty())
    };
    assert_eq!(world.said.iter().filter(appends).count(), 2);
}

#[test]
fn when_its_voter_is_gone_a_member_is_fed_by_another_without_a_gap() {
    let mut world = world();
    let lost = feeder(&world, 5);
    world.cut.insert(lost);
    for number in 0..40 {
        let by = if number % 2 == 0 { 5 } else { 7 };
        let key = if by == 5 { "a" } else { "b" };
        world.ask(by, put(key, "1", 0));
        world.run(200);
    }
    assert_ne!(feeder(&world, 5), lost);
    check_equal(&world, WORKERS);
    assert!(world.nodes[&5].state().revision() >= Revision(30));
    // It is back, and so are those that it fed.
    world.cut.clear();
    world.run(10_000);
    assert_eq!(feeder(&world, 5), lost);
    check_equal(&world, WORKERS);
}

#[test]
fn one_whose_vote_is_taken_is_fed_and_votes_again_when_it_is_to() {
    let mut world = world();
    admit(&mut world, 9, CONTROL_ROLE);
    world.run(3_000);
    let leader = world.leader();
    let demoted = (1..=3).find(|id| *id != leader).expect("a follower");
    let change = |change| {
        Request::Write(Command::of(CommandKind::Membership(Membership::at(1, change).into())))
    };
    world.revision_of(leader, change(MembershipChange::Demote(Whom { id: demoted })));
    world.run(6_000);
    let configuration = world.nodes[&leader].raft().configuration().clone();
    assert!(configuration.is_voter(NodeId(9)), "{configuration:?}");
    assert!(!configuration.members().contains(&NodeId(demoted)), "{configuration:?}");
    feeder(&world, demoted);
    world.revision_of(demoted, put("a", "1", 0));
    check_equal(&world, [demoted]);
    world.revision_of(leader, change(MembershipChange::Promote(Whom { id: demoted })));
    world.run(6_000);
    let leader = world.leader();
    assert!(world.nodes[&leader].raft().configuration().is_voter(NodeId(demoted)));
    assert_eq!(world.nodes[&demoted].fed_by(world.now), None);
    check_equal(&world, WORKERS.chain([demoted]));
}

#[test]
fn a_member_with_a_full_disk_says_so_through_its_voter_and_goes_on_when_there_is_room() {
    let mut world = world();
    world.step(6, Input::Disk(DiskRoom::Full));
    let leader = world.leader();
    world.revision_of(leader, put("a", "1", 0));
    world.run(4_000);
    assert_eq!(world.nodes[&leader].status(world.now).full, [NodeId(6)]);
    assert!(world.nodes[&6].raft().applied() < world.nodes[&leader].raft().applied());
    world.step(6, Input::Disk(DiskRoom::Room));
    world.run(4_000);
    check_equal(&world, WORKERS);
    assert_eq!(world.nodes[&leader].status(world.now).full, []);
}

#[test]
fn one_that_the_record_does_not_know_is_not_fed() {
    let mut world = world();
    world.start(options(9, 3));
    world.run(5_000);
    assert_eq!(world.nodes[&9].raft().applied(), crate::base::Index::ZERO);
    let fed = world.nodes[&world.leader()].fed_members(world.now);
    assert!(fed.iter().all(|one| one.node != NodeId(9)), "{fed:?}");
}

#[test]
fn one_that_is_told_of_a_term_without_a_leader_stays_in_the_term_it_knows() {
    let mut world = world();
    let leader = world.leader();
    let now = world.now;
    let node = world.nodes.get_mut(&4).expect("it runs");
    let term = node.raft().term();
    let standing = raft::Standing { term: term.next(), leader: None, commit: Index::ZERO };
    let (prev, entries, patience) = (LogId::ZERO, raft::Entries::default(), Duration::from_secs(1));
    let told = raft::Fed { prev, entries, standing, patience };
    node.raft.handle(now, raft::Input::Fed(told), &mut Outputs::new());
    assert_eq!(node.raft().term(), term);
    // Whoever wanted to be elected has crashed, and the others never heard of it.
    world.run(3_000);
    assert_eq!(world.nodes[&4].raft().leader(), Some(NodeId(leader)));
    world.revision_of(4, put("a", "1", 0));
}
