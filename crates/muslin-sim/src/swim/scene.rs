//! What is done to a world, and measured in it.

use super::{Lag, Outcome, Peer, Seat, Setup, Weather, World};
use crate::checkers::Violation;
use crate::time::Time;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// Until all have probed a few times, and what they said first has been spread.
const WARM_UP: Duration = Duration::from_secs(20);

/// A death that not all know of after this long is not waited for any more.
const KNOWN_AFTER_MAX: Duration = Duration::from_secs(150);

/// From one death being known to the next.
const BETWEEN_DEATHS: Duration = Duration::from_secs(10);

/// Halves that do not agree again after this long never do.
const SETTLED_AFTER_MAX: Duration = Duration::from_secs(600);

/// One in so many machines of [`Scene::Slow`] is slow: 4 %.
const SLOW_EVERY: usize = 25;

/// Contacts of a node that joins.
const CONTACTS: usize = 3;

/// What happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scene {
    /// Nothing, for a while; then machines die, one after the other.
    Deaths {
        /// For how long nothing happens.
        quiet: Duration,
        /// How many die.
        kills: usize,
    },
    /// The same, with one in 25 machines slow from the beginning. None of the slow ones dies.
    Slow {
        /// How slow.
        lag: Lag,
        /// For how long nothing happens.
        quiet: Duration,
        /// How many die.
        kills: usize,
    },
    /// The network falls into halves, which come together again when neither believes in the other.
    Heal,
    /// So many join at once, each knowing three addresses.
    Joins {
        /// How many.
        newcomers: usize,
    },
}

/// One scene in one kind of world.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What happens.
    pub scene: Scene,
    /// Nodes at the beginning; all know each other.
    pub nodes: usize,
    /// Each follows so many neighbours only.
    pub slice: Option<usize>,
    /// Datagrams lost, in a million.
    pub loss_ppm: u64,
    /// The short periods of one rack.
    pub is_fast: bool,
}

impl Plan {
    /// Plays it once.
    pub fn run<P: Peer>(&self, seed: u64) -> Result<Outcome, Violation> {
        let began = CoreTime::now();
        let mut world = self.world::<P>(seed);
        let played = catch_unwind(AssertUnwindSafe(|| self.play(&mut world)));
        let mut outcome = match played {
            Ok(outcome) => outcome?,
            Err(panic) => return Err(violation_of(panic.as_ref(), seed, world.now())),
        };
        outcome.seeds = 1;
        outcome.nodes = self.nodes;
        outcome.simulated = world.now().since(Time::START);
        outcome.events = world.events();
        outcome.hash = world.hash();
        outcome.view_most = world.running().map(|(_, peer)| peer.view_len()).max().unwrap_or(0);
        outcome.took = began.elapsed();
        Ok(outcome)
    }

    fn world<P: Peer>(&self, seed: u64) -> World<P> {
        let nodes = self.nodes + self.newcomers();
        let setup = Setup { nodes, slice: self.slice, is_fast: self.is_fast };
        World::new(seed, setup, Weather::lan(self.loss_ppm))
    }

    fn newcomers(&self) -> usize {
        match self.scene {
            Scene::Joins { newcomers } => newcomers,
            _ => 0,
        }
    }

    fn play<P: Peer>(&self, world: &mut World<P>) -> Result<Outcome, Violation> {
        let seats: Vec<Seat> = (0..self.nodes).map(|_| world.add()).collect();
        if let Scene::Slow { lag, .. } = self.scene {
            seats.iter().step_by(SLOW_EVERY).for_each(|seat| world.set_lag(*seat, lag));
        }
        self.start_all(world, &seats)?;
        world.run_for(WARM_UP)?;
        world.close_books();
        match self.scene {
            Scene::Deaths { quiet, kills } | Scene::Slow { quiet, kills, .. } => {
                deaths(world, quiet, kills)
            }
            Scene::Heal => heal(world, &seats),
            Scene::Joins { newcomers } => joins(world, &seats, newcomers),
        }
    }
}

/// Seats that every slice has in it, since all need them: the voters of the control group.
const VOTERS: usize = 3;

impl Plan {
    fn start_all<P: Peer>(&self, world: &mut World<P>, seats: &[Seat]) -> Result<(), Violation> {
        let Some(slice) = self.slice else {
            return seats.iter().try_for_each(|seat| world.start(*seat, seats, &[]));
        };
        let ring = P::ring(seats);
        for (place, seat) in ring.iter().enumerate() {
            let next = ring.iter().cycle().skip(place + 1).take(slice);
            let known: Vec<Seat> = next.chain(&seats[..VOTERS]).copied().collect();
            world.start(*seat, &known, &[])?;
        }
        Ok(())
    }
}

fn deaths<P: Peer>(
    world: &mut World<P>,
    quiet: Duration,
    kills: usize,
) -> Result<Outcome, Violation> {
    world.run_for(quiet)?;
    let mut outcome = Outcome { quiet, quiet_books: world.close_books(), ..Outcome::default() };
    for _ in 0..kills {
        // Not all at the same point of everybody's periods.
        let wait = world.prng().duration(Duration::ZERO, SECOND);
        world.run_for(BETWEEN_DEATHS + wait)?;
        let quick: Vec<Seat> = world.running().map(|(seat, _)| seat).collect();
        let quick: Vec<Seat> = quick.into_iter().filter(|seat| world.is_quick(*seat)).collect();
        let Some(victim) = world.prng().pick(&quick).copied() else { break };
        world.kill_watched(victim);
        world.run_until((SECOND / 10, KNOWN_AFTER_MAX), World::is_known_to_all)?;
        outcome.detections.extend(world.detection());
    }
    outcome.later_books = world.close_books();
    Ok(outcome)
}

fn heal<P: Peer>(world: &mut World<P>, seats: &[Seat]) -> Result<Outcome, Violation> {
    let half = seats.len() / 2;
    seats[..half].iter().for_each(|seat| world.set_side(*seat, 1));
    let larger = seats.len() - half;
    let most = (SECOND, SETTLED_AFTER_MAX);
    let apart =
        world.run_until(most, |world| world.running().all(|(_, peer)| peer.live() < larger))?;
    if apart.is_none() {
        return Ok(Outcome { settled: vec![None], ..Outcome::default() });
    }
    world.mend();
    let settled = world.run_until(most, |world| world.all_see(seats.len() - 1))?;
    // Halves mourn each other with reason: nothing of this is counted.
    Ok(Outcome { settled: vec![settled], ..Outcome::default() })
}

fn joins<P: Peer>(
    world: &mut World<P>,
    seats: &[Seat],
    newcomers: usize,
) -> Result<Outcome, Violation> {
    let fresh: Vec<Seat> = (0..newcomers).map(|_| world.add()).collect();
    for seat in fresh {
        let mut contacts = Vec::new();
        for _ in 0..CONTACTS {
            contacts.extend(world.prng().pick(seats).copied());
        }
        world.start(seat, &[], &contacts)?;
    }
    let all = seats.len() + newcomers - 1;
    let every = SECOND / 10;
    let settled = world.run_until((every, SETTLED_AFTER_MAX), |world| world.all_see(all))?;
    let quiet = settled.unwrap_or(SETTLED_AFTER_MAX);
    Ok(Outcome {
        quiet,
        quiet_books: world.close_books(),
        settled: vec![settled],
        ..Outcome::default()
    })
}

/// Time that this thread has spent on a core: other work on the machine does not count.
pub(crate) struct CoreTime {
    on_core: Option<Duration>,
    by_the_wall: Instant,
}

impl CoreTime {
    pub(crate) fn now() -> CoreTime {
        let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
        let nanos = stat.as_deref().and_then(|stat| stat.split(' ').next()?.parse().ok());
        CoreTime { on_core: nanos.map(Duration::from_nanos), by_the_wall: Instant::now() }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        match (self.on_core, CoreTime::now().on_core) {
            (Some(before), Some(after)) => after.saturating_sub(before),
            _ => self.by_the_wall.elapsed(),
        }
    }
}

/// A panic of a node, as what it breaks.
pub(crate) fn violation_of(panic: &(dyn std::any::Any + Send), seed: u64, at: Time) -> Violation {
    let text = (panic.downcast_ref::<String>().map(String::as_str))
        .or_else(|| panic.downcast_ref::<&str>().copied());
    let facts = text.unwrap_or("a panic without a text").to_string();
    Violation { seed, at, invariant: "panic", facts }
}
