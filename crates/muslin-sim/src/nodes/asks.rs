//! Requests of clients on their way, and what their answers are held against.

use super::Nodes;
use super::groups::Asked;
use crate::checkers::Broken;
use crate::checkers::ledger::{OpId, Reading};
use crate::time::Time;
use bytes::Bytes;
use muslin_core::base::RequestId;
use muslin_core::node::{Input, Reply, Request};
use muslin_core::state::{Asker, Command, CommandKind, OpKind, Outcome, Put, Query, Response};
use std::collections::BTreeMap;
use std::time::Duration;

/// A running node answers within its request timeout and this much.
const PATIENCE: Duration = Duration::from_secs(3);

/// What an answer is held against.
pub(super) enum Kind {
    /// With the lease that a put in it makes, if it is done, and how long that lives.
    Write(OpId, Option<Timed>),
    Read(Reading),
    Watch,
    Lease {
        id: u64,
    },
    Group(Asked),
    /// Nothing: status, transfer of leadership.
    Other,
}

/// A put with a time to live.
pub(super) struct Timed {
    lease: u64,
    ttl: Duration,
    value: Bytes,
}

/// The put with a time to live in a command, of which no client asks for two.
fn timed_of(command: &Command) -> Option<Timed> {
    let put = match command.kind.as_ref()? {
        CommandKind::Put(put) => put,
        CommandKind::Txn(txn) => txn.success.iter().find_map(|op| match &op.kind {
            Some(OpKind::Put(put)) => Some(put),
            _ => None,
        })?,
        _ => return None,
    };
    let Put { lease, ttl_ms, value, .. } = put.clone();
    (ttl_ms != 0).then(|| Timed { lease, ttl: Duration::from_millis(ttl_ms), value })
}

/// Whether the first branch was carried out.
fn is_done(outcome: &Outcome) -> bool {
    match &outcome.result {
        Ok(Response::Txn { succeeded, .. }) => *succeeded,
        result => result.is_ok(),
    }
}

pub(super) struct Ask {
    pub(super) client: usize,
    place: usize,
    asked: Time,
    kind: Kind,
    /// The node is asked only whether its state is fresh enough: what is read is read from a view
    /// of it, as those who embed a node do.
    is_through_view: bool,
}

#[derive(Default)]
pub(super) struct Asks {
    last: u64,
    waiting: BTreeMap<RequestId, Ask>,
}

/// What a client learns of its request.
pub(crate) enum Answer {
    /// The state answered.
    Outcome(Outcome),
    /// Granted and left time of a lease, in milliseconds, if it is there.
    Lease(Option<(u64, u64)>),
    /// Done, or only told.
    Done,
    /// Not done, or not known whether it was.
    Failed,
}

impl Nodes {
    /// A client asks a node.
    pub(super) fn ask(&mut self, client: usize, place: usize, request: Request) -> RequestId {
        let kind = match &request {
            // Said until it is done, each time in the same words: no reply is like another's.
            Request::Write(Command { kind: Some(CommandKind::Remove(_)) }) => Kind::Other,
            Request::Write(Command {
                kind: Some(CommandKind::GroupCreate(_) | CommandKind::Membership(_)),
            }) => Kind::Other,
            Request::Write(command) => {
                Kind::Write(self.crowd.ledger.on_asked(command), timed_of(command))
            }
            Request::Read { query, consistency } => {
                Kind::Read(self.crowd.ledger.on_reading(query.clone(), *consistency))
            }
            Request::Watch(_) => Kind::Watch,
            Request::Group { group, ask } => Kind::Group(self.crowd.groups.on_asked(*group, ask)),
            Request::KeepAlive(id) | Request::TimeToLive(id) => Kind::Lease { id: *id },
            _ => Kind::Other,
        };
        let id = self.next_request();
        let is_through_view = matches!(kind, Kind::Read(_)) && id.0.is_multiple_of(2);
        let ask = Ask { client, place, asked: self.time, kind, is_through_view };
        let request = match request {
            Request::Read { consistency, .. } if is_through_view => {
                Request::Read { query: Query::Revision, consistency }
            }
            other => other,
        };
        self.crowd.asks.waiting.insert(id, ask);
        self.arrive(place, Input::Request { id, asker: Asker::Cluster, request });
        self.rouse_soon(place);
        id
    }

    /// A node is asked for something of which nobody awaits an answer.
    pub(super) fn say(&mut self, place: usize, request: Request) {
        let id = self.next_request();
        self.arrive(place, Input::Request { id, asker: Asker::Cluster, request });
        self.rouse_soon(place);
    }

    /// Nobody watches at a node any more.
    pub(super) fn unwatch(&mut self, place: usize) {
        self.arrive(place, Input::Unwatched);
        self.rouse_soon(place);
    }

    /// A client goes away: nobody waits for the answer any more.
    pub(super) fn cancel(&mut self, id: RequestId) {
        let Some(ask) = self.crowd.asks.waiting.remove(&id) else { return };
        self.arrive(ask.place, Input::Cancel(id));
        self.rouse_soon(ask.place);
    }

    /// A watch has ended by itself.
    pub(super) fn asks_forget(&mut self, id: RequestId) {
        self.crowd.asks.waiting.remove(&id);
    }

    fn next_request(&mut self) -> RequestId {
        self.crowd.asks.last += 1;
        RequestId(self.crowd.asks.last)
    }

    /// A node answers.
    pub(super) fn on_reply(
        &mut self,
        place: usize,
        id: RequestId,
        reply: Reply,
    ) -> Result<(), Broken> {
        let Some(ask) = self.crowd.asks.waiting.get(&id) else { return Ok(()) };
        if let Kind::Watch = ask.kind
            && !matches!(reply, Reply::Failed(_))
        {
            let client = ask.client;
            return self.on_watch_reply(client, (place, id), &reply);
        }
        let ask = self.crowd.asks.waiting.remove(&id).expect("it was there a line ago");
        let reply = match (&ask.kind, reply) {
            (Kind::Read(reading), Reply::Outcome(_)) if ask.is_through_view => {
                Reply::Outcome(self.read_through_view(place, &reading.query))
            }
            (_, reply) => reply,
        };
        self.check_reply(place, &ask, &reply)?;
        let answer = match reply {
            Reply::Outcome(outcome) => Answer::Outcome(outcome),
            Reply::Lease { ttl, .. } => Answer::Lease(ttl),
            Reply::Failed(_) => Answer::Failed,
            _ => Answer::Done,
        };
        self.on_answer(ask.client, place, answer)
    }

    fn read_through_view(&self, place: usize, query: &Query) -> Outcome {
        let process = self.hosts[place].process.as_ref().expect("what answers is at work");
        let (_, view) = process.subject.state_view();
        view.query(query).expect("clients ask of what a view tells of")
    }

    fn check_reply(&mut self, place: usize, ask: &Ask, reply: &Reply) -> Result<(), Broken> {
        let node = self.hosts[place].id;
        match (&ask.kind, reply) {
            (_, Reply::Failed(_)) | (Kind::Other, _) => Ok(()),
            (Kind::Write(op, timed), Reply::Outcome(outcome)) => {
                self.crowd.ledger.on_write_reply(node, *op, outcome)?;
                if let Ok(Response::LeaseGrant { id, ttl_ms }) = &outcome.result {
                    let left = Duration::from_millis(*ttl_ms);
                    self.crowd.leases.on_alive(node, *id, (ask.asked, left))?;
                }
                match timed.as_ref().filter(|_| is_done(outcome)) {
                    Some(timed) => {
                        let promise = (ask.asked, timed.ttl);
                        self.crowd.leases.on_alive(node, timed.lease, promise)?;
                        self.crowd.timed.on_put(node, &timed.value, promise)
                    }
                    None => Ok(()),
                }
            }
            (Kind::Read(reading), Reply::Outcome(outcome)) => {
                self.counts.reads += 1;
                self.crowd.ledger.on_read_reply(node, reading, outcome)
            }
            (Kind::Group(asked), Reply::Group(answer)) => {
                self.crowd.groups.on_answer(node, asked, answer)
            }
            (Kind::Lease { id }, Reply::Lease { ttl: Some((_, left_ms)), .. }) => {
                let left = Duration::from_millis(*left_ms);
                self.crowd.leases.on_alive(node, *id, (ask.asked, left))
            }
            (Kind::Lease { id }, Reply::Lease { ttl: None, .. }) => {
                self.crowd.leases.on_gone(node, *id, self.time)
            }
            (_, other) => {
                let facts = format!("{node:?} answers a request of another kind with {other:?}");
                Err(Broken::new("answers", facts))
            }
        }
    }

    /// A node is gone, and with it all it was asked.
    pub(super) fn on_host_lost(&mut self, place: usize) {
        let is_lost = |ask: &&Ask| ask.place == place;
        let lost: Vec<usize> =
            self.crowd.asks.waiting.values().filter(is_lost).map(|ask| ask.client).collect();
        self.crowd.asks.waiting.retain(|_, ask| ask.place != place);
        for client in lost {
            self.on_lost(client);
        }
    }

    /// A running node answers everything in time, if only by saying that it cannot. One that stands
    /// still or starves hears late what it is asked.
    pub(super) fn check_patience(&self) -> Result<(), Broken> {
        let timeout = self.profile.request_timeout * 11 / 10 + PATIENCE;
        for (id, ask) in &self.crowd.asks.waiting {
            let host = &self.hosts[ask.place];
            let is_paused = host.process.as_ref().is_some_and(|process| process.is_paused);
            let is_slow = is_paused || host.starved > Duration::ZERO;
            let since = ask.asked.max(host.hindered);
            if matches!(ask.kind, Kind::Watch) || is_slow || self.time < since + timeout {
                continue;
            }
            let facts = format!("{:?} has not answered {id} of {}", host.id, ask.asked);
            return Err(Broken::new("answers", facts));
        }
        Ok(())
    }

    /// Whether nobody waits but watchers.
    pub(super) fn is_quiet(&self) -> bool {
        self.crowd.asks.waiting.values().all(|ask| matches!(ask.kind, Kind::Watch))
    }
}
