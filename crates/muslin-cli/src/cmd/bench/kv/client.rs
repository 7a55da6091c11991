//! One client: what it asks next, and what it makes of the answer.

use super::actor::{Actor, Next, Part, Phase};
use super::call::{self, Expected, Op, Told, Values};
use super::seen::Seen;
use crate::args::Workload;
use std::time::{Duration, Instant};

/// After an error a client waits, so that a cluster that is down is not hammered.
const ERROR_PAUSE: Duration = Duration::from_millis(20);

/// One call of so many is a write in a mix.
const MIX_PUT_EVERY: u64 = 10;

/// What all clients of a run have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) workload: Workload,
    pub(super) values: Values,
    /// How many clients there are.
    pub(super) clients: u64,
    /// Keys, all clients together.
    pub(super) keys: u64,
    /// From one call of a client to its next, when they are paced.
    pub(super) period: Option<Duration>,
    /// What times in values count from.
    pub(super) base: Instant,
}

/// What a client knows of a key that nobody else writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Key {
    /// It was not written.
    Blank,
    /// It was written so many times, from zero.
    Written(u32),
    /// A write was not answered: it may be done, and as late as it likes.
    Doubtful(u32),
}

impl Key {
    /// The number of its next write.
    fn next(self) -> u32 {
        match self {
            Key::Blank => 0,
            Key::Written(count) | Key::Doubtful(count) => count + 1,
        }
    }

    /// What a read must find.
    fn count(self) -> Option<u32> {
        match self {
            Key::Written(count) => Some(count),
            Key::Blank | Key::Doubtful(_) => None,
        }
    }
}

/// A call under way.
struct Flight {
    op: Op,
    since: Instant,
    /// What came of its message; the status is still to come.
    told: Option<Result<Told, String>>,
}

/// A client with keys of its own: it can say what each read of them must find.
pub(super) struct Client {
    plan: Plan,
    number: u64,
    keys: Vec<Key>,
    /// Where in its keys it is, and how far it steps.
    at: usize,
    step: usize,
    /// Keys filled.
    filled: usize,
    calls: u64,
    lease: Option<u64>,
    /// The last key whose write was answered; read back at the end.
    last: Option<usize>,
    revision: u64,
    /// Whether it has done what comes before the load, or behind it.
    is_through: bool,
    flight: Option<Flight>,
    not_before: Option<Instant>,
    /// What it saw.
    pub(super) seen: Seen,
}

impl Client {
    pub(super) fn new(plan: Plan, number: u64) -> Client {
        // Keys are dealt out like cards.
        let count = (plan.keys.max(plan.clients) - number).div_ceil(plan.clients) as usize;
        // A prime, so that it comes to every key before it comes to one again.
        let step = [7_919, 7_907].into_iter().find(|step| !count.is_multiple_of(*step));
        Client {
            plan,
            number,
            keys: vec![Key::Blank; count],
            at: 0,
            step: step.unwrap_or(1),
            filled: 0,
            calls: 0,
            lease: None,
            last: None,
            revision: 0,
            is_through: false,
            flight: None,
            not_before: None,
            seen: Seen::default(),
        }
    }

    fn key(&self, at: usize) -> u64 {
        self.number + self.plan.clients * at as u64
    }

    fn place(&self, key: u64) -> usize {
        (key / self.plan.clients) as usize
    }

    fn put(&self, at: usize, now: Instant) -> Op {
        let sent = now.saturating_duration_since(self.plan.base).as_nanos() as u64;
        Op::Put { key: self.key(at), count: self.keys[at].next(), sent }
    }

    fn read(&self, at: usize) -> Op {
        let is_serializable = self.plan.workload == Workload::Serializable;
        Op::Read { key: self.key(at), is_serializable }
    }

    fn fill(&mut self, now: Instant) -> Option<Op> {
        (self.filled < self.keys.len()).then(|| self.put(self.filled, now))
    }

    /// The revision of its last write.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether all its keys were written.
    pub(super) fn is_filled(&self) -> bool {
        self.filled == self.keys.len()
    }

    /// What has to be there before the load, and nobody measures.
    fn prepare(&self) -> Option<Op> {
        match self.plan.workload {
            Workload::KeepAlive if self.lease.is_none() => Some(Op::Grant),
            // The node asked may be behind: the load begins when it has what was written.
            Workload::Serializable if !self.is_through => Some(self.read(self.keys.len() - 1)),
            _ => None,
        }
    }

    /// What is looked at or taken away behind the load.
    fn conclude(&self) -> Option<Op> {
        match (self.plan.workload, self.lease, self.last) {
            _ if self.is_through => None,
            (Workload::Lease | Workload::KeepAlive, Some(lease), _) => Some(Op::Revoke { lease }),
            (_, _, Some(at)) => Some(Op::Read { key: self.key(at), is_serializable: false }),
            _ => None,
        }
    }

    fn load(&mut self, now: Instant) -> Option<Op> {
        self.at = (self.at + self.step) % self.keys.len();
        let turn = self.calls + self.number;
        Some(match self.plan.workload {
            Workload::Fill => return self.fill(now),
            Workload::Put | Workload::Watch => self.put(self.at, now),
            Workload::Linearizable | Workload::Serializable => self.read(self.at),
            Workload::Mix if turn.is_multiple_of(MIX_PUT_EVERY) => self.put(self.at, now),
            Workload::Mix => self.read(self.at),
            Workload::Lease => match self.lease {
                Some(lease) => Op::Revoke { lease },
                None => Op::Grant,
            },
            // Without a lease it was refused before the load; there is nothing to keep alive.
            Workload::KeepAlive => Op::KeepAlive { lease: self.lease? },
        })
    }

    fn note(&mut self, op: Op, told: Told, phase: &Phase) {
        match (op, told) {
            (Op::Put { key, count, .. }, told) => {
                let at = self.place(key);
                if let Told::Revision(revision) = told {
                    self.revision = revision;
                }
                self.keys[at] = match self.keys[at] {
                    Key::Doubtful(_) => Key::Doubtful(count),
                    Key::Blank | Key::Written(_) => Key::Written(count),
                };
                self.filled += usize::from(at == self.filled);
                self.last = Some(at);
            }
            (Op::Read { .. }, _) => self.is_through = phase.part != Part::Load,
            (Op::Revoke { .. }, _) => self.lease = None,
            (_, Told::Lease(lease)) => self.lease = Some(lease),
            _ => {}
        }
    }

    fn done(&mut self, flight: Flight, result: Result<Told, String>, phase: &Phase, now: Instant) {
        match result {
            Ok(told) => {
                self.note(flight.op, told, phase);
                if phase.is_measured {
                    self.seen.record(now.saturating_duration_since(flight.since));
                }
            }
            // A node that is behind before the load is waited for, not told.
            Err(_) if phase.part == Part::Ready && matches!(flight.op, Op::Read { .. }) => {
                self.not_before = Some(now + ERROR_PAUSE);
            }
            Err(why) => {
                self.seen.wrong(why);
                self.doubt(flight.op, phase);
                self.not_before = Some(now + ERROR_PAUSE);
            }
        }
    }

    /// What may have been done or not.
    fn doubt(&mut self, op: Op, phase: &Phase) {
        match op {
            Op::Put { key, count, .. } => {
                let at = self.place(key);
                self.keys[at] = Key::Doubtful(count);
            }
            Op::Revoke { .. } => self.lease = None,
            _ => {}
        }
        // What concludes is tried once.
        self.is_through |= phase.part == Part::Close;
    }
}

impl Actor for Client {
    fn begin(&mut self) {
        self.is_through = false;
    }

    fn next(&mut self, phase: &Phase, now: Instant) -> Next {
        if now >= phase.until {
            return Next::Done;
        }
        if let Some(time) = self.not_before.filter(|time| *time > now) {
            return Next::At(time);
        }
        let op = match phase.part {
            Part::Fill => self.fill(now),
            Part::Ready => self.prepare(),
            Part::Load => self.load(now),
            Part::Close => self.conclude(),
        };
        let Some(op) = op else { return Next::Done };
        self.not_before = match (phase.part, self.plan.period, self.not_before) {
            (Part::Load, Some(period), Some(last)) => Some(last + period),
            // From the second call on clients take turns.
            (Part::Load, Some(period), None) => {
                let share = (self.number + 1) as f64 / self.plan.clients as f64;
                Some(now + period.mul_f64(share))
            }
            _ => None,
        };
        self.calls += 1;
        self.flight = Some(Flight { op, since: now, told: None });
        Next::Call(op)
    }

    fn since(&self) -> Option<Instant> {
        self.flight.as_ref().map(|flight| flight.since)
    }

    fn message(&mut self, message: &[u8], phase: &Phase, now: Instant) {
        let Some(flight) = &mut self.flight else { return };
        let count = match flight.op {
            Op::Read { key, .. } => self.keys[(key / self.plan.clients) as usize].count(),
            _ => None,
        };
        let expected = Expected { count, revision: self.revision };
        let told = call::check(flight.op, message, self.plan.values, expected);
        flight.told = Some(told);
        if flight.op.is_streamed()
            && let Some(mut flight) = self.flight.take()
            && let Some(told) = flight.told.take()
        {
            self.done(flight, told, phase, now);
        }
    }

    fn end(&mut self, end: Result<(), String>, phase: &Phase, now: Instant) {
        let Some(mut flight) = self.flight.take() else { return };
        match (end, flight.told.take()) {
            (Ok(()), Some(told)) => self.done(flight, told, phase, now),
            (Ok(()), None) => {
                self.done(flight, Err("an answer without content".into()), phase, now)
            }
            (Err(why), _) => {
                self.seen.failed(why);
                self.doubt(flight.op, phase);
                self.not_before = Some(now + ERROR_PAUSE);
            }
        }
    }
}

#[cfg(test)]
mod tests;
