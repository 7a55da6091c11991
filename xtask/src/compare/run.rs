//! The turns.

use super::options::Options;
use super::page;
use super::rows::{ROWS, STAGES, Stage};
use super::servers::{Servers, Side};
use super::stage::Turn;
use super::table::Samples;
use crate::{conformance, guard, process};
use std::path::Path;

/// In a turn of both, who comes first.
const SIDES: [Side; 2] = [Side::Etcd, Side::Muslin];

/// Measures both, prints the table, writes the page.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let options = Options::parse(arguments)?;
    if !process::is_installed("etcd") {
        println!("etcd is not here: installing Debian's package etcd-server (apt-get, as root)");
    }
    conformance::install(&[("etcd", "etcd-server")])?;
    let before = page::Surroundings::look();
    let binary = process::built_program()?;
    guard::begin()?;
    let mut samples = Samples::default();
    let is_wanted =
        |stage: &Stage| ROWS.iter().any(|row| row.stage == *stage && options.wants(row));
    for stage in STAGES.into_iter().filter(is_wanted) {
        for round in 0..options.rounds {
            for side in SIDES {
                println!("{stage:?}, round {}: {side:?}", round + 1);
                turn(side, stage, &options, &binary, &mut samples)?;
            }
        }
    }
    println!("\n{}", samples.text(&options));
    let missed = samples.missed(&options);
    println!("{} of {} rows miss what is asked", missed.len(), samples.rows(&options).count());
    if options.only.is_empty() {
        let path = crate::root().join("docs/performance.md");
        let text = page::text(&options, &samples, &before, &binary)?;
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        println!("written: {}", path.display());
    }
    Ok(())
}

/// One side, from its start to its end.
fn turn(
    side: Side,
    stage: Stage,
    options: &Options,
    binary: &Path,
    samples: &mut Samples,
) -> Result<(), String> {
    let servers = Servers::start(side, binary)?;
    let mut turn = Turn { options, binary, servers };
    for (row, figure) in turn.measure(stage)? {
        println!("  {row}: {figure:.1}");
        samples.add(row, side, figure);
    }
    Ok(())
}
