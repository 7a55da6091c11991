//! The queue behind locks and elections: keys below `NAME/`, served in the order of their creation.

use super::error::Error;
use super::fence::Fence;
use super::session::Turn;
use crate::driver::{Handle, WatchItem};
use bytes::Bytes;
use muslin_core::base::{LeaseId, Revision};
use muslin_core::node::{Consistency, Failure};
use muslin_core::state::{
    Command, CommandKind, Compare, KeyRange, KeyValue, Op, OpKind, Outcome, Places, Put, Query,
    Range, Response, WatchSpec,
};
use std::time::Duration;

/// A node that cannot say whether a place is still there is asked again after this time: nobody
/// learns that it lost something later than by its session.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// A queue of sessions for one thing.
#[derive(Clone)]
pub struct Queue {
    handle: Handle,
    places: Places,
}

/// Who wants a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The place goes with it, and there is one for each.
    pub lease: LeaseId,
    /// What the key says; nothing for a lock.
    pub value: Bytes,
    /// The lease is made with the place and ends with it; it lives so long unless it is kept
    /// alive. Zero: it exists.
    pub ttl_ms: u64,
}

/// A place in a queue, or at the head of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The key, and what made it.
    pub fence: Fence,
    /// What goes, and the place with it.
    pub lease: LeaseId,
    /// Nobody is before it.
    pub is_first: bool,
    /// The revision at which that was so.
    pub revision: Revision,
    /// It was there already, and this is what it says.
    pub found: Option<Bytes>,
}

impl Queue {
    /// The queue of this name.
    pub fn new(handle: &Handle, name: &[u8]) -> Queue {
        Queue { handle: handle.clone(), places: Places::of(name) }
    }

    /// The key of a lease's place.
    pub fn key(&self, lease: LeaseId) -> Bytes {
        self.places.key(lease)
    }

    /// Every place there is.
    pub fn range(&self) -> KeyRange {
        self.places.range()
    }

    /// Takes a place at the end; or finds that of the lease, wherever it is.
    pub async fn enter(&self, entry: Entry) -> Result<Waiting, Error> {
        let Entry { lease, value, ttl_ms } = entry;
        let key = self.key(lease);
        let put = Put { key: key.clone(), value, lease: lease.0, ttl_ms, ..Put::default() };
        let txn = self.places.enter(put);
        let outcome = self.handle.write(Command::of(CommandKind::Txn(txn))).await;
        let (response, revision) = settled(outcome)?;
        let Response::Txn { succeeded, responses } = response else { return Err(unexpected()) };
        let [own, first] = &responses[..] else { return Err(unexpected()) };
        let found = if succeeded { None } else { Some(only(own).ok_or_else(unexpected)?) };
        let create_revision = found.map_or(revision, |kv| Revision(kv.create_revision));
        let is_first = only(first).is_some_and(|kv| kv.create_revision == create_revision.0);
        let found = found.map(|kv| Bytes::from(&kv.value));
        let fence = Fence { key, create_revision };
        let is_new = found.is_none();
        let place = Place { fence, lease, is_first, revision, found };
        Ok(Waiting { queue: self.clone(), place, leaves: is_new, turn: None })
    }

    /// Takes a place at the end for a task of a session, which has no other while it has its turn.
    /// One that is found is being given back, or was to be: it may go at any moment.
    pub(super) async fn enter_anew(&self, entry: Entry, turn: Turn) -> Result<Waiting, Error> {
        loop {
            let mut waiting = self.enter(entry.clone()).await?;
            if waiting.place.found.is_none() {
                waiting.turn = Some(turn);
                return Ok(waiting);
            }
            self.leave(&waiting.place.fence).await?;
        }
    }

    /// Who has it.
    pub async fn head(&self) -> Result<(Option<KeyValue>, Revision), Error> {
        let outcome =
            self.handle.read(Query::Range(self.places.first()), Consistency::Linearizable).await;
        let (response, revision) = settled(outcome)?;
        Ok((only(&response).cloned(), revision))
    }

    /// Holds while no place is before this one, of those there are; they may all be gone.
    pub fn nobody_before(&self, fence: &Fence) -> Compare {
        self.places.nobody_before(fence.create_revision)
    }

    /// Gives a place back, if it is that one still. The revision at which it is gone.
    pub async fn leave(&self, fence: &Fence) -> Result<Revision, Error> {
        let txn = Places::leave(&fence.key, fence.create_revision);
        let outcome = self.handle.write(Command::of(CommandKind::Txn(txn))).await;
        settled(outcome).map(|(_, revision)| revision)
    }

    /// Waits until nobody is before the place any more.
    async fn reach(&self, fence: &Fence) -> Result<Revision, Error> {
        // Nothing was ever created before revision 2, and no bound is written as 0.
        assert!(fence.create_revision.0 > 1, "a place was made by a write");
        loop {
            let query = Query::Txn(self.places.look(&fence.key, fence.create_revision));
            let outcome = self.handle.read(query, Consistency::Linearizable).await;
            let (response, revision) = settled(outcome)?;
            let Response::Txn { responses, .. } = response else { return Err(unexpected()) };
            let [before, own] = &responses[..] else { return Err(unexpected()) };
            let is_there =
                only(own).is_some_and(|kv| kv.create_revision == fence.create_revision.0);
            if !is_there {
                return Err(Error::SessionEnded);
            }
            let Some(before) = only(before) else { return Ok(revision) };
            let before = Bytes::from(&before.key);
            // Whoever loses its place while it waits is told at once, not when its turn comes.
            tokio::select! {
                gone = self.gone(&before, revision) => gone?,
                gone = self.gone(&fence.key, revision) => gone?,
            }
        }
    }

    /// Waits until a key that is there at this revision is deleted. May return for nothing: look
    /// again.
    async fn gone(&self, key: &Bytes, revision: Revision) -> Result<(), Failure> {
        let spec = WatchSpec {
            range: KeyRange::of_key(key.clone()),
            start_revision: revision.next().0,
            no_put: true,
            ..WatchSpec::default()
        };
        let mut watch = self.handle.watch(spec).await?;
        loop {
            match watch.next().await {
                Some(WatchItem::Started { .. } | WatchItem::Progress { .. }) => {}
                Some(WatchItem::Events { .. } | WatchItem::Compacted { .. }) => return Ok(()),
                // The node stops, or has no room for what this watch is told: a read tells which.
                Some(WatchItem::Cancelled { .. } | WatchItem::Denied { .. }) | None => {
                    return Ok(());
                }
            }
        }
    }
}

/// Somebody in a queue. Dropped before it is kept, it gives its place back, in the background.
pub struct Waiting {
    queue: Queue,
    place: Place,
    /// Whoever found a place did not make it, and does not take it away.
    leaves: bool,
    /// Ends when the place is given back: only then may the session take another.
    turn: Option<Turn>,
}

impl Waiting {
    /// Where it stands.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Waits for its turn.
    pub async fn turn(&mut self) -> Result<(), Error> {
        if !self.place.is_first {
            self.place.revision = self.queue.reach(&self.place.fence).await?;
            self.place.is_first = true;
        }
        Ok(())
    }

    /// Stays where it is when this is dropped.
    pub fn keep(mut self) -> Place {
        self.leaves = false;
        self.place.clone()
    }

    /// Gives the place back, and waits until that is done.
    pub async fn leave(mut self) -> Result<Revision, Error> {
        let left = self.queue.leave(&self.place.fence).await;
        // What failed is tried once more, in the background.
        self.leaves = left.is_err();
        left
    }

    /// Waits until the place is gone: it was lost, or somebody took it away.
    pub async fn lost(&self) {
        loop {
            let fence = &self.place.fence;
            let range = Range { range: KeyRange::of_key(fence.key.clone()), ..Range::default() };
            let query = Query::Range(Range { keys_only: true, ..range });
            let outcome = self.queue.handle.read(query, Consistency::Linearizable).await;
            match settled(outcome) {
                Ok((response, revision)) => {
                    let own = only(&response);
                    if own.is_none_or(|kv| kv.create_revision != fence.create_revision.0) {
                        return;
                    }
                    let _ = self.queue.gone(&fence.key, revision).await;
                }
                // Nothing more is to be learnt from a node that stops.
                Err(Error::Failed(Failure::Stopping)) => return,
                Err(_) => tokio::time::sleep(LOOK_AGAIN_AFTER).await,
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.leaves {
            return;
        }
        // Without a runtime the place goes with its lease.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (queue, fence) = (self.queue.clone(), self.place.fence.clone());
            let turn = self.turn.take();
            runtime.spawn(async move {
                // What cannot be given back goes with its lease.
                let _ = queue.leave(&fence).await;
                drop(turn);
            });
        }
    }
}

pub(super) fn op(kind: OpKind) -> Op {
    Op { kind: Some(kind) }
}

fn only(response: &Response) -> Option<&KeyValue> {
    match response {
        Response::Range { kvs, .. } => kvs.first(),
        _ => None,
    }
}

/// What was answered, and of which revision.
pub(super) fn settled(outcome: Result<Outcome, Failure>) -> Result<(Response, Revision), Error> {
    let outcome = outcome?;
    Ok((outcome.result?, outcome.revision))
}

/// An answer of another kind than asked for: whether anything happened cannot be told.
pub(super) fn unexpected() -> Error {
    Error::Failed(Failure::TimedOut)
}
