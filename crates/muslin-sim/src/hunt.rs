//! Hunting planted bugs: how many seeds each one takes to be seen, and by what.
//!
//! A planted bug is a switch of the whole process, so each is hunted in a process of its own; as
//! many run side by side as the machine has cores. Each is hunted several times, from seeds far
//! apart: one lucky seed says nothing.

use crate::grounds::{Ground, World, ground};
use muslin_core::base::mutant::{self, Mutant};
use muslin_sim::{Preset, Violation};
use std::collections::BTreeMap;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Hunts begin this far apart.
const START_EVERY: u64 = 1_000_000;

/// How to use it.
const USAGE: &str = "\
usage: muslin-sim mutants [options]    run every planted bug until it is found

  --seeds MAX      seeds of one hunt, after which the bug has survived (default 1000)
  --starts N       hunts for each bug, from seeds far apart (default 3)
  --from S         the first seed (default 1)
  --mutant NAME    this planted bug only
  --world NAME     nodes, group or one made for a bug, not where the bug shows soonest
  --profile NAME   in this profile
  --nodes K        with so many nodes
  --seconds S      how long things go wrong, in seconds of the cluster (default 10)";

/// What the command line says.
struct Args {
    seeds: u64,
    starts: u64,
    from: u64,
    seconds: u64,
    mutant: Option<Mutant>,
    world: Option<World>,
    preset: Option<Preset>,
    nodes: Option<usize>,
}

impl Args {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
        let mut args = Args {
            seeds: 1_000,
            starts: 3,
            from: 1,
            seconds: 10,
            mutant: None,
            world: None,
            preset: None,
            nodes: None,
        };
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
            let number = || value.parse::<u64>().map_err(|_| format!("{word} needs a number"));
            match word.as_str() {
                "--seeds" => args.seeds = number()?,
                "--starts" => args.starts = number()?.max(1),
                "--from" => args.from = number()?,
                "--seconds" => args.seconds = number()?,
                "--nodes" => args.nodes = Some(number()?.clamp(1, 9) as usize),
                "--mutant" => {
                    let named = Mutant::named(&value);
                    args.mutant = Some(named.ok_or_else(|| format!("no mutant {value}"))?);
                }
                "--world" => {
                    let named = World::named(&value);
                    args.world = Some(named.ok_or_else(|| format!("no world {value}"))?);
                }
                "--profile" => {
                    let named = Preset::named(&value);
                    args.preset = Some(named.ok_or_else(|| format!("no profile {value}"))?);
                }
                other => return Err(format!("unknown argument {other}")),
            }
        }
        Ok(args)
    }

    /// The same for a process that hunts one bug.
    fn words(&self, planted: Mutant) -> Vec<String> {
        let mut words = vec!["--mutant".to_string(), planted.name().to_string()];
        let mut add = |name: &str, value: String| words.extend([name.to_string(), value]);
        add("--seeds", self.seeds.to_string());
        add("--starts", self.starts.to_string());
        add("--from", self.from.to_string());
        add("--seconds", self.seconds.to_string());
        if let Some(world) = self.world {
            add("--world", world.name().to_string());
        }
        if let Some(preset) = self.preset {
            add("--profile", preset.name().to_string());
        }
        if let Some(nodes) = self.nodes {
            add("--nodes", nodes.to_string());
        }
        words
    }
}

/// What hunting one planted bug came to.
#[derive(Default)]
struct Catch {
    /// Seeds looked at by each hunt that found it, the last one included.
    seeds: Vec<u64>,
    /// The first seed that showed it.
    first: Option<(u64, Violation)>,
    /// How often it was which invariant.
    by: BTreeMap<&'static str, u64>,
    missed: u64,
    /// Seeds that fail without the bug as well, which no seed may.
    broken: u64,
}

/// Hunts all planted bugs, or the one that is named.
pub(crate) fn run(words: impl Iterator<Item = String>) -> ExitCode {
    let args = match Args::parse(words) {
        Ok(args) => args,
        Err(why) => {
            eprintln!("{why}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    std::panic::set_hook(Box::new(|_| {}));
    match args.mutant {
        Some(planted) => hunt_here(&args, planted),
        None => hunt_all(&args),
    }
}

fn hunt_here(args: &Args, planted: Mutant) -> ExitCode {
    let began = Instant::now();
    let Some(usual) = ground(planted) else {
        println!("elsewhere {:<26} no world of the simulator shows it", planted.name());
        return ExitCode::SUCCESS;
    };
    let ground = Ground {
        world: args.world.unwrap_or(usual.world),
        preset: args.preset.unwrap_or(usual.preset),
        nodes: args.nodes.unwrap_or(usual.nodes),
    };
    let time = Duration::from_secs(args.seconds);
    let mut caught = Catch::default();
    for start in 0..args.starts {
        let from = args.from + start * START_EVERY;
        let found = (from..from + args.seeds).find_map(|seed| {
            mutant::activate(planted);
            let violation = ground.run(seed, time).err()?;
            // The same run of the same world: only the planted bug may make the difference.
            mutant::activate(Mutant::None);
            if ground.run(seed, time).is_err() {
                caught.broken += 1;
                return None;
            }
            Some((seed, violation))
        });
        match found {
            Some((seed, violation)) => caught.add(seed - from + 1, (seed, violation)),
            None => caught.missed += 1,
        }
    }
    let took = began.elapsed();
    println!("{}", caught.line(planted, ground, took));
    if caught.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Catch {
    fn add(&mut self, seeds: u64, found: (u64, Violation)) {
        self.seeds.push(seeds);
        *self.by.entry(found.1.invariant).or_default() += 1;
        self.first.get_or_insert(found);
    }

    fn is_whole(&self) -> bool {
        self.missed == 0 && self.broken == 0
    }

    fn line(&self, planted: Mutant, ground: Ground, took: Duration) -> String {
        let mut seeds = self.seeds.clone();
        seeds.sort_unstable();
        let verdict = match (self.missed, self.broken) {
            (0, 0) => "caught  ",
            (_, 0) => "survived",
            _ => "broken  ",
        };
        let by: Vec<String> = self.by.iter().map(|(by, times)| format!("{by} x{times}")).collect();
        let median = seeds.get(seeds.len() / 2).map_or("-".into(), u64::to_string);
        let most = seeds.last().map_or("-".into(), u64::to_string);
        let seed = self.first.as_ref().map_or("-".into(), |(seed, _)| seed.to_string());
        format!(
            "{verdict} {:<26} median={median:<5} most={most:<5} of={:<2} {:<9} {:<6} \
             nodes={} seed={seed:<8} took={:<5.1} by={}",
            planted.name(),
            self.seeds.len() as u64 + self.missed,
            ground.world.name(),
            ground.preset.name(),
            ground.nodes,
            took.as_secs_f64(),
            by.join(", ")
        )
    }
}

/// Each in a process of its own, several at a time.
fn hunt_all(args: &Args) -> ExitCode {
    let began = Instant::now();
    let hunted: Vec<Mutant> =
        Mutant::ALL.iter().copied().filter(|planted| ground(*planted).is_some()).collect();
    let waiting = Mutex::new(hunted.iter().copied());
    let caught = Mutex::new(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().expect("nobody panics with it").next();
                    let Some(planted) = next else { return };
                    if hunt_apart(args, planted) {
                        *caught.lock().expect("nobody panics with it") += 1;
                    }
                }
            });
        }
    });
    let caught = *caught.lock().expect("nobody panics with it");
    let all = hunted.len();
    println!("took={:.0}s", began.elapsed().as_secs_f64());
    println!("caught={caught} of {all}");
    if caught == all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether one planted bug was caught in every hunt of a process of its own.
fn hunt_apart(args: &Args, planted: Mutant) -> bool {
    let mut command = match std::env::current_exe() {
        Ok(this) => Command::new(this),
        Err(error) => {
            println!("survived {:<26} this program cannot be run again: {error}", planted.name());
            return false;
        }
    };
    command.arg("mutants").args(args.words(planted)).stderr(Stdio::null());
    match command.output() {
        Ok(output) => {
            print!("{}", String::from_utf8_lossy(&output.stdout));
            if output.stdout.is_empty() {
                println!("survived {:<26} its process ended: {}", planted.name(), output.status);
            }
            output.status.success()
        }
        Err(error) => {
            println!("survived {:<26} its process did not start: {error}", planted.name());
            false
        }
    }
}
