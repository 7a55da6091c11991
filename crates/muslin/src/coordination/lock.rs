//! Mutual exclusion, first come, first served.

use super::error::Error;
use super::fence::Fence;
use super::queue::{Entry, Queue, Waiting};
use super::session::{Session, Turn};
use crate::driver::Handle;
use bytes::Bytes;
use std::time::Duration;
use tokio::time::timeout;

/// What one session at a time may hold. Who waits gets it in the order in which they came; that is
/// etcd's lock of the same name.
#[derive(Clone)]
pub struct Lock {
    name: Bytes,
    queue: Queue,
}

/// A lock that is held, until this is dropped or the session ends.
pub struct Held {
    waiting: Waiting,
    session: Session,
}

impl Lock {
    /// The lock of this name.
    pub fn new(handle: &Handle, name: impl Into<Bytes>) -> Lock {
        let name = name.into();
        Lock { queue: Queue::new(handle, &name), name }
    }

    /// Waits for it. Whoever drops the call leaves the queue. Of the tasks of one session one
    /// queues at a time.
    pub async fn acquire(&self, session: &Session) -> Result<Held, Error> {
        let turn = self.ended_or(session, async { Ok(session.turn(&self.name).await) }).await?;
        let mut held = self.enter(session, turn).await?;
        self.ended_or(session, held.waiting.turn()).await?;
        Ok(held)
    }

    /// As [`Lock::acquire`], but not for longer than this: [`Error::WaitedInVain`].
    pub async fn acquire_within(&self, session: &Session, time: Duration) -> Result<Held, Error> {
        let gave_up = |_| Err(Error::WaitedInVain);
        timeout(time, self.acquire(session)).await.unwrap_or_else(gave_up)
    }

    /// Takes it if nobody has it, nor waits for it: otherwise [`Error::Held`].
    pub async fn try_acquire(&self, session: &Session) -> Result<Held, Error> {
        let turn = session.try_turn(&self.name).ok_or(Error::Held)?;
        let held = self.enter(session, turn).await?;
        if held.waiting.place().is_first {
            return Ok(held);
        }
        held.waiting.leave().await?;
        Err(Error::Held)
    }

    async fn enter(&self, session: &Session, turn: Turn) -> Result<Held, Error> {
        let entry = Entry { lease: session.lease(), value: Bytes::new(), ttl_ms: 0 };
        let waiting = self.queue.enter_anew(entry, turn).await?;
        Ok(Held { waiting, session: session.clone() })
    }

    async fn ended_or<T>(
        &self,
        session: &Session,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            biased;
            () = session.ended() => Err(Error::SessionEnded),
            done = work => done,
        }
    }
}

impl Held {
    /// What every write shows that relies on the lock.
    pub fn fence(&self) -> &Fence {
        &self.waiting.place().fence
    }

    /// Waits until the lock is lost: the session has ended, or somebody took the key away.
    pub async fn lost(&self) {
        tokio::select! {
            () = self.session.ended() => {}
            () = self.waiting.lost() => {}
        }
    }

    /// Gives it back, and waits until that is done.
    pub async fn release(self) -> Result<(), Error> {
        self.waiting.leave().await.map(drop)
    }
}
