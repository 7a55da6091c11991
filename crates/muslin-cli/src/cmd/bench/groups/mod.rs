//! `muslin bench groups`: what many groups cost while nobody uses them, and what they carry when
//! everybody does.
//!
//! Three whole nodes in this process, with drivers, failure detectors and a control group, on a
//! network and disks in memory. [`cluster`] starts them and sets the groups up, [`counted`] counts
//! what they say to each other by kind, [`load`] writes to all groups at once,
//! [`figures`] shows what came of it.

mod cluster;
mod counted;
mod figures;
mod load;
mod measure;

use crate::args::{BenchGroups, Format, Global};
use crate::failure::{Failure, Kind};
use crate::output::{self, Table};

/// Measures and prints.
pub(crate) async fn run(global: &Global, bench: BenchGroups) -> Result<(), Failure> {
    let figures = measure::run(&bench).await.map_err(|why| Failure::new(Kind::Failed, why))?;
    match global.output {
        Format::Json => output::json(&figures.json())?,
        Format::Table => {
            let mut table = Table::new(&["FIGURE", "VALUE"]);
            figures.rows().into_iter().for_each(|(name, value)| table.row([name, value]));
            table.print()?;
        }
    }
    if let Some(why) = figures.loaded.why_nothing() {
        return Err(Failure::new(Kind::Failed, format!("no command was answered: {why}")));
    }
    match figures.of_groups() {
        0.0 => Ok(()),
        rate => {
            let why = format!("idle groups sent {rate:.1} messages a second; they must send none");
            Err(Failure::new(Kind::Failed, why))
        }
    }
}
