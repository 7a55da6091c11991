//! Three nodes of either side, in a directory that was just made.

use crate::cluster::Cluster;
use crate::http;
use crate::process::{self, Running, Scratch};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Longest wait for nodes to listen, or to have a leader.
const GIVE_UP: Duration = Duration::from_secs(30);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// What nodes get to settle before they are measured.
const SETTLE: Duration = Duration::from_secs(2);

/// One of the two that are compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Side {
    /// Debian's.
    Etcd,
    /// This repository's.
    Muslin,
}

/// Three nodes that run.
pub(crate) enum Servers {
    /// One process each.
    Etcd(Etcd),
    /// Under `muslin dev`.
    Muslin(Cluster),
}

/// Three etcd.
pub(crate) struct Etcd {
    /// Their command lines.
    lines: Vec<Vec<String>>,
    nodes: Vec<Option<Running>>,
    endpoints: Vec<String>,
    _scratch: Scratch,
}

impl Servers {
    /// Starts them and waits until they have a leader.
    pub(crate) fn start(side: Side, binary: &Path) -> Result<Servers, String> {
        let servers = match side {
            Side::Etcd => Servers::Etcd(Etcd::start()?),
            Side::Muslin => Servers::Muslin(Cluster::start(binary, "compare-muslin")?),
        };
        servers.settle()?;
        Ok(servers)
    }

    /// Waits until all listen and one leads, and a while more.
    pub(crate) fn settle(&self) -> Result<(), String> {
        let start = Instant::now();
        while !self.endpoints().iter().all(|endpoint| TcpStream::connect(endpoint).is_ok()) {
            if start.elapsed() > GIVE_UP {
                return Err("the nodes do not listen".to_string());
            }
            std::thread::sleep(LOOK);
        }
        self.leader()?;
        std::thread::sleep(SETTLE);
        Ok(())
    }

    /// Where etcd's clients connect.
    pub(crate) fn endpoints(&self) -> &[String] {
        match self {
            Servers::Etcd(etcd) => &etcd.endpoints,
            Servers::Muslin(cluster) => &cluster.etcd,
        }
    }

    /// The nodes' processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        match self {
            Servers::Etcd(etcd) => etcd.nodes.iter().flatten().map(Running::id).collect(),
            Servers::Muslin(cluster) => cluster.pids.clone(),
        }
    }

    /// Which node leads.
    pub(crate) fn leader(&self) -> Result<usize, String> {
        let deadline = Instant::now() + GIVE_UP;
        while Instant::now() < deadline {
            let leads = |node: &usize| match self {
                Servers::Etcd(etcd) => etcd.leads(*node),
                Servers::Muslin(cluster) => cluster.leads(*node),
            };
            if let Some(node) = (0..3).find(leads) {
                return Ok(node);
            }
            std::thread::sleep(LOOK);
        }
        Err("nobody leads".to_string())
    }

    /// Sends a signal, `KILL` or `TERM`, to a node's process.
    pub(crate) fn signal(&self, node: usize, signal: &str) -> Result<(), String> {
        process::signal(self.pids()[node], signal)
    }

    /// Starts nodes again that were made to end, as soon as they have.
    pub(crate) fn restart(&mut self, nodes: &[usize]) -> Result<(), String> {
        self.await_end(nodes)?;
        for node in nodes {
            match self {
                Servers::Etcd(etcd) => etcd.run(*node)?,
                Servers::Muslin(cluster) => cluster.restart(*node)?,
            }
        }
        Ok(())
    }

    /// Waits until nodes have ended.
    pub(crate) fn await_end(&mut self, nodes: &[usize]) -> Result<(), String> {
        let deadline = Instant::now() + GIVE_UP;
        for node in nodes {
            let id = self.pids()[*node];
            let has_ended = |servers: &mut Servers| match servers {
                Servers::Etcd(etcd) => etcd.nodes[*node].as_mut().is_none_or(Running::has_ended),
                Servers::Muslin(_) => !Path::new(&format!("/proc/{id}")).exists(),
            };
            while !has_ended(self) {
                if Instant::now() > deadline {
                    return Err(format!("process {id} does not end"));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }
}

impl Etcd {
    fn start() -> Result<Etcd, String> {
        let scratch = Scratch::new("compare-etcd")?;
        let ports = process::free_ports(6)?;
        let peer = |n: usize| format!("http://127.0.0.1:{}", ports[n]);
        let client = |n: usize| format!("http://127.0.0.1:{}", ports[n + 3]);
        let cluster: Vec<String> = (0..3).map(|n| format!("e{n}={}", peer(n))).collect();
        let line = |n: usize| {
            let words = [
                ["--name", &format!("e{n}")],
                ["--data-dir", &scratch.join(&format!("e{n}"))],
                ["--initial-cluster", &cluster.join(",")],
                ["--listen-peer-urls", &peer(n)],
                ["--initial-advertise-peer-urls", &peer(n)],
                ["--listen-client-urls", &client(n)],
                ["--advertise-client-urls", &client(n)],
                ["--log-level", "error"],
            ];
            words.concat().iter().map(|word| word.to_string()).collect()
        };
        let lines: Vec<Vec<String>> = (0..3).map(line).collect();
        let endpoints = (0..3).map(|n| format!("127.0.0.1:{}", ports[n + 3])).collect();
        let nodes = vec![None, None, None];
        let mut etcd = Etcd { lines, nodes, endpoints, _scratch: scratch };
        (0..3).try_for_each(|node| etcd.run(node))?;
        Ok(etcd)
    }

    fn run(&mut self, node: usize) -> Result<(), String> {
        let words: Vec<&str> = self.lines[node].iter().map(String::as_str).collect();
        let mut command = process::command("etcd", &words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.nodes[node] = Some(Running::start(&mut command)?);
        Ok(())
    }

    fn leads(&self, node: usize) -> bool {
        let metrics = http::get(&self.endpoints[node], "/metrics", Duration::from_secs(1));
        metrics.is_some_and(|text| text.lines().any(|line| line == "etcd_server_is_leader 1"))
    }
}
