//! `muslin kv`

mod edit;
mod history;
mod transfer;
mod txn;

use crate::args::{Consistency, Fenced, Format, Global, Kv, KvPut};
use crate::client::{Call, Client, escape, escape_key};
use crate::failure::{Failure, Kind};
use crate::output::{self, Table, cell};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{HeaderValue, IF_MATCH, IF_NONE_MATCH};
use serde_json::{Value, json};
use std::io::{IsTerminal, Read};
use std::path::Path;

/// Keys asked for at once when all are wanted.
const PAGE: u64 = 1_000;

/// Reads, writes, lists or follows.
pub(crate) async fn run(global: &Global, kv: Kv) -> Result<(), Failure> {
    let format = global.output;
    match kv {
        Kv::Get { key, consistency } => {
            let client = Client::new(global).await?;
            get(&client, format, &key, consistency).await
        }
        Kv::Put(asked) => {
            let call = put(asked)?;
            let body = Client::new(global).await?.json(call).await?;
            let (head, names) = (&["KEY", "REVISION", "LEASE"], ["key", "revision", "lease"]);
            output::body(format, &body, |body| row(head, body, names))
        }
        Kv::Del { key, fenced } => {
            let path = format!("/v1/kv/{}?{}", escape_key(named(&key)?), fence(&fenced));
            let body = Client::new(global).await?.json(Call::delete(&path)).await?;
            if body["deleted"] == 0 {
                output::hint(&format!("there was no key `{key}`"));
            }
            let names = ["deleted", "revision"];
            output::body(format, &body, |body| row(&["DELETED", "REVISION"], body, names))
        }
        Kv::Ls { prefix, limit, consistency, all } => {
            let client = Client::new(global).await?;
            list(&client, format, Listing { prefix, limit, consistency, all }).await
        }
        Kv::Watch { prefix, from, count, all } => {
            let client = Client::new(global).await?;
            watch(&client, format, Watching { prefix, from, count, all }).await
        }
        Kv::History { key, limit } => history::run(global, &key, limit).await,
        Kv::Cas { key, old, new, fenced } => {
            let new = value_of(Some(new))?;
            txn::swap(global, txn::Swap { key, old, new }, &fenced).await
        }
        Kv::Edit { key } => edit::run(global, &key).await,
        Kv::Txn { file, fenced } => txn::run(global, file.as_deref(), &fenced).await,
        Kv::Export { prefix, leased, all } => {
            transfer::export(global, &prefix, transfer::Part { leased, all }).await
        }
        Kv::Import { file, if_absent, check } => {
            let wish = transfer::Wish { if_absent, check };
            transfer::import(global, file.as_deref(), wish).await
        }
        Kv::Compact { revision, physical } => {
            let path =
                format!("/v1/kv:compact?revision={revision}&physical={}", u8::from(physical));
            let body = Client::new(global).await?.json(Call::post(path, "")).await?;
            let names = ["compacted", "revision"];
            output::body(format, &body, |body| row(&["COMPACTED", "REVISION"], body, names))
        }
    }
}

fn put(asked: KvPut) -> Result<Call, Failure> {
    let value = value_of(asked.value)?;
    let mut path = format!("/v1/kv/{}?{}", escape_key(named(&asked.key)?), fence(&asked.fenced));
    if let Some(ttl) = asked.ttl {
        path += &format!("&ttl={}ms", ttl.as_millis());
    }
    if let Some(lease) = asked.lease {
        path += &format!("&lease={}", escape(lease));
    }
    let mut call = Call::put(&path, value);
    if asked.if_absent {
        call = call.header(IF_NONE_MATCH, HeaderValue::from_static("*"));
    }
    if let Some(revision) = asked.if_revision {
        call = call.header(IF_MATCH, tag(revision));
    }
    Ok(call)
}

/// A revision as a header names it.
fn tag(revision: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{revision}\"")).expect("digits in quotes are a header")
}

/// The parameter that has a write rely on a lock; nothing without one.
fn fence(fenced: &Fenced) -> String {
    fenced.fence.as_ref().map_or_else(String::new, |fence| format!("fence={}", escape(fence)))
}

/// What a file holds, or stdin.
fn read(file: Option<&Path>) -> Result<Vec<u8>, Failure> {
    let Some(file) = file.filter(|file| *file != Path::new("-")) else {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes)?;
        return Ok(bytes);
    };
    std::fs::read(file).map_err(|error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => Kind::NotFound,
            _ => Kind::Failed,
        };
        Failure::new(kind, format!("cannot read {}: {error}", file.display()))
    })
}

/// The empty key names the whole space in a path.
fn named(key: &str) -> Result<&str, Failure> {
    match key.is_empty() {
        true => Err(Failure::new(Kind::Usage, "a key has at least one character")),
        false => Ok(key),
    }
}

pub(super) fn value_of(value: Option<String>) -> Result<Vec<u8>, Failure> {
    match value.as_deref() {
        None if std::io::stdin().is_terminal() => {
            let failure = Failure::new(Kind::Usage, "there is no value");
            Err(failure.hint("write it behind the key, or `-` to read it from stdin"))
        }
        None | Some("-") => {
            let mut bytes = Vec::new();
            std::io::stdin().lock().read_to_end(&mut bytes)?;
            Ok(bytes)
        }
        Some(text) => Ok(text.as_bytes().to_vec()),
    }
}

fn row<const N: usize>(head: &'static [&'static str], body: &Value, names: [&str; N]) -> Table {
    let mut table = Table::new(head);
    table.row(names.map(|name| cell(body, name)));
    table
}

pub(super) fn query(consistency: Consistency) -> &'static str {
    match consistency {
        Consistency::Linearizable => "consistency=linearizable",
        Consistency::Lease => "consistency=lease",
        Consistency::Local => "consistency=local",
    }
}

async fn get(
    client: &Client,
    format: Format,
    key: &str,
    consistency: Consistency,
) -> Result<(), Failure> {
    let key = named(key)?;
    let consistency = query(consistency);
    if format == Format::Table {
        let path = format!("/v1/kv/{}?{consistency}", escape_key(key));
        let mut value = client.bytes(Call::get(&path)).await.map_err(|f| missing(f, key))?.to_vec();
        if std::io::stdout().is_terminal() {
            value.push(b'\n');
        }
        return output::bytes(&value);
    }
    // The key itself is the first of those that begin with it.
    let path = format!("/v1/kv?prefix={}&limit=1&{consistency}", escape(key));
    let body = client.json(Call::get(&path)).await?;
    match body["items"].get(0).filter(|item| item["key"] == *key) {
        Some(item) => output::json(item),
        None => Err(missing(Failure::silent(Kind::NotFound), key)),
    }
}

fn missing(failure: Failure, key: &str) -> Failure {
    match failure.kind {
        Kind::NotFound => Failure::new(Kind::NotFound, format!("there is no key `{key}`"))
            .hint("`muslin kv ls` lists the keys"),
        _ => failure,
    }
}

/// Which keys to list.
struct Listing {
    prefix: String,
    limit: Option<u64>,
    consistency: Consistency,
    all: bool,
}

/// With what maps, queues and the like are made of, if all is asked for.
pub(super) fn with_all(all: bool) -> &'static str {
    if all { "&all=1" } else { "" }
}

/// Page by page, so that no answer is large; printed as one list.
async fn list(client: &Client, format: Format, listing: Listing) -> Result<(), Failure> {
    let mut items: Vec<Value> = Vec::new();
    let mut last = Value::Null;
    let mut after: Option<Vec<u8>> = None;
    loop {
        let left = listing.limit.map(|limit| limit - items.len() as u64);
        let mut path = format!("/v1/kv?prefix={}", escape(&listing.prefix));
        path += with_all(listing.all);
        path +=
            &format!("&limit={}&{}", left.unwrap_or(PAGE).min(PAGE), query(listing.consistency));
        if let Some(after) = &after {
            path += &format!("&after={}", escape(after));
        }
        let mut page = client.json(Call::get(&path)).await?;
        let Some(found) = page["items"].as_array_mut().map(std::mem::take) else { break };
        let is_over = found.is_empty() || page["more"] != true;
        after = found.last().map(key_of).transpose()?.or(after);
        items.extend(found);
        last = page;
        if is_over || listing.limit.is_some_and(|limit| items.len() as u64 >= limit) {
            break;
        }
    }
    if items.is_empty() {
        output::hint(&format!("no key begins with `{}`", listing.prefix));
    }
    let count = items.len();
    last["items"] = items.into();
    if format == Format::Json {
        last["count"] = last["count"].as_u64().unwrap_or(0).max(count as u64).into();
        return output::json(&last);
    }
    let mut table = Table::new(&["KEY", "VALUE", "REVISION", "VERSION"]);
    for item in last["items"].as_array().into_iter().flatten() {
        table.row([
            readable(item, "key"),
            readable(item, "value"),
            cell(item, "mod_revision"),
            cell(item, "version"),
        ]);
    }
    table.print()
}

/// A key or value: text as it is; bytes that are no text in base64.
pub(super) fn readable(item: &Value, name: &str) -> String {
    match (item[name].as_str(), item[format!("{name}_b64")].as_str()) {
        (Some(text), _) => text.to_string(),
        (None, Some(b64)) => format!("base64:{b64}"),
        (None, None) => "-".to_string(),
    }
}

/// The bytes of an item's key.
fn key_of(item: &Value) -> Result<Vec<u8>, Failure> {
    bytes_of(item, "key")
}

/// The bytes of a field, which stands as it is or in base64.
pub(super) fn bytes_of(item: &Value, name: &str) -> Result<Vec<u8>, Failure> {
    let bytes = match (item[name].as_str(), item[format!("{name}_b64")].as_str()) {
        (Some(text), _) => Some(text.as_bytes().to_vec()),
        (None, Some(b64)) => STANDARD.decode(b64).ok(),
        (None, None) => None,
    };
    bytes.ok_or_else(|| Failure::new(Kind::Failed, format!("the node told an item without {name}")))
}

/// What to follow.
struct Watching {
    prefix: String,
    from: Option<u64>,
    count: Option<u64>,
    all: bool,
}

async fn watch(client: &Client, format: Format, watching: Watching) -> Result<(), Failure> {
    let mut path = format!("/v1/kv?prefix={}&watch=1", escape(&watching.prefix));
    path += with_all(watching.all);
    if let Some(from) = watching.from {
        path += &format!("&from={from}");
    }
    let mut lines = client.lines(Call::get(&path)).await?;
    let mut changes = 0;
    while watching.count.is_none_or(|count| changes < count) {
        let Some(line) = lines.next().await? else {
            let failure = Failure::new(Kind::Unreachable, "the node ended the watch");
            return Err(failure.hint("go on with --from and the revision after the last one seen"));
        };
        let item: Value = serde_json::from_str(&line).unwrap_or(json!({ "type": "unreadable" }));
        let is_change = item["type"] == "put" || item["type"] == "delete";
        changes += u64::from(is_change);
        match format {
            Format::Json => output::text(&format!("{line}\n"))?,
            Format::Table => output::text(&watch_line(&item))?,
        }
        if item["type"] == "error" {
            return Err(ended(&item["problem"]));
        }
    }
    Ok(())
}

/// Why the node tells a watch no more.
fn ended(problem: &Value) -> Failure {
    let said = |name: &str| output::printable(problem[name].as_str().unwrap_or_default());
    let failure =
        Failure::new(Kind::Unreachable, format!("the node ended the watch: {}", said("detail")));
    failure.hint(said("hint"))
}

/// A line of a watch for people; nothing for what only programs need. What others wrote commands
/// no terminal.
fn watch_line(item: &Value) -> String {
    let kind = cell(item, "type");
    let pair = |revision: &str| {
        [kind.clone(), cell(item, revision), readable(item, "key"), readable(item, "value")]
    };
    match kind.as_str() {
        "item" => output::separated(&pair("mod_revision")),
        "put" => output::separated(&pair("revision")),
        "delete" => output::separated(&pair("revision")[..3]),
        "resync" => output::separated(&[kind, cell(item, "index")]),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_shows_people_changes_and_no_bookkeeping() {
        let put = json!({"type": "put", "key": "a", "value": "1", "revision": 7});
        assert_eq!(watch_line(&put), "put\t7\ta\t1\n");
        let delete = json!({"type": "delete", "key": "a", "revision": 8});
        assert_eq!(watch_line(&delete), "delete\t8\ta\n");
        assert_eq!(watch_line(&json!({"type": "progress", "index": 9})), "");
        let odd = json!({"type": "put", "key": "a\u{1b}[2J\n", "value": "b\t\\", "revision": 9});
        assert_eq!(watch_line(&odd), "put\t9\ta\\u{1b}[2J\\n\tb\\t\\\\\n");
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_in_base64() {
        assert_eq!(readable(&json!({"value_b64": "/w=="}), "value"), "base64:/w==");
        assert_eq!(readable(&json!({"value": "x"}), "value"), "x");
    }

    #[test]
    fn a_list_goes_on_behind_a_key_that_is_no_text() {
        assert_eq!(key_of(&json!({"key": "a"})), Ok(b"a".to_vec()));
        assert_eq!(key_of(&json!({"key_b64": "a/96"})), Ok(b"k\xffz".to_vec()));
        assert!(key_of(&json!({})).is_err());
    }
}
