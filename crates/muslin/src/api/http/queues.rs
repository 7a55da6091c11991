//! What locks and elections have in common over HTTP: a place in a queue, and who is in it.
//!
//! Whoever brings no lease has one made with its place: it ends with the place, and is kept alive
//! for as long as the call waits.

use super::kv::{KeyField, ValueField, ask, unexpected};
use super::params::{self, Params};
use super::{leases, numbers};
use crate::api::desk::Desk;
use crate::api::problem::Problem;
use crate::coordination::{Entry, Error, Fence, Place, Queue, Waiting};
use axum::body::Body;
use bytes::Bytes;
use hyper::Request;
use muslin_core::base::{LeaseId, Revision};
use muslin_core::node::{Consistency, Failure};
use muslin_core::state::{self, Compare, KeyRange, KeyValue, Query, Range, SortOrder, SortTarget};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{interval, timeout};

/// Life of a lease made with a place when nothing is said.
const TTL_MS_DEFAULT: u64 = 30_000;

/// A lease is kept alive this often in its time to live: two may fail.
const KEPT_ALIVE_PER_TTL: u64 = 3;

/// Keys read at once when all queues are looked for.
const PAGE_KEYS: u64 = 10_000;

/// Keys looked at by one listing.
const LOOKED_AT_MAX: u64 = 100_000;

/// The name in a path, behind `before` and in front of a word with a colon: any bytes.
pub(super) fn name_of(request: &Request<Body>, before: &str) -> Result<Bytes, Problem> {
    let path = request.uri().path();
    let rest = path.strip_prefix(before).expect("the router matched this path");
    let name = rest.rsplit_once(':').map_or(rest, |(name, _)| name);
    params::percent_decode(name).map(Bytes::from)
}

/// How a place is wanted.
pub(super) struct Wish {
    pub(super) lease: Option<LeaseId>,
    pub(super) ttl_ms: u64,
    /// For so long it is waited; until the caller hangs up when it is not said.
    pub(super) wait: Option<Duration>,
}

impl Wish {
    pub(super) fn of(params: &mut Params) -> Result<Wish, Problem> {
        let (lease, ttl_ms) = (leases::wanted(params)?, leases::ttl_ms(params)?);
        if lease.is_some() && ttl_ms.is_some() {
            return Err(Problem::bad_request(
                "give a lease, or the ttl of one to be made, not both",
            ));
        }
        let ttl_ms = ttl_ms.unwrap_or(TTL_MS_DEFAULT);
        Ok(Wish { lease, ttl_ms, wait: params.duration("wait")? })
    }

    pub(super) fn entry(&self, desk: &Desk, value: Bytes) -> Result<Entry, Problem> {
        match self.lease {
            Some(lease) => Ok(Entry { lease, value, ttl_ms: 0 }),
            None => Ok(Entry { lease: leases::drawn(desk)?, value, ttl_ms: self.ttl_ms }),
        }
    }

    /// Waits for the turn of a place. Whoever waited in vain has it no more.
    pub(super) async fn turn(&self, desk: &Desk, mut waiting: Waiting) -> Result<Place, Problem> {
        let lease = self.lease.is_none().then_some(waiting.place().lease);
        let reached = tokio::select! {
            reached = within(self.wait, waiting.turn()) => reached,
            end = self.keep_alive(desk, lease) => Err(end),
            () = desk.stopping() => Err(Error::Failed(Failure::Stopping)),
        };
        if let Err(error) = reached {
            if waiting.place().found.is_none() {
                // What cannot be given back goes with its lease.
                let _ = waiting.leave().await;
            }
            return Err(failed(desk)(error));
        }
        if let Some(lease) = lease {
            // The holder has its whole time from here.
            let _ = desk.handle.keep_alive(lease).await;
        }
        Ok(waiting.keep())
    }

    /// Keeps a lease alive that nobody else knows of yet; returns when it is lost.
    pub(super) async fn keep_alive(&self, desk: &Desk, lease: Option<LeaseId>) -> Error {
        let Some(lease) = lease else { return std::future::pending().await };
        let mut period = interval(Duration::from_millis(self.ttl_ms / KEPT_ALIVE_PER_TTL));
        loop {
            period.tick().await;
            // What fails is tried again, and a lease that is lost takes the place with it.
            if let Ok((None, _)) = desk.handle.keep_alive(lease).await {
                return Error::SessionEnded;
            }
        }
    }
}

async fn within(
    time: Option<Duration>,
    work: impl Future<Output = Result<(), Error>>,
) -> Result<(), Error> {
    match time {
        None => work.await,
        Some(time) => {
            let gave_up = if time.is_zero() { Error::Held } else { Error::WaitedInVain };
            timeout(time, work).await.unwrap_or(Err(gave_up))
        }
    }
}

/// Turns what coordination says into a problem.
pub(super) fn failed(desk: &Desk) -> impl Fn(Error) -> Problem {
    let is_led = leases::is_led(desk);
    move |error| Problem::of_coordination(&error, is_led)
}

/// The place that a revision made, if it is there.
pub(super) async fn fence_of(
    desk: &Desk,
    queue: &Queue,
    made_by: u64,
) -> Result<Option<Fence>, Problem> {
    let range = Range {
        range: queue.range(),
        limit: 1,
        keys_only: true,
        min_create_revision: made_by,
        max_create_revision: made_by,
        ..Range::default()
    };
    let (response, _) = ask(desk, Query::Range(range), Consistency::Linearizable).await?;
    let state::Response::Range { kvs, .. } = response else { return Err(unexpected()) };
    let key = kvs.into_iter().next().map(|kv| Bytes::from(kv.key));
    Ok(key.map(|key| Fence { key, create_revision: Revision(made_by) }))
}

/// The parameter `fence`: the revision that made a place.
pub(super) fn revision_wanted(params: &mut Params) -> Result<u64, Problem> {
    params.number("fence")?.filter(|revision| *revision > 0).ok_or_else(|| {
        Problem::bad_request("say which holder: fence=REVISION, as acquiring gave it")
    })
}

/// What the parameter `fence=NAME:REVISION` demands of a write.
pub(super) async fn demanded(
    desk: &Desk,
    params: &mut Params,
) -> Result<Option<Vec<Compare>>, Problem> {
    let Some(text) = params.bytes("fence") else { return Ok(None) };
    let colon = text.iter().rposition(|byte| *byte == b':');
    let parsed = colon.and_then(|colon| {
        let revision = std::str::from_utf8(&text[colon + 1..]).ok()?.parse().ok()?;
        (revision > 0).then(|| (text.slice(..colon), revision))
    });
    let (name, revision) = parsed.ok_or_else(|| {
        Problem::bad_request("fence is NAME:REVISION, of a lock or of an election")
    })?;
    let queue = Queue::new(&desk.handle, &name);
    // A revision makes keys once: what it made and is gone never comes back.
    let fence =
        fence_of(desk, &queue, revision).await?.ok_or_else(|| failed(desk)(Error::Fenced))?;
    Ok(Some(vec![fence.compare(), queue.nobody_before(&fence)]))
}

/// One place, as it is shown.
#[derive(Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    key: KeyField,
    /// The revision that made it.
    #[serde(serialize_with = "numbers::tell")]
    fence: u64,
    lease: String,
    /// Of an election: what is proclaimed.
    #[serde(flatten)]
    value: Option<ValueField>,
}

impl Shown {
    pub(super) fn of(kv: &KeyValue) -> Shown {
        Shown {
            key: KeyField::of(&kv.key),
            fence: kv.create_revision,
            lease: leases::shown(LeaseId(kv.lease)),
            value: (!kv.value.is_empty()).then(|| ValueField::of(&kv.value)),
        }
    }
}

/// All places of a queue, the holder's first.
pub(super) async fn places(
    desk: &Desk,
    queue: &Queue,
    consistency: Consistency,
) -> Result<(Vec<KeyValue>, Revision), Problem> {
    let range = Range {
        range: queue.range(),
        limit: PAGE_KEYS,
        sort_order: SortOrder::Ascend as i32,
        sort_target: SortTarget::Create as i32,
        ..Range::default()
    };
    let (response, revision) = ask(desk, Query::Range(range), consistency).await?;
    let state::Response::Range { kvs, .. } = response else { return Err(unexpected()) };
    Ok((kvs, revision))
}

/// What is found of one queue.
pub(super) struct Found {
    pub(super) head: KeyValue,
    pub(super) waiting: usize,
}

/// Queues whose names begin so, by name.
pub(super) struct Listed {
    pub(super) queues: BTreeMap<Bytes, Found>,
    pub(super) revision: Revision,
    /// There are more keys than are looked at: name a longer prefix.
    pub(super) more: bool,
}

/// Looks for queues: keys that end with the lease on which they hang.
pub(super) async fn list(
    desk: &Desk,
    prefix: Bytes,
    consistency: Consistency,
) -> Result<Listed, Problem> {
    let mut listed = Listed { queues: BTreeMap::new(), revision: Revision::ZERO, more: false };
    let mut range =
        Range { range: KeyRange::of_prefix(prefix), limit: PAGE_KEYS, ..Range::default() };
    for _ in 0..LOOKED_AT_MAX / PAGE_KEYS {
        let (response, revision) = ask(desk, Query::Range(range.clone()), consistency).await?;
        let state::Response::Range { kvs, more, .. } = response else { return Err(unexpected()) };
        if range.revision == 0 {
            range.revision = revision.0;
            listed.revision = revision;
        }
        listed.more = more;
        let Some(last) = kvs.last().map(|kv| kv.key.clone()).filter(|_| more) else {
            kvs.into_iter().for_each(|kv| listed.note(kv));
            break;
        };
        kvs.into_iter().for_each(|kv| listed.note(kv));
        // The first key behind the last one is that and a zero byte.
        range.range.key = [last.as_ref(), &[0]].concat().into();
    }
    Ok(listed)
}

impl Listed {
    fn note(&mut self, kv: KeyValue) {
        let Some(name) = queue_of(&kv) else { return };
        match self.queues.get_mut(&name) {
            None => {
                self.queues.insert(name, Found { head: kv, waiting: 0 });
            }
            Some(found) => {
                found.waiting += 1;
                if kv.create_revision < found.head.create_revision {
                    found.head = kv;
                }
            }
        }
    }
}

/// The queue in which a key is a place.
fn queue_of(kv: &KeyValue) -> Option<Bytes> {
    let slash = kv.key.iter().rposition(|byte| *byte == b'/')?;
    let is_place = kv.lease != 0 && kv.key[slash + 1..] == *format!("{:x}", kv.lease).as_bytes();
    is_place.then(|| Bytes::copy_from_slice(&kv.key[..slash]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_key_that_ends_with_its_lease() {
        let kv =
            |key: &'static str, lease| KeyValue { key: key.into(), lease, ..KeyValue::default() };
        assert_eq!(queue_of(&kv("a/b/1f", 0x1f)).unwrap(), "a/b");
        assert_eq!(queue_of(&kv("/1f", 0x1f)).unwrap(), "");
        for other in [kv("a/1f", 0), kv("a/1f", 0x1e), kv("1f", 0x1f), kv("a/01f", 0x1f)] {
            assert_eq!(queue_of(&other), None);
        }
    }

    #[tokio::test]
    async fn who_was_not_to_wait_is_not_told_of_waiting() {
        let waited = |time| within(Some(time), std::future::pending());
        assert_eq!(waited(Duration::ZERO).await, Err(Error::Held));
        assert_eq!(waited(Duration::from_millis(1)).await, Err(Error::WaitedInVain));
    }
}
