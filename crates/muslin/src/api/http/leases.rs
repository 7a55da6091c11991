//! Leases: what keys live on, and for how long.

use super::kv::{KeyField, ask, change, stamp, unexpected};
use super::numbers;
use super::params::{self, Params};
use crate::api::desk::Desk;
use crate::api::problem::Problem;
use crate::coordination::drawn_lease;
use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::Request;
use muslin_core::base::{LeaseId, Revision};
use muslin_core::node::Consistency;
use muslin_core::state::{self, CommandKind, LeaseGrant, LeaseRevoke, Query, Refusal};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Shortest time to live that is granted: less than a change of leaders may take.
pub(super) const TTL_MIN: Duration = Duration::from_secs(1);

/// Leases of a page whose size is not said.
const LIMIT_DEFAULT: usize = 1_000;

/// Most leases of a page.
const LIMIT_MAX: usize = 100_000;

/// A lease as it is written: 16 hexadecimal digits, of which the first may be left out if they are
/// zeros.
pub(super) fn parsed(text: &str) -> Result<LeaseId, Problem> {
    let is_hex = (1..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    let id = if is_hex { u64::from_str_radix(text, 16).ok() } else { None };
    id.filter(|id| (1..=i64::MAX as u64).contains(id)).map(LeaseId).ok_or_else(|| {
        Problem::bad_request(format!("a lease is up to 16 hexadecimal digits, not {text:?}"))
    })
}

/// As it is shown.
pub(super) fn shown(lease: LeaseId) -> String {
    format!("{:016x}", lease.0)
}

/// The parameter `lease`.
pub(super) fn wanted(params: &mut Params) -> Result<Option<LeaseId>, Problem> {
    params.text("lease")?.as_deref().map(parsed).transpose()
}

/// The parameter `ttl`, in milliseconds.
pub(super) fn ttl_ms(params: &mut Params) -> Result<Option<u64>, Problem> {
    let Some(ttl) = params.duration("ttl")? else { return Ok(None) };
    checked_ttl(ttl).map(Some)
}

/// A time to live that may be granted, in milliseconds.
pub(super) fn checked_ttl(ttl: Duration) -> Result<u64, Problem> {
    if ttl < TTL_MIN {
        return Err(Problem::bad_request("a time to live is 1s at least"));
    }
    u64::try_from(ttl.as_millis()).map_err(|_| Problem::of_refusal(&Refusal::LeaseTtl))
}

/// A lease that does not exist.
pub(super) fn missing() -> Problem {
    Problem::of_refusal(&Refusal::LeaseNotFound)
        .hint("`muslin lease ls` lists the leases, over HTTP GET /v1/leases")
}

/// Draws an identity.
pub(super) fn drawn(desk: &Desk) -> Result<LeaseId, Problem> {
    drawn_lease().map_err(|error| Problem::of_coordination(&error, is_led(desk)))
}

pub(super) fn is_led(desk: &Desk) -> bool {
    desk.handle.glance().leader.is_some()
}

fn lease_of(request: &Request<Body>) -> Result<LeaseId, Problem> {
    let path = request.uri().path();
    let rest = path.strip_prefix("/v1/leases/").expect("the router matched this path");
    let name = rest.split(':').next().unwrap_or_default();
    let name = String::from_utf8(params::percent_decode(name)?);
    parsed(&name.map_err(|_| Problem::bad_request("a lease is hexadecimal digits"))?)
}

fn answered(desk: &Desk, revision: Revision, body: Value) -> Response {
    (stamp(desk, revision, Consistency::Linearizable), Json(body)).into_response()
}

pub(super) async fn list(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let consistency = params.consistency()?;
    let after = params.text("after")?.as_deref().map(parsed).transpose()?;
    let limit = params.number("limit")?.unwrap_or(LIMIT_DEFAULT);
    params.finish()?;
    if limit == 0 || limit > LIMIT_MAX {
        return Err(Problem::bad_request(format!("limit is between 1 and {LIMIT_MAX}")));
    }
    let (response, revision) = ask(&desk, Query::Leases, consistency).await?;
    let state::Response::Leases { ids } = response else { return Err(unexpected()) };
    let from = after.map_or(0, |after| ids.partition_point(|id| *id <= after.0));
    let page = ids[from..].iter().take(limit);
    let leases: Vec<Value> = page.map(|id| json!({ "id": shown(LeaseId(*id)) })).collect();
    let more = from + leases.len() < ids.len();
    let revision_told = numbers::json(revision.0);
    let body =
        json!({ "revision": revision_told, "count": ids.len(), "more": more, "leases": leases });
    Ok((stamp(&desk, revision, consistency), Json(body)).into_response())
}

pub(super) async fn grant(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let ttl_ms = ttl_ms(&mut params)?
        .ok_or_else(|| Problem::bad_request("say how long it lives: ttl=30s"))?;
    let id = params.text("id")?.as_deref().map(parsed).transpose()?;
    params.finish()?;
    let id = match id {
        Some(id) => id,
        None => drawn(&desk)?,
    };
    let grant = LeaseGrant { id: id.0, ttl_ms };
    let (_, revision) = change(&desk, CommandKind::LeaseGrant(grant)).await?;
    let body = json!({ "id": shown(id), "ttl_ms": numbers::json(ttl_ms) });
    Ok(answered(&desk, revision, body))
}

pub(super) async fn show(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let id = lease_of(&request)?;
    let failed = |failure| Problem::of_failure(failure, is_led(&desk));
    let (ttl, _) = desk.handle.time_to_live(id).await.map_err(failed)?;
    let (granted_ms, left_ms) = ttl.ok_or_else(missing)?;
    let (response, revision) = ask(&desk, Query::Lease(id.0), Consistency::Linearizable).await?;
    let state::Response::Lease { keys, .. } = response else { return Err(unexpected()) };
    let keys: Vec<KeyField> = keys.iter().map(|key| KeyField::of(key)).collect();
    let body = json!({
        "id": shown(id),
        "ttl_ms": numbers::json(granted_ms),
        "left_ms": numbers::json(left_ms),
        "keys": keys,
    });
    Ok(answered(&desk, revision, body))
}

pub(super) async fn keep_alive(
    desk: Arc<Desk>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let id = lease_of(&request)?;
    let failed = |failure| Problem::of_failure(failure, is_led(&desk));
    let (ttl, revision) = desk.handle.keep_alive(id).await.map_err(failed)?;
    let (granted_ms, left_ms) = ttl.ok_or_else(missing)?;
    let body = json!({
        "id": shown(id),
        "ttl_ms": numbers::json(granted_ms),
        "left_ms": numbers::json(left_ms),
    });
    Ok(answered(&desk, revision, body))
}

pub(super) async fn revoke(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let id = lease_of(&request)?;
    let revoke = LeaseRevoke { ids: vec![id.0], expired: false };
    let (_, revision) = change(&desk, CommandKind::LeaseRevoke(revoke)).await?;
    let body = json!({ "id": shown(id), "revision": numbers::json(revision.0) });
    Ok(answered(&desk, revision, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_hexadecimal_and_as_large_as_a_signed_number() {
        assert_eq!(parsed("00000000000000ff").unwrap(), LeaseId(255));
        assert_eq!(parsed("fF").unwrap(), LeaseId(255));
        for wrong in ["", "0", "+1", "g", "ffffffffffffffff", "00000000000000001"] {
            assert_eq!(parsed(wrong).unwrap_err().status, 400, "{wrong}");
        }
    }
}
