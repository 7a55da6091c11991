//! Compare, then act: many keys in one revision, as JSON.

use super::idempotency::{Changed, Once, change_once};
use super::kv::{Item, ask, stamp, unexpected};
use super::params::{self, BodyLimit, Params};
use super::{leases, numbers, queues};
use crate::api::desk::Desk;
use crate::api::problem::Problem;
use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::{Request, StatusCode};
use muslin_core::node::{COMMAND_BYTES_MAX, Consistency};
use muslin_core::state::{
    self, Compare, CompareResult, CompareTarget, DeleteRange, KeyRange, KeyValue, Op, OpKind, Put,
    Query, Range, Txn,
};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Largest body: a command of the largest size, its bytes in base64.
const BODY_BYTES_MAX: usize = COMMAND_BYTES_MAX * 2;

/// Deepest nesting: as over gRPC.
const DEPTH_MAX: usize = 8;

/// Pairs that one `get` answers when nothing is said.
const LIMIT_DEFAULT: u64 = 1_000;

/// Largest answer to a transaction that only reads.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// A transaction.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct TxnBody {
    compare: Vec<CompareBody>,
    success: Vec<OpBody>,
    failure: Vec<OpBody>,
}

/// A key or several: two of the fields are the same in base64.
#[derive(Deserialize, Default)]
#[serde(default)]
struct KeysBody {
    key: Option<String>,
    key_b64: Option<String>,
    prefix: bool,
    range_end: Option<String>,
    range_end_b64: Option<String>,
}

/// What a part of a transaction has beside its own fields: nothing, so that no misspelt one is
/// ignored.
type Rest = BTreeMap<String, IgnoredAny>;

fn check_rest(rest: &Rest) -> Result<(), Problem> {
    match rest.keys().next() {
        None => Ok(()),
        Some(name) => Err(Problem::bad_request(format!("there is no field {name} here"))
            .hint("see /openapi.json")),
    }
}

/// One number or value of a key, and how it has to stand.
#[derive(Deserialize, Default)]
#[serde(default)]
struct CompareBody {
    #[serde(flatten)]
    keys: KeysBody,
    result: Option<String>,
    #[serde(deserialize_with = "numbers::take")]
    version: Option<u64>,
    #[serde(deserialize_with = "numbers::take")]
    create_revision: Option<u64>,
    #[serde(deserialize_with = "numbers::take")]
    mod_revision: Option<u64>,
    value: Option<String>,
    value_b64: Option<String>,
    lease: Option<String>,
    #[serde(flatten)]
    rest: Rest,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum OpBody {
    Get(GetBody),
    Put(PutBody),
    Delete(DeleteBody),
    Txn(TxnBody),
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct GetBody {
    #[serde(flatten)]
    keys: KeysBody,
    #[serde(deserialize_with = "numbers::take")]
    limit: Option<u64>,
    #[serde(deserialize_with = "numbers::take")]
    revision: Option<u64>,
    keys_only: bool,
    count_only: bool,
    #[serde(flatten)]
    rest: Rest,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct PutBody {
    key: Option<String>,
    key_b64: Option<String>,
    value: Option<String>,
    value_b64: Option<String>,
    lease: Option<String>,
    ttl: Option<String>,
    keep_lease: bool,
    prev: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct DeleteBody {
    #[serde(flatten)]
    keys: KeysBody,
    prev: bool,
    #[serde(flatten)]
    rest: Rest,
}

/// Text, or bytes in base64: one of them.
fn bytes_of(
    name: &str,
    text: Option<String>,
    b64: Option<String>,
) -> Result<Option<Bytes>, Problem> {
    match (text, b64) {
        (Some(_), Some(_)) => {
            Err(Problem::bad_request(format!("give {name} or {name}_b64, not both")))
        }
        (Some(text), None) => Ok(Some(text.into())),
        (None, Some(b64)) => {
            let wrong = |_| Problem::bad_request(format!("{name}_b64 is not base64"));
            STANDARD.decode(b64).map(|bytes| Some(bytes.into())).map_err(wrong)
        }
        (None, None) => Ok(None),
    }
}

impl KeysBody {
    fn range(self) -> Result<KeyRange, Problem> {
        let key = bytes_of("key", self.key, self.key_b64)?;
        let end = bytes_of("range_end", self.range_end, self.range_end_b64)?;
        let key = key.ok_or_else(|| Problem::bad_request("a key is missing: key or key_b64"))?;
        match (self.prefix, end) {
            (true, Some(_)) => Err(Problem::bad_request("give prefix or range_end, not both")),
            (true, None) => Ok(KeyRange::of_prefix(key)),
            (false, end) => Ok(KeyRange { key, range_end: end.unwrap_or_default() }),
        }
    }
}

impl CompareBody {
    fn compare(self) -> Result<Compare, Problem> {
        check_rest(&self.rest)?;
        let result = match self.result.as_deref() {
            None | Some("=" | "equal") => CompareResult::Equal,
            Some("!=" | "not_equal") => CompareResult::NotEqual,
            Some(">" | "greater") => CompareResult::Greater,
            Some("<" | "less") => CompareResult::Less,
            Some(other) => {
                let detail = format!("result is =, !=, > or <, not {other}");
                return Err(Problem::bad_request(detail));
            }
        };
        let lease = self.lease.as_deref().map(|text| match text {
            "0" => Ok(0),
            other => leases::parsed(other).map(|lease| lease.0),
        });
        let targets = [
            self.version.map(CompareTarget::Version),
            self.create_revision.map(CompareTarget::Create),
            self.mod_revision.map(CompareTarget::Mod),
            bytes_of("value", self.value, self.value_b64)?.map(CompareTarget::Value),
            lease.transpose()?.map(CompareTarget::Lease),
        ];
        let mut targets = targets.into_iter().flatten();
        let (Some(target), None) = (targets.next(), targets.next()) else {
            return Err(Problem::bad_request(
                "a comparison names one of version, create_revision, mod_revision, value, lease",
            ));
        };
        let range = self.keys.range()?;
        Ok(Compare { range, result: result as i32, target: Some(target) })
    }
}

impl TxnBody {
    fn txn(self, desk: &Desk, depth: usize) -> Result<Txn, Problem> {
        if depth > DEPTH_MAX {
            let detail = format!("transactions stand in each other {DEPTH_MAX} deep at most");
            return Err(Problem::bad_request(detail));
        }
        Ok(Txn {
            compares: each("compare", self.compare, CompareBody::compare)?,
            success: each("success", self.success, |op| op.op(desk, depth))?,
            failure: each("failure", self.failure, |op| op.op(desk, depth))?,
        })
    }
}

/// All of a list; what is wrong says where in the list it stands.
fn each<T, U>(
    list: &str,
    items: Vec<T>,
    of: impl Fn(T) -> Result<U, Problem>,
) -> Result<Vec<U>, Problem> {
    let placed = |(number, item)| {
        of(item).map_err(|problem| {
            let detail = format!("{list}[{number}]: {}", problem.detail);
            Problem { detail, ..problem }
        })
    };
    items.into_iter().enumerate().map(placed).collect()
}

impl OpBody {
    fn op(self, desk: &Desk, depth: usize) -> Result<Op, Problem> {
        let kind = match self {
            OpBody::Get(get) => OpKind::Range(get.range()?),
            OpBody::Put(put) => OpKind::Put(put.put(desk)?),
            OpBody::Delete(delete) => {
                check_rest(&delete.rest)?;
                OpKind::Delete(DeleteRange { range: delete.keys.range()?, prev_kv: delete.prev })
            }
            OpBody::Txn(txn) => OpKind::Txn(txn.txn(desk, depth + 1)?),
        };
        Ok(Op { kind: Some(kind) })
    }
}

impl GetBody {
    fn range(self) -> Result<Range, Problem> {
        check_rest(&self.rest)?;
        Ok(Range {
            range: self.keys.range()?,
            limit: self.limit.unwrap_or(LIMIT_DEFAULT),
            revision: self.revision.unwrap_or(0),
            keys_only: self.keys_only,
            count_only: self.count_only,
            ..Range::default()
        })
    }
}

impl PutBody {
    fn put(self, desk: &Desk) -> Result<Put, Problem> {
        let key = bytes_of("key", self.key, self.key_b64)?;
        let key = key.ok_or_else(|| Problem::bad_request("a key is missing: key or key_b64"))?;
        let value = bytes_of("value", self.value, self.value_b64)?;
        let value = value.ok_or_else(|| Problem::bad_request("a value is missing"))?;
        let lease = self.lease.as_deref().map(leases::parsed).transpose()?;
        let lives = [lease.is_some(), self.ttl.is_some(), self.keep_lease];
        if lives.into_iter().filter(|is_given| *is_given).count() > 1 {
            return Err(Problem::bad_request("give one of lease, ttl and keep_lease"));
        }
        let (lease, ttl_ms) = match (lease, self.ttl) {
            (lease, None) => (lease.map_or(0, |lease| lease.0), 0),
            (_, Some(ttl)) => {
                let ttl = params::duration_of("ttl", &ttl)?;
                (leases::drawn(desk)?.0, leases::checked_ttl(ttl)?)
            }
        };
        let (prev_kv, ignore_lease) = (self.prev, self.keep_lease);
        Ok(Put { key, value, lease, ttl_ms, prev_kv, ignore_lease, ..Put::default() })
    }
}

pub(super) async fn run(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let consistency = params.consistency()?;
    let demanded = queues::demanded(&desk, &mut params).await?;
    params.finish()?;
    let once = Once::of(&desk, &request)?;
    let limit = BodyLimit { bytes: BODY_BYTES_MAX, time: desk.patience.body };
    let bytes = params::body(request, limit).await?;
    let body: TxnBody = serde_json::from_slice(&bytes)
        .map_err(|error| Problem::bad_request(format!("the body is no transaction: {error}")))?;
    let txn = body.txn(&desk, 0)?;
    let ((response, revision), consistency) = if txn.is_read_only() && demanded.is_none() {
        desk.metrics.kv_reads.increment(1);
        let (response, revision) = ask(&desk, Query::Txn(txn), consistency).await?;
        if response.approximate_bytes() > ANSWER_BYTES_MAX {
            let detail = "the answer is larger than 64 MiB";
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
                .hint("read it in pages: limit"));
        }
        ((response, revision), consistency)
    } else {
        let once = once.map(|once| (once, bytes));
        let changed = change_once(&desk, once, demanded, OpKind::Txn(txn)).await?;
        match (changed.headers(), changed) {
            (_, Changed::Now(response, revision)) => {
                ((response, revision), Consistency::Linearizable)
            }
            (again, Changed::Before(told)) => {
                // What each operation answered is not kept.
                let revision = numbers::json(told.revision.0);
                let body = json!({ "succeeded": told.held, "revision": revision });
                let headers = stamp(&desk, told.revision, Consistency::Linearizable);
                return Ok((headers, again, Json(body)).into_response());
            }
        }
    };
    let mut body = told(&response)?;
    body["revision"] = numbers::json(revision.0);
    Ok((stamp(&desk, revision, consistency), Json(body)).into_response())
}

fn told(response: &state::Response) -> Result<Value, Problem> {
    let state::Response::Txn { succeeded, responses } = response else {
        return Err(unexpected());
    };
    let responses = responses.iter().map(told_op).collect::<Result<Vec<Value>, Problem>>()?;
    Ok(json!({ "succeeded": succeeded, "responses": responses }))
}

fn told_op(response: &state::Response) -> Result<Value, Problem> {
    let items = |kvs: &[KeyValue]| kvs.iter().map(Item::of).collect::<Vec<Item>>();
    Ok(match response {
        state::Response::Range { kvs, more, count } => {
            json!({ "get": { "items": items(kvs), "more": more, "count": numbers::json(*count) } })
        }
        state::Response::Put { prev: None } => json!({ "put": {} }),
        state::Response::Put { prev: Some(prev) } => json!({ "put": { "prev": Item::of(prev) } }),
        state::Response::Delete { deleted, prev } => {
            json!({ "delete": { "deleted": numbers::json(*deleted), "prev": items(prev) } })
        }
        state::Response::Txn { .. } => json!({ "txn": told(response)? }),
        _ => return Err(unexpected()),
    })
}
