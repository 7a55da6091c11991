//! A million keys: what each costs in memory, how long writes wait for a snapshot, and how soon
//! nodes that were killed answer again.

use crate::compare::{Servers, Side};
use crate::outage::{self, Probe};
use crate::{http, json, process};
use std::path::Path;
use std::time::{Duration, Instant};

/// Keys, unless others are asked for.
const KEYS: u64 = 1_000_000;

/// Of a value, and of the names that `muslin bench kv` gives keys.
const VALUE_BYTES: u64 = 128;
const KEY_BYTES: u64 = 15;

/// Memory of a node for each key, beyond key and value.
const BYTES_MAX: f64 = 250.0;

/// Longest time without an acknowledged write while a snapshot is made and sent, and longest turn
/// of a driver that makes it.
const STALL_MS_MAX: f64 = 10.0;

/// From starting what was killed to its first answered write.
const RESTART_MS_MAX: f64 = 5_000.0;

/// This part of the keys is written again while a node is away: more than is kept of the log for
/// it, so that it needs a snapshot.
const MISSED_PART: u64 = 4;

/// How long nodes are left alone before their memory is read.
const REST: Duration = Duration::from_secs(8);

/// Behind so much time the longest turn that a node tells is none of before.
const TURNS: Duration = Duration::from_secs(21);

/// Light writes go on for so long before the node is started that needs a snapshot, and behind it.
const BEFORE: Duration = Duration::from_secs(6);
const SECONDS: u64 = 26;

/// Longest wait for a node that was started, and for one question to it.
const GIVE_UP: Duration = Duration::from_secs(120);
const PATIENCE: Duration = Duration::from_secs(2);

/// Builds, measures, prints every figure beside its limit. `arguments`: `--keys N`.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let keys = match arguments {
        [] => KEYS,
        [flag, number] if flag == "--keys" => number.parse().map_err(|e| format!("--keys: {e}"))?,
        _ => return Err("it takes --keys N and nothing else".to_string()),
    };
    let binary = process::built_program()?;
    let mut table = Table::default();
    let mut servers = Servers::start(Side::Muslin, &binary)?;
    memory(&servers, &binary, keys, &mut table)?;
    snapshot(&mut servers, &binary, keys, &mut table)?;
    restarts(&mut servers, &binary, &mut table)?;
    table.verdict()
}

/// Figures beside their limits.
#[derive(Default)]
struct Table {
    missed: Vec<&'static str>,
}

impl Table {
    fn judge(&mut self, name: &'static str, figure: f64, limit: f64, unit: &str) {
        let is_kept = figure <= limit;
        let verdict = if is_kept { "ok" } else { "MISSED" };
        println!("{name:<52} {figure:>8.1} {unit} (at most {limit:.0}) {verdict}");
        if !is_kept {
            self.missed.push(name);
        }
    }

    fn verdict(self) -> Result<(), String> {
        match self.missed.as_slice() {
            [] => Ok(()),
            names => Err(format!("missed: {}", names.join(", "))),
        }
    }
}

fn memory(servers: &Servers, binary: &Path, keys: u64, table: &mut Table) -> Result<(), String> {
    std::thread::sleep(REST);
    let idle = resident_mb(servers)?;
    let told = fill(servers.endpoints(), binary, keys)?;
    std::thread::sleep(REST);
    let loaded = resident_mb(servers)?;
    let rate = json::number(&told, "ops_per_second").unwrap_or_default();
    let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len().max(1) as f64;
    println!(
        "{keys} keys of {KEY_BYTES} bytes with values of {VALUE_BYTES} put at {rate:.0} a second; \
         a node's memory idle {:.1} MB, then {:.1} MB",
        mean(&idle),
        mean(&loaded)
    );
    let grown = loaded.iter().zip(&idle).map(|(loaded, idle)| loaded - idle);
    let most = grown.fold(0.0, f64::max) * 1e6 / keys as f64;
    let beyond = most - (KEY_BYTES + VALUE_BYTES) as f64;
    table.judge("memory for a key beyond key and value, largest node", beyond, BYTES_MAX, "bytes");
    Ok(())
}

/// A node is away while more is written than is kept for it, and needs a snapshot when it comes
/// back; light writes go on at the others.
fn snapshot(
    servers: &mut Servers,
    binary: &Path,
    keys: u64,
    table: &mut Table,
) -> Result<(), String> {
    let leader = servers.leader()?;
    let away = (leader + 1) % 3;
    servers.signal(away, "KILL")?;
    servers.await_end(&[away])?;
    let staying: Vec<usize> = (0..3).filter(|node| *node != away).collect();
    let endpoints = staying.iter().map(|node| servers.endpoints()[*node].clone());
    let endpoints: Vec<String> = endpoints.collect();
    fill(&endpoints, binary, keys / MISSED_PART)?;
    let taken = total(servers, leader, "muslin_raft_snapshots_sent_total");
    std::thread::sleep(TURNS);
    let turn_before = turn_ms(servers, &staying)?;
    let probe = Probe::start(binary, &endpoints, SECONDS)?;
    std::thread::sleep(BEFORE);
    let moment = outage::unix_us();
    let start = Instant::now();
    servers.restart(&[away])?;
    let target = applied(servers, leader).ok_or("the leader does not say what it has applied")?;
    while applied(servers, away).is_none_or(|applied| applied < target) {
        if start.elapsed() > GIVE_UP {
            return Err("the node that was away does not catch up".to_string());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let caught_up = start.elapsed().as_secs_f64();
    let (turn, own) = (turn_ms(servers, &staying)?, turn_ms(servers, &[away])?);
    let told = probe.finish()?;
    let sent = total(servers, leader, "muslin_raft_snapshots_sent_total") - taken;
    println!(
        "a node that missed {} writes was sent {sent:.0} snapshots and had caught up \
         {caught_up:.1} s after its start, with a turn of its driver of {own:.0} ms; before it, \
         the longest time without an acknowledged write was {:.1} ms, and the longest turn of a \
         driver {turn_before:.1} ms",
        keys / MISSED_PART,
        outage::longest_before_ms(&told, moment),
    );
    if sent < 1.0 {
        return Err("no snapshot was sent: what was measured is none of it".to_string());
    }
    let stall = outage::longest_ms(&told, moment);
    table.judge("no write acknowledged while a snapshot is made", stall, STALL_MS_MAX, "ms");
    table.judge("longest turn of a driver meanwhile", turn, STALL_MS_MAX, "ms");
    Ok(())
}

fn restarts(servers: &mut Servers, binary: &Path, table: &mut Table) -> Result<(), String> {
    let node = (servers.leader()? + 1) % 3;
    servers.signal(node, "KILL")?;
    servers.await_end(&[node])?;
    std::thread::sleep(Duration::from_secs(1));
    let start = Instant::now();
    servers.restart(&[node])?;
    let address = own_address(servers, node)?;
    while !http::put(&address, "million", PATIENCE) {
        if start.elapsed() > GIVE_UP {
            return Err("a node that was killed does not answer again".to_string());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let one = start.elapsed().as_secs_f64() * 1e3;
    table.judge("one node killed, its first answered write", one, RESTART_MS_MAX, "ms");
    servers.settle()?;
    let all = outage::all_killed_ms(servers, binary, 2 * RESTART_MS_MAX as u64 / 1_000)?;
    table.judge("all killed, the first answered write", all, RESTART_MS_MAX, "ms");
    Ok(())
}

fn fill(endpoints: &[String], binary: &Path, keys: u64) -> Result<String, String> {
    let (endpoints, keys, bytes) = (endpoints.join(","), keys.to_string(), VALUE_BYTES.to_string());
    let line = ["bench", "kv", "-o", "json", "--workload", "fill", "--clients", "64"];
    let mut command = process::command(binary, &line);
    command.args(["--endpoints", &endpoints, "--keys", &keys, "--value-bytes", &bytes]);
    process::output(&mut command)
}

fn resident_mb(servers: &Servers) -> Result<Vec<f64>, String> {
    servers.pids().into_iter().map(process::resident_mb).collect()
}

/// The longest turn that any of these nodes tells.
fn turn_ms(servers: &Servers, nodes: &[usize]) -> Result<f64, String> {
    let name = "muslin_driver_longest_turn_seconds";
    let of = |node: &usize| metric(servers, *node, name).ok_or(format!("no {name} was told"));
    let turns: Result<Vec<f64>, String> = nodes.iter().map(of).collect();
    Ok(turns?.into_iter().fold(0.0, f64::max) * 1e3)
}

fn applied(servers: &Servers, node: usize) -> Option<f64> {
    metric(servers, node, "muslin_raft_applied_index")
}

fn total(servers: &Servers, node: usize, name: &str) -> f64 {
    metric(servers, node, name).unwrap_or_default()
}

fn metric(servers: &Servers, node: usize, name: &str) -> Option<f64> {
    let text = http::get(&own_address(servers, node).ok()?, "/metrics", PATIENCE)?;
    value_of(&text, name)
}

fn value_of(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

/// Where a node answers for itself.
fn own_address(servers: &Servers, node: usize) -> Result<String, String> {
    match servers {
        Servers::Muslin(cluster) => Ok(cluster.nodes[node].clone()),
        Servers::Etcd(_) => Err("these are not our nodes".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_by_its_whole_name() {
        let text = "# HELP turns Turns.\nturns_total 7\nturns 1.5\n";
        assert_eq!(value_of(text, "turns"), Some(1.5));
        assert_eq!(value_of(text, "turn"), None);
    }

    #[test]
    fn what_is_above_its_limit_is_missed_by_name() {
        let mut table = Table::default();
        table.judge("one", 2.0, 2.0, "ms");
        assert_eq!(table.missed.len(), 0);
        table.judge("other", 2.1, 2.0, "ms");
        assert_eq!(table.verdict(), Err("missed: other".to_string()));
    }
}
