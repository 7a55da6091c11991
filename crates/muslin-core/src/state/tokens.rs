//! The tokens that let nodes in: made, used, taken back, put in each other's place.

use super::digest::Digest;
use super::members::Members;
use super::{Admit, Refusal, RotateToken, Token, TokenState, form};
use crate::base::mutant::{self, Mutant};
use bytes::Bytes;
use core::hint::black_box;
use prost::Message as _;

/// Most join tokens kept. When one more is stored, one makes room: one that admits nobody any more
/// if there is any, otherwise the one that expires first.
pub const TOKENS_MAX: usize = 256;

/// What a secret is compared with when no token has the id: no hash is like it.
const NO_HASH: [u8; 32] = [0; 32];

/// Why a token admits nobody. For the cluster's own people; whoever shows it is told nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenFault {
    /// There is none of that id.
    Unknown,
    /// The secret is another.
    Secret,
    /// Its time is over.
    Expired,
    /// It has admitted as many as it may.
    Spent,
    /// It was taken back.
    Revoked,
}

impl Members {
    /// Stores a token. One of the same id and secret is changed: its expiry, its uses, its name.
    pub(super) fn put_token(&mut self, token: &Token) -> Result<(), Refusal> {
        form::check_token(token)?;
        let known = self.tokens.get(&token.id);
        if known.is_some_and(|known| known.secret_hash != token.secret_hash) {
            return Err(Refusal::TokenExists);
        }
        let (used, used_unix_ms) = known.map_or((0, 0), |known| (known.used, known.used_unix_ms));
        let secret_hash = Bytes::copy_from_slice(&token.secret_hash);
        let state = TokenState::Good.into();
        let stored = Token { secret_hash, used, used_unix_ms, state, ..token.clone() };
        self.tokens.insert(token.id.clone(), stored);
        while self.tokens.len() > TOKENS_MAX {
            let others = self.tokens.values().filter(|other| other.id != token.id);
            let is_good = |token: &Token| token.state() == TokenState::Good;
            let first =
                others.min_by_key(|other| (is_good(other), other.expires_unix_ms, &other.id));
            let first = first.expect("there are more than one").id.clone();
            self.tokens.remove(&first);
        }
        Ok(())
    }

    /// Takes a token back; `false` when it was already.
    pub(super) fn revoke_token(&mut self, id: &str) -> Result<bool, Refusal> {
        let token = self.tokens.get_mut(id).ok_or(Refusal::TokenNotFound)?;
        let is_news = token.state() != TokenState::Revoked;
        token.set_state(TokenState::Revoked);
        Ok(is_news)
    }

    /// Puts a token in the place of another, which is revoked.
    pub(super) fn rotate_token(&mut self, rotate: &RotateToken) -> Result<(), Refusal> {
        let old = self.tokens.get(&rotate.id).ok_or(Refusal::TokenNotFound)?;
        let is_done = old.state() == TokenState::Revoked
            && self.tokens.get(&rotate.token.id).is_some_and(|known| {
                known.secret_hash == rotate.token.secret_hash && known.name == old.name
            });
        if is_done {
            return Ok(());
        }
        if old.state() != TokenState::Good {
            return Err(Refusal::TokenNotFound);
        }
        if rotate.token.id == rotate.id {
            return Err(Refusal::TokenExists);
        }
        let successor = Token {
            name: old.name.clone(),
            roles: old.roles.clone(),
            uses_left: old.uses_left,
            ..rotate.token.clone()
        };
        self.put_token(&successor)?;
        // It may have made room for its successor.
        if let Some(old) = self.tokens.get_mut(&rotate.id) {
            old.set_state(TokenState::Revoked);
        }
        Ok(())
    }

    /// Whether the token that an admission names lets in. All of it is looked at whatever is wrong,
    /// so that the time it takes tells nothing.
    pub(super) fn check_token(&self, admit: &Admit) -> Result<(), TokenFault> {
        let token = self.tokens.get(&admit.token_id);
        let stored = token.map_or(&NO_HASH[..], |token| &token.secret_hash);
        let is_same = is_same_secret(stored, &admit.secret_hash);
        let Some(token) = token else { return Err(TokenFault::Unknown) };
        let is_expired = admit.unix_ms >= token.expires_unix_ms;
        match token.state() {
            _ if !is_same => Err(TokenFault::Secret),
            TokenState::Revoked => Err(TokenFault::Revoked),
            TokenState::Spent => Err(TokenFault::Spent),
            TokenState::Good if is_expired => Err(TokenFault::Expired),
            TokenState::Good => Ok(()),
        }
    }

    /// Counts a use, which [`Members::check_token`] has allowed.
    pub(super) fn use_token(&mut self, id: &str, unix_ms: u64) {
        let token = self.tokens.get_mut(id).expect("it was just checked");
        token.used = token.used.saturating_add(1);
        token.used_unix_ms = unix_ms;
        match token.uses_left {
            0 => {}
            _ if mutant::is_active(Mutant::TokenUseUncounted) => {}
            1 => token.set_state(TokenState::Spent),
            _ => token.uses_left -= 1,
        }
    }

    /// Gives a use back: the join it let in to wait came to nothing.
    pub(super) fn return_use(&mut self, id: &str) {
        let Some(token) = self.tokens.get_mut(id) else { return };
        token.used = token.used.saturating_sub(1);
        match token.state() {
            TokenState::Spent => token.set_state(TokenState::Good),
            _ if token.uses_left > 0 => token.uses_left = token.uses_left.saturating_add(1),
            _ => {}
        }
    }

    /// Adds the tokens to a digest.
    pub(super) fn digest_tokens(&self, digest: Digest) -> Digest {
        let digest = digest.number(self.tokens.len() as u64);
        self.tokens.values().fold(digest, |digest, token| {
            let digest = digest
                .bytes(token.id.as_bytes())
                .bytes(&token.secret_hash)
                .number(token.expires_unix_ms)
                .number(token.uses_left);
            if is_plain(token) { digest } else { digest.bytes(&token.encode_to_vec()) }
        })
    }
}

/// Whether a token has nothing but what its digest holds by itself.
fn is_plain(token: &Token) -> bool {
    token.name.is_empty()
        && token.roles.is_empty()
        && (token.created_unix_ms, token.used_unix_ms, token.used, token.state) == (0, 0, 0, 0)
}

/// In time that does not depend on where they differ. An empty hash equals nothing.
fn is_same_secret(stored: &[u8], shown: &[u8]) -> bool {
    let mut difference = u8::from(stored.len() != shown.len() || stored.is_empty());
    for (ours, theirs) in stored.iter().zip(shown) {
        difference |= black_box(ours ^ theirs);
    }
    black_box(difference) == 0
}
