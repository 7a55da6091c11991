//! Changes the gossip key without a gap, on the node that leads: add it everywhere, seal with it,
//! drop the old one. An operator begins it, or the age of the key does.
//!
//! A step is taken when every member that is seen alive has the entry of the step before, as far as
//! its log tells, and some time more has passed in which it applies it and what is under way
//! arrives. A member that lags for very long is not waited for: it is heard again once its log,
//! which needs no gossip, has brought it the keys.

use super::found::unix_ms;
use crate::driver::Handle;
use crate::identity::Keyring;
use muslin_core::base::{Index, NodeId};
use muslin_core::node::{Consistency, NodeStatus};
use muslin_core::raft::Role;
use muslin_core::state::{
    AddGossipKey, Command, CommandKind, KeyName, Membership, MembershipChange, Query, Response,
};
use muslin_core::swim::Liveness;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// A key older than this is replaced: long before the counters of any sender could wear it out.
const KEY_AGE_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

/// After all have the entry of a step, so long until the next: to apply it takes milliseconds.
const SETTLE: Duration = Duration::from_secs(3);

/// Nobody is waited for longer than this.
const LAG_MAX: Duration = Duration::from_secs(600);

/// Where a change of keys stands, as this leader has seen it.
#[derive(Default)]
pub(super) struct Rotation {
    seen: Option<Seen>,
    /// Since when all members that are alive have that.
    settled: Option<Instant>,
}

/// The keys last seen.
struct Seen {
    /// By generation, with whether it seals.
    keys: Vec<(u64, bool)>,
    since: Instant,
    /// What of the log had been applied by then.
    applied: Index,
}

impl Rotation {
    /// Takes the next step if it is time for it.
    pub(super) async fn drive(&mut self, handle: &Handle, status: &NodeStatus) {
        if status.role != Role::Leader {
            *self = Rotation::default();
            return;
        }
        let read = handle.read(Query::GossipKeys, Consistency::Local).await;
        let Ok(Ok(Response::GossipKeys(keys))) = read.map(|outcome| outcome.result) else { return };
        let keys = keys.0;
        let present: Vec<(u64, bool)> =
            keys.iter().map(|key| (key.generation, key.is_primary)).collect();
        let age = |at: u64| Duration::from_millis(unix_ms().saturating_sub(at));
        // The first key is as old as the cluster, which nobody has written down: it counts as young
        // until it is rotated once.
        let is_old = (keys.last())
            .is_some_and(|key| key.added_unix_ms > 0 && age(key.added_unix_ms) > KEY_AGE_MAX);
        let now = Instant::now();
        if self.seen.as_ref().is_none_or(|seen| seen.keys != present) {
            self.seen = Some(Seen { keys: present.clone(), since: now, applied: status.applied });
            self.settled = None;
        }
        if !self.is_settled(status, now) {
            return;
        }
        let Some(step) = next_step(&present, is_old) else { return };
        let change = match step {
            Step::Add(generation) => {
                let key = Keyring::generate().sealing().secret.to_vec().into();
                MembershipChange::AddGossipKey(AddGossipKey { generation, key })
            }
            Step::Use(generation) => MembershipChange::UseGossipKey(KeyName { generation }),
            Step::Drop(generation) => MembershipChange::DropGossipKey(KeyName { generation }),
        };
        let change = Membership::at(unix_ms(), change);
        // What fails is tried again at the next look.
        let _ = handle.write(Command::of(CommandKind::Membership(change.into()))).await;
    }

    fn is_settled(&mut self, status: &NodeStatus, now: Instant) -> bool {
        let Some(Seen { since, applied, .. }) = &self.seen else { return false };
        let mut matched = BTreeMap::<NodeId, Index>::new();
        // Of one that is fed and not told of yet nothing is known: it is waited for.
        matched.extend(status.members.iter().map(|one| (one.node(), Index::ZERO)));
        matched.extend(status.progress.iter().copied());
        matched.extend(status.fed.iter().map(|fed| (fed.node, fed.upto)));
        let has_it = |node: &NodeId| matched.get(node).is_none_or(|matched| matched >= applied);
        let mut alive = status.view.iter().filter(|seen| seen.state == Liveness::Alive);
        if now > *since + LAG_MAX || alive.all(|seen| has_it(&seen.node)) {
            return now >= *self.settled.get_or_insert(now) + SETTLE;
        }
        self.settled = None;
        false
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Add(u64),
    Use(u64),
    Drop(u64),
}

/// What comes next, by the keys in the order of their generations. Without a newer key and with a
/// young one nothing does.
fn next_step(keys: &[(u64, bool)], is_old: bool) -> Option<Step> {
    let (newest, seals) = *keys.last()?;
    if !seals {
        return Some(Step::Use(newest));
    }
    match keys.first() {
        Some((oldest, false)) => Some(Step::Drop(*oldest)),
        _ => is_old.then_some(Step::Add(newest + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_added_then_used_and_then_the_old_one_goes() {
        assert_eq!(next_step(&[], true), None, "a record without keys is left alone");
        assert_eq!(next_step(&[(4, true)], false), None);
        assert_eq!(next_step(&[(4, true)], true), Some(Step::Add(5)));
        assert_eq!(next_step(&[(4, true), (5, false)], false), Some(Step::Use(5)));
        assert_eq!(next_step(&[(4, false), (5, true)], true), Some(Step::Drop(4)));
        assert_eq!(next_step(&[(3, false), (4, false), (5, true)], false), Some(Step::Drop(3)));
    }
}
