//! The time of leases, which is the leader's alone, and questions about it from elsewhere.
//!
//! A lease ends by a committed revoke that the leader proposes when its time is up. The time runs
//! on the leader's monotonic clock, from the latest of: the grant's application, the receipt of a
//! keep-alive that the leader answered after a quorum confirmed it, and the leader's first commit
//! in its term. A later leader was elected after every answer its predecessor gave, so it never
//! ends a lease before what was promised (K3), up to the drift between two clocks. For the same
//! reason a proposed end is the leader's own, of its term: it is never handed to a later leader,
//! under whom the lease may have been kept alive.

use super::{Failure, KeepAliveAnswer, PeerMessage};
use crate::base::mutant::{self, Mutant};
use crate::base::{LeaseId, NodeId, Now, RequestId};
use crate::state::LEASE_KEYS_MAX;
use crate::waiting::retry_after;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

/// Most leases ended by one proposal, so that no entry grows without bound.
const ENDED_AT_ONCE_MAX: usize = 1_000;

/// Most questions about leases that wait for the leader.
const FORWARDS_MAX: usize = 16_384;

/// A question not answered this long is asked again.
const RESEND_AFTER: Duration = Duration::from_millis(300);

/// An end that was proposed and has not come by then is proposed again: the proposal was given up.
const END_AGAIN_AFTER: Duration = Duration::from_secs(3);

/// When each lease ends, while this node leads.
#[derive(Debug, Default)]
pub(super) struct LeaseClock {
    is_running: bool,
    ends: BTreeMap<LeaseId, End>,
    queue: BTreeSet<(Now, LeaseId)>,
    /// When this replica applied the grant.
    granted: BTreeMap<LeaseId, Now>,
}

/// Where a lease stands.
#[derive(Clone, Copy, Debug)]
enum End {
    /// It lives until then, unless it is kept alive.
    At(Now),
    /// Its end is proposed, which cannot be called back; once more then if nothing came of it.
    Proposed { again: Now },
}

impl End {
    /// When something is to be done about it.
    fn due(self) -> Now {
        match self {
            End::At(end) => end,
            End::Proposed { again } => again,
        }
    }
}

impl LeaseClock {
    pub(super) fn is_running(&self) -> bool {
        self.is_running
    }

    /// This node leads and has committed in its term: every lease lives its full time from here.
    pub(super) fn start(&mut self, now: Now, leases: impl Iterator<Item = (LeaseId, Duration)>) {
        self.stop();
        self.is_running = true;
        for (lease, ttl) in leases {
            let from = match self.granted.get(&lease) {
                Some(granted) if mutant::is_active(Mutant::LeaseEndsEarly) => *granted,
                _ => now,
            };
            self.set(lease, End::At(from + ttl));
        }
    }

    /// Somebody else leads, or nobody.
    pub(super) fn stop(&mut self) {
        self.is_running = false;
        self.ends.clear();
        self.queue.clear();
    }

    /// A grant was applied.
    pub(super) fn on_granted(&mut self, now: Now, lease: LeaseId, ttl: Duration) {
        self.granted.insert(lease, now);
        if self.is_running {
            self.set(lease, End::At(now + ttl));
        }
    }

    /// A lease has ended, by whatever cause.
    pub(super) fn on_ended(&mut self, lease: LeaseId) {
        self.granted.remove(&lease);
        if let Some(end) = self.ends.remove(&lease) {
            self.queue.remove(&(end.due(), lease));
        }
    }

    /// A keep-alive received at `received` was confirmed. False when the lease's end is already
    /// proposed: it cannot be called back.
    pub(super) fn extend(&mut self, received: Now, lease: LeaseId, ttl: Duration) -> bool {
        let Some(End::At(end)) = self.ends.get(&lease).copied() else { return false };
        self.set(lease, End::At(end.max(received + ttl)));
        true
    }

    /// What a lease has left; `None` when it is ending.
    pub(super) fn left(&self, now: Now, lease: LeaseId) -> Option<Duration> {
        match self.ends.get(&lease) {
            Some(End::At(end)) => Some(end.since(now)),
            Some(End::Proposed { .. }) | None => None,
        }
    }

    /// Leases whose end is to be proposed, with no more keys together than one may have. The others
    /// are due still.
    pub(super) fn take_ended(
        &mut self,
        now: Now,
        keys_of: impl Fn(LeaseId) -> usize,
    ) -> Vec<LeaseId> {
        let (mut ended, mut keys) = (Vec::new(), 0);
        while let Some((due, lease)) = self.queue.first().copied()
            && due <= now
            && ended.len() < ENDED_AT_ONCE_MAX
        {
            keys += keys_of(lease);
            if keys > LEASE_KEYS_MAX && !ended.is_empty() {
                break;
            }
            self.set(lease, End::Proposed { again: now + END_AGAIN_AFTER });
            ended.push(lease);
        }
        ended
    }

    /// These could not be proposed: their end is tried again.
    pub(super) fn put_back(&mut self, again: Now, leases: &[LeaseId]) {
        for lease in leases {
            self.set(*lease, End::Proposed { again });
        }
    }

    pub(super) fn deadline(&self) -> Option<Now> {
        self.queue.first().map(|(due, _)| *due)
    }

    fn set(&mut self, lease: LeaseId, end: End) {
        if let Some(before) = self.ends.insert(lease, end) {
            self.queue.remove(&(before.due(), lease));
        }
        self.queue.insert((end.due(), lease));
    }
}

/// Questions of local clients about leases, on their way to the leader.
#[derive(Debug)]
pub(super) struct LeaseForwards {
    /// Never given twice by a node, whatever becomes of its process: an answer to a question of
    /// before its last start may still be on its way, and be about another lease (K3).
    last_number: u64,
    waiting: BTreeMap<u64, Forward>,
}

#[derive(Debug)]
struct Forward {
    request: RequestId,
    lease: LeaseId,
    extend: bool,
    asked: Now,
    sent: Option<Now>,
}

/// Bits of the numbers that one start of a node gives away: no process lives long enough for more.
const NUMBER_BITS: u32 = 32;

impl LeaseForwards {
    /// Of a node in this start of its process.
    pub(super) fn new(boot: u64) -> LeaseForwards {
        let last_number = match mutant::is_active(Mutant::LeaseAnswerMixed) {
            true => 0,
            false => boot << NUMBER_BITS,
        };
        LeaseForwards { last_number, waiting: BTreeMap::new() }
    }

    pub(super) fn add(
        &mut self,
        now: Now,
        request: RequestId,
        lease: LeaseId,
        extend: bool,
    ) -> Result<(), Failure> {
        if self.waiting.len() >= FORWARDS_MAX {
            let retry_after = retry_after(now, self.oldest().unwrap_or(now));
            return Err(Failure::Busy { retry_after });
        }
        self.last_number += 1;
        let forward = Forward { request, lease, extend, asked: now, sent: None };
        self.waiting.insert(self.last_number, forward);
        Ok(())
    }

    fn oldest(&self) -> Option<Now> {
        self.waiting.first_key_value().map(|(_, forward)| forward.asked)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Questions to send to the leader.
    pub(super) fn take_unsent(&mut self, now: Now) -> Vec<PeerMessage> {
        let is_due = |forward: &Forward| forward.sent.is_none_or(|at| at + RESEND_AFTER <= now);
        (self.waiting.iter_mut())
            .filter(|(_, forward)| is_due(forward))
            .map(|(number, forward)| {
                forward.sent = Some(now);
                let (number, lease) = (*number, forward.lease.0);
                if forward.extend {
                    PeerMessage::KeepAlive { number, lease }
                } else {
                    PeerMessage::TimeToLive { number, lease }
                }
            })
            .collect()
    }

    /// This node leads: it answers those that wait itself. Request, lease, whether to extend, asked
    /// when.
    pub(super) fn take_all(&mut self) -> Vec<(RequestId, LeaseId, bool, Now)> {
        core::mem::take(&mut self.waiting)
            .into_values()
            .map(|forward| (forward.request, forward.lease, forward.extend, forward.asked))
            .collect()
    }

    /// The leader answered: who asked, and granted and left time.
    pub(super) fn on_reply(
        &mut self,
        number: u64,
        answer: KeepAliveAnswer,
    ) -> Option<(RequestId, Option<(u64, u64)>)> {
        match answer {
            KeepAliveAnswer::NotLeader => None,
            KeepAliveAnswer::NotFound => Some((self.waiting.remove(&number)?.request, None)),
            KeepAliveAnswer::Alive { ttl_ms, left_ms } => {
                Some((self.waiting.remove(&number)?.request, Some((ttl_ms, left_ms))))
            }
        }
    }

    /// Gives up those that waited longer than `timeout`.
    pub(super) fn expire(&mut self, now: Now, timeout: Duration) -> Vec<RequestId> {
        let mut expired = Vec::new();
        self.waiting.retain(|_, forward| {
            let is_over = forward.asked + timeout <= now;
            if is_over {
                expired.push(forward.request);
            }
            !is_over
        });
        expired
    }
}

/// Where an answer about a lease goes.
pub(super) fn answer_to(node: NodeId, number: u64, answer: KeepAliveAnswer) -> super::Output {
    let message = PeerMessage::KeepAliveReply { number, answer };
    super::Output::Send { to: node, after: None, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number under which a fresh process of this start asks about a lease.
    fn first_number(boot: u64, lease: u64) -> (LeaseForwards, u64) {
        let mut forwards = LeaseForwards::new(boot);
        forwards.add(Now::START, RequestId(1), LeaseId(lease), true).unwrap();
        let number = *forwards.waiting.keys().next().unwrap();
        (forwards, number)
    }

    #[test]
    fn leases_with_many_keys_end_one_after_the_other_and_those_with_few_together() {
        let ended = |keys: usize| {
            let mut clock = LeaseClock::default();
            (1..=4).for_each(|id| clock.set(LeaseId(id), End::At(Now::START)));
            core::iter::from_fn(|| {
                let ended = clock.take_ended(Now::START, |_| keys);
                (!ended.is_empty()).then_some(ended.len())
            })
            .collect::<Vec<_>>()
        };
        assert_eq!(ended(1), [4]);
        assert_eq!(ended(LEASE_KEYS_MAX / 2), [2, 2]);
        assert_eq!(ended(LEASE_KEYS_MAX), [1, 1, 1, 1]);
        assert_eq!(ended(LEASE_KEYS_MAX + 99), [1, 1, 1, 1], "one goes always");
    }

    #[test]
    fn an_answer_to_the_process_before_is_about_nothing_that_waits() {
        let (_, before) = first_number(7, 43);
        let (mut forwards, number) = first_number(8, 42);
        let alive = KeepAliveAnswer::Alive { ttl_ms: 2_751, left_ms: 2_239 };
        assert_eq!(forwards.on_reply(before, alive), None);
        assert_eq!(forwards.on_reply(number, alive), Some((RequestId(1), Some((2_751, 2_239)))));
    }
}
