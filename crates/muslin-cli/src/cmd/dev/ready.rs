//! When a `dev` cluster is ready: a write has been answered through every node.

use super::fleet::Fleet;
use crate::client::{Call, Client};
use crate::failure::{Failure, Kind};
use crate::output::cell;
use serde::Serialize;
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest wait: a debug build on a busy machine needs a fraction of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// One attempt.
const ATTEMPT: Duration = Duration::from_secs(5);

/// Between two attempts: short against an election.
const PAUSE: Duration = Duration::from_millis(5);

/// Deleting a key that is not there goes through the log as any write does, and leaves no trace.
const PROBE: &str = "/v1/kv/muslin.dev/ready";

/// A node that is not ready by then keeps the caller waiting: the reason is shown.
const REASON_AFTER: Duration = Duration::from_secs(5);

/// Longest wait for the status of a node that does not answer a write.
const STATUS_WAIT: Duration = Duration::from_secs(4);

/// Lines of a log shown when a node did not come up.
const LOG_LINES: usize = 10;

/// What the ready line says of a node. Scripts rely on it.
#[derive(Serialize)]
pub(crate) struct ReadyNode {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) pid: Option<u32>,
    pub(crate) addr: String,
    pub(crate) etcd: String,
    pub(crate) data_dir: String,
}

/// Waits; returns what the ready line says of each node.
pub(crate) async fn wait(fleet: &mut Fleet) -> Result<Vec<ReadyNode>, Failure> {
    let deadline = Instant::now() + PATIENCE;
    let mut nodes = Vec::new();
    for at in 0..fleet.nodes().len() {
        nodes.push(node(fleet, at, deadline).await?);
    }
    Ok(nodes)
}

async fn node(fleet: &mut Fleet, at: usize, deadline: Instant) -> Result<ReadyNode, Failure> {
    let client = Client::at(&fleet.nodes()[at].plan.listen.to_string(), ATTEMPT);
    let (mut last, mut shown) = (String::new(), String::new());
    let reason_at = Instant::now() + REASON_AFTER;
    while Instant::now() < deadline {
        if let Some(exit) = fleet.reap().first() {
            return Err(ended(fleet, &exit.node));
        }
        match answer(&client).await {
            Ok(status) => return Ok(describe(fleet, at, &status)),
            Err(failure) => last = failure.sentence,
        }
        if Instant::now() >= reason_at {
            last = reason(&fleet.nodes()[at].plan.listen.to_string()).await.unwrap_or(last);
            if last != shown {
                eprintln!("{} is not ready: {last}", fleet.nodes()[at].plan.name);
                shown.clone_from(&last);
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    let name = &fleet.nodes()[at].plan.name;
    let seconds = PATIENCE.as_secs();
    let sentence = format!("{name} answered no write within {seconds} s: {last}");
    Err(Failure::new(Kind::Unreachable, sentence).hint(tail(&fleet.nodes()[at].plan.log)))
}

/// What the node says about itself.
async fn reason(address: &str) -> Option<String> {
    let status = Client::at(address, STATUS_WAIT).json(Call::get("/v1/status")).await.ok()?;
    status["sentence"].as_str().map(String::from)
}

async fn answer(client: &Client) -> Result<Value, Failure> {
    client.bytes(Call::delete(PROBE)).await?;
    client.json(Call::get("/v1/status")).await
}

fn describe(fleet: &Fleet, at: usize, status: &Value) -> ReadyNode {
    let node = &fleet.nodes()[at];
    ReadyNode {
        name: node.plan.name.clone(),
        id: cell(&status["node"], "id"),
        pid: node.pid(),
        addr: node.plan.listen.to_string(),
        etcd: node.plan.etcd.to_string(),
        data_dir: node.plan.data_dir.to_string_lossy().into_owned(),
    }
}

fn ended(fleet: &Fleet, name: &str) -> Failure {
    let node = fleet.nodes().iter().find(|node| node.plan.name == name);
    let log = node.map(|node| tail(&node.plan.log)).unwrap_or_default();
    Failure::new(Kind::Failed, format!("{name} ended while it started")).hint(log)
}

/// The end of a log file, which is where a node says why it ended.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(LOG_LINES)..];
    format!("{} ends with\n{}", log.display(), last.join("\n"))
}
