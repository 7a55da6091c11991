//! What makes "light-weight" a number.

use crate::cluster::Cluster;
use crate::compare::{Servers, Side};
use crate::process::{self, Running, Scratch};
use crate::{http, outage};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Megabytes of the stripped release binary.
const BINARY_MB_MAX: f64 = 25.0;

/// From starting a sole node's process to its first answered write.
const FIRST_WRITE_MS_MAX: f64 = 100.0;

/// Resident memory of a sole node with nothing to do.
const IDLE_MB_MAX: f64 = 30.0;

/// From starting `dev` to its ready line: three nodes, one answered write.
const DEV_READY_MS_MAX: f64 = 2_000.0;

/// Median time without an answered write around the kill of a leader.
const WRITE_GAP_MS_MAX: f64 = 1_000.0;

/// Processor time of 256 idle groups of three replicas in one process, of one core: three drivers,
/// control group and failure detectors included.
const IDLE_GROUPS_PERCENT_MAX: f64 = 1.0;

/// Starts measured; the best is judged, for a busy machine says nothing about the program.
const ROUNDS: usize = 5;

/// Kills of a leader that are measured.
const KILLS: usize = 10;

/// How long each is written around: 1.5 seconds before it and as much as it may take behind.
const OUTAGE_SECONDS: u64 = 4;

/// How long a node is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(3);

/// After this a start has failed, whatever the limit.
const GIVE_UP: Duration = Duration::from_secs(20);

/// Builds, measures, prints every figure beside its limit.
pub(crate) fn run() -> Result<(), String> {
    process::run(&mut process::cargo(&["build", "--release", "-p", "muslin-cli"]))?;
    measure()
}

/// Measures the binary that was built.
pub(crate) fn measure() -> Result<(), String> {
    let binary = crate::target().join("release/muslin");
    let mut broken = Vec::new();
    let mut judge = |name: &'static str, figure: f64, limit: f64, unit: &str, note: String| {
        let is_kept = figure <= limit;
        let verdict = if is_kept { "ok" } else { "BROKEN" };
        println!("{name:<34} {figure:>8.1} {unit} (at most {limit:.0}) {verdict}{note}");
        if !is_kept {
            broken.push(name);
        }
    };
    let size = std::fs::metadata(&binary).map_err(|e| format!("{}: {e}", binary.display()))?.len();
    judge("stripped binary", size as f64 / 1e6, BINARY_MB_MAX, "MB", String::new());
    let mut starts = Vec::new();
    let mut idle = 0.0;
    for round in 0..ROUNDS {
        let (start_ms, idle_mb) = sole_node(&binary, round + 1 == ROUNDS)?;
        starts.push(start_ms);
        idle = idle_mb.unwrap_or(idle);
    }
    let (best, note) = best_of(starts);
    judge("sole node, first answered write", best, FIRST_WRITE_MS_MAX, "ms", note);
    judge("sole node, idle memory", idle, IDLE_MB_MAX, "MB", String::new());
    let ready_ms = |_| Ok(Cluster::start(&binary, "budget")?.ready.as_secs_f64() * 1e3);
    let readies: Result<Vec<f64>, String> = (0..ROUNDS).map(ready_ms).collect();
    let (best, note) = best_of(readies?);
    judge("dev, three nodes to ready line", best, DEV_READY_MS_MAX, "ms", note);
    let (idle, note) = idle_groups(&binary)?;
    judge("256 idle groups x 3, of a core", idle, IDLE_GROUPS_PERCENT_MAX, "%", note);
    let mut gaps = kill_gaps_ms(&binary)?;
    gaps.sort_by(f64::total_cmp);
    let note = format!("; of {} kills, longest {:.0}", gaps.len(), gaps[gaps.len() - 1]);
    judge("leader killed, median write gap", gaps[gaps.len() / 2], WRITE_GAP_MS_MAX, "ms", note);
    match broken.as_slice() {
        [] => Ok(()),
        names => Err(format!("over budget: {}", names.join(", "))),
    }
}

/// Milliseconds in which nothing is acknowledged when the leader is killed.
fn kill_gaps_ms(binary: &Path) -> Result<Vec<f64>, String> {
    let mut servers = Servers::start(Side::Muslin, binary)?;
    (0..KILLS).map(|_| outage::leader_ms(&mut servers, binary, "KILL", OUTAGE_SECONDS)).collect()
}

fn best_of(mut figures: Vec<f64>) -> (f64, String) {
    figures.sort_by(f64::total_cmp);
    let median = figures[figures.len() / 2];
    (figures[0], format!("; best of {ROUNDS}, median {median:.1}"))
}

/// Milliseconds to the first answered write and, when asked, idle megabytes.
fn sole_node(binary: &Path, is_idle_measured: bool) -> Result<(f64, Option<f64>), String> {
    let scratch = Scratch::new("budget")?;
    let (directory, port) = (scratch.join("n1"), process::free_ports(1)?[0]);
    let address = format!("127.0.0.1:{port}");
    let init = ["init", "--data-dir", &directory, "--name", "n1", "--listen", &address];
    process::output(&mut process::command(binary, &init))?;
    let start = Instant::now();
    let mut up = process::command(binary, &["up", "--data-dir", &directory, "--log", "error"]);
    let mut node = Running::start(up.stdin(Stdio::null()))?;
    while !http::put(&address, "budget", GIVE_UP) {
        if node.has_ended() || start.elapsed() > GIVE_UP {
            return Err("the sole node answered no write with success".to_string());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let start_ms = start.elapsed().as_secs_f64() * 1e3;
    if !is_idle_measured {
        return Ok((start_ms, None));
    }
    std::thread::sleep(IDLE);
    Ok((start_ms, Some(process::resident_mb(node.id())?)))
}

/// Others work on the machine as well, and what they take from its caches is paid here: the best of
/// so many runs is judged.
const IDLE_GROUPS_RUNS: usize = 5;

/// The best run, and how many there were: after one within the limit no other could change the
/// verdict, and each takes half a minute.
fn idle_groups(binary: &Path) -> Result<(f64, String), String> {
    let (mut best, mut runs) = (f64::INFINITY, 0);
    while runs < IDLE_GROUPS_RUNS && best > IDLE_GROUPS_PERCENT_MAX {
        best = best.min(idle_groups_percent(binary)?);
        runs += 1;
    }
    Ok((best, format!("; best of {runs}, at most {IDLE_GROUPS_RUNS} runs")))
}

/// The command fails by itself when idle groups say anything to each other.
fn idle_groups_percent(binary: &Path) -> Result<f64, String> {
    let bench = ["bench", "groups", "--groups", "256", "--seconds", "6", "-o", "json"];
    let printed = process::output(&mut process::command(binary, &bench))?;
    let rest = printed.split("\"idle_cpu_percent\":").nth(1);
    let number = rest.and_then(|rest| rest.split([',', '}']).next()?.trim().parse::<f64>().ok());
    number.ok_or_else(|| format!("no idle_cpu_percent in {printed}"))
}
