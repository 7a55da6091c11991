//! Who is there, by the record.

use super::*;
use crate::base::{Epoch, Incarnation, Index, LogId, Term};
use crate::raft::{self, Entry, HardState, Payload, Write};
use crate::state::{
    Life, MemberState, Membership, MembershipChange, Proposal, RaiseEpoch, Refusal, Settings,
    Standing, Whom,
};
use prost::Message as _;
use std::format;

fn change(change: MembershipChange) -> Request {
    Request::Write(Command::of(CommandKind::Membership(Membership::at(1, change).into())))
}

fn state_of(world: &World, at: u64, of: u64) -> MemberState {
    world.nodes[&at].state().members()[&NodeId(of)].state()
}

fn admit(world: &mut World, id: u64) {
    admit_only(world, id);
    world.start(options(id, 3));
    world.run(3_000);
}

/// It is a member, and does not run.
fn admit_only(world: &mut World, id: u64) {
    let admit = Admit {
        member: member(id),
        token_id: token().id,
        secret_hash: token().secret_hash,
        unix_ms: 1,
        ..Admit::default()
    };
    let leader = world.leader();
    world.revision_of(leader, Request::Write(Command::of(CommandKind::Admit(admit.into()))));
}

#[test]
fn one_that_is_dead_is_declared_down_by_those_that_watch_it_and_comes_back_in_a_later_life() {
    let mut world = World::of(3);
    let dead = world.follower();
    world.cut.insert(dead);
    world.run(10_000);
    let leader = world.leader();
    let record = &world.nodes[&leader].state().members()[&NodeId(dead)];
    let Some(Standing::Down(down)) = record.standing.clone() else { panic!("{record:?}") };
    let others: Vec<u64> = (1..=3).filter(|id| *id != dead).collect();
    let witnesses: Vec<u64> = down.witnesses.iter().map(|witness| witness.node).collect();
    assert_eq!((down.confirmed, down.watchers, witnesses), (2, 2, others));
    assert_eq!(state_of(&world, dead, dead), MemberState::Admitted, "it is not told");
    world.cut.clear();
    world.run(10_000);
    for at in 1..=3 {
        assert_eq!(state_of(&world, at, dead), MemberState::Admitted);
    }
    let life = world.nodes[&1].state().members()[&NodeId(dead)].life;
    assert!(Incarnation(life) > Incarnation(down.incarnation));
    assert!(world.nodes[&dead].swim().incarnation() >= Incarnation(life));
}

#[test]
fn without_a_quorum_nobody_is_declared_down() {
    let mut world = World::of(3);
    let left = world.follower();
    world.cut.extend((1..=3).filter(|id| *id != left));
    world.run(10_000);
    for of in 1..=3 {
        assert_eq!(state_of(&world, left, of), MemberState::Admitted);
    }
}

#[test]
fn one_that_nobody_speaks_of_is_asked_where_the_record_says_it_is() {
    let mut world = World::of(3);
    // It begins without a contact: nobody hears of it unless it is asked.
    let quiet = Node::new(options(4, 3), Recovered::default(), 4, world.now);
    world.nodes.insert(4, quiet);
    admit_only(&mut world, 4);
    world.run(1_000);
    for at in 1..=3 {
        assert!(world.nodes[&at].swim().alive().any(|node| node == NodeId(4)), "n{at}");
    }
}

#[test]
fn one_that_has_never_started_is_asked_three_times_by_each() {
    let mut world = World::of(3);
    admit_only(&mut world, 4);
    world.run(10_000);
    assert_eq!(world.datagrams.get(&4), Some(&9));
    assert_eq!(state_of(&world, 1, 4), MemberState::Admitted, "nobody has seen it die");
}

#[test]
fn one_that_is_told_to_stop_has_left() {
    let mut world = World::of(3);
    let leaving = world.follower();
    world.step(leaving, Input::Shutdown);
    world.run(1_000);
    let leader = world.leader();
    assert_eq!(state_of(&world, leader, leaving), MemberState::Left);
}

#[test]
fn a_spare_takes_the_vote_of_one_that_is_down_for_long() {
    let mut world = World::of(3);
    admit(&mut world, 4);
    let settings = Settings { voter_grace_ms: 2_000, ..Settings::default() };
    let leader = world.leader();
    world.revision_of(leader, change(MembershipChange::SetSettings(settings)));
    let dead = world.follower();
    world.cut.insert(dead);
    world.run(15_000);
    let leader = world.leader();
    let left = (1..=4).filter(|id| *id != dead).map(NodeId).collect();
    assert_eq!(world.nodes[&leader].raft().configuration().voters, left);
    assert_eq!(*world.nodes[&leader].state().voters(), left);
}

#[test]
fn one_that_is_drained_loses_its_vote() {
    let mut world = World::of(3);
    let drained = world.follower();
    let leader = world.leader();
    world.revision_of(leader, change(MembershipChange::Drain(Whom { id: drained })));
    world.run(2_000);
    let voters = world.nodes[&leader].raft().configuration().voters.clone();
    assert_eq!(voters, (1..=3).filter(|id| *id != drained).map(NodeId).collect());
}

#[test]
fn the_arithmetic_is_told_to_whoever_asks_for_too_much() {
    let mut world = World::of(3);
    let dead = world.follower();
    world.cut.insert(dead);
    world.run(10_000);
    let leader = world.leader();
    let other = (1..=3).find(|id| *id != dead && *id != leader).expect("the third");
    let reply = world.answer(other, change(MembershipChange::Demote(Whom { id: other })), 500);
    let Some(Reply::Outcome(outcome)) = reply else { panic!("{reply:?}") };
    let Err(refusal @ Refusal::QuorumNeeded(_)) = outcome.result else { panic!("{outcome:?}") };
    let words = format!(
        "2 of 3 voters answer; without n{other} 1 of 2 would, and 2 are needed; add a voter first"
    );
    assert_eq!(format!("{refusal}"), words);
}

#[test]
fn the_detector_speaks_in_the_epoch_of_the_record() {
    let mut world = World::of(3);
    let leader = world.leader();
    let raise = RaiseEpoch { from: 1, ..RaiseEpoch::default() };
    world.revision_of(leader, change(MembershipChange::RaiseEpoch(raise)));
    world.run(20_000);
    for (id, node) in &world.nodes {
        assert_eq!((node.epoch(), node.swim().epoch()), (Epoch(2), Epoch(2)));
        assert!(node.state().members().values().all(|one| one.is_living()), "as n{id} has it");
    }
}

/// What a voter of three has on its disk that heard of one write, and of its commit.
fn survivors_disk() -> Recovered {
    let put = Put { key: "a".into(), value: "1".into(), ..Put::default() };
    let command = Some(Command::of(CommandKind::Put(put)));
    let proposal =
        Proposal { origin: 2, boot: 1, sequence: 1, settled_below: 1, command, asker: None };
    let payloads = [Payload::Empty, Payload::Command(proposal.encode_to_vec().into())];
    let entries = (1..).map(Index).zip(payloads);
    let entries = entries.map(|(index, payload)| Entry { id: LogId::new(Term(3), index), payload });
    let hard_state = HardState { term: Term(4), vote: Some(NodeId(2)), ..HardState::default() };
    let raft = raft::Recovered { hard_state, entries: entries.collect(), ..Default::default() };
    Recovered { raft, ..Recovered::default() }
}

fn survivor() -> Survivor {
    let (id, heard) = (NodeId(1), Epoch(1));
    Survivor { id, boot: 5, unix_ms: 77, heard, may_be_damaged: false, leap: 1 }
}

#[test]
fn a_survivor_goes_on_alone_with_all_it_had_in_another_epoch() {
    let mut disk = survivors_disk();
    let mine = options(1, 3);
    let recovery = recover(&survivor(), &mine.founding, &disk).expect("it is a voter");
    assert_eq!(recovery.epoch, Epoch(2));
    assert_eq!(recovery.left_behind, ["n2", "n3"]);
    let survey = survey(&mine.founding, &disk).expect("it can be read");
    assert_eq!(recovery.survey, survey);
    assert_eq!((survey.epoch, survey.position.last.index), (Epoch(1), Index(2)));
    assert_eq!(survey.voters, (1..=3).map(NodeId).collect());
    let Write::Log { hard_state: Some(hard_state), entries } = recovery.write else {
        panic!("it appends")
    };
    disk.raft.hard_state = hard_state;
    disk.raft.entries.extend(entries);
    let mut world = World::of(1);
    world.start_from(Options { boot: 6, ..mine }, disk);
    world.run(3_000);
    let reply = world.answer(1, read("a", Consistency::Linearizable), 100);
    assert_eq!(value_of(reply), Some("1".into()));
    let state = world.nodes[&1].state();
    assert_eq!(state.epoch(), Epoch(2));
    assert!(state.is_current(NodeId(1)) && !state.is_current(NodeId(2)));
    assert_eq!(state_of(&world, 1, 3), MemberState::Down);
    world.revision_of(1, put("b", "2", 0));
}

#[test]
fn the_epoch_of_a_recovery_is_later_than_any_that_the_survivor_heard_of() {
    let (disk, founding) = (survivors_disk(), options(1, 3).founding);
    let heard = Survivor { heard: Epoch(4), ..survivor() };
    let recovery = recover(&heard, &founding, &disk).expect("it is a voter");
    assert_eq!(recovery.epoch, Epoch(5));
    let mut after = disk.clone();
    let Write::Log { entries, .. } = recovery.write else { panic!("it appends") };
    after.raft.entries.extend(entries);
    let after = survey(&founding, &after).expect("it can be read");
    assert_eq!(after.epoch, Epoch(5), "the log alone says so");
    assert_eq!(after.voters, [NodeId(1)].into());
    // One that was left behind is none to recover from, however long its log is.
    let before = survey(&founding, &disk).expect("it can be read");
    let longer = Position { last: LogId::new(Term(9), Index(90)), ..before.position };
    assert!(after.rank() > Survey { position: longer, ..before }.rank());
}

#[test]
fn two_survivors_recovered_apart_begin_epochs_of_their_own() {
    let (disk, founding) = (survivors_disk(), options(1, 3).founding);
    let begin = |leap| {
        let survivor = Survivor { leap, ..survivor() };
        recover(&survivor, &founding, &disk).expect("it is a voter").epoch
    };
    assert_eq!((begin(7), begin(700_000)), (Epoch(8), Epoch(700_001)));
    assert_eq!(begin(u64::MAX), Epoch(1 + EPOCH_LEAP_MAX), "no further than is allowed");
    assert_eq!(begin(0), Epoch(2), "but further than before");
}

#[test]
fn a_survivor_that_had_left_by_the_record_is_there_again() {
    let (mut disk, founding) = (survivors_disk(), options(1, 3).founding);
    let leave = MembershipChange::Leave(Life { id: 1, incarnation: 3 });
    let command = CommandKind::Membership(Membership::at(1, leave).into());
    let command = Some(Command::of(command));
    let proposal =
        Proposal { origin: 1, boot: 1, sequence: 1, settled_below: 1, command, asker: None };
    let payload = Payload::Command(proposal.encode_to_vec().into());
    disk.raft.entries.extend([Entry { id: LogId::new(Term(3), Index(3)), payload }]);
    let standing = |disk: &Recovered| {
        let survey = survey(&founding, disk).expect("it can be read");
        survey.members[0].state()
    };
    assert_eq!(standing(&disk), MemberState::Left);
    let recovery = recover(&survivor(), &founding, &disk).expect("it is a voter");
    let Write::Log { entries, .. } = recovery.write else { panic!("it appends") };
    disk.raft.entries.extend(entries);
    assert_eq!(standing(&disk), MemberState::Admitted);
    assert_eq!(survey(&founding, &disk).expect("it can be read").members[0].epoch(), Epoch(2));
}

#[test]
fn only_a_sound_member_that_may_vote_is_a_survivor() {
    let founding = options(1, 3).founding;
    let refusal = |survivor: Survivor, disk: &Recovered| recover(&survivor, &founding, disk).err();
    let disk = survivors_disk();
    let stranger = Survivor { id: NodeId(9), ..survivor() };
    assert_eq!(refusal(stranger, &disk), Some(RecoveryRefusal::NoMember));
    let mut damaged = disk.clone();
    damaged.raft.hard_state.rebuilding = true;
    assert_eq!(refusal(survivor(), &damaged), Some(RecoveryRefusal::Damaged));
    let accepting = Survivor { may_be_damaged: true, ..survivor() };
    assert_eq!(refusal(accepting, &damaged), None);
    let unreadable = Recovered { snapshot: Some(Bytes::from_static(b"?")), ..disk };
    assert_eq!(refusal(survivor(), &unreadable), Some(RecoveryRefusal::Unreadable));
}
