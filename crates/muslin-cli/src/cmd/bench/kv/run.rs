//! The runs, each in its phases.

use super::super::harness::figures::processor_time;
use super::actor::{Actor, Part, Phase};
use super::call::{VALUE_BYTES_MIN, Values};
use super::client::{Client, Plan};
use super::driver::Driver;
use super::figures::{Figures, HEAD};
use super::processes::Processes;
use super::seen::Seen;
use super::watcher::{Total, Watcher};
use crate::args::{BenchKv, Format, Global, Workload};
use crate::failure::{Failure, Kind};
use crate::output::{self, Table};
use serde_json::{Value, json};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Longest a phase goes on whose end does not hang on the clock, so that a cluster that is down
/// holds nobody for ever.
const FILL_MAX: Duration = Duration::from_secs(600);
const READY_MAX: Duration = Duration::from_secs(30);
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// How long watchers are waited for when the last write was answered.
const LAST_EVENTS: Duration = Duration::from_secs(10);

/// Writes a second under which watchers are watched, where nobody says another rate.
const WATCHED_RATE: u64 = 1_000;

/// Runs the loads and prints what came of them.
pub(crate) async fn run(global: &Global, bench: BenchKv) -> Result<(), Failure> {
    let mut figures = Vec::new();
    for workload in &bench.workload {
        for clients in &bench.clients {
            let run = Run::new(&bench, *workload, *clients)?;
            figures.extend(run.measure().await?);
        }
    }
    match global.output {
        Format::Json => output::json(&document(&bench, &figures))?,
        Format::Table => {
            let mut table = Table::new(&HEAD);
            figures.iter().for_each(|figures| table.row(figures.cells()));
            table.print()?;
        }
    }
    verdict(global, &figures)
}

fn document(bench: &BenchKv, figures: &[Figures]) -> Value {
    json!({
        "endpoints": bench.endpoints,
        "connections": bench.connections,
        "value_bytes": bench.value_bytes,
        "keys": bench.keys,
        "rate": bench.rate,
        "runs": figures.iter().map(Figures::json).collect::<Vec<_>>(),
    })
}

/// Says what went wrong; a load that got no answer, or an untrue one, fails.
fn verdict(global: &Global, figures: &[Figures]) -> Result<(), Failure> {
    let reasons = figures.iter().flat_map(|one| {
        let Figures { workload, clients, seen, .. } = one;
        seen.reasons.values().map(move |reason| {
            let (why, count) = (output::printable(&reason.first), reason.count);
            format!("{workload}, {clients} clients: {count} x {why}")
        })
    });
    let reasons: Vec<String> = reasons.collect();
    if global.output == Format::Table {
        reasons.iter().for_each(|reason| output::hint(reason));
    }
    let silent = figures.iter().find(|figures| figures.seen.answered() == 0);
    let wrong: u64 = figures.iter().map(|figures| figures.seen.wrong).sum();
    match (silent, wrong) {
        (Some(silent), _) => {
            let why = reasons.first().cloned().unwrap_or_else(|| "no answer".to_string());
            let sentence = format!("nothing was answered ({}): {why}", silent.workload);
            Err(Failure::new(Kind::Unreachable, sentence))
        }
        (None, 1..) => Err(Failure::new(Kind::Failed, format!("{wrong} answers were wrong"))),
        (None, 0) => Ok(()),
    }
}

/// One workload with so many clients.
struct Run<'a> {
    bench: &'a BenchKv,
    plan: Plan,
    clients: usize,
}

impl Run<'_> {
    fn new(bench: &BenchKv, workload: Workload, clients: usize) -> Result<Run<'_>, Failure> {
        if workload == Workload::Watch && bench.value_bytes < VALUE_BYTES_MIN {
            let sentence = format!("watchers need values of {VALUE_BYTES_MIN} bytes or more");
            return Err(Failure::new(Kind::Usage, sentence).hint("--value-bytes 128"));
        }
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let rate = match workload {
            Workload::Watch => Some(bench.rate.unwrap_or(WATCHED_RATE)),
            _ => bench.rate,
        };
        let plan = Plan {
            workload,
            values: Values { mark: since_epoch.as_nanos() as u64, bytes: bench.value_bytes },
            clients: clients as u64,
            keys: bench.keys,
            period: rate.map(|rate| Duration::from_secs_f64(clients as f64 / rate as f64)),
            base: Instant::now(),
        };
        Ok(Run { bench, plan, clients })
    }

    async fn measure(&self) -> Result<Vec<Figures>, Failure> {
        let workload = self.plan.workload;
        let mut drivers = self.connect().await?;
        if workload.reads() {
            drivers = phase(drivers, Part::Fill, FILL_MAX).await?;
            require_filled(&drivers)?;
        }
        drivers = phase(drivers, Part::Ready, READY_MAX).await?;
        let total = Total::unknown();
        let watchers = self.watchers(&total).await?;
        // All keys are written once, and all events counted: there is nothing to warm up with.
        let warm_up = match workload {
            Workload::Fill | Workload::Watch => 0,
            _ => self.bench.warm_up,
        };
        if warm_up > 0 {
            let until = Instant::now() + Duration::from_secs(warm_up);
            let warm_up = Phase { part: Part::Load, is_measured: false, until };
            drivers = all(drivers, warm_up).await?;
        }
        let processes = Processes::watch(&self.bench.pids)?;
        let (start, own) = (Instant::now(), processor_time());
        let length = match workload {
            Workload::Fill => FILL_MAX,
            _ => Duration::from_secs(self.bench.seconds),
        };
        let load = Phase { part: Part::Load, is_measured: true, until: start + length };
        let longer = Phase { until: load.until + LAST_EVENTS, ..load };
        let watching = tokio::spawn(all(watchers, longer));
        drivers = all(drivers, load).await?;
        let elapsed = start.elapsed();
        let answered = drivers.iter().flat_map(|driver| &driver.actors);
        total.set(answered.map(|client| client.seen.answered()).sum());
        let watchers = watching.await.map_err(died)??;
        let own = processor_time().saturating_sub(own);
        let cost = processes.map(|processes| processes.cost()).transpose()?;
        drivers = phase(drivers, Part::Close, CLOSE_MAX).await?;
        let seen = collect(drivers, |client| client.seen);
        let name = if workload == Workload::Watch { "watch: puts" } else { workload.name() };
        let clients = self.clients;
        let puts = Figures { workload: name, clients, seen, elapsed, cost: cost.clone(), own };
        if watchers.is_empty() {
            return Ok(vec![puts]);
        }
        let (clients, sent) = (watchers.len(), puts.seen.answered());
        let seen = collect(watchers, |mut watcher| {
            watcher.seen.missing(sent.saturating_sub(watcher.events), "an event was lost");
            watcher.seen
        });
        let events = Figures { workload: "watch: events", clients, seen, elapsed, cost, own };
        Ok(vec![puts, events])
    }

    async fn connect(&self) -> Result<Vec<Driver<Client>>, Failure> {
        let connections = self.bench.connections.unwrap_or(self.clients).clamp(1, self.clients);
        let mut drivers = Vec::new();
        for connection in 0..connections {
            let numbers = (connection..self.clients).step_by(connections);
            let clients = numbers.map(|number| Client::new(self.plan, number as u64)).collect();
            drivers.push(self.driver(connection, clients).await?);
        }
        Ok(drivers)
    }

    async fn driver<A: Actor>(&self, at: usize, actors: Vec<A>) -> Result<Driver<A>, Failure> {
        let endpoint = &self.bench.endpoints[at % self.bench.endpoints.len()];
        Driver::new(endpoint, self.plan.values, actors).await
    }

    /// Watchers that watch already, for the workload that has some.
    async fn watchers(&self, total: &Total) -> Result<Vec<Driver<Watcher>>, Failure> {
        let count = match self.plan.workload {
            Workload::Watch => self.bench.watchers,
            _ => 0,
        };
        let mut watchers = Vec::new();
        for number in 0..count {
            let watcher = Watcher::new(self.plan.values, self.plan.base, total.clone());
            watchers.push(self.driver(number, vec![watcher]).await?);
        }
        phase(watchers, Part::Ready, READY_MAX).await
    }
}

/// Who cannot write what is to be read cannot judge what is read.
fn require_filled(drivers: &[Driver<Client>]) -> Result<(), Failure> {
    let mut clients = drivers.iter().flat_map(|driver| &driver.actors);
    let Some(client) = clients.find(|client| !client.is_filled()) else { return Ok(()) };
    let why = client.seen.reasons.values().next();
    let why = why.map_or("the connection was lost", |reason| reason.first.as_str());
    let sentence = format!("the keys to be read could not all be written: {why}");
    Err(Failure::new(Kind::Unreachable, sentence))
}

/// A phase that ends when everybody is through with it.
pub(super) async fn phase<A: Actor>(
    drivers: Vec<Driver<A>>,
    part: Part,
    at_most: Duration,
) -> Result<Vec<Driver<A>>, Failure> {
    all(drivers, Phase { part, is_measured: false, until: Instant::now() + at_most }).await
}

/// All drivers through a phase, at the same time.
pub(super) async fn all<A: Actor>(
    drivers: Vec<Driver<A>>,
    phase: Phase,
) -> Result<Vec<Driver<A>>, Failure> {
    let running: Vec<_> = drivers.into_iter().map(|d| tokio::spawn(d.run(phase))).collect();
    let mut drivers = Vec::with_capacity(running.len());
    for driver in running {
        drivers.push(driver.await.map_err(died)?);
    }
    Ok(drivers)
}

pub(super) fn died(error: tokio::task::JoinError) -> Failure {
    Failure::new(Kind::Failed, error.to_string())
}

pub(super) fn collect<A>(drivers: Vec<Driver<A>>, seen: impl Fn(A) -> Seen) -> Seen {
    let mut all = Seen::default();
    let actors = drivers.into_iter().flat_map(|driver| driver.actors);
    actors.map(seen).for_each(|seen| all.add(seen));
    all
}
