//! What a state becomes when another cluster begins with it.
//!
//! Keys, leases, users, roles and settings go over. Who belonged to the cluster does not: its
//! members, tokens, joins and gossip keys are those of the founding, and groups besides the control
//! group have no replicas any more.
//!
//! Nobody who knew the state before may take what comes for what was: the revision leaps beyond all
//! that the old cluster can have reached since, and everything below is compacted. So a watch that
//! goes on from an old revision is told that its history is gone (K2), a comparison with a revision
//! that was never copied fails, and fences keep growing. The epoch rises too (M2).

use super::alarms::Alarms;
use super::groups::Groups;
use super::members::Members;
use super::sessions::Sessions;
use super::snapshot::NUMBER_MAX;
use super::{Founding, State};
use crate::base::{Epoch, Index, Revision};

/// By how much the revision leaps: at 100,000 writes a second, what a cluster writes in 115 days
/// after it was copied. A number that is exact wherever numbers are floating-point, 9,000 times
/// over.
pub const REVISION_LEAP: u64 = 1_000_000_000_000;

/// What another cluster begins with.
#[derive(Clone, PartialEq, Debug)]
pub struct Rebirth {
    /// Its members, tokens and gossip key; settings are those of the state.
    pub founding: Founding,
    /// The entry of its log that this is the state after.
    pub at: Index,
    /// By how much the epoch rises, from 1.
    pub epoch_leap: u64,
}

impl State {
    /// The state with which another cluster begins; `None` when its numbers have no room to leap.
    pub fn reborn(self, rebirth: &Rebirth) -> Option<State> {
        let State { mut kv, leases, members, groups, auth, .. } = self;
        let revision = kv.revision.0.checked_add(REVISION_LEAP)?;
        let epoch = members.epoch().0.checked_add(rebirth.epoch_leap.max(1))?;
        if revision > NUMBER_MAX || epoch > NUMBER_MAX {
            return None;
        }
        kv.revision = Revision(revision);
        kv.compact(kv.revision).expect("nothing was compacted beyond what was the present");
        kv.sweep(usize::MAX);
        let settings = Some(members.settings);
        let mut members = Members::founded(&Founding { settings, ..rebirth.founding.clone() });
        members.epoch = Epoch(epoch);
        members.present.values_mut().for_each(|member| member.epoch_number = epoch);
        // Ids of groups are not given again: their kinds keep files by them.
        let groups = Groups { last_id: groups.last_id, ..Groups::default() };
        // Alarms are those of members.
        let (sessions, alarms) = (Sessions::default(), Alarms::default());
        Some(State { applied: rebirth.at, kv, leases, members, groups, sessions, auth, alarms })
    }
}
