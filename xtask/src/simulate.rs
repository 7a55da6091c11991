//! The simulator, in the three ways it is run.

use crate::{campaign, peers, process};

/// Days of a simulated year.
const YEAR: u64 = 365;

/// `muslin-sim ARGS`, in release: a debug build is far too slow for thousands of seeds. `--year`
/// and `--days N [--from S]` are campaigns over all kinds of world, on all cores.
pub(crate) fn sim(arguments: &[String]) -> Result<(), String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["--year"] => campaign(YEAR, 1),
        ["--days", days] => campaign(number(days)?, 1),
        ["--days", days, "--from", from] => campaign(number(days)?, number(from)?),
        _ => process::run(process::cargo(&SIM).args(arguments)),
    }
}

const SIM: [&str; 6] = ["run", "--quiet", "--release", "-p", "muslin-sim", "--"];

fn campaign(days: u64, from: u64) -> Result<(), String> {
    build()?;
    campaign::run(days, from)
}

fn build() -> Result<(), String> {
    process::run(&mut process::cargo(&["build", "--release", "-p", "muslin-sim"]))
}

/// Every seed of so many days in two processes; their traces must have the same hash.
pub(crate) fn determinism(arguments: &[String]) -> Result<(), String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let days = match words[..] {
        [] => campaign::CI_DAYS,
        ["--days", days] => number(days)?,
        _ => return Err("usage: cargo xtask determinism [--days N]".to_string()),
    };
    build()?;
    campaign::determinism(days, 1)
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
    process::run(command.args(["--bin", "muslin-sim", "--target-dir", &directory, "minimize"]))?;
    // Those that show in a script of the core, each alone in its process.
    let core = ["test", "--quiet", "--release", "-p", "muslin-core", "--features", "mutants"];
    let mut command = process::cargo(&core);
    let planted = ["bugs_planted", "--", "--ignored", "--test-threads=1"];
    process::run(command.args(["--lib", "--target-dir", &directory]).args(planted))
}

/// Failure detection at thousands of machines, as tables. `--beside` runs foca in the same worlds.
pub(crate) fn swim(arguments: &[String]) -> Result<(), String> {
    let rest: Vec<&String> = arguments.iter().filter(|word| *word != "--beside").collect();
    if rest.len() < arguments.len() {
        return peers::swim(&rest);
    }
    process::run(process::cargo(&SIM).arg("swim").args(rest))
}
