//! `muslin counter ..`, `map`, `set`, `multimap`, `list`, `queue` and `barrier`

use super::hold;
use super::kv::{readable, value_of};
use crate::args::{Barrier, Counter, Format, Global, List, Map, Multimap, Queue, Set};
use crate::client::{Call, Client, escape, escape_key};
use crate::failure::{Failure, Kind};
use crate::output::{self, Table, cell};
use hyper::header::{HeaderValue, IF_NONE_MATCH};
use muslin::coordination::collections::Once;
use serde_json::Value;
use std::io::IsTerminal;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Items asked for at once.
const PAGE: u64 = 1_000;

/// Who cannot be asked is asked again after this time.
const PAUSE: Duration = Duration::from_millis(250);

/// Where a thing, or a part of it, is.
fn place(kind: &str, name: &str) -> String {
    format!("/v1/{kind}/{}", escape(name))
}

/// Parts keep their slashes.
fn part(kind: &str, name: &str, part: &str) -> Result<String, Failure> {
    match part.is_empty() {
        true => Err(Failure::new(Kind::Usage, "it has at least one character")),
        false => Ok(format!("{}/{}", place(kind, name), escape_key(part))),
    }
}

/// Prints some fields of the answer to a call.
async fn told(global: &Global, call: Call, fields: &[&str]) -> Result<(), Failure> {
    let body = Client::new(global).await?.json(call).await?;
    say(global, &body, fields)
}

fn say(global: &Global, body: &Value, fields: &[&str]) -> Result<(), Failure> {
    let cells: Vec<String> = fields.iter().map(|field| shown(body, field)).collect();
    output::sentence(global.output, body, &output::separated(&cells))
}

fn shown(body: &Value, field: &str) -> String {
    match body[format!("{field}_b64")].is_string() || body[field].is_string() {
        true => readable(body, field),
        false => cell(body, field),
    }
}

/// The same for what must not be done twice: asked again, by the same identity, while nobody can
/// be asked or no answer comes.
async fn once(
    global: &Global,
    call: impl Fn(&str) -> Call,
    fields: &[&str],
) -> Result<(), Failure> {
    let drawn = Once::drawn().map_err(|error| Failure::new(Kind::Failed, error.to_string()))?;
    let id = format!("id={}", String::from_utf8_lossy(drawn.name()));
    let until = Instant::now() + Duration::from_secs(global.timeout);
    loop {
        let answer = match Client::new(global).await {
            Ok(client) => client.json(call(&id)).await,
            Err(failure) => Err(failure),
        };
        match answer {
            Ok(body) => return say(global, &body, fields),
            Err(failure) if hold::is_passing(&failure) && Instant::now() < until => {
                sleep(PAUSE).await;
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// A value as it is.
async fn raw(global: &Global, path: String) -> Result<(), Failure> {
    let mut value = Client::new(global).await?.bytes(Call::get(path)).await?.to_vec();
    if std::io::stdout().is_terminal() {
        value.push(b'\n');
    }
    output::bytes(&value)
}

/// All items, page by page, printed as one list. A page goes on behind these fields of the last
/// item.
async fn list(
    global: &Global,
    path: &str,
    behind: &[(&str, &str)],
    (head, fields): (&'static [&'static str], &[&str]),
) -> Result<(), Failure> {
    let client = Client::new(global).await?;
    let mut items: Vec<Value> = Vec::new();
    let mut last = loop {
        let mut asked = format!("{path}?limit={PAGE}");
        for (parameter, field) in behind.iter().filter(|_| !items.is_empty()) {
            let item = items.last().unwrap_or(&Value::Null);
            asked += &format!("&{parameter}={}", escape(super::kv::bytes_of(item, field)?));
        }
        let mut page = client.json(Call::get(asked)).await?;
        let found = page["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let is_over = found.is_empty() || page["more"] != true;
        items.extend(found);
        if is_over {
            break page;
        }
    };
    if items.is_empty() {
        output::hint("there is nothing in it");
    }
    last["count"] = items.len().into();
    last["items"] = items.into();
    output::body(global.output, &last, |body| {
        let mut table = Table::new(head);
        for item in body["items"].as_array().into_iter().flatten() {
            table.cells(fields.iter().map(|field| shown(item, field)).collect());
        }
        table
    })
}

pub(crate) async fn counter(global: &Global, counter: Counter) -> Result<(), Failure> {
    let at = |name: &str| place("counters", name);
    match counter {
        Counter::Get { name } => told(global, Call::get(at(&name)), &["value"]).await,
        Counter::Add { name, by } => {
            let path = format!("{}:add?by={by}", at(&name));
            once(global, |id| Call::post(format!("{path}&{id}"), ""), &["value"]).await
        }
        Counter::Set { name, to, expected } => {
            let mut path = format!("{}:set?to={to}", at(&name));
            if let Some(expected) = expected {
                path += &format!("&if={expected}");
            }
            once(global, |id| Call::post(format!("{path}&{id}"), ""), &["value"]).await
        }
        Counter::Rm { name } => told(global, Call::delete(at(&name)), &["removed"]).await,
    }
}

pub(crate) async fn map(global: &Global, map: Map) -> Result<(), Failure> {
    match map {
        Map::Get { name, key } => raw(global, part("maps", &name, &key)?).await,
        Map::Put { name, key, value, if_absent } => {
            let mut call = Call::put(part("maps", &name, &key)?, value_of(value)?);
            if if_absent {
                call = call.header(IF_NONE_MATCH, HeaderValue::from_static("*"));
            }
            told(global, call, &["key", "before"]).await
        }
        Map::Rm { name, key } => {
            told(global, Call::delete(part("maps", &name, &key)?), &["removed", "before"]).await
        }
        Map::Ls { name } => {
            let columns: (&[&str], &[&str]) =
                (&["KEY", "VALUE", "REVISION"], &["key", "value", "mod_revision"]);
            list(global, &place("maps", &name), &[("after", "key")], columns).await
        }
        Map::Clear { name } => clear(global, "maps", &name).await,
    }
}

async fn clear(global: &Global, kind: &str, name: &str) -> Result<(), Failure> {
    told(global, Call::delete(place(kind, name)), &["removed"]).await
}

pub(crate) async fn set(global: &Global, set: Set) -> Result<(), Failure> {
    match set {
        Set::Add { name, element } => {
            told(global, Call::put(part("sets", &name, &element)?, ""), &["added"]).await
        }
        Set::Rm { name, element } => {
            told(global, Call::delete(part("sets", &name, &element)?), &["removed"]).await
        }
        Set::Has { name, element } => {
            told(global, Call::get(part("sets", &name, &element)?), &["element"]).await
        }
        Set::Ls { name } => {
            let columns: (&[&str], &[&str]) = (&["ELEMENT"], &["element"]);
            list(global, &place("sets", &name), &[("after", "element")], columns).await
        }
        Set::Clear { name } => clear(global, "sets", &name).await,
    }
}

pub(crate) async fn multimap(global: &Global, map: Multimap) -> Result<(), Failure> {
    match map {
        Multimap::Get { name, key } => {
            let call = Call::get(part("multimaps", &name, &key)?);
            let body = Client::new(global).await?.json(call).await?;
            output::body(global.output, &body, |body| {
                let mut table = Table::new(&["VALUE"]);
                for value in body["values"].as_array().into_iter().flatten() {
                    table.row([shown(value, "value")]);
                }
                table
            })
        }
        Multimap::Put { name, key, value } => {
            told(global, Call::post(part("multimaps", &name, &key)?, value), &["added"]).await
        }
        Multimap::Rm { name, key, value } => {
            let mut path = part("multimaps", &name, &key)?;
            if let Some(value) = value {
                path += &format!("?value={}", escape(value));
            }
            told(global, Call::delete(path), &["removed"]).await
        }
        Multimap::Ls { name } => {
            let columns: (&[&str], &[&str]) = (&["KEY", "VALUE"], &["key", "value"]);
            let behind = [("after", "key"), ("after_value", "value")];
            list(global, &place("multimaps", &name), &behind, columns).await
        }
        Multimap::Clear { name } => clear(global, "multimaps", &name).await,
    }
}

pub(crate) async fn list_of(global: &Global, of: List) -> Result<(), Failure> {
    let at = |name: &str, index: u64| format!("{}/{index}", place("lists", name));
    match of {
        List::Push { name, value } => {
            let (path, value) = (place("lists", &name), value_of(value)?);
            once(global, |id| Call::post(format!("{path}?{id}"), value.clone()), &["place"]).await
        }
        List::Get { name, index } => raw(global, at(&name, index)).await,
        List::Set { name, index, value } => {
            told(global, Call::put(at(&name, index), value_of(value)?), &["before"]).await
        }
        List::Rm { name, index } => {
            let path = at(&name, index);
            once(global, |id| Call::delete(format!("{path}?{id}")), &["before"]).await
        }
        List::Ls { name } => {
            let columns: (&[&str], &[&str]) = (&["VALUE"], &["value"]);
            list(global, &place("lists", &name), &[("after", "place")], columns).await
        }
        List::Clear { name } => clear(global, "lists", &name).await,
    }
}

pub(crate) async fn queue(global: &Global, queue: Queue) -> Result<(), Failure> {
    match queue {
        Queue::Push { name, value } => {
            let (path, value) = (place("queues", &name), value_of(value)?);
            once(global, |id| Call::post(format!("{path}?{id}"), value.clone()), &["item"]).await
        }
        Queue::Pop { name } => {
            let path = place("queues", &name);
            once(global, |id| Call::post(format!("{path}:pop?{id}"), ""), &["value"]).await
        }
        Queue::Work(work) => hold::work(global, work).await,
        Queue::Ls { name } => {
            let columns: (&[&str], &[&str]) =
                (&["ITEM", "VALUE", "FENCE"], &["item", "value", "fence"]);
            list(global, &place("queues", &name), &[("after", "item")], columns).await
        }
        Queue::Clear { name } => clear(global, "queues", &name).await,
    }
}

/// Waits until all are there, and leaves: whoever comes behind is of the next.
pub(crate) async fn barrier(global: &Global, barrier: Barrier) -> Result<(), Failure> {
    let at = place("barriers", &barrier.name);
    let (parties, ttl) = (barrier.parties, barrier.ttl.as_millis());
    let mut path = format!("{at}:enter?parties={parties}&ttl={ttl}ms");
    let mut time = hold::FOR_EVER;
    if let Some(wait) = barrier.wait {
        path += &format!("&wait={}ms", wait.as_millis());
        time = wait + Duration::from_secs(global.timeout);
    }
    let entered = Client::patient(global, time).await?.json(Call::post(path, "")).await?;
    let leave = Call::post(format!("{at}:leave?fence={}", cell(&entered, "fence")), "");
    if let Err(failure) = Client::new(global).await?.json(leave).await {
        output::hint(&format!("could not leave: {failure}; this one counts for {ttl} ms more"));
    }
    match global.output {
        Format::Json => output::json(&entered),
        Format::Table => Ok(()),
    }
}
