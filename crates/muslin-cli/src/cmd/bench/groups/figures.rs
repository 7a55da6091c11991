//! What was measured, as numbers.

use super::counted::KINDS;
use super::load::Loaded;
use serde_json::{Value, json};
use std::time::Duration;

/// Replicas of each group: one on each node.
pub(super) const REPLICAS: u64 = 3;

/// What was measured.
pub(super) struct Figures {
    pub(super) groups: u64,
    pub(super) created: Duration,
    pub(super) led: Duration,
    pub(super) bytes_per_replica: u64,
    pub(super) idle_percent: f64,
    /// The same nodes before there were groups.
    pub(super) bare_percent: f64,
    pub(super) messages_per_second: [f64; KINDS.len()],
    pub(super) loaded: Loaded,
}

impl Figures {
    /// Messages a second that idle groups sent themselves.
    pub(super) fn of_groups(&self) -> f64 {
        let own = KINDS.iter().zip(self.messages_per_second).filter(|(kind, _)| kind.is_of_group);
        own.map(|(_, rate)| rate).sum()
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
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
            "idle_cpu_percent_without_groups": self.bare_percent,
            "idle_messages_per_second": sent.collect::<serde_json::Map<_, _>>(),
            "idle_group_messages_per_second": self.of_groups(),
            "commits_per_second": self.loaded.rate(),
            "commit_p50_ms": ms(self.loaded.permille(500)),
            "commit_p99_ms": ms(self.loaded.permille(990)),
            "errors": self.loaded.errors,
        })
    }

    /// For people.
    pub(super) fn rows(&self) -> Vec<(String, String)> {
        let ms = |duration: Duration| format!("{:.1} ms", duration.as_micros() as f64 / 1e3);
        let row = |name: &str, value: String| (name.to_string(), value);
        let mut rows = vec![
            row("groups x replicas", format!("{} x {REPLICAS}", self.groups)),
            row("time to create all", ms(self.created)),
            row("time until all are led", ms(self.led)),
            row("memory per replica", format!("{} bytes", self.bytes_per_replica)),
            row("idle, of one core", format!("{:.2} %", self.idle_percent)),
            row("the same without groups", format!("{:.2} %", self.bare_percent)),
        ];
        for (kind, rate) in KINDS.iter().zip(self.messages_per_second) {
            rows.push((format!("idle, {}", kind.name), format!("{rate:.1} messages/s")));
        }
        rows.push(row(
            "idle, of the groups themselves",
            format!("{:.1} messages/s", self.of_groups()),
        ));
        rows.push(row("commits, all groups", format!("{:.0} /s", self.loaded.rate())));
        rows.push(row("commit p50", ms(self.loaded.permille(500))));
        rows.push(row("commit p99", ms(self.loaded.permille(990))));
        rows.push(row("errors", self.loaded.errors.to_string()));
        rows
    }
}
