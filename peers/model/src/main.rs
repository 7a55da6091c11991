//! Small parts of Muslin, checked in every state that they can come to within bounds.
//!
//! What runs here is the product's own code, cloned and stepped by the model checker. The simulator
//! looks at long runs of whole clusters; this looks at all short runs of one group. Each model is
//! checked as it is, and then with planted bugs, which it must find: a model that cannot see a bug
//! shows nothing.

mod configuration;
mod fingerprint;
mod leadership;
mod nodes;
mod record;
mod replicas;
mod rest;
mod seats;

use configuration::{Bounds, Changing};
use leadership::{Bounds as Leadership, Leading};
use muslin_core::base::mutant::{self, Mutant};
use seats::{Bounds as Seats, Seating};
use stateright::{Checker, Expectation, HasDiscoveries, Model};
use std::fmt::Debug;
use std::hash::Hash;
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "\
usage: peers-model [--times N] [--only changes|seats|leaders]

  --times N    N times as many states of each model
  --only KIND  models of this kind alone";

/// Kinds of model.
const CHANGES: &str = "changes";
const SEATS: &str = "seats";
const LEADERS: &str = "leaders";

/// What the command line says: how many times as many states, and of which kind.
fn arguments() -> Option<(usize, Option<String>)> {
    let (mut times, mut only) = (1, None);
    let mut words = std::env::args().skip(1);
    while let Some(flag) = words.next() {
        let value = words.next()?;
        match flag.as_str() {
            "--times" => times = value.parse().ok()?,
            "--only" if [CHANGES, SEATS, LEADERS].contains(&value.as_str()) => only = Some(value),
            _ => return None,
        }
    }
    Some((times, only))
}

/// States that are made of each model of changing voters: enough to find every planted bug.
const CHANGES_STATES: usize = 80_000;

/// States that are made of each model of named leaders. From each new one the groups must come to
/// rest, which costs as much as some twenty states.
const LEADERS_STATES: usize = 30_000;

/// Voters change: one by one, in pairs, and one by one among three replicas that lose their disks.
const SINGLE: Bounds = Bounds { voters: 4, elections: 2, changes: 2, pairs: false, losses: 0 };
const PAIRS: Bounds = Bounds { pairs: true, ..SINGLE };
const LOSSES: Bounds = Bounds { voters: 3, elections: 2, changes: 1, pairs: true, losses: 1 };

/// States that are made of each model of seats, at most: more than there are.
const SEATS_STATES: usize = 20_000_000;

/// Who is to vote, with so many control nodes in two zones: all that can come of deaths, returns
/// and drains.
const SEATS_OF_3: Seats = Seats { nodes: 3, dead: 3, drained: 3, promoted: 1 };
const SEATS_OF_4: Seats = Seats { nodes: 4, dead: 2, drained: 2, promoted: 1 };
const SEATS_OF_5: Seats = Seats { nodes: 5, dead: 2, drained: 1, promoted: 0 };

/// One group of three whose leader is named, with each kind of trouble in a model of its own, and
/// three groups on three nodes, one of them on two of these.
const NAMED: Leadership = Leadership {
    groups: &[&[1, 2, 3]],
    nodes: 3,
    decisions: 2,
    depositions: 0,
    beliefs: 0,
    commands: 0,
    restarts: 0,
    losses: 0,
    late: 0,
    fallbacks: 0,
    terms: 3,
};
const CROSSED: Leadership = Leadership { decisions: 4, terms: 1, ..NAMED };
const DECIDERS: Leadership = Leadership { depositions: 1, decisions: 3, beliefs: 1, ..NAMED };
const RESTARTS: Leadership = Leadership { restarts: 2, decisions: 1, ..NAMED };
const COMMANDS: Leadership = Leadership { restarts: 1, commands: 1, ..NAMED };
const LATE: Leadership = Leadership { late: 1, commands: 1, ..NAMED };
const FALLBACK: Leadership = Leadership { fallbacks: 2, decisions: 1, ..NAMED };
const EMPTIED: Leadership = Leadership { losses: 1, decisions: 1, ..NAMED };
const SHARED: Leadership =
    Leadership { groups: &[&[1, 2, 3], &[1, 2, 3], &[1, 2]], decisions: 3, ..NAMED };

fn main() -> ExitCode {
    let Some((times, only)) = arguments() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    // A planted bug may end in a panic of the core's own asserts: that is found, too.
    std::panic::set_hook(Box::new(|_| {}));
    let mut sum = Sum::default();
    let is_asked = |kind: &str| only.as_deref().is_none_or(|only| only == kind);
    if is_asked(CHANGES) {
        check_changes(CHANGES_STATES * times, &mut sum);
    }
    if is_asked(SEATS) {
        check_seats(SEATS_STATES * times, &mut sum);
    }
    if is_asked(LEADERS) {
        check_leadership(LEADERS_STATES * times, &mut sum);
    }
    sum.tell()
}

fn check_changes(states: usize, sum: &mut Sum) {
    let mut changing =
        |name, bounds, planted| sum.add(check(name, Changing(bounds), planted, states));
    changing("voters change one by one", SINGLE, Mutant::None);
    changing("voters change one by one", SINGLE, Mutant::ChangeBeforeOwnTerm);
    changing("voters change in pairs", PAIRS, Mutant::None);
    changing("voters change in pairs", PAIRS, Mutant::NoJoint);
    changing("voters change in pairs", PAIRS, Mutant::JointCountsNewOnly);
    changing("a disk is lost", LOSSES, Mutant::None);
    changing("a disk is lost", LOSSES, Mutant::RebuildingReplicaCounts);
    changing("a disk is lost", LOSSES, Mutant::RebuildingReplicaVotes);
}

fn check_seats(states: usize, sum: &mut Sum) {
    let mut seating =
        |name, bounds, planted| sum.add(check(name, Seating(bounds), planted, states));
    seating("seats of three", SEATS_OF_3, Mutant::None);
    seating("seats of four", SEATS_OF_4, Mutant::None);
    seating("seats of four", SEATS_OF_4, Mutant::PromotionLowersSurvival);
    seating("seats of four", SEATS_OF_4, Mutant::PromotedBehind);
    seating("seats of four", SEATS_OF_4, Mutant::UnwantedVotes);
    seating("seats of five", SEATS_OF_5, Mutant::None);
    seating("seats of five", SEATS_OF_5, Mutant::DismissedAtOnce);
    seating("seats of five", SEATS_OF_5, Mutant::SurplusStays);
}

fn check_leadership(states: usize, sum: &mut Sum) {
    let mut leading =
        |name, bounds, planted| sum.add(check(name, Leading(bounds), planted, states));
    leading("leaders are named", NAMED, Mutant::None);
    leading("leaders are named", NAMED, Mutant::UnnamedCampaigns);
    leading("leaders are named", NAMED, Mutant::FullNodeNamed);
    leading("leaders are named", NAMED, Mutant::LeaderNotSought);
    leading("decisions cross", CROSSED, Mutant::None);
    leading("decisions cross", CROSSED, Mutant::StaleAssignmentTaken);
    leading("two deciders", DECIDERS, Mutant::None);
    leading("nodes start again", RESTARTS, Mutant::None);
    leading("commands and a restart", COMMANDS, Mutant::None);
    leading("commands and a restart", COMMANDS, Mutant::LongerLogStaysSilent);
    leading("a message comes late", LATE, Mutant::None);
    leading("groups fall back", FALLBACK, Mutant::None);
    leading("a disk is emptied", EMPTIED, Mutant::None);
    leading("a disk is emptied", EMPTIED, Mutant::RebuildingReplicaVotes);
    leading("a disk is emptied", EMPTIED, Mutant::NamedNeverDeclines);
    leading("nodes share groups", SHARED, Mutant::None);
}

/// Figures of all checks.
#[derive(Default)]
struct Sum {
    models: u64,
    held: u64,
    planted: u64,
    found: u64,
    states: usize,
}

/// What checking one model came to.
struct Checked {
    planted: Mutant,
    is_as_wanted: bool,
    unique: usize,
}

impl Sum {
    fn add(&mut self, checked: Checked) {
        let good = u64::from(checked.is_as_wanted);
        self.states += checked.unique;
        if checked.planted == Mutant::None {
            (self.models, self.held) = (self.models + 1, self.held + good);
        } else {
            (self.planted, self.found) = (self.planted + 1, self.found + good);
        }
    }

    fn tell(&self) -> ExitCode {
        let Sum { models, held, planted, found, states } = self;
        println!(
            "states={states} models={held} of {models} planted_bugs_found={found} of {planted}"
        );
        if held == models && found == planted { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Of a state as much as fits on a line or two.
fn shortened(state: &impl Debug) -> String {
    const CHARS_MAX: usize = 300;
    format!("{state:?}").chars().take(CHARS_MAX).collect()
}

/// Checks a model, as it is or with a planted bug, which must then be found.
fn check<M>(name: &str, model: M, planted: Mutant, limit: usize) -> Checked
where
    M: Model + Send + Sync + 'static,
    M::State: Hash + Clone + Debug + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq + Send + 'static,
{
    mutant::activate(planted);
    // The search ends with the bug, but threads come by it in no fixed order.
    let limit = if planted == Mutant::None { limit } else { 2 * limit };
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let properties = model.properties();
    let of_kind = |kind: Expectation| {
        let names = properties.iter().filter(|it| it.expectation == kind).map(|it| it.name);
        names.collect::<Vec<_>>()
    };
    let (always, sometimes) = (of_kind(Expectation::Always), of_kind(Expectation::Sometimes));
    let mut builder = model.checker().threads(threads).target_state_count(limit);
    if planted != Mutant::None {
        builder = builder.finish_when(HasDiscoveries::AnyFailures);
    }
    let checker = builder.spawn_bfs().join();
    let found = checker.discoveries();
    let broken = always.iter().find(|name| found.contains_key(*name));
    let unseen = sometimes.iter().find(|name| !found.contains_key(*name));
    let (took, unique) = (began.elapsed(), checker.unique_state_count());
    println!(
        "{name:<25} planted={:<24} states={:<8} unique={unique:<7} depth={:<2} {:<9} took={:.1}s",
        planted.name(),
        checker.state_count(),
        checker.max_depth(),
        if checker.state_count() < limit { "complete" } else { "bounded" },
        took.as_secs_f64(),
    );
    if let Some(name) = broken {
        println!("  broken: {name}");
        for (state, action) in checker.discovery(name).into_iter().flat_map(|path| path.into_vec())
        {
            match action {
                Some(action) => println!("    {action:?}"),
                None => println!("    comes to {}", shortened(&state)),
            }
        }
    }
    let is_as_wanted = match planted {
        Mutant::None => broken.is_none() && unseen.is_none(),
        _ => broken.is_some(),
    };
    if let (Mutant::None, Some(name)) = (planted, unseen) {
        println!("  never seen: {name}");
    }
    Checked { planted, is_as_wanted, unique }
}
