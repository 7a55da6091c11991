//! Work queues and barriers over HTTP: what is had by a lease.

use super::collections::{Wanted, bytes, fields_of, named, once, told, value, wanted};
use super::kv::stamp;
use super::locks::NameField;
use super::params::Params;
use super::queues::{Wish, failed, revision_wanted};
use super::{leases, numbers};
use crate::api::desk::Desk;
use crate::api::problem::Problem;
use crate::coordination::collections::{Barrier, Once, Pair, Taken, Tenure, WorkQueue};
use crate::coordination::{Error, Fence};
use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::{Request, StatusCode};
use muslin_core::base::{LeaseId, Revision};
use muslin_core::node::{Consistency, Failure};
use muslin_core::state::{CommandKind, LeaseGrant, LeaseRevoke};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Whoever does not wait, and finds the others there, is let through well within this, unless one
/// of them has left meanwhile.
const TRIED_FOR: Duration = Duration::from_secs(5);

fn queue(desk: &Desk, name: &[u8]) -> WorkQueue {
    WorkQueue::new(&desk.handle, name)
}

/// A lease by which something is had: the caller's, or one made for it.
struct Hold {
    lease: LeaseId,
    is_made: bool,
}

impl Hold {
    async fn of(desk: &Desk, wish: &Wish) -> Result<Hold, Problem> {
        if let Some(lease) = wish.lease {
            return Ok(Hold { lease, is_made: false });
        }
        let lease = leases::drawn(desk)?;
        let grant = LeaseGrant { id: lease.0, ttl_ms: wish.ttl_ms };
        super::kv::change(desk, CommandKind::LeaseGrant(grant)).await?;
        Ok(Hold { lease, is_made: true })
    }

    /// Waits for something, as long as the lease can be kept alive; `None` when it was in vain.
    async fn waits<T>(
        &self,
        desk: &Desk,
        wish: &Wish,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<Option<T>, Error> {
        tokio::select! {
            done = within(desk, wish.wait, work) => done,
            end = wish.keep_alive(desk, self.is_made.then_some(self.lease)) => Err(end),
        }
    }

    /// A lease that nobody was told of is of no use.
    async fn end(&self, desk: &Desk) {
        if self.is_made {
            let revoke = LeaseRevoke { ids: vec![self.lease.0], expired: false };
            // What cannot be ended ends by itself.
            let _ = super::kv::change(desk, CommandKind::LeaseRevoke(revoke)).await;
        }
    }
}

/// Waits for something, for so long; `None` when it was in vain.
async fn within<T>(
    desk: &Desk,
    time: Option<Duration>,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<Option<T>, Error> {
    let done = async {
        match time {
            None => work.await.map(Some),
            Some(time) => timeout(time, work).await.ok().transpose(),
        }
    };
    tokio::select! {
        done = done => done,
        () = desk.stopping() => Err(Error::Failed(Failure::Stopping)),
    }
}

pub(super) async fn items(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let Wanted { after, limit } = wanted(&mut params)?;
    params.finish()?;
    let (name, _) = named(&request)?;
    let queue = queue(&desk, &name);
    let page = queue.page(after.as_deref(), limit).await.map_err(failed(&desk))?;
    let marks = queue.marks().await.map_err(failed(&desk))?;
    let fences: BTreeMap<_, _> = marks.iter().map(|m| (&m.key, m.create_revision)).collect();
    let item = |pair: &Pair| {
        let mut item = fields_of([bytes("item", &pair.key), bytes("value", &pair.value)]);
        if let Some(fence) = fences.get(&pair.key) {
            item["fence"] = numbers::json(fence.0);
        }
        item
    };
    let items: Vec<Value> = page.items.iter().map(item).collect();
    let body = json!({
        "name": NameField::of(&name),
        "revision": numbers::json(page.revision.0),
        "count": numbers::json(page.count),
        "more": page.more,
        "items": items,
    });
    Ok((stamp(&desk, page.revision, Consistency::Linearizable), Json(body)).into_response())
}

pub(super) async fn push(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let once = once(&mut params)?;
    params.finish()?;
    let (name, _) = named(&request)?;
    let value = value(&desk, request).await?;
    let place = queue(&desk, &name).push(value, once.as_ref()).await.map_err(failed(&desk))?;
    Ok(told(&desk, &name, fields_of([bytes("item", &place)])))
}

fn empty(name: &[u8]) -> Problem {
    let detail = format!("nothing is to be done in {}", String::from_utf8_lossy(name));
    Problem::new(StatusCode::NOT_FOUND, "empty", detail).retryable()
}

pub(super) async fn take(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let (wish, once) = (Wish::of(&mut params)?, once(&mut params)?);
    params.finish()?;
    let (name, _) = named(&request)?;
    let once = once.map_or_else(Once::drawn, Ok).map_err(failed(&desk))?;
    let tenure = match wish.lease {
        Some(lease) => Tenure::Lease(lease),
        None => Tenure::Made { lease: leases::drawn(&desk)?, ttl_ms: wish.ttl_ms },
    };
    let queue = queue(&desk, &name);
    let taken = match wish.wait {
        Some(wait) if wait.is_zero() => queue.take(tenure, &once).await,
        wait => within(&desk, wait, queue.next(tenure, &once)).await,
    };
    let taken = match taken {
        Ok(Some(taken)) => taken,
        other => {
            // It may have been taken as the time was up: nobody is told of it.
            let made = Hold { lease: tenure.lease(), is_made: wish.lease.is_none() };
            made.end(&desk).await;
            let empty = |_| empty(&name).hint("wait for it: wait=10s");
            return Err(other.map_or_else(failed(&desk), empty));
        }
    };
    let (ttl_ms, _) = time_to_live(&desk, taken.lease).await?;
    let mut body = fields_of([bytes("item", &taken.place), bytes("value", &taken.value)]);
    body["fence"] = numbers::json(taken.fence.create_revision.0);
    body["lease"] = Value::from(leases::shown(taken.lease));
    body["ttl_ms"] = numbers::json(ttl_ms);
    Ok(told(&desk, &name, body))
}

/// What a lease was granted, and what it has left.
async fn time_to_live(desk: &Desk, lease: LeaseId) -> Result<(u64, u64), Problem> {
    let failed = |failure| Problem::of_failure(failure, leases::is_led(desk));
    let (ttl, _) = desk.handle.time_to_live(lease).await.map_err(failed)?;
    ttl.ok_or_else(leases::missing)
}

/// An item that is named by its place and its fence.
struct Named {
    name: Bytes,
    queue: WorkQueue,
    taken: Taken,
}

async fn shown(desk: &Desk, request: Request<Body>) -> Result<Named, Problem> {
    let mut params = Params::of(&request)?;
    let fence = Revision(revision_wanted(&mut params)?);
    let item = params.bytes("item");
    params.finish()?;
    let item = item.ok_or_else(|| Problem::bad_request("say which: item=PLACE, as taking told"))?;
    let (name, _) = named(&request)?;
    let queue = queue(desk, &name);
    let taken = queue.taken(&item, fence).await.map_err(failed(desk))?;
    Ok(Named { name, queue, taken })
}

pub(super) async fn done(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let Named { name, queue, taken } = shown(&desk, request).await?;
    queue.done(&taken).await.map_err(failed(&desk))?;
    Ok(told(&desk, &name, fields_of([bytes("item", &taken.place)])))
}

pub(super) async fn put_back(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let Named { name, queue, taken } = shown(&desk, request).await?;
    queue.put_back(&taken).await.map_err(failed(&desk))?;
    Ok(told(&desk, &name, fields_of([bytes("item", &taken.place)])))
}

pub(super) async fn pop(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let once = once(&mut params)?;
    params.finish()?;
    let (name, _) = named(&request)?;
    let popped = queue(&desk, &name).pop(once.as_ref()).await.map_err(failed(&desk))?;
    let hint = "`muslin queue work` waits for one, over HTTP `:take?wait=10s`";
    let value = popped.ok_or_else(|| empty(&name).hint(hint))?;
    Ok(told(&desk, &name, fields_of([bytes("value", &value)])))
}

pub(super) async fn clear(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let (name, _) = named(&request)?;
    let removed = queue(&desk, &name).clear().await.map_err(failed(&desk))?;
    Ok(told(&desk, &name, json!({ "removed": numbers::json(removed) })))
}

fn barrier(desk: &Desk, name: &[u8]) -> Barrier {
    Barrier::new(&desk.handle, name)
}

pub(super) async fn enter(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let (mut wish, parties) = (Wish::of(&mut params)?, params.number("parties")?);
    params.finish()?;
    let parties: u64 =
        parties.ok_or_else(|| Problem::bad_request("say how many are expected: parties=N"))?;
    let (name, _) = named(&request)?;
    let barrier = barrier(&desk, &name);
    let vain = || {
        let detail = format!("fewer than {parties} came in that time");
        Problem::new(StatusCode::CONFLICT, "not-all-there", detail).retryable()
    };
    if wish.wait.is_some_and(|wait| wait.is_zero()) {
        // Whoever only tries, and in vain, was never there: others would count it.
        let (there, _) = barrier.parties().await.map_err(failed(&desk))?;
        if there.len() as u64 + 1 < parties {
            return Err(vain());
        }
        // All are there with it: what is left to do takes some writes.
        wish.wait = Some(TRIED_FOR);
    }
    let hold = Hold::of(&desk, &wish).await?;
    let entered = hold.waits(&desk, &wish, barrier.enter(hold.lease, parties)).await;
    let fence = match entered {
        Ok(Some(fence)) => fence,
        other => {
            hold.end(&desk).await;
            return Err(other.map_or_else(failed(&desk), |_| vain()));
        }
    };
    let body = json!({
        "fence": numbers::json(fence.create_revision.0),
        "lease": leases::shown(hold.lease),
    });
    Ok(told(&desk, &name, body))
}

pub(super) async fn leave(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let create_revision = Revision(revision_wanted(&mut params)?);
    params.finish()?;
    let (name, _) = named(&request)?;
    let barrier = barrier(&desk, &name);
    let (parties, _) = barrier.parties().await.map_err(failed(&desk))?;
    let own = parties.iter().find(|party| party.create_revision == create_revision);
    let own = own.ok_or_else(|| failed(&desk)(Error::Fenced))?;
    let fence = Fence { key: barrier.key_of(&own.key), create_revision };
    barrier.leave(&fence).await.map_err(failed(&desk))?;
    Ok(told(&desk, &name, json!({ "fence": numbers::json(create_revision.0) })))
}

pub(super) async fn gate(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let (name, _) = named(&request)?;
    let (parties, is_open) = barrier(&desk, &name).parties().await.map_err(failed(&desk))?;
    let party = |pair: &Pair| {
        let lease = String::from_utf8_lossy(&pair.key);
        json!({ "lease": format!("{lease:0>16}"), "fence": numbers::json(pair.create_revision.0) })
    };
    let parties: Vec<Value> = parties.iter().map(party).collect();
    Ok(told(&desk, &name, json!({ "open": is_open, "parties": parties })))
}
