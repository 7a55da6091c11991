//! The one notion of time core has.

use core::fmt;
use core::ops::Add;
use core::time::Duration;

/// A moment on this process's monotonic clock, in nanoseconds from an arbitrary start.
///
/// Moments of different nodes must never be compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Now(pub u64);

impl Now {
    /// The start of this process's clock.
    pub const START: Now = Now(0);

    /// A moment this many milliseconds after the start.
    pub const fn from_millis(millis: u64) -> Now {
        Now(millis * 1_000_000)
    }

    /// Time passed since `earlier`; zero when `earlier` is later.
    pub fn since(self, earlier: Now) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Now {
    type Output = Now;
    fn add(self, duration: Duration) -> Now {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Now(self.0.saturating_add(nanos))
    }
}

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}ms", self.0 / 1_000_000, self.0 / 1_000 % 1_000)
    }
}
