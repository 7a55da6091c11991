//! `muslin dev` as a child, for what is measured from outside.

use crate::process::{self, Running, Scratch};
use crate::{http, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for a node to say how it is.
const ATTEMPT: Duration = Duration::from_millis(500);

/// Three nodes that answer writes.
pub(crate) struct Cluster {
    // Ends before its directory goes.
    _running: Running,
    lines: BufReader<ChildStdout>,
    orders: ChildStdin,
    /// From starting the process to its ready line.
    pub(crate) ready: Duration,
    /// Where the nodes listen, n1 first.
    pub(crate) nodes: Vec<String>,
    /// Where they serve etcd clients.
    pub(crate) etcd: Vec<String>,
    /// Their processes.
    pub(crate) pids: Vec<u32>,
    _scratch: Scratch,
}

impl Cluster {
    /// Starts it in a directory of its own.
    pub(crate) fn start(binary: &Path, purpose: &str) -> Result<Cluster, String> {
        let scratch = Scratch::new(purpose)?;
        let (base, etcd) = (free_row(3)? - 1, free_row(21)?);
        let (base_text, etcd_text, directory) =
            (base.to_string(), etcd.to_string(), scratch.join("dev"));
        let line = ["dev", "-o", "json", "--base-port", &base_text, "--etcd-base-port", &etcd_text];
        let mut command = process::command(binary, &line);
        command.args(["--data-dir", &directory]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let start = Instant::now();
        let mut running = Running::start(&mut command)?;
        let (orders, stdout) = running.pipes();
        let mut lines = BufReader::new(stdout);
        let mut line = String::new();
        let _ = lines.read_line(&mut line);
        if !line.starts_with("{\"event\":\"ready\"") {
            return Err(format!("dev said {line:?} where its ready line should be"));
        }
        let at = |port: u16| format!("127.0.0.1:{port}");
        Ok(Cluster {
            ready: start.elapsed(),
            nodes: (1..=3).map(|n| at(base + n)).collect(),
            etcd: (0..3).map(|n| at(etcd + 10 * n)).collect(),
            pids: pids(&line),
            orders,
            lines,
            _running: running,
            _scratch: scratch,
        })
    }

    /// Whether a node says that it leads.
    pub(crate) fn leads(&self, node: usize) -> bool {
        let status = http::get(&self.nodes[node], "/v1/status", ATTEMPT).unwrap_or_default();
        let own = status.split_once("\"node\":{").map_or("", |(_, rest)| rest);
        own.split('}').next().is_some_and(|own| own.contains("\"role\":\"leader\""))
    }

    /// Starts a node whose process has ended.
    pub(crate) fn restart(&mut self, node: usize) -> Result<(), String> {
        let told = self.order(&format!("start n{}", node + 1), "started")?;
        let id = pids(&told).first().copied();
        self.pids[node] = id.ok_or(format!("dev said no process in {told:?}"))?;
        Ok(())
    }

    /// Gives an order and waits for the event that answers it, which it returns.
    fn order(&mut self, order: &str, event: &str) -> Result<String, String> {
        writeln!(self.orders, "{order}").map_err(|e| format!("dev has ended: {e}"))?;
        let expected = format!("\"event\":\"{event}\"");
        let mut line = String::new();
        while !line.contains(&expected) {
            line.clear();
            match self.lines.read_line(&mut line) {
                Ok(0) | Err(_) => return Err(format!("dev ended before it said {event}")),
                Ok(_) if line.contains("\"event\":\"refused\"") => return Err(line),
                Ok(_) => {}
            }
        }
        Ok(line)
    }
}

/// The processes that a line of dev names, in their order.
fn pids(line: &str) -> Vec<u32> {
    let numbers = line.split("\"pid\":").skip(1).filter_map(json::leading);
    numbers.map(|number| number as u32).collect()
}

/// The first of `count` ports in a row that are free at this moment.
fn free_row(count: u16) -> Result<u16, String> {
    for _ in 0..100 {
        let first = process::free_ports(1)?[0];
        let Some(last) = first.checked_add(count) else { continue };
        if (first..last).all(|port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return Ok(first);
        }
    }
    Err(format!("no {count} free ports in a row"))
}
