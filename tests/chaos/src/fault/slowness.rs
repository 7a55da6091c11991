//! Processes that stand still or crawl, and clocks that are wrong.

use super::Field;
use crate::stage::{Clock, Starved};
use nix::sys::signal::Signal;

/// A pause lasts so long.
const PAUSE_MS: u64 = 3_000;

/// Hundredths of a processor that a starved node gets.
const STARVED_PERCENT: u64 = 5;

/// How long a node lives with a clock that is wrong.
const WRONG_CLOCK_MS: u64 = 2_500;

/// How wrong a wall clock is, in seconds.
const JUMP_SECONDS: i64 = 3_600;

/// Thousandths by which clocks run too fast or too slow.
pub const DRIFT_PERMILLE: u64 = 30;

pub(super) fn pause_any(field: &mut Field<'_>) -> Result<String, String> {
    let node = field.any();
    pause(field, node)
}

pub(super) fn pause_leader(field: &mut Field<'_>) -> Result<String, String> {
    let node = field.leader()?;
    pause(field, node)
}

fn pause(field: &mut Field<'_>, node: u8) -> Result<String, String> {
    field.strike();
    field.node(node).signal(Signal::SIGSTOP)?;
    field.hold(PAUSE_MS)?;
    field.node(node).signal(Signal::SIGCONT)?;
    field.heal();
    Ok(field.node(node).name())
}

pub(super) fn starve(field: &mut Field<'_>) -> Result<String, String> {
    let node = field.any();
    field.strike();
    let starved = Starved::new(field.node(node).pid(), STARVED_PERCENT)?;
    field.hold(PAUSE_MS)?;
    drop(starved);
    field.heal();
    Ok(field.node(node).name())
}

pub(super) fn clock_jump(field: &mut Field<'_>) -> Result<String, String> {
    let seconds = field.draw.one_of(&[-JUMP_SECONDS, JUMP_SECONDS]);
    with_clock(field, Clock::Wrong(seconds), &format!("{seconds:+} s"))
}

pub(super) fn clock_drift(field: &mut Field<'_>) -> Result<String, String> {
    let permille = field.draw.one_of(&[1_000 - DRIFT_PERMILLE, 1_000 + DRIFT_PERMILLE]);
    with_clock(field, Clock::Rate(permille), &format!("x{permille}/1000"))
}

/// Restarts a node with another clock, and again with the true one.
fn with_clock(field: &mut Field<'_>, clock: Clock, says: &str) -> Result<String, String> {
    let node = field.any();
    field.strike();
    field.kill(node);
    field.node(node).set_clock(clock);
    field.start(node)?;
    field.settle()?;
    field.hold(WRONG_CLOCK_MS)?;
    field.kill(node);
    field.node(node).set_clock(Clock::True);
    field.start(node)?;
    field.heal();
    Ok(format!("{} {says}", field.node(node).name()))
}
