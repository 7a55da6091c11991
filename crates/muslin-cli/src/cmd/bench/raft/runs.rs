//! One run per mode and number of proposers, each with replicas of its own.

use super::super::harness::disk::{Syncs, Yardstick};
use super::super::harness::figures::Figures;
use super::super::harness::proposers::Load;
use super::cluster::Cluster;
use crate::args::{BenchRaft, LogMode};
use bytes::Bytes;
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What one proposal costs in the log besides its payload (docs/design/disk.md).
const RECORD_HEADER_BYTES: usize = 40;

/// Records begin at multiples of this.
const RECORD_ALIGN: usize = 8;

/// Everything that was asked for, in order.
pub(super) fn run(bench: &BenchRaft) -> Result<Vec<Figures>, String> {
    let mut all = Vec::new();
    for mode in bench.mode.modes() {
        for proposers in &bench.proposers {
            let load = Load {
                proposers: (*proposers).max(1),
                payload_bytes: bench.payload_bytes,
                length: Duration::from_secs(bench.seconds.max(1)),
            };
            all.push(match mode {
                LogMode::Durable => durable(bench.dir.as_deref(), load)?,
                LogMode::Memory | LogMode::Both => in_memory(load)?,
            });
        }
    }
    Ok(all)
}

fn engine() -> String {
    format!("muslin {}", env!("CARGO_PKG_VERSION"))
}

fn in_memory(load: Load) -> Result<Figures, String> {
    let cluster = Cluster::start(None)?;
    load.run(&engine(), cluster.committed(), |proposals| cluster.propose(proposals), None)
}

/// The disk is measured in between, since it is shared with whatever else runs.
fn durable(dir: Option<&Path>, load: Load) -> Result<Figures, String> {
    let scratch = Scratch::new(dir).map_err(|error| error.to_string())?;
    let record = (RECORD_HEADER_BYTES + load.payload_bytes).next_multiple_of(RECORD_ALIGN);
    let yardstick = Yardstick::new(&scratch.0, load.proposers * record);
    let mut yardstick =
        yardstick.map_err(|error| format!("cannot measure {}: {error}", scratch.0.display()))?;
    let cluster = Cluster::start(Some(&scratch.0))?;
    let proposed = Cell::new(0);
    let propose = |proposals: Vec<Bytes>| {
        proposed.set(proposed.get() + proposals.len());
        cluster.propose(proposals);
    };
    let figures = load.run(&engine(), cluster.committed(), propose, Some(&mut yardstick))?;
    let batch = proposed.get() as f64 / cluster.leader_syncs().max(1) as f64;
    let syncs = Syncs { batch: Some(batch), ..yardstick.syncs() };
    Ok(Figures { mode: "durable", syncs: Some(syncs), ..figures })
}

/// A directory that goes when the run ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(dir: Option<&Path>) -> std::io::Result<Scratch> {
        let parent = dir.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let path = parent.join(format!("muslin-bench-raft-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is found by its name.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
