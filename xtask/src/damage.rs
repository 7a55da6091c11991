//! Injected corruption of logs and snapshots, by the hundred thousand.

use crate::process;

/// Corruptions when none are asked for.
const CASES: u64 = 120_000;

/// The test that spoils files and judges what a store makes of them, printing its counts.
const TEST: &str = "store::file::tests::matrix::a_matrix_of_corruptions";

/// `cargo xtask damage [--cases N] [--seed S]`
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let (mut cases, mut seed) = (CASES.to_string(), "1".to_string());
    for pair in arguments.chunks(2) {
        match pair {
            [flag, number] if flag == "--cases" => cases.clone_from(number),
            [flag, number] if flag == "--seed" => seed.clone_from(number),
            _ => return Err("usage: cargo xtask damage [--cases N] [--seed S]".to_string()),
        }
    }
    let arguments = ["test", "--quiet", "-p", "muslin", "--lib", "--", "--ignored"];
    let mut cargo = process::cargo(&arguments);
    cargo.args(["--exact", TEST, "--nocapture"]);
    cargo.env("MUSLIN_DAMAGE_CASES", cases).env("MUSLIN_DAMAGE_SEED", seed);
    process::run(&mut cargo)
}
