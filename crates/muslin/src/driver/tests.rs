//! Whole nodes in one process, on real disks: groups through deaths and restarts.

mod faults;
mod order;
mod readers;
mod streams;
mod watches;

use super::{Driver, DriverError, GroupError, Handle, start};
use crate::store::file::{FileStore, Options as FileOptions, Owner};
use crate::transport::mem::{MemNetwork, MemTransport};
use bytes::Bytes;
use muslin_core::base::{ClusterId, GroupId, NodeId};
use muslin_core::groups::GroupStatus;
use muslin_core::node::{Consistency, Failure, Options};
use muslin_core::raft::Role;
use muslin_core::state::{Founding, Member};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const CLUSTER: ClusterId = ClusterId(9);

/// How long something that must happen may take: far more than it does, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Small, so that segments come and go.
const SEGMENT_BYTES: u64 = 1 << 18;

struct Cluster {
    network: MemNetwork,
    root: TempDir,
    boots: BTreeMap<u64, u64>,
    nodes: BTreeMap<u64, Running>,
}

/// One of the three nodes, at work.
struct Running {
    handle: Handle,
    task: JoinHandle<Result<(), DriverError>>,
    transport: Arc<MemTransport>,
    _contacts: mpsc::Sender<Vec<SocketAddr>>,
}

impl Running {
    /// As a killed process: nothing more leaves it, and nobody is told.
    async fn kill(self) {
        self.transport.unplug();
        self.task.abort();
        let _ = self.task.await;
        // Its log thread carries out what it was given, as a disk does, and ends.
        let until = Instant::now() + PATIENCE;
        while !self.handle.is_disk_left() {
            assert!(Instant::now() < until, "the disk is left alone");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn address(id: u64) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7_400 + id as u16))
}

impl Cluster {
    async fn start() -> Cluster {
        let root = tempfile::tempdir().unwrap();
        let network = MemNetwork::seeded(3);
        let mut cluster = Cluster { network, root, boots: BTreeMap::new(), nodes: BTreeMap::new() };
        for id in 1..=3 {
            let path = cluster.path(id);
            std::fs::create_dir(&path).unwrap();
            FileStore::create(&path, owner(id), file_options()).unwrap();
            cluster.boot(id).await;
        }
        cluster
    }

    fn path(&self, id: u64) -> PathBuf {
        self.root.path().join(id.to_string())
    }

    async fn boot(&mut self, id: u64) {
        let boot = self.boots.entry(id).or_default();
        *boot += 1;
        let member = |id: u64| Member {
            id,
            name: format!("n{id}"),
            address: address(id).to_string(),
            roles: vec!["control".into()],
            ..Member::default()
        };
        let mut options = Options::new(NodeId(id), CLUSTER, address(id));
        options.boot = *boot;
        options.founding =
            Founding { members: (1..=3).map(member).collect(), ..Founding::default() };
        options.metadata.name = format!("n{id}");
        options.groups.snapshot_entries = 40;
        options.request_timeout = PATIENCE;
        let seed = id << 8 | *boot;
        let (inbox, incoming) = mpsc::channel(4_096);
        let (contacts_sender, contacts) = mpsc::channel(1);
        let others = (1..=3).filter(|other| *other != id).map(address).collect();
        contacts_sender.send(others).await.unwrap();
        let transport = self.network.start((CLUSTER, NodeId(id)), Some(address(id)), inbox);
        let store = Box::new(FileStore::open(&self.path(id), owner(id), file_options()));
        let driver =
            Driver { options, store, transport: transport.clone(), incoming, contacts, seed };
        let (handle, task) = start(driver).unwrap();
        let node = Running { handle, task, transport, _contacts: contacts_sender };
        self.nodes.insert(id, node);
    }

    async fn kill(&mut self, id: u64) {
        self.nodes.remove(&id).unwrap().kill().await;
    }

    fn handle(&self, id: u64) -> &Handle {
        &self.nodes[&id].handle
    }

    /// Waits until every group is led by a node that runs, whom the record names.
    async fn all_led(&self, groups: &[GroupId]) {
        let mut missing = Vec::new();
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            let mut led = BTreeMap::new();
            for (id, node) in &self.nodes {
                for status in node.handle.group_status(None).await.unwrap() {
                    if status.role == Role::Leader && status.record.leader == Some(*id) {
                        led.insert(GroupId(status.record.id), *id);
                    }
                }
            }
            missing = groups.iter().filter(|group| !led.contains_key(group)).collect();
            if missing.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("not led: {missing:?}");
    }
}

fn owner(id: u64) -> Owner {
    Owner { cluster: CLUSTER, node: NodeId(id) }
}

fn file_options() -> FileOptions {
    FileOptions { segment_bytes: SEGMENT_BYTES, ..FileOptions::default() }
}

/// Writes so many commands to each group, on whichever of these nodes; those answered.
async fn write(
    cluster: &Cluster,
    on: &[u64],
    groups: &[GroupId],
    round: &str,
) -> Vec<(GroupId, Bytes)> {
    let mut asked = tokio::task::JoinSet::new();
    for (number, group) in groups.iter().enumerate() {
        let handle = cluster.handle(on[number % on.len()]).clone();
        let (group, command) = (*group, Bytes::from(format!("{round} {number}")));
        asked.spawn(
            async move { (group, command.clone(), handle.group_propose(group, command).await) },
        );
    }
    let mut answered = Vec::new();
    while let Some(done) = asked.join_next().await {
        let (group, command, result) = done.unwrap();
        match result {
            Ok(_) => answered.push((group, command)),
            Err(failure) => assert_eq!(failure, Failure::TimedOut, "{group} {command:?}"),
        }
    }
    answered
}

/// What a node says of a group once it has read the record: until then it cannot know.
async fn settled_status(handle: &Handle, group: GroupId) -> Result<Vec<GroupStatus>, Failure> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        match handle.group_status(Some(group)).await {
            Err(Failure::Starting) => tokio::time::sleep(Duration::from_millis(50)).await,
            known => return known,
        }
    }
    Err(Failure::Starting)
}

/// Every command in a group's journal.
async fn journal(handle: &Handle, group: GroupId) -> Vec<Bytes> {
    let query = |query: Bytes| handle.group_query(group, query, Consistency::Linearizable);
    let count = query(Bytes::new()).await.unwrap();
    let count = u64::from_be_bytes(count[..].try_into().unwrap());
    let mut commands = Vec::new();
    for place in 1..=count {
        commands.push(query(Bytes::copy_from_slice(&place.to_be_bytes())).await.unwrap());
    }
    commands
}

async fn check_kept(cluster: &Cluster, answered: &[(GroupId, Bytes)], groups: &[GroupId]) {
    for (number, group) in groups.iter().enumerate() {
        let on = *cluster.nodes.keys().nth(number % cluster.nodes.len()).unwrap();
        let commands = journal(cluster.handle(on), *group).await;
        for (_, command) in answered.iter().filter(|(of, _)| of == group) {
            let times = commands.iter().filter(|kept| *kept == command).count();
            assert_eq!(times, 1, "{command:?} in {group}, asked of node {on}: {commands:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_start_again_after_a_group_was_taken_out() {
    let mut cluster = Cluster::start().await;
    let mut groups = Vec::new();
    for _ in 0..3 {
        let replicas = [1, 2, 3].map(NodeId);
        groups.push(cluster.handle(1).group_create("journal", replicas).await.unwrap());
    }
    cluster.all_led(&groups).await;
    let answered = write(&cluster, &[1, 2, 3], &groups, "before").await;
    cluster.handle(2).group_remove(groups[0]).await.unwrap();
    for id in 1..=3 {
        cluster.kill(id).await;
        cluster.boot(id).await;
    }
    cluster.all_led(&groups[1..]).await;
    check_kept(&cluster, &answered, &groups[1..]).await;
    for id in 1..=3 {
        let status = settled_status(cluster.handle(id), groups[0]).await;
        assert_eq!(status.map(drop), Err(Failure::NoGroup), "on node {id}");
        cluster.handle(id).shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_groups_survive_a_death_and_a_restart_of_all() {
    let mut cluster = Cluster::start().await;
    let mut groups = Vec::new();
    for _ in 0..64 {
        let replicas = [1, 2, 3].map(NodeId);
        groups.push(cluster.handle(1).group_create("journal", replicas).await.unwrap());
    }
    cluster.all_led(&groups).await;
    let mut answered = Vec::new();
    for round in 0..50 {
        answered.extend(write(&cluster, &[1, 2, 3], &groups, &format!("whole {round}")).await);
    }
    assert_eq!(answered.len(), 50 * groups.len(), "nothing fails where nothing failed");
    cluster.kill(3).await;
    answered.extend(write(&cluster, &[1, 2], &groups, "at the death").await);
    cluster.all_led(&groups).await;
    let meanwhile = write(&cluster, &[1, 2], &groups, "without it").await;
    assert_eq!(meanwhile.len(), groups.len(), "two of three go on");
    answered.extend(meanwhile);
    check_kept(&cluster, &answered, &groups[..8]).await;
    cluster.boot(3).await;
    cluster.all_led(&groups).await;
    check_kept(&cluster, &answered, &groups[8..16]).await;
    for id in 1..=3 {
        cluster.kill(id).await;
    }
    for id in 1..=3 {
        cluster.boot(id).await;
    }
    cluster.all_led(&groups).await;
    check_kept(&cluster, &answered, &groups).await;
    for id in 1..=3 {
        cluster.handle(id).shutdown().await;
    }
}

#[tokio::test]
async fn a_group_of_an_unknown_kind_is_refused_and_the_known_ones_are_named() {
    let cluster = Cluster::start().await;
    let refused = cluster.handle(1).group_create("nosuch", [1, 2, 3].map(NodeId)).await;
    let Err(GroupError::UnknownKind { kind, known }) = refused else { panic!("{refused:?}") };
    assert_eq!(kind, "nosuch");
    assert!(known.iter().any(|kind| kind == "journal"), "{known:?}");
    let records = cluster.handle(1).group_records(Consistency::Local).await.unwrap();
    assert!(records.is_empty(), "nothing happened");
}
