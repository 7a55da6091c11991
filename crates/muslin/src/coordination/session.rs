//! Somebody who may hold things: a lease that is kept alive.

use super::error::Error;
use super::queue::settled;
use crate::driver::Handle;
use muslin_core::base::LeaseId;
use muslin_core::node::Failure;
use muslin_core::state::{Command, CommandKind, LeaseGrant, LeaseRevoke, Refusal, Response};
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{OwnedMutexGuard, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

/// A lease is kept alive this often in its time to live: two may fail.
const KEPT_ALIVE_PER_TTL: u32 = 3;

/// What failed is tried again after this part of the time to live.
const TRIED_AGAIN_PER_TTL: u32 = 20;

/// Identities drawn for one lease before it is given up. One in 2^63 is taken per lease that
/// exists: a second draw is already a miracle.
const DRAWS_MAX: usize = 3;

/// One who may hold locks and offices. All it holds goes when it ends, which it is told
/// ([`Session::ended`]). Clones are the same session; with the last of them it ends.
#[derive(Clone)]
pub struct Session {
    shared: Arc<Shared>,
}

struct Shared {
    handle: Handle,
    lease: LeaseId,
    life: watch::Receiver<Life>,
    keeper: AbortHandle,
    turns: Mutex<HashMap<Vec<u8>, Weak<tokio::sync::Mutex<()>>>>,
}

/// Whether a session lives, as far as it can know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    /// The leader has promised the lease until then, counted from before it was asked (K3).
    Until(Instant),
    /// No longer.
    Ended,
}

/// The right of one task of a session to queue for a name.
pub(super) type Turn = OwnedMutexGuard<()>;

impl Session {
    /// Begins a session: it ends by itself if it cannot be kept alive for this time.
    pub async fn open(handle: &Handle, ttl: Duration) -> Result<Session, Error> {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let asked = Instant::now();
        let mut granted = grant(handle, ttl_ms).await;
        for _ in 1..DRAWS_MAX {
            if granted == Err(Error::Refused(Refusal::LeaseExists)) {
                granted = grant(handle, ttl_ms).await;
            }
        }
        let lease = granted?;
        let (sender, life) = watch::channel(Life::Until(asked + ttl));
        let keeper = Keeper { handle: handle.clone(), lease, ttl, life: sender };
        let keeper = tokio::spawn(keeper.run(asked)).abort_handle();
        let turns = Mutex::default();
        let shared = Shared { handle: handle.clone(), lease, life, keeper, turns };
        Ok(Session { shared: Arc::new(shared) })
    }

    /// What its keys hang on.
    pub fn lease(&self) -> LeaseId {
        self.shared.lease
    }

    /// Whether it lives, as far as can be known here and now.
    pub fn is_alive(&self) -> bool {
        match *self.shared.life.borrow() {
            Life::Until(end) => Instant::now() < end,
            Life::Ended => false,
        }
    }

    /// Waits until it has ended, or cannot be known to live: nothing is held any more then.
    pub async fn ended(&self) {
        let mut life = self.shared.life.clone();
        // A keeper that is gone keeps nothing alive.
        let _ = life.wait_for(|life| *life == Life::Ended).await;
    }

    /// Ends it, with all it holds.
    pub async fn close(self) -> Result<(), Error> {
        self.shared.keeper.abort();
        match revoke(&self.shared.handle, self.shared.lease).await {
            // It has ended already.
            Err(Error::SessionEnded) => Ok(()),
            other => other,
        }
    }

    /// Two tasks of a session have one place in a queue, so one of them waits here.
    pub(super) async fn turn(&self, name: &[u8]) -> Turn {
        self.turnstile(name).lock_owned().await
    }

    /// As [`Session::turn`], without waiting.
    pub(super) fn try_turn(&self, name: &[u8]) -> Option<Turn> {
        self.turnstile(name).try_lock_owned().ok()
    }

    fn turnstile(&self, name: &[u8]) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.shared.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(name).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        turns.insert(name.to_vec(), Arc::downgrade(&turn));
        turn
    }

    /// As if its process stood still.
    #[cfg(test)]
    pub(super) fn pause(&self) {
        self.shared.keeper.abort();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.keeper.abort();
        // Without a runtime the lease runs out.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (handle, lease) = (self.handle.clone(), self.lease);
        runtime.spawn(async move {
            let _ = revoke(&handle, lease).await;
        });
    }
}

/// Keeps one lease alive.
struct Keeper {
    handle: Handle,
    lease: LeaseId,
    ttl: Duration,
    life: watch::Sender<Life>,
}

impl Keeper {
    /// `promised`: when that was asked for which the leader granted last.
    async fn run(self, mut promised: Instant) {
        let mut due = promised + self.ttl / KEPT_ALIVE_PER_TTL;
        loop {
            let end = promised + self.ttl;
            sleep_until(due.min(end)).await;
            let asked = Instant::now();
            match timeout_at(end, self.handle.keep_alive(self.lease)).await {
                Ok(Ok((Some(_), _))) => {
                    promised = asked;
                    due = asked + self.ttl / KEPT_ALIVE_PER_TTL;
                    self.life.send_replace(Life::Until(asked + self.ttl));
                }
                Ok(Err(failure)) if failure != Failure::Stopping && Instant::now() < end => {
                    due = Instant::now() + self.ttl / TRIED_AGAIN_PER_TTL;
                }
                // It is gone, or nobody can say that it is not.
                Ok(Ok((None, _)) | Err(_)) | Err(_) => break,
            }
        }
        self.life.send_replace(Life::Ended);
    }
}

/// A random identity for a lease that a signed number holds, never 0.
pub fn drawn_lease() -> Result<LeaseId, Error> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::NoRandomness)?;
    Ok(LeaseId((u64::from_le_bytes(bytes) >> 1).max(1)))
}

async fn grant(handle: &Handle, ttl_ms: u64) -> Result<LeaseId, Error> {
    let id = drawn_lease()?;
    let grant = CommandKind::LeaseGrant(LeaseGrant { id: id.0, ttl_ms });
    match settled(handle.write(Command::of(grant)).await)? {
        (Response::LeaseGrant { id, .. }, _) => Ok(LeaseId(id)),
        _ => Err(super::queue::unexpected()),
    }
}

async fn revoke(handle: &Handle, lease: LeaseId) -> Result<(), Error> {
    let revoke = LeaseRevoke { ids: vec![lease.0], expired: false };
    settled(handle.write(Command::of(CommandKind::LeaseRevoke(revoke))).await).map(drop)
}
