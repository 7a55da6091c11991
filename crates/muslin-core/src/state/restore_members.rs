//! The members in a snapshot. Every check stands for something that would go wrong later.

use super::members::{Members, owned_member};
use super::snapshot::{NUMBER_MAX, RestoreError, require};
use super::{
    BARRED_MAX, GOSSIP_KEY_BYTES, GOSSIP_KEYS_MAX, GossipKey, HELD_MAX, HeldJoin, Member, Settings,
    TOKENS_MAX, TOMBSTONES_MAX, Token, Tombstone, form,
};
use crate::base::{Epoch, NodeId};
use alloc::vec::Vec;
use bytes::Bytes;

/// In front of the members.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct MembersHead {
    #[prost(uint64, tag = "1")]
    epoch: u64,
    #[prost(uint64, tag = "2")]
    removed_unix_ms: u64,
    #[prost(uint64, tag = "3")]
    last_key: u64,
    #[prost(message, optional, tag = "4")]
    settings: Option<Settings>,
    #[prost(fixed64, repeated, tag = "5")]
    voters: Vec<u64>,
}

/// A removed id without a tombstone.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct Barred {
    #[prost(fixed64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    epoch: u64,
}

impl Members {
    pub(super) fn head(&self) -> MembersHead {
        let is_default = self.settings == Settings::default();
        MembersHead {
            epoch: self.epoch.0,
            removed_unix_ms: self.removed_unix_ms,
            last_key: self.last_key,
            settings: if is_default { None } else { Some(self.settings) },
            voters: self.voters.iter().map(|id| id.0).collect(),
        }
    }

    pub(super) fn barred(&self) -> impl Iterator<Item = Barred> + '_ {
        self.barred.iter().map(|(id, epoch)| Barred { id: id.0, epoch: epoch.0 })
    }

    pub(super) fn take_head(&mut self, head: MembersHead) -> Result<(), RestoreError> {
        require(head.epoch <= NUMBER_MAX, "an epoch out of range")?;
        require(head.last_key <= NUMBER_MAX, "a gossip key out of range")?;
        self.epoch = Epoch(head.epoch);
        self.removed_unix_ms = head.removed_unix_ms;
        self.last_key = head.last_key;
        self.settings = head.settings.unwrap_or_default();
        self.voters = head.voters.into_iter().map(NodeId).collect();
        Ok(())
    }

    pub(super) fn take_member(&mut self, member: Member) -> Result<(), RestoreError> {
        require(form::check_member(&member).is_ok(), "a member without limits")?;
        require(member.epoch_number <= NUMBER_MAX, "a member's epoch out of range")?;
        let known = self.present.insert(member.node(), owned_member(&member));
        require(known.is_none(), "a member twice")
    }

    pub(super) fn take_tombstone(&mut self, one: Tombstone) -> Result<(), RestoreError> {
        require(self.tombstones.len() < TOMBSTONES_MAX, "too many tombstones")?;
        require(form::check_word(&one.name).is_ok(), "a tombstone without limits")?;
        let known = self.tombstones.insert(NodeId(one.id), one);
        require(known.is_none(), "a node removed twice")
    }

    pub(super) fn take_barred(&mut self, one: Barred) -> Result<(), RestoreError> {
        require(self.barred.len() < BARRED_MAX, "too many barred ids")?;
        let known = self.barred.insert(NodeId(one.id), Epoch(one.epoch));
        require(known.is_none(), "a node barred twice")
    }

    pub(super) fn take_token(&mut self, token: Token) -> Result<(), RestoreError> {
        require(self.tokens.len() < TOKENS_MAX, "too many tokens")?;
        require(form::check_token(&token).is_ok(), "a token without limits")?;
        let secret_hash = Bytes::copy_from_slice(&token.secret_hash);
        let token = Token { secret_hash, ..token };
        require(self.tokens.insert(token.id.clone(), token).is_none(), "a token twice")
    }

    pub(super) fn take_held(&mut self, held: HeldJoin) -> Result<(), RestoreError> {
        require(self.held.len() < HELD_MAX, "too many held joins")?;
        let is_short = form::check_word(&held.decided_by).is_ok();
        let is_formed = form::check_member(&held.member).is_ok() && is_short;
        require(is_formed, "a held join without limits")?;
        let held = HeldJoin { member: owned_member(&held.member), ..held };
        require(self.held.insert(held.member.node(), held).is_none(), "a join held twice")
    }

    pub(super) fn take_key(&mut self, key: GossipKey) -> Result<(), RestoreError> {
        require(self.keys.len() < GOSSIP_KEYS_MAX, "too many gossip keys")?;
        require(key.key.len() == GOSSIP_KEY_BYTES, "a gossip key of another length")?;
        let is_first = self.keys.values().all(|other| !(other.is_primary && key.is_primary));
        require(is_first, "two gossip keys that seal")?;
        let key = GossipKey { key: Bytes::copy_from_slice(&key.key), ..key };
        require(self.keys.insert(key.generation, key).is_none(), "a gossip key twice")
    }

    /// What can only be told when all is there.
    pub(super) fn check_restored(&self) -> Result<(), RestoreError> {
        let is_removed = |id: &NodeId| self.is_removed(*id);
        require(!self.present.keys().any(is_removed), "a removed member")?;
        let is_in = |id: &NodeId| self.present.contains_key(id);
        require(!self.held.keys().any(is_in), "a member whose join is held")?;
        let is_numbered = self.keys.keys().all(|key| (1..=self.last_key).contains(key));
        require(is_numbered, "a gossip key beyond the last one")?;
        let is_sealed = self.keys.is_empty() || self.keys.values().any(|key| key.is_primary);
        require(is_sealed, "no gossip key that seals")
    }
}
