//! The record, as it is read.

use super::members::Admission;
use super::{
    ClusterSize, GossipKey, HeldJoin, HoldState, Member, Settings, Standing, State, Token,
    Tombstone,
};
use crate::base::{Epoch, NodeId};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

/// All of the record at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordView {
    /// The number of the membership history.
    pub epoch: Epoch,
    /// In the order of their ids.
    pub members: Vec<Member>,
    /// Removed members that are not collected yet.
    pub tombstones: Vec<Tombstone>,
    /// Joins that wait.
    pub held: Vec<HeldJoin>,
    /// Tokens, used up and revoked ones included.
    pub tokens: Vec<Token>,
    /// The cluster's settings.
    pub settings: Settings,
    /// How large it is, and is to be.
    pub size: ClusterSize,
    /// Who votes in the control group; empty when the record does not know it yet.
    pub voters: BTreeSet<NodeId>,
    /// Generations of the gossip keys, and which one seals.
    pub gossip_keys: Vec<(u64, bool)>,
}

/// Where a request for admission stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JoinState {
    /// It was admitted, or waits.
    Known(Admission),
    /// It was denied.
    Denied,
    /// The id was removed: never again.
    Removed,
    /// The record knows nothing of it.
    Unknown,
}

impl State {
    /// The members.
    pub fn members(&self) -> &BTreeMap<NodeId, Member> {
        &self.members.present
    }

    /// Whether this node was removed: it may never come back under this id.
    pub fn is_removed(&self, id: NodeId) -> bool {
        self.members.is_removed(id)
    }

    /// Whether a node may take part: a member of the present epoch. One that lives is, whether or
    /// not it has heard of the epoch; one that was gone when the epoch rose has to be admitted
    /// anew.
    pub fn is_current(&self, id: NodeId) -> bool {
        self.members.present.get(&id).is_some_and(|member| member.epoch() == self.epoch())
    }

    /// The number of the membership history.
    pub fn epoch(&self) -> Epoch {
        self.members.epoch()
    }

    /// Removed members that are not collected yet.
    pub fn tombstones(&self) -> &BTreeMap<NodeId, Tombstone> {
        &self.members.tombstones
    }

    /// The tokens, used up and revoked ones included, by their public part.
    pub fn tokens(&self) -> &BTreeMap<String, Token> {
        &self.members.tokens
    }

    /// The joins that wait.
    pub fn held(&self) -> &BTreeMap<NodeId, HeldJoin> {
        &self.members.held
    }

    /// The gossip keys, by generation.
    pub fn gossip_keys(&self) -> &BTreeMap<u64, GossipKey> {
        &self.members.keys
    }

    /// The cluster's settings.
    pub fn settings(&self) -> &Settings {
        &self.members.settings
    }

    /// How large the cluster is, and is to be: below, nothing is assigned.
    pub fn size(&self) -> ClusterSize {
        self.members.size()
    }

    /// Who votes in the control group, as of the last configuration that was committed and applied
    /// here; empty when that is not known.
    pub fn voters(&self) -> &BTreeSet<NodeId> {
        &self.members.voters
    }

    /// Roles that a member requires to operate and nobody who lives performs.
    pub fn unmet_roles(&self, id: NodeId) -> Vec<String> {
        let member = self.members.present.get(&id);
        member.map_or_else(Vec::new, |member| self.members.unmet(&member.requires, member))
    }

    /// Members that were gone for long enough to be removed, by the settings.
    pub fn reapable(&self, unix_ms: u64) -> Vec<NodeId> {
        let all = self.members.present.keys().copied();
        all.filter(|id| self.members.is_reapable(*id, unix_ms)).collect()
    }

    /// Whether the epoch is due to rise so that tombstones can go. Not while a voter is gone: it
    /// could not come back under its id.
    pub fn is_collection_due(&self, unix_ms: u64) -> bool {
        let is_gone = |id: &NodeId| {
            self.members.present.get(id).is_some_and(|member| {
                matches!(member.standing, Some(Standing::Down(_) | Standing::Left(_)))
            })
        };
        self.members.is_collection_due(unix_ms) && !self.members.voters.iter().any(is_gone)
    }

    /// All of it.
    pub fn record(&self) -> RecordView {
        RecordView {
            epoch: self.epoch(),
            members: self.members().values().cloned().collect(),
            tombstones: self.tombstones().values().cloned().collect(),
            held: self.held().values().cloned().collect(),
            tokens: self.tokens().values().cloned().collect(),
            settings: *self.settings(),
            size: self.size(),
            voters: self.voters().clone(),
            gossip_keys: (self.gossip_keys().values())
                .map(|key| (key.generation, key.is_primary))
                .collect(),
        }
    }

    /// Where a request for admission stands.
    pub fn join_state(&self, id: NodeId) -> JoinState {
        if self.members.present.contains_key(&id) {
            return JoinState::Known(Admission::Admitted { epoch: self.epoch(), known: true });
        }
        match self.members.held.get(&id) {
            Some(held) if held.state() == HoldState::Denied => JoinState::Denied,
            Some(held) => JoinState::Known(self.members.answer_held(held)),
            None if self.is_removed(id) => JoinState::Removed,
            None => JoinState::Unknown,
        }
    }
}
