//! The API over real sockets: a node with its driver, a disk in memory and no peers.

mod auth;
mod collections;
mod coordination;
mod etcd;
mod etcd_lock;
mod etcd_members;
mod etcd_watch;
mod gateway;
mod hints;
pub(super) mod hostile;
mod http;
mod idempotency;
mod unary;
mod views;

use super::*;
use crate::driver::{Driver, Handle, start};
use crate::identity::Identity;
use crate::store::mem::{Disk, MemStore};
use crate::transport::{Roster, Transport, TransportCounters};
use bytes::Bytes;
use muslin_core::base::{ClusterId, NodeId};
use muslin_core::node::{CONTROL_ROLE, Options};
use muslin_core::state::{Founding, Member};
use muslin_core::swim::Metadata;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

/// How long something that must happen may take: far more than it does, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A quorum that is not there is waited for so long.
const NO_QUORUM: Duration = Duration::from_millis(500);

/// Reaches nobody.
struct Nobody;

impl Transport for Nobody {
    fn send(&self, _: NodeId, _: Bytes) {}
    fn datagram(&self, _: SocketAddr, _: Bytes) {}
    fn route(&self, _: NodeId, _: SocketAddr) {}
    fn unroute(&self, _: NodeId) {}
    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {})
    }
}

/// One node and its API, ended when dropped.
pub(super) struct World {
    addr: SocketAddr,
    etcd: SocketAddr,
    handle: Handle,
    shutdown: watch::Sender<bool>,
    serving: JoinHandle<()>,
    _incoming: mpsc::Sender<crate::transport::Incoming>,
    _contacts: mpsc::Sender<Vec<SocketAddr>>,
}

/// What differs between worlds.
#[derive(Default)]
struct Wishes {
    /// Voters besides the node itself; none of them exists.
    absent_voters: u64,
    /// Speaks TLS with this identity.
    identity: Option<Identity>,
    patience: Patience,
    join: Option<Arc<dyn Admission>>,
    roster: Option<Arc<Roster>>,
    is_strict: bool,
}

fn member(id: u64) -> Member {
    Member {
        id,
        name: format!("n{id}"),
        address: format!("127.0.0.1:740{id}"),
        etcd_address: format!("127.0.0.1:2379{id}"),
        roles: vec![String::from(CONTROL_ROLE)],
        ..Member::default()
    }
}

impl World {
    /// A sole voter that leads.
    pub(super) async fn new() -> World {
        World::of(Wishes::default()).await
    }

    async fn of(wishes: Wishes) -> World {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let etcd_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (addr, etcd) = (listener.local_addr().unwrap(), etcd_listener.local_addr().unwrap());
        let (incoming_sender, incoming) = mpsc::channel(1);
        let (contacts_sender, contacts) = mpsc::channel(1);
        let cluster = ClusterId(0xabc << 64 | 0xdef);
        let cluster = wishes.identity.as_ref().map_or(cluster, |identity| identity.cluster);
        let founding = Founding {
            members: (1..=1 + wishes.absent_voters).map(member).collect(),
            ..Founding::default()
        };
        // What the node says of itself is what the record says: it has nothing to correct.
        let recorded = member(1);
        let options = Options {
            founding,
            metadata: Metadata {
                name: recorded.name,
                etcd_address: recorded.etcd_address,
                ..Metadata::default()
            },
            request_timeout: if wishes.absent_voters > 0 { NO_QUORUM } else { PATIENCE },
            ..Options::new(NodeId(1), cluster, recorded.address.parse().unwrap())
        };
        let store = Box::new(MemStore::new(Disk::new()));
        let transport = Arc::new(Nobody);
        let driver = Driver { options, store, transport, incoming, contacts, seed: 7 };
        let (handle, _task) = start(driver).unwrap();
        let (shutdown, stop) = watch::channel(false);
        let serving = tokio::spawn(serve(ApiOptions {
            handle: handle.clone(),
            id: NodeId(1),
            connections_max: CONNECTIONS_MAX,
            cluster,
            facts: NodeFacts {
                name: String::from("n1"),
                cluster_name: String::from("test"),
                addr: addr.to_string(),
                etcd: etcd.to_string(),
                version: String::from("0.1.0"),
            },
            listener,
            etcd_listener: Some(etcd_listener),
            tls: wishes.identity.map(|one| watch::channel(one.server_tls().unwrap()).1),
            roster: wishes.roster,
            is_strict: wishes.is_strict,
            join: wishes.join,
            transport: Some(Arc::new(TransportCounters::default())),
            patience: wishes.patience,
            shutdown: stop,
        }));
        let world = World {
            addr,
            etcd,
            handle,
            shutdown,
            serving,
            _incoming: incoming_sender,
            _contacts: contacts_sender,
        };
        while wishes.absent_voters == 0 && world.handle.glance().leader.is_none() {
            tokio::task::yield_now().await;
        }
        world
    }

    async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.etcd)).unwrap();
        endpoint.connect().await.unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.shutdown.send(true);
        self.serving.abort();
    }
}
