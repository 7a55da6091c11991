//! Runs raft-rs in Muslin's simulator from the command line: seeds in, violations out.

mod hunt;

use clap::Parser;
use muslin_core::raft::Raft;
use muslin_sim::{Preset, Replica, Summary, Violation};
use peers_differential::{Bug, RaftRs, plant, run};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// raft-rs 0.7 under the faults and checkers of Muslin's simulator.
#[derive(Parser)]
#[command(name = "differential")]
struct Args {
    /// How many seeds (100); with --bugs at most so many for a hunt (2,000).
    #[arg(long)]
    seeds: Option<u64>,
    /// The first one.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Replicas.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=9))]
    nodes: u64,
    /// What kind of run.
    #[arg(long, default_value = "swarm", value_parser = preset)]
    profile: Preset,
    /// How long things go wrong in each run, in seconds of the group.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Muslin's own Raft in the same worlds, to compare with.
    #[arg(long)]
    own: bool,
    /// Plants a bug.
    #[arg(long, value_parser = bug)]
    bug: Option<Bug>,
    /// Hunts every planted bug, or the one of --bug: each must be found.
    #[arg(long)]
    bugs: bool,
    /// Hunts for each, from seeds far apart.
    #[arg(long, default_value_t = 3)]
    starts: u64,
    /// Prints the hash of every run.
    #[arg(long)]
    hashes: bool,
    /// Prints all that happens.
    #[arg(long)]
    trace: bool,
}

fn preset(name: &str) -> Result<Preset, String> {
    let known = Preset::ALL.map(Preset::name).join(", ");
    Preset::named(name).ok_or_else(|| format!("there is no such profile; there are: {known}"))
}

fn bug(name: &str) -> Result<Bug, String> {
    let names: Vec<&str> = Bug::ALL.iter().map(|bug| bug.name()).collect();
    Bug::named(name).ok_or_else(|| format!("there is no such bug; there are: {}", names.join(", ")))
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.bugs {
        std::panic::set_hook(Box::new(|_| {}));
        return hunt::run_hunts(&args);
    }
    // One line for a panic: it becomes a violation, and the seed replays it.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    plant(args.bug);
    match args.own {
        true => run_seeds::<Raft>(&args, "muslin"),
        false => run_seeds::<RaftRs>(&args, "raft-rs"),
    }
}

/// Seeds, unless it is said how many: a look that takes seconds.
const SEEDS: u64 = 100;

/// Figures of many runs.
#[derive(Default)]
struct Sum {
    seeds: u64,
    simulated: Duration,
    events: u64,
    acked: u64,
    reads: u64,
    faults: u64,
    crashes: u64,
    installs: u64,
    terms: u64,
    violations: u64,
}

impl Sum {
    fn add(&mut self, result: &Result<Summary, Violation>) {
        self.seeds += 1;
        let Ok(summary) = result else {
            self.violations += 1;
            return;
        };
        self.simulated += summary.simulated;
        self.events += summary.events;
        self.acked += summary.acked;
        self.reads += summary.reads;
        self.faults += summary.faults;
        self.crashes += summary.crashes;
        self.installs += summary.installs;
        self.terms += summary.terms;
    }
}

fn run_seeds<R: Replica>(args: &Args, name: &str) -> ExitCode {
    let began = Instant::now();
    let mut sum = Sum::default();
    let sink: Option<fn(&str)> = if args.trace { Some(|line| println!("{line}")) } else { None };
    for seed in args.from..args.from + args.seeds.unwrap_or(SEEDS) {
        let of = (seed, args.nodes as usize, args.profile);
        let result = run::<R>(of, Duration::from_secs(args.seconds), sink);
        sum.add(&result);
        match result {
            Ok(summary) if args.hashes => println!("seed={seed} hash={:016x}", summary.hash),
            Ok(_) => {}
            Err(violation) => println!("{violation}"),
        }
    }
    println!(
        "of={name} profile={} nodes={} took_s={:.0} faults={} crashes={} terms={} installs={}",
        args.profile.name(),
        args.nodes,
        began.elapsed().as_secs_f64(),
        sum.faults,
        sum.crashes,
        sum.terms,
        sum.installs,
    );
    println!(
        "seeds={} simulated_s={:.0} events={} acked={} reads={} violations={}",
        sum.seeds,
        sum.simulated.as_secs_f64(),
        sum.events,
        sum.acked,
        sum.reads,
        sum.violations
    );
    if sum.violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
