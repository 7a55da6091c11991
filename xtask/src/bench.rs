//! The same load on three etcd and on three muslin nodes, one after the other, on this machine.

use crate::cluster::Cluster;
use crate::conformance;
use crate::process::{self, Running, Scratch};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Longest wait for a cluster to listen.
const GIVE_UP: Duration = Duration::from_secs(30);

/// Time a cluster gets to elect before the load starts.
const SETTLE: Duration = Duration::from_secs(3);

/// Runs both and prints the ratio. Arguments go to `muslin bench kv`.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    conformance::install(&[("etcd", "etcd-server")])?;
    process::run(&mut process::cargo(&["build", "--release", "-p", "muslin-cli"]))?;
    let binary = crate::target().join("release/muslin");
    let etcd = on_etcd(&binary, arguments)?;
    let muslin = on_muslin(&binary, arguments)?;
    println!("etcd={etcd:.0}/s muslin={muslin:.0}/s ratio={:.2}", muslin / etcd);
    Ok(())
}

fn on_etcd(binary: &Path, arguments: &[String]) -> Result<f64, String> {
    let scratch = Scratch::new("bench-etcd")?;
    let ports = process::free_ports(6)?;
    let peer = |n: usize| format!("http://127.0.0.1:{}", ports[n]);
    let client = |n: usize| format!("http://127.0.0.1:{}", ports[n + 3]);
    let cluster: Vec<String> = (0..3).map(|n| format!("e{n}={}", peer(n))).collect();
    let cluster = cluster.join(",");
    let mut nodes = Vec::new();
    for n in 0..3 {
        let (name, directory) = (format!("e{n}"), scratch.join(&format!("e{n}")));
        let line = [
            ["--name", &name],
            ["--data-dir", &directory],
            ["--initial-cluster", &cluster],
            ["--listen-peer-urls", &peer(n)],
            ["--initial-advertise-peer-urls", &peer(n)],
            ["--listen-client-urls", &client(n)],
            ["--advertise-client-urls", &client(n)],
            ["--log-level", "error"],
        ];
        let mut command = process::command("etcd", &line.concat());
        nodes.push(Running::start(command.stdin(Stdio::null()).stderr(Stdio::null()))?);
    }
    let endpoints: Vec<String> = (0..3).map(|n| format!("127.0.0.1:{}", ports[n + 3])).collect();
    load("etcd", binary, &endpoints, arguments)
}

fn on_muslin(binary: &Path, arguments: &[String]) -> Result<f64, String> {
    let cluster = Cluster::start(binary, "bench-muslin")?;
    load("muslin", binary, &cluster.etcd, arguments)
}

/// The load itself; answers per second.
fn load(name: &str, binary: &Path, endpoints: &[String], more: &[String]) -> Result<f64, String> {
    let start = Instant::now();
    while !endpoints.iter().all(|endpoint| TcpStream::connect(endpoint).is_ok()) {
        if start.elapsed() > GIVE_UP {
            return Err(format!("{name} does not listen"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(SETTLE);
    let endpoints = endpoints.join(",");
    let line = ["bench", "kv", "-o", "json", "--endpoints", &endpoints];
    let answer = process::output(process::command(binary, &line).args(more))?;
    println!("{name}: {}", answer.trim());
    rate(&answer).ok_or(format!("no rate in {answer:?}"))
}

/// The number behind `"ops_per_second":`.
fn rate(json: &str) -> Option<f64> {
    let rest = json.split_once("\"ops_per_second\":")?.1.trim_start();
    rest.split([',', '}', '\n']).next()?.trim().parse().ok()
}
