//! Gaps between acknowledged writes, by kind of fault.

use crate::fault::Kind;
use crate::history::Nanos;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// One fault and what it cost.
#[derive(Clone, Debug)]
pub struct Struck {
    /// What kind.
    pub kind: Kind,
    /// Whom it met.
    pub whom: String,
    /// The longest time without an acknowledged write, anywhere, from the blow until all was well.
    pub gap: Duration,
    /// From the moment it was undone to the next acknowledged write.
    pub resumed: Duration,
    /// From the moment it was undone until all was well.
    pub settled: Duration,
}

/// The longest stretch without any of these times, which are in order, within a span.
pub fn longest_gap(times: &[Nanos], from: Nanos, to: Nanos) -> Duration {
    let inside = times.iter().copied().filter(|time| (from..=to).contains(time));
    let before = times.iter().copied().filter(|time| *time < from).max().unwrap_or(from);
    let mut last = before;
    let mut longest = 0;
    for time in inside.chain([to]) {
        longest = longest.max(time - last);
        last = time;
    }
    Duration::from_nanos(longest)
}

/// From a moment to the next of these times, which are in order.
pub fn next_after(times: &[Nanos], moment: Nanos) -> Duration {
    let next = times.iter().copied().find(|time| *time > moment).unwrap_or(moment);
    Duration::from_nanos(next - moment)
}

/// All faults of a run.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    by_kind: BTreeMap<Kind, Vec<Struck>>,
}

impl Figures {
    /// One more.
    pub fn add(&mut self, struck: Struck) {
        self.by_kind.entry(struck.kind).or_default().push(struck);
    }

    /// How many.
    pub fn faults(&self) -> usize {
        self.by_kind.values().map(Vec::len).sum()
    }

    /// Of how many kinds.
    pub fn kinds(&self) -> usize {
        self.by_kind.len()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<15} {:>6} {:>11} {:>11} {:>13} {:>13}",
            "kind", "faults", "gap median", "gap max", "first write", "whole again"
        )?;
        for (kind, all) in &self.by_kind {
            let of = |pick: fn(&Struck) -> Duration| all.iter().map(pick).collect::<Vec<_>>();
            let (gaps, resumed) = (of(|struck| struck.gap), of(|struck| struck.resumed));
            writeln!(
                f,
                "{:<15} {:>6} {:>9}ms {:>9}ms {:>11}ms {:>11}ms",
                kind.name(),
                all.len(),
                median(&gaps).as_millis(),
                gaps.iter().max().map_or(0, Duration::as_millis),
                median(&resumed).as_millis(),
                median(&of(|struck| struck.settled)).as_millis(),
            )?;
        }
        Ok(())
    }
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    let (low, high) = (times.len().saturating_sub(1) / 2, times.len() / 2);
    match (times.get(low), times.get(high)) {
        (Some(low), Some(high)) => (*low + *high) / 2,
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_reaches_over_the_edges_of_a_span() {
        let times = [10, 20, 90, 100];
        assert_eq!(longest_gap(&times, 30, 95), Duration::from_nanos(70));
        assert_eq!(longest_gap(&times, 30, 80), Duration::from_nanos(60));
        assert_eq!(longest_gap(&times, 12, 25), Duration::from_nanos(10));
        assert_eq!(next_after(&times, 20), Duration::from_nanos(70));
    }
}
