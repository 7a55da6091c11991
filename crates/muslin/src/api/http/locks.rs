//! Locks over HTTP: queues like those of etcd's clients, in which they may stand too.

use super::kv::{KeyField, stamp};
use super::params::Params;
use super::queues::{self, Shown, Wish, failed, name_of, revision_wanted};
use super::{leases, numbers};
use crate::api::desk::Desk;
use crate::api::problem::Problem;
use crate::coordination::{Error, Queue};
use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::{Request, StatusCode};
use muslin_core::base::Revision;
use muslin_core::node::Consistency;
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;

const BEFORE: &str = "/v1/locks/";

/// A lock that was had.
#[derive(Serialize)]
struct Acquired {
    name: NameField,
    #[serde(flatten)]
    key: KeyField,
    #[serde(serialize_with = "numbers::tell")]
    fence: u64,
    lease: String,
    /// Keep the lease alive within this time.
    #[serde(serialize_with = "numbers::tell")]
    ttl_ms: u64,
}

/// A name as text; what is no text (UTF-8) stands percent-encoded.
#[derive(Serialize, PartialEq, Debug)]
pub(super) struct NameField(String);

impl NameField {
    pub(super) fn of(name: &[u8]) -> NameField {
        let encoded = |name: &[u8]| {
            let byte = |byte: &u8| match byte {
                b'%' | 0x80.. | 0..0x20 | 0x7f => format!("%{byte:02X}"),
                _ => String::from(char::from(*byte)),
            };
            name.iter().map(byte).collect()
        };
        NameField(std::str::from_utf8(name).map_or_else(|_| encoded(name), String::from))
    }
}

pub(super) async fn acquire(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let wish = Wish::of(&mut params)?;
    params.finish()?;
    let name = name_of(&request, BEFORE)?;
    let queue = Queue::new(&desk.handle, &name);
    let waiting = queue.enter(wish.entry(&desk, Bytes::new())?).await.map_err(failed(&desk))?;
    let place = wish.turn(&desk, waiting).await?;
    let failed = |failure| Problem::of_failure(failure, leases::is_led(&desk));
    let (ttl, _) = desk.handle.time_to_live(place.lease).await.map_err(failed)?;
    let (ttl_ms, _) = ttl.ok_or_else(leases::missing)?;
    let acquired = Acquired {
        name: NameField::of(&name),
        key: KeyField::of(&place.fence.key),
        fence: place.fence.create_revision.0,
        lease: leases::shown(place.lease),
        ttl_ms,
    };
    let headers = stamp(&desk, place.revision, Consistency::Linearizable);
    Ok((headers, Json(acquired)).into_response())
}

pub(super) async fn release(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let made_by = revision_wanted(&mut params)?;
    params.finish()?;
    let name = name_of(&request, BEFORE)?;
    let revision = give_back(&desk, &name, made_by).await?;
    let body = json!({ "name": NameField::of(&name), "revision": numbers::json(revision.0) });
    Ok((stamp(&desk, revision, Consistency::Linearizable), Json(body)).into_response())
}

/// Gives a place back, the holder's or that of one who waits.
pub(super) async fn give_back(desk: &Desk, name: &[u8], made_by: u64) -> Result<Revision, Problem> {
    let queue = Queue::new(&desk.handle, name);
    let fence = queues::fence_of(desk, &queue, made_by).await?;
    let fence = fence.ok_or_else(|| failed(desk)(Error::Fenced))?;
    queue.leave(&fence).await.map_err(failed(desk))
}

pub(super) async fn show(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let consistency = params.consistency()?;
    params.finish()?;
    let name = name_of_whole(&request)?;
    let queue = Queue::new(&desk.handle, &name);
    let (places, revision) = queues::places(&desk, &queue, consistency).await?;
    let Some((holder, waiting)) = places.split_first() else {
        let detail = format!("nobody holds {}", String::from_utf8_lossy(&name));
        return Err(Problem::new(StatusCode::NOT_FOUND, "not-found", detail)
            .hint("GET /v1/locks lists the locks that are held"));
    };
    let waiting: Vec<Shown> = waiting.iter().map(Shown::of).collect();
    let body = json!({
        "name": NameField::of(&name),
        "revision": numbers::json(revision.0),
        "holder": Shown::of(holder),
        "waiting": waiting,
    });
    Ok((stamp(&desk, revision, consistency), Json(body)).into_response())
}

fn name_of_whole(request: &Request<Body>) -> Result<Bytes, Problem> {
    let path = request.uri().path();
    let name = path.strip_prefix(BEFORE).expect("the router matched this path");
    super::params::percent_decode(name).map(Bytes::from)
}

pub(super) async fn list(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let (prefix, consistency) = (params.bytes("prefix").unwrap_or_default(), params.consistency()?);
    params.finish()?;
    let listed = queues::list(&desk, prefix, consistency).await?;
    // Who leads proclaims something; who holds a lock says nothing.
    let held = listed.queues.iter().filter(|(_, found)| found.head.value.is_empty());
    let locks: Vec<_> = held
        .map(|(name, found)| {
            json!({
                "name": NameField::of(name),
                "holder": Shown::of(&found.head),
                "waiting": found.waiting,
            })
        })
        .collect();
    let revision = numbers::json(listed.revision.0);
    let body = json!({ "revision": revision, "more": listed.more, "locks": locks });
    Ok((stamp(&desk, listed.revision, consistency), Json(body)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_no_text_is_told_as_it_stands_in_an_address() {
        assert_eq!(NameField::of("grün/a%".as_bytes()), NameField("grün/a%".into()));
        assert_eq!(NameField::of(b"a/\xff%"), NameField("a/%FF%25".into()));
    }
}
