//! Who belongs to the cluster: let in, changed, taken out.
//!
//! A change is first checked in full, then carried out. What it made happen is told as
//! [`MemberNews`], in order.

use super::digest::Digest;
use super::held::HoldReason;
use super::{
    Admit, Founding, GossipKey, HeldJoin, HoldState, Invite, Member, Refusal, Remove, RemovedFor,
    Response, Settings, TOKENS_MAX, Token, TokenFault, Tombstone, UpdateMember, VoteWish, form,
};
use crate::base::mutant::{self, Mutant};
use crate::base::{Epoch, Index, NodeId};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use prost::Message as _;

/// Most tombstones kept. The oldest makes room: its id stays barred.
pub const TOMBSTONES_MAX: usize = 4_096;

/// Most ids barred by name after their tombstones were collected; beyond it the epoch alone bars
/// those that went first. 16 bytes each.
pub const BARRED_MAX: usize = 1 << 16;

/// Members, all that admits them, and ids that may never come back.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Members {
    pub(super) present: BTreeMap<NodeId, Member>,
    pub(super) tombstones: BTreeMap<NodeId, Tombstone>,
    /// Removed ids without a tombstone, each with the epoch in which that was collected.
    pub(super) barred: BTreeMap<NodeId, Epoch>,
    pub(super) tokens: BTreeMap<String, Token>,
    pub(super) held: BTreeMap<NodeId, HeldJoin>,
    pub(super) invites: BTreeMap<NodeId, Invite>,
    /// By generation.
    pub(super) keys: BTreeMap<u64, GossipKey>,
    pub(super) last_key: u64,
    pub(super) settings: Settings,
    /// Zero stands for the first, as in a state of before there were epochs.
    pub(super) epoch: Epoch,
    /// When a member was last removed.
    pub(super) removed_unix_ms: u64,
    /// Who votes in the control group, as of the last configuration that was committed; empty when
    /// that is not known.
    pub(super) voters: BTreeSet<NodeId>,
}

/// A change of the record, as it is told.
#[derive(Clone, PartialEq, Debug)]
pub enum MemberNews {
    /// Now a member.
    Admitted(Box<Member>),
    /// No longer one, and barred for ever.
    Removed(NodeId),
    /// At other addresses, or with other roles, labels or wishes.
    Updated(Box<Member>),
    /// Declared down, or that it left: its standing says which.
    Gone(Box<Member>),
    /// It takes part again.
    Back(Box<Member>),
    /// Somebody asks to be admitted, and waits.
    Held(Box<HeldJoin>),
    /// A join is not held any more, and did not go through.
    Unheld {
        /// Who asked.
        node: NodeId,
        /// Why it came to nothing.
        why: UnheldFor,
    },
    /// A join was refused for its token. The asker is not told why.
    TokenRefused {
        /// The public part, as shown.
        token: String,
        /// What is wrong with it.
        fault: TokenFault,
    },
    /// The membership history has another number.
    EpochRaised {
        /// Which.
        epoch: Epoch,
        /// Tombstones that went.
        collected: usize,
    },
    /// There are other settings.
    Settings {
        /// Which.
        settings: Settings,
        /// They assign with fewer members than the default would.
        is_risky: bool,
    },
    /// There are other gossip keys, or another one seals.
    GossipKeys,
}

/// Why a held join did not go through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnheldFor {
    /// Nothing released it in time.
    Expired,
    /// Its name or address belongs to a living member by the time it was released.
    Conflict,
    /// It was denied, and is not told of that any more.
    Forgotten,
}

/// What became of a request for admission.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Admission {
    /// It is a member, in this epoch.
    Admitted {
        /// Which.
        epoch: Epoch,
        /// It was one before: this is a retry.
        known: bool,
    },
    /// It waits.
    Held {
        /// For what.
        reason: HoldReason,
        /// Until when, Unix milliseconds.
        expires_unix_ms: u64,
    },
}

/// A change in the making: when, by whom, and what came of it so far.
#[derive(Debug)]
pub(super) struct Change<'a> {
    pub(super) index: Index,
    pub(super) unix_ms: u64,
    pub(super) by: &'a str,
    pub(super) news: &'a mut Vec<MemberNews>,
}

impl Members {
    pub(super) fn founded(founding: &Founding) -> Members {
        let mut members =
            Members { settings: founding.settings.unwrap_or_default(), ..Members::default() };
        for member in &founding.members {
            let member = Member { admitted_at: 0, ..owned_member(member) };
            if member.performs(super::CONTROL_ROLE) {
                members.voters.insert(member.node());
            }
            members.present.insert(member.node(), member);
        }
        for token in founding.tokens.iter().take(TOKENS_MAX) {
            // One that has no form admits nobody: it is as good as none.
            let _ = members.put_token(token);
        }
        if founding.gossip_key.len() == super::GOSSIP_KEY_BYTES {
            let key = Bytes::copy_from_slice(&founding.gossip_key);
            let first = GossipKey { generation: 1, key, added_unix_ms: 0, is_primary: true };
            members.keys.insert(1, first);
            members.last_key = 1;
        }
        members
    }

    /// Admits a node if its token is good (M3), holds it, or refuses it.
    pub(super) fn admit(
        &mut self,
        admit: &Admit,
        change: &mut Change<'_>,
    ) -> Result<Admission, Refusal> {
        let id = admit.member.node();
        if self.is_removed(id) && !mutant::is_active(Mutant::IdReused) {
            return Err(Refusal::MemberExists);
        }
        if let Some(known) = self.present.get(&id) {
            // Only the holder of the key can have asked; its first try may have used the token up.
            if known.key_hash != admit.member.key_hash {
                return Err(Refusal::MemberExists);
            }
            let (epoch, present) = (known.epoch(), self.epoch());
            if epoch != present {
                return Err(Refusal::OldEpoch { epoch, present });
            }
            return Ok(Admission::Admitted { epoch, known: true });
        }
        form::check_member(&admit.member)?;
        if admit.in_place_of != 0 {
            return self.admit_in_place(admit, change);
        }
        if let Some(held) = self.held.get(&id) {
            if held.member.key_hash != admit.member.key_hash {
                return Err(Refusal::MemberExists);
            }
            if held.state() == HoldState::Denied {
                return Err(Refusal::JoinDenied);
            }
            if held.token_id == admit.token_id && !self.is_invited(&admit.member) {
                return Ok(self.answer_held(held));
            }
        }
        if admit.token_id.is_empty() {
            return match self.is_invited(&admit.member) {
                true => self.admit_invited(admit, change),
                false => self.hold_stranger(admit, change),
            };
        }
        self.admit_by_token(admit, change)
    }

    fn admit_by_token(
        &mut self,
        admit: &Admit,
        change: &mut Change<'_>,
    ) -> Result<Admission, Refusal> {
        if let Err(fault) = self.check_token(admit) {
            let token = admit.token_id.chars().take(form::NAME_BYTES_MAX).collect();
            change.news.push(MemberNews::TokenRefused { token, fault });
            return Err(Refusal::TokenInvalid);
        }
        self.check_wish(admit)?;
        let missing = self.missing_roles(&admit.member);
        if !missing.is_empty() {
            return self.hold_for_roles(admit, missing, change);
        }
        self.held.remove(&admit.member.node());
        self.use_token(&admit.token_id, change.unix_ms);
        self.enter(&admit.member, &admit.token_id, change);
        Ok(Admission::Admitted { epoch: self.epoch(), known: false })
    }

    /// Whether a good token admits what is asked for.
    fn check_wish(&self, admit: &Admit) -> Result<(), Refusal> {
        let allowed = &self.tokens[&admit.token_id].roles;
        let is_allowed = |role: &String| allowed.is_empty() || allowed.contains(role);
        if let Some(role) = admit.member.roles.iter().find(|role| !is_allowed(role)) {
            return Err(Refusal::TokenRole(role.clone()));
        }
        // After the token: without one, nobody learns which names there are.
        self.check_conflicts(&admit.member, None)
    }

    /// Refuses what [`Members::admit`] would refuse of an admission by a token, and changes
    /// nothing.
    pub(super) fn foresee(&self, admit: &Admit) -> Result<Response, Refusal> {
        let id = admit.member.node();
        if self.is_removed(id) {
            return Err(Refusal::MemberExists);
        }
        if self.present.contains_key(&id) {
            let known = Admission::Admitted { epoch: self.epoch(), known: true };
            return Ok(Response::Admission(known));
        }
        let is_invited = admit.token_id.is_empty() && self.is_invited(&admit.member);
        if let (Some(held), false) = (self.held.get(&id), is_invited) {
            return Ok(Response::Admission(self.answer_held(held)));
        }
        form::check_member(&admit.member)?;
        if is_invited {
            return self.check_conflicts(&admit.member, None).map(|()| Response::Done);
        }
        if admit.token_id.is_empty() {
            let reason = HoldReason::Approval;
            let admission = Admission::Held { reason, expires_unix_ms: admit.unix_ms };
            return Ok(Response::Admission(admission));
        }
        self.check_token(admit).map_err(|_| Refusal::TokenInvalid)?;
        self.check_wish(admit)?;
        Ok(Response::Done)
    }

    /// Admits a member anew that stayed behind when the epoch rose: under another id, as what it
    /// was. It was let in once and not removed, so no token is asked for, also where strangers must
    /// have one. What only a voter holds may be lost with it: those follow the log.
    fn admit_in_place(
        &mut self,
        admit: &Admit,
        change: &mut Change<'_>,
    ) -> Result<Admission, Refusal> {
        let before = NodeId(admit.in_place_of);
        let old = self.present.get(&before).ok_or(Refusal::MemberNotFound)?;
        let wanted = &admit.member;
        let is_same = old.name == wanted.name && wanted.roles.iter().all(|role| old.performs(role));
        if !is_same || old.epoch() >= self.epoch() || self.voters.contains(&before) {
            return Err(Refusal::NotLeftBehind(old.name.clone()));
        }
        self.check_conflicts(wanted, Some(before))?;
        let member = Member {
            requires: old.requires.clone(),
            requires_for_bootstrap: old.requires_for_bootstrap.clone(),
            labels: old.labels.clone(),
            zone: old.zone.clone(),
            ..wanted.clone()
        };
        self.held.remove(&wanted.node());
        self.enter(&member, &format!("certificate of node {before}"), change);
        Ok(Admission::Admitted { epoch: self.epoch(), known: false })
    }

    /// Whether a living member stands in the way of another one, who comes in place of `before`.
    pub(super) fn check_conflicts(
        &self,
        wanted: &Member,
        before: Option<NodeId>,
    ) -> Result<(), Refusal> {
        let is_other = |one: &&Member| one.is_living() && Some(one.node()) != before;
        let mut living = self.present.values().filter(is_other);
        if living.clone().any(|one| one.name == wanted.name) {
            return Err(Refusal::NameTaken(wanted.name.clone()));
        }
        let holder = living.find(|one| !one.address.is_empty() && one.address == wanted.address);
        match holder {
            Some(holder) => Err(Refusal::AddressTaken(holder.name.clone())),
            None => Ok(()),
        }
    }

    /// Makes a member. Whoever had its name and does not live gives it up, and is removed.
    pub(super) fn enter(&mut self, wanted: &Member, by: &str, change: &mut Change<'_>) {
        let holder = self.present.values().find(|one| one.name == wanted.name);
        if let Some(holder) = holder.map(Member::node) {
            self.bury(holder, RemovedFor::Replaced, wanted.node(), change);
        }
        let place = self.take_place(&wanted.address);
        let is_learner = place.is_some_and(|invite| invite.is_learner);
        let member = Member {
            admitted_at: change.index.0,
            admitted_unix_ms: change.unix_ms,
            admitted_by: by.into(),
            epoch_number: self.epoch().0,
            vote_wish: if is_learner { VoteWish::Never.into() } else { 0 },
            is_draining: false,
            load: None,
            life: 0,
            standing: None,
            ..owned_member(wanted)
        };
        self.present.insert(member.node(), member.clone());
        change.news.push(MemberNews::Admitted(Box::new(member)));
    }

    /// Takes a member out; its id is barred for ever.
    pub(super) fn remove(
        &mut self,
        remove: &Remove,
        change: &mut Change<'_>,
    ) -> Result<Response, Refusal> {
        let id = NodeId(remove.id);
        if self.is_removed(id) {
            return Ok(Response::Done);
        }
        let member = self.present.get(&id).ok_or(Refusal::MemberNotFound)?;
        if member.is_living() && !member.is_draining && !remove.force {
            return Err(Refusal::MemberLives(member.name.clone()));
        }
        self.check_quorum_without(id)?;
        self.bury(id, RemovedFor::Asked, NodeId(0), change);
        Ok(Response::Done)
    }

    /// Leaves a tombstone in the place of a member.
    pub(super) fn bury(
        &mut self,
        id: NodeId,
        why: RemovedFor,
        successor: NodeId,
        change: &mut Change<'_>,
    ) {
        let member = self.present.remove(&id).expect("the caller has found it");
        let tombstone = Tombstone {
            id: id.0,
            name: member.name,
            removed_unix_ms: change.unix_ms,
            epoch: self.epoch().0,
            why: why.into(),
            successor: successor.0,
        };
        self.tombstones.insert(id, tombstone);
        self.removed_unix_ms = self.removed_unix_ms.max(change.unix_ms);
        while self.tombstones.len() > TOMBSTONES_MAX {
            let oldest = self.tombstones.values().min_by_key(|one| (one.removed_unix_ms, one.id));
            let oldest = NodeId(oldest.expect("there are many").id);
            self.tombstones.remove(&oldest);
            self.bar(oldest);
        }
        change.news.push(MemberNews::Removed(id));
    }

    /// Whether this node was a member, and is none.
    pub(super) fn is_removed(&self, id: NodeId) -> bool {
        self.tombstones.contains_key(&id) || self.barred.contains_key(&id)
    }

    /// Takes in addresses; `None` when they are as they were.
    pub(super) fn update(&mut self, update: UpdateMember) -> Result<Option<Member>, Refusal> {
        form::check_addresses(&update.address, &update.etcd_address)?;
        let member = self.present.get_mut(&NodeId(update.id)).ok_or(Refusal::MemberNotFound)?;
        if member.address == update.address && member.etcd_address == update.etcd_address {
            return Ok(None);
        }
        member.address = update.address;
        member.etcd_address = update.etcd_address;
        Ok(Some(member.clone()))
    }

    /// Adds everything to a digest. What a state of before there were epochs has not adds nothing,
    /// so that its snapshots keep their digest; what is added is told apart by a number.
    pub(super) fn digest(&self, digest: Digest) -> Digest {
        let mut digest = digest.number(self.present.len() as u64);
        for member in self.present.values() {
            digest = digest
                .number(member.id)
                .number(member.admitted_at)
                .bytes(member.name.as_bytes())
                .bytes(member.address.as_bytes())
                .bytes(member.etcd_address.as_bytes())
                .bytes(&member.key_hash)
                .number(member.roles.len() as u64);
            digest = member.roles.iter().fold(digest, |digest, role| digest.bytes(role.as_bytes()));
            if !is_plain(member) {
                digest = digest.bytes(&member.encode_to_vec());
            }
        }
        digest = digest.number(self.barred.len() as u64);
        for (id, epoch) in &self.barred {
            digest = digest.number(id.0).number(epoch.0);
        }
        self.digest_more(self.digest_tokens(digest))
    }

    fn digest_more(&self, mut digest: Digest) -> Digest {
        for one in self.tombstones.values() {
            digest = digest.number(1).bytes(&one.encode_to_vec());
        }
        for held in self.held.values() {
            digest = digest.number(2).bytes(&held.encode_to_vec());
        }
        for one in self.invites.values() {
            digest = digest.number(6).bytes(&one.encode_to_vec());
        }
        for key in self.keys.values() {
            digest = digest.number(3).bytes(&key.encode_to_vec());
        }
        for id in &self.voters {
            digest = digest.number(4).number(id.0);
        }
        let numbers = [self.last_key, self.epoch.0, self.removed_unix_ms];
        if numbers != [0; 3] || self.settings != Settings::default() {
            digest = numbers.into_iter().fold(digest.number(5), Digest::number);
            digest = digest.bytes(&self.settings.encode_to_vec());
        }
        digest
    }
}

/// Whether a member has nothing but what its digest holds by itself.
fn is_plain(member: &Member) -> bool {
    member.requires.is_empty()
        && member.requires_for_bootstrap.is_empty()
        && member.labels.is_empty()
        && member.zone.is_empty()
        && member.admitted_by.is_empty()
        && (member.admitted_unix_ms, member.epoch_number) == (0, 0)
        && (member.vote_wish, member.life) == (0, 0)
        && !member.is_draining
        && member.load.is_none()
        && member.standing.is_none()
}

/// With a key hash of its own, so that it does not hold on to the proposal's buffer.
pub(super) fn owned_member(member: &Member) -> Member {
    Member { key_hash: Bytes::copy_from_slice(&member.key_hash), ..member.clone() }
}
