//! `muslin bench groups`: what many groups cost while nobody uses them, and what they carry when
//! everybody does.
//!
//! Three whole nodes in this process, with drivers, failure detectors and a control group, on a
//! network and disks in memory. [`cluster`] starts them and sets the groups up, [`counted`] counts
//! what they say to each other by kind, [`load`] writes to all groups at once.

mod cluster;
mod counted;
mod load;

use super::harness::figures::processor_time;
use crate::args::{BenchGroups, Format, Global};
use crate::failure::{Failure, Kind};
use crate::output::{self, Table};
use cluster::Cluster;
use counted::KINDS;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Between the last election and the idle window.
const SETTLE: Duration = Duration::from_secs(3);

/// Replicas of each group: one on each node.
const REPLICAS: u64 = 3;

/// What was measured.
struct Figures {
    groups: u64,
    created: Duration,
    led: Duration,
    bytes_per_replica: u64,
    idle_percent: f64,
    messages_per_second: [f64; KINDS.len()],
    loaded: load::Loaded,
}

/// Measures and prints.
pub(crate) async fn run(global: &Global, bench: BenchGroups) -> Result<(), Failure> {
    let figures = measure(&bench).await.map_err(|why| Failure::new(Kind::Failed, why))?;
    match global.output {
        Format::Json => output::json(&figures.json())?,
        Format::Table => {
            let mut table = Table::new(&["FIGURE", "VALUE"]);
            figures.rows().into_iter().for_each(|(name, value)| table.row([name, value]));
            table.print()?;
        }
    }
    match figures.of_groups() {
        0.0 => Ok(()),
        rate => {
            let why = format!("idle groups sent {rate:.1} messages a second; they must send none");
            Err(Failure::new(Kind::Failed, why))
        }
    }
}

async fn measure(bench: &BenchGroups) -> Result<Figures, String> {
    let cluster = Cluster::start().await?;
    let before = resident_bytes();
    let start = Instant::now();
    let groups = cluster.create(bench.groups).await?;
    let created = start.elapsed();
    cluster.all_led(bench.groups).await?;
    let led = start.elapsed();
    tokio::time::sleep(SETTLE).await;
    let grown = resident_bytes().saturating_sub(before);
    let counted = cluster.counts.read();
    let (idle_start, used) = (Instant::now(), processor_time());
    tokio::time::sleep(Duration::from_secs(bench.seconds)).await;
    let used = processor_time().saturating_sub(used);
    let window = idle_start.elapsed().as_secs_f64();
    let counted_after = cluster.counts.read();
    let rate = |at: usize| (counted_after[at] - counted[at]) as f64 / window;
    let loaded = load::run(&cluster, &groups, bench).await?;
    cluster.stop().await;
    Ok(Figures {
        groups: bench.groups,
        created,
        led,
        bytes_per_replica: grown / (bench.groups * REPLICAS).max(1),
        idle_percent: used.as_secs_f64() / window * 1e2,
        messages_per_second: std::array::from_fn(rate),
        loaded,
    })
}

impl Figures {
    /// Messages a second that idle groups sent themselves.
    fn of_groups(&self) -> f64 {
        let own = KINDS.iter().zip(self.messages_per_second).filter(|(kind, _)| kind.is_of_group);
        own.map(|(_, rate)| rate).sum()
    }

    fn json(&self) -> Value {
        let ms = |duration: Duration| duration.as_micros() as f64 / 1e3;
        let sent = KINDS.iter().zip(self.messages_per_second);
        let sent = sent.map(|(kind, rate)| (kind.name.to_string(), json!(rate)));
        json!({
            "groups": self.groups,
            "replicas": self.groups * REPLICAS,
            "created_ms": ms(self.created),
            "led_ms": ms(self.led),
            "bytes_per_replica": self.bytes_per_replica,
            "idle_cpu_percent": self.idle_percent,
            "idle_messages_per_second": sent.collect::<serde_json::Map<_, _>>(),
            "idle_group_messages_per_second": self.of_groups(),
            "commits_per_second": self.loaded.rate(),
            "commit_p50_ms": ms(self.loaded.permille(500)),
            "commit_p99_ms": ms(self.loaded.permille(990)),
            "errors": self.loaded.errors,
        })
    }

    fn rows(&self) -> Vec<(String, String)> {
        let ms = |duration: Duration| format!("{:.1} ms", duration.as_micros() as f64 / 1e3);
        let row = |name: &str, value: String| (name.to_string(), value);
        let mut rows = vec![
            row("groups x replicas", format!("{} x {REPLICAS}", self.groups)),
            row("time to create all", ms(self.created)),
            row("time until all are led", ms(self.led)),
            row("memory per replica", format!("{} bytes", self.bytes_per_replica)),
            row("idle, of one core", format!("{:.2} %", self.idle_percent)),
        ];
        for (kind, rate) in KINDS.iter().zip(self.messages_per_second) {
            rows.push((format!("idle, {}", kind.name), format!("{rate:.1} messages/s")));
        }
        rows.push(row(
            "idle, of the groups themselves",
            format!("{} messages/s", self.of_groups()),
        ));
        rows.push(row("commits, all groups", format!("{:.0} /s", self.loaded.rate())));
        rows.push(row("commit p50", ms(self.loaded.permille(500))));
        rows.push(row("commit p99", ms(self.loaded.permille(990))));
        rows.push(row("errors", self.loaded.errors.to_string()));
        rows
    }
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
