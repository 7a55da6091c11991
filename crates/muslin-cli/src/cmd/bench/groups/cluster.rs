//! Three nodes in memory, with groups on all of them.

use super::counted::{Counted, Counts};
use muslin::driver::{Driver, Handle, start};
use muslin::store::mem::{Disk, MemStore};
use muslin::transport::mem::MemNetwork;
use muslin_core::base::{ClusterId, GroupId, NodeId};
use muslin_core::node::{Consistency, Options};
use muslin_core::raft::Role;
use muslin_core::state::{Founding, Member, Query};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

const NODES: u64 = 3;

/// Messages that wait for a driver.
const INCOMING_MAX: usize = 16_384;

/// After this something is broken.
const GIVE_UP: Duration = Duration::from_secs(60);

/// How often it is looked whether all groups are led.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The nodes at work.
pub(super) struct Cluster {
    pub(super) handles: Vec<Handle>,
    pub(super) counts: Arc<Counts>,
    /// Dropping one tells its driver that no address will ever come.
    _contacts: Vec<mpsc::Sender<Vec<SocketAddr>>>,
}

impl Cluster {
    /// Starts the nodes and waits for the control group.
    pub(super) async fn start() -> Result<Cluster, String> {
        let network = MemNetwork::seeded(1);
        let address = |id: u64| SocketAddr::from(([127, 0, 0, 1], 7_400 + id as u16));
        let member = |id: u64| Member {
            id,
            name: format!("n{id}"),
            address: address(id).to_string(),
            roles: vec!["control".into()],
            ..Member::default()
        };
        let members = (1..=NODES).map(member).collect();
        let founding = Founding { members, ..Founding::default() };
        let counts = Arc::new(Counts::default());
        let (mut handles, mut kept) = (Vec::new(), Vec::new());
        for id in 1..=NODES {
            let mut options = Options::new(NodeId(id), ClusterId(1), address(id));
            options.founding = founding.clone();
            options.metadata.name = format!("n{id}");
            let (inbox, incoming) = mpsc::channel(INCOMING_MAX);
            let (contacts_sender, contacts) = mpsc::channel(1);
            let others = (1..=NODES).filter(|other| *other != id).map(address).collect();
            contacts_sender.send(others).await.map_err(|error| error.to_string())?;
            kept.push(contacts_sender);
            let inner = network.start((ClusterId(1), NodeId(id)), Some(address(id)), inbox);
            let transport = Arc::new(Counted { inner, counts: counts.clone() });
            let store = Box::new(MemStore::new(Disk::new()));
            let driver = Driver { options, store, transport, incoming, contacts, seed: id };
            handles.push(start(driver).map_err(|error| error.to_string())?.0);
        }
        let cluster = Cluster { handles, counts, _contacts: kept };
        let read = cluster.handles[0].read(Query::Revision, Consistency::Linearizable);
        read.await.map_err(|error| error.to_string())?;
        Ok(cluster)
    }

    /// Makes so many groups, each on all nodes.
    pub(super) async fn create(&self, count: u64) -> Result<Vec<GroupId>, String> {
        let mut making = JoinSet::new();
        for _ in 0..count {
            let handle = self.handles[0].clone();
            making.spawn(
                async move { handle.group_create("register", (1..=NODES).map(NodeId)).await },
            );
        }
        let mut groups = Vec::new();
        while let Some(made) = making.join_next().await {
            let made = made.map_err(|error| error.to_string())?;
            groups.push(made.map_err(|error| error.to_string())?);
        }
        groups.sort_unstable();
        Ok(groups)
    }

    /// Waits until each group is led by whom the record names.
    pub(super) async fn all_led(&self, count: u64) -> Result<(), String> {
        let start = Instant::now();
        loop {
            let mut led = BTreeSet::new();
            for handle in &self.handles {
                let statuses =
                    handle.group_status(None).await.map_err(|error| error.to_string())?;
                led.extend(
                    (statuses.iter())
                        .filter(|status| status.role == Role::Leader && status.commit.0 > 0)
                        .map(|status| status.record.id),
                );
            }
            if led.len() as u64 == count {
                return Ok(());
            }
            if start.elapsed() > GIVE_UP {
                return Err(format!("only {} of {count} groups are led", led.len()));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Ends the nodes.
    pub(super) async fn stop(&self) {
        for handle in &self.handles {
            handle.shutdown().await;
        }
    }
}
