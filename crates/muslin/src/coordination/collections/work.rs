//! Work: durable, in order, each item taken once.
//!
//! An item is the key `i/PLACE`. Whoever takes one marks it, `t/PLACE`, by a lease: while the mark
//! is there nobody else takes it, and when the lease ends the item is where it was. Items that are
//! done are deleted, and their keys stay in history for a while; so nobody looks from the beginning
//! but from the floor, `f`, below which no item is. It rises when the first item is taken, by a
//! transaction that finds nothing between the old floor and that item; and whoever pushes compares
//! its place with the floor.

use super::once::{Deed, Once, Tried};
use super::sequence::PLACE_BYTES;
use super::space::{Kind, Page, Pair, Seen, Space, get, made_by, pairs_at, read, removed, set};
use crate::coordination::queue::{op, unexpected};
use crate::coordination::{Error, Fence};
use crate::driver::Handle;
use bytes::Bytes;
use muslin_core::base::{LeaseId, Revision};
use muslin_core::state::{
    Compare, CompareResult, CompareTarget, DeleteRange, KeyRange, KeyValue, Op, OpKind, Put, Query,
    Range, Response, Txn,
};
use std::collections::BTreeSet;

const ITEMS: &[u8] = b"i/";
const MARKS: &[u8] = b"t/";
const ASKED: &[u8] = b"a/";
const FLOOR: &[u8] = b"f";

/// Items looked at first; four times as many each time when all of them are taken.
const LOOKED_AT: u64 = 16;

/// Items that may be taken and not done before those behind them.
const TAKEN_MAX: u64 = 65_536;

/// Work for whoever comes: items are taken in the order in which they were pushed, each once. What
/// is pushed after another push was answered stands behind that; pushes at the same moment stand in
/// either order.
#[derive(Clone)]
pub struct WorkQueue {
    space: Space,
}

/// An item that one lease has, and nobody else while that lives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Taken {
    /// Where it stands.
    pub place: Bytes,
    /// What is to be done.
    pub value: Bytes,
    /// What says that it is taken: shown with each write that relies on it.
    pub fence: Fence,
    /// By which it is taken.
    pub lease: LeaseId,
    /// What whoever took it called the taking.
    asked: Bytes,
}

/// By what an item is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tenure {
    /// A lease that is there, which goes on when the item is done.
    Lease(LeaseId),
    /// One that is made with the taking, and ends when the item is done or put back.
    Made {
        /// Its id, which no lease has.
        lease: LeaseId,
        /// Its time to live, in milliseconds.
        ttl_ms: u64,
    },
}

impl Tenure {
    fn hung(self, key: Bytes, value: Bytes) -> Op {
        let (lease, ttl_ms) = match self {
            Tenure::Lease(lease) => (lease, 0),
            Tenure::Made { lease, ttl_ms } => (lease, ttl_ms),
        };
        op(OpKind::Put(Put { key, value, lease: lease.0, ttl_ms, ..Put::default() }))
    }

    /// The lease that it is, or will be.
    pub fn lease(self) -> LeaseId {
        match self {
            Tenure::Lease(lease) | Tenure::Made { lease, .. } => lease,
        }
    }
}

impl From<LeaseId> for Tenure {
    fn from(lease: LeaseId) -> Tenure {
        Tenure::Lease(lease)
    }
}

/// The row as it was found.
struct Row {
    /// The floor's key, if there is one.
    floor: Option<KeyValue>,
    /// The first item that is there.
    head: Option<Pair>,
    /// The first that nobody has.
    free: Option<Pair>,
    revision: Revision,
}

impl WorkQueue {
    /// The queue of this name; it is empty until somebody pushes.
    pub fn new(handle: &Handle, name: &[u8]) -> WorkQueue {
        WorkQueue { space: Space::new(handle, Kind::Queue, name) }
    }

    /// Puts an item at the end; its place.
    pub async fn push(&self, value: impl Into<Bytes>, once: Option<&Once>) -> Result<Bytes, Error> {
        let value = value.into();
        let deed = Deed::of(once, "push", &[&value]);
        loop {
            let place = self.space.place().await?;
            let floor = self.space.one(self.key(FLOOR, b"")).await?;
            let txn = Txn {
                compares: vec![
                    made_by(self.key(ITEMS, &place), Revision::ZERO),
                    self.is_below(floor.as_ref(), &place),
                ],
                success: vec![set(self.key(ITEMS, &place), value.clone())],
                failure: Vec::new(),
            };
            match self.space.try_once(deed.as_ref(), txn, place.clone()).await? {
                Tried::Done => return Ok(place),
                Tried::Before(place) => return Ok(place),
                // The floor has risen: another place is above it.
                Tried::Not(_) => {}
            }
        }
    }

    /// Takes the first item that nobody has, by a lease: it is back where it was when that ends
    /// before it is done. `None` if there is none. Whoever asks again by the same identity, because
    /// the answer was lost, gets the item that it has, until that is done.
    pub async fn take(
        &self,
        tenure: impl Into<Tenure>,
        once: &Once,
    ) -> Result<Option<Taken>, Error> {
        Ok(self.try_take(tenure.into(), once).await?.ok())
    }

    /// The same, and waits until there is one.
    pub async fn next(&self, tenure: impl Into<Tenure>, once: &Once) -> Result<Taken, Error> {
        let tenure = tenure.into();
        loop {
            match self.try_take(tenure, once).await? {
                Ok(taken) => return Ok(taken),
                // One is pushed, or one that was taken is there again.
                Err(since) => tokio::select! {
                    pushed = self.space.changed(ITEMS, since, Seen::Puts) => pushed?,
                    back = self.space.changed(MARKS, since, Seen::Deletes) => back?,
                },
            }
        }
    }

    /// Done: the item goes for good. [`Error::Fenced`], and nothing has happened, if it is not this
    /// one's any more.
    pub async fn done(&self, taken: &Taken) -> Result<(), Error> {
        self.done_with(taken, Vec::new()).await
    }

    /// Done, in one revision with what came of it.
    pub async fn done_with(&self, taken: &Taken, ops: Vec<Op>) -> Result<(), Error> {
        let mut all = self.unmarked(taken);
        all.push(removed(self.key(ITEMS, &taken.place)));
        all.extend(ops);
        taken.fence.write(&self.space.handle, all).await.map(drop)
    }

    /// Not done: the item is there for the next, where it was.
    pub async fn put_back(&self, taken: &Taken) -> Result<(), Error> {
        taken.fence.write(&self.space.handle, self.unmarked(taken)).await.map(drop)
    }

    /// Whoever has an item, by its place and the revision that marked it: for who only knows these.
    pub async fn taken(&self, place: &[u8], fence: Revision) -> Result<Taken, Error> {
        let key = self.key(MARKS, place);
        let query = Query::Txn(Txn {
            success: vec![get(key.clone()), get(self.key(ITEMS, place))],
            ..Txn::default()
        });
        let (response, _) = self.space.read(query).await?;
        let Response::Txn { responses, .. } = response else { return Err(unexpected()) };
        let mark = pairs_at(&responses, 0)?.first();
        let mark = mark.filter(|mark| mark.create_revision == fence.0).ok_or(Error::Fenced)?;
        let item = pairs_at(&responses, 1)?.first().ok_or(Error::Fenced)?;
        Ok(self.taken_of(place, mark, item))
    }

    /// Takes the first item that nobody has, for good: if the answer is lost, so is the item, but
    /// for whoever asks again by the same identity.
    pub async fn pop(&self, once: Option<&Once>) -> Result<Option<Bytes>, Error> {
        let deed = Deed::of(once, "pop", &[]);
        if let Some(value) = self.space.result_of(deed.as_ref()).await? {
            return Ok(Some(value));
        }
        loop {
            let row = self.row().await?;
            let Some(free) = &row.free else { return Ok(None) };
            let key = self.key(ITEMS, &free.key);
            let mut txn = self.risen(&row);
            txn.compares.push(made_by(key.clone(), free.create_revision));
            txn.compares.push(made_by(self.key(MARKS, &free.key), Revision::ZERO));
            txn.success.push(removed(key));
            match self.space.try_once(deed.as_ref(), txn, free.value.clone()).await? {
                Tried::Done => return Ok(Some(free.value.clone())),
                Tried::Before(value) => return Ok(Some(value)),
                Tried::Not(_) => {}
            }
        }
    }

    /// How many items there are, taken ones among them.
    pub async fn len(&self) -> Result<u64, Error> {
        self.space.count(self.space.below(ITEMS)).await
    }

    /// Whether there is none.
    pub async fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len().await? == 0)
    }

    /// At most so many items, behind a place.
    pub async fn page(&self, after: Option<&[u8]>, limit: u64) -> Result<Page, Error> {
        self.space.page(ITEMS, after, limit).await
    }

    /// Which items somebody has, by their places.
    pub async fn marks(&self) -> Result<Vec<Pair>, Error> {
        Ok(self.space.page(MARKS, None, TAKEN_MAX).await?.items)
    }

    /// Takes everything out. Whoever has an item has it no more.
    pub async fn clear(&self) -> Result<u64, Error> {
        // The floor stays: places below it are used up.
        let parts = [ITEMS, MARKS, ASKED].map(|part| self.space.below(part));
        let delete = |range| op(OpKind::Delete(DeleteRange { range, prev_kv: false }));
        let success = parts.into_iter().map(delete).collect();
        let done = self.space.txn(Txn { success, ..Txn::default() }).await?;
        match done.responses.first() {
            Some(Response::Delete { deleted, .. }) => Ok(*deleted),
            _ => Err(unexpected()),
        }
    }

    fn key(&self, part: &[u8], place: &[u8]) -> Bytes {
        self.space.key(&[part, place].concat())
    }

    async fn try_take(
        &self,
        tenure: Tenure,
        once: &Once,
    ) -> Result<Result<Taken, Revision>, Error> {
        loop {
            let asked = self.key(ASKED, once.name());
            if let Some(kv) = self.space.one(asked.clone()).await? {
                let place = Bytes::from(&kv.value);
                match self.taken(&place, Revision(kv.create_revision)).await {
                    // It has been done since.
                    Err(Error::Fenced) => continue,
                    taken => return taken.map(Ok),
                }
            }
            let row = self.row().await?;
            let Some(free) = &row.free else { return Ok(Err(row.revision)) };
            let mark = self.key(MARKS, &free.key);
            let mut txn = self.risen(&row);
            txn.compares.extend([
                made_by(self.key(ITEMS, &free.key), free.create_revision),
                made_by(mark.clone(), Revision::ZERO),
                made_by(asked.clone(), Revision::ZERO),
            ]);
            txn.success.push(tenure.hung(mark.clone(), once.name().clone()));
            txn.success.push(tenure.hung(asked, free.key.clone()));
            let done = self.space.txn(txn).await?;
            if done.succeeded {
                let fence = Fence { key: mark, create_revision: done.revision };
                let (place, value) = (free.key.clone(), free.value.clone());
                let (lease, asked) = (tenure.lease(), once.name().clone());
                return Ok(Ok(Taken { place, value, fence, lease, asked }));
            }
        }
    }

    fn taken_of(&self, place: &[u8], mark: &KeyValue, item: &KeyValue) -> Taken {
        let create_revision = Revision(mark.create_revision);
        Taken {
            place: Bytes::copy_from_slice(place),
            value: Bytes::from(&item.value),
            fence: Fence { key: self.key(MARKS, place), create_revision },
            lease: LeaseId(mark.lease),
            asked: Bytes::from(&mark.value),
        }
    }

    fn unmarked(&self, taken: &Taken) -> Vec<Op> {
        vec![removed(taken.fence.key.clone()), removed(self.key(ASKED, &taken.asked))]
    }

    /// Looks from the floor on.
    async fn row(&self) -> Result<Row, Error> {
        let floor = self.space.one(self.key(FLOOR, b"")).await?;
        let from = floor.as_ref().map_or_else(Bytes::new, |kv| Bytes::from(&kv.value));
        let from_floor = |part: &[u8]| {
            let end = self.space.below(part).range_end;
            KeyRange { key: self.key(part, &from), range_end: end }
        };
        let mut limit = LOOKED_AT;
        loop {
            let of = |part: &[u8], limit: u64, keys_only: bool| {
                read(Range { range: from_floor(part), limit, keys_only, ..Range::default() })
            };
            let success = vec![of(ITEMS, limit, false), of(MARKS, TAKEN_MAX, true)];
            let query = Query::Txn(Txn { success, ..Txn::default() });
            let (response, revision) = self.space.read(query).await?;
            let Response::Txn { responses, .. } = response else { return Err(unexpected()) };
            let items = pairs_at(&responses, 0)?;
            let marks = pairs_at(&responses, 1)?;
            let marks: BTreeSet<&[u8]> =
                marks.iter().map(|kv| self.space.part(kv, MARKS.len())).collect();
            let is_free = |kv: &&KeyValue| !marks.contains(self.space.part(kv, ITEMS.len()));
            let pair = |kv: &KeyValue| self.space.pair(kv, ITEMS.len());
            let (head, free) = (items.first().map(pair), items.iter().find(is_free).map(pair));
            if free.is_some() || (items.len() as u64) < limit || limit >= TAKEN_MAX {
                return Ok(Row { floor, head, free, revision });
            }
            limit *= 4;
        }
    }

    /// Raises the floor to the first item, which then has nothing before it.
    fn risen(&self, row: &Row) -> Txn {
        let floor = self.key(FLOOR, b"");
        let Some(head) = &row.head else { return Txn::default() };
        let from = row.floor.as_ref().map_or_else(Bytes::new, |kv| Bytes::from(&kv.value));
        if from == head.key {
            return Txn::default();
        }
        let range = KeyRange { key: self.key(ITEMS, &from), range_end: self.key(ITEMS, &head.key) };
        let nothing = Compare {
            range,
            result: CompareResult::Equal as i32,
            target: Some(CompareTarget::Version(0)),
        };
        let unchanged = super::counter::unchanged(floor.clone(), row.floor.as_ref());
        Txn {
            compares: vec![unchanged, nothing],
            success: vec![set(floor, head.key.clone())],
            failure: Vec::new(),
        }
    }

    /// Holds while the floor is below a place.
    fn is_below(&self, floor: Option<&KeyValue>, place: &Bytes) -> Compare {
        let key = self.key(FLOOR, b"");
        assert_eq!(place.len(), PLACE_BYTES, "places of one length compare as numbers do");
        match floor {
            // Without one there is nothing to compare: until it is made.
            None => made_by(key, Revision::ZERO),
            Some(_) => Compare {
                range: KeyRange::of_key(key),
                result: CompareResult::Less as i32,
                target: Some(CompareTarget::Value(place.clone())),
            },
        }
    }
}
