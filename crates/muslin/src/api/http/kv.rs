//! One key: raw bytes in, raw bytes out.

use super::idempotency::{Changed, Once, change_once};
use super::params::{self, BodyLimit, Params};
use super::views::Wish;
use super::{history, leases, numbers, queues};
use crate::api::desk::Desk;
use crate::api::problem::Problem;
use crate::api::status::millis;
use crate::coordination::Error;
use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, StatusCode};
use muslin_core::base::{LeaseId, Revision};
use muslin_core::node::{COMMAND_BYTES_MAX, Consistency};
use muslin_core::state::{
    self, Command, CommandKind, Compare, CompareResult, CompareTarget, DeleteRange, KeyRange,
    KeyValue, Op, OpKind, Outcome, Put, Query, Range, Txn,
};
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// One key-value pair in JSON. Text stands as it is; what is no text (UTF-8), in base64.
#[derive(Serialize)]
pub(super) struct Item {
    #[serde(flatten)]
    pub(super) key: KeyField,
    #[serde(flatten)]
    pub(super) value: ValueField,
    #[serde(serialize_with = "numbers::tell")]
    pub(super) create_revision: u64,
    #[serde(serialize_with = "numbers::tell")]
    pub(super) mod_revision: u64,
    #[serde(serialize_with = "numbers::tell")]
    pub(super) version: u64,
    /// 16 hexadecimal digits; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lease: Option<String>,
}

impl Item {
    /// What it takes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        let (KeyField::Text(key) | KeyField::Bytes(key)) = &self.key;
        let (ValueField::Text(value) | ValueField::Bytes(value)) = &self.value;
        size_of::<Item>() + key.len() + value.len()
    }
}

/// A key, under one of two names.
#[derive(Serialize)]
pub(super) enum KeyField {
    #[serde(rename = "key")]
    Text(String),
    #[serde(rename = "key_b64")]
    Bytes(String),
}

/// A value, under one of two names.
#[derive(Serialize)]
pub(super) enum ValueField {
    #[serde(rename = "value")]
    Text(String),
    #[serde(rename = "value_b64")]
    Bytes(String),
}

impl KeyField {
    pub(super) fn of(key: &[u8]) -> KeyField {
        match std::str::from_utf8(key) {
            Ok(text) => KeyField::Text(String::from(text)),
            Err(_) => KeyField::Bytes(STANDARD.encode(key)),
        }
    }
}

impl ValueField {
    pub(super) fn of(value: &[u8]) -> ValueField {
        match std::str::from_utf8(value) {
            Ok(text) => ValueField::Text(String::from(text)),
            Err(_) => ValueField::Bytes(STANDARD.encode(value)),
        }
    }
}

impl Item {
    pub(super) fn of(kv: &KeyValue) -> Item {
        Item {
            key: KeyField::of(&kv.key),
            value: ValueField::of(&kv.value),
            create_revision: kv.create_revision,
            mod_revision: kv.mod_revision,
            version: kv.version,
            lease: (kv.lease != 0).then(|| format!("{:016x}", kv.lease)),
        }
    }
}

/// Says which state the answer is of.
pub(super) fn stamp(desk: &Desk, revision: Revision, consistency: Consistency) -> HeaderMap {
    let glance = desk.handle.glance();
    let mut headers = HeaderMap::new();
    let mut put = |name: &'static str, text: String| {
        let value = HeaderValue::try_from(text).expect("digits, dots and letters make a header");
        headers.insert(HeaderName::from_static(name), value);
    };
    put("muslin-index", format!("{}.{}", glance.epoch, revision));
    if let Some(leader) = glance.leader {
        put("muslin-leader", leader.to_string());
    }
    put("muslin-consistency", String::from(consistency_name(consistency)));
    let age = match consistency {
        Consistency::Local => glance.staleness(),
        Consistency::Linearizable | Consistency::Lease => Some(Duration::ZERO),
    };
    if let Some(age) = age {
        put("muslin-staleness-ms", millis(age).to_string());
    }
    headers
}

pub(super) fn consistency_name(consistency: Consistency) -> &'static str {
    match consistency {
        Consistency::Linearizable => "linearizable",
        Consistency::Lease => "lease",
        Consistency::Local => "local",
    }
}

/// Asks, and turns every way to fail into a problem.
pub(super) async fn ask(
    desk: &Desk,
    query: Query,
    consistency: Consistency,
) -> Result<(state::Response, Revision), Problem> {
    settle(desk, desk.handle.read(query, consistency).await)
}

pub(super) async fn change(
    desk: &Desk,
    kind: CommandKind,
) -> Result<(state::Response, Revision), Problem> {
    desk.metrics.kv_writes.increment(1);
    settle(desk, desk.handle.write(Command::of(kind)).await)
}

pub(super) fn settle(
    desk: &Desk,
    outcome: Result<Outcome, muslin_core::node::Failure>,
) -> Result<(state::Response, Revision), Problem> {
    let leader_known = desk.handle.glance().leader.is_some();
    let outcome = outcome.map_err(|failure| Problem::of_failure(failure, leader_known))?;
    let response = outcome.result.map_err(|refusal| Problem::of_refusal(&refusal))?;
    Ok((response, outcome.revision))
}

/// The key in a path: any bytes.
fn key_of(request: &Request<Body>) -> Result<Bytes, Problem> {
    let path = request.uri().path();
    let key = path.strip_prefix("/v1/kv/").expect("the router matched this path");
    params::percent_decode(key).map(Bytes::from)
}

pub(super) async fn read(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    if params.switch("history")? {
        let limit = params.number("limit")?;
        params.finish()?;
        return history::answer(&desk, key_of(&request)?, limit).await;
    }
    let wish = Wish::of_keys(&mut params)?;
    let consistency = wish.consistency;
    params.finish()?;
    let key = key_of(&request)?;
    wish.check(&desk)?;
    desk.metrics.kv_reads.increment(1);
    let range = Range { range: KeyRange::of_key(key.clone()), ..Range::default() };
    let (response, revision) = ask(&desk, Query::Range(range), consistency).await?;
    let headers = stamp(&desk, revision, consistency);
    let state::Response::Range { kvs, .. } = response else { return Err(unexpected()) };
    let Some(kv) = kvs.into_iter().next() else {
        let detail = format!("there is no key {}", String::from_utf8_lossy(&key));
        return Err(Problem::not_found(detail).hint("`muslin kv ls` lists the keys"));
    };
    let kind = [(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))];
    Ok((headers, [(ETAG, etag(kv.mod_revision))], kind, Bytes::from(kv.value)).into_response())
}

fn etag(revision: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{revision}\"")).expect("quotes and digits make a header")
}

/// The answer of a write.
#[derive(Serialize)]
struct Written {
    #[serde(flatten)]
    key: KeyField,
    #[serde(serialize_with = "numbers::tell")]
    revision: u64,
    /// On which it lives, if it does not stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<String>,
}

/// On what a pair lives, as the parameters say: a lease, one made with it, or what it lived on.
fn life(desk: &Desk, params: &mut Params) -> Result<Put, Problem> {
    let ignore_lease = params.switch("keep_lease")?;
    match (leases::wanted(params)?, leases::ttl_ms(params)?) {
        (None, None) => Ok(Put { ignore_lease, ..Put::default() }),
        (Some(lease), None) if !ignore_lease => Ok(Put { lease: lease.0, ..Put::default() }),
        (None, Some(ttl_ms)) if !ignore_lease => {
            Ok(Put { lease: leases::drawn(desk)?.0, ttl_ms, ..Put::default() })
        }
        _ => Err(Problem::bad_request("give one of lease, ttl and keep_lease")),
    }
}

pub(super) async fn write(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let life = life(&desk, &mut params)?;
    let demanded = queues::demanded(&desk, &mut params).await?;
    params.finish()?;
    let key = key_of(&request)?;
    let condition = condition(&request, &key)?;
    let once = Once::of(&desk, &request)?;
    let limit = BodyLimit { bytes: COMMAND_BYTES_MAX, time: desk.patience.body };
    let value = params::body(request, limit).await?;
    let once = once.map(|once| (once, value.clone()));
    let put = Put { key: key.clone(), value, ..life };
    let lease = put.lease;
    let write = match condition {
        None => OpKind::Put(put),
        Some(compare) => OpKind::Txn(Txn {
            compares: vec![compare],
            success: vec![Op { kind: Some(OpKind::Put(put)) }],
            failure: vec![look(&key)],
        }),
    };
    let changed = change_once(&desk, once, demanded, write).await?;
    let again = changed.headers();
    let (revision, lease) = match changed {
        Changed::Now(response, revision) => {
            check_condition(&response)?;
            (revision, lease)
        }
        Changed::Before(told) => (told.revision, told.lease),
    };
    let lease = (lease != 0).then(|| leases::shown(LeaseId(lease)));
    let headers = stamp(&desk, revision, Consistency::Linearizable);
    let written = Written { key: KeyField::of(&key), revision: revision.0, lease };
    Ok((headers, again, [(ETAG, etag(revision.0))], Json(written)).into_response())
}

pub(super) async fn delete(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let demanded = queues::demanded(&desk, &mut params).await?;
    params.finish()?;
    let key = key_of(&request)?;
    let delete = DeleteRange { range: KeyRange::of_key(key.clone()), prev_kv: false };
    let write = match condition(&request, &key)? {
        None => OpKind::Delete(delete),
        Some(compare) => OpKind::Txn(Txn {
            compares: vec![compare],
            success: vec![Op { kind: Some(OpKind::Delete(delete)) }],
            failure: vec![look(&key)],
        }),
    };
    let once = Once::of(&desk, &request)?.map(|once| (once, Bytes::new()));
    let changed = change_once(&desk, once, demanded, write).await?;
    let again = changed.headers();
    let (revision, deleted) = match changed {
        Changed::Now(response, revision) => {
            check_condition(&response)?;
            (revision, deleted_by(&response))
        }
        Changed::Before(told) => (told.revision, u64::from(told.held)),
    };
    let headers = stamp(&desk, revision, Consistency::Linearizable);
    let revision = numbers::json(revision.0);
    Ok((headers, again, Json(json!({ "deleted": deleted, "revision": revision }))).into_response())
}

pub(super) fn command(write: OpKind) -> CommandKind {
    match write {
        OpKind::Put(put) => CommandKind::Put(put),
        OpKind::Delete(delete) => CommandKind::Delete(delete),
        OpKind::Txn(txn) => CommandKind::Txn(txn),
        OpKind::Range(_) => unreachable!("only writes are carried out"),
    }
}

/// Carries a write out: if a fence is demanded, only while that holds.
pub(super) async fn change_fenced(
    desk: &Desk,
    demanded: Option<Vec<Compare>>,
    write: OpKind,
) -> Result<(state::Response, Revision), Problem> {
    let Some(compares) = demanded else { return change(desk, command(write)).await };
    let success = vec![Op { kind: Some(write) }];
    let txn = CommandKind::Txn(Txn { compares, success, failure: Vec::new() });
    let (response, revision) = change(desk, txn).await?;
    let state::Response::Txn { succeeded, responses } = response else { return Err(unexpected()) };
    if !succeeded {
        return Err(Problem::of_coordination(&Error::Fenced, true));
    }
    let response = responses.into_iter().next().ok_or_else(unexpected)?;
    Ok((response, revision))
}

fn deleted_by(response: &state::Response) -> u64 {
    match response {
        state::Response::Delete { deleted, .. } => *deleted,
        state::Response::Txn { responses, .. } => responses.iter().map(deleted_by).sum(),
        _ => 0,
    }
}

/// What the headers demand of the key as it is.
fn condition(request: &Request<Body>, key: &Bytes) -> Result<Option<Compare>, Problem> {
    let headers = request.headers();
    let wanted = params::header(headers, "If-Match")?;
    let target = match (wanted, params::header(headers, "If-None-Match")?) {
        (None, None) => return Ok(None),
        (None, Some(value)) if value == "*" => CompareTarget::Create(0),
        (Some(value), None) => CompareTarget::Mod(revision_of(value)?),
        (None, Some(_)) => return Err(Problem::bad_request("If-None-Match takes * only")),
        (Some(_), Some(_)) => {
            return Err(Problem::bad_request("give If-Match or If-None-Match, not both"));
        }
    };
    Ok(Some(Compare {
        range: KeyRange::of_key(key.clone()),
        result: CompareResult::Equal as i32,
        target: Some(target),
    }))
}

fn revision_of(value: &HeaderValue) -> Result<u64, Problem> {
    let quoted = value.to_str().ok().and_then(|text| text.strip_prefix('"')?.strip_suffix('"'));
    let revision = quoted.and_then(|text| text.parse().ok()).filter(|revision| *revision > 0);
    revision.ok_or_else(|| Problem::bad_request("If-Match takes one \"REVISION\", as ETag gave it"))
}

/// For a condition that does not hold: what is there.
fn look(key: &Bytes) -> Op {
    let range = Range { range: KeyRange::of_key(key.clone()), keys_only: true, ..Range::default() };
    Op { kind: Some(OpKind::Range(range)) }
}

fn check_condition(response: &state::Response) -> Result<(), Problem> {
    let state::Response::Txn { succeeded: false, responses } = response else { return Ok(()) };
    let found = responses.iter().find_map(|response| match response {
        state::Response::Range { kvs, .. } => kvs.first(),
        _ => None,
    });
    let detail = match found {
        Some(kv) => format!("the key is there, last changed by revision {}", kv.mod_revision),
        None => String::from("the key is not there"),
    };
    Err(Problem::new(StatusCode::PRECONDITION_FAILED, "conflict", detail)
        .hint("read it again, and decide again"))
}

pub(super) fn unexpected() -> Problem {
    let detail = "the node gave an answer of another kind than asked for";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demanded(headers: &[(&str, &str)]) -> Result<Option<Compare>, Problem> {
        let mut request = Request::put("/v1/kv/a");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        condition(&request.body(Body::empty()).unwrap(), &Bytes::from_static(b"a"))
    }

    #[test]
    fn one_condition_is_honoured_and_none_is_ignored() {
        let target = demanded(&[("If-Match", "\"7\"")]).unwrap().unwrap().target;
        assert_eq!(target, Some(CompareTarget::Mod(7)));
        assert!(demanded(&[]).unwrap().is_none());
        for headers in [
            [("If-Match", "\"7\""), ("If-Match", "\"8\"")],
            [("If-Match", "\"7\""), ("if-match", "\"7\"")],
            [("If-None-Match", "*"), ("If-None-Match", "*")],
        ] {
            let refused = demanded(&headers).unwrap_err();
            assert_eq!(refused.status, StatusCode::BAD_REQUEST);
            assert!(refused.detail.contains("is given twice"), "{}", refused.detail);
        }
        let both = [("If-Match", "\"7\""), ("If-None-Match", "*")];
        assert_eq!(demanded(&both).unwrap_err().status, StatusCode::BAD_REQUEST);
        let list = [("If-Match", "\"7\", \"8\"")];
        assert_eq!(demanded(&list).unwrap_err().status, StatusCode::BAD_REQUEST);
    }
}
