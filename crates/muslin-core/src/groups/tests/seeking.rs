//! Replicas that do not know who leads.

use crate::base::{GroupId, Machine as _, NodeId, Now, Outputs, RequestId};
use crate::groups::{Ask, Groups, Input, Message, Options, Output, Start};
use crate::raft::{Role, Unbound};
use crate::state::GroupRecord;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

const GROUP: GroupId = GroupId(1);

pub(super) fn record() -> GroupRecord {
    GroupRecord {
        id: GROUP.0,
        kind: "register".into(),
        replicas: [1, 2, 3].into(),
        leader: Some(1),
        assignment: 1,
        created_at: 1,
    }
}

pub(super) fn started(id: u64, now: Now) -> Groups {
    let (id, boot, recovered) = (NodeId(id), 1, BTreeMap::new());
    let start = Start { id, boot, request_timeout: Duration::from_secs(5), recovered };
    let mut groups = Groups::new(Options::default(), start, id.0, now);
    let mut out = Outputs::new();
    groups.handle(now, Input::ControlLed(true), &mut out);
    groups.handle(now, Input::Open { record: record(), rebuilding: false }, &mut out);
    groups
}

/// Gives a node something to do, with a disk that is done at once.
pub(super) fn give(groups: &mut Groups, now: Now, input: Input) -> Vec<(NodeId, Message)> {
    let mut sent = Vec::new();
    let mut inputs = VecDeque::from([input]);
    while let Some(input) = inputs.pop_front() {
        let mut out = Outputs::new();
        groups.handle(now, input, &mut out);
        for output in out.drain() {
            match output {
                Output::Persist { group, id, .. } => {
                    inputs.push_back(Input::Persisted { group, id });
                }
                Output::Send { to, message, .. } => sent.push((to, message)),
                _ => {}
            }
        }
    }
    sent
}

/// Runs what two nodes have to say to each other.
pub(super) fn converse(nodes: &mut [Groups; 2], now: Now, at: usize, input: Input) {
    let mut waiting = VecDeque::from([(at, input)]);
    while let Some((at, input)) = waiting.pop_front() {
        let from = NodeId(at as u64 + 1);
        for (to, message) in give(&mut nodes[at], now, input) {
            if to.0 <= 2 {
                waiting.push_back((to.0 as usize - 1, Input::Message { from, message }));
            }
        }
    }
}

#[test]
fn a_query_at_a_replica_that_knows_no_leader_asks_the_named_one_whether_it_leads() {
    let now = Now::START + Duration::from_secs(1);
    let mut nodes = [1, 2].map(|id| started(id, now));
    converse(&mut nodes, now, 0, Input::Tick);
    let leads = |groups: &Groups| groups.group(GROUP).map(|group| group.raft().role());
    assert_eq!(leads(&nodes[0]), Some(Role::Leader), "the named one is elected");

    // It starts anew, so fast that nobody takes notice.
    nodes[1] = started(2, now);
    let ask = Ask::Query(Bytes::new());
    give(&mut nodes[1], now, Input::Ask { id: RequestId(1), group: GROUP, ask });
    let sent = give(&mut nodes[1], now, Input::Flush);
    let question = Message::Propose { group: GROUP, proposals: Vec::new() };
    assert_eq!(sent, [(NodeId(1), question.clone())]);
    assert_eq!(give(&mut nodes[1], now, Input::Flush), [], "once in a while");

    let answer = give(&mut nodes[0], now, Input::Message { from: NodeId(2), message: question });
    let is_append = |message: &Message| {
        matches!(message, Message::Raft { message: crate::raft::Message::Unbound(one), .. }
            if matches!(one, Unbound::Append { .. }))
    };
    assert!(answer.iter().any(|(to, message)| *to == NodeId(2) && is_append(message)));
}
