//! The course of a measurement.

use super::cluster::Cluster;
use super::figures::{Figures, REPLICAS};
use super::load;
use crate::args::BenchGroups;
use crate::cmd::bench::harness::figures::processor_time;
use std::time::{Duration, Instant};

/// Between the last election and an idle window.
const SETTLE: Duration = Duration::from_secs(3);

/// Makes groups, leaves them alone, then writes to them.
pub(super) async fn run(bench: &BenchGroups) -> Result<Figures, String> {
    let cluster = Cluster::start().await?;
    tokio::time::sleep(SETTLE).await;
    let bare = idle(bench).await;
    let before = resident_bytes();
    let start = Instant::now();
    let groups = cluster.create(bench.groups).await?;
    let created = start.elapsed();
    cluster.all_led(bench.groups).await?;
    let led = start.elapsed();
    tokio::time::sleep(SETTLE).await;
    let grown = resident_bytes().saturating_sub(before);
    let counted = cluster.counts.read();
    let idle = idle(bench).await;
    let window = idle.window.as_secs_f64();
    let counted_after = cluster.counts.read();
    let rate = |at: usize| (counted_after[at] - counted[at]) as f64 / window;
    let loaded = load::run(&cluster, &groups, bench).await?;
    cluster.stop().await;
    Ok(Figures {
        groups: bench.groups,
        created,
        led,
        bytes_per_replica: grown / (bench.groups * REPLICAS).max(1),
        idle_percent: idle.percent(),
        bare_percent: bare.percent(),
        messages_per_second: std::array::from_fn(rate),
        loaded,
    })
}

/// Processor time used while nothing is asked of the nodes.
struct Idle {
    used: Duration,
    window: Duration,
}

impl Idle {
    fn percent(&self) -> f64 {
        self.used.as_secs_f64() / self.window.as_secs_f64().max(1e-9) * 1e2
    }
}

async fn idle(bench: &BenchGroups) -> Idle {
    let (start, used) = (Instant::now(), processor_time());
    tokio::time::sleep(Duration::from_secs(bench.seconds)).await;
    Idle { used: processor_time().saturating_sub(used), window: start.elapsed() }
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
