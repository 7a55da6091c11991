//! How long nobody can write.
//!
//! A put starts at every endpoint every [`EVERY`], answered or not what came before, so that what
//! is measured is the cluster and not how patient a client is. Times are told by the machine's
//! clock: whoever stops or starts nodes meanwhile can say what came before what.

use super::call::{Op, Values};
use super::driver::Link;
use super::wire::connection::{Sink, Slot};
use crate::args::{BenchOutage, Format, Global};
use crate::failure::{Failure, Kind};
use crate::output::{self, Table};
use serde_json::{Value, json};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::time::{Sleep, sleep, sleep_until};

/// From one put at an endpoint to the next, and between two attempts to connect.
const EVERY: Duration = Duration::from_millis(2);

/// Puts under way at an endpoint: as many as start before one is given up.
const AT_ONCE: usize = 64;

/// A put is given up after so long: it may have been sent to a leader that is gone.
const PATIENCE: Duration = Duration::from_millis(120);

/// Bytes of a value: what is measured is time.
const VALUE_BYTES: usize = 32;

/// Longest wait for a connection.
const CONNECT_WAIT: Duration = Duration::from_millis(200);

/// Writes without pause and prints the times in which nothing was acknowledged.
pub(crate) async fn run(global: &Global, bench: BenchOutage) -> Result<(), Failure> {
    let start = Instant::now();
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let until = start + Duration::from_secs(bench.seconds);
    let probe = |(number, endpoint): (usize, &String)| {
        tokio::spawn(Probe::new(number, until).run(endpoint.clone()))
    };
    let probes: Vec<_> = bench.endpoints.iter().enumerate().map(probe).collect();
    let mut acknowledged = Vec::new();
    for probe in probes {
        let times = probe.await;
        acknowledged.extend(times.map_err(|e| Failure::new(Kind::Failed, e.to_string()))?);
    }
    acknowledged.sort_unstable();
    if acknowledged.is_empty() {
        let endpoints = bench.endpoints.join(", ");
        let sentence = format!("no put was acknowledged at {endpoints}");
        return Err(Failure::new(Kind::Unreachable, sentence));
    }
    let outages = outages(start, until, &acknowledged, Duration::from_millis(bench.longer_than));
    let told = Told { start, wall, acknowledged: &acknowledged, outages: &outages };
    match global.output {
        Format::Json => output::json(&told.json()),
        Format::Table => told.table().print(),
    }
}

/// A time in which nothing was acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Outage {
    from: Instant,
    length: Duration,
}

/// All of at least a length, from the beginning to the end.
fn outages(
    start: Instant,
    until: Instant,
    acknowledged: &[Instant],
    at_least: Duration,
) -> Vec<Outage> {
    let ends = acknowledged.iter().copied().chain([until]);
    let begins = [start].into_iter().chain(acknowledged.iter().copied());
    let gaps = begins
        .zip(ends)
        .map(|(from, to)| Outage { from, length: to.saturating_duration_since(from) });
    gaps.filter(|gap| gap.length >= at_least).collect()
}

/// What is printed.
struct Told<'a> {
    start: Instant,
    wall: Duration,
    acknowledged: &'a [Instant],
    outages: &'a [Outage],
}

impl Told<'_> {
    fn json(&self) -> Value {
        let unix = |time: Instant| (self.wall + (time - self.start)).as_micros() as u64;
        let outages = self
            .outages
            .iter()
            .map(|outage| json!({ "from_unix_us": unix(outage.from), "ms": ms(outage.length) }));
        json!({
            "acknowledged": self.acknowledged.len(),
            "first_unix_us": self.acknowledged.first().map(|first| unix(*first)),
            "outages": outages.collect::<Vec<_>>(),
        })
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&["SECOND", "NOTHING ACKNOWLEDGED FOR"]);
        for outage in self.outages {
            let second = (outage.from - self.start).as_secs_f64();
            table.row([format!("{second:.3}"), format!("{:.1} ms", ms(outage.length))]);
        }
        table
    }
}

fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// One endpoint, written to.
struct Probe {
    values: Values,
    key: u64,
    until: Instant,
    /// Since when each slot has a put under way.
    under_way: Vec<Option<Instant>>,
    acknowledged: Vec<Instant>,
}

impl Sink for Probe {
    fn message(&mut self, _: Slot, _: &[u8]) {}

    fn end(&mut self, slot: Slot, end: Result<(), String>) {
        self.under_way[slot] = None;
        if end.is_ok() {
            self.acknowledged.push(Instant::now());
        }
    }
}

impl Probe {
    fn new(number: usize, until: Instant) -> Probe {
        let values = Values { mark: 0, bytes: VALUE_BYTES };
        let under_way = vec![None; AT_ONCE];
        Probe { values, key: number as u64, until, under_way, acknowledged: Vec::new() }
    }

    /// Until the time is over; when each put was acknowledged.
    async fn run(mut self, endpoint: String) -> Vec<Instant> {
        while Instant::now() < self.until {
            let connected = tokio::time::timeout(CONNECT_WAIT, Link::new(&endpoint)).await;
            if let Ok(Ok(mut link)) = connected
                && let Err(why) = self.write(&mut link).await
            {
                link.wire.fail(&why, &mut self);
            }
            sleep(EVERY).await;
        }
        self.acknowledged
    }

    async fn write(&mut self, link: &mut Link) -> Result<(), String> {
        let mut message = Vec::new();
        let tick = sleep_until(Instant::now().into());
        tokio::pin!(tick);
        loop {
            let pause: std::pin::Pin<&mut Sleep> = tick.as_mut();
            if link.turn(self, Some(pause)).await? {
                continue;
            }
            let now = Instant::now();
            if now >= self.until {
                return Ok(());
            }
            tick.as_mut().reset((now + EVERY).into());
            for slot in 0..AT_ONCE {
                if self.under_way[slot].is_some_and(|since| now >= since + PATIENCE) {
                    link.wire.cancel(slot);
                    self.under_way[slot] = None;
                }
            }
            let free = self.under_way.iter().position(Option::is_none);
            if let Some(slot) = free.filter(|_| link.wire.has_room()) {
                let put = Op::Put { key: self.key, count: 0, sent: 0 };
                put.encode(&mut message, self.values);
                link.wire.open(slot, put.path(), &message, true);
                self.under_way[slot] = Some(now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_a_gap_and_so_are_the_ends() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let acknowledged = [at(10), at(12), at(512), at(530)];
        let found = outages(start, at(600), &acknowledged, Duration::from_millis(20));
        let outage = |from, ms| Outage { from: at(from), length: Duration::from_millis(ms) };
        assert_eq!(found, [outage(12, 500), outage(530, 70)]);
        let silent = outages(start, at(600), &[], Duration::from_millis(20));
        assert_eq!(silent, [outage(0, 600)]);
        let wall = Duration::from_secs(100);
        let told = Told { start, wall, acknowledged: &acknowledged, outages: &found };
        let first = json!({ "from_unix_us": 100_012_000, "ms": 500.0 });
        assert_eq!(told.json()["outages"][0], first);
        assert_eq!(told.json()["first_unix_us"], 100_010_000);
        assert_eq!(told.table().separated(), "0.012\t500.0 ms\n0.530\t70.0 ms\n");
    }
}
