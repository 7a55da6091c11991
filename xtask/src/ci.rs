//! What CI runs, in the order in which failures are cheapest.

use crate::{budget, campaign, conformance, deny, nostd, peers, process, simulate, tidy};
use std::time::Instant;

/// One step: its name and what it does.
struct Step {
    name: &'static str,
    run: fn() -> Result<(), String>,
}

/// Seeds of raft-rs under the simulator: seconds of work, enough to see that the two still fit.
const DIFFERENTIAL_SEEDS: &str = "300";

const STEPS: [Step; 14] = [
    Step { name: "tools", run: conformance::install_tools },
    Step { name: "format", run: || cargo(&["fmt", "--all", "--check"]) },
    Step { name: "tidy", run: || tidy::run(&crate::root(), &[]) },
    Step { name: "clippy", run: clippy },
    Step { name: "test", run: test_all },
    Step { name: "doc", run: doc },
    Step { name: "no_std", run: nostd::run },
    Step {
        name: "simulation",
        run: || release().and_then(|()| campaign::run(campaign::CI_DAYS, 1)),
    },
    Step {
        name: "determinism",
        run: || release().and_then(|()| campaign::determinism(campaign::CI_DAYS, 1)),
    },
    Step { name: "mutants", run: simulate::mutants_once },
    Step {
        name: "differential",
        run: || peers::differential(&["--seeds", DIFFERENTIAL_SEEDS].map(str::to_string)),
    },
    Step { name: "model", run: || peers::model(&[]) },
    Step { name: "budget", run: || release().and_then(|()| budget::measure()) },
    Step { name: "deny", run: deny::run },
];

/// Runs every step, or those that are named, even after one that failed, and ends with the count.
pub(crate) fn run(names: &[String]) -> Result<(), String> {
    if let Some(name) = names.iter().find(|name| STEPS.iter().all(|step| step.name != **name)) {
        let all: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        return Err(format!("there is no step {name}; there are: {}", all.join(", ")));
    }
    let is_meant = |step: &Step| names.is_empty() || names.iter().any(|name| name == step.name);
    let mut answers = Vec::new();
    for step in STEPS.into_iter().filter(is_meant) {
        println!("\n==> {}", step.name);
        let (start, used) = (Instant::now(), process::processor_seconds());
        let answer = (step.run)();
        if let Err(sentence) = &answer {
            println!("==> {} FAILED: {sentence}", step.name);
        }
        let took = [start.elapsed().as_secs_f64(), process::processor_seconds() - used];
        answers.push((step.name, took, answer));
    }
    summary(&answers)
}

/// Beside the seconds of each step, those that processors worked for it: what a step costs is seen
/// even where others use the machine as well.
fn summary(answers: &[(&str, [f64; 2], Result<(), String>)]) -> Result<(), String> {
    println!("\n{:<14} {:>8} {:>9}  result", "step", "seconds", "processor");
    for (name, [seconds, processor], answer) in answers {
        let result = answer.as_ref().err().map_or("passed".to_string(), |e| format!("FAILED: {e}"));
        println!("{name:<14} {seconds:>8.1} {processor:>9.1}  {result}");
    }
    let [seconds, processor] = [0, 1].map(|at| answers.iter().map(|step| step.1[at]).sum::<f64>());
    println!("{:<14} {seconds:>8.1} {processor:>9.1}", "all");
    let failed = answers.iter().filter(|(_, _, answer)| answer.is_err()).count();
    println!("{} passed, {failed} failed", answers.len() - failed);
    match failed {
        0 => Ok(()),
        n => Err(format!("{n} steps failed")),
    }
}

fn cargo(arguments: &[&str]) -> Result<(), String> {
    process::run(&mut process::cargo(arguments))
}

/// The whole workspace with every feature it uses, and the library as embedders take it: membership
/// alone, with Raft, whole.
fn clippy() -> Result<(), String> {
    cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    let alone = &["--no-default-features"][..];
    let with_raft = &["--no-default-features", "--features", "consensus"];
    for features in [alone, with_raft, &["--features", "client"]] {
        let line = [&["clippy", "-p", "muslin"], features, &["--", "-D", "warnings"]].concat();
        cargo(&line)?;
    }
    cargo(&["clippy", "-p", "muslin-sim", "--features", "mutants", "--", "-D", "warnings"])
}

/// Every test there is, those with real etcd clients among them. In one build: a package alone has
/// other features of what all depend on, which would be built again for it.
fn test_all() -> Result<(), String> {
    conformance::install_tools()?;
    let mut test = process::cargo(&["test", "--workspace", "--no-fail-fast"]);
    // Tests with real processes wait half of their time: another one uses it.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    test.env("RUST_TEST_THREADS", (cores + cores.div_ceil(2)).to_string());
    process::run(conformance::with_binary(&mut test))
}

/// What is measured and simulated, in one build for the same reason.
fn release() -> Result<(), String> {
    cargo(&["build", "--release", "-p", "muslin-cli", "-p", "muslin-sim"])
}

/// The tests of the default members.
pub(crate) fn test(arguments: &[String]) -> Result<(), String> {
    process::run(process::cargo(&["test"]).args(arguments))
}

fn doc() -> Result<(), String> {
    let mut command =
        process::cargo(&["doc", "--no-deps", "--workspace", "--exclude", "conformance"]);
    process::run(command.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Rust from the .proto files; `--check` compares with what is checked in, which a test of the
/// program does.
pub(crate) fn codegen(arguments: &[String]) -> Result<(), String> {
    match arguments {
        [] => cargo(&["run", "--quiet", "-p", "codegen"]),
        [flag] if flag == "--check" => cargo(&["test", "--quiet", "-p", "codegen"]),
        _ => Err("usage: cargo xtask codegen [--check]".to_string()),
    }
}
