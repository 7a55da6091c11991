//! What is shown of feeds.

use super::{Health, Node};
use crate::base::{Index, NodeId, Now};
use crate::raft::Role;
use alloc::vec::Vec;
use core::time::Duration;

/// Who feeds this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FedBy {
    /// The voter.
    pub voter: NodeId,
    /// How long ago this node subscribed.
    pub since: Duration,
    /// How long ago the voter was heard; `None` while it has not answered.
    pub heard: Option<Duration>,
}

/// A member that is fed, as a voter knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FedMember {
    /// The member.
    pub node: NodeId,
    /// The voter that feeds it.
    pub by: NodeId,
    /// It has everything up to here on its disk.
    pub upto: Index,
    /// How long ago it said anything.
    pub heard: Duration,
    /// How it is.
    pub health: Health,
}

impl Node {
    /// Who feeds this node, if anybody does.
    pub fn fed_by(&self, now: Now) -> Option<FedBy> {
        let (voter, since, heard) = self.subscription.told_by()?;
        Some(FedBy { voter, since: now.since(since), heard: heard.map(|at| now.since(at)) })
    }

    /// Whose disks are full, in id order, as far as this node is told.
    pub(in crate::node) fn without_room(&self, now: Now) -> Vec<NodeId> {
        let mut full = self.raft.without_room();
        let fed = self.fed_members(now).into_iter().filter(|one| one.health.is_full);
        full.extend(fed.map(|one| one.node));
        full.sort_unstable();
        full.dedup();
        full
    }

    /// Who is fed, in id order: by this node and, if it leads, by the other voters as they told it
    /// last, which may be a few seconds ago.
    pub fn fed_members(&self, now: Now) -> Vec<FedMember> {
        let replicated = match self.raft.role() {
            Role::Leader => self.raft.configuration().members(),
            _ => Default::default(),
        };
        let all = self.source.all_taken(now, self.options.id).into_iter();
        let all = all.filter(|(_, one)| !replicated.contains(&one.node));
        let shown = all.map(|(by, one)| FedMember {
            node: one.node,
            by,
            upto: one.upto,
            heard: Duration::from_millis(one.age_ms),
            health: one.health,
        });
        shown.collect()
    }
}
