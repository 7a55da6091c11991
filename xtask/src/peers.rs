//! The workspace in `peers/`: what needs other implementations of Raft.

use crate::process;

/// Tests and lints everything there. Arguments go to `cargo test`.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    process::run(&mut cargo("fmt", &["--all", "--check"]))?;
    process::run(&mut cargo("clippy", &["--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    process::run(cargo("test", &[]).args(arguments))
}

/// `muslin bench raft` and the other engines alternately, in one run. Arguments go to
/// `peers-bench`.
pub(crate) fn bench(arguments: &[String]) -> Result<(), String> {
    process::run(&mut process::cargo(&["build", "--release", "-p", "muslin-cli"]))?;
    process::run(&mut cargo("build", &["--release", "-p", "peers-bench"]))?;
    let release = crate::target().join("release");
    let mut command = process::command(release.join("peers-bench"), &["--muslin"]);
    process::run(command.arg(release.join("muslin")).args(arguments))
}

/// Small parts in every state they can come to. Arguments go to `peers-model`.
pub(crate) fn model(arguments: &[String]) -> Result<(), String> {
    check("peers-model", arguments)
}

/// raft-rs in the simulator. Arguments go to `peers-differential`.
pub(crate) fn differential(arguments: &[String]) -> Result<(), String> {
    check("differential", arguments)
}

/// Runs one of the two that CI runs. They are built together: what both need is built once.
fn check(program: &str, arguments: &[String]) -> Result<(), String> {
    let packages = ["--release", "-p", "peers-model", "-p", "peers-differential"];
    process::run(&mut cargo("build", &packages))?;
    let program = crate::target().join("release").join(program);
    process::run(process::command(program, &[]).args(arguments))
}

/// Another failure detector in the worlds of ours. Arguments go to `peers-swim`.
pub(crate) fn swim(arguments: &[&String]) -> Result<(), String> {
    process::run(cargo("run", &["--release", "-p", "peers-swim", "--"]).args(arguments))
}

/// Cargo in that workspace, which builds where the product does: most of what the two need is the
/// same.
fn cargo(subcommand: &str, arguments: &[&str]) -> std::process::Command {
    let mut command = process::cargo(&[subcommand, "--manifest-path", "peers/Cargo.toml"]);
    command.env("CARGO_TARGET_DIR", crate::target()).args(arguments);
    command
}
