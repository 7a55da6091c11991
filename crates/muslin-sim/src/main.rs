//! Runs simulated clusters from the command line: seeds in, violations out.

mod args;
#[cfg(feature = "mutants")]
mod grounds;
#[cfg(feature = "mutants")]
mod hunt;
mod minimize;

use args::{Args, Command, Kind};
use muslin_sim::swim::{self, Engine, Ours};
use muslin_sim::{Cluster, Group, Summary, Violation};
use std::process::ExitCode;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    #[cfg(feature = "mutants")]
    if std::env::args().nth(1).is_some_and(|word| word == "mutants") {
        return hunt::run(std::env::args().skip(2));
    }
    if std::env::args().nth(1).is_some_and(|word| word == "swim") {
        let engines = [Engine::of::<Ours>()];
        return swim::campaign(&engines, std::env::args().skip(2));
    }
    let args = match Args::parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(why) => {
            eprintln!("{why}\n\n{}", args::USAGE);
            return ExitCode::from(2);
        }
    };
    if let Err(why) = activate(&args) {
        eprintln!("{why}");
        return ExitCode::from(2);
    }
    // One line for a panic: it becomes a violation, and the seed replays it.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    match args.command {
        Command::Help => {
            println!("{}", args::USAGE);
            ExitCode::SUCCESS
        }
        Command::Seeds if args.minimize => minimize::run(&args),
        Command::Seeds => run_seeds(&args),
    }
}

/// Mixes the hashes of runs: any odd number with bits all over would do.
const HASH_PRIME: u64 = 0x9e37_79b9_7f4a_7c15;

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
    /// Of the hashes of all runs, in order.
    hash: u64,
}

impl Sum {
    fn add(&mut self, result: &Result<Summary, Violation>) {
        self.seeds += 1;
        match result {
            Ok(summary) => {
                self.hash = (self.hash ^ summary.hash).wrapping_mul(HASH_PRIME).rotate_left(23);
                self.simulated += summary.simulated;
                self.events += summary.events;
                self.acked += summary.acked;
                self.reads += summary.reads;
                self.faults += summary.faults;
                self.crashes += summary.crashes;
                self.installs += summary.installs;
                self.terms += summary.terms;
            }
            Err(_) => self.violations += 1,
        }
    }
}

/// Days are given up after so many violations: they bring no time forward.
const VIOLATIONS_MAX: u64 = 20;

const SECONDS_A_DAY: f64 = 86_400.0;

fn run_seeds(args: &Args) -> ExitCode {
    let began = Instant::now();
    let mut sum = Sum::default();
    for seed in args.from.. {
        let enough = match args.days {
            Some(days) => {
                sum.simulated.as_secs_f64() >= days * SECONDS_A_DAY
                    || sum.violations >= VIOLATIONS_MAX
            }
            None => sum.seeds == args.seeds,
        };
        if enough {
            break;
        }
        let result = run_one(args, seed);
        sum.add(&result);
        match result {
            Ok(summary) if args.hash => println!("seed={seed} hash={:016x}", summary.hash),
            Ok(_) => {}
            Err(violation) => {
                println!("{violation}");
                println!("replay: muslin-sim {} --trace", args.replay(seed));
            }
        }
    }
    let took = began.elapsed().as_secs_f64().max(1e-9);
    // Of this process alone, whatever else the machine does.
    let core = cpu_seconds().unwrap_or(took).max(1e-9);
    let simulated = sum.simulated.as_secs_f64();
    println!(
        "core_s={core:.1} reads={} faults={} crashes={} terms={} installs={} x_real_time={:.0} \
         x_core={:.0} events_per_core_s={:.0}",
        sum.reads,
        sum.faults,
        sum.crashes,
        sum.terms,
        sum.installs,
        simulated / took,
        simulated / core,
        sum.events as f64 / core
    );
    println!(
        "seeds={} nodes={} simulated_s={simulated:.0} events={} events_per_s={:.0} acked={} \
         violations={} all={:016x}",
        sum.seeds,
        args.nodes,
        sum.events,
        sum.events as f64 / took,
        sum.acked,
        sum.violations,
        sum.hash
    );
    if sum.violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_one(args: &Args, seed: u64) -> Result<Summary, Violation> {
    macro_rules! run {
        ($of:expr) => {{
            let mut run = $of.nodes(args.nodes).preset(args.preset);
            let profile = args.changes.apply(run.drawn());
            run = run.profile(profile);
            if args.trace {
                println!("{:#?}", run.drawn());
                run = run.trace(|line| println!("{line}"));
            }
            run.run(args.seconds())
        }};
    }
    match args.world {
        Kind::Nodes => run!(Cluster::seeded(seed)),
        Kind::Group => run!(Group::<muslin_core::raft::Raft>::seeded(seed)),
    }
}

/// Seconds of one core that this process has used.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Fields 14 and 15, counted from the one after the name: user and system time, in hundredths.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / 100.0)
}

#[cfg(feature = "mutants")]
fn activate(args: &Args) -> Result<(), String> {
    use muslin_core::base::mutant::{self, Mutant};
    let Some(name) = &args.mutant else { return Ok(()) };
    let names: Vec<&str> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
    let found = Mutant::named(name)
        .ok_or_else(|| format!("there is no mutant {name}; there are: {}", names.join(", ")))?;
    mutant::activate(found);
    Ok(())
}

#[cfg(not(feature = "mutants"))]
fn activate(args: &Args) -> Result<(), String> {
    if args.mutant.is_none() {
        return Ok(());
    }
    Err("planted bugs need the feature: build with `--features mutants`".into())
}
