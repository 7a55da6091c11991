//! Real nodes under real faults: builds `tests/chaos` and runs it.

use crate::process;

/// Runs a campaign with the binary of this repository, in release: what people run is what is
/// attacked.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let build = ["build", "--quiet", "--release", "-p", "muslin-cli", "-p", "chaos"];
    process::run(&mut process::cargo(&build))?;
    let release = crate::target().join("release");
    // A disk of a node is a file there: the system's own place for such things may be memory.
    let work = crate::target().join(format!("tmp/chaos-{}", std::process::id()));
    let mut command = process::command(release.join("chaos"), &[]);
    command.arg("--binary").arg(release.join("muslin")).arg("--work-dir").arg(work);
    process::run(command.args(arguments))
}
