//! Who joins, and nodes whose papers are renewed.

use super::params::{self, BodyLimit, Params};
use crate::api::caller::Caller;
use crate::api::desk::Desk;
use crate::api::problem::Problem;
use crate::api::server::{Admission, Asked};
use crate::api::visitor::Visitor;
use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, StatusCode};
use muslin_core::node::Event;
use serde::Deserialize;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;

/// Largest request to join: a certificate request and a token are a few kilobytes.
const JOIN_BYTES_MAX: usize = 64 << 10;

/// Largest word about a copy: an address.
const COPY_BYTES_MAX: usize = 1 << 10;

pub(super) async fn join(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let (admission, asked) = asked(&desk, request).await?;
    let body = asked.body.clone();
    let answer = admission.join(asked).await;
    Ok(json_answer(answer.inspect_err(|problem| desk.chronicle.refused(&name_in(&body), problem))?))
}

pub(super) async fn renew(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let (admission, asked) = asked(&desk, request).await?;
    let node = match asked.caller {
        Caller::Node(node) | Caller::Outdated(node) | Caller::Removed(node) => node,
        _ => {
            let detail = "only a node can have its own certificate renewed";
            return Err(Problem::new(StatusCode::FORBIDDEN, "not-a-node", detail)
                .hint("`muslin cert rotate` has a running node do it"));
        }
    };
    Ok(json_answer(admission.renew(node, asked).await?))
}

/// Another process that has this node's identity says so, since it is about to start, or has to
/// end: it can only have that from a copy of the data directory.
pub(super) async fn copied(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let caller = Visitor::caller(&request);
    if caller != Caller::Node(desk.id) {
        let detail = "only a process that has the identity of this node can say so";
        return Err(Problem::new(StatusCode::FORBIDDEN, "not-this-node", detail)
            .hint("what is seen of copies, `muslin events` tells"));
    }
    let limit = BodyLimit { bytes: COPY_BYTES_MAX, time: desk.patience.body };
    let body = params::body(request, limit).await?;
    let said: CopySaid = serde_json::from_slice(&body)
        .map_err(|error| Problem::bad_request(format!("line {}: {error}", error.line())))?;
    let own = desk.facts.addr.clone();
    let what = match said.runs {
        true => format!(
            "at {own}, which goes on, and was at {}: that one ends, since this one was started \
             later from another copy of its data directory",
            said.address
        ),
        false => format!(
            "at {own}, which goes on, and somebody tried to start a copy of its data directory at \
             {}: it was refused",
            said.address
        ),
    };
    tracing::error!("another process has this node's identity: {what}");
    if let (Some(roster), Ok(at)) = (&desk.roster, own.parse()) {
        // Whoever asks for the status learns of it too. It is told of here.
        roster.note_copied(desk.id, at, said.address);
        roster.take_copied();
    }
    desk.handle.report(Event::Copied { node: desk.id, what }).await;
    Ok(Json(json!({ "node": desk.id.to_string(), "addr": own })).into_response())
}

/// What such a process says.
#[derive(Deserialize)]
struct CopySaid {
    /// Where it would be, or was.
    address: SocketAddr,
    /// It has run.
    #[serde(default)]
    runs: bool,
}

/// What a joiner calls itself, as far as that can be read.
fn name_in(body: &[u8]) -> String {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    body["name"].as_str().unwrap_or_default().to_string()
}

async fn asked(
    desk: &Desk,
    request: Request<Body>,
) -> Result<(Arc<dyn Admission>, Asked), Problem> {
    Params::of(&request)?.finish()?;
    let Some(admission) = &desk.join else {
        let detail = "this node admits nobody";
        return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "not-offered", detail)
            .hint("ask another node of the cluster"));
    };
    let limit = BodyLimit { bytes: JOIN_BYTES_MAX, time: desk.patience.body };
    let caller = Visitor::caller(&request);
    let body = params::body(request, limit).await?;
    Ok((admission.clone(), Asked { caller, body }))
}

fn json_answer(answer: Bytes) -> Response {
    let kind = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (kind, answer).into_response()
}
