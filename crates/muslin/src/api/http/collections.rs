//! Counters, maps, sets, multimaps and lists over HTTP.

use super::kv::{ValueField, stamp};
use super::locks::NameField;
use super::numbers;
use super::params::{self, BodyLimit, Params};
use super::queues::failed;
use crate::api::desk::Desk;
use crate::api::problem::Problem;
use crate::coordination::Error;
use crate::coordination::collections::{Counter, List, Map, MultiMap, Once, Page, Pair, Set};
use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::Request;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use muslin_core::node::{COMMAND_BYTES_MAX, Consistency};
use serde_json::{Map as Object, Value, json};
use std::sync::Arc;

/// Items of a page whose size is not said.
const LIMIT_DEFAULT: u64 = 1_000;

/// Most items of a page.
const LIMIT_MAX: u64 = 10_000;

/// What stands behind the colon of a path that says what is to be done.
const WORDS: [&str; 8] = ["add", "set", "take", "done", "put-back", "pop", "enter", "leave"];

/// A thing's name, and what stands behind it: any bytes each.
pub(super) fn named(request: &Request<Body>) -> Result<(Bytes, Bytes), Problem> {
    // `/v1/`, the kind and a slash stand in front: the router has matched them.
    let path = request.uri().path();
    let (_, rest) = path[1..].split_once('/').unwrap_or_default();
    let (_, rest) = rest.split_once('/').unwrap_or_default();
    let (name, rest) = match rest.split_once('/') {
        Some((name, rest)) => (name, rest),
        None => match rest.rsplit_once(':') {
            Some((name, word)) if WORDS.contains(&word) => (name, ""),
            _ => (rest, ""),
        },
    };
    let name = params::percent_decode(name)?;
    Ok((name.into(), params::percent_decode(rest)?.into()))
}

/// The parameter `id`: the same operation with the same one happens once.
pub(super) fn once(params: &mut Params) -> Result<Option<Once>, Problem> {
    let id = params.bytes("id").map(Once::named).transpose();
    id.map_err(|_| Problem::bad_request("id has 1 to 256 bytes"))
}

pub(super) async fn value(desk: &Desk, request: Request<Body>) -> Result<Bytes, Problem> {
    let limit = BodyLimit { bytes: COMMAND_BYTES_MAX, time: desk.patience.body };
    params::body(request, limit).await
}

/// An answer in JSON, with the name it is about.
pub(super) fn told(desk: &Desk, name: &[u8], mut body: Value) -> Response {
    body["name"] = json!(NameField::of(name));
    let headers = stamp(desk, desk.handle.glance().revision, Consistency::Linearizable);
    (headers, Json(body)).into_response()
}

fn raw(bytes: Bytes) -> Response {
    let kind = [(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))];
    (kind, bytes).into_response()
}

/// Bytes under a name: as they are if they are text, in base64 under another name otherwise.
pub(super) fn bytes(name: &str, bytes: &[u8]) -> (String, Value) {
    let field = match ValueField::of(bytes) {
        ValueField::Text(text) => (String::from(name), text),
        ValueField::Bytes(b64) => (format!("{name}_b64"), b64),
    };
    (field.0, Value::from(field.1))
}

pub(super) fn fields_of(fields: impl IntoIterator<Item = (String, Value)>) -> Value {
    Value::Object(fields.into_iter().collect::<Object<String, Value>>())
}

/// Which page is wanted.
pub(super) struct Wanted {
    pub(super) after: Option<Bytes>,
    pub(super) limit: u64,
}

pub(super) fn wanted(params: &mut Params) -> Result<Wanted, Problem> {
    let limit = params.number("limit")?.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::bad_request(format!("limit is between 1 and {LIMIT_MAX}")));
    }
    Ok(Wanted { after: params.bytes("after"), limit })
}

pub(super) fn page(desk: &Desk, name: &[u8], page: &Page, item: fn(&Pair) -> Value) -> Response {
    let items: Vec<Value> = page.items.iter().map(item).collect();
    let body = json!({
        "name": NameField::of(name),
        "revision": numbers::json(page.revision.0),
        "count": numbers::json(page.count),
        "more": page.more,
        "items": items,
    });
    (stamp(desk, page.revision, Consistency::Linearizable), Json(body)).into_response()
}

fn missing(what: &str, key: &[u8]) -> Problem {
    Problem::not_found(format!("there is no {what} {}", String::from_utf8_lossy(key)))
}

/// As numbers of 64 bits without a sign.
fn signed(number: i64) -> Value {
    match number.unsigned_abs() {
        0..=0x20_0000_0000_0000 => Value::from(number),
        _ => Value::from(number.to_string()),
    }
}

fn counter(desk: &Desk, name: &[u8]) -> Counter {
    Counter::new(&desk.handle, name)
}

pub(super) async fn count(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let (name, _) = named(&request)?;
    let value = counter(&desk, &name).value().await.map_err(failed(&desk))?;
    Ok(told(&desk, &name, json!({ "value": signed(value) })))
}

pub(super) async fn add(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let (by, once) = (params.number("by")?.unwrap_or(1), once(&mut params)?);
    params.finish()?;
    let (name, _) = named(&request)?;
    let added = counter(&desk, &name).add(by, once.as_ref()).await;
    Ok(told(&desk, &name, json!({ "value": signed(added.map_err(failed(&desk))?) })))
}

pub(super) async fn set(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let to: Option<i64> = params.number("to")?;
    let (expected, once) = (params.number("if")?, once(&mut params)?);
    params.finish()?;
    let to = to.ok_or_else(|| Problem::bad_request("say what it is to be: to=NUMBER"))?;
    let (name, _) = named(&request)?;
    let counter = counter(&desk, &name);
    match expected {
        None => drop(counter.set(to).await.map_err(failed(&desk))?),
        Some(expected) => {
            let set = counter.set_if(expected, to, once.as_ref()).await.map_err(failed(&desk))?;
            if !set {
                return Err(failed(&desk)(Error::Differs));
            }
        }
    }
    Ok(told(&desk, &name, json!({ "value": signed(to) })))
}

pub(super) async fn forget(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let (name, _) = named(&request)?;
    let removed = counter(&desk, &name).remove().await.map_err(failed(&desk))?;
    Ok(told(&desk, &name, json!({ "removed": u64::from(removed) })))
}

fn map(desk: &Desk, name: &[u8]) -> Map {
    Map::new(&desk.handle, name)
}

fn entry(pair: &Pair) -> Value {
    let mut entry = fields_of([bytes("key", &pair.key), bytes("value", &pair.value)]);
    entry["mod_revision"] = numbers::json(pair.mod_revision.0);
    entry
}

pub(super) async fn entries(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let Wanted { after, limit } = wanted(&mut params)?;
    params.finish()?;
    let (name, _) = named(&request)?;
    let found = map(&desk, &name).page(after.as_deref(), limit).await.map_err(failed(&desk))?;
    Ok(page(&desk, &name, &found, entry))
}

pub(super) async fn map_get(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let (name, key) = named(&request)?;
    let value = map(&desk, &name).get(&key).await.map_err(failed(&desk))?;
    value.map(raw).ok_or_else(|| missing("key", &key))
}

pub(super) async fn map_put(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let (name, key) = named(&request)?;
    let if_absent = match params::header(request.headers(), "If-None-Match")? {
        None => false,
        Some(value) if value == "*" => true,
        Some(_) => return Err(Problem::bad_request("If-None-Match takes * only")),
    };
    let value = value(&desk, request).await?;
    let map = map(&desk, &name);
    let before = match if_absent {
        false => map.put(&key, value).await.map_err(failed(&desk))?,
        true => {
            let found = map.put_if_absent(&key, value).await.map_err(failed(&desk))?;
            if found.is_some() {
                return Err(failed(&desk)(Error::Differs));
            }
            None
        }
    };
    let mut fields = vec![bytes("key", &key)];
    fields.extend(before.map(|before| bytes("before", &before)));
    Ok(told(&desk, &name, fields_of(fields)))
}

pub(super) async fn map_rm(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let (name, key) = named(&request)?;
    let before = map(&desk, &name).remove(&key).await.map_err(failed(&desk))?;
    let mut fields = vec![(String::from("removed"), json!(u64::from(before.is_some())))];
    fields.extend(before.map(|before| bytes("before", &before)));
    Ok(told(&desk, &name, fields_of(fields)))
}

pub(super) async fn map_clear(
    desk: Arc<Desk>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let (name, _) = named(&request)?;
    let removed = map(&desk, &name).clear().await.map_err(failed(&desk))?;
    Ok(told(&desk, &name, json!({ "removed": numbers::json(removed) })))
}

fn a_set(desk: &Desk, name: &[u8]) -> Set {
    Set::new(&desk.handle, name)
}

pub(super) async fn elements(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let Wanted { after, limit } = wanted(&mut params)?;
    params.finish()?;
    let (name, _) = named(&request)?;
    let found = a_set(&desk, &name).page(after.as_deref(), limit).await.map_err(failed(&desk))?;
    Ok(page(&desk, &name, &found, |pair| fields_of([bytes("element", &pair.key)])))
}

pub(super) async fn set_has(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let (name, element) = named(&request)?;
    let is_there = a_set(&desk, &name).contains(&element).await.map_err(failed(&desk))?;
    match is_there {
        true => Ok(told(&desk, &name, fields_of([bytes("element", &element)]))),
        false => Err(missing("element", &element)),
    }
}

pub(super) async fn set_add(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let (name, element) = named(&request)?;
    let added = a_set(&desk, &name).add(&element).await.map_err(failed(&desk))?;
    Ok(told(&desk, &name, json!({ "added": added })))
}

pub(super) async fn set_rm(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let (name, element) = named(&request)?;
    let removed = a_set(&desk, &name).remove(&element).await.map_err(failed(&desk))?;
    Ok(told(&desk, &name, json!({ "removed": u64::from(removed) })))
}

pub(super) async fn set_clear(
    desk: Arc<Desk>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let (name, _) = named(&request)?;
    let removed = a_set(&desk, &name).clear().await.map_err(failed(&desk))?;
    Ok(told(&desk, &name, json!({ "removed": numbers::json(removed) })))
}

fn multimap(desk: &Desk, name: &[u8]) -> MultiMap {
    MultiMap::new(&desk.handle, name)
}

pub(super) async fn multi_all(
    desk: Arc<Desk>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let Wanted { after, limit } = wanted(&mut params)?;
    let value = params.bytes("after_value").unwrap_or_default();
    params.finish()?;
    let (name, _) = named(&request)?;
    let after = after.as_deref().map(|after| (after, &value[..]));
    let found = multimap(&desk, &name).page(after, limit).await.map_err(failed(&desk))?;
    let item = |pair: &Pair| fields_of([bytes("key", &pair.key), bytes("value", &pair.value)]);
    Ok(page(&desk, &name, &found, item))
}

pub(super) async fn multi_get(
    desk: Arc<Desk>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let (name, key) = named(&request)?;
    let values = multimap(&desk, &name).get(&key).await.map_err(failed(&desk))?;
    if values.is_empty() {
        return Err(missing("key", &key));
    }
    let values: Vec<Value> =
        values.iter().map(|value| fields_of([bytes("value", value)])).collect();
    let mut body = fields_of([bytes("key", &key)]);
    body["values"] = Value::from(values);
    Ok(told(&desk, &name, body))
}

pub(super) async fn multi_put(
    desk: Arc<Desk>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let (name, key) = named(&request)?;
    let value = value(&desk, request).await?;
    let added = multimap(&desk, &name).put(&key, &value).await.map_err(failed(&desk))?;
    Ok(told(&desk, &name, json!({ "added": added })))
}

pub(super) async fn multi_rm(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let value = params.bytes("value");
    params.finish()?;
    let (name, key) = named(&request)?;
    let map = multimap(&desk, &name);
    let removed = match value {
        Some(value) => u64::from(map.remove(&key, &value).await.map_err(failed(&desk))?),
        None => map.remove_all(&key).await.map_err(failed(&desk))?,
    };
    Ok(told(&desk, &name, json!({ "removed": numbers::json(removed) })))
}

pub(super) async fn multi_clear(
    desk: Arc<Desk>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let (name, _) = named(&request)?;
    let removed = multimap(&desk, &name).clear().await.map_err(failed(&desk))?;
    Ok(told(&desk, &name, json!({ "removed": numbers::json(removed) })))
}

fn a_list(desk: &Desk, name: &[u8]) -> List {
    List::new(&desk.handle, name)
}

fn index_of(text: &Bytes) -> Result<u64, Problem> {
    let index = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    index.ok_or_else(|| Problem::bad_request("a list is asked by numbers, from 0 on"))
}

pub(super) async fn list_all(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let Wanted { after, limit } = wanted(&mut params)?;
    params.finish()?;
    let (name, _) = named(&request)?;
    let found = a_list(&desk, &name).page(after.as_deref(), limit).await.map_err(failed(&desk))?;
    let item = |pair: &Pair| fields_of([bytes("place", &pair.key), bytes("value", &pair.value)]);
    Ok(page(&desk, &name, &found, item))
}

pub(super) async fn list_push(
    desk: Arc<Desk>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let once = once(&mut params)?;
    params.finish()?;
    let (name, _) = named(&request)?;
    let value = value(&desk, request).await?;
    let place = a_list(&desk, &name).push(value, once.as_ref()).await.map_err(failed(&desk))?;
    Ok(told(&desk, &name, fields_of([bytes("place", &place)])))
}

pub(super) async fn list_get(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let (name, index) = named(&request)?;
    let found = a_list(&desk, &name).get(index_of(&index)?).await.map_err(failed(&desk))?;
    found.map(|pair| raw(pair.value)).ok_or_else(|| failed(&desk)(Error::NotThere))
}

pub(super) async fn list_set(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let (name, index) = named(&request)?;
    let (index, value) = (index_of(&index)?, value(&desk, request).await?);
    let before = a_list(&desk, &name).set(index, value).await.map_err(failed(&desk))?;
    let fields = [bytes("place", &before.key), bytes("before", &before.value)];
    Ok(told(&desk, &name, fields_of(fields)))
}

pub(super) async fn list_rm(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let once = once(&mut params)?;
    params.finish()?;
    let (name, index) = named(&request)?;
    let list = a_list(&desk, &name);
    let before = list.remove(index_of(&index)?, once.as_ref()).await.map_err(failed(&desk))?;
    Ok(told(&desk, &name, fields_of([bytes("before", &before)])))
}

pub(super) async fn list_clear(
    desk: Arc<Desk>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let (name, _) = named(&request)?;
    let removed = a_list(&desk, &name).clear().await.map_err(failed(&desk))?;
    Ok(told(&desk, &name, json!({ "removed": numbers::json(removed) })))
}
