//! What is found to be under way, and what becomes of it.

use super::*;
use crate::api::status::tests::known;
use muslin_core::raft::Configuration;
use muslin_core::swim::Liveness;

type Rows = BTreeMap<String, OpRow>;

const DRAIN: &str = "drain-0000000000000002";

fn three() -> NodeStatus {
    known(&[1, 2, 3], &[1, 2, 3, 4].map(|id| (id, Liveness::Alive)))
}

/// What a node makes of it that has seen these.
fn seen(rows: &mut Rows, status: &NodeStatus, keys: &[u64]) -> Vec<(String, Stand)> {
    settle(rows, &under_way(status, keys), status);
    rows.values().map(|row| (row.id.clone(), row.state)).collect()
}

fn is(id: &str, state: Stand) -> Vec<(String, Stand)> {
    vec![(id.to_string(), state)]
}

#[test]
fn a_drain_is_done_when_the_member_does_not_vote_and_undone_when_it_is_not_drained() {
    let (mut rows, mut status) = (Rows::new(), three());
    assert_eq!(seen(&mut rows, &status, &[1]), []);
    status.members[1].is_draining = true;
    assert_eq!(seen(&mut rows, &status, &[1]), is(DRAIN, Stand::Running));
    let mut taken_back = (rows.clone(), status.clone());
    status.configuration = Configuration::of_voters([1, 3].map(NodeId));
    assert_eq!(seen(&mut rows, &status, &[1]), is(DRAIN, Stand::Done));
    assert!(rows[DRAIN].ended.is_some());
    // The same again is another one.
    status.configuration = Configuration::of_voters([1, 2, 3].map(NodeId));
    assert_eq!(seen(&mut rows, &status, &[1]), is(DRAIN, Stand::Running));
    status.members.remove(1);
    assert_eq!(seen(&mut rows, &status, &[1]), is(DRAIN, Stand::Undone));
    let (rows, status) = (&mut taken_back.0, &mut taken_back.1);
    status.members[1].is_draining = false;
    assert_eq!(seen(rows, status, &[1]), is(DRAIN, Stand::Undone));
}

#[test]
fn wishes_for_votes_are_done_when_it_is_so() {
    let (mut rows, mut status) = (Rows::new(), three());
    status.members[1].set_vote_wish(VoteWish::Never);
    status.members[3].set_vote_wish(VoteWish::Votes);
    let states = |running: Stand| {
        [("demote-0000000000000002", running), ("promote-0000000000000004", running)]
            .map(|(id, state)| (id.to_string(), state))
    };
    assert_eq!(seen(&mut rows, &status, &[1]), states(Stand::Running));
    status.configuration = Configuration::of_voters([1, 3, 4].map(NodeId));
    assert_eq!(seen(&mut rows, &status, &[1]), states(Stand::Done));
    // Who has not read the record says nothing of it.
    status.configuration = Configuration::default();
    assert_eq!(under_way(&status, &[]), Under::new());
}

#[test]
fn what_others_tell_of_a_disk_is_not_said_to_have_ended_by_who_is_not_told_any_more() {
    let (mut rows, mut status) = (Rows::new(), three());
    status.rebuilding = vec![NodeId(3)];
    let id = "rebuild-0000000000000003";
    assert_eq!(seen(&mut rows, &status, &[1]), is(id, Stand::Running));
    let mut deposed = (rows.clone(), status.clone());
    status.rebuilding = Vec::new();
    assert_eq!(seen(&mut rows, &status, &[1]), is(id, Stand::Done));
    (deposed.1.leader, deposed.1.rebuilding) = (Some(NodeId(2)), Vec::new());
    assert_eq!(seen(&mut deposed.0, &deposed.1, &[1]), []);
}

#[test]
fn changes_of_voters_and_keys_last_until_the_old_ones_are_out() {
    let (mut rows, mut status) = (Rows::new(), three());
    status.configuration.outgoing = [NodeId(2)].into();
    let both = [("gossip-key-5", Stand::Running), (VOTERS, Stand::Running)];
    let both = both.map(|(id, state)| (id.to_string(), state));
    assert_eq!(seen(&mut rows, &status, &[4, 5]), both);
    status.configuration.outgoing.clear();
    let both = both.map(|(id, _)| (id, Stand::Done));
    assert_eq!(seen(&mut rows, &status, &[5]), both);
}

#[test]
fn those_that_ended_first_are_forgotten() {
    let mut rows = Rows::new();
    for number in 0..ENDED_KEPT + 3 {
        let found = Found { kind: "backup", node: None, text: String::new() };
        let mut row = begun(format!("{number:03}"), found);
        row.ended = Some(format!("{number:03}"));
        row.state = if number == 0 { Stand::Running } else { Stand::Done };
        rows.insert(row.id.clone(), row);
    }
    let kept = forget(rows);
    assert_eq!(kept.len(), ENDED_KEPT + 1);
    assert!(kept.contains_key("000") && !kept.contains_key("002") && kept.contains_key("003"));
}
