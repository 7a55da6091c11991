//! `muslin bench watchers`: what a crowd of watches does to those who write, and whether each is
//! told everything.

use super::super::harness::figures::processor_time;
use super::actor::{Part, Phase};
use super::call::{VALUE_BYTES_MIN, Values};
use super::client::{Client, Plan};
use super::crowd::Crowd;
use super::driver::Driver;
use super::figures::{Figures, HEAD};
use super::processes::Processes;
use super::run::{all, collect, died, phase};
use super::sleeper::{Sleeper, Woken};
use super::watcher::Total;
use crate::args::{BenchWatchers, Format, Global, Workload};
use crate::failure::{Failure, Kind};
use crate::output::{self, Table};
use serde_json::{Value, json};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Making all watches may take this long.
const READY_MAX: Duration = Duration::from_secs(120);

/// How long watches are waited for when the last write was answered.
const LAST_EVENTS: Duration = Duration::from_secs(20);

/// Between two loads, so that one does not pay for the other.
const PAUSE: Duration = Duration::from_secs(1);

/// What came of it.
struct Outcome {
    alone: Figures,
    watched: Figures,
    crowd: Told,
    woken: Vec<Woken>,
}

/// What the watches were told, all together.
struct Told {
    figures: Figures,
    events: u64,
    messages: u64,
    lost: u64,
    disordered: u64,
}

/// Runs the loads and prints what came of them.
pub(crate) async fn run(global: &Global, bench: BenchWatchers) -> Result<(), Failure> {
    let outcome = Bench::new(&bench)?.measure().await?;
    match global.output {
        Format::Json => output::json(&outcome.json(&bench))?,
        Format::Table => outcome.print()?,
    }
    outcome.verdict()
}

struct Bench<'a> {
    args: &'a BenchWatchers,
    plan: Plan,
}

impl Bench<'_> {
    fn new(args: &BenchWatchers) -> Result<Bench<'_>, Failure> {
        if args.value_bytes < VALUE_BYTES_MIN {
            let sentence = format!("watchers need values of {VALUE_BYTES_MIN} bytes or more");
            return Err(Failure::new(Kind::Usage, sentence));
        }
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let plan = Plan {
            workload: Workload::Watch,
            values: Values { mark: since_epoch.as_nanos() as u64, bytes: args.value_bytes },
            clients: args.clients as u64,
            keys: args.keys,
            period: Some(Duration::from_secs_f64(args.clients as f64 / args.rate as f64)),
            base: Instant::now(),
        };
        Ok(Bench { args, plan })
    }

    async fn measure(&self) -> Result<Outcome, Failure> {
        let (alone, _, writers) = self.load("puts alone", self.writers().await?).await?;
        drop(writers);
        tokio::time::sleep(PAUSE).await;
        // Each watch begins before the first write that it must be told.
        let last = Total::unknown();
        let writers = self.writers().await?;
        let crowd = phase(self.crowd(&last).await?, Part::Ready, READY_MAX).await?;
        self.require_created(&crowd)?;
        let mut asleep = Vec::new();
        for number in 0..self.args.asleep {
            asleep.push(Sleeper::new(self.endpoint(number)).await.map_err(unreachable)?);
        }
        tokio::time::sleep(PAUSE).await;
        let until = Instant::now() + self.length() + LAST_EVENTS;
        let watching = Phase { part: Part::Load, is_measured: true, until };
        let watching = tokio::spawn(all(crowd, watching));
        let (watched, revision, writers) = self.load("puts, watched", writers).await?;
        last.set(revision);
        let crowd = watching.await.map_err(died)??;
        drop(writers);
        let crowd = self.told(crowd, revision, watched.elapsed);
        let woken = self.wake(asleep, revision).await?;
        Ok(Outcome { alone, watched, crowd, woken })
    }

    /// Lets those who sleep do so for a while longer, and then read.
    async fn wake(&self, asleep: Vec<Sleeper>, last: u64) -> Result<Vec<Woken>, Failure> {
        let at = Instant::now() + Duration::from_secs(self.args.asleep_seconds);
        let wake = |sleeper: Sleeper| tokio::spawn(sleeper.wake(at, last));
        let running: Vec<_> = asleep.into_iter().map(wake).collect();
        let mut woken = Vec::with_capacity(running.len());
        for sleeper in running {
            woken.push(sleeper.await.map_err(died)?.map_err(unreachable)?);
        }
        Ok(woken)
    }

    fn length(&self) -> Duration {
        Duration::from_secs(self.args.seconds)
    }

    fn endpoint(&self, at: usize) -> &str {
        &self.args.endpoints[at % self.args.endpoints.len()]
    }

    async fn writers(&self) -> Result<Vec<Driver<Client>>, Failure> {
        let mut drivers = Vec::new();
        for number in 0..self.args.clients {
            let client = Client::new(self.plan, number as u64);
            drivers.push(Driver::new(self.endpoint(number), self.plan.values, vec![client]).await?);
        }
        Ok(drivers)
    }

    /// Writers under load: what they saw, and the last revision.
    async fn load(
        &self,
        name: &'static str,
        writers: Vec<Driver<Client>>,
    ) -> Result<(Figures, u64, Vec<Driver<Client>>), Failure> {
        let processes = Processes::watch(&self.args.pids)?;
        let (start, own) = (Instant::now(), processor_time());
        let load = Phase { part: Part::Load, is_measured: true, until: start + self.length() };
        let mut writers = all(writers, load).await?;
        let (elapsed, own) = (start.elapsed(), processor_time().saturating_sub(own));
        let cost = processes.map(|processes| processes.cost()).transpose()?;
        let clients = || writers.iter().flat_map(|driver| &driver.actors);
        let revision = clients().map(Client::revision).max().unwrap_or(0);
        let mut seen = super::seen::Seen::default();
        for driver in &mut writers {
            driver.actors.iter_mut().for_each(|one| seen.add(std::mem::take(&mut one.seen)));
        }
        let clients = self.args.clients;
        Ok((Figures { workload: name, clients, seen, elapsed, cost, own }, revision, writers))
    }

    /// Streams, in turn over connections, which are in turn over the endpoints.
    async fn crowd(&self, last: &Total) -> Result<Vec<Driver<Crowd>>, Failure> {
        let (watchers, per_stream) = (self.args.watchers, self.args.per_stream.max(1));
        let streams = watchers.div_ceil(per_stream);
        let connections = self.args.connections.clamp(1, streams);
        let mut crowds: Vec<Vec<Crowd>> = (0..connections).map(|_| Vec::new()).collect();
        for stream in 0..streams {
            let wanted = per_stream.min(watchers - stream * per_stream);
            let crowd = Crowd::new(wanted, self.plan.values, self.plan.base, last.clone());
            crowds[stream % connections].push(crowd);
        }
        let mut drivers = Vec::new();
        for (connection, crowd) in crowds.into_iter().enumerate() {
            let endpoint = self.endpoint(connection);
            drivers.push(Driver::new(endpoint, self.plan.values, crowd).await?);
        }
        Ok(drivers)
    }

    fn require_created(&self, crowd: &[Driver<Crowd>]) -> Result<(), Failure> {
        let created: usize = crowd.iter().flat_map(|one| &one.actors).map(Crowd::created).sum();
        match created == self.args.watchers {
            true => Ok(()),
            false => {
                let sentence = format!("{created} of {} watches began", self.args.watchers);
                Err(Failure::new(Kind::Unreachable, sentence))
            }
        }
    }

    fn told(&self, crowd: Vec<Driver<Crowd>>, last: u64, elapsed: Duration) -> Told {
        let actors = || crowd.iter().flat_map(|driver| &driver.actors);
        let events = actors().map(|one| one.events).sum();
        let messages = actors().map(|one| one.messages).sum();
        let missing: u64 = actors().map(|one| one.missing(last)).sum();
        let lost = missing + actors().map(|one| one.lost).sum::<u64>();
        let disordered = actors().map(|one| one.disordered).sum();
        let seen = collect(crowd, |one| one.seen);
        let (workload, clients) = ("messages to watches", self.args.watchers);
        let (cost, own) = (None, Duration::ZERO);
        let figures = Figures { workload, clients, seen, elapsed, cost, own };
        Told { figures, events, messages, lost, disordered }
    }
}

fn unreachable(why: String) -> Failure {
    Failure::new(Kind::Unreachable, format!("a watch that sleeps: {why}"))
}

impl Outcome {
    /// How much longer the slowest hundredth of puts waits.
    fn ratio(&self) -> f64 {
        let p99 = |figures: &Figures| figures.seen.times.permille(990).as_secs_f64();
        p99(&self.watched) / p99(&self.alone).max(1e-9)
    }

    fn json(&self, bench: &BenchWatchers) -> Value {
        let asleep = Asleep(&self.woken);
        json!({
            "watchers": bench.watchers,
            "per_stream": bench.per_stream,
            "connections": bench.connections,
            "value_bytes": bench.value_bytes,
            "rate": bench.rate,
            "alone": self.alone.json(),
            "watched": self.watched.json(),
            "delay": self.crowd.figures.json(),
            "events": self.crowd.events,
            "messages": self.crowd.messages,
            "lost": self.crowd.lost,
            "disordered": self.crowd.disordered,
            "p99_ratio": (self.ratio() * 1e3).round() / 1e3,
            "asleep": asleep.json(),
        })
    }

    fn print(&self) -> Result<(), Failure> {
        let mut table = Table::new(&HEAD);
        [&self.alone, &self.watched, &self.crowd.figures]
            .iter()
            .for_each(|figures| table.row(figures.cells()));
        table.print()?;
        let Told { events, messages, lost, disordered, figures } = &self.crowd;
        let mut lines = vec![
            format!("events {events} in {messages} messages to {} watches", figures.clients),
            format!("lost {lost}, out of order or twice {disordered}"),
            format!("p99 of puts, watched to alone: {:.2}", self.ratio()),
        ];
        if !self.woken.is_empty() {
            lines.push(Asleep(&self.woken).line());
        }
        output::text(&(lines.join("\n") + "\n"))
    }

    fn verdict(&self) -> Result<(), Failure> {
        let of_puts = [&self.alone, &self.watched];
        if let Some(silent) = of_puts.iter().find(|figures| figures.seen.answered() == 0) {
            let sentence = format!("nothing was answered ({})", silent.workload);
            return Err(Failure::new(Kind::Unreachable, sentence));
        }
        let all = [&self.alone, &self.watched, &self.crowd.figures];
        let seen = all.iter().map(|figures| &figures.seen);
        let wrong: u64 = seen.clone().map(|seen| seen.wrong).sum();
        for reason in seen.flat_map(|seen| seen.reasons.values()) {
            output::hint(&format!("{} x {}", reason.count, output::printable(&reason.first)));
        }
        let asleep = Asleep(&self.woken);
        match (self.crowd.lost + self.crowd.disordered + wrong, asleep.incomplete()) {
            (0, 0) => Ok(()),
            (0, missed) => {
                let sentence = format!("{missed} of those asleep missed events");
                Err(Failure::new(Kind::Failed, sentence))
            }
            (flaws, _) => {
                Err(Failure::new(Kind::Failed, format!("{flaws} events or answers were wrong")))
            }
        }
    }
}

/// What became of those who slept, all together.
struct Asleep<'a>(&'a [Woken]);

impl Asleep<'_> {
    /// Those that were canceled, and told from where to go on.
    fn canceled(&self) -> impl Iterator<Item = &Woken> {
        self.0.iter().filter(|woken| woken.from.is_some())
    }

    fn incomplete(&self) -> usize {
        self.0.iter().filter(|woken| !woken.is_complete).count()
    }

    fn sum(&self, count: fn(&Woken) -> u64) -> u64 {
        self.0.iter().map(count).sum()
    }

    fn json(&self) -> Value {
        json!({
            "watches": self.0.len(),
            "canceled": self.canceled().count(),
            "reason": self.canceled().find_map(|woken| woken.reason.as_deref()),
            "from": self.canceled().filter_map(|woken| woken.from).collect::<Vec<_>>(),
            "read_before": self.sum(|woken| woken.before),
            "read_after": self.sum(|woken| woken.after),
            "incomplete": self.incomplete(),
        })
    }

    fn line(&self) -> String {
        let why = self.canceled().find_map(|woken| woken.reason.as_deref()).unwrap_or("-");
        let (all, canceled) = (self.0.len(), self.canceled().count());
        let (before, after) = (self.sum(|woken| woken.before), self.sum(|woken| woken.after));
        format!(
            "{canceled} of {all} asleep canceled ({}) and went on; {before} + {after} events, {}",
            output::printable(why),
            match self.incomplete() {
                0 => "all there, in order".to_string(),
                missed => format!("NOT ALL THERE for {missed}"),
            }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_slept_are_told_of_together() {
        let canceled = |from, is_complete| {
            let reason = Some(format!("not read; watch again from revision {from}"));
            Woken { before: 3, reason, from: Some(from), after: 7, is_complete }
        };
        let read_on = Woken { before: 10, is_complete: true, ..Woken::default() };
        let all = [canceled(5, true), read_on, canceled(6, false)];
        let json = Asleep(&all).json();
        assert_eq!((&json["watches"], &json["canceled"]), (&3.into(), &2.into()));
        assert_eq!((&json["from"], &json["incomplete"]), (&json!([5, 6]), &1.into()));
        assert_eq!((&json["read_before"], &json["read_after"]), (&16.into(), &14.into()));
        assert!(Asleep(&all).line().ends_with("NOT ALL THERE for 1"));
        let line = Asleep(&all[..2]).line();
        assert!(line.ends_with("13 + 7 events, all there, in order"), "{line}");
    }
}
