//! Small clusters to which everything happens at once, then nothing: what they must come to.

use super::scene::{CoreTime, violation_of};
use super::{Lag, Outcome, Peer, Seat, Setup, Weather, World};
use crate::checkers::Violation;
use crate::time::Time;
use muslin_core::base::Prng;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Everybody hears everybody, loses next to nothing and runs: after this long all views agree.
const AGREED_AFTER_MAX: Duration = Duration::from_secs(40);

/// In a cluster of this size that loses little, a death is known to all after this long.
const KNOWN_AFTER_MAX: Duration = Duration::from_secs(12);

/// For so long nobody may be taken for dead, once all agree.
const CALM: Duration = Duration::from_secs(30);

/// Far more steps of each node in a second than any trouble asks for.
const STEPS_A_SECOND: u64 = 400;

/// A drawn cluster in drawn trouble, with the short periods.
///
/// The rules hold at every moment. After the end of the trouble all must agree in time (`heals`), a
/// death must become known in time (`detects`), nobody may be taken for dead without being it
/// (`calm`), and nobody may talk without end (`storm`).
#[derive(Clone, Copy, Debug)]
pub struct Storm {
    /// How long things go wrong.
    pub lasts: Duration,
}

impl Storm {
    /// Runs one seed.
    pub fn run<P: Peer>(&self, seed: u64) -> Result<Outcome, Violation> {
        let began = CoreTime::now();
        let mut draws = Prng::seeded(seed ^ 0x5717);
        let nodes = 3 + draws.below(38) as usize;
        let setup = Setup { nodes, slice: None, is_fast: true };
        let mut weather = Weather::lan(draws.below(200_000));
        weather.twice_ppm = draws.below(50_000);
        let mut world = World::<P>::new(seed, setup, weather);
        let seconds = (self.lasts + AGREED_AFTER_MAX + CALM + KNOWN_AFTER_MAX).as_secs();
        world.set_events_most(seconds * nodes as u64 * STEPS_A_SECOND);
        let played = catch_unwind(AssertUnwindSafe(|| self.play(&mut world, nodes)));
        match played {
            Ok(result) => result?,
            Err(panic) => return Err(violation_of(panic.as_ref(), seed, world.now())),
        }
        Ok(Outcome {
            seeds: 1,
            nodes,
            simulated: world.now().since(Time::START),
            events: world.events(),
            hash: world.hash(),
            took: began.elapsed(),
            ..Outcome::default()
        })
    }

    fn play<P: Peer>(&self, world: &mut World<P>, nodes: usize) -> Result<(), Violation> {
        let seats: Vec<Seat> = (0..nodes).map(|_| world.add()).collect();
        for seat in &seats {
            world.start(*seat, &[], &seats[..2])?;
        }
        let end = Time::START + self.lasts;
        while world.now() < end {
            let calm = world.prng().duration(MILLI * 100, SECOND * 3);
            world.run_for(calm)?;
            self.strike(world, &seats)?;
        }
        clear_up(world, &seats)?;
        agree(world, nodes)?;
        stay_calm(world)?;
        detect(world, &seats)
    }

    /// One thing goes wrong, or is over.
    fn strike<P: Peer>(&self, world: &mut World<P>, seats: &[Seat]) -> Result<(), Violation> {
        let seat = *world.prng().pick(seats).expect("there are machines");
        let other = *world.prng().pick(seats).expect("there are machines");
        match world.prng().below(12) {
            0 | 1 => restart(world, seat, seats)?,
            2 => world.kill(seat),
            3 | 4 => world.pause(seat),
            5 | 6 => seats.iter().try_for_each(|seat| world.resume(*seat))?,
            7 => world.cut(seat, other),
            8 => {
                for seat in seats {
                    let side = world.prng().below(2) as u8;
                    world.set_side(*seat, side);
                }
            }
            9 | 10 => world.mend(),
            _ => {
                let late = world.prng().duration(Duration::ZERO, SECOND * 2);
                let is_slow = world.prng().chance(500_000);
                let lag = Lag { reads: late, sends: Duration::ZERO };
                world.set_lag(seat, if is_slow { lag } else { Lag::default() });
            }
        }
        Ok(())
    }
}

/// Starts again what was killed, and kills and starts what runs.
fn restart<P: Peer>(world: &mut World<P>, seat: Seat, seats: &[Seat]) -> Result<(), Violation> {
    world.kill(seat);
    world.start(seat, &[], seats)
}

/// All runs, and nothing is wrong but a little loss.
fn clear_up<P: Peer>(world: &mut World<P>, seats: &[Seat]) -> Result<(), Violation> {
    world.mend();
    world.set_loss(10_000);
    for seat in seats {
        world.set_lag(*seat, Lag::default());
        world.resume(*seat)?;
        if !world.is_on(*seat) {
            world.start(*seat, &[], seats)?;
        }
    }
    Ok(())
}

fn agree<P: Peer>(world: &mut World<P>, nodes: usize) -> Result<(), Violation> {
    let most = (MILLI * 100, AGREED_AFTER_MAX);
    if world.run_until(most, |world| world.all_see(nodes - 1))?.is_some() {
        return Ok(());
    }
    let odd: Vec<String> = world
        .running()
        .filter(|(_, peer)| peer.live() != nodes - 1)
        .map(|(seat, peer)| format!("n{} sees {}", seat.0, peer.live()))
        .collect();
    let facts = format!("{AGREED_AFTER_MAX:?} after the trouble, of {nodes}: {}", odd.join(", "));
    Err(world.broken("heals", facts))
}

fn stay_calm<P: Peer>(world: &mut World<P>) -> Result<(), Violation> {
    world.close_books();
    world.run_for(CALM)?;
    let books = world.close_books();
    if books.false_downs > 0 {
        let facts = format!("{} live ones were taken for dead in a calm", books.false_downs);
        return Err(world.broken("calm", facts));
    }
    Ok(())
}

fn detect<P: Peer>(world: &mut World<P>, seats: &[Seat]) -> Result<(), Violation> {
    let victim = *world.prng().pick(seats).expect("there are machines");
    world.kill_watched(victim);
    let known = world.run_until((MILLI * 100, KNOWN_AFTER_MAX), World::is_known_to_all)?;
    if known.is_none() {
        let facts = format!("n{} died, not all know: {:?}", victim.0, world.detection());
        return Err(world.broken("detects", facts));
    }
    Ok(())
}
