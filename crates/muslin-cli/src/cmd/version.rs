//! `muslin version`

use crate::args::{Format, Global};
use crate::failure::Failure;
use crate::output;

/// Prints it.
pub(crate) fn run(global: &Global) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    match global.output {
        Format::Json => output::json(&serde_json::json!({ "version": version })),
        Format::Table => output::text(&format!("muslin {version}\n")),
    }
}
