//! The way in: a cluster from a seed, run to its end.

use crate::checkers::{Broken, Violation};
use crate::profile::{Faults, Preset, Profile};
use crate::replica::Replica;
use crate::subject::Subject;
use crate::time::Time;
use crate::trace::{Sink, Trace};
use crate::world::World;
use muslin_core::raft::Raft;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// A cluster of whole nodes to be run. See the [crate's example](crate).
pub struct Cluster {
    setup: Setup,
}

/// A bare group of replicas to be run: Raft and a row of registers, nothing else.
///
/// By default of this project's own [`Raft`]; any [`Replica`] runs under the same faults and the
/// same checkers.
///
/// ```
/// use muslin_core::raft::Raft;
/// use muslin_sim::Group;
/// use std::time::Duration;
///
/// let summary = Group::<Raft>::seeded(7).nodes(5).run(Duration::from_secs(10)).expect("it holds");
/// assert!(summary.acked > 0);
/// ```
pub struct Group<R: Replica = Raft> {
    setup: Setup,
    of: PhantomData<R>,
}

/// What every run is made from.
struct Setup {
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
    /// Reads answered; every one of them was right.
    pub reads: u64,
    /// Entries committed.
    pub committed: u64,
    /// Faults of all kinds.
    pub faults: u64,
    /// Times that a node lost power.
    pub crashes: u64,
    /// Snapshots that nodes installed from a leader.
    pub installs: u64,
    /// Terms that had a leader.
    pub terms: u64,
    /// Of every input and output in order: equal for equal seeds.
    pub hash: u64,
}

/// The settings that clusters and groups have in common.
macro_rules! settings {
    () => {
        /// How many nodes.
        ///
        /// # Panics
        /// When it is not 1 to 9: more do not all vote.
        #[must_use]
        pub fn nodes(mut self, nodes: usize) -> Self {
            assert!((1..=9).contains(&nodes), "a simulated cluster has 1 to 9 nodes");
            self.setup.nodes = nodes;
            self
        }

        /// What kind of run.
        #[must_use]
        pub fn preset(mut self, preset: Preset) -> Self {
            self.setup.preset = preset;
            self
        }

        /// What goes wrong, if not what the seed says.
        #[must_use]
        pub fn faults(mut self, faults: Faults) -> Self {
            self.setup.faults = Some(faults);
            self
        }

        /// Everything about the run, if not what the seed says.
        #[must_use]
        pub fn profile(mut self, profile: Profile) -> Self {
            self.setup.profile = Some(profile);
            self
        }

        /// Calls `sink` with a line for each thing that happens.
        #[must_use]
        pub fn trace(mut self, sink: impl FnMut(&str) + 'static) -> Self {
            self.setup.sink = Some(Sink(Box::new(sink)));
            self
        }

        /// What the run is going to be like.
        pub fn drawn(&self) -> Profile {
            self.setup.drawn()
        }
    };
}

impl Cluster {
    /// Three nodes; all else is drawn from this number.
    pub fn seeded(seed: u64) -> Cluster {
        Cluster { setup: Setup::seeded(seed) }
    }

    settings!();

    /// Lets things go wrong for `unsafe_time`, then stops the faults and waits until the cluster
    /// has come to rest. The first broken invariant ends the run.
    pub fn run(self, unsafe_time: Duration) -> Result<Summary, Violation> {
        self.setup.run(unsafe_time, crate::nodes::world)
    }
}

impl<R: Replica> Group<R> {
    /// Three replicas; all else is drawn from this number.
    pub fn seeded(seed: u64) -> Group<R> {
        Group { setup: Setup::seeded(seed), of: PhantomData }
    }

    settings!();

    /// As [`Cluster::run`].
    pub fn run(self, unsafe_time: Duration) -> Result<Summary, Violation> {
        self.setup.run(unsafe_time, crate::bare::world::<R>)
    }
}

impl Setup {
    fn seeded(seed: u64) -> Setup {
        Setup { seed, nodes: 3, preset: Preset::Swarm, faults: None, profile: None, sink: None }
    }

    fn drawn(&self) -> Profile {
        let draw = || Profile::drawn(self.seed, self.nodes, self.preset);
        let mut profile = self.profile.clone().unwrap_or_else(draw);
        if let Some(faults) = &self.faults {
            profile.faults = faults.clone();
        }
        profile
    }

    fn run<S: Subject>(
        mut self,
        unsafe_time: Duration,
        world: impl FnOnce(u64, Profile, Trace) -> World<S>,
    ) -> Result<Summary, Violation> {
        let profile = self.drawn();
        let mut world = world(self.seed, profile, Trace::new(self.sink.take()));
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

fn run_world<S: Subject>(world: &mut World<S>, unsafe_time: Duration) -> Result<(), Violation> {
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

fn summarize<S: Subject>(seed: u64, world: &World<S>) -> Summary {
    Summary {
        seed,
        simulated: world.time.since(Time::START),
        events: world.counts.events,
        acked: S::acked(world),
        reads: world.counts.reads,
        committed: world.committed().0,
        faults: world.counts.faults,
        crashes: world.counts.crashes,
        installs: world.counts.installs,
        terms: world.terms(),
        hash: world.trace.finish(),
    }
}
