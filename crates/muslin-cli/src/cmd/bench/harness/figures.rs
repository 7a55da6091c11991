//! Times seen, and what came of a run.

use super::disk::Syncs;
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeVal;
use serde_json::{Value, json};
use std::ops::AddAssign;
use std::time::Duration;

/// Buckets per doubling: a time is known to within 1.6 %.
const STEPS: u64 = 64;

/// Counts of times, so that millions of them need no memory each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    /// Counts a time, so many times over.
    pub(crate) fn record(&mut self, time: Duration, times: u64) {
        let bucket = bucket_of(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += times;
        self.total += times;
    }

    /// How many were counted.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The time that so many of a thousand did not exceed.
    pub(crate) fn permille(&self, permille: u64) -> Duration {
        let rank = (self.total * permille).div_ceil(1_000).max(1);
        let mut passed = 0;
        let reaches = |count: &u64| {
            passed += count;
            passed >= rank
        };
        let bucket = self.counts.iter().position(reaches);
        Duration::from_nanos(bucket.map_or(0, floor_of))
    }
}

impl AddAssign<&Histogram> for Histogram {
    fn add_assign(&mut self, other: &Histogram) {
        let length = self.counts.len().max(other.counts.len());
        self.counts.resize(length, 0);
        self.counts.iter_mut().zip(&other.counts).for_each(|(sum, count)| *sum += count);
        self.total += other.total;
    }
}

fn bucket_of(nanos: u64) -> usize {
    if nanos < STEPS {
        return nanos as usize;
    }
    let doublings = u64::from(nanos.ilog2() - STEPS.ilog2());
    (doublings * STEPS + (nanos >> doublings)) as usize
}

fn floor_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let doublings = bucket / STEPS - 1;
    (bucket - doublings * STEPS) << doublings
}

/// Processor time that this process has used.
pub(crate) fn processor_time() -> Duration {
    getrusage(UsageWho::RUSAGE_SELF).map_or(Duration::ZERO, |usage: Usage| {
        duration_of(usage.user_time()) + duration_of(usage.system_time())
    })
}

fn duration_of(time: TimeVal) -> Duration {
    Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1_000)
}

/// One run of one engine.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    /// Which engine, with its version.
    pub(crate) engine: String,
    /// `memory` or `durable`.
    pub(crate) mode: &'static str,
    /// How many proposals are under way at any time.
    pub(crate) proposers: usize,
    /// How long was measured.
    pub(crate) elapsed: Duration,
    /// Processor time used meanwhile, by all threads.
    pub(crate) processor: Duration,
    /// From proposing to hearing that it is committed.
    pub(crate) latency: Histogram,
    /// What the disk's syncs are, if the run was durable.
    pub(crate) syncs: Option<Syncs>,
}

impl Figures {
    /// Commits a second.
    pub(crate) fn rate(&self) -> f64 {
        self.latency.total() as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Processor milliseconds per thousand commits.
    pub(crate) fn processor_ms(&self) -> f64 {
        self.processor.as_secs_f64() * 1e6 / (self.latency.total().max(1) as f64)
    }

    /// What the syncs allow: three logs sync as often as three files can that do nothing else, and
    /// every sync carries one proposal of every proposer.
    pub(crate) fn ideal(&self) -> Option<f64> {
        self.syncs.map(|syncs| syncs.together * self.proposers as f64)
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let micros = |permille| self.latency.permille(permille).as_nanos() as f64 / 1e3;
        let percent = self.ideal().map(|ideal| (self.rate() / ideal * 1e3).round() / 10.0);
        json!({
            "engine": self.engine,
            "mode": self.mode,
            "proposers": self.proposers,
            "seconds": self.elapsed.as_secs_f64(),
            "commits_per_second": self.rate().round(),
            "p50_us": micros(500),
            "p99_us": micros(990),
            "cpu_ms_per_1000": (self.processor_ms() * 1e3).round() / 1e3,
            "syncs_per_second": self.syncs.map(|syncs| syncs.together.round()),
            "syncs_per_second_alone": self.syncs.map(|syncs| syncs.alone.round()),
            "proposals_per_sync": self.syncs.and_then(|syncs| syncs.batch).map(f64::round),
            "ideal_per_second": self.ideal().map(f64::round),
            "percent_of_ideal": percent,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_never_far_from_its_times() {
        let samples = (0..63).flat_map(|bit| [1u64 << bit, (1 << bit) + (1 << bit >> 1), 7 << 9]);
        for nanos in samples {
            let floor = floor_of(bucket_of(nanos));
            assert!(floor <= nanos && nanos - floor <= nanos / STEPS, "{nanos} became {floor}");
        }
    }

    #[test]
    fn percentiles_count_every_time() {
        let mut histogram = Histogram::default();
        (1..=100).for_each(|nanos| histogram.record(Duration::from_nanos(nanos / 2), 10));
        let nanos = |permille| histogram.permille(permille).as_nanos();
        assert_eq!([nanos(10), nanos(500), nanos(1_000)], [0, 25, 50]);
        assert_eq!(Histogram::default().permille(500), Duration::ZERO);
    }
}
