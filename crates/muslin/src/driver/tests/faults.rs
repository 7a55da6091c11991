//! Disks that fail, are full, are slow or have lost data, under whole nodes.

use super::{CLUSTER, PATIENCE, Running, address};
use crate::driver::{Driver, DriverError, EventRecord, Handle, start};
use crate::store::mem::{Disk, Leaves, MemStore};
use crate::store::{Aside, RecoveredGroup, Store, StoreError};
use crate::transport::mem::MemNetwork;
use bytes::Bytes;
use muslin_core::base::{GroupId, NodeId};
use muslin_core::groups;
use muslin_core::node::{Consistency, Event, Failure, Options};
use muslin_core::raft::{self, DiskRoom, Role, Write};
use muslin_core::state::{Command, CommandKind, Founding, Member, Put, Query};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Commands of one node that may wait at one group.
const PROPOSALS_MAX: usize = 4_096;

const LINEARIZABLE: Consistency = Consistency::Linearizable;

/// A store whose writes wait while it is shut.
struct GatedStore {
    store: MemStore,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    is_shut: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn shut(&self, is_shut: bool) {
        *self.is_shut.lock().unwrap() = is_shut;
        self.opened.notify_all();
    }
}

impl Store for GatedStore {
    fn recover(&mut self) -> Result<BTreeMap<GroupId, RecoveredGroup>, StoreError> {
        self.store.recover()
    }

    fn write(&mut self, batch: &[(GroupId, Write)]) -> Result<(), StoreError> {
        let shut = self.gate.is_shut.lock().unwrap();
        drop(self.gate.opened.wait_while(shut, |is_shut| *is_shut).unwrap());
        self.store.write(batch)
    }

    fn tend(&mut self) -> Result<DiskRoom, StoreError> {
        self.store.tend()
    }

    fn aside(&self) -> Arc<dyn Aside> {
        self.store.aside()
    }
}

/// Nodes on disks in memory.
pub(super) struct Nodes {
    network: MemNetwork,
    count: u64,
    disks: BTreeMap<u64, Disk>,
    gates: BTreeMap<u64, Arc<Gate>>,
    running: BTreeMap<u64, Running>,
}

impl Nodes {
    pub(super) async fn start(count: u64) -> Nodes {
        let network = MemNetwork::seeded(5);
        let (disks, gates, running) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut nodes = Nodes { network, count, disks, gates, running };
        for id in 1..=count {
            nodes.boot(id, 1).await;
        }
        nodes.until_led().await;
        nodes
    }

    async fn boot(&mut self, id: u64, boot: u64) {
        let member = |id: u64| Member {
            id,
            name: format!("n{id}"),
            address: address(id).to_string(),
            roles: vec!["control".into()],
            ..Member::default()
        };
        let members = (1..=self.count).map(member).collect();
        let mut options = Options::new(NodeId(id), CLUSTER, address(id));
        options.boot = boot;
        options.founding = Founding { members, ..Founding::default() };
        options.metadata.name = format!("n{id}");
        options.request_timeout = PATIENCE;
        let (inbox, incoming) = mpsc::channel(4_096);
        let (contacts_sender, contacts) = mpsc::channel(1);
        let others = (1..=self.count).filter(|other| *other != id).map(address).collect();
        contacts_sender.send(others).await.unwrap();
        let transport = self.network.start((CLUSTER, NodeId(id)), Some(address(id)), inbox);
        let store = MemStore::new(self.disks.entry(id).or_default().clone());
        let gate = self.gates.entry(id).or_default().clone();
        let store = Box::new(GatedStore { store, gate });
        let (transport, seed) = (transport.clone(), id << 8 | boot);
        let driver =
            Driver { options, store, transport: transport.clone(), incoming, contacts, seed };
        let (handle, task) = start(driver).unwrap();
        let node = Running { handle, task, transport, _contacts: contacts_sender };
        self.running.insert(id, node);
    }

    async fn kill(&mut self, id: u64) {
        self.running.remove(&id).unwrap().kill().await;
    }

    pub(super) fn handle(&self, id: u64) -> &Handle {
        &self.running[&id].handle
    }

    async fn until_led(&self) -> u64 {
        until("no leader", async || {
            let status = self.handle(1).status().await.unwrap();
            status.leader.map(|leader| leader.0)
        })
        .await
    }

    /// A journal on these nodes, and who leads it.
    async fn journal(&self, on: &[u64]) -> (GroupId, u64) {
        let replicas = on.iter().copied().map(NodeId);
        let group = self.handle(1).group_create("journal", replicas).await.unwrap();
        let leader = until("nobody leads the group", async || {
            for id in on {
                let statuses = self.handle(*id).group_status(Some(group)).await;
                let leads = |status: &groups::GroupStatus| status.role == Role::Leader;
                if statuses.is_ok_and(|statuses| statuses.iter().any(leads)) {
                    return Some(*id);
                }
            }
            None
        });
        let leader = leader.await;
        // It leads on what its disk has taken: a leader's first entry is there once it answers.
        until("the group does not answer", async || {
            let count = self.handle(leader).group_query(group, Bytes::new(), LINEARIZABLE);
            count.await.ok()
        })
        .await;
        (group, leader)
    }

    /// Whether a node leads the nodes, or this group.
    async fn leads(&self, id: u64, group: GroupId) -> bool {
        let role = self.handle(id).status().await.unwrap().role;
        let statuses = self.handle(id).group_status(Some(group)).await.unwrap_or_default();
        role == Role::Leader || statuses.iter().any(|status| status.role == Role::Leader)
    }

    /// The disk is full, or has room, and the node knows it.
    async fn fill(&self, id: u64, is_full: bool) {
        self.disks[&id].fill(is_full);
        until("the node does not notice", async || {
            let status = self.handle(id).status().await.unwrap();
            (status.full.contains(&NodeId(id)) == is_full).then_some(())
        })
        .await;
    }
}

async fn until<T>(failing: &str, found: impl AsyncFn() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if let Some(found) = found().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{failing}");
}

fn put(key: &str) -> Command {
    let put = Put { key: Bytes::copy_from_slice(key.as_bytes()), ..Put::default() };
    Command::of(CommandKind::Put(put))
}

fn command(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_fails_stops_the_node_and_promises_nothing() {
    let mut nodes = Nodes::start(1).await;
    nodes.handle(1).write(put("before")).await.unwrap();
    nodes.disks[&1].fail_after(0, Leaves::Nothing);
    let answer = nodes.handle(1).write(put("lost")).await;
    assert_eq!(answer.map(drop), Err(Failure::Stopping), "it was not saved");
    let ended = nodes.running.remove(&1).unwrap().task.await.unwrap();
    let Err(DriverError::Store(error)) = ended else { panic!("{ended:?}") };
    let text = error.to_string();
    assert!(text.contains("a failure made on purpose"), "why: {text}");
    assert!(text.contains("the node stops"), "what follows: {text}");
    nodes.boot(1, 2).await;
    nodes.until_led().await;
    nodes.handle(1).write(put("after")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_with_a_full_disk_refuses_writes_answers_reads_and_goes_on_by_itself() {
    let nodes = Nodes::start(1).await;
    let (group, _) = nodes.journal(&[1]).await;
    let handle = nodes.handle(1);
    nodes.fill(1, true).await;
    assert_eq!(handle.write(put("a")).await.map(drop), Err(Failure::NoSpace));
    assert_eq!(handle.group_propose(group, command("a")).await, Err(Failure::NoSpace));
    handle.read(Query::Groups, Consistency::Linearizable).await.unwrap();
    let count = handle.group_query(group, Bytes::new(), Consistency::Linearizable).await;
    assert_eq!(count, Ok(Bytes::copy_from_slice(&0u64.to_be_bytes())));
    nodes.fill(1, false).await;
    handle.write(put("b")).await.unwrap();
    handle.group_propose(group, command("b")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_with_a_full_disk_stands_still_and_the_others_go_on() {
    let nodes = Nodes::start(3).await;
    let (group, leader) = nodes.journal(&[1, 2, 3]).await;
    let control = nodes.until_led().await;
    let follower = until("every node leads in turn", async || {
        for id in (1..=3).filter(|id| ![leader, control].contains(id)) {
            nodes.fill(id, true).await;
            // On a busy machine it may have been elected meanwhile.
            if !nodes.leads(id, group).await {
                return Some(id);
            }
            nodes.fill(id, false).await;
        }
        None
    })
    .await;
    let (full, led) = (nodes.handle(follower), nodes.handle(leader));
    assert_eq!(full.write(put("a")).await.map(drop), Err(Failure::StandsStill));
    assert_eq!(full.group_propose(group, command("a")).await, Err(Failure::StandsStill));
    full.group_query(group, Bytes::new(), Consistency::Local).await.unwrap();
    nodes.handle(control).write(put("b")).await.unwrap();
    led.group_propose(group, command("b")).await.unwrap();
    nodes.fill(follower, false).await;
    full.write(put("c")).await.unwrap();
    full.group_propose(group, command("c")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_command_more_than_may_wait_is_told_when_to_come_again() {
    let nodes = Nodes::start(1).await;
    let (group, _) = nodes.journal(&[1]).await;
    let handle = nodes.handle(1);
    nodes.gates[&1].shut(true);
    let mut asked = JoinSet::new();
    let spare = 10;
    for number in 0..PROPOSALS_MAX + spare {
        let handle = handle.clone();
        let number = Bytes::from(number.to_string());
        asked.spawn(async move { handle.group_propose(group, number).await });
    }
    for _ in 0..spare {
        let refused = asked.join_next().await.unwrap().unwrap();
        let Err(Failure::Busy { retry_after }) = refused else { panic!("{refused:?}") };
        assert!(!retry_after.is_zero(), "a hint that helps");
    }
    nodes.gates[&1].shut(false);
    let answers = asked.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), PROPOSALS_MAX);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_falls_behind_takes_no_more_than_memory_should_hold() {
    let nodes = Nodes::start(3).await;
    let (group, leader) = nodes.journal(&[1, 2, 3]).await;
    let handle = nodes.handle(leader);
    // The others commit without it.
    nodes.gates[&leader].shut(true);
    let command = Bytes::from(vec![7; 1 << 20]);
    let mut answer = Ok(Bytes::new());
    for _ in 0..128 {
        answer = handle.group_propose(group, command.clone()).await;
        if answer.is_err() {
            break;
        }
    }
    let Err(Failure::Busy { retry_after }) = answer else { panic!("{answer:?}") };
    assert!(!retry_after.is_zero(), "a hint that helps");
    handle.group_query(group, Bytes::new(), Consistency::Local).await.unwrap();
    nodes.gates[&leader].shut(false);
    until("it takes nothing again", async || handle.group_propose(group, Bytes::new()).await.ok())
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_whose_only_replica_lost_data_is_told_and_answers_why() {
    let mut nodes = Nodes::start(3).await;
    let (alone, _) = nodes.journal(&[2]).await;
    let (shared, _) = nodes.journal(&[1, 2, 3]).await;
    nodes.handle(2).group_propose(alone, command("a")).await.unwrap();
    nodes.kill(2).await;
    nodes.disks[&2].damage();
    nodes.boot(2, 2).await;
    let handle = nodes.handle(2);
    let is_told = |record: &Arc<EventRecord>| {
        let event = raft::Event::RebuildImpossible;
        record.event == Event::Groups(groups::Event::Raft { group: alone, event })
    };
    until("it is not told", async || handle.recent_events().iter().find(|e| is_told(e)).cloned())
        .await;
    assert_eq!(handle.group_propose(alone, command("b")).await, Err(Failure::Lost));
    let asked = handle.group_query(alone, Bytes::new(), Consistency::Linearizable).await;
    assert_eq!(asked, Err(Failure::Lost));
    let counts = handle.status().await.unwrap().groups;
    assert_eq!((counts.replicas, counts.lost), (2, 1));
    until("the other group does not go on", async || {
        handle.group_propose(shared, command("b")).await.ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_of_two_that_lost_data_is_told() {
    let mut nodes = Nodes::start(3).await;
    let (group, _) = nodes.journal(&[1, 2]).await;
    nodes.handle(2).group_propose(group, command("a")).await.unwrap();
    nodes.kill(2).await;
    nodes.disks[&2].damage();
    nodes.boot(2, 2).await;
    let handle = nodes.handle(2);
    let event = Event::Groups(groups::Event::CannotRebuild { group, other: NodeId(1) });
    until("it is not told", async || {
        handle.recent_events().iter().any(|record| record.event == event).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_majority_lost_data_every_node_knows_who() {
    let mut nodes = Nodes::start(3).await;
    nodes.handle(1).write(put("a")).await.unwrap();
    for id in [1, 2] {
        nodes.kill(id).await;
    }
    for id in [1, 2] {
        nodes.disks[&id].damage();
        nodes.boot(id, 2).await;
    }
    for id in 1..=3 {
        until("it does not know", async || {
            let status = nodes.handle(id).status().await.unwrap();
            let say_so = status.view.iter().filter(|entry| entry.metadata.is_rebuilding);
            let mut rebuild: Vec<u64> = say_so.map(|entry| entry.node.0).collect();
            rebuild.sort_unstable();
            (rebuild == [1, 2]).then_some(())
        })
        .await;
    }
}
