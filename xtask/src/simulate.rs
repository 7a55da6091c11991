//! The simulator, in the three ways it is run.

use crate::{campaign, peers, process};

/// Days of a simulated year.
const YEAR: u64 = 365;

/// `muslin-sim ARGS`, in release: a debug build is far too slow for thousands of seeds. `--year`
/// and `--days N [--from S]` are campaigns over all kinds of world, on all cores.
pub(crate) fn sim(arguments: &[String]) -> Result<(), String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["--year"] => campaign::run(YEAR, 1),
        ["--days", days] => campaign::run(number(days)?, 1),
        ["--days", days, "--from", from] => campaign::run(number(days)?, number(from)?),
        _ => process::run(process::cargo(&SIM).args(arguments)),
    }
}

const SIM: [&str; 6] = ["run", "--quiet", "--release", "-p", "muslin-sim", "--"];

/// Every seed of so many days in two processes; their traces must have the same hash.
pub(crate) fn determinism(arguments: &[String]) -> Result<(), String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => campaign::determinism(campaign::CI_DAYS, 1),
        ["--days", days] => campaign::determinism(number(days)?, 1),
        _ => Err("usage: cargo xtask determinism [--days N]".to_string()),
    }
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("`{word}` is not a number"))
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

/// What CI asks of planted bugs: each is found once, and a run that shows one can be made smaller.
/// The rarest take some hundreds of seeds, and one more change of the code may make it a thousand.
pub(crate) fn mutants_once() -> Result<(), String> {
    mutants(&["--starts", "1", "--seeds", "2000"].map(str::to_string))?;
    let directory = crate::target().join("mutants");
    let directory = directory.to_string_lossy();
    let test = ["test", "--quiet", "--release", "-p", "muslin-sim", "--features", "mutants"];
    let mut command = process::cargo(&test);
    process::run(command.args(["--bin", "muslin-sim", "--target-dir", &directory, "minimize"]))
}

/// Failure detection at thousands of machines, as tables. `--beside` runs foca in the same worlds.
pub(crate) fn swim(arguments: &[String]) -> Result<(), String> {
    let rest: Vec<&String> = arguments.iter().filter(|word| *word != "--beside").collect();
    if rest.len() < arguments.len() {
        return peers::swim(&rest);
    }
    process::run(process::cargo(&SIM).arg("swim").args(rest))
}
