//! How long the driver was busy without looking up.

use std::time::{Duration, Instant};

/// Turns are compared with those of the same span and of the one before.
const SPAN: Duration = Duration::from_secs(10);

/// The turns of a loop.
#[derive(Debug)]
pub(super) struct Turns {
    begun: Instant,
    /// When the present span began.
    since: Instant,
    /// The longest of the present span.
    longest: Duration,
    /// The longest of the span before.
    before: Duration,
}

impl Turns {
    pub(super) fn new(now: Instant) -> Turns {
        Turns { begun: now, since: now, longest: Duration::ZERO, before: Duration::ZERO }
    }

    /// A turn begins: something has come.
    pub(super) fn begin(&mut self, now: Instant) {
        self.begun = now;
    }

    /// It ends. The longest turn lately, if that has changed.
    pub(super) fn end(&mut self, now: Instant) -> Option<Duration> {
        let told = self.longest.max(self.before);
        let turn = now.saturating_duration_since(self.begun);
        let age = now.saturating_duration_since(self.since);
        if age >= SPAN {
            self.before = if age < 2 * SPAN { self.longest } else { Duration::ZERO };
            (self.since, self.longest) = (now, Duration::ZERO);
        }
        self.longest = self.longest.max(turn);
        Some(self.longest.max(self.before)).filter(|longest| *longest != told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_longest_turn_is_told_for_one_span_and_the_next() {
        let start = Instant::now();
        let mut turns = Turns::new(start);
        let mut turn = |at: Duration, length: Duration| {
            turns.begin(start + at);
            turns.end(start + at + length)
        };
        assert_eq!(turn(MS, 5 * MS), Some(5 * MS));
        assert_eq!(turn(10 * MS, 2 * MS), None);
        assert_eq!(turn(SPAN, 3 * MS), None, "that of the span before is longer");
        assert_eq!(turn(2 * SPAN + 5 * MS, MS), Some(3 * MS));
        assert_eq!(turn(5 * SPAN, MS / 2), Some(MS / 2), "a span without any lies between");
    }
}
