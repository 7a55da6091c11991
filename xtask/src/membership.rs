//! Membership with real processes: builds `tests/membership` and runs it.

use crate::process;

/// Runs the scenarios with the binary of this repository, in release unless `--dev` is said.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let is_dev = arguments.iter().any(|word| word == "--dev");
    let mut build = vec!["build", "--quiet", "-p", "muslin-cli", "-p", "membership"];
    if !is_dev {
        build.push("--release");
    }
    process::run(&mut process::cargo(&build))?;
    let built = crate::target().join(if is_dev { "debug" } else { "release" });
    let work = crate::target().join(format!("tmp/membership-{}", std::process::id()));
    let mut command = process::command(built.join("membership"), &[]);
    command.arg("--binary").arg(built.join("muslin")).arg("--work-dir").arg(work);
    process::run(command.args(arguments.iter().filter(|word| *word != "--dev")))
}
