//! The way in: a cluster from a seed, run to its end.

use crate::checkers::{Broken, Violation};
use crate::profile::{Faults, Preset, Profile};
use crate::time::Time;
use crate::trace::{Sink, Trace};
use crate::world::World;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// A cluster to be run. See the [crate's example](crate).
pub struct Cluster {
    seed: u64,
    nodes: usize,
    preset: Preset,
    faults: Option<Faults>,
    profile: Option<Profile>,
    sink: Option<Sink>,
}

/// What a run without a violation came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Summary {
    /// The seed it came from.
    pub seed: u64,
    /// How much time passed in it.
    pub simulated: Duration,
    /// Inputs that nodes were given.
    pub events: u64,
    /// Writes acknowledged to clients; every one of them was there at the end.
    pub acked: u64,
    /// Entries committed.
    pub committed: u64,
    /// Times that a node lost power.
    pub crashes: u64,
    /// Snapshots that nodes installed from a leader.
    pub installs: u64,
    /// Terms that had a leader.
    pub terms: u64,
    /// Of every input and output in order: equal for equal seeds.
    pub hash: u64,
}

impl Cluster {
    /// Three nodes; all else is drawn from this number.
    pub fn seeded(seed: u64) -> Cluster {
        Cluster { seed, nodes: 3, preset: Preset::Swarm, faults: None, profile: None, sink: None }
    }

    /// How many nodes.
    ///
    /// # Panics
    /// When it is not 1 to 9: more do not all vote.
    #[must_use]
    pub fn nodes(mut self, nodes: usize) -> Cluster {
        assert!((1..=9).contains(&nodes), "a simulated cluster has 1 to 9 nodes");
        self.nodes = nodes;
        self
    }

    /// What kind of run.
    #[must_use]
    pub fn preset(mut self, preset: Preset) -> Cluster {
        self.preset = preset;
        self
    }

    /// What goes wrong, if not what the seed says.
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Cluster {
        self.faults = Some(faults);
        self
    }

    /// Everything about the run, if not what the seed says.
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Cluster {
        self.profile = Some(profile);
        self
    }

    /// Calls `sink` with a line for each thing that happens.
    #[must_use]
    pub fn trace(mut self, sink: impl FnMut(&str) + 'static) -> Cluster {
        self.sink = Some(Sink(Box::new(sink)));
        self
    }

    /// What the run is going to be like.
    pub fn drawn(&self) -> Profile {
        let draw = || Profile::drawn(self.seed, self.nodes, self.preset);
        let mut profile = self.profile.clone().unwrap_or_else(draw);
        if let Some(faults) = &self.faults {
            profile.faults = faults.clone();
        }
        profile
    }

    /// Lets things go wrong for `unsafe_time`, then stops the faults and waits until the cluster
    /// has come to rest. The first broken invariant ends the run.
    pub fn run(mut self, unsafe_time: Duration) -> Result<Summary, Violation> {
        let profile = self.drawn();
        let mut world = World::new(self.seed, profile, Trace::new(self.sink.take()));
        let run = AssertUnwindSafe(|| run_world(&mut world, unsafe_time));
        match catch_unwind(run) {
            Ok(Ok(())) => Ok(summarize(self.seed, &world)),
            Ok(Err(violation)) => Err(violation),
            Err(panic) => {
                let text = (panic.downcast_ref::<String>().map(String::as_str))
                    .or_else(|| panic.downcast_ref::<&str>().copied());
                let facts = text.unwrap_or("a panic without a text").to_string();
                Err(world.violation(Broken::new("panic", facts)))
            }
        }
    }
}

/// How often a cluster that is to come to rest is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

fn run_world(world: &mut World, unsafe_time: Duration) -> Result<(), Violation> {
    world.let_loose();
    let end = Time::START + unsafe_time;
    world.run_until(end)?;
    if world.heal_but_one() {
        while !world.do_others_answer()? {
            world.run_until(world.time + LOOK_EVERY)?;
        }
        world.bring_back();
    }
    world.heal();
    while !world.is_settled()? {
        world.run_until(world.time + LOOK_EVERY)?;
    }
    Ok(())
}

fn summarize(seed: u64, world: &World) -> Summary {
    Summary {
        seed,
        simulated: world.time.since(Time::START),
        events: world.events,
        acked: world.ledger.acked(),
        committed: world.committed().0,
        crashes: world.crashes,
        installs: world.installs,
        terms: world.terms(),
        hash: world.trace.finish(),
    }
}
