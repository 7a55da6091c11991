//! Who belongs to the cluster, and the tokens that let nodes in.

use super::digest::Digest;
use super::{Admit, Founding, Member, Refusal, Token, UpdateMember};
use crate::base::{Index, NodeId};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use bytes::Bytes;
use core::hint::black_box;

/// Most join tokens kept. When one more is stored, the one that expires first makes room: expired
/// ones therefore go before any that is still good.
pub const TOKENS_MAX: usize = 256;

/// Members, tokens, and ids that may never come back.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Members {
    pub(super) present: BTreeMap<NodeId, Member>,
    pub(super) removed: BTreeSet<NodeId>,
    pub(super) tokens: BTreeMap<String, Token>,
}

/// What an accepted admission did.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Admission {
    /// A member was added.
    Added(Member),
    /// This very node was admitted before: its retry is a success.
    Known,
}

impl Members {
    pub(super) fn founded(founding: &Founding) -> Members {
        let mut members = Members::default();
        for member in &founding.members {
            let member = owned_member(Member { admitted_at: 0, ..member.clone() });
            members.present.insert(NodeId(member.id), member);
        }
        for token in &founding.tokens {
            members.put_token(token);
        }
        members
    }

    /// Admits a node, if its token is good (M3).
    pub(super) fn admit(&mut self, index: Index, admit: &Admit) -> Result<Admission, Refusal> {
        let id = NodeId(admit.member.id);
        if self.removed.contains(&id) {
            return Err(Refusal::MemberExists);
        }
        if let Some(known) = self.present.get(&id) {
            // Only the holder of the key can have asked; its first try may have used the token up.
            let is_same = known.key_hash == admit.member.key_hash;
            return if is_same { Ok(Admission::Known) } else { Err(Refusal::MemberExists) };
        }
        self.check_token(admit)?;
        // After the token: without one, nobody learns which names there are.
        let name = &admit.member.name;
        if self.present.values().any(|member| member.name == *name) {
            return Err(Refusal::NameTaken(name.clone()));
        }
        self.use_token(&admit.token_id);
        let member = owned_member(Member { admitted_at: index.0, ..admit.member.clone() });
        self.present.insert(id, member.clone());
        Ok(Admission::Added(member))
    }

    /// Takes a member out; its id is barred for ever.
    pub(super) fn remove(&mut self, id: NodeId) -> Result<(), Refusal> {
        self.present.remove(&id).ok_or(Refusal::MemberNotFound)?;
        self.removed.insert(id);
        Ok(())
    }

    /// Takes in addresses; `None` when they are as they were.
    pub(super) fn update(&mut self, update: UpdateMember) -> Result<Option<Member>, Refusal> {
        let member = self.present.get_mut(&NodeId(update.id)).ok_or(Refusal::MemberNotFound)?;
        if member.address == update.address && member.etcd_address == update.etcd_address {
            return Ok(None);
        }
        member.address = update.address;
        member.etcd_address = update.etcd_address;
        Ok(Some(member.clone()))
    }

    /// Stores a token, in place of one of the same id.
    pub(super) fn put_token(&mut self, token: &Token) {
        let secret_hash = Bytes::copy_from_slice(&token.secret_hash);
        self.tokens.insert(token.id.clone(), Token { secret_hash, ..token.clone() });
        while self.tokens.len() > TOKENS_MAX {
            let others = self.tokens.values().filter(|other| other.id != token.id);
            let first = others.min_by_key(|other| (other.expires_unix_ms, &other.id));
            let first = first.expect("there are more than one").id.clone();
            self.tokens.remove(&first);
        }
    }

    /// Adds everything to a digest.
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
        }
        digest = digest.number(self.removed.len() as u64);
        digest = self.removed.iter().fold(digest, |digest, id| digest.number(id.0));
        digest = digest.number(self.tokens.len() as u64);
        self.tokens.values().fold(digest, |digest, token| {
            digest
                .bytes(token.id.as_bytes())
                .bytes(&token.secret_hash)
                .number(token.expires_unix_ms)
                .number(token.uses_left)
        })
    }

    fn check_token(&self, admit: &Admit) -> Result<(), Refusal> {
        let token = self.tokens.get(&admit.token_id).ok_or(Refusal::TokenInvalid)?;
        if !is_same_secret(&token.secret_hash, &admit.secret_hash) {
            return Err(Refusal::TokenInvalid);
        }
        // Only who knows the secret learns that it was good once.
        let is_expired = admit.unix_ms >= token.expires_unix_ms;
        if is_expired { Err(Refusal::TokenExpired) } else { Ok(()) }
    }

    /// Counts a use. A token used up is dropped, since a count of 0 means any number.
    fn use_token(&mut self, id: &str) {
        let token = self.tokens.get_mut(id).expect("it was just checked");
        match token.uses_left {
            0 => {}
            1 => drop(self.tokens.remove(id)),
            _ => token.uses_left -= 1,
        }
    }
}

/// In time that does not depend on where they differ. An empty hash equals nothing.
fn is_same_secret(stored: &[u8], shown: &[u8]) -> bool {
    let mut difference = u8::from(stored.len() != shown.len() || stored.is_empty());
    for (ours, theirs) in stored.iter().zip(shown) {
        difference |= black_box(ours ^ theirs);
    }
    black_box(difference) == 0
}

/// With a key hash of its own, so that it does not hold on to the proposal's buffer.
fn owned_member(member: Member) -> Member {
    Member { key_hash: Bytes::copy_from_slice(&member.key_hash), ..member }
}
