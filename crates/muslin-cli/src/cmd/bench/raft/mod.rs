//! `muslin bench raft`: what one Raft group of three replicas in this process can commit.
//!
//! No network and no encoding: [`replica`] drives the same `Raft` value that a node drives, one
//! thread each, [`cluster`] starts them, with a log thread and a real store each when the log is
//! durable, and [`runs`] loads them. The load and the arithmetic are in [`super::harness`].

mod cluster;
mod held;
mod replica;
mod runs;

use super::harness::figures::Figures;
use crate::args::{BenchRaft, Format, Global};
use crate::failure::{Failure, Kind};
use crate::output::{self, Table};
use serde_json::Value;

/// Runs every size in every mode and prints what came of it.
pub(crate) fn run(global: &Global, bench: &BenchRaft) -> Result<(), Failure> {
    if let Some(dir) = bench.dir.as_deref().filter(|dir| !dir.is_dir()) {
        let sentence = format!("{} is no directory: nothing can be measured", dir.display());
        let failure = Failure::new(Kind::Usage, sentence);
        return Err(failure.hint("name one that is there, on the disk to be measured, with --dir"));
    }
    let all = runs::run(bench).map_err(|why| Failure::new(Kind::Failed, why))?;
    match global.output {
        Format::Json => output::json(&Value::Array(all.iter().map(Figures::json).collect())),
        Format::Table => {
            let mut table = Table::new(&HEAD);
            all.iter().for_each(|figures| table.row(cells(figures)));
            table.print()
        }
    }
}

const HEAD: [&str; 10] = [
    "ENGINE",
    "LOG",
    "PROPOSERS",
    "COMMITS/S",
    "P50",
    "P99",
    "CPU MS/1000",
    "PER SYNC",
    "SYNCS/S",
    "OF IDEAL",
];

/// For people, under [`HEAD`].
fn cells(figures: &Figures) -> [String; 10] {
    let micros = |permille| format!("{} us", figures.latency.permille(permille).as_micros());
    let batch = figures.syncs.and_then(|syncs| syncs.batch);
    let or_dash = |cell: Option<String>| cell.unwrap_or_else(|| "-".to_string());
    [
        figures.engine.clone(),
        figures.mode.to_string(),
        figures.proposers.to_string(),
        format!("{:.0}", figures.rate()),
        micros(500),
        micros(990),
        format!("{:.2}", figures.processor_ms()),
        or_dash(batch.map(|batch| format!("{batch:.0}"))),
        or_dash(figures.syncs.map(|syncs| format!("{:.0}", syncs.together))),
        or_dash(figures.ideal().map(|ideal| format!("{:.0} %", figures.rate() / ideal * 1e2))),
    ]
}
