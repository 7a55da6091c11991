//! The workspace in `peers/`: what needs other implementations of Raft.

use crate::process;

/// Tests and lints everything there. Arguments go to `cargo test`.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    process::run(&mut cargo("fmt", &["--all", "--check"]))?;
    process::run(&mut cargo("clippy", &["--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    process::run(cargo("test", &[]).args(arguments))
}

/// Cargo in that workspace, which builds where the product does: most of what the two need is the
/// same.
fn cargo(subcommand: &str, arguments: &[&str]) -> std::process::Command {
    let mut command = process::cargo(&[subcommand, "--manifest-path", "peers/Cargo.toml"]);
    command.env("CARGO_TARGET_DIR", crate::target()).args(arguments);
    command
}
