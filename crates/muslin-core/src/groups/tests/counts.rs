//! How the groups of a node are counted.

use super::seeking::{converse, give, record, started};
use crate::base::{GroupId, Machine as _, NodeId, Now, Outputs, RequestId};
use crate::groups::{Ask, Event, Failure, GroupCounts, Input, Output};
use crate::raft;
use crate::state::GroupRecord;
use bytes::Bytes;
use core::time::Duration;

#[test]
fn a_group_counts_as_led_while_its_leader_and_a_quorum_live() {
    let mut now = Now::START + Duration::from_secs(1);
    let mut nodes = [1, 2].map(|id| started(id, now));
    let one = GroupCounts { replicas: 1, ..GroupCounts::default() };
    assert_eq!(nodes[0].counts(), GroupCounts { leaderless: 1, ..one }, "named, not elected yet");
    assert_eq!(nodes[1].counts(), one, "whoever is named is taken to lead");
    converse(&mut nodes, now, 0, Input::Tick);
    assert_eq!(nodes[0].counts(), GroupCounts { led: 1, ..one });
    // Nobody is heard any more.
    for _ in 0..20 {
        now = now + Duration::from_millis(100);
        give(&mut nodes[0], now, Input::Tick);
        give(&mut nodes[1], now, Input::Tick);
    }
    assert_eq!(nodes[0].counts().leaderless, 1, "a leader without a quorum");
    assert_eq!(nodes[1].counts(), GroupCounts { leaderless: 1, ..one }, "a leader that is silent");
}

#[test]
fn a_group_whose_only_replica_rebuilds_is_lost_and_says_so() {
    let now = Now::START + Duration::from_secs(1);
    let mut groups = started(1, now);
    let record = GroupRecord { id: 2, replicas: [1].into(), ..record() };
    let mut out = Outputs::new();
    groups.handle(now, Input::Open { record, rebuilding: true }, &mut out);
    let event = Event::Raft { group: GroupId(2), event: raft::Event::RebuildImpossible };
    assert_eq!(out.drain().filter(|said| *said == Output::Report(event.clone())).count(), 1);
    let asks = [Ask::Propose(Bytes::new()), Ask::Query(Bytes::new())];
    for (id, ask) in (1..).map(RequestId).zip(asks) {
        groups.handle(now, Input::Ask { id, group: GroupId(2), ask }, &mut out);
        let answers: alloc::vec::Vec<Output> = out.drain().collect();
        assert_eq!(answers, [Output::Reply { id, result: Err(Failure::Lost) }]);
    }
    let counts = groups.counts();
    assert_eq!((counts.replicas, counts.lost, counts.rebuilding), (2, 1, 0));
    assert!(groups.is_alive(NodeId(1)).is_none(), "no peer of its own");
}
