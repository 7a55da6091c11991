//! What the clients saw, as numbers.

use super::processes::Cost;
use super::seen::Seen;
use serde_json::{Value, json};
use std::time::Duration;

/// Columns of the table.
pub(super) const HEAD: [&str; 13] = [
    "WORKLOAD",
    "CLIENTS",
    "OPS/S",
    "P50",
    "P99",
    "P99.9",
    "MAX",
    "ANSWERED",
    "ERRORS",
    "WRONG",
    "SERVER CPU/1000",
    "PEAK MEMORY",
    "OWN CPU/1000",
];

/// The result of a run.
pub(super) struct Figures {
    /// What was asked; for `watch`, whose end of it.
    pub(super) workload: &'static str,
    /// How many asked.
    pub(super) clients: usize,
    /// What they saw.
    pub(super) seen: Seen,
    /// How long was measured.
    pub(super) elapsed: Duration,
    /// What it cost the servers, where that is known.
    pub(super) cost: Option<Cost>,
    /// Processor time of this process.
    pub(super) own: Duration,
}

impl Figures {
    fn rate(&self) -> f64 {
        self.seen.answered() as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Seconds per thousand answered calls.
    fn per_thousand(&self, time: Duration) -> f64 {
        let seconds = time.as_secs_f64() * 1e3 / self.seen.answered().max(1) as f64;
        (seconds * 1e6).round() / 1e6
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let ms = |time: Duration| time.as_micros() as f64 / 1e3;
        let at = |permille| ms(self.seen.times.permille(permille));
        let reasons = self.seen.reasons.values();
        let reasons = reasons.map(|reason| json!({ "what": reason.first, "count": reason.count }));
        let reasons: Vec<Value> = reasons.collect();
        let cost = self.cost.as_ref();
        json!({
            "workload": self.workload,
            "clients": self.clients,
            "seconds": (self.elapsed.as_secs_f64() * 1e3).round() / 1e3,
            "ops_per_second": self.rate().round(),
            "p50_ms": at(500),
            "p90_ms": at(900),
            "p99_ms": at(990),
            "p999_ms": at(999),
            "max_ms": ms(self.seen.longest),
            "answered": self.seen.answered(),
            "errors": self.seen.failed,
            "wrong": self.seen.wrong,
            "reasons": reasons,
            "server_cpu_seconds": cost.map(|cost| cost.processor.as_secs_f64()),
            "server_cpu_seconds_per_1000": cost.map(|cost| self.per_thousand(cost.processor)),
            "server_peak_bytes": cost.map(|cost| &cost.peaks),
            "own_cpu_seconds_per_1000": self.per_thousand(self.own),
        })
    }

    /// For people.
    pub(super) fn cells(&self) -> [String; 13] {
        let ms = |time: Duration| format!("{:.2} ms", time.as_micros() as f64 / 1e3);
        let at = |permille| ms(self.seen.times.permille(permille));
        let seconds = |time| format!("{:.4} s", self.per_thousand(time));
        let peak = self.cost.as_ref().and_then(|cost| cost.peaks.iter().max());
        [
            self.workload.to_string(),
            self.clients.to_string(),
            format!("{:.0}", self.rate()),
            at(500),
            at(990),
            at(999),
            ms(self.seen.longest),
            self.seen.answered().to_string(),
            self.seen.failed.to_string(),
            self.seen.wrong.to_string(),
            self.cost.as_ref().map_or("-".to_string(), |cost| seconds(cost.processor)),
            peak.map_or("-".to_string(), |bytes| format!("{:.1} MB", *bytes as f64 / 1e6)),
            seconds(self.own),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Figures {
        let mut seen = Seen::default();
        (1..=2_000u64).for_each(|micros| seen.record(Duration::from_micros(micros * 10)));
        seen.failed("no answer".to_string());
        let cost =
            Cost { processor: Duration::from_millis(192), peaks: vec![1_000_000, 2_500_000] };
        Figures {
            workload: "put",
            clients: 64,
            seen,
            elapsed: Duration::from_millis(500),
            cost: Some(cost),
            own: Duration::from_millis(10),
        }
    }

    /// A histogram tells the lower end of a bucket, 1.6 % below the time at most.
    fn is_near(told: f64, time: f64) -> bool {
        told <= time && told >= time * 0.98
    }

    #[test]
    fn programs_get_rates_times_and_costs() {
        let told = sample().json();
        assert_eq!(told["ops_per_second"], 4_000.0);
        assert_eq!(told["server_cpu_seconds_per_1000"], 0.096);
        assert_eq!(told["own_cpu_seconds_per_1000"], 0.005);
        assert_eq!(told["server_peak_bytes"], json!([1_000_000, 2_500_000]));
        assert_eq!(told["reasons"], json!([{ "what": "no answer", "count": 1 }]));
        assert_eq!((&told["errors"], &told["wrong"]), (&json!(1), &json!(0)));
        assert_eq!(told["max_ms"], 20.0);
        for (name, ms) in [("p50_ms", 10.0), ("p99_ms", 19.8), ("p999_ms", 19.98)] {
            assert!(is_near(told[name].as_f64().unwrap(), ms), "{name}: {}", told[name]);
        }
    }

    #[test]
    fn people_get_a_cell_for_each_column() {
        let cells = sample().cells();
        assert_eq!(cells[..3], ["put", "64", "4000"]);
        assert_eq!(cells[10..], ["0.0960 s", "2.5 MB", "0.0050 s"]);
        let unknown = Figures { cost: None, ..sample() };
        assert_eq!(unknown.cells()[10..12], ["-", "-"]);
        assert!(unknown.json()["server_cpu_seconds"].is_null());
    }
}
