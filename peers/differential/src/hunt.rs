//! Hunts the planted bugs: what the simulator is worth with another implementation in it.

use crate::Args;
use muslin_sim::Preset;
use peers_differential::{Bug, RaftRs, plant, run};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

/// Hunts begin so many seeds apart.
const START_EVERY: u64 = 1_000_000;

/// Seeds of a hunt at most, unless it is said how many.
const SEEDS_MAX: u64 = 2_000;

/// Where a bug shows.
fn ground(bug: Bug) -> Preset {
    match bug {
        Bug::SnapshotWithoutVoters | Bug::JointNotApplied => Preset::Churn,
        Bug::ReadIdReused => Preset::Nasty,
        Bug::LeadsBeforeVoted => Preset::Admit,
        _ => Preset::Swarm,
    }
}

/// What hunting one bug came to.
#[derive(Default)]
struct Catch {
    /// Seeds looked at by each hunt that found it, the last one included.
    seeds: Vec<u64>,
    /// How often it was which invariant.
    by: BTreeMap<&'static str, u64>,
    missed: u64,
}

/// Hunts each, or the one asked for; the exit code says whether every hunt found its bug.
pub(crate) fn run_hunts(args: &Args) -> ExitCode {
    let all: Vec<Bug> = match args.bug {
        Some(bug) => vec![bug],
        None => Bug::ALL.to_vec(),
    };
    let mut caught = 0;
    for bug in &all {
        let catch = hunt(args, *bug);
        println!("{}", catch.line(*bug));
        caught += u64::from(catch.missed == 0);
    }
    println!("caught={caught} of {}", all.len());
    if caught == all.len() as u64 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn hunt(args: &Args, bug: Bug) -> Catch {
    plant(Some(bug));
    let mut catch = Catch::default();
    for start in 0..args.starts {
        let from = args.from + start * START_EVERY;
        let found = (from..from + args.seeds.unwrap_or(SEEDS_MAX)).find_map(|seed| {
            let of = (seed, args.nodes as usize, ground(bug));
            let violation = run::<RaftRs>(of, Duration::from_secs(args.seconds), None).err()?;
            Some((seed - from + 1, violation.invariant))
        });
        match found {
            Some((seeds, invariant)) => {
                catch.seeds.push(seeds);
                *catch.by.entry(invariant).or_default() += 1;
            }
            None => catch.missed += 1,
        }
    }
    plant(None);
    catch
}

impl Catch {
    fn line(&self, bug: Bug) -> String {
        let mut seeds = self.seeds.clone();
        seeds.sort_unstable();
        let verdict = if self.missed == 0 { "caught  " } else { "survived" };
        let by: Vec<String> = self.by.iter().map(|(by, times)| format!("{by} x{times}")).collect();
        let told = |seeds: Option<&u64>| seeds.map_or("-".into(), u64::to_string);
        format!(
            "{verdict} {:<24} median={:<5} most={:<5} of={:<2} {:<5} by={}",
            bug.name(),
            told(seeds.get(seeds.len() / 2)),
            told(seeds.last()),
            self.seeds.len() as u64 + self.missed,
            ground(bug).name(),
            by.join(", ")
        )
    }
}
