//! The simulator, in the three ways it is run.

use crate::process;
use std::process::Stdio;

/// Seeds of `determinism` when none are named.
const SEEDS: u64 = 200;

/// `muslin-sim ARGS`, in release: a debug build is far too slow for thousands of seeds.
pub(crate) fn sim(arguments: &[String]) -> Result<(), String> {
    process::run(process::cargo(&SIM).args(arguments))
}

const SIM: [&str; 6] = ["run", "--quiet", "--release", "-p", "muslin-sim", "--"];

/// Every seed in two processes; their traces must have the same hash, line by line.
pub(crate) fn determinism(arguments: &[String]) -> Result<(), String> {
    let seeds = match arguments {
        [] => SEEDS,
        [flag, number] if flag == "--seeds" => {
            number.parse().map_err(|_| format!("`{number}` is not a number of seeds"))?
        }
        _ => return Err("usage: cargo xtask determinism --seeds N".to_string()),
    };
    process::run(&mut process::cargo(&["build", "--release", "-p", "muslin-sim"]))?;
    let binary = crate::target().join("release/muslin-sim");
    let start = || {
        let seeds = seeds.to_string();
        let mut command = process::command(&binary, &["--seeds", &seeds, "--hash"]);
        command.stdout(Stdio::piped()).spawn().map_err(|e| format!("cannot run {binary:?}: {e}"))
    };
    let (first, second) = (start()?, start()?);
    let (first, second) = (hashes(first)?, hashes(second)?);
    if first.len() as u64 != seeds {
        return Err(format!("{} hashes for {seeds} seeds", first.len()));
    }
    let pairs = first.iter().zip(&second);
    let different: Vec<_> = pairs.filter(|(a, b)| a != b).collect();
    for (a, b) in &different {
        println!("differs: {a} and {b}");
    }
    let differences = different.len() + first.len().abs_diff(second.len());
    println!("seeds={seeds} differences={differences}");
    match differences {
        0 => Ok(()),
        n => Err(format!("{n} seeds gave two traces")),
    }
}

/// The lines of a run that name a hash.
fn hashes(child: std::process::Child) -> Result<Vec<String>, String> {
    let answer = child.wait_with_output().map_err(|e| format!("the simulator vanished: {e}"))?;
    if !answer.status.success() {
        return Err(format!("the simulator failed ({})", answer.status));
    }
    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
    Ok(text.lines().filter(|line| line.contains("hash=")).map(str::to_string).collect())
}

/// A build with planted bugs, in a directory of its own so that it is never mistaken for the real
/// one.
pub(crate) fn mutants(arguments: &[String]) -> Result<(), String> {
    let directory = crate::target().join("mutants");
    let directory = directory.to_string_lossy();
    let build = ["run", "--quiet", "--release", "-p", "muslin-sim", "--features", "mutants"];
    let mut command = process::cargo(&build);
    process::run(command.args(["--target-dir", &directory, "--", "mutants"]).args(arguments))
}
