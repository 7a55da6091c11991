//! `muslin completions`

use crate::args::Cli;
use crate::failure::Failure;
use crate::output;
use clap::CommandFactory;

/// Prints the script.
pub(crate) fn run(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "muslin", &mut script);
    output::bytes(&script)
}
