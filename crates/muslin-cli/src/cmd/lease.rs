//! `muslin lease`

use crate::args::{Global, Lease};
use crate::client::{self, Call, Client};
use crate::failure::{Failure, Kind};
use crate::output::{self, Table, cell};
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// A lease is kept alive this often in its time to live: two may fail.
pub(super) const KEPT_ALIVE_PER_TTL: u32 = 3;

/// What failed is tried again after this part of the time to live.
pub(super) const TRIED_AGAIN_PER_TTL: u32 = 20;

/// Leases asked for at once.
const PAGE: usize = 1_000;

/// Makes, ends, shows, lists, keeps alive.
pub(crate) async fn run(global: &Global, lease: Lease) -> Result<(), Failure> {
    let format = global.output;
    match lease {
        Lease::Grant { ttl, id } => {
            let mut path = format!("/v1/leases?ttl={}ms", ttl.as_millis());
            if let Some(id) = id {
                path += &format!("&id={}", client::escape(id));
            }
            let body = Client::new(global).await?.json(Call::post(path, "")).await?;
            let words = format!("{}\n", cell(&body, "id"));
            output::sentence(format, &body, &words)
        }
        Lease::Revoke { lease } => {
            let body = Client::new(global).await?.json(Call::delete(path(&lease, ""))).await?;
            let words = format!("{} has ended, with its keys\n", cell(&body, "id"));
            output::sentence(format, &body, &words)
        }
        Lease::Ttl { lease } => {
            let body = Client::new(global).await?.json(Call::get(path(&lease, ""))).await?;
            output::body(format, &body, fields)
        }
        Lease::Ls => list(global).await,
        Lease::Keep { lease, once } => keep(global, &lease, once).await,
    }
}

fn path(lease: &str, word: &str) -> String {
    format!("/v1/leases/{}{word}", client::escape(lease))
}

/// Has a lease live its whole time from here; what it has left.
pub(super) async fn kept_alive(global: &Global, lease: &str) -> Result<Value, Failure> {
    Client::new(global).await?.json(Call::post(path(lease, ":keep-alive"), "")).await
}

/// Ends a lease, with its keys.
pub(super) async fn revoked(global: &Global, lease: &str) -> Result<(), Failure> {
    let ended = Client::new(global).await?.json(Call::delete(path(lease, ""))).await;
    match ended {
        // It has ended already.
        Err(failure) if failure.kind == Kind::NotFound => Ok(()),
        other => other.map(drop),
    }
}

/// One row per field, and one per key.
fn fields(lease: &Value) -> Table {
    let mut table = Table::new(&["FIELD", "VALUE"]);
    for name in ["id", "ttl_ms", "left_ms"] {
        table.row([String::from(name), cell(lease, name)]);
    }
    for key in lease["keys"].as_array().into_iter().flatten() {
        table.row([String::from("key"), super::kv::readable(key, "key")]);
    }
    table
}

/// Page by page, printed as one list.
async fn list(global: &Global) -> Result<(), Failure> {
    let client = Client::new(global).await?;
    let mut leases: Vec<Value> = Vec::new();
    let mut last = loop {
        let mut path = format!("/v1/leases?limit={PAGE}");
        if let Some(lease) = leases.last() {
            path += &format!("&after={}", cell(lease, "id"));
        }
        let mut page = client.json(Call::get(path)).await?;
        let found = page["leases"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let is_over = found.is_empty() || page["more"] != true;
        leases.extend(found);
        if is_over {
            break page;
        }
    };
    if leases.is_empty() {
        output::hint("there are no leases; those made with a key are not listed");
    }
    last["leases"] = leases.into();
    output::body(global.output, &last, |body| {
        let mut table = Table::new(&["ID"]);
        for lease in body["leases"].as_array().into_iter().flatten() {
            table.row([cell(lease, "id")]);
        }
        table
    })
}

async fn keep(global: &Global, lease: &str, once: bool) -> Result<(), Failure> {
    let body = kept_alive(global, lease).await?;
    if once {
        return output::body(global.output, &body, fields);
    }
    let millis = body["ttl_ms"].as_u64().unwrap_or_default();
    let ttl = Duration::from_millis(millis.max(1));
    let mut heard = Instant::now();
    let mut due = heard + ttl / KEPT_ALIVE_PER_TTL;
    loop {
        sleep_until(due).await;
        match kept_alive(global, lease).await {
            Ok(_) => {
                heard = Instant::now();
                due = heard + ttl / KEPT_ALIVE_PER_TTL;
            }
            Err(failure) if failure.kind == Kind::NotFound => return Err(failure),
            // Nobody was asked: it may live yet, and its node may be back.
            Err(failure) if heard.elapsed() > ttl => {
                return Err(failure.hint("the lease may have ended"));
            }
            Err(_) => sleep(ttl / TRIED_AGAIN_PER_TTL).await,
        }
    }
}
