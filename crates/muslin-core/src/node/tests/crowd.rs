//! Very many that join at the same moment.

use super::*;
use std::string::String;

const CONTROL: u64 = 3;
const WORKERS: core::ops::RangeInclusive<u64> = CONTROL + 1..=CONTROL + 200;

/// From how many members on nodes follow a slice, and how large it is.
const SLICE_ABOVE: usize = 10;

fn crowd() -> core::ops::RangeInclusive<u64> {
    1..=*WORKERS.end()
}

/// The token admits as many as there are, and no more.
fn options_of(id: u64) -> Options {
    let uses_left = WORKERS.count() as u64;
    let options = options(id, CONTROL);
    let founding =
        Founding { tokens: std::vec![Token { uses_left, ..token() }], ..options.founding };
    let swim = crate::swim::Options {
        slice_above: SLICE_ABOVE,
        slice: SLICE_ABOVE,
        ..options.swim.clone()
    };
    Options { founding, swim, ..options }
}

fn admit(id: u64) -> Request {
    let admit = Admit {
        member: Member { roles: std::vec![String::from("worker")], ..member(id) },
        token_id: token().id,
        secret_hash: token().secret_hash,
        unix_ms: 1,
        ..Admit::default()
    };
    Request::Write(Command::of(CommandKind::Admit(admit.into())))
}

#[test]
fn two_hundred_that_join_at_once_through_all_nodes_are_in_and_each_follows_a_slice() {
    let mut world = World::of(0);
    (1..=CONTROL).for_each(|id| world.start(options_of(id)));
    world.run(2_000);
    let asked: Vec<_> = WORKERS.map(|id| world.ask(1 + id % CONTROL, admit(id))).collect();
    world.run(1_000);
    for one in asked {
        let replies = world.replies.remove(&one).unwrap_or_default();
        let is_in = |outcome: &crate::state::Outcome| outcome.result.is_ok();
        assert!(matches!(&replies[..], [Reply::Outcome(it)] if is_in(it)), "{replies:?}");
    }
    let late = world.answer(1, admit(WORKERS.end() + 1), 1_000);
    let Some(Reply::Outcome(late)) = late else { panic!("not answered: {late:?}") };
    assert!(late.result.is_err(), "the token is used up");
    WORKERS.for_each(|id| world.start(options_of(id)));
    world.run(10_000);
    let leader = &world.nodes[&world.leader()];
    let voters = leader.raft().configuration().members();
    assert_eq!(voters, (1..=CONTROL).map(NodeId).collect(), "nobody else votes, or learns to");
    let all: BTreeSet<NodeId> = crowd().map(NodeId).collect();
    for (id, node) in &world.nodes {
        assert_eq!(node.raft().applied(), leader.raft().applied(), "n{id}");
        assert_eq!(node.state().digest(), leader.state().digest(), "R6: n{id}");
        assert!(node.state().members().keys().eq(&all), "n{id} knows all by the record");
        let view = node.swim().view(world.now);
        let is_alive = view.iter().all(|one| one.state == crate::swim::Liveness::Alive);
        assert!(is_alive, "n{id} sees {view:?}");
        let bound = SLICE_ABOVE + CONTROL as usize + 1;
        assert!((SLICE_ABOVE..=bound).contains(&view.len()), "n{id} follows {}", view.len());
    }
    let (tokens, held) = (leader.state().tokens(), leader.state().held());
    assert!(held.is_empty(), "no join waits");
    assert_eq!(tokens[&token().id].used, WORKERS.count() as u64);
    assert!(leader.state().members().values().all(Member::is_living), "and all are well");
}
