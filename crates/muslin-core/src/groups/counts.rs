//! How the groups of a node are, in numbers.

use super::{Group, Groups};
use crate::base::NodeId;
use crate::raft::Role;
use alloc::collections::BTreeSet;

/// The groups that a node keeps replicas of, as far as it knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GroupCounts {
    /// How many there are.
    pub replicas: usize,
    /// It leads these.
    pub led: usize,
    /// Nobody can lead these: no leader is known or named who lives, or too few voters live.
    pub leaderless: usize,
    /// A replica of these, here or of a leader here, fetches what its disk has lost, and does not
    /// vote.
    pub rebuilding: usize,
    /// Of the leaderless: their only replica is here, and its disk has lost what it promised.
    pub lost: usize,
}

impl Groups {
    /// How they are.
    pub fn counts(&self) -> GroupCounts {
        let mut counts = GroupCounts::default();
        for group in self.iter() {
            let is_lost = group.is_lost();
            counts.replicas += 1;
            counts.led += usize::from(group.raft().role() == Role::Leader);
            counts.leaderless += usize::from(is_lost || !self.is_led(group));
            counts.rebuilding += usize::from(!is_lost && group.is_rebuilt());
            counts.lost += usize::from(is_lost);
        }
        counts
    }

    /// Whether someone leads who lives and has a quorum, by all that is known here. A passive
    /// replica that has not heard its leader takes it that whoever is named leads.
    fn is_led(&self, group: &Group) -> bool {
        let (home, raft) = (self.home_id(), group.raft());
        let named = || group.record().leader.map(NodeId).filter(|named| *named != home);
        let lives = |node: NodeId| node == home || self.is_alive(node) == Some(true);
        let rebuilding = raft.rebuilding();
        let votes = |node: &&NodeId| {
            lives(**node) && !rebuilding.contains(node) && !(**node == home && raft.is_rebuilding())
        };
        let has_majority =
            |voters: &BTreeSet<NodeId>| voters.iter().filter(votes).count() > voters.len() / 2;
        let configuration = raft.configuration();
        raft.leader().or_else(named).is_some_and(lives)
            && has_majority(&configuration.voters)
            && (!configuration.is_joint() || has_majority(&configuration.outgoing))
    }
}
