//! What is looked at.

use crate::base::mutant::{self, Mutant};
use crate::base::quorum::Tally;
use crate::base::{Index, NodeId, quorum};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;

/// Voters of a small cluster: one may fail.
pub const SMALL_VOTERS: usize = 3;

/// Voters of a large cluster: two may fail.
pub const LARGE_VOTERS: usize = 5;

/// A cluster with this many control members is large: two are left as spares.
pub const LARGE_CONTROL_MEMBERS: usize = 7;

/// A learner this close to the end of the log has caught up: a busy leader has about this much on
/// the way to a healthy follower at any time, so that waiting for less might never end.
pub const CAUGHT_UP_ENTRIES: u64 = 1_024;

/// What the leader of the control group observes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VoterView {
    /// The leader, who plans. It counts as alive.
    pub leader: NodeId,
    /// Who votes at present.
    pub voters: BTreeSet<NodeId>,
    /// Who only receives the log.
    pub learners: BTreeSet<NodeId>,
    /// A change of the configuration is not yet committed, or two sets of voters must agree.
    pub changing: bool,
    /// The members in the record.
    pub members: BTreeSet<NodeId>,
    /// Those of them that have the role `control`: they may vote.
    pub control: BTreeSet<NodeId>,
    /// Those that are not to vote: they are drained, or were demoted.
    pub unwanted: BTreeSet<NodeId>,
    /// Those that an operator wants to vote.
    pub promoted: BTreeSet<NodeId>,
    /// Who is alive in the leader's view.
    pub alive: BTreeSet<NodeId>,
    /// Those that were down for so long, or left, that a spare is to take their seat.
    pub overdue: BTreeSet<NodeId>,
    /// Those that rebuild, since their disks lost data: they do not count until their votes are
    /// taken away.
    pub rebuilding: BTreeSet<NodeId>,
    /// What each shares its fate with. Who is not here is in a zone with all others that are not.
    pub zones: BTreeMap<NodeId, String>,
    /// How far each one's log is known to match the leader's.
    pub matched: BTreeMap<NodeId, Index>,
    /// The last entry of the leader's log.
    pub last: Index,
    /// How many are to vote; 0 leaves it to the size of the cluster.
    pub wanted_voters: usize,
}

impl VoterView {
    /// How many are to vote: as many as are wanted, or as there can be.
    pub fn target(&self) -> usize {
        let electable = self.control.difference(&self.unwanted).count();
        let wanted = match self.wanted_voters {
            0 if self.control.len() >= LARGE_CONTROL_MEMBERS => LARGE_VOTERS,
            0 => SMALL_VOTERS,
            set => set,
        };
        let promoted = self.promoted.iter().filter(|id| self.may_vote(**id)).count();
        wanted.max(promoted).min(electable)
    }

    /// Whether it may have a seat at all, be it alive or not.
    pub fn may_vote(&self, id: NodeId) -> bool {
        let is_unwanted = self.unwanted.contains(&id) && !mutant::is_active(Mutant::UnwantedVotes);
        self.control.contains(&id) && self.members.contains(&id) && !is_unwanted
    }

    /// Whether its seat is its own: it may vote, and was not down for too long.
    pub(super) fn is_seated(&self, id: NodeId) -> bool {
        let is_lost = self.overdue.contains(&id) && !self.is_alive(id);
        self.may_vote(id) && !is_lost
    }

    /// Whether it answers and what it answers counts.
    pub fn is_alive(&self, id: NodeId) -> bool {
        id == self.leader || (self.alive.contains(&id) && !self.rebuilding.contains(&id))
    }

    /// It has answered at all, and is close enough to the end of the log.
    pub(super) fn has_caught_up(&self, id: NodeId) -> bool {
        if mutant::is_active(Mutant::PromotedBehind) {
            return true;
        }
        let matched = self.matched.get(&id).copied().unwrap_or(Index::ZERO);
        matched > Index::ZERO && matched.0.saturating_add(CAUGHT_UP_ENTRIES) >= self.last.0
    }

    /// How many vote and answer.
    pub fn tally(&self, voters: &BTreeSet<NodeId>) -> Tally {
        Tally::of(voters, |id| self.is_alive(id))
    }

    /// How many of the seated voters stand in the zone of this one, itself left out.
    pub(super) fn crowd_of(&self, id: NodeId) -> usize {
        let is_near = |other: &&NodeId| {
            **other != id && self.is_seated(**other) && self.zones.get(other) == self.zones.get(&id)
        };
        self.voters.iter().filter(is_near).count()
    }

    /// The fewest failures that the group is to survive when it shrinks by plan.
    pub(super) fn floor(&self) -> usize {
        quorum::survives(self.target())
    }
}
