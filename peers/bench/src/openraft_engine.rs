//! openraft 0.9: its own tasks on a tokio runtime with as many workers as the machine of the
//! comparison has cores, one task per proposer that calls `client_write` and waits, as a server's
//! request handlers do; network and log in memory.

use crate::harness::figures::{Figures, Histogram, processor_time};
use crate::harness::proposers::Load;
use crate::log_file::{LogFile, encode};
use bytes::Bytes;
use openraft::error::{InstallSnapshotError, RPCError, RaftError, RemoteError};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::storage::{LogFlushed, RaftLogStorage, RaftStateMachine};
use openraft::{
    BasicNode, Config, Entry, EntryPayload, LogId, LogState, OptionalSend, RaftLogReader,
    RaftNetwork, RaftNetworkFactory, RaftSnapshotBuilder, Snapshot, SnapshotMeta, SnapshotPolicy,
    StorageError, StorageIOError, StoredMembership, Vote,
};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::io::Cursor;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// As `cargo tree` knows it.
pub(crate) const NAME: &str = "openraft 0.9.25";

const REPLICAS: u64 = 3;

/// Threads of the runtime.
const WORKERS: usize = 2;

/// Entries applied between two snapshots, and kept behind each.
const SNAPSHOT_EVERY: u64 = 100_000;
const KEPT: u64 = 10_000;

/// Histograms, so that proposers seldom wait for one another.
const STRIPES: usize = 16;

openraft::declare_raft_types!(
    /// The types of the comparison.
    pub(crate) Types: D = Payload, R = ()
);

/// A proposal.
#[derive(Clone, Debug)]
pub(crate) struct Payload(Bytes);

type Raft = openraft::Raft<Types>;
type StoreError = StorageError<u64>;

/// Runs the load.
pub(crate) fn run(load: Load, dir: Option<&Path>) -> Result<Figures, String> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(WORKERS).enable_time().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let figures = runtime.block_on(async {
        let nodes = start(dir).await?;
        let figures = measure(load, &nodes[0]).await;
        for node in &nodes {
            node.shutdown().await.map_err(|error| error.to_string())?;
        }
        figures
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    figures
}

fn config() -> Config {
    Config {
        heartbeat_interval: 500,
        election_timeout_min: 5_000,
        election_timeout_max: 10_000,
        max_payload_entries: 4_096,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(SNAPSHOT_EVERY),
        max_in_snapshot_log_to_keep: KEPT,
        replication_lag_threshold: 10 * SNAPSHOT_EVERY,
        ..Config::default()
    }
}

async fn start(dir: Option<&Path>) -> Result<Vec<Raft>, String> {
    let config = config().validate().map_err(|error| error.to_string())?;
    let config = Arc::new(config);
    let peers: Arc<OnceLock<Vec<Raft>>> = Arc::default();
    let mut nodes = Vec::new();
    for id in 1..=REPLICAS {
        let file = match dir {
            None => None,
            Some(dir) => {
                let file = LogFile::start(&dir.join(format!("openraft-{id}")));
                Some(Arc::new(file.map_err(|error| error.to_string())?))
            }
        };
        let log = Log { inside: Arc::default(), file };
        let network = Network { peers: Arc::clone(&peers) };
        let node = Raft::new(id, Arc::clone(&config), network, log, Applied::default()).await;
        nodes.push(node.map_err(|error| error.to_string())?);
    }
    let _ = peers.set(nodes.clone());
    let members: BTreeMap<u64, BasicNode> =
        (1..=REPLICAS).map(|id| (id, BasicNode::default())).collect();
    nodes[0].initialize(members).await.map_err(|error| error.to_string())?;
    let leads = nodes[0].wait(Some(Duration::from_secs(20))).current_leader(1, "leads").await;
    leads.map_err(|error| error.to_string())?;
    Ok(nodes)
}

async fn measure(load: Load, leader: &Raft) -> Result<Figures, String> {
    let (begin, end) = load.window();
    let stripes: Arc<Vec<Mutex<Histogram>>> =
        Arc::new((0..STRIPES).map(|_| Mutex::default()).collect());
    let propose = |number: usize| {
        let (leader, stripes) = (leader.clone(), Arc::clone(&stripes));
        tokio::spawn(async move {
            loop {
                let sent = Instant::now();
                let answer = leader.client_write(Payload(load.payload())).await;
                answer.map_err(|error| error.to_string())?;
                let now = Instant::now();
                if now >= end {
                    return Ok(());
                }
                if now >= begin {
                    lock(&stripes[number % STRIPES]).record(now - sent, 1);
                }
            }
        })
    };
    let tasks: Vec<_> = (0..load.proposers).map(propose).collect();
    tokio::time::sleep_until(begin.into()).await;
    let used = processor_time();
    tokio::time::sleep_until(end.into()).await;
    let (processor, elapsed) = (processor_time() - used, begin.elapsed());
    for task in tasks {
        let answer: Result<(), String> = task.await.map_err(|error| error.to_string())?;
        answer?;
    }
    let mut latency = Histogram::default();
    stripes.iter().for_each(|stripe| latency += &*lock(stripe));
    let (engine, proposers) = (NAME.to_string(), load.proposers);
    Ok(Figures { engine, mode: "memory", proposers, elapsed, processor, latency, syncs: None })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls the other nodes as functions.
struct Network {
    peers: Arc<OnceLock<Vec<Raft>>>,
}

/// The way to one of them.
struct Link {
    target: u64,
    peers: Arc<OnceLock<Vec<Raft>>>,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: u64, _: &BasicNode) -> Link {
        Link { target, peers: Arc::clone(&self.peers) }
    }
}

impl Link {
    fn peer(&self) -> &Raft {
        &self.peers.get().expect("nodes start before they speak")[self.target as usize - 1]
    }
}

impl RaftNetwork<Types> for Link {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, RPCError<u64, BasicNode, RaftError<u64>>> {
        let answer = self.peer().append_entries(request).await;
        answer.map_err(|error| RPCError::RemoteError(RemoteError::new(self.target, error)))
    }

    async fn install_snapshot(
        &mut self,
        request: InstallSnapshotRequest<Types>,
        _: RPCOption,
    ) -> Result<
        InstallSnapshotResponse<u64>,
        RPCError<u64, BasicNode, RaftError<u64, InstallSnapshotError>>,
    > {
        let answer = self.peer().install_snapshot(request).await;
        answer.map_err(|error| RPCError::RemoteError(RemoteError::new(self.target, error)))
    }

    async fn vote(
        &mut self,
        request: VoteRequest<u64>,
        _: RPCOption,
    ) -> Result<VoteResponse<u64>, RPCError<u64, BasicNode, RaftError<u64>>> {
        let answer = self.peer().vote(request).await;
        answer.map_err(|error| RPCError::RemoteError(RemoteError::new(self.target, error)))
    }
}

/// The log in memory, shared with the tasks that read from it, and the file it is written to.
#[derive(Clone)]
struct Log {
    inside: Arc<Mutex<Inside>>,
    file: Option<Arc<LogFile>>,
}

#[derive(Default)]
struct Inside {
    vote: Option<Vote<u64>>,
    purged: Option<LogId<u64>>,
    /// Consecutive; the first one follows what is purged.
    entries: VecDeque<Entry<Types>>,
}

impl Inside {
    /// Index of the first entry.
    fn first(&self) -> u64 {
        self.purged.map_or(0, |purged| purged.index + 1)
    }

    fn place(&self, index: u64) -> usize {
        (index.saturating_sub(self.first()) as usize).min(self.entries.len())
    }
}

impl Log {
    /// Writes records, if there is a file, and waits until they are on the disk.
    async fn write_through(&self, records: Vec<u8>) -> Result<(), StoreError> {
        let Some(file) = &self.file else { return Ok(()) };
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let done = move || {
            // Whoever waited has gone only if the node has stopped.
            let _ = sender.send(());
        };
        file.append(records, Box::new(done));
        receiver.await.map_err(|error| StorageIOError::write_vote(&error).into())
    }
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry<Types>>, StoreError> {
        let inside = lock(&self.inside);
        let from = match range.start_bound() {
            Bound::Included(index) => inside.place(*index),
            Bound::Excluded(index) => inside.place(index + 1),
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(index) => inside.place(index + 1),
            Bound::Excluded(index) => inside.place(*index),
            Bound::Unbounded => inside.entries.len(),
        };
        Ok(inside.entries.range(from..to.max(from)).cloned().collect())
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Log;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StoreError> {
        let inside = lock(&self.inside);
        let last_log_id = inside.entries.back().map(|entry| entry.log_id).or(inside.purged);
        Ok(LogState { last_purged_log_id: inside.purged, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Log {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<(), StoreError> {
        lock(&self.inside).vote = Some(*vote);
        let mut record = Vec::new();
        encode(&mut record, &[]);
        self.write_through(record).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>, StoreError> {
        Ok(lock(&self.inside).vote)
    }

    async fn append<I>(&mut self, entries: I, flushed: LogFlushed<Types>) -> Result<(), StoreError>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut records = Vec::new();
        {
            let mut inside = lock(&self.inside);
            for entry in entries {
                if self.file.is_some() {
                    match &entry.payload {
                        EntryPayload::Normal(payload) => encode(&mut records, &payload.0),
                        EntryPayload::Blank | EntryPayload::Membership(_) => {
                            encode(&mut records, &[]);
                        }
                    }
                }
                inside.entries.push_back(entry);
            }
        }
        match &self.file {
            None => flushed.log_io_completed(Ok(())),
            Some(file) => {
                file.append(records, Box::new(move || flushed.log_io_completed(Ok(()))));
            }
        }
        Ok(())
    }

    async fn truncate(&mut self, from: LogId<u64>) -> Result<(), StoreError> {
        let mut inside = lock(&self.inside);
        let kept = inside.place(from.index);
        inside.entries.truncate(kept);
        Ok(())
    }

    async fn purge(&mut self, upto: LogId<u64>) -> Result<(), StoreError> {
        let mut inside = lock(&self.inside);
        let gone = inside.place(upto.index + 1);
        inside.entries.drain(..gone);
        inside.purged = Some(upto);
        Ok(())
    }
}

/// A state machine without state.
#[derive(Clone, Default)]
struct Applied {
    last: Option<LogId<u64>>,
    membership: StoredMembership<u64, BasicNode>,
}

impl Applied {
    fn snapshot(&self) -> Snapshot<Types> {
        let meta = SnapshotMeta {
            last_log_id: self.last,
            last_membership: self.membership.clone(),
            snapshot_id: self.last.map_or(0, |last| last.index).to_string(),
        };
        Snapshot { meta, snapshot: Box::new(Cursor::new(Vec::new())) }
    }
}

impl RaftSnapshotBuilder<Types> for Applied {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, StoreError> {
        Ok(self.snapshot())
    }
}

impl RaftStateMachine<Types> for Applied {
    type SnapshotBuilder = Applied;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogId<u64>>, StoredMembership<u64, BasicNode>), StoreError> {
        Ok((self.last, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<()>, StoreError>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut answers = Vec::new();
        for entry in entries {
            self.last = Some(entry.log_id);
            if let EntryPayload::Membership(membership) = entry.payload {
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
            answers.push(());
        }
        Ok(answers)
    }

    async fn get_snapshot_builder(&mut self) -> Applied {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StoreError> {
        Ok(Box::new(Cursor::new(Vec::new())))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<u64, BasicNode>,
        _: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StoreError> {
        self.last = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, StoreError> {
        Ok(self.last.map(|_| self.snapshot()))
    }
}
