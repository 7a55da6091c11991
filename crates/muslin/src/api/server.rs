//! Accepts connections until the process stops.

use super::auth::Doorman;
use super::caller::Caller;
use super::chronicle::Chronicle;
use super::connection::{Line, Patience, SHUTDOWN_GRACE, Tls};
use super::desk::{Desk, Office, stopping};
use super::front::Front;
use super::gallery::Gallery;
use super::gate::Gate;
use super::http::{self, NodeBoard, OpBoard};
use super::metrics::Metrics;
use super::problem::Problem;
use super::status::NodeFacts;
use super::story;
use crate::driver::Handle;
use crate::transport::{Roster, TransportCounters};
use bytes::Bytes;
use muslin_core::base::{ClusterId, NodeId};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// The pause after a failed accept: it fails when files run out, and asking again at once would
/// spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A future on the heap.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Admits nodes to the cluster: what stands behind `POST /v1/join`.
///
/// Called from the task of a connection, by anyone who can reach the port: it must check all it is
/// told, and may wait for the record. A failure is what the caller is answered.
pub trait Admission: Send + Sync + 'static {
    /// Answers a request to join, both as opaque bytes.
    fn join(&self, asked: Asked) -> BoxFuture<Result<Bytes, Problem>>;

    /// SHA-256 of the authority's certificate: what tokens pin.
    fn ca_hash(&self) -> Result<[u8; 32], Problem>;

    /// What this node shows others, without secrets.
    fn papers(&self) -> Result<serde_json::Value, Problem>;

    /// Has this node get other papers.
    fn rotate(&self) -> BoxFuture<Result<(), Problem>>;

    /// Gives a member other papers, both as opaque bytes. It has proved which node it is.
    fn renew(&self, node: NodeId, asked: Asked) -> BoxFuture<Result<Bytes, Problem>>;
}

/// What an [`Admission`] is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// By whom.
    pub caller: Caller,
    /// What.
    pub body: Bytes,
}

/// What an API serves, and where.
pub struct ApiOptions {
    /// The node.
    pub handle: Handle,
    /// Its identity.
    pub id: NodeId,
    /// Its cluster's identity.
    pub cluster: ClusterId,
    /// What it says about itself.
    pub facts: NodeFacts,
    /// The TCP side of the one port.
    pub listener: TcpListener,
    /// One more, for plain etcd clients on this machine.
    pub etcd_listener: Option<TcpListener>,
    /// How TLS is spoken on `listener`: with the node's certificate, and asking clients for one of
    /// the cluster's CA without insisting. `None`: not at all.
    pub tls: Option<Tls>,
    /// Tells which nodes are let in. `None`: all with a certificate of the cluster.
    pub roster: Option<Arc<Roster>>,
    /// Callers on this machine must show a certificate too.
    pub is_strict: bool,
    /// Admits nodes. `None`: this node admits nobody.
    pub join: Option<Arc<dyn Admission>>,
    /// The transport's numbers, told at `/metrics`.
    pub transport: Option<Arc<TransportCounters>>,
    /// Most connections at once: what the limit of open files leaves, [`CONNECTIONS_MAX`] at
    /// most. More are hung up on.
    ///
    /// [`CONNECTIONS_MAX`]: super::CONNECTIONS_MAX
    pub connections_max: usize,
    /// How long slow clients are waited for.
    pub patience: Patience,
    /// Turns true when the process stops.
    pub shutdown: watch::Receiver<bool>,
}

/// Serves until told to stop; then lets what is under way finish, for a short while.
pub async fn serve(options: ApiOptions) {
    let shutdown = options.shutdown.clone();
    let gate = Arc::new(Gate::new(options.connections_max));
    let began = now_unix_ms();
    let office = Office {
        doorman: Doorman::new(options.handle.clone()),
        id: options.id,
        cluster: options.cluster,
        facts: options.facts,
        join: options.join,
        roster: options.roster,
        metrics: Metrics::new(gate.clone(), options.transport),
        gallery: Gallery::default(),
        patience: options.patience,
        shutdown: shutdown.clone(),
        caught_up: AtomicBool::new(false),
        began,
        chronicle: Chronicle::default(),
        nodes: NodeBoard::default(),
        ops: OpBoard::new(options.id, began),
    };
    let desk = Desk::new(options.handle, office);
    let front = Arc::new(Front::new(desk.clone()));
    let (patience, is_strict) = (options.patience, options.is_strict);
    let etcd = Line { front, tls: None, is_strict, patience, shutdown: shutdown.clone() };
    let main = Line { tls: options.tls, ..etcd.clone() };
    let log = tokio::spawn(story::log(desk.clone()));
    let ops = tokio::spawn(http::keep_ops(desk.clone()));
    let mut events = desk.handle.events();
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stopping(shutdown));
    loop {
        tokio::select! {
            accepted = options.listener.accept() => {
                admit(&desk, &gate, accepted, &main, &mut connections).await;
            }
            accepted = accept(options.etcd_listener.as_ref()) => {
                admit(&desk, &gate, accepted, &etcd, &mut connections).await;
            }
            Some(_) = connections.join_next() => {}
            Ok(record) = events.recv() => desk.metrics.on_event(&record.event),
            () = &mut stop => break,
        }
    }
    log.abort();
    ops.abort();
    let ended = async { while connections.join_next().await.is_some() {} };
    // Whoever is left is cut off when the set is dropped.
    let _ = timeout(SHUTDOWN_GRACE + ACCEPT_PAUSE, ended).await;
}

fn now_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

type Accepted = io::Result<(TcpStream, SocketAddr)>;

async fn accept(listener: Option<&TcpListener>) -> Accepted {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// Starts a task for a connection, if there is room for one more.
async fn admit(
    desk: &Desk,
    gate: &Arc<Gate>,
    accepted: Accepted,
    line: &Line,
    connections: &mut JoinSet<()>,
) {
    let (stream, peer) = match accepted {
        Ok(accepted) => accepted,
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection");
            sleep(ACCEPT_PAUSE).await;
            return;
        }
    };
    let Some(pass) = gate.enter(peer.ip()) else {
        desk.metrics.refused_connections.increment(1);
        return;
    };
    let line = line.clone();
    connections.spawn(async move {
        if let Err(error) = line.serve(stream, peer.ip()).await {
            tracing::debug!(%peer, %error, "a connection ended badly");
        }
        drop(pass);
    });
}
