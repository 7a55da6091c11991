//! `muslin bench kv`: a load on anything that speaks etcd v3.
//!
//! A closed loop: each client has one request at a time, so the rate is what the cluster can do for
//! that many clients, and a latency is what one of them waits. [`call`] is the interface used,
//! [`load`] runs the clients, [`figures`] turns what they saw into numbers.

mod call;
mod figures;
pub(crate) mod groups;
mod harness;
mod load;
pub(crate) mod raft;

use crate::args::{BenchKv, Format, Global};
use crate::failure::{Failure, Kind};
use crate::output::{self, Table};

/// Runs the load and prints what came of it.
pub(crate) async fn run(global: &Global, bench: BenchKv) -> Result<(), Failure> {
    let figures = load::run(&bench).await?;
    match global.output {
        Format::Json => output::json(&figures.json(&bench))?,
        Format::Table => {
            let mut table =
                Table::new(&["OPS/S", "P50", "P90", "P99", "MAX", "ANSWERED", "ERRORS"]);
            table.row(figures.cells());
            table.print()?;
        }
    }
    match figures.answered {
        0 => {
            let why = figures.first_error.clone().unwrap_or_else(|| "no answer".to_string());
            Err(Failure::new(Kind::Unreachable, format!("nothing was answered: {why}")))
        }
        _ => Ok(()),
    }
}
