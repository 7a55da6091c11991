//! How much a node doubts itself.

use core::time::Duration;

/// Lifeguard's local health (section IV-A): the worse, the slower this node probes and the longer
/// it waits before it accuses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Health(u32);

impl Health {
    /// Lifeguard's S: at worst a node probes nine times as slowly.
    pub(super) const WORST: u32 = 8;

    /// So many things went wrong that do not if this node is well.
    pub(super) fn worsen(&mut self, by: usize) {
        let by = u32::try_from(by).unwrap_or(Health::WORST);
        self.0 = self.0.saturating_add(by).min(Health::WORST);
    }

    /// A probe was answered.
    pub(super) fn improve(&mut self) {
        self.0 = self.0.saturating_sub(1);
    }

    /// Stretches a period or a time-out.
    pub(super) fn stretch(self, time: Duration) -> Duration {
        time * (self.0 + 1)
    }

    /// From 0, well, to [`Health::WORST`].
    pub(super) fn score(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_stays_between_its_bounds() {
        let mut health = Health::default();
        health.improve();
        assert_eq!(health.stretch(Duration::from_secs(1)), Duration::from_secs(1));
        health.worsen(3);
        health.worsen(usize::MAX);
        assert_eq!(health.score(), Health::WORST);
        assert_eq!(health.stretch(Duration::from_secs(1)), Duration::from_secs(9));
        health.improve();
        assert_eq!(health.score(), 7);
    }
}
