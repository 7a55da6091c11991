//! The keys of one thing, and reading and writing among them.

use crate::coordination::queue::{op, settled, unexpected};
use crate::coordination::{Error, Fence};
use crate::driver::{Handle, WatchItem};
use bytes::Bytes;
use muslin_core::base::Revision;
use muslin_core::node::Consistency;
use muslin_core::state::{
    Command, CommandKind, Compare, DeleteRange, KeyRange, KeyValue, Op, OpKind, Put, Query, Range,
    Response, Txn, WatchSpec,
};

/// What all keys begin with that are made here. No text begins so.
pub const HIDDEN: &[u8] = b"\0m/";

/// What a thing is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub enum Kind {
    /// [`Barrier`](super::Barrier)
    Barrier,
    /// [`Counter`](super::Counter)
    Counter,
    /// [`List`](super::List)
    List,
    /// [`Map`](super::Map)
    Map,
    /// [`MultiMap`](super::MultiMap)
    MultiMap,
    /// [`WorkQueue`](super::WorkQueue)
    Queue,
    /// [`Set`](super::Set)
    Set,
}

impl Kind {
    /// As keys name it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Barrier => "barrier",
            Kind::Counter => "counter",
            Kind::List => "list",
            Kind::Map => "map",
            Kind::MultiMap => "multimap",
            Kind::Queue => "queue",
            Kind::Set => "set",
        }
    }
}

/// A key and what is known of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pair {
    /// The key in a map, the element of a set, the place in a list or queue.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// What made it.
    pub create_revision: Revision,
    /// What changed it last.
    pub mod_revision: Revision,
}

/// Part of what there is, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// The pairs.
    pub items: Vec<Pair>,
    /// How many there are on this page and behind it.
    pub count: u64,
    /// There are more behind the last one.
    pub more: bool,
    /// The revision that was read.
    pub revision: Revision,
}

/// Which changes are waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Seen {
    All,
    Puts,
    Deletes,
}

/// What a transaction did.
pub(super) struct Done {
    pub(super) succeeded: bool,
    pub(super) responses: Vec<Response>,
    pub(super) revision: Revision,
}

/// The keys of one thing.
#[derive(Clone)]
pub(super) struct Space {
    pub(super) handle: Handle,
    root: Bytes,
    receipts: Bytes,
}

impl Space {
    pub(super) fn new(handle: &Handle, kind: Kind, name: &[u8]) -> Space {
        let (kind, name) = (kind.word().as_bytes(), escaped(name));
        let root = [HIDDEN, kind, b"/", &name, b"/"].concat().into();
        let receipts = [HIDDEN, b"once/", kind, b"/", &name, b"/"].concat().into();
        Space { handle: handle.clone(), root, receipts }
    }

    pub(super) fn key(&self, part: &[u8]) -> Bytes {
        [&self.root, part].concat().into()
    }

    /// Where it is noted that something was done.
    pub(super) fn receipt(&self, id: &[u8]) -> Bytes {
        [&self.receipts, id].concat().into()
    }

    /// All keys that begin so.
    pub(super) fn below(&self, part: &[u8]) -> KeyRange {
        KeyRange::of_prefix(self.key(part))
    }

    /// The pair of a key, which is named by what stands behind `skip` bytes of its part.
    pub(super) fn pair(&self, kv: &KeyValue, skip: usize) -> Pair {
        let key = Bytes::copy_from_slice(self.part(kv, skip));
        Pair {
            key,
            value: Bytes::from(&kv.value),
            create_revision: Revision(kv.create_revision),
            mod_revision: Revision(kv.mod_revision),
        }
    }

    /// What stands behind `skip` bytes of a key's part.
    pub(super) fn part<'a>(&self, kv: &'a KeyValue, skip: usize) -> &'a [u8] {
        &kv.key[self.root.len() + skip..]
    }

    pub(super) async fn one(&self, key: Bytes) -> Result<Option<KeyValue>, Error> {
        let range = Range { range: KeyRange::of_key(key), ..Range::default() };
        let (response, _) = self.read(Query::Range(range)).await?;
        Ok(pairs(response)?.into_iter().next())
    }

    pub(super) async fn count(&self, range: KeyRange) -> Result<u64, Error> {
        let range = Range { range, count_only: true, ..Range::default() };
        match self.read(Query::Range(range)).await?.0 {
            Response::Range { count, .. } => Ok(count),
            _ => Err(unexpected()),
        }
    }

    /// At most `limit` keys of those that begin with `part`, behind one of them.
    pub(super) async fn page(
        &self,
        part: &[u8],
        after: Option<&[u8]>,
        limit: u64,
    ) -> Result<Page, Error> {
        let mut range = self.below(part);
        if let Some(after) = after {
            // The first key behind a key is that and a zero byte.
            range.key = [&range.key, after, &[0]].concat().into();
        }
        let range = Range { range, limit, ..Range::default() };
        let (response, revision) = self.read(Query::Range(range)).await?;
        let Response::Range { kvs, more, count } = response else { return Err(unexpected()) };
        let items = kvs.iter().map(|kv| self.pair(kv, part.len())).collect();
        Ok(Page { items, count, more, revision })
    }

    pub(super) async fn read(&self, query: Query) -> Result<(Response, Revision), Error> {
        settled(self.handle.read(query, Consistency::Linearizable).await)
    }

    pub(super) async fn txn(&self, txn: Txn) -> Result<Done, Error> {
        let outcome = self.handle.write(Command::of(CommandKind::Txn(txn))).await;
        match settled(outcome)? {
            (Response::Txn { succeeded, responses }, revision) => {
                Ok(Done { succeeded, responses, revision })
            }
            _ => Err(unexpected()),
        }
    }

    /// Writes one key; what was there before.
    pub(super) async fn put(&self, key: Bytes, value: Bytes) -> Result<Option<KeyValue>, Error> {
        let put = Put { key, value, prev_kv: true, ..Put::default() };
        let outcome = self.handle.write(Command::of(CommandKind::Put(put))).await;
        match settled(outcome)?.0 {
            Response::Put { prev } => Ok(prev),
            _ => Err(unexpected()),
        }
    }

    /// Deletes; how many there were, and what they were if one is wanted.
    pub(super) async fn delete(
        &self,
        range: KeyRange,
        prev_kv: bool,
    ) -> Result<(u64, Option<KeyValue>), Error> {
        let delete = CommandKind::Delete(DeleteRange { range, prev_kv });
        match settled(self.handle.write(Command::of(delete)).await)?.0 {
            Response::Delete { deleted, prev } => Ok((deleted, prev.into_iter().next())),
            _ => Err(unexpected()),
        }
    }

    /// Deletes all of it.
    pub(super) async fn clear(&self) -> Result<u64, Error> {
        Ok(self.delete(self.below(b""), false).await?.0)
    }

    /// Waits until something changes below a part, behind a revision. May return for nothing: look
    /// again.
    pub(super) async fn changed(
        &self,
        part: &[u8],
        since: Revision,
        seen: Seen,
    ) -> Result<(), Error> {
        let (no_put, no_delete) = (seen == Seen::Deletes, seen == Seen::Puts);
        let (range, start_revision) = (self.below(part), since.next().0);
        let spec = WatchSpec { range, start_revision, no_put, no_delete, ..WatchSpec::default() };
        let mut watch = self.handle.watch(spec).await?;
        loop {
            match watch.next().await {
                Some(WatchItem::Started { .. } | WatchItem::Progress { .. }) => {}
                // Also when the watch cannot go on: a read tells why.
                _ => return Ok(()),
            }
        }
    }
}

/// A name of which no other name is the beginning, up to the slash behind it.
pub(super) fn escaped(name: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(name.len());
    for byte in name {
        match byte {
            b'%' => escaped.extend_from_slice(b"%25"),
            b'/' => escaped.extend_from_slice(b"%2F"),
            other => escaped.push(*other),
        }
    }
    escaped
}

/// Undoes [`escaped`].
pub(super) fn unescaped(name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let [first, behind @ ..] = rest {
        let (byte, used) = match (first, behind) {
            (b'%', [b'2', b'5', ..]) => (b'%', 3),
            (b'%', [b'2', b'F', ..]) => (b'/', 3),
            _ => (*first, 1),
        };
        plain.push(byte);
        rest = &rest[used..];
    }
    plain
}

pub(super) fn pairs(response: Response) -> Result<Vec<KeyValue>, Error> {
    match response {
        Response::Range { kvs, .. } => Ok(kvs),
        _ => Err(unexpected()),
    }
}

/// The same of a part of a transaction.
pub(super) fn pairs_at(responses: &[Response], number: usize) -> Result<&[KeyValue], Error> {
    match responses.get(number) {
        Some(Response::Range { kvs, .. }) => Ok(kvs),
        _ => Err(unexpected()),
    }
}

pub(super) fn get(key: Bytes) -> Op {
    read(Range { range: KeyRange::of_key(key), ..Range::default() })
}

pub(super) fn read(range: Range) -> Op {
    op(OpKind::Range(range))
}

pub(super) fn set(key: Bytes, value: Bytes) -> Op {
    op(OpKind::Put(Put { key, value, ..Put::default() }))
}

pub(super) fn removed(key: Bytes) -> Op {
    op(OpKind::Delete(DeleteRange { range: KeyRange::of_key(key), prev_kv: false }))
}

/// Holds for a key that this revision made; zero: for one that is not there.
pub(super) fn made_by(key: Bytes, create_revision: Revision) -> Compare {
    Fence { key, create_revision }.compare()
}
