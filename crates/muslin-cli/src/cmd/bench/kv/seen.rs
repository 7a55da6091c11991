//! What clients saw.

use super::super::harness::figures::Histogram;
use std::collections::BTreeMap;
use std::time::Duration;

/// Different reasons that are kept: enough to tell what is the matter.
const REASONS_MAX: usize = 16;

/// What one client saw, or all of them.
#[derive(Default)]
pub(super) struct Seen {
    /// Of each answered call.
    pub(super) times: Histogram,
    /// The longest.
    pub(super) longest: Duration,
    /// Calls that were not answered with success.
    pub(super) failed: u64,
    /// Answers that were not true.
    pub(super) wrong: u64,
    /// Why, by what stands before the bracket, which names one case.
    pub(super) reasons: BTreeMap<String, Reason>,
}

/// Why something went wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Reason {
    /// The first case, in full.
    pub(super) first: String,
    /// How often.
    pub(super) count: u64,
}

impl Seen {
    /// A call was answered after so long.
    pub(super) fn record(&mut self, time: Duration) {
        self.times.record(time, 1);
        self.longest = self.longest.max(time);
    }

    /// A call failed.
    pub(super) fn failed(&mut self, why: String) {
        self.failed += 1;
        self.reason(why, 1);
    }

    /// A call was answered with what is not so.
    pub(super) fn wrong(&mut self, why: String) {
        self.wrong += 1;
        self.reason(format!("wrong: {why}"), 1);
    }

    /// So many things were not seen that should have been.
    pub(super) fn missing(&mut self, count: u64, what: &str) {
        if count > 0 {
            self.wrong += count;
            self.reason(format!("wrong: {what}"), count);
        }
    }

    /// Calls answered with success.
    pub(super) fn answered(&self) -> u64 {
        self.times.total()
    }

    fn reason(&mut self, why: String, count: u64) {
        let kind = why.split(" (").next().unwrap_or_default();
        let has_room = self.reasons.len() < REASONS_MAX || self.reasons.contains_key(kind);
        let kind = if has_room { kind.to_string() } else { "other".to_string() };
        let reason = self.reasons.entry(kind).or_insert(Reason { first: why, count: 0 });
        reason.count += count;
    }

    /// Adds what another saw.
    pub(super) fn add(&mut self, other: Seen) {
        self.times += &other.times;
        self.longest = self.longest.max(other.longest);
        self.failed += other.failed;
        self.wrong += other.wrong;
        for reason in other.reasons.into_values() {
            self.reason(reason.first, reason.count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_saw_adds_up_and_reasons_stay_few() {
        let (mut all, mut one) = (Seen::default(), Seen::default());
        one.record(Duration::from_millis(3));
        one.wrong("a value (of b)".to_string());
        all.record(Duration::from_millis(1));
        all.failed("no answer".to_string());
        all.wrong("a value (of a)".to_string());
        all.add(one);
        all.missing(2, "events");
        all.missing(0, "nothing");
        assert_eq!((all.answered(), all.failed, all.wrong), (2, 1, 4));
        assert_eq!(all.longest, Duration::from_millis(3));
        assert_eq!(all.reasons["wrong: events"].count, 2);
        let values = Reason { first: "wrong: a value (of a)".to_string(), count: 2 };
        assert_eq!(all.reasons["wrong: a value"], values);
        (0..100).for_each(|number| all.failed(format!("reason {number}")));
        assert_eq!(all.reasons.len(), REASONS_MAX + 1);
        assert_eq!(all.reasons.values().map(|reason| reason.count).sum::<u64>(), 105);
    }
}
