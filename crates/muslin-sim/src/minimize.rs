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

/// One run: what it breaks, if anything.
type Run = fn(&Args, u64) -> Result<(), Violation>;

/// The smallest so far.
struct Best {
    run: Run,
    args: Args,
    seed: u64,
    violation: Violation,
    tried: u64,
}

/// Minimizes the first seed of the arguments that breaks anything.
pub(crate) fn run(args: &Args) -> ExitCode {
    let Some(best) = Best::of(args, |args, seed| run_one(args, seed).map(|_| ())) else {
        println!("nothing is broken in {} seeds", args.seeds);
        return ExitCode::SUCCESS;
    };
    println!("smallest: {}", best.violation);
    println!("tried={} replay: muslin-sim {} --trace", best.tried, best.args.replay(best.seed));
    ExitCode::FAILURE
}

impl Best {
    /// The smallest run there is to be found; `None` when no seed breaks anything.
    fn of(args: &Args, run: Run) -> Option<Best> {
        let seeds = args.from..args.from + args.seeds;
        let found = seeds.into_iter().find_map(|seed| Some((seed, run(args, seed).err()?)));
        let (seed, violation) = found?;
        println!("{violation}");
        let tried = seed - args.from + 1;
        let mut best = Best { run, args: args.clone(), seed, violation, tried };
        while best.shrink_once() {}
        Some(best)
    }

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
        if drawn(self.args.changes.careful) > 0 {
            is_less |= self.try_with(|args| args.changes.careful = Some(0));
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
            let Err(violation) = (self.run)(&args, seed) else { continue };
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

#[cfg(test)]
mod tests {
    use super::*;
    use muslin_sim::Time;

    fn args(words: &[&str]) -> Args {
        Args::parse(words.iter().map(|word| word.to_string())).unwrap()
    }

    /// Breaks R3 where two nodes are parted for a second, in every third seed; and something else
    /// in runs that are shorter.
    fn parted_for_a_second(args: &Args, seed: u64) -> Result<(), Violation> {
        let is_short = args.seconds() < Duration::from_secs(1);
        let is_parted = !args.changes.without.iter().any(|it| it == "partition" || it == "all");
        let invariant = match () {
            () if is_short => "R7",
            () if is_parted && args.nodes >= 2 && seed.is_multiple_of(3) => "R3",
            () => return Ok(()),
        };
        let at = Time(args.seconds().as_nanos() as u64);
        Err(Violation { seed, at, invariant, facts: String::new() })
    }

    #[test]
    fn what_remains_is_what_the_failure_needs_and_it_is_the_same_failure() {
        let args = args(&["--nodes", "5", "--from", "100", "--seeds", "9"]);
        let best = Best::of(&args, parted_for_a_second).expect("seed 102 breaks R3");
        assert_eq!(best.violation.invariant, "R3");
        assert_eq!((best.args.nodes, best.args.seconds()), (2, Duration::from_secs(1)));
        let kept = |(name, _): &(&'static str, _)| {
            !best.args.changes.without.iter().any(|without| without == name)
        };
        let kept: Vec<&str> =
            Faults::kinds().iter().filter(|kind| kept(kind)).map(|kind| kind.0).collect();
        assert_eq!(kept, ["partition"]);
        let changes = &best.args.changes;
        assert_eq!(
            (changes.clients, changes.watchers, changes.holders),
            (Some(0), Some(0), Some(0))
        );
        assert!(parted_for_a_second(&best.args, best.seed).is_err_and(|it| it.invariant == "R3"));
    }

    #[test]
    fn where_nothing_is_broken_there_is_nothing_to_minimize() {
        let args = args(&["--from", "100", "--seeds", "2"]);
        assert!(Best::of(&args, parted_for_a_second).is_none());
    }

    #[cfg(feature = "mutants")]
    #[test]
    fn a_planted_bug_is_shown_by_fewer_nodes_in_less_time() {
        use muslin_core::base::mutant::{self, Mutant};
        let run: Run = |args, seed| run_one(args, seed).map(|_| ());
        let args = args(&["--world", "group", "--nodes", "5"]);
        mutant::activate(Mutant::HeartbeatCommits);
        let first = (args.from..).find_map(|seed| run(&args, seed).err()).unwrap();
        let best = Best::of(&args, run).expect("it was just found");
        assert!(best.args.nodes < 5 && best.args.seconds() < args.seconds(), "{:?}", best.args);
        let again = run(&best.args, best.seed).expect_err("the smallest run breaks what it broke");
        assert_eq!((again.invariant, again.at), (first.invariant, best.violation.at));
        mutant::activate(Mutant::None);
        run(&best.args, best.seed).expect("without the bug the same run is whole");
    }
}
