//! Small parts of Muslin, checked in every state that they can come to within bounds.
//!
//! What runs here is the product's own code ([`muslin_core::raft::Raft`]), cloned and stepped by
//! the model checker. The simulator looks at long runs of whole clusters; this looks at all short
//! runs of one group.

mod configuration;
mod fingerprint;
mod replicas;

use configuration::{Bounds, Changing};
use muslin_core::base::mutant::{self, Mutant};
use stateright::{Checker, HasDiscoveries, Model};
use std::fmt::Debug;
use std::hash::Hash;
use std::process::ExitCode;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let seconds = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(60);
    let limit = Duration::from_secs(seconds);
    let changing = |replicas, founders, elections, changes, losses| {
        Changing(Bounds { replicas, founders, elections, changes, losses })
    };
    let mut is_good = true;
    is_good &= check("changes", changing(4, 4, 2, 2, 0), None, limit);
    is_good &= check("changes", changing(4, 4, 2, 2, 0), Some(Mutant::ChangeBeforeOwnTerm), limit);
    is_good &= check("changes", changing(4, 4, 2, 2, 0), Some(Mutant::NoJoint), limit);
    is_good &= check("changes", changing(4, 4, 2, 2, 0), Some(Mutant::TwoChangesAtOnce), limit);
    is_good &= check("lost disks", changing(3, 3, 2, 1, 1), None, limit);
    is_good &= check("lost disks", changing(3, 3, 2, 1, 1), Some(Mutant::RebuildingReplicaCounts), limit);
    is_good &= check("lost disks", changing(3, 3, 2, 1, 1), Some(Mutant::RebuildingReplicaVotes), limit);
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Checks a model, as it is or with a planted bug, which must then be found.
fn check<M>(name: &str, model: M, planted: Option<Mutant>, limit: Duration) -> bool
where
    M: Model + Send + Sync + 'static,
    M::State: Hash + Clone + Debug + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq + Send + 'static,
{
    mutant::activate(planted.unwrap_or(Mutant::None));
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let always: Vec<_> = model.properties().into_iter().collect();
    let checker = model.checker().threads(threads).timeout(limit);
    let checker = match planted {
        Some(_) => checker.finish_when(HasDiscoveries::AnyFailures),
        None => checker,
    };
    let checker = checker.spawn_bfs().join();
    let found = checker.discoveries();
    let broken: Vec<&str> = (always.iter())
        .filter(|property| property.expectation == stateright::Expectation::Always)
        .map(|property| property.name)
        .filter(|name| found.contains_key(name))
        .collect();
    let unseen: Vec<&str> = (always.iter())
        .filter(|property| property.expectation == stateright::Expectation::Sometimes)
        .map(|property| property.name)
        .filter(|name| !found.contains_key(name))
        .collect();
    println!(
        "{name}: planted={} states={} unique={} depth={} done={} broken={broken:?} unseen={unseen:?} took={:.1}s",
        planted.map_or("none", Mutant::name),
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        checker.is_done(),
        began.elapsed().as_secs_f64(),
    );
    for name in &broken {
        let path = checker.discovery(name).map(|path| path.into_actions());
        println!("  {name}: {:?}", path.unwrap_or_default());
    }
    match planted {
        None => broken.is_empty() && unseen.is_empty(),
        Some(_) => !broken.is_empty(),
    }
}
