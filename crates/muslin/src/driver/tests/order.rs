//! In which order things reach the disk.

use crate::driver::held::{Held, tests::Kept};
use crate::driver::log_thread::{Report, Save, start};
use crate::store::mem::{Disk, MemStore};
use crate::store::{Aside, DiskCounters, RecoveredGroup, Scrubbed, Store, StoreError};
use crate::transport::Transport;
use bytes::Bytes;
use muslin_core::base::{GroupId, Index, NodeId, PersistId};
use muslin_core::raft::{DiskRoom, HardState, Snapshot, SnapshotMeta, Write};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// How long a write waits for a snapshot to overtake it.
const CHANCE: Duration = Duration::from_millis(200);

/// A store whose writes take long enough for a snapshot to be saved before them, if it can be.
struct Slow {
    store: MemStore,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    steps: Mutex<Vec<&'static str>>,
    changed: Condvar,
}

impl Seen {
    fn note(&self, step: &'static str) {
        self.steps.lock().unwrap().push(step);
        self.changed.notify_all();
    }
}

impl Store for Slow {
    fn recover(&mut self) -> Result<BTreeMap<GroupId, RecoveredGroup>, StoreError> {
        self.store.recover()
    }

    fn write(&mut self, batch: &[(GroupId, Write)]) -> Result<(), StoreError> {
        let steps = self.seen.steps.lock().unwrap();
        let waited = self.seen.changed.wait_timeout_while(steps, CHANCE, |it| it.is_empty());
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        self.store.write(batch)?;
        self.seen.note("written");
        Ok(())
    }

    fn tend(&mut self) -> Result<DiskRoom, StoreError> {
        self.store.tend()
    }

    fn aside(&self) -> Arc<dyn Aside> {
        Arc::new(Beside { aside: self.store.aside(), seen: self.seen.clone() })
    }
}

struct Beside {
    aside: Arc<dyn Aside>,
    seen: Arc<Seen>,
}

impl Aside for Beside {
    fn save(&self, group: GroupId, snapshot: &Snapshot, from: Index) -> Result<(), StoreError> {
        self.seen.note("saved");
        self.aside.save(group, snapshot, from)
    }

    fn scrub(&self, bytes: u64) -> Result<Scrubbed, StoreError> {
        self.aside.scrub(bytes)
    }

    fn counters(&self) -> Arc<DiskCounters> {
        self.aside.counters()
    }
}

#[tokio::test]
async fn a_snapshot_never_overtakes_the_writes_issued_before_it() {
    let seen = Arc::new(Seen::default());
    let mut store = MemStore::new(Disk::default());
    store.recover().unwrap();
    let (sender, mut reports) = mpsc::unbounded_channel();
    let held = Arc::new(Held::new(Arc::new(Kept::default())));
    let desk = start(Box::new(Slow { store, seen: seen.clone() }), sender, held).unwrap();
    let write = Write::Log { hard_state: Some(HardState::default()), entries: Vec::new().into() };
    desk.write(GroupId::CONTROL, PersistId(1), write);
    let snapshot = Snapshot { meta: SnapshotMeta::default(), data: Bytes::new() };
    desk.save(Save { group: GroupId::CONTROL, snapshot, keep_from: Index::ZERO });
    while !matches!(reports.recv().await.unwrap(), Report::Saved { .. }) {}
    assert_eq!(*seen.steps.lock().unwrap(), ["written", "saved"]);
}

/// Says of each message that is sent whether the driver had been told of the write before.
struct Asking {
    reports: Mutex<mpsc::UnboundedReceiver<Report>>,
    answers: mpsc::UnboundedSender<bool>,
}

impl Transport for Asking {
    fn send(&self, _: NodeId, _: Bytes) {
        let told = self.reports.lock().unwrap().try_recv();
        let _ = self.answers.send(matches!(told, Ok(Report::Durable(_))));
    }
    fn datagram(&self, _: SocketAddr, _: Bytes) {}
    fn route(&self, _: NodeId, _: SocketAddr) {}
    fn unroute(&self, _: NodeId) {}
    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {})
    }
}

#[tokio::test]
async fn the_driver_is_told_of_a_write_before_what_rests_on_it_leaves() {
    let mut store = MemStore::new(Disk::default());
    store.recover().unwrap();
    let (sender, reports) = mpsc::unbounded_channel();
    let (answers, mut answered) = mpsc::unbounded_channel();
    let held = Arc::new(Held::new(Arc::new(Asking { reports: Mutex::new(reports), answers })));
    let desk = start(Box::new(store), sender, held.clone()).unwrap();
    held.send(NodeId(2), (GroupId::CONTROL, PersistId(1)), Bytes::from_static(b"durable"));
    let write = Write::Log { hard_state: Some(HardState::default()), entries: Vec::new().into() };
    desk.write(GroupId::CONTROL, PersistId(1), write);
    assert_eq!(answered.recv().await, Some(true));
}
