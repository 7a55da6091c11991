//! Sentences for the situations an operator meets.

use super::*;
use muslin_core::base::{ClusterId, Epoch, Incarnation, Revision, Term};
use muslin_core::groups::GroupCounts;
use muslin_core::node::FedMember;
use muslin_core::raft::{Configuration, Role};
use muslin_core::state::Settings;
use muslin_core::swim::Metadata;
use std::net::SocketAddr;
use std::time::Duration;

fn member(id: u64) -> Member {
    Member {
        id,
        name: format!("n{id}"),
        address: format!("127.0.0.1:740{id}"),
        roles: vec![String::from("control")],
        ..Member::default()
    }
}

fn seen(id: u64, state: Liveness) -> ViewEntry {
    ViewEntry {
        node: NodeId(id),
        state,
        incarnation: Incarnation(7),
        address: SocketAddr::from(([127, 0, 0, 1], 7400 + id as u16)),
        metadata: Metadata { name: format!("n{id}"), ..Metadata::default() },
        since: Now::START,
        heard: Now::from_millis(9_000),
        by: NodeId(1),
    }
}

/// Node 1 of these voters, with this view of all nodes, itself included.
pub(in crate::api) fn known(voters: &[u64], view: &[(u64, Liveness)]) -> NodeStatus {
    NodeStatus {
        id: NodeId(1),
        cluster: ClusterId(5),
        epoch: Epoch(1),
        left_behind_by: None,
        role: Role::Leader,
        voter: voters.contains(&1),
        term: Term(3),
        leader: Some(NodeId(1)),
        last_index: Index(12),
        commit: Index(11),
        applied: Index(11),
        revision: Revision(4),
        compacted: Revision(1),
        keys: 2,
        state_bytes: 100,
        is_sweeping: false,
        quota_bytes: 1_000,
        settings: Settings::default(),
        configuration: Configuration::of_voters(voters.iter().copied().map(NodeId)),
        members: view.iter().map(|(id, _)| member(*id)).collect(),
        view: view.iter().map(|(id, state)| seen(*id, *state)).collect(),
        progress: vec![(NodeId(2), Index(10))],
        silent: Vec::new(),
        voter_plan: None,
        is_rebuilding: false,
        rebuilding: Vec::new(),
        fed_by: None,
        fed: Vec::new(),
        full: Vec::new(),
        groups: GroupCounts::default(),
        quorum_age: Some(Duration::ZERO),
        uptime: Duration::from_secs(10),
    }
}

fn facts() -> NodeFacts {
    NodeFacts {
        name: String::from("n1"),
        cluster_name: String::from("test"),
        addr: String::from("127.0.0.1:7401"),
        etcd: String::new(),
        version: String::from("0.1.0"),
    }
}

fn check(status: &NodeStatus, quorum: Quorum, health: Health, sentence: &str) -> Status {
    let judged = Status::of(status, &facts(), quorum);
    assert_eq!((judged.health, judged.sentence.as_str()), (health, sentence));
    judged
}

const UP: Liveness = Liveness::Alive;
const DOWN: Liveness = Liveness::Down;

#[test]
fn three_of_three_can_lose_one() {
    let status = known(&[1, 2, 3], &[(1, UP), (2, UP), (3, UP)]);
    let sentence = "Healthy - can lose 1 more node";
    let judged = check(&status, Quorum::Answers, Health::Healthy, sentence);
    assert_eq!((judged.can_lose, judged.voters.answering, judged.voters.total), (1, 3, 3));
}

#[test]
fn five_of_five_can_lose_two() {
    let view: Vec<_> = (1..=5).map(|id| (id, UP)).collect();
    let status = known(&[1, 2, 3, 4, 5], &view);
    check(&status, Quorum::Answers, Health::Healthy, "Healthy - can lose 2 more nodes");
}

#[test]
fn two_of_three_is_degraded_and_says_who_is_missing() {
    let status = known(&[1, 2, 3], &[(1, UP), (2, DOWN), (3, UP)]);
    let sentence = "Degraded - n2 is down; can lose 0 more nodes";
    check(&status, Quorum::Answers, Health::Degraded, sentence);
}

#[test]
fn a_voter_that_said_good_bye_has_left() {
    let status = known(&[1, 2, 3], &[(1, UP), (2, Liveness::Left), (3, UP)]);
    let sentence = "Degraded - n2 has left; can lose 0 more nodes";
    check(&status, Quorum::Answers, Health::Degraded, sentence);
}

#[test]
fn a_voter_that_does_not_answer_the_leader_counts_as_missing_before_the_view_knows() {
    let mut status = known(&[1, 2, 3], &[(1, UP), (2, UP), (3, UP)]);
    status.silent = vec![NodeId(2)];
    let sentence = "Degraded - n2 is silent; can lose 0 more nodes";
    check(&status, Quorum::Answers, Health::Degraded, sentence);
}

#[test]
fn a_suspect_counts_as_missing() {
    let status = known(&[1, 2, 3], &[(1, UP), (2, Liveness::Suspect), (3, UP)]);
    let sentence = "Degraded - n2 is suspect; can lose 0 more nodes";
    check(&status, Quorum::Answers, Health::Degraded, sentence);
}

#[test]
fn one_of_three_is_unavailable_and_says_what_still_works() {
    let status = known(&[1, 2, 3], &[(1, UP), (2, DOWN), (3, DOWN)]);
    let sentence = "Unavailable - 1 of 3 voters answers, 2 are needed; \
                    reads with consistency=local still work";
    let judged = check(&status, Quorum::Silent, Health::Unavailable, sentence);
    assert_eq!(judged.can_lose, 0);
}

#[test]
fn enough_voters_without_a_leader_is_unavailable_for_that_reason() {
    let mut status = known(&[1, 2, 3], &[(1, UP), (2, UP), (3, UP)]);
    status.leader = None;
    let sentence = "Unavailable - no leader is elected yet, 3 of 3 voters answer; \
                    reads with consistency=local still work";
    check(&status, Quorum::Silent, Health::Unavailable, sentence);
}

#[test]
fn a_single_node_is_healthy_and_says_that_it_is_single() {
    let status = known(&[1], &[(1, UP)]);
    let sentence = "Healthy - single node, cannot lose any";
    check(&status, Quorum::Answers, Health::Healthy, sentence);
}

#[test]
fn two_voters_are_degraded_because_losing_one_stops_them() {
    let status = known(&[1, 2], &[(1, UP), (2, UP)]);
    let sentence = "Degraded - 2 voters can lose 0 more nodes; add another";
    check(&status, Quorum::Answers, Health::Degraded, sentence);
}

#[test]
fn a_learner_does_not_count_and_is_shown_as_one() {
    let mut status = known(&[1], &[(1, UP), (2, UP)]);
    status.configuration.learners.insert(NodeId(2));
    let sentence = "Healthy - one voter, cannot lose any; 1 node is catching up";
    let judged = check(&status, Quorum::Answers, Health::Healthy, sentence);
    assert_eq!(judged.nodes[1].role, "learner");
    assert_eq!(judged.voters.total, 1);
}

#[test]
fn one_that_is_fed_is_shown_with_whoever_feeds_it() {
    let mut status = known(&[1, 2, 3], &[(1, UP), (2, UP), (3, UP), (4, UP)]);
    let (node, by, upto) = (NodeId(4), NodeId(2), Index(9));
    let heard = Duration::from_millis(300);
    status.fed.push(FedMember { node, by, upto, heard, health: Default::default() });
    let rows = node_rows(&status);
    let fed = &rows[3];
    assert_eq!((fed.role, fed.matched), ("none", Some(9)));
    assert_eq!(fed.fed_by.as_ref().map(|voter| voter.name.as_str()), Some("n2"));
}

#[test]
fn a_change_of_voters_can_lose_what_both_sets_can() {
    let mut status = known(&[1, 2, 3], &[(1, UP), (2, UP), (3, UP), (4, UP)]);
    status.configuration.outgoing = [1, 4].map(NodeId).into();
    let sentence = "Degraded - the voters are being changed; can lose 0 more nodes";
    check(&status, Quorum::Answers, Health::Degraded, sentence);
}

#[test]
fn a_row_says_what_is_known_of_a_node() {
    let mut status = known(&[1, 2, 3], &[(1, UP), (2, UP)]);
    status.members.push(member(3));
    let rows = node_rows(&status);
    let brief: Vec<_> =
        rows.iter().map(|row| (row.name.as_str(), row.state, row.role, row.matched)).collect();
    let expected = [
        ("n1", "alive", "leader", Some(12)),
        ("n2", "alive", "voter", Some(10)),
        ("n3", "unknown", "voter", None),
    ];
    assert_eq!(brief, expected);
    assert_eq!(
        rows.iter().map(|row| row.heard_ms).collect::<Vec<_>>(),
        [Some(0), Some(1_000), None]
    );
    assert_eq!(rows[2].addr, "127.0.0.1:7403");
}

#[test]
fn groups_without_a_leader_are_told_whatever_else_is_wrong() {
    let mut status = known(&[1, 2, 3], &[(1, UP), (2, UP), (3, UP)]);
    let whole = GroupCounts { replicas: 60, led: 20, ..GroupCounts::default() };
    status.groups = whole;
    check(&status, Quorum::Answers, Health::Healthy, "Healthy - can lose 1 more node");
    status.groups = GroupCounts { rebuilding: 2, ..whole };
    let sentence = "Degraded - 2 of 60 groups here rebuild a replica; can lose 1 more node";
    check(&status, Quorum::Answers, Health::Degraded, sentence);
    status.groups = GroupCounts { rebuilding: 2, leaderless: 1, ..whole };
    let sentence = "Degraded - 1 of 60 groups here has no leader; can lose 1 more node";
    check(&status, Quorum::Answers, Health::Degraded, sentence);
    let json = serde_json::to_value(Status::of(&status, &facts(), Quorum::Answers)).unwrap();
    let groups = serde_json::json!({
        "replicas": 60, "led": 20, "leaderless": 1, "rebuilding": 2, "lost": 0
    });
    assert_eq!(json["groups"], groups);
    status.view[2].state = DOWN;
    let sentence =
        "Degraded - n3 is down; 1 of 60 groups here has no leader; can lose 0 more nodes";
    check(&status, Quorum::Answers, Health::Degraded, sentence);
    status.groups = GroupCounts { leaderless: 3, lost: 2, ..whole };
    let sentence = "Degraded - n3 is down; 2 of 60 groups here have lost their data; can lose 0 \
                    more nodes";
    check(&status, Quorum::Answers, Health::Degraded, sentence);
}

#[test]
fn the_document_has_the_fields_that_scripts_read() {
    let status = known(&[1, 2, 3], &[(1, UP), (2, UP), (3, UP)]);
    let json = serde_json::to_value(Status::of(&status, &facts(), Quorum::Answers)).unwrap();
    assert_eq!(json["health"], "healthy");
    assert_eq!(json["cluster"]["id"], "00000000000000000000000000000005");
    assert_eq!(json["node"]["id"], "0000000000000001");
    assert_eq!(json["node"]["role"], "leader");
    assert_eq!(json["leader"]["name"], "n1");
    assert_eq!(json["term"], 3);
    assert_eq!(json["nodes"][2]["matched"], serde_json::Value::Null);
}

#[test]
fn a_majority_that_rebuilds_is_named_by_every_node_that_is_asked() {
    let mut status = known(&[1, 2, 3], &[(1, UP), (2, UP), (3, UP)]);
    status.leader = None;
    status.is_rebuilding = true;
    status.view[1].metadata.is_rebuilding = true;
    let sentence = "Unavailable - n1, n2 are rebuilding and cannot vote: 1 of 3 voters can, 2 are \
                    needed; reads with consistency=local still work";
    check(&status, Quorum::Silent, Health::Unavailable, sentence);
    status.is_rebuilding = false;
    status.view[2].metadata.is_rebuilding = true;
    let sentence = "Unavailable - n2, n3 are rebuilding and cannot vote: 1 of 3 voters can, 2 are \
                    needed; reads with consistency=local still work";
    check(&status, Quorum::Silent, Health::Unavailable, sentence);
    // One of them is down: it does not count twice.
    status.view[2].state = DOWN;
    let sentence = "Unavailable - n2 is rebuilding and cannot vote: 1 of 3 voters can, 2 are \
                    needed; reads with consistency=local still work";
    check(&status, Quorum::Silent, Health::Unavailable, sentence);
}

#[test]
fn a_part_that_others_go_on_without_is_not_healthy_although_it_has_a_quorum() {
    let mut status = known(&[1, 2, 3], &[(1, UP), (2, UP), (3, UP)]);
    status.left_behind_by = Some(Epoch(700_001));
    let sentence = "Degraded - others of this cluster go on in epoch 700001 without this node, \
                    which is in epoch 1: decide which part is right and stop the other; can lose 1 \
                    more node";
    check(&status, Quorum::Answers, Health::Degraded, sentence);
}

#[test]
fn a_store_that_nears_its_quota_says_so_and_a_full_one_what_to_do() {
    let mut status = known(&[1, 2, 3], &[(1, UP), (2, UP), (3, UP)]);
    status.quota_bytes = 1_000;
    for (bytes, health, sentence) in [
        (799, Health::Healthy, "Healthy - can lose 1 more node"),
        (
            800,
            Health::Degraded,
            "Degraded - the keys take 80 % of the 1000 bytes that they may; can lose 1 more node",
        ),
        (
            1_000,
            Health::Degraded,
            "Read-only: the keys take all of the 1000 bytes that they may: delete some, or raise \
             quota_bytes; can lose 1 more node",
        ),
    ] {
        status.state_bytes = bytes;
        check(&status, Quorum::Answers, health, sentence);
    }
}

#[test]
fn a_full_disk_without_a_leader_is_named() {
    let mut status = known(&[1], &[(1, UP)]);
    (status.leader, status.full) = (None, vec![NodeId(1)]);
    let sentence = "Unavailable - the disk of n1 is full, and no leader is elected; reads with \
                    consistency=local still work";
    check(&status, Quorum::Silent, Health::Unavailable, sentence);
}

#[test]
fn a_voter_that_cannot_write_or_vote_is_none_that_others_can_be_lost_beside() {
    let view: Vec<_> = (1..=5).map(|id| (id, UP)).collect();
    let mut status = known(&[1, 2, 3, 4, 5], &view);
    status.full = vec![NodeId(4)];
    let sentence = "Degraded - the disk of n4 is full; can lose 1 more node";
    check(&status, Quorum::Answers, Health::Degraded, sentence);
    status.rebuilding = vec![NodeId(5)];
    let sentence = "Degraded - the disk of n4 is full; can lose 0 more nodes";
    check(&status, Quorum::Answers, Health::Degraded, sentence);
    // The same one: it does not count twice.
    status.rebuilding = vec![NodeId(4)];
    let sentence = "Degraded - the disk of n4 is full; can lose 1 more node";
    check(&status, Quorum::Answers, Health::Degraded, sentence);
    status.full.clear();
    let sentence = "Degraded - n4 is rebuilding: refetching its log; can lose 1 more node";
    check(&status, Quorum::Answers, Health::Degraded, sentence);
}
