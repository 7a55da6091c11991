//! Elections over HTTP: one who leads, those who would, and what is proclaimed.

use super::kv::{KeyField, stamp};
use super::lines::Lines;
use super::locks::{NameField, give_back};
use super::params::{self, BodyLimit, Params};
use super::queues::{self, Shown, Wish, failed, name_of, revision_wanted};
use super::{leases, numbers};
use crate::api::desk::Desk;
use crate::api::problem::Problem;
use crate::coordination::{Election, Error, Observed, Observer, Queue};
use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::{Request, StatusCode};
use muslin_core::base::LeaseId;
use muslin_core::node::{COMMAND_BYTES_MAX, Consistency};
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;

const BEFORE: &str = "/v1/elections/";

/// An election that was won.
#[derive(Serialize)]
struct Won {
    name: NameField,
    #[serde(flatten)]
    key: KeyField,
    #[serde(serialize_with = "numbers::tell")]
    fence: u64,
    lease: String,
}

/// One line of an observation.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Line {
    /// It leads, and proclaims this.
    Leader {
        #[serde(flatten)]
        leader: Shown,
        #[serde(serialize_with = "numbers::tell")]
        index: u64,
    },
    /// Nobody leads, or nobody does any more.
    Vacant {
        #[serde(serialize_with = "numbers::tell")]
        index: u64,
    },
    /// It cannot go on.
    Error { problem: Problem },
}

fn election(desk: &Desk, name: &Bytes) -> Election {
    Election::new(&desk.handle, name.clone())
}

async fn value(desk: &Desk, request: Request<Body>) -> Result<Bytes, Problem> {
    let limit = BodyLimit { bytes: COMMAND_BYTES_MAX, time: desk.patience.body };
    params::body(request, limit).await
}

pub(super) async fn campaign(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let wish = Wish::of(&mut params)?;
    params.finish()?;
    let name = name_of(&request, BEFORE)?;
    let entry = wish.entry(&desk, value(&desk, request).await?)?;
    let waiting = election(&desk, &name).stand(entry).await.map_err(failed(&desk))?;
    let place = wish.turn(&desk, waiting).await?;
    let won = Won {
        name: NameField::of(&name),
        key: KeyField::of(&place.fence.key),
        fence: place.fence.create_revision.0,
        lease: leases::shown(place.lease),
    };
    let headers = stamp(&desk, place.revision, Consistency::Linearizable);
    Ok((headers, Json(won)).into_response())
}

pub(super) async fn proclaim(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let made_by = revision_wanted(&mut params)?;
    params.finish()?;
    let name = name_of(&request, BEFORE)?;
    let value = value(&desk, request).await?;
    let queue = Queue::new(&desk.handle, &name);
    let fence = queues::fence_of(&desk, &queue, made_by).await?;
    let fence = fence.ok_or_else(|| failed(&desk)(Error::NotLeader))?;
    let said = election(&desk, &name).proclaim(&fence, LeaseId(0), value).await;
    let revision = said.map_err(failed(&desk))?;
    let body = json!({ "name": NameField::of(&name), "revision": numbers::json(revision.0) });
    Ok((stamp(&desk, revision, Consistency::Linearizable), Json(body)).into_response())
}

pub(super) async fn resign(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let made_by = revision_wanted(&mut params)?;
    params.finish()?;
    let name = name_of(&request, BEFORE)?;
    let revision = give_back(&desk, &name, made_by).await?;
    let body = json!({ "name": NameField::of(&name), "revision": numbers::json(revision.0) });
    Ok((stamp(&desk, revision, Consistency::Linearizable), Json(body)).into_response())
}

pub(super) async fn show_or_watch(
    desk: Arc<Desk>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let (watch, consistency) = (params.switch("watch")?, params.consistency()?);
    params.finish()?;
    let path = request.uri().path();
    let name = path.strip_prefix(BEFORE).expect("the router matched this path");
    let name = Bytes::from(params::percent_decode(name)?);
    if watch {
        let (lines, response) = Lines::new(&desk, &request);
        let observer = election(&desk, &name).observe();
        tokio::spawn(follow(desk, observer, lines));
        return Ok(response);
    }
    let queue = Queue::new(&desk.handle, &name);
    let (places, revision) = queues::places(&desk, &queue, consistency).await?;
    let Some((leader, others)) = places.split_first() else {
        let detail = format!("nobody leads {}", String::from_utf8_lossy(&name));
        return Err(Problem::new(StatusCode::NOT_FOUND, "not-found", detail)
            .hint("GET /v1/elections lists those that are led"));
    };
    let candidates: Vec<Shown> = others.iter().map(Shown::of).collect();
    let body = json!({
        "name": NameField::of(&name),
        "revision": numbers::json(revision.0),
        "leader": Shown::of(leader),
        "candidates": candidates,
    });
    Ok((stamp(&desk, revision, consistency), Json(body)).into_response())
}

async fn follow(desk: Arc<Desk>, observer: Observer, lines: Lines) {
    tokio::select! {
        () = tell(&desk, observer, &lines) => {}
        () = lines.closed() => {}
        () = desk.stopping() => {}
    }
}

async fn tell(desk: &Desk, mut observer: Observer, lines: &Lines) {
    loop {
        let line = match observer.next().await {
            Ok(Observed::Leader { kv, revision }) => {
                Line::Leader { leader: Shown::of(&kv), index: revision.0 }
            }
            Ok(Observed::Vacant { revision }) => Line::Vacant { index: revision.0 },
            Err(error) => Line::Error { problem: failed(desk)(error) },
        };
        let is_last = matches!(line, Line::Error { .. });
        if lines.write(&line).await.is_err() || is_last {
            return;
        }
    }
}

pub(super) async fn list(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let (prefix, consistency) = (params.bytes("prefix").unwrap_or_default(), params.consistency()?);
    params.finish()?;
    let listed = queues::list(&desk, prefix, consistency).await?;
    // Who leads proclaims something; who holds a lock says nothing.
    let led = listed.queues.iter().filter(|(_, found)| !found.head.value.is_empty());
    let elections: Vec<_> = led
        .map(|(name, found)| {
            json!({
                "name": NameField::of(name),
                "leader": Shown::of(&found.head),
                "candidates": found.waiting,
            })
        })
        .collect();
    let revision = numbers::json(listed.revision.0);
    let body = json!({ "revision": revision, "more": listed.more, "elections": elections });
    Ok((stamp(&desk, listed.revision, consistency), Json(body)).into_response())
}
