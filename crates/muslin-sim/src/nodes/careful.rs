//! Clients that care: they put for a while, hold a lock and write under its fence, and ask again
//! under a key until they are answered. What they send is what those send who serve clients.

use super::Nodes;
use super::asks::Answer;
use super::clients::Duty;
use crate::checkers::Broken;
use crate::checkers::locks::GUARDED;
use crate::profile::TTL_MAX;
use bytes::Bytes;
use muslin_core::base::{LeaseId, NodeId, Revision};
use muslin_core::node::{Consistency, Request};
use muslin_core::state::{
    Command, CommandKind, DeleteRange, KeyRange, Op, OpKind, Outcome, Places, Put, Query, Response,
    Txn, fenced, once,
};
use std::time::Duration;

/// The lock that all of them want.
const LOCK: &[u8] = b"lock";

/// Who wants the lock.
#[derive(Default)]
pub(super) struct Locker {
    seat: Seat,
    asked: Asked,
    /// The newest fence that anybody held the lock by when it asked.
    floor: u64,
}

impl Locker {
    /// The node that it asked is gone; a place it may have made goes with its lease.
    pub(super) fn lose(&mut self) {
        let asked = std::mem::take(&mut self.asked);
        if asked == Asked::Enter {
            self.seat = Seat::Out;
        }
    }
}

#[derive(Clone, Copy, Default)]
enum Seat {
    /// It has no place, or will not use it: it goes with its lease.
    #[default]
    Out,
    /// Its place is to be made.
    Entering(u64),
    /// It waits; by the lease and the revision of its place.
    Queued(u64, u64),
    /// It was told that it is first.
    Holding(u64, u64),
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Asked {
    #[default]
    Nothing,
    Enter,
    Look,
    Write,
    Keep,
}

/// What a client asks for until it is answered, and now and then once more.
pub(super) struct Pending {
    receipt: Bytes,
    value: Bytes,
    /// No two attempts are the same bytes, as no two leases of receipts are.
    attempts: u64,
}

fn txn(txn: Txn) -> Request {
    Request::Write(Command::of(CommandKind::Txn(txn)))
}

fn op(kind: OpKind) -> Op {
    Op { kind: Some(kind) }
}

/// Puts for a while.
impl Nodes {
    pub(super) fn timed_turn(&mut self, client: usize) {
        let key = Bytes::from(format!("t{client}"));
        let draw = self.draws.client.below(100);
        if draw < 20 {
            let rest = self.draws.client.duration(Duration::from_millis(50), TTL_MAX);
            return self.plan_turn(client, rest);
        }
        let value = Bytes::from(format!("t{client}-{}", self.next_count(client)));
        if draw < 30 {
            // The end of the range makes the command unique, and holds no other key.
            let range_end = Bytes::from([&key[..], b"\0", &value[..]].concat());
            let delete = DeleteRange { range: KeyRange { key, range_end }, prev_kv: false };
            let request = Request::Write(Command::of(CommandKind::Delete(delete)));
            return self.ask_home(client, request);
        }
        let (lease, ttl_ms) = self.draw_lease();
        self.crowd.timed.on_asked(&value);
        let put = Put { key, value, lease, ttl_ms, ..Put::default() };
        let request = match draw {
            30..80 => Request::Write(Command::of(CommandKind::Put(put))),
            _ => txn(Txn { success: vec![op(OpKind::Put(put))], ..Txn::default() }),
        };
        self.ask_home(client, request);
    }

    /// An id, and a time to live in milliseconds.
    fn draw_lease(&mut self) -> (u64, u64) {
        self.crowd.last_lease += 1;
        let span = TTL_MAX.as_millis() as u64 - 1_000;
        (self.crowd.last_lease, 1_000 + self.draws.client.below(span))
    }
}

/// A lock.
impl Nodes {
    fn locker(&mut self, client: usize) -> &mut Locker {
        match &mut self.crowd.clients[client].duty {
            Duty::Lock(locker) => locker,
            _ => unreachable!("asked of those that want the lock"),
        }
    }

    pub(super) fn lock_turn(&mut self, client: usize) {
        let draw = self.draws.client.below(100);
        let seat = self.locker(client).seat;
        if draw >= 95 && !matches!(seat, Seat::Out | Seat::Entering(_)) {
            // Long enough to lose the place, and to write all the same.
            let rest = self.draws.client.duration(Duration::from_millis(200), TTL_MAX * 2);
            return self.plan_turn(client, rest);
        }
        let places = Places::of(LOCK);
        let (asked, request) = match seat {
            Seat::Out | Seat::Entering(_) => {
                let (lease, ttl_ms) = self.draw_lease();
                self.locker(client).seat = Seat::Entering(lease);
                let key = places.key(LeaseId(lease));
                let put = Put { key, lease, ttl_ms, ..Put::default() };
                (Asked::Enter, txn(places.enter(put)))
            }
            Seat::Queued(lease, _) | Seat::Holding(lease, _) if draw < 20 => {
                (Asked::Keep, Request::KeepAlive(lease))
            }
            Seat::Queued(lease, fence) | Seat::Holding(lease, fence) if draw < 30 => {
                self.locker(client).seat = Seat::Out;
                let key = places.key(LeaseId(lease));
                (Asked::Nothing, txn(Places::leave(&key, Revision(fence))))
            }
            Seat::Queued(..) => {
                let query = Query::Range(places.first());
                (Asked::Look, Request::Read { query, consistency: Consistency::Linearizable })
            }
            Seat::Holding(lease, fence) => {
                let value = format!("{fence} c{client}-{}", self.next_count(client));
                let put = Put { key: GUARDED.into(), value: value.into(), ..Put::default() };
                let key = places.key(LeaseId(lease));
                (Asked::Write, txn(fenced(&key, Revision(fence), vec![op(OpKind::Put(put))])))
            }
        };
        let floor = self.crowd.locks.floor();
        let locker = self.locker(client);
        (locker.asked, locker.floor) = (asked, floor);
        self.ask_home(client, request);
    }

    pub(super) fn on_lock_answer(
        &mut self,
        client: usize,
        node: NodeId,
        answer: &Answer,
    ) -> Result<(), Broken> {
        let locker = self.locker(client);
        let (asked, seat, floor) = (std::mem::take(&mut locker.asked), locker.seat, locker.floor);
        let (next, is_first) = match (asked, seat, answer) {
            (Asked::Enter, Seat::Entering(lease), Answer::Outcome(outcome)) => {
                let fence = outcome.revision.0;
                match entered(outcome) {
                    Some(first) if first == fence => (Seat::Holding(lease, fence), true),
                    Some(_) => (Seat::Queued(lease, fence), false),
                    None => (Seat::Out, false),
                }
            }
            (Asked::Enter, _, _) => (Seat::Out, false),
            (Asked::Look, Seat::Queued(lease, fence), Answer::Outcome(outcome)) => {
                match outcome.result.as_ref().ok().and_then(first_of) {
                    Some(first) if first == fence => (Seat::Holding(lease, fence), true),
                    Some(first) if first < fence => (seat, false),
                    // Its place is gone.
                    _ => (Seat::Out, false),
                }
            }
            (Asked::Write, _, Answer::Outcome(outcome)) => match outcome.result {
                Ok(Response::Txn { succeeded: true, .. }) => (seat, false),
                _ => (Seat::Out, false),
            },
            (Asked::Keep, _, Answer::Lease(None)) => (Seat::Out, false),
            _ => (seat, false),
        };
        self.locker(client).seat = next;
        match next {
            Seat::Holding(_, fence) if is_first => {
                self.crowd.locks.on_first(node, (client, fence), floor)
            }
            _ => Ok(()),
        }
    }
}

/// Of a place that was taken: the revision of the first one.
fn entered(outcome: &Outcome) -> Option<u64> {
    match &outcome.result {
        Ok(Response::Txn { succeeded: true, responses }) => first_of(responses.get(1)?),
        _ => None,
    }
}

fn first_of(response: &Response) -> Option<u64> {
    match response {
        Response::Range { kvs, .. } => kvs.first().map(|kv| kv.create_revision),
        _ => None,
    }
}

/// Requests with a key.
impl Nodes {
    pub(super) fn keyed_turn(&mut self, client: usize) {
        let count = self.next_count(client);
        let Duty::Keyed(pending) = &mut self.crowd.clients[client].duty else { return };
        let pending = pending.get_or_insert_with(|| {
            let receipt = Bytes::from(format!("r{client}-{count}"));
            let value = Bytes::from(format!("once {client}-{count}"));
            self.crowd.once.on_begun(&value);
            Pending { receipt, value, attempts: 0 }
        });
        pending.attempts += 1;
        let attempt = Bytes::from(pending.attempts.to_le_bytes().to_vec());
        let (receipt, value) = (pending.receipt.clone(), pending.value.clone());
        let put = |key: Bytes, value| op(OpKind::Put(Put { key, value, ..Put::default() }));
        let write = vec![put(format!("d{client}").into(), value), put(receipt.clone(), attempt)];
        // Perhaps elsewhere than the last time.
        self.move_sometimes(client);
        if self.hosts[self.crowd.clients[client].home].process.is_none() {
            return self.plan_turn(client, Duration::from_millis(10));
        }
        self.ask_home(client, txn(once(&receipt, Vec::new(), write)));
    }

    pub(super) fn on_keyed_answer(
        &mut self,
        client: usize,
        node: NodeId,
        answer: &Answer,
    ) -> Result<(), Broken> {
        let is_enough = self.draws.client.chance(600_000);
        let Duty::Keyed(pending) = &mut self.crowd.clients[client].duty else { return Ok(()) };
        let Some(asked) = pending else { return Ok(()) };
        let Answer::Outcome(Outcome { result: Ok(Response::Txn { succeeded, responses }), .. }) =
            answer
        else {
            return Ok(());
        };
        let told = (*succeeded, responses.first());
        self.crowd.once.on_answer(node, &asked.value, told)?;
        // As if the answer had been lost.
        if is_enough {
            *pending = None;
        }
        Ok(())
    }
}

/// What was committed.
impl Nodes {
    /// All changes from this one on are new.
    pub(super) fn note_events(&mut self, from: usize) -> Result<(), Broken> {
        let crowd = &mut self.crowd;
        for event in &crowd.ledger.model().events()[from..] {
            crowd.timed.on_event(self.time, event)?;
            crowd.locks.on_event(event)?;
            crowd.once.on_event(event)?;
        }
        Ok(())
    }
}
