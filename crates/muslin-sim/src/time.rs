//! True time, which only the simulator knows, and the clocks that nodes see.

use muslin_core::base::Now;
use std::fmt;
use std::ops::Add;
use std::time::Duration;

/// A moment of the simulated world, in nanoseconds from its beginning. No node ever sees one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Time(pub u64);

impl Time {
    /// The beginning of the world.
    pub const START: Time = Time(0);

    /// Time passed since `earlier`; zero when `earlier` is later.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, duration: Duration) -> Time {
        Time(self.0.saturating_add(nanos(duration)))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000_000, self.0 / 1_000 % 1_000_000)
    }
}

/// What the wall clock says at the beginning of the world, Unix milliseconds.
const WALL_START_MS: u64 = 1_700_000_000_000;

/// Nanoseconds in a millisecond.
const MILLI: u64 = 1_000_000;

impl Time {
    /// What a wall clock says that is right, Unix milliseconds.
    pub(crate) fn wall_ms(self) -> u64 {
        WALL_START_MS + self.0 / MILLI
    }
}

/// A duration as nanoseconds; every duration of a simulation fits.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Parts in a million.
const MILLION: i64 = 1_000_000;

/// The monotonic clock of one process: starts anywhere, and runs a little fast or slow.
///
/// Integer arithmetic only, so that every machine computes the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// What it showed at `since`.
    offset: u64,
    since: Time,
    /// How much faster than true time it runs, in parts per million.
    drift_ppm: i64,
}

impl Clock {
    pub(crate) fn started(at: Time, offset: u64, drift_ppm: i64) -> Clock {
        assert!(drift_ppm.abs() < MILLION / 2, "a clock that far off is broken, not drifting");
        Clock { offset, since: at, drift_ppm }
    }

    /// From here on it shows so much more.
    pub(crate) fn leap(&mut self, at: Time, by: Duration) {
        let shown = self.now(at);
        *self = Clock::started(at, (shown + by).0, self.drift_ppm);
    }

    /// What it shows at a moment.
    pub(crate) fn now(&self, at: Time) -> Now {
        let passed = at.0.saturating_sub(self.since.0) as i64;
        // Whole and broken millionths apart, so that the product stays small.
        let fast = passed / MILLION * self.drift_ppm + passed % MILLION * self.drift_ppm / MILLION;
        Now(self.offset + (passed + fast) as u64)
    }

    /// The first moment at which it shows at least `now`.
    pub(crate) fn when(&self, now: Now) -> Time {
        let shown = now.0.saturating_sub(self.offset);
        let rate = (MILLION + self.drift_ppm) as u64;
        let passed = shown / rate * MILLION as u64 + shown % rate * MILLION as u64 / rate;
        let mut at = Time(self.since.0 + passed);
        while self.now(at) < now {
            at.0 += 1;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_shows_a_time_at_the_moment_it_says_it_will() {
        for drift in [-50_000, -500, -1, 0, 1, 333, 50_000] {
            let clock = Clock::started(Time(1_234_567), 9_876_543_210, drift);
            for shown in [0, 1, 999, 1_000_003, 7_777_777_777, 3_600_000_000_000] {
                let now = Now(9_876_543_210 + shown);
                let at = clock.when(now);
                assert!(clock.now(at) >= now, "drift {drift} shown {shown}");
                assert!(at.0 <= 1_234_567 || clock.now(Time(at.0 - 2)) < now, "{drift} {shown}");
            }
        }
    }

    #[test]
    fn a_clock_that_leaps_goes_on_at_its_rate() {
        let mut clock = Clock::started(Time::START, 5, 1_000);
        clock.leap(Time(1_000_000), Duration::from_secs(3_600));
        assert_eq!(clock.now(Time(1_000_000)), Now(3_600_001_001_005));
        assert_eq!(clock.now(Time(2_000_000)), Now(3_600_002_002_005));
    }

    #[test]
    fn a_fast_clock_shows_more_than_has_passed() {
        let fast = Clock::started(Time::START, 0, 1_000);
        assert_eq!(fast.now(Time(1_000_000_000)), Now(1_001_000_000));
    }
}
