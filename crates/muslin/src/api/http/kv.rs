//! One key: raw bytes in, raw bytes out.

use super::params::{self, BodyLimit, Params};
use crate::api::desk::Desk;
use crate::api::problem::Problem;
use crate::api::status::millis;
use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::{
    CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH,
};
use hyper::{Request, StatusCode};
use muslin_core::base::Revision;
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
    pub(super) create_revision: u64,
    pub(super) mod_revision: u64,
    pub(super) version: u64,
    /// 16 hexadecimal digits; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lease: Option<String>,
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

impl Item {
    pub(super) fn of(kv: &KeyValue) -> Item {
        Item {
            key: KeyField::of(&kv.key),
            value: match std::str::from_utf8(&kv.value) {
                Ok(text) => ValueField::Text(String::from(text)),
                Err(_) => ValueField::Bytes(STANDARD.encode(&kv.value)),
            },
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

async fn change(desk: &Desk, kind: CommandKind) -> Result<(state::Response, Revision), Problem> {
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
    let consistency = params.consistency()?;
    params.finish()?;
    let key = key_of(&request)?;
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
    Ok((headers, [(ETAG, etag(kv.mod_revision))], kind, kv.value).into_response())
}

fn etag(revision: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{revision}\"")).expect("quotes and digits make a header")
}

/// The answer of a write.
#[derive(Serialize)]
struct Written {
    #[serde(flatten)]
    key: KeyField,
    revision: u64,
}

pub(super) async fn write(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let key = key_of(&request)?;
    let condition = condition(&request, &key)?;
    let limit = BodyLimit { bytes: COMMAND_BYTES_MAX, time: desk.patience.body };
    let value = params::body(request, limit).await?;
    let put = Put { key: key.clone(), value, ..Put::default() };
    let command = match condition {
        None => CommandKind::Put(put),
        Some(compare) => CommandKind::Txn(Txn {
            compares: vec![compare],
            success: vec![Op { kind: Some(OpKind::Put(put)) }],
            failure: vec![look(&key)],
        }),
    };
    let (response, revision) = change(&desk, command).await?;
    check_condition(&response)?;
    let headers = stamp(&desk, revision, Consistency::Linearizable);
    let written = Written { key: KeyField::of(&key), revision: revision.0 };
    Ok((headers, [(ETAG, etag(revision.0))], Json(written)).into_response())
}

pub(super) async fn delete(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let key = key_of(&request)?;
    let delete = DeleteRange { range: KeyRange::of_key(key.clone()), prev_kv: false };
    let command = match condition(&request, &key)? {
        None => CommandKind::Delete(delete),
        Some(compare) => CommandKind::Txn(Txn {
            compares: vec![compare],
            success: vec![Op { kind: Some(OpKind::Delete(delete)) }],
            failure: vec![look(&key)],
        }),
    };
    let (response, revision) = change(&desk, command).await?;
    check_condition(&response)?;
    let headers = stamp(&desk, revision, Consistency::Linearizable);
    let deleted = deleted_by(&response);
    Ok((headers, Json(json!({ "deleted": deleted, "revision": revision.0 }))).into_response())
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
    let target = match (headers.get(IF_MATCH), headers.get(IF_NONE_MATCH)) {
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
