//! Finds out who asks.

use super::floors::Floor;
use super::password;
use super::token::{TOKEN_LIFE, Token, Unsealed};
use crate::api::caller::Caller;
use crate::driver::Handle;
use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderMap};
use muslin_core::node::{Consistency, Failure};
use muslin_core::state::{
    Asker, AuthAnswer, AuthQuery, AuthRefusal, Outcome, Query, Refusal, Response,
};
use ring::rand::{SecureRandom, SystemRandom};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Most passwords hashed at once: more would take the processor from everything else.
pub(super) const HASHED_AT_ONCE_MAX: usize = 2;

/// Most that wait for it; others are told to come again.
pub(super) const HASHES_WAITING_MAX: usize = 64;

/// When to come again, where too many authenticate at once.
const BUSY_RETRY: Duration = Duration::from_millis(500);

/// Where etcd's clients put a token.
const TOKEN: &str = "token";

/// What stands before a token in the header `authorization`.
const BEARER: &str = "Bearer ";

/// Knows whose a token is, and makes tokens.
pub(in crate::api) struct Doorman {
    handle: Handle,
    /// The key of tokens, as last seen. Another one only makes a token unknown, never another's.
    key: Mutex<Option<Bytes>>,
    hashing: Semaphore,
    waiting: Semaphore,
}

/// Why somebody was turned away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::api) enum Turned {
    /// They may not, or could not show who they are.
    Refused(AuthRefusal),
    /// It could not be found out.
    Failed(Failure),
}

impl From<AuthRefusal> for Turned {
    fn from(refusal: AuthRefusal) -> Turned {
        Turned::Refused(refusal)
    }
}

impl From<Failure> for Turned {
    fn from(failure: Failure) -> Turned {
        match failure {
            Failure::Denied(refusal) => Turned::Refused(refusal),
            other => Turned::Failed(other),
        }
    }
}

impl Doorman {
    pub(in crate::api) fn new(handle: Handle) -> Doorman {
        Doorman {
            handle,
            key: Mutex::new(None),
            hashing: Semaphore::new(HASHED_AT_ONCE_MAX),
            waiting: Semaphore::new(HASHED_AT_ONCE_MAX + HASHES_WAITING_MAX),
        }
    }

    /// On whose behalf a request is made, by what its caller and its headers show. A token of one
    /// who shows nothing else lets in only while auth is enabled.
    pub(in crate::api) async fn asker(
        &self,
        caller: Caller,
        headers: &HeaderMap,
    ) -> Result<Asker, Turned> {
        let plain = Doorman::without_token(caller);
        let Some(text) = token_of(headers) else { return Ok(plain) };
        let known = self.key().clone();
        if let Some(key) = known
            && let Ok(token) = Token::unsealed(text, &key, unix_ms())
        {
            return Ok(token.asker());
        }
        // This node may be behind the one that made the token: what counts is what is committed.
        let mut key = self.ask_key(Consistency::Local).await?;
        let is_sealed = |key: &Bytes| Token::unsealed(text, key, 0).is_ok();
        if !key.as_ref().is_some_and(is_sealed) {
            key = self.ask_key(Consistency::Linearizable).await?;
        }
        // Where nothing is checked, a token says nothing: as in etcd.
        let Some(key) = key else { return Ok(plain) };
        let token = Token::unsealed(text, &key, unix_ms());
        *self.key() = Some(key);
        match token {
            Ok(token) => Ok(token.asker()),
            Err(Unsealed::Unknown | Unsealed::Expired) => Err(AuthRefusal::InvalidToken.into()),
        }
    }

    /// On whose behalf somebody asks who shows no token. Somebody on this machine is nobody in
    /// particular: that they are here says nothing of which of its users they are.
    pub(in crate::api) fn without_token(caller: Caller) -> Asker {
        match caller {
            Caller::Certified | Caller::Node(_) => Asker::Cluster,
            _ => Asker::Nobody,
        }
    }

    /// Whether somebody may make a call that needs this, as far as that can be said before it is
    /// carried out.
    pub(in crate::api) async fn check(&self, asker: &Asker, floor: Floor) -> Result<(), Turned> {
        let Floor::Needs(needs) = floor else { return Ok(()) };
        if *asker == Asker::Cluster {
            return Ok(());
        }
        let handle = self.handle.asking(asker.clone());
        let may = || Query::Auth(AuthQuery::May(needs));
        match answered(handle.read(may(), Consistency::Local).await?) {
            // This node may be behind the one that let them in.
            Err(Turned::Refused(AuthRefusal::InvalidToken)) => {
                answered(handle.read(may(), Consistency::Linearizable).await?).map(drop)
            }
            checked => checked.map(drop),
        }
    }

    /// Whether somebody who shows a token and nothing else is let in: a user, while auth is
    /// enabled.
    pub(in crate::api) async fn lets_in(&self, asker: &Asker) -> Result<bool, Turned> {
        if !matches!(asker, Asker::User(_)) {
            return Ok(false);
        }
        Ok(self.ask_key(Consistency::Local).await?.is_some())
    }

    /// A token for whoever knows the password.
    pub(in crate::api) async fn authenticate(
        &self,
        user: &str,
        password: &str,
    ) -> Result<String, Turned> {
        let Some(key) = self.ask_key(Consistency::Linearizable).await? else {
            return Err(AuthRefusal::NotEnabled.into());
        };
        let query = Query::Auth(AuthQuery::Credential(user.into()));
        let outcome = self.handle.read(query, Consistency::Local).await?;
        let found = match answered(outcome) {
            Ok(AuthAnswer::Credential { no_password: true, .. }) => {
                return Err(AuthRefusal::NoPasswordUser.into());
            }
            Ok(AuthAnswer::Credential { credential, revision, .. }) => Some((credential, revision)),
            _ => None,
        };
        let password = String::from(password);
        let auth_revision = found.as_ref().map_or(0, |(_, revision)| *revision);
        let is_right = self
            .at_work(move || match found {
                Some((credential, _)) => password::matches(&credential, &password),
                None => password::matches_nobody(&password),
            })
            .await?;
        if !is_right {
            return Err(AuthRefusal::Failed.into());
        }
        let life = u64::try_from(TOKEN_LIFE.as_millis()).unwrap_or(u64::MAX);
        let until_unix_ms = unix_ms().saturating_add(life);
        Ok(Token { user: user.into(), auth_revision, until_unix_ms }.sealed(&key))
    }

    /// A password as it is kept.
    pub(in crate::api) async fn hashed(&self, password: String) -> Result<Bytes, Turned> {
        let hash = self.at_work(move || password::hashed(&password)).await?;
        Ok(hash.ok_or(Failure::Stopping)?.into())
    }

    /// A hash that was brought along: only one of ours lets anybody in.
    pub(in crate::api) fn brought(&self, hash: String) -> Option<Bytes> {
        password::is_hash(&hash).then(|| hash.into())
    }

    /// A key for tokens. `None`: the system has no randomness.
    pub(in crate::api) fn drawn_key(&self) -> Option<Bytes> {
        let mut key = [0; muslin_core::state::TOKEN_KEY_BYTES];
        SystemRandom::new().fill(&mut key).ok()?;
        Some(Bytes::copy_from_slice(&key))
    }

    /// With what the names of a user's receipts are sealed, so that no other user can make one; the
    /// same on all nodes. `None` where nothing is checked, and for the cluster's own.
    pub(in crate::api) async fn receipt_key(&self, asker: &Asker) -> Result<Option<Bytes>, Turned> {
        match asker {
            Asker::User(_) => self.ask_key(Consistency::Linearizable).await,
            Asker::Cluster | Asker::Nobody => Ok(None),
        }
    }

    /// Hashing takes tens of milliseconds of a processor: never on a thread that serves.
    async fn at_work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Turned> {
        let busy = |_| Turned::Failed(Failure::Busy { retry_after: BUSY_RETRY });
        let _place = self.waiting.try_acquire().map_err(busy)?;
        let _turn = self.hashing.acquire().await.map_err(|_| Failure::Stopping)?;
        spawn_blocking(work).await.map_err(|_| Turned::Failed(Failure::Stopping))
    }

    async fn ask_key(&self, consistency: Consistency) -> Result<Option<Bytes>, Turned> {
        let outcome = self.handle.read(Query::Auth(AuthQuery::TokenKey), consistency).await?;
        match answered(outcome)? {
            AuthAnswer::TokenKey(key) => Ok(key),
            _ => Ok(None),
        }
    }

    fn key(&self) -> MutexGuard<'_, Option<Bytes>> {
        self.key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answered(outcome: Outcome) -> Result<AuthAnswer, Turned> {
    match outcome.result {
        Ok(Response::Auth(answer)) => Ok(*answer),
        Err(Refusal::Auth(refusal)) => Err(refusal.into()),
        // An answer of another kind than asked for is a bug of the node.
        Ok(_) | Err(_) => Err(Turned::Failed(Failure::Stopping)),
    }
}

/// etcd's clients say `token`, or `authorization` with or without the word before it.
fn token_of(headers: &HeaderMap) -> Option<&str> {
    if let Some(token) = headers.get(TOKEN) {
        return Some(token.to_str().unwrap_or_default());
    }
    let text = headers.get(AUTHORIZATION)?.to_str().unwrap_or_default();
    Some(text.strip_prefix(BEARER).unwrap_or(text).trim())
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
