//! Who votes: plain and joint configurations (Raft 6, joint consensus only).

use crate::base::{Index, NodeId, quorum};
use alloc::collections::BTreeSet;

/// The members of a group. Active from the moment it is appended, committed or not (Raft 6).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Configuration {
    /// Those who vote and count for commits.
    pub voters: BTreeSet<NodeId>,
    /// While joint: the voters of the configuration being left; a majority of both is needed (R8).
    /// Empty otherwise.
    pub outgoing: BTreeSet<NodeId>,
    /// Those who receive the log and do not count.
    pub learners: BTreeSet<NodeId>,
}

/// One wish about a group's members; several wishes make one joint change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Receive the log without counting.
    AddLearner(NodeId),
    /// Vote and count. A learner is promoted.
    AddVoter(NodeId),
    /// A voter goes back to receiving only.
    Demote(NodeId),
    /// Neither votes nor receives.
    Remove(NodeId),
}

impl Configuration {
    /// These voters, nobody else.
    pub fn of_voters(voters: impl IntoIterator<Item = NodeId>) -> Configuration {
        Configuration { voters: voters.into_iter().collect(), ..Configuration::default() }
    }

    /// Whether two sets of voters must agree.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether this node's vote counts.
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.voters.contains(&id) || self.outgoing.contains(&id)
    }

    /// Everyone the leader sends the log to, in order.
    pub fn members(&self) -> BTreeSet<NodeId> {
        self.voters.iter().chain(&self.outgoing).chain(&self.learners).copied().collect()
    }

    /// Whether those for whom `holds` is true are a quorum: a majority of each set of voters (R8).
    pub fn is_quorum(&self, mut holds: impl FnMut(NodeId) -> bool) -> bool {
        quorum::is_majority(&self.voters, &mut holds)
            && (self.outgoing.is_empty() || quorum::is_majority(&self.outgoing, &mut holds))
    }

    /// The highest index a quorum has reached.
    pub fn quorum_index(&self, reached: impl Fn(NodeId) -> Index) -> Index {
        let new = quorum::majority_index(&self.voters, &reached);
        if self.outgoing.is_empty() {
            new
        } else {
            new.min(quorum::majority_index(&self.outgoing, &reached))
        }
    }
}
