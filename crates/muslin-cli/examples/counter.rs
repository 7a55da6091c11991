//! A counter on three nodes, as an HTTP service: a state machine of one's own, replicated.
//!
//! `cargo run --example counter` founds a cluster of three nodes in a temporary directory, runs
//! each as a process of its own, and prints where they listen:
//!
//! ```text
//! curl http://127.0.0.1:8081/counter
//! curl -X POST http://127.0.0.1:8082/counter/increment
//! curl -X POST http://127.0.0.1:8083/counter/decrement
//! curl -X POST -H 'Idempotency-Key: my-order-7' http://127.0.0.1:8082/counter/increment
//! ```
//!
//! Any node may be asked: the leader of the counter's group answers. Stop one of the processes, and
//! the others go on. A request with an `Idempotency-Key` counts once, however often it is sent, and
//! to whichever node.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use muslin::core::base::{GroupId, Index, NodeId};
use muslin::core::groups::Machines;
use muslin::core::node::{Consistency, Failure};
use muslin::daemon::{self, Embedding, InitOptions, Profile, UpOptions};
use muslin::driver::Handle;
use muslin::layer::{IDEMPOTENCY_KEY, OfGroup, Places, ThroughLeader};
use muslin::machine::{Key, Kind, Machine, MachineError, StateMachine};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// How many nodes.
const NODES: u16 = 3;

/// Node `i` serves the counter on this port plus `i`, unless another is said.
const HTTP_PORT: u16 = 8_080;

/// Node `i` of the cluster listens on this port plus `i`, unless another is said.
const NODE_PORT: u16 = 7_480;

/// Pause before something is tried again that takes a leader.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// What is replicated.
#[derive(Default)]
struct Counter {
    value: i64,
}

#[derive(Serialize, Deserialize)]
enum Change {
    Increment,
    Decrement,
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
            Change::Increment => self.value.wrapping_add(1),
            Change::Decrement => self.value.wrapping_sub(1),
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

type Asked = Arc<Machine<Counter, muslin::codec::Json>>;

/// The service of one node.
fn routes(handle: &Handle, own: NodeId, group: GroupId, places: Places) -> Router {
    let machine: Asked = Arc::new(Kind::<Counter>::new("counter").of_group(handle, group));
    let change = |change: fn() -> Change| {
        post(move |State(machine): State<Asked>, headers: HeaderMap| async move {
            changed(&machine, &headers, change()).await
        })
    };
    Router::new()
        .route("/counter", get(read))
        .route("/counter/increment", change(|| Change::Increment))
        .route("/counter/decrement", change(|| Change::Decrement))
        .route("/counter/reset", change(|| Change::Reset))
        .with_state(machine)
        .layer(ThroughLeader::new(OfGroup::new(handle.clone(), own, group, places)))
}

async fn read(State(machine): State<Asked>) -> Response {
    match machine.query(&(), Consistency::Linearizable).await {
        Ok(value) => Json(value).into_response(),
        Err(error) => refused(&error),
    }
}

async fn changed(machine: &Asked, headers: &HeaderMap, change: Change) -> Response {
    let key = headers.get(&IDEMPOTENCY_KEY).and_then(|key| key.to_str().ok());
    let answer = match key {
        Some(key) => {
            let key = Key::of("counter", key);
            machine.propose_as(&key, &change).await.map(|done| done.answer)
        }
        None => machine.propose(&change).await,
    };
    match answer {
        Ok(value) => Json(value).into_response(),
        Err(error) => refused(&error),
    }
}

fn refused(error: &MachineError) -> Response {
    let status = match error {
        MachineError::Failed(Failure::TimedOut) => StatusCode::GATEWAY_TIMEOUT,
        MachineError::OtherCommand => StatusCode::UNPROCESSABLE_ENTITY,
        MachineError::Failed(_) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::CONFLICT,
    };
    (status, error.to_string()).into_response()
}

/// The group of the counter: whoever leads the cluster makes it, once.
async fn group_of(handle: &Handle, own: NodeId) -> Result<GroupId, Box<dyn Error>> {
    loop {
        if let Ok(records) = handle.group_records(Consistency::Linearizable).await {
            if let Some(record) = records.iter().find(|record| record.kind == "counter") {
                return Ok(GroupId(record.id));
            }
            let status = handle.status().await?;
            let members: Vec<NodeId> = status.members.iter().map(|one| one.node()).collect();
            if status.leader == Some(own) && members.len() == usize::from(NODES) {
                let _ = handle.group_create("counter", members).await;
            }
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// Where the counter is served, by the name of the node: `n1` is the first.
fn place(name: &str, http_port: u16) -> Option<SocketAddr> {
    let number: u16 = name.strip_prefix('n')?.parse().ok()?;
    Some(SocketAddr::from(([127, 0, 0, 1], http_port + number)))
}

/// Runs one node and its service.
async fn node(directory: &Path, http_port: u16) -> Result<(), Box<dyn Error>> {
    let kind = Kind::<Counter>::new("counter");
    let machines = kind.register(Machines::default());
    let (started, mut handles) = watch::channel(None);
    let serve = async {
        let handle: Handle = handles.wait_for(Option::is_some).await?.clone().ok_or("no node")?;
        let status = handle.status().await?;
        let (own, members) = (status.id, status.members);
        let places: Places = Arc::new(move |node| {
            let member = members.iter().find(|member| member.node() == node)?;
            Some(place(&member.name, http_port)?.to_string())
        });
        let here = places(own).ok_or("this node is none of the founders")?;
        let listener = TcpListener::bind(&here).await?;
        let group = group_of(&handle, own).await?;
        println!("http://{here}/counter");
        axum::serve(listener, routes(&handle, own, group, places)).await?;
        Ok::<(), Box<dyn Error>>(())
    };
    let options = UpOptions::new(directory.to_owned());
    let stop = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    tokio::select! {
        ended = daemon::run_with(options, Embedding { machines, started }, stop) => Ok(ended?),
        served = serve => served,
    }
}

/// Founds the cluster, unless the directory has it, and runs its nodes.
async fn cluster(directory: &Path, ports: (u16, u16)) -> Result<(), Box<dyn Error>> {
    let (http_port, node_port) = ports;
    let place = |number: u16| directory.join(format!("n{number}"));
    let founder = |number: u16| InitOptions {
        data_dir: place(number),
        name: format!("n{number}"),
        cluster_name: "counter".into(),
        listen: SocketAddr::from(([127, 0, 0, 1], node_port + number)),
        advertise: None,
        etcd_listen: None,
        roles: vec!["control".into()],
        profile: Profile::Fast,
    };
    if !place(1).exists() {
        daemon::init_founders((1..=NODES).map(founder).collect())?;
    }
    let mut nodes: Vec<Running> = Vec::new();
    for number in 1..=NODES {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("node").arg(place(number)).arg(http_port.to_string()).stdin(Stdio::null());
        nodes.push(Running(command.spawn()?));
        println!("n{number} is process {}", nodes[nodes.len() - 1].0.id());
    }
    tokio::signal::ctrl_c().await?;
    Ok(())
}

/// Killed when this program ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["node", directory, http_port] => node(Path::new(directory), http_port.parse()?).await,
        [directory, http_port, node_port] => {
            let ports = (http_port.parse()?, node_port.parse()?);
            cluster(&PathBuf::from(directory), ports).await
        }
        [] => {
            let directory = std::env::temp_dir().join(format!("counter-{}", std::process::id()));
            let ran = cluster(&directory, (HTTP_PORT, NODE_PORT)).await;
            let _ = std::fs::remove_dir_all(&directory);
            ran
        }
        _ => Err("counter [DIRECTORY HTTP_PORT NODE_PORT]: node i serves on HTTP_PORT + i".into()),
    }
}
