//! Many scenes, on all cores, and the tables they make.

use super::table::{self, Row};
use super::{Lag, Outcome, Peer, Plan, Scene};
use crate::checkers::Violation;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How to use it.
const USAGE: &str = "\
usage: swim [options]    failure detection at thousands of machines in virtual time, as tables

  --quick          short times and few deaths (a minute or two)
  --full           an hour of quiet wherever the target speaks of one
  --seeds N        each scene with so many seeds (default 1)
  --from S         the first of them (default 1)
  --only WORDS     scenes whose description contains this
  --jobs N         scenes side by side (default: one for each core)
  -o FILE          writes the tables there, too";

/// An implementation, and what it can do.
#[derive(Clone, Copy)]
pub struct Engine {
    pub(crate) name: &'static str,
    pub(crate) seal_bytes: usize,
    run: fn(&Plan, u64) -> Result<Outcome, Violation>,
    /// Why a plan is none for it.
    refusal: fn(&Plan) -> Option<&'static str>,
}

impl Engine {
    /// One that can do everything.
    pub fn of<P: Peer>() -> Engine {
        Engine { name: P::NAME, seal_bytes: P::SEAL_BYTES, run: Plan::run::<P>, refusal: |_| None }
    }

    /// One that says what it cannot do.
    #[must_use]
    pub fn except(self, refusal: fn(&Plan) -> Option<&'static str>) -> Engine {
        Engine { refusal, ..self }
    }
}

/// How long things take.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Length {
    Quick,
    Usual,
    Full,
}

struct Args {
    length: Length,
    seeds: u64,
    from: u64,
    only: String,
    jobs: usize,
    output: Option<String>,
}

impl Args {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (length, only, output) = (Length::Usual, String::new(), None);
        let mut args = Args { length, seeds: 1, from: 1, only, jobs: cores, output };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--quick" => args.length = Length::Quick,
                "--full" => args.length = Length::Full,
                _ => {
                    let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
                    args.set(&word, value)?;
                }
            }
        }
        Ok(args)
    }

    fn set(&mut self, word: &str, value: String) -> Result<(), String> {
        let number = || value.parse::<u64>().map_err(|_| format!("{word} needs a number"));
        match word {
            "--seeds" => self.seeds = number()?.max(1),
            "--from" => self.from = number()?,
            "--jobs" => self.jobs = number()?.max(1) as usize,
            "--only" => self.only = value,
            "-o" => self.output = Some(value),
            other => return Err(format!("unknown argument {other}")),
        }
        Ok(())
    }
}

/// Views so large that only one world of them fits the memory at a time.
const LARGE_VIEWS: usize = 4_000_000;

/// One world to run.
struct Job {
    row: usize,
    seed: u64,
}

/// Runs all scenes with all engines, as the command line says; fails when an invariant is broken.
pub fn campaign(engines: &[Engine], words: impl Iterator<Item = String>) -> ExitCode {
    let args = match Args::parse(words) {
        Ok(args) => args,
        Err(why) => {
            eprintln!("{why}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let began = Instant::now();
    let mut rows = rows(engines, &args);
    let violations = run_all(&args, &mut rows);
    let text = table::text(&rows, began.elapsed());
    println!("{text}");
    for violation in &violations {
        println!("{violation}");
    }
    if let Some(path) = &args.output
        && let Err(error) = std::fs::write(path, text)
    {
        eprintln!("{path} cannot be written: {error}");
        return ExitCode::FAILURE;
    }
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn rows(engines: &[Engine], args: &Args) -> Vec<Row> {
    let mut rows = Vec::new();
    for plan in plans(args.length) {
        for engine in engines {
            let refusal = (engine.refusal)(&plan);
            let row = Row { engine: *engine, plan: plan.clone(), refusal, outcome: None };
            if row.to_string().contains(&args.only) {
                rows.push(row);
            }
        }
    }
    rows
}

/// What is measured.
fn plans(length: Length) -> Vec<Plan> {
    let pick = |quick: u64, usual: u64, full: u64| match length {
        Length::Quick => quick,
        Length::Usual => usual,
        Length::Full => full,
    };
    let time = |quick, usual, full| Duration::from_secs(60 * pick(quick, usual, full));
    let plan =
        |nodes, loss_ppm, scene| Plan { scene, nodes, slice: None, loss_ppm, is_fast: false };
    let mut plans = Vec::new();
    for (nodes, quiet, kills) in [
        (100, time(30, 60, 60), pick(5, 20, 20)),
        (1_000, time(3, 15, 60), pick(3, 10, 10)),
        (5_000, time(1, 3, 60), pick(1, 5, 5)),
    ] {
        for loss_ppm in [0, 10_000, 100_000] {
            let kills = kills as usize;
            plans.push(plan(nodes, loss_ppm, Scene::Deaths { quiet, kills }));
        }
    }
    for loss_ppm in [10_000, 100_000] {
        let (quiet, kills) = (time(1, 2, 10), pick(1, 5, 5) as usize);
        let scene = Scene::Deaths { quiet, kills };
        plans.push(Plan { slice: Some(SLICE), ..plan(20_000, loss_ppm, scene) });
    }
    for (nodes, quiet) in [(100, time(10, 30, 60)), (1_000, time(2, 5, 10))] {
        for seconds in [5, 10] {
            let late = Duration::from_secs(seconds);
            let both = Lag { reads: late, sends: late };
            for lag in [Lag { sends: Duration::ZERO, ..both }, both] {
                plans.push(plan(nodes, 0, Scene::Slow { lag, quiet, kills: 3 }));
            }
        }
    }
    for nodes in [100, 1_000] {
        plans.push(plan(nodes, 10_000, Scene::Heal));
    }
    for (nodes, newcomers) in [(100, 30), (100, 200), (1_000, 200)] {
        plans.push(plan(nodes, 10_000, Scene::Joins { newcomers }));
    }
    plans
}

/// Neighbours that a node of a sliced cluster follows.
const SLICE: usize = 32;

fn run_all(args: &Args, rows: &mut [Row]) -> Vec<Violation> {
    let mut jobs: Vec<Job> = Vec::new();
    for (place, row) in rows.iter().enumerate().filter(|(_, row)| row.refusal.is_none()) {
        let _ = row;
        jobs.extend((args.from..args.from + args.seeds).map(|seed| Job { row: place, seed }));
    }
    // The longest last, since jobs are taken from the end.
    jobs.sort_by_key(|job| (rows[job.row].plan.cost(), job.row));
    let (jobs, done) = (Mutex::new(jobs), Mutex::new((rows, Vec::new())));
    let large = Mutex::new(());
    std::thread::scope(|scope| {
        for _ in 0..args.jobs {
            scope.spawn(|| {
                loop {
                    let Some(job) = jobs.lock().expect(UNPOISONED).pop() else { return };
                    let (engine, plan) = {
                        let row = &done.lock().expect(UNPOISONED).0[job.row];
                        (row.engine, row.plan.clone())
                    };
                    let _alone = plan.is_large().then(|| large.lock().expect(UNPOISONED));
                    let result = (engine.run)(&plan, job.seed);
                    let (rows, violations) = &mut *done.lock().expect(UNPOISONED);
                    match result {
                        Ok(outcome) => rows[job.row].add(outcome),
                        Err(violation) => violations.push(violation),
                    }
                    eprintln!("{}", rows[job.row]);
                }
            });
        }
    });
    done.into_inner().expect(UNPOISONED).1
}

const UNPOISONED: &str = "worlds catch their own panics";

impl Plan {
    fn is_large(&self) -> bool {
        self.slice.is_none() && self.nodes * self.nodes > LARGE_VIEWS
    }

    /// Roughly how much there is to compute.
    fn cost(&self) -> u64 {
        let time = match self.scene {
            Scene::Deaths { quiet, kills } | Scene::Slow { quiet, kills, .. } => {
                quiet.as_secs() + 30 * kills as u64
            }
            Scene::Heal | Scene::Joins { .. } => 120,
        };
        self.nodes as u64 * time
    }
}
