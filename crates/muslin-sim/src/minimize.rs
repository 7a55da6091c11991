//! Looks for the smallest run that still breaks what a seed breaks.
//!
//! Whatever is taken away from a run changes all that is drawn after it, so each smaller run is
//! tried with the seed at hand and with some others: it stands if any of them breaks the same
//! invariant, and the search goes on with that seed.

use crate::args::Args;
use crate::run_one;
use muslin_sim::{Faults, Violation};
use std::process::ExitCode;
use std::time::Duration;

/// Seeds that a smaller run is tried with.
const TRIES: u64 = 60;

/// A run is not cut shorter than this: elections take a while.
const SHORTEST: Duration = Duration::from_millis(500);

/// The smallest so far.
struct Best {
    args: Args,
    seed: u64,
    violation: Violation,
    tried: u64,
}

/// Minimizes the first seed of the arguments that breaks anything.
pub(crate) fn run(args: &Args) -> ExitCode {
    let mut tried = 0;
    let found = (args.from..args.from + args.seeds).find_map(|seed| {
        tried += 1;
        run_one(args, seed).err().map(|violation| (seed, violation))
    });
    let Some((seed, violation)) = found else {
        println!("nothing is broken in {tried} seeds");
        return ExitCode::SUCCESS;
    };
    println!("{violation}");
    let mut best = Best { args: args.clone(), seed, violation, tried };
    while best.shrink_once() {}
    println!("smallest: {}", best.violation);
    println!("tried={} replay: muslin-sim {} --trace", best.tried, best.args.replay(best.seed));
    ExitCode::FAILURE
}

impl Best {
    /// One round over everything that could be less; whether anything was.
    fn shrink_once(&mut self) -> bool {
        let mut is_smaller = false;
        for nodes in 1..self.args.nodes {
            if self.try_with(|args| args.nodes = nodes) {
                is_smaller = true;
                break;
            }
        }
        is_smaller |= self.shorten();
        if !self.args.changes.without.iter().any(|it| it == "all") {
            is_smaller |= self.try_with(|args| args.changes.without = vec!["all".to_string()]);
        }
        for (name, _) in Faults::kinds() {
            let has = |it: &String| it == name || it == "all";
            if !self.args.changes.without.iter().any(has) {
                is_smaller |= self.try_with(|args| args.changes.without.push(name.to_string()));
            }
        }
        is_smaller | self.dismiss()
    }

    /// Half as long, or as long as it took.
    fn shorten(&mut self) -> bool {
        let now = self.args.seconds();
        let needed = Duration::from_nanos(self.violation.at.0).min(now);
        let mut is_shorter = false;
        for seconds in [needed / 2, needed * 3 / 4, needed] {
            let seconds = rounded(seconds).max(SHORTEST);
            if seconds < now && self.try_with(|args| args.set_seconds(seconds)) {
                is_shorter = true;
                break;
            }
        }
        is_shorter
    }

    /// Fewer clients of each sort.
    fn dismiss(&mut self) -> bool {
        let drawn = |count: Option<usize>| count.unwrap_or(usize::MAX);
        let mut is_less = false;
        for clients in [0, 1, 2, 4] {
            if clients < drawn(self.args.changes.clients)
                && self.try_with(|args| args.changes.clients = Some(clients))
            {
                is_less = true;
                break;
            }
        }
        if drawn(self.args.changes.watchers) > 0 {
            is_less |= self.try_with(|args| args.changes.watchers = Some(0));
        }
        if drawn(self.args.changes.holders) > 0 {
            is_less |= self.try_with(|args| args.changes.holders = Some(0));
        }
        is_less
    }

    /// Whether a smaller run still breaks the same invariant; it is the best from here on then.
    fn try_with(&mut self, change: impl FnOnce(&mut Args)) -> bool {
        let mut args = self.args.clone();
        change(&mut args);
        let seeds = std::iter::once(self.seed).chain(1..=TRIES);
        for seed in seeds {
            self.tried += 1;
            let Err(violation) = run_one(&args, seed) else { continue };
            if violation.invariant == self.violation.invariant {
                println!("  {} at {}", args.replay(seed), violation.at);
                (self.args, self.seed, self.violation) = (args, seed, violation);
                return true;
            }
        }
        false
    }
}

/// Up to the next tenth of a second: a number that a person can type.
fn rounded(duration: Duration) -> Duration {
    Duration::from_millis(duration.as_millis().div_ceil(100) as u64 * 100)
}
