//! A counter on three nodes, whose clients ask again.

use super::*;
use crate::codec::Json;
use crate::driver::{Driver, Handle, start};
use crate::store::mem::{Disk, MemStore};
use crate::transport::mem::MemNetwork;
use muslin_core::base::{ClusterId, GroupId, NodeId};
use muslin_core::node::{Consistency, Options};
use muslin_core::state::{Founding, Member};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokio::sync::mpsc;

#[derive(Default)]
struct Counter {
    value: i64,
}

#[derive(Clone, Serialize, Deserialize)]
enum Change {
    Add(i64),
    Reset,
}

impl StateMachine for Counter {
    type Command = Change;
    type Answer = i64;
    type Query = ();
    type Reply = i64;
    type Snapshot = i64;

    fn apply(&mut self, _: Index, command: Change) -> i64 {
        self.value = match command {
            Change::Add(much) => self.value.wrapping_add(much),
            Change::Reset => 0,
        };
        self.value
    }

    fn query(&self, (): ()) -> i64 {
        self.value
    }

    fn snapshot(&self) -> i64 {
        self.value
    }

    fn restore(&mut self, snapshot: i64) {
        self.value = snapshot;
    }
}

/// Forgets half of what it is.
#[derive(Default)]
struct Forgetful {
    value: i64,
    shown: i64,
}

impl StateMachine for Forgetful {
    type Command = i64;
    type Answer = i64;
    type Query = ();
    type Reply = i64;
    type Snapshot = i64;

    fn apply(&mut self, _: Index, command: i64) -> i64 {
        (self.value, self.shown) = (self.value + command, self.shown + 1);
        self.shown
    }

    fn query(&self, (): ()) -> i64 {
        self.value
    }

    fn snapshot(&self) -> i64 {
        self.value
    }

    fn restore(&mut self, snapshot: i64) {
        self.value = snapshot;
    }
}

#[test]
fn a_counter_obeys_the_contract_and_one_that_forgets_does_not() {
    let commands = [Change::Add(2), Change::Add(-7), Change::Reset, Change::Add(1)];
    contract::check::<Counter, _>(Json, &commands, &[()]);
    let forgets = || contract::check::<Forgetful, _>(Json, &[1, 2, 3], &[()]);
    assert!(catch_unwind(AssertUnwindSafe(forgets)).is_err());
}

const CLUSTER: ClusterId = ClusterId(5);

fn address(id: u64) -> SocketAddr {
    format!("127.0.0.1:{}", 7_000 + id).parse().unwrap()
}

struct Node {
    handle: Handle,
    task: tokio::task::JoinHandle<Result<(), crate::driver::DriverError>>,
    _contacts: mpsc::Sender<Vec<SocketAddr>>,
}

/// So many nodes that take snapshots of their groups often.
async fn nodes(count: u64, kind: &Kind<Counter>) -> Vec<Node> {
    let network = MemNetwork::seeded(9);
    let member = |id: u64| Member {
        id,
        name: format!("n{id}"),
        address: address(id).to_string(),
        roles: vec!["control".into()],
        ..Member::default()
    };
    let mut nodes = Vec::new();
    for id in 1..=count {
        let mut options = Options::new(NodeId(id), CLUSTER, address(id));
        let members = (1..=count).map(member).collect();
        options.founding = Founding { members, ..Founding::default() };
        options.metadata.name = format!("n{id}");
        options.groups.machines = kind.register(options.groups.machines);
        options.groups.snapshot_entries = 8;
        let (inbox, incoming) = mpsc::channel(4_096);
        let (sender, contacts) = mpsc::channel(1);
        let others = (1..=count).filter(|other| *other != id).map(address).collect();
        sender.send(others).await.unwrap();
        let transport = network.start((CLUSTER, NodeId(id)), Some(address(id)), inbox);
        let store = Box::new(MemStore::new(Disk::new()));
        let driver = Driver { options, store, transport, incoming, contacts, seed: id };
        let (handle, task) = start(driver).unwrap();
        nodes.push(Node { handle, task, _contacts: sender });
    }
    nodes
}

async fn made(nodes: &[Node], kind: &Kind<Counter>) -> GroupId {
    loop {
        let replicas = (1..=3).map(NodeId);
        match nodes[0].handle.group_create(kind.name(), replicas).await {
            Ok(group) => return group,
            // No leader yet.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_again_at_another_node_counts_once_over_changes_of_leader() {
    let kind = Kind::<Counter>::new("counter");
    let mut nodes = nodes(3, &kind).await;
    let group = made(&nodes, &kind).await;
    let patience = std::time::Duration::from_secs(120);
    let at =
        |nodes: &[Node], node: usize| kind.of_group(&nodes[node].handle, group).patience(patience);
    let key = Key::of("a client", "its first order");
    let first = at(&nodes, 0).propose_as(&key, &Change::Add(5)).await.unwrap();
    assert_eq!(first, Done { answer: 5, again: false });
    // The answer was lost: it asks elsewhere, after others, behind several snapshots.
    for number in 0..40 {
        let machine = at(&nodes, number % 3);
        assert_eq!(machine.propose(&Change::Add(1)).await.unwrap(), 6 + number as i64);
    }
    let again = at(&nodes, 1).propose_as(&key, &Change::Add(5)).await.unwrap();
    assert_eq!(again, Done { answer: 5, again: true });
    let other = at(&nodes, 2).propose_as(&key, &Change::Reset).await;
    assert_eq!(other, Err(MachineError::OtherCommand));
    // One goes, perhaps the leader.
    let gone = nodes.remove(0);
    gone.handle.shutdown().await;
    gone.task.await.unwrap().unwrap();
    let machine = at(&nodes, 0);
    assert_eq!(machine.propose_as(&key, &Change::Add(5)).await.unwrap(), again);
    assert_eq!(machine.propose(&Change::Add(1)).await.unwrap(), 46);
    let read = at(&nodes, 1).query(&(), Consistency::Linearizable).await.unwrap();
    assert_eq!(read, 46);
}

/// Where in `nodes` whoever leads the group is.
async fn leader(nodes: &[Node], group: GroupId) -> usize {
    loop {
        for (place, node) in nodes.iter().enumerate() {
            let statuses = node.handle.group_status(Some(group)).await.unwrap_or_default();
            if statuses.iter().any(|status| status.role == muslin_core::raft::Role::Leader) {
                return place;
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_replica_answers_and_what_it_asks_again_counts_once() {
    let kind = Kind::<Counter>::new("counter");
    let mut nodes = nodes(4, &kind).await;
    let group = made(&nodes, &kind).await;
    let outside = nodes.pop().unwrap();
    let status = outside.handle.group_status(Some(group)).await;
    assert!(status.is_err(), "it keeps no replica: {status:?}");
    let patience = std::time::Duration::from_secs(120);
    let machine = kind.of_group(&outside.handle, group).patience(patience);
    let key = Key::of("a client", "its first order");
    let first = machine.propose_as(&key, &Change::Add(5)).await.unwrap();
    assert_eq!(first, Done { answer: 5, again: false });
    for number in 0..20 {
        assert_eq!(machine.propose(&Change::Add(1)).await.unwrap(), 6 + number);
    }
    // Twenty ask at once while the leader goes; each is carried out once, and answered.
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..20 {
        let machine = kind.of_group(&outside.handle, group).patience(patience);
        asked.spawn(async move {
            let key = Key::of("a crowd", &number.to_string());
            machine.propose_as(&key, &Change::Add(100)).await
        });
    }
    let gone = nodes.remove(leader(&nodes, group).await);
    gone.task.abort();
    let _ = gone.task.await;
    let mut sums = Vec::new();
    while let Some(done) = asked.join_next().await {
        sums.push(done.unwrap().unwrap().answer);
    }
    sums.sort_unstable();
    let each: Vec<i64> = (1..=20).map(|number| 25 + 100 * number).collect();
    assert_eq!(sums, each, "none lost, none doubled");
    let again = machine.propose_as(&key, &Change::Add(5)).await.unwrap();
    assert_eq!(again, Done { answer: 5, again: true });
    for consistency in [Consistency::Linearizable, Consistency::Lease] {
        assert_eq!(machine.query(&(), consistency).await.unwrap(), 2_025);
    }
    let local = machine.query(&(), Consistency::Local).await.unwrap();
    assert!((0..=2_025).contains(&local), "as some replica has it: {local}");
    let none = kind.of_group(&outside.handle, GroupId(77));
    let none = none.query(&(), Consistency::Linearizable).await;
    let failure = muslin_core::node::Failure::NoGroup;
    assert_eq!(none, Err(MachineError::Failed(failure)));
}
