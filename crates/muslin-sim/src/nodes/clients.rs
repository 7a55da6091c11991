//! The clients: they read, write, follow, hold leases, admit nodes and probe, each with one request
//! at a time and never the same one twice, so that every effect has one cause.

use super::Nodes;
use super::asks::Answer;
use super::careful::{Locker, Pending};
use super::operator::Step;
use crate::checkers::Broken;
use crate::checkers::watches::Following;
use crate::profile::TTL_MAX;
use crate::time::Time;
use crate::world::{ASKED_IN_CALM_PPM, Happening};
use bytes::Bytes;
use muslin_core::base::{GroupId, RequestId};
use muslin_core::node::{Consistency, Request};
use muslin_core::state::{
    Command, CommandKind, Compact, Compare, CompareResult, CompareTarget, Cursor, DeleteRange,
    KeyRange, LeaseGrant, LeaseRevoke, Op, OpKind, Put, Query, Range, Txn,
};
use std::time::Duration;

/// What a client does.
pub(super) enum Duty {
    /// Reads and writes.
    Work,
    /// Follows changes, from node to node.
    Watch {
        following: Option<Following>,
        running: Option<(usize, RequestId)>,
        /// Where it reads, once the node said where it begins.
        cursor: Option<Box<Cursor>>,
        until: Time,
    },
    /// Holds a lease, if it has one.
    Hold { lease: Option<u64>, granting: u64 },
    /// Has groups made, and asks them; what it asks under a key until it is answered.
    Grouped { again: Option<(GroupId, Bytes)> },
    /// Puts for a while.
    Timed,
    /// Wants a lock, and writes under its fence.
    Lock(Locker),
    /// Asks under a key until it is answered.
    Keyed(Option<Pending>),
    /// Once all is well: writes to a group and reads from it, at one of its replicas.
    GroupProbe { group: GroupId, written: bool },
    /// Has nodes admitted and removed.
    Operate { doing: Option<Step> },
    /// Once all is well: writes and reads at one node until both are answered.
    Probe { written: bool, read: bool },
    /// Asks what a script says, and keeps the answer.
    #[cfg(test)]
    Hand { answer: Option<Answer> },
}

impl Duty {
    /// Whether nobody goes on with it when the faults are over.
    pub(super) fn ends_with_faults(&self) -> bool {
        matches!(
            self,
            Duty::Work
                | Duty::Hold { .. }
                | Duty::Grouped { .. }
                | Duty::Timed
                | Duty::Lock(_)
                | Duty::Keyed(_)
        )
    }
}

pub(super) struct Client {
    pub(super) duty: Duty,
    /// The node it asks.
    pub(super) home: usize,
    /// What is planned for an earlier turn is void.
    turn: u64,
    /// Makes everything it writes unique.
    count: u64,
    /// What it is about to be answered, if that matters to its duty.
    asking: Asking,
    pub(super) is_retired: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asking {
    Nothing,
    Anything,
    Write,
}

impl Nodes {
    /// The clients of the profile, each on a node.
    pub(super) fn hire_clients(&mut self) {
        let load = self.profile.load.clone();
        for _ in 0..load.clients {
            self.hire(Duty::Work);
        }
        for _ in 0..load.watchers {
            self.hire(Duty::Watch {
                following: None,
                running: None,
                cursor: None,
                until: Time::START,
            });
        }
        for _ in 0..load.holders {
            self.hire(Duty::Hold { lease: None, granting: 0 });
        }
        for _ in 0..self.profile.load.groups {
            self.hire(Duty::Grouped { again: None });
        }
        for _ in 0..load.careful {
            self.hire(Duty::Timed);
            self.hire(Duty::Lock(Locker::default()));
            self.hire(Duty::Keyed(None));
        }
        if self.profile.founders < self.profile.nodes {
            self.hire(Duty::Operate { doing: None });
        }
    }

    pub(super) fn hire(&mut self, duty: Duty) {
        let client = self.crowd.clients.len();
        let home = self.draws.client.below(self.hosts.len() as u64) as usize;
        let (turn, count, asking) = (0, 0, Asking::Nothing);
        self.crowd.clients.push(Client { duty, home, turn, count, asking, is_retired: false });
        self.plan_turn(client, Duration::from_millis(1));
    }

    /// Watches over one node once all is well.
    pub(super) fn hire_probe(&mut self, home: usize) {
        self.hire(Duty::Probe { written: false, read: false });
        self.crowd.clients.last_mut().expect("one was hired").home = home;
    }

    /// Nobody expects an answer from this node any more.
    pub(super) fn retire_probe(&mut self, home: usize) {
        for client in &mut self.crowd.clients {
            let is_bound = matches!(client.duty, Duty::Probe { .. } | Duty::GroupProbe { .. });
            client.is_retired |= client.home == home && is_bound;
        }
    }

    pub(super) fn plan_turn(&mut self, client: usize, after: Duration) {
        let after = after + self.profile.load.think.draw(&mut self.draws.client);
        self.crowd.clients[client].turn += 1;
        let turn = self.crowd.clients[client].turn;
        let at = self.next_busy(self.time + after, ASKED_IN_CALM_PPM);
        self.queue.push(at, Happening::Client { client, turn });
    }

    pub(super) fn on_client_turn(&mut self, client: usize, turn: u64) -> Result<(), Broken> {
        let state = &self.crowd.clients[client];
        if state.turn != turn || state.is_retired {
            return Ok(());
        }
        let is_bound = matches!(state.duty, Duty::Probe { .. } | Duty::GroupProbe { .. });
        if self.hosts[state.home].process.is_none() {
            if !is_bound {
                self.crowd.clients[client].home =
                    self.draws.client.below(self.hosts.len() as u64) as usize;
            }
            self.plan_turn(client, Duration::from_millis(10));
            return Ok(());
        }
        match &self.crowd.clients[client].duty {
            Duty::Work => self.work_turn(client),
            Duty::Watch { .. } => return self.watch_turn(client),
            Duty::Hold { lease, .. } => {
                let lease = *lease;
                self.hold_turn(client, lease)
            }
            Duty::Operate { .. } => self.operate_turn(client),
            Duty::Grouped { .. } => self.group_turn(client),
            Duty::Timed => self.timed_turn(client),
            Duty::Lock(_) => self.lock_turn(client),
            Duty::Keyed(_) => self.keyed_turn(client),
            Duty::GroupProbe { group, written } => {
                let (group, written) = (*group, *written);
                self.group_probe_turn(client, group, written);
            }
            Duty::Probe { written, .. } => {
                let request =
                    if *written { self.whole_read() } else { self.put_request(client, "p", 0) };
                self.crowd.clients[client].asking = Asking::Anything;
                self.ask_home(client, request);
            }
            #[cfg(test)]
            Duty::Hand { .. } => {}
        }
        Ok(())
    }

    pub(super) fn ask_home(&mut self, client: usize, request: Request) {
        let home = self.crowd.clients[client].home;
        self.ask(client, home, request);
    }

    /// What a client was asking for is settled, one way or the other.
    pub(super) fn on_answer(
        &mut self,
        client: usize,
        place: usize,
        answer: Answer,
    ) -> Result<(), Broken> {
        let is_write = self.crowd.clients[client].asking == Asking::Write;
        self.crowd.clients[client].asking = Asking::Nothing;
        let is_ok = !matches!(answer, Answer::Failed);
        #[cfg(test)]
        if let Duty::Hand { answer: kept } = &mut self.crowd.clients[client].duty {
            *kept = Some(answer);
            return Ok(());
        }
        let node = self.hosts[place].id;
        match &mut self.crowd.clients[client].duty {
            Duty::Lock(_) => self.on_lock_answer(client, node, &answer)?,
            Duty::Keyed(_) => self.on_keyed_answer(client, node, &answer)?,
            // Otherwise as if the answer had been lost.
            Duty::Grouped { again } if is_ok && self.draws.client.chance(700_000) => {
                *again = None;
            }
            Duty::Probe { written, read } if is_ok => {
                (*written, *read) = (true, *written);
                self.crowd.clients[client].is_retired |=
                    *read_done(&self.crowd.clients[client].duty);
            }
            Duty::GroupProbe { written, .. } if is_ok => {
                let is_done = std::mem::replace(written, true);
                self.crowd.clients[client].is_retired |= is_done;
            }
            Duty::Hold { lease, granting } => match &answer {
                Answer::Outcome(outcome) if *granting != 0 && outcome.result.is_ok() => {
                    *lease = Some(std::mem::take(granting));
                }
                Answer::Lease(None) => *lease = None,
                _ => *granting = 0,
            },
            Duty::Watch { running, cursor, .. } => (*running, *cursor) = (None, None),
            _ => {}
        }
        if !is_ok {
            self.move_sometimes(client);
        }
        self.plan_turn(client, Duration::ZERO);
        if is_ok && is_write {
            self.crash_after_ack(place);
        }
        Ok(())
    }

    /// The node that a client asked is gone.
    pub(super) fn on_lost(&mut self, client: usize) {
        #[cfg(test)]
        if let Duty::Hand { answer } = &mut self.crowd.clients[client].duty {
            *answer = Some(Answer::Failed);
            return;
        }
        self.crowd.clients[client].asking = Asking::Nothing;
        match &mut self.crowd.clients[client].duty {
            Duty::Watch { running, cursor, .. } => (*running, *cursor) = (None, None),
            Duty::Hold { granting, .. } => *granting = 0,
            Duty::Lock(locker) => locker.lose(),
            _ => {}
        }
        self.move_sometimes(client);
        self.plan_turn(client, Duration::from_millis(5));
    }

    /// A client that was let down may try another node.
    pub(super) fn move_sometimes(&mut self, client: usize) {
        let other = self.draws.client.below(self.hosts.len() as u64) as usize;
        if self.draws.client.chance(500_000)
            && !matches!(
                self.crowd.clients[client].duty,
                Duty::Probe { .. } | Duty::GroupProbe { .. }
            )
        {
            self.crowd.clients[client].home = other;
        }
    }

    /// Whether every probe got its answers.
    pub(super) fn unanswered_probe(&self) -> Option<usize> {
        let is_open = |client: &&Client| {
            matches!(client.duty, Duty::Probe { .. } | Duty::GroupProbe { .. })
                && !client.is_retired
        };
        self.crowd.clients.iter().find(is_open).map(|client| client.home)
    }
}

fn read_done(duty: &Duty) -> &bool {
    match duty {
        Duty::Probe { read, .. } => read,
        _ => &false,
    }
}

/// Reading and writing.
impl Nodes {
    fn work_turn(&mut self, client: usize) {
        let load = &self.profile.load;
        let (compact, reads) = (load.compact_ppm, load.reads_ppm);
        let draw = self.draws.client.below(1_000_000);
        self.crowd.clients[client].asking = Asking::Anything;
        if draw < compact {
            return self.compact_turn(client);
        }
        let draw = self.draws.client.below(1_000_000);
        let request = if draw < reads {
            let by_lease = self.draws.client.chance(500_000);
            let how = if by_lease { Consistency::Lease } else { Consistency::Linearizable };
            self.read_request(how)
        } else if draw < reads + 60_000 {
            self.read_request(Consistency::Local)
        } else if draw > 995_000 {
            Request::Status
        } else {
            self.crowd.clients[client].asking = Asking::Write;
            self.write_request(client)
        };
        let home = self.crowd.clients[client].home;
        let id = self.ask(client, home, request);
        // Some do not wait for their answer.
        if self.draws.client.chance(5_000) {
            self.cancel(id);
            self.plan_turn(client, Duration::ZERO);
        }
    }

    fn write_request(&mut self, client: usize) -> Request {
        let key = self.draws.client.below(self.profile.load.keys);
        match self.draws.client.below(20) {
            0..12 => self.put_request(client, "k", key),
            12..15 => self.delete_request(client, key),
            _ => self.txn_request(client, key),
        }
    }

    /// A number that this client has not used before.
    pub(super) fn next_count(&mut self, client: usize) -> u64 {
        self.crowd.clients[client].count += 1;
        self.crowd.clients[client].count
    }

    fn unique(&mut self, client: usize) -> String {
        format!("c{client}-{}", self.next_count(client))
    }

    fn put(&mut self, client: usize, key: String) -> Put {
        let value = Bytes::from(self.unique(client));
        let prev_kv = self.draws.client.chance(200_000);
        Put { key: Bytes::from(key), value, prev_kv, ..Put::default() }
    }

    fn put_request(&mut self, client: usize, prefix: &str, key: u64) -> Request {
        let put = self.put(client, format!("{prefix}{key}"));
        Request::Write(Command::of(CommandKind::Put(put)))
    }

    /// Deletes one key. The end of the range makes the command unique, and holds no other key.
    fn delete_range(&mut self, client: usize, key: u64) -> DeleteRange {
        let key = format!("k{key}");
        let range_end = Bytes::from(format!("{key}\0{}", self.unique(client)));
        let range = KeyRange { key: Bytes::from(key), range_end };
        DeleteRange { range, prev_kv: self.draws.client.chance(300_000) }
    }

    fn delete_request(&mut self, client: usize, key: u64) -> Request {
        let delete = self.delete_range(client, key);
        Request::Write(Command::of(CommandKind::Delete(delete)))
    }

    /// Compares a key with what it was a moment ago, then writes two or reads.
    fn txn_request(&mut self, client: usize, key: u64) -> Request {
        let keys = self.profile.load.keys;
        let other = (key + 1) % keys.max(2);
        let range = KeyRange::of_key(format!("k{key}"));
        let last = self.crowd.ledger.model().revision().0;
        let target = match self.draws.client.below(4) {
            0 => CompareTarget::Version(self.draws.client.below(3)),
            1 => CompareTarget::Mod(last - self.draws.client.below(last.min(20) + 1)),
            2 => CompareTarget::Create(last),
            _ => CompareTarget::Value(Bytes::from(format!("c{client}-1"))),
        };
        let result = self.draws.client.below(4) as i32;
        let compare = Compare { range: range.clone(), result, target: Some(target) };
        let (first, second) =
            (self.put(client, format!("k{key}")), self.delete_range(client, other));
        let third = self.put(client, format!("k{other}"));
        let read = Range { range, ..Range::default() };
        let op = |kind: OpKind| Op { kind: Some(kind) };
        let txn = Txn {
            compares: vec![compare],
            success: vec![
                op(OpKind::Put(first)),
                op(OpKind::Range(read.clone())),
                op(OpKind::Delete(second)),
            ],
            failure: vec![op(OpKind::Put(third)), op(OpKind::Range(read))],
        };
        debug_assert!(CompareResult::try_from(result).is_ok(), "there are four");
        Request::Write(Command::of(CommandKind::Txn(txn)))
    }

    fn whole_read(&self) -> Request {
        let range = Range { range: KeyRange::of_prefix("k"), ..Range::default() };
        Request::Read { query: Query::Range(range), consistency: Consistency::Linearizable }
    }

    fn read_request(&mut self, consistency: Consistency) -> Request {
        let key = self.draws.client.below(self.profile.load.keys);
        let range = match self.draws.client.below(3) {
            0 => KeyRange::of_prefix("k"),
            _ => KeyRange::of_key(format!("k{key}")),
        };
        let last = self.crowd.ledger.model().revision().0;
        let revision = match self.draws.client.below(10) {
            0 => last - self.draws.client.below(last.min(30)),
            _ => 0,
        };
        let limit = if self.draws.client.chance(100_000) { 2 } else { 0 };
        let query = Query::Range(Range { range, limit, revision, ..Range::default() });
        Request::Read { query, consistency }
    }

    /// Compacts to a revision that nobody compacted to before.
    fn compact_turn(&mut self, client: usize) {
        let last = self.crowd.ledger.model().revision().0;
        let revision = last.saturating_sub(self.draws.client.below(50));
        if revision <= self.crowd.compact_asked {
            self.plan_turn(client, Duration::ZERO);
            return;
        }
        self.crowd.compact_asked = revision;
        let command = Command::of(CommandKind::Compact(Compact { revision }));
        self.ask_home(client, Request::Write(command));
    }
}

/// Leases.
impl Nodes {
    fn hold_turn(&mut self, client: usize, lease: Option<u64>) {
        self.crowd.clients[client].asking = Asking::Anything;
        let draw = self.draws.client.below(100);
        let request = match lease {
            None => {
                self.crowd.last_lease += 1;
                let id = self.crowd.last_lease;
                let span = TTL_MAX.as_millis() as u64 - 1_000;
                let ttl_ms = 1_000 + self.draws.client.below(span);
                if let Duty::Hold { granting, .. } = &mut self.crowd.clients[client].duty {
                    *granting = id;
                }
                Request::Write(Command::of(CommandKind::LeaseGrant(LeaseGrant { id, ttl_ms })))
            }
            Some(lease) if draw < 30 => {
                let put = Put { lease, ..self.put(client, format!("l{client}")) };
                Request::Write(Command::of(CommandKind::Put(put)))
            }
            Some(lease) if draw < 80 => Request::KeepAlive(lease),
            Some(lease) if draw < 90 => Request::TimeToLive(lease),
            Some(lease) if draw < 93 => {
                self.forget_lease(client);
                let revoke = LeaseRevoke { ids: vec![lease], expired: false };
                Request::Write(Command::of(CommandKind::LeaseRevoke(revoke)))
            }
            Some(_) if draw < 96 => {
                self.forget_lease(client);
                self.plan_turn(client, Duration::from_millis(300));
                return;
            }
            // Long enough to be close to the end now and then.
            Some(_) => {
                let rest = self.draws.client.duration(Duration::from_millis(50), TTL_MAX);
                self.plan_turn(client, rest);
                return;
            }
        };
        self.ask_home(client, request);
    }

    fn forget_lease(&mut self, client: usize) {
        if let Duty::Hold { lease, .. } = &mut self.crowd.clients[client].duty {
            *lease = None;
        }
    }
}
