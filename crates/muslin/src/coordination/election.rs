//! One leader among those who campaign, and what it proclaims.

use super::error::Error;
use super::fence::Fence;
use super::queue::{Entry, Queue, Waiting};
use super::session::Session;
use crate::driver::{Handle, Watch, WatchItem};
use bytes::Bytes;
use muslin_core::base::{LeaseId, Revision};
use muslin_core::state::{KeyRange, KeyValue, KvEvent, KvEventKind, Op, OpKind, Put, WatchSpec};
use std::collections::VecDeque;

/// An office that one session at a time has. Candidates get it in the order in which they came;
/// that is etcd's election of the same name.
#[derive(Clone)]
pub struct Election {
    handle: Handle,
    name: Bytes,
    queue: Queue,
}

/// The office, until this is dropped or the session ends.
pub struct Leadership {
    handle: Handle,
    waiting: Waiting,
    session: Session,
}

impl Election {
    /// The election of this name.
    pub fn new(handle: &Handle, name: impl Into<Bytes>) -> Election {
        let name = name.into();
        Election { handle: handle.clone(), queue: Queue::new(handle, &name), name }
    }

    /// Waits until this session leads, and then proclaims the value. Whoever drops the call is no
    /// candidate any more.
    pub async fn campaign(
        &self,
        session: &Session,
        value: impl Into<Bytes>,
    ) -> Result<Leadership, Error> {
        let value = value.into();
        tokio::select! {
            biased;
            () = session.ended() => Err(Error::SessionEnded),
            done = async {
                let turn = session.turn(&self.name).await;
                let entry = Entry { lease: session.lease(), value, ttl_ms: 0 };
                let mut waiting = self.queue.enter_anew(entry, turn).await?;
                waiting.turn().await?;
                Ok(Leadership { handle: self.handle.clone(), waiting, session: session.clone() })
            } => done,
        }
    }

    /// Becomes a candidate by a lease, without waiting. Who is one already says another value.
    pub async fn stand(&self, entry: Entry) -> Result<Waiting, Error> {
        let value = entry.value.clone();
        let waiting = self.queue.enter(entry).await?;
        let place = waiting.place();
        if place.found.as_ref().is_some_and(|found| *found != value) {
            self.proclaim(&place.fence, place.lease, value).await?;
        }
        Ok(waiting)
    }

    /// Says another value, as the one who has this fence: [`Error::NotLeader`] if that is nobody.
    /// The key hangs on this lease from then on; 0 is the one it hangs on.
    pub async fn proclaim(
        &self,
        fence: &Fence,
        lease: LeaseId,
        value: Bytes,
    ) -> Result<Revision, Error> {
        proclaim(&self.handle, fence, lease, value).await
    }

    /// Gives up an office, or a candidacy.
    pub async fn resign(&self, fence: &Fence) -> Result<Revision, Error> {
        self.queue.leave(fence).await
    }

    /// Who leads, and what it proclaims.
    pub async fn leader(&self) -> Result<(Option<KeyValue>, Revision), Error> {
        self.queue.head().await
    }

    /// Follows who leads, and what is proclaimed: first what is so now, and that nobody leads where
    /// nobody does. Of values that follow each other none is left out while one leads.
    pub fn observe(&self) -> Observer {
        let (queue, handle) = (self.queue.clone(), self.handle.clone());
        Observer { queue, handle, stage: Stage::Look, told_vacant: false, ready: VecDeque::new() }
    }
}

async fn proclaim(
    handle: &Handle,
    fence: &Fence,
    lease: LeaseId,
    value: Bytes,
) -> Result<Revision, Error> {
    let ignore_lease = lease == LeaseId(0);
    let key = fence.key.clone();
    let put = Put { key, value, lease: lease.0, ignore_lease, ..Put::default() };
    match fence.write(handle, vec![Op { kind: Some(OpKind::Put(put)) }]).await {
        Ok((_, revision)) => Ok(revision),
        Err(Error::Fenced) => Err(Error::NotLeader),
        Err(other) => Err(other),
    }
}

impl Leadership {
    /// What every write shows that relies on the office.
    pub fn fence(&self) -> &Fence {
        &self.waiting.place().fence
    }

    /// Says another value; [`Error::NotLeader`] if somebody else leads.
    pub async fn proclaim(&self, value: impl Into<Bytes>) -> Result<(), Error> {
        let lease = self.session.lease();
        proclaim(&self.handle, self.fence(), lease, value.into()).await.map(drop)
    }

    /// Waits until the office is lost: the session has ended, or somebody took the key away.
    pub async fn lost(&self) {
        tokio::select! {
            () = self.session.ended() => {}
            () = self.waiting.lost() => {}
        }
    }

    /// Gives the office up: the next candidate leads.
    pub async fn resign(self) -> Result<(), Error> {
        self.waiting.leave().await.map(drop)
    }
}

/// What was seen of an election.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Observed {
    /// One leads.
    Leader {
        /// Its key and what it proclaims.
        kv: KeyValue,
        /// As of this revision.
        revision: Revision,
    },
    /// Nobody leads, or nobody does any more.
    Vacant {
        /// As of this revision.
        revision: Revision,
    },
}

/// Follows an election.
pub struct Observer {
    queue: Queue,
    handle: Handle,
    stage: Stage,
    /// It is told once that nobody leads, however often it is looked.
    told_vacant: bool,
    ready: VecDeque<Observed>,
}

/// How far an observer has come.
enum Stage {
    /// It asks who leads.
    Look,
    /// Nobody leads: it waits for the first who will.
    Vacant(Watch),
    /// It follows the key of who leads.
    Led(Watch),
}

impl Observer {
    /// Waits for the next. Cancel safe.
    pub async fn next(&mut self) -> Result<Observed, Error> {
        loop {
            if let Some(observed) = self.ready.pop_front() {
                return Ok(observed);
            }
            match &mut self.stage {
                Stage::Look => self.look().await?,
                Stage::Vacant(watch) => match watch.next().await {
                    // Among several the next look tells who is first.
                    Some(WatchItem::Started { .. } | WatchItem::Progress { .. }) => {}
                    _ => self.stage = Stage::Look,
                },
                Stage::Led(watch) => match watch.next().await {
                    Some(WatchItem::Started { .. } | WatchItem::Progress { .. }) => {}
                    Some(WatchItem::Events { events, .. }) => self.on_events(events),
                    // What was proclaimed meanwhile is not told again: the next look tells what is.
                    _ => self.stage = Stage::Look,
                },
            }
        }
    }

    /// Tells who leads, and begins to follow it.
    async fn look(&mut self) -> Result<(), Error> {
        let (leader, revision) = self.queue.head().await?;
        let range = match &leader {
            Some(kv) => KeyRange::of_key(kv.key.clone()),
            None => self.queue.range(),
        };
        let no_delete = leader.is_none();
        let start_revision = revision.next().0;
        let spec = WatchSpec { range, start_revision, no_delete, ..WatchSpec::default() };
        let watch = self.handle.watch(spec).await?;
        self.stage = match leader {
            Some(kv) => {
                self.told_vacant = false;
                self.ready.push_back(Observed::Leader { kv, revision });
                Stage::Led(watch)
            }
            None => {
                if !std::mem::replace(&mut self.told_vacant, true) {
                    self.ready.push_back(Observed::Vacant { revision });
                }
                Stage::Vacant(watch)
            }
        };
        Ok(())
    }

    fn on_events(&mut self, events: Vec<KvEvent>) {
        for event in events {
            if event.kind != KvEventKind::Put {
                self.stage = Stage::Look;
                return;
            }
            let revision = Revision(event.kv.mod_revision);
            self.ready.push_back(Observed::Leader { kv: event.kv, revision });
        }
    }
}
