//! What the clients saw, as numbers.

use crate::args::BenchKv;
use serde_json::{Value, json};
use std::time::Duration;

/// What one client saw, and added up, what all did.
#[derive(Default)]
pub(crate) struct Seen {
    /// Microseconds of each answered call.
    pub(crate) micros: Vec<u32>,
    /// Calls that failed.
    pub(crate) errors: u64,
    /// Why the first of them did.
    pub(crate) first_error: Option<String>,
}

impl Seen {
    /// Adds another client's.
    pub(crate) fn add(&mut self, other: Seen) {
        self.micros.extend(other.micros);
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
    }
}

/// The result of a load.
pub(crate) struct Figures {
    /// Calls answered with success.
    pub(crate) answered: u64,
    /// Why the first failed call did.
    pub(crate) first_error: Option<String>,
    errors: u64,
    ops_per_second: f64,
    p50: Duration,
    p90: Duration,
    p99: Duration,
    max: Duration,
}

impl Figures {
    /// Of what was seen in so long.
    pub(crate) fn new(mut seen: Seen, elapsed: Duration) -> Figures {
        seen.micros.sort_unstable();
        let at = |permille: usize| percentile(&seen.micros, permille);
        Figures {
            answered: seen.micros.len() as u64,
            ops_per_second: seen.micros.len() as f64 / elapsed.as_secs_f64().max(1e-9),
            p50: at(500),
            p90: at(900),
            p99: at(990),
            max: at(1_000),
            errors: seen.errors,
            first_error: seen.first_error,
        }
    }

    /// For programs.
    pub(crate) fn json(&self, bench: &BenchKv) -> Value {
        let ms = |duration: Duration| duration.as_micros() as f64 / 1e3;
        json!({
            "clients": bench.clients,
            "seconds": bench.seconds,
            "value_bytes": bench.value_bytes,
            "mix": format!("{:?}", bench.mix).to_lowercase(),
            "ops_per_second": self.ops_per_second.round(),
            "p50_ms": ms(self.p50),
            "p90_ms": ms(self.p90),
            "p99_ms": ms(self.p99),
            "max_ms": ms(self.max),
            "answered": self.answered,
            "errors": self.errors,
            "first_error": self.first_error,
        })
    }

    /// For people.
    pub(crate) fn cells(&self) -> [String; 7] {
        let ms = |duration: Duration| format!("{:.2} ms", duration.as_micros() as f64 / 1e3);
        [
            format!("{:.0}", self.ops_per_second),
            ms(self.p50),
            ms(self.p90),
            ms(self.p99),
            ms(self.max),
            self.answered.to_string(),
            self.errors.to_string(),
        ]
    }
}

/// The smallest time that at least so many of a thousand calls did not exceed.
fn percentile(sorted: &[u32], permille: usize) -> Duration {
    let rank = (sorted.len() * permille).div_ceil(1_000).max(1);
    Duration::from_micros(sorted.get(rank - 1).copied().unwrap_or(0).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let sorted: Vec<u32> = (1..=200).collect();
        let micros = |permille| percentile(&sorted, permille).as_micros();
        assert_eq!([micros(500), micros(990), micros(1_000)], [100, 198, 200]);
        assert_eq!(percentile(&[], 500), Duration::ZERO);
        assert_eq!(percentile(&[7], 1), Duration::from_micros(7));
    }
}
