//! Three replicas, and whoever proposes to them.

use super::super::harness::mailbox::Mailbox;
use super::held::Held;
use super::replica::{Durability, Job, Mail, Replica};
use bytes::Bytes;
use muslin::store::file::{FileStore, Options as StoreOptions, Owner};
use muslin::store::{Aside, DiskCounters, Store};
use muslin_core::base::{ClusterId, GroupId, NodeId};
use muslin_core::raft::{Configuration, Recovered, SnapshotMeta};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Enough that a commit needs others, few enough for two cores.
const REPLICAS: u64 = 3;

/// The one that campaigns at the start, and leads.
const LEADER: usize = 0;

/// With nothing to write for so long, the store is told to rest, as a node's log thread does.
const REST_AFTER: Duration = Duration::from_millis(5);

/// Replicas that run until this value ends.
pub(super) struct Cluster {
    inboxes: Vec<Arc<Mailbox<Mail>>>,
    committed: Arc<Mailbox<usize>>,
    threads: Vec<JoinHandle<()>>,
    /// Of the logs, if they are durable.
    counters: Vec<Arc<DiskCounters>>,
}

impl Cluster {
    /// Starts it, with logs in this directory or in memory.
    pub(super) fn start(dir: Option<&Path>) -> Result<Cluster, String> {
        let inboxes: Vec<Arc<Mailbox<Mail>>> = (0..REPLICAS).map(|_| Arc::default()).collect();
        let committed = Arc::new(Mailbox::default());
        let mut cluster = Cluster { inboxes, committed, threads: Vec::new(), counters: Vec::new() };
        for number in 0..REPLICAS {
            let held = Arc::new(Held::new(NodeId(number + 1), &cluster.inboxes));
            let durability = match dir {
                None => Durability::Pretended,
                Some(dir) => cluster.start_log(dir, number, held.clone())?,
            };
            cluster.start_replica(number, (durability, held))?;
        }
        cluster.inboxes[LEADER].push(Mail::Campaign);
        Ok(cluster)
    }

    /// Hands proposals to the leader.
    pub(super) fn propose(&self, proposals: Vec<Bytes>) {
        self.inboxes[LEADER].push(Mail::Proposals(proposals));
    }

    /// Where the leader tells how many of them are committed.
    pub(super) fn committed(&self) -> &Mailbox<usize> {
        &self.committed
    }

    /// How often the leader's log was synced.
    pub(super) fn leader_syncs(&self) -> u64 {
        let counters = self.counters.get(LEADER);
        counters.map_or(0, |counters| counters.numbers().sync_classes.iter().sum())
    }

    fn start_replica(
        &mut self,
        number: u64,
        durability: (Durability, Arc<Held>),
    ) -> Result<(), String> {
        let recovered = Recovered {
            snapshot: SnapshotMeta {
                configuration: Configuration::of_voters((1..=REPLICAS).map(NodeId)),
                ..SnapshotMeta::default()
            },
            ..Recovered::default()
        };
        let committed = (number as usize == LEADER).then(|| Arc::clone(&self.committed));
        let replica =
            Replica::new(NodeId(number + 1), recovered, durability, &self.inboxes, committed);
        self.spawn(format!("replica-{number}"), move || replica.run())
    }

    /// One store and the two threads that write to it.
    fn start_log(
        &mut self,
        dir: &Path,
        number: u64,
        held: Arc<Held>,
    ) -> Result<Durability, String> {
        let root = dir.join(format!("n{number}"));
        std::fs::create_dir_all(&root).map_err(|error| error.to_string())?;
        let owner = Owner { cluster: ClusterId(1), node: NodeId(number + 1) };
        let made = FileStore::create(&root, owner, StoreOptions::default());
        made.map_err(|error| error.to_string())?;
        let mut store = FileStore::open(&root, owner, StoreOptions::default());
        store.recover().map_err(|error| error.to_string())?;
        let (jobs, saves): (Arc<Mailbox<Job>>, Arc<Mailbox<Job>>) = Default::default();
        self.counters.push(store.aside().counters());
        let (aside, inbox) = (store.aside(), Arc::clone(&self.inboxes[number as usize]));
        let (mail, told) = (Arc::clone(&saves), Arc::clone(&inbox));
        self.spawn(format!("disk-{number}"), move || save_beside(&*aside, &mail, &told))?;
        let mail = Arc::clone(&jobs);
        self.spawn(format!("log-{number}"), move || {
            write_log(store, &mail, &saves, (&inbox, &held));
            saves.push(Job::Stop);
        })?;
        Ok(Durability::Real(jobs))
    }

    fn spawn(&mut self, name: String, work: impl FnOnce() + Send + 'static) -> Result<(), String> {
        let thread = std::thread::Builder::new().name(name).spawn(work);
        self.threads.push(thread.map_err(|error| error.to_string())?);
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.inboxes.iter().for_each(|inbox| inbox.push(Mail::Stop));
        for thread in self.threads.drain(..) {
            // Its panic has been printed; the run without it has failed already.
            let _ = thread.join();
        }
    }
}

/// Whatever came during the last sync goes out with the next. Snapshots go on to the other thread
/// when all that was issued before them is durable.
fn write_log(
    mut store: FileStore,
    jobs: &Mailbox<Job>,
    saves: &Mailbox<Job>,
    (inbox, held): (&Mailbox<Mail>, &Held),
) {
    let (mut mail, mut batch) = (Vec::new(), Vec::new());
    let mut is_resting = true;
    loop {
        jobs.take(&mut mail, (!is_resting).then(|| Instant::now() + REST_AFTER));
        let (mut durable, mut save, mut is_over) = (None, None, false);
        for job in mail.drain(..) {
            match job {
                Job::Write(id, write) => {
                    durable = Some(id);
                    batch.push((GroupId::CONTROL, write));
                }
                Job::Save { .. } => save = Some(job),
                Job::Stop => is_over = true,
            }
        }
        if is_over {
            return;
        }
        is_resting = batch.is_empty();
        let mut done = if is_resting { store.rest() } else { store.write(&batch) };
        if let Some(id) = durable.filter(|_| done.is_ok()) {
            inbox.push(Mail::Durable(id));
            held.release(id);
        }
        batch.clear();
        save.into_iter().for_each(|save| saves.push(save));
        if done.is_ok() {
            done = store.tend().map(drop);
        }
        if let Err(error) = done {
            return eprintln!("{error}");
        }
    }
}

/// Saves snapshots, so that the log need not wait for them.
fn save_beside(aside: &dyn Aside, saves: &Mailbox<Job>, inbox: &Mailbox<Mail>) {
    let mut mail = Vec::new();
    loop {
        saves.take(&mut mail, None);
        for job in mail.drain(..) {
            let Job::Save { snapshot, keep_from } = job else { return };
            if let Err(error) = aside.save(GroupId::CONTROL, &snapshot, keep_from) {
                return eprintln!("{error}");
            }
            inbox.push(Mail::Saved(snapshot.meta.last.index));
        }
    }
}
