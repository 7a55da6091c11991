//! What is measured, and what is asked of it.

/// What muslin is to be, in numbers.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Asked {
    /// At least so many times etcd's figure.
    AtLeast(f64),
    /// At most so many times etcd's figure.
    AtMost(f64),
    /// At most so much, whatever etcd's figure.
    Limit(f64),
}

/// What is measured together, on one cluster that was just made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Stage {
    /// Of a store of a thousand keys.
    Reads,
    /// And mixed with reads.
    Writes,
    /// Watchers and leases.
    Streams,
    /// Idle, then filled.
    Memory,
    /// Leaders killed and stopped, everything killed.
    Failures,
}

/// All of them, in the order in which they are measured.
pub(super) const STAGES: [Stage; 5] =
    [Stage::Reads, Stage::Writes, Stage::Streams, Stage::Memory, Stage::Failures];

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// Its name for `--rows`.
    pub(super) name: &'static str,
    /// What it is, for people.
    pub(super) what: &'static str,
    /// Of its figures.
    pub(super) unit: &'static str,
    /// What is asked.
    pub(super) asked: Asked,
    /// Where it is measured.
    pub(super) stage: Stage,
}

const fn row(
    name: &'static str,
    what: &'static str,
    unit: &'static str,
    asked: Asked,
    stage: Stage,
) -> Row {
    Row { name, what, unit, asked, stage }
}

use Asked::{AtLeast, AtMost, Limit};
use Stage::{Failures, Memory, Reads, Streams, Writes};

/// Every row. Where nothing else is asked, muslin is to be ahead.
pub(super) const ROWS: [Row; 18] = [
    row("put-1", "puts, 1 client", "/s", AtLeast(1.6), Writes),
    row("put-64", "puts, 64 clients", "/s", AtLeast(2.5), Writes),
    row("put-256", "puts, 256 clients", "/s", AtLeast(3.0), Writes),
    row("put-cpu", "server CPU of 1,000 puts, 256 clients", "ms", AtMost(0.3), Writes),
    row("mix-256", "90 % reads, 10 % puts, 256 clients", "/s", AtLeast(3.5), Writes),
    row("read-64", "linearizable reads, 64 clients", "/s", AtLeast(2.5), Reads),
    row("stale-256", "serializable reads, 256 clients", "/s", AtLeast(2.0), Reads),
    row("watch", "100 watchers, 1,000 puts/s: event's way, p99", "ms", AtMost(1.0), Streams),
    row("lease", "leases granted and revoked, 64 clients", "/s", AtLeast(1.0), Streams),
    row("keep-alive", "keep-alives, 64 clients", "/s", AtLeast(1.0), Streams),
    row("kill", "leader killed: nothing acknowledged for", "ms", Limit(400.0), Failures),
    row("stop", "leader stopped: nothing acknowledged for", "ms", Limit(10.0), Failures),
    row("kill-all", "all killed, started: first put after", "ms", AtMost(1.0), Failures),
    row("idle", "memory of a node, idle", "MB", AtMost(1.0 / 3.0), Memory),
    row("idle-own", "its own part of that", "MB", AtMost(1.0), Memory),
    row("loaded", "memory of a node, 100,000 keys", "MB", AtMost(1.0 / 3.0), Memory),
    row("loaded-own", "its own part of that", "MB", AtMost(1.0), Memory),
    row(
        "loaded-peak",
        "memory of a node, 100,000 keys, at its peak",
        "MB",
        AtMost(1.0 / 3.0),
        Memory,
    ),
];

impl Asked {
    /// In words.
    pub(super) fn words(self, unit: &str) -> String {
        match self {
            Asked::AtLeast(1.0) => "ahead".to_string(),
            Asked::AtMost(1.0) => "ahead".to_string(),
            Asked::AtLeast(ratio) => format!(">= {ratio:.1} x"),
            Asked::AtMost(ratio) => format!("<= {ratio:.2} x"),
            Asked::Limit(limit) => format!("<= {limit:.0} {unit}"),
        }
    }

    /// Whether it is reached.
    pub(super) fn is_met(self, etcd: f64, muslin: f64) -> bool {
        match self {
            Asked::AtLeast(ratio) => muslin >= etcd * ratio,
            Asked::AtMost(ratio) => muslin <= etcd * ratio,
            Asked::Limit(limit) => muslin <= limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_judged() {
        assert!(AtLeast(3.0).is_met(10.0, 30.0) && !AtLeast(3.0).is_met(10.0, 29.0));
        assert!(AtMost(0.3).is_met(10.0, 3.0) && !AtMost(0.3).is_met(10.0, 3.1));
        assert!(Limit(10.0).is_met(1.0, 10.0) && !Limit(10.0).is_met(100.0, 11.0));
        assert_eq!(AtMost(1.0 / 3.0).words("MB"), "<= 0.33 x");
        assert_eq!([AtLeast(1.0), AtMost(1.0)].map(|a| a.words("/s")), ["ahead", "ahead"]);
        assert_eq!(Limit(400.0).words("ms"), "<= 400 ms");
    }

    #[test]
    fn every_row_has_a_name_of_its_own_and_every_stage_a_row() {
        let names: std::collections::BTreeSet<&str> = ROWS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), ROWS.len());
        assert!(STAGES.iter().all(|stage| ROWS.iter().any(|row| row.stage == *stage)));
    }
}
