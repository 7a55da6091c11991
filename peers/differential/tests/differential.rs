//! raft-rs in the simulator: few seeds of many kinds; the command runs thousands.

use muslin_sim::Preset;
use peers_differential::{Bug, RaftRs, plant, run};
use std::process::Command;
use std::time::Duration;

const TIME: Duration = Duration::from_secs(4);

/// Seeds of one kind of run; each must hold, and together they must come to something.
fn hold(preset: Preset, nodes: usize, seeds: std::ops::Range<u64>) {
    let (mut acked, mut reads, mut terms) = (0, 0, 0);
    for seed in seeds {
        let summary = run::<RaftRs>((seed, nodes, preset), TIME, None);
        let summary = summary.unwrap_or_else(|violation| panic!("{violation}"));
        acked += summary.acked;
        reads += summary.reads;
        terms += summary.terms;
    }
    assert!(acked > 0 && reads > 0 && terms > 0, "nothing happened");
}

#[test]
fn raft_rs_holds_under_faults_of_all_kinds() {
    hold(Preset::Swarm, 3, 0..12);
    hold(Preset::Swarm, 5, 0..4);
}

#[test]
fn raft_rs_holds_when_messages_are_lost_doubled_and_reordered() {
    hold(Preset::Nasty, 3, 0..6);
}

#[test]
fn raft_rs_holds_while_voters_come_and_go() {
    hold(Preset::Churn, 3, 0..6);
    hold(Preset::Admit, 3, 0..6);
}

/// The seeds and hashes that another process prints.
fn hashes() -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_differential"));
    let output = command.args(["--seeds", "4", "--seconds", "3", "--profile", "churn", "--hashes"]);
    let output = output.output().expect("the command was built with this test");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("it prints text");
    text.lines().filter(|line| line.starts_with("seed=")).map(str::to_owned).collect()
}

#[test]
fn a_seed_is_the_same_run_in_every_process() {
    let first = hashes();
    assert_eq!(first.len(), 4);
    assert_eq!(first, hashes());
}

/// Bugs that show in a seed or two; the command hunts them all.
#[test]
fn planted_bugs_are_found() {
    let found = |bug: Bug| {
        plant(Some(bug));
        (0..20).find_map(|seed| run::<RaftRs>((seed, 3, Preset::Swarm), TIME, None).err())
    };
    for (bug, invariant) in [
        (Bug::AckBeforePersisted, "R5"),
        (Bug::VoteNotPersisted, "R5"),
        (Bug::CountsUnsynced, "R3"),
        (Bug::ReadBeforeApplied, "R7"),
    ] {
        assert_eq!(found(bug).map(|it| it.invariant), Some(invariant), "{}", bug.name());
    }
}
