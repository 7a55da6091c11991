//! How the cluster is, who belongs to it, who joins, who leads.

use super::health::is_quorum_answering;
use super::params::{self, BodyLimit, Params};
use crate::api::caller::Caller;
use crate::api::desk::Desk;
use crate::api::problem::Problem;
use crate::api::server::{Admission, Asked};
use crate::api::status::{NodeRow, Quorum, Status, node_rows};
use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, StatusCode};
use muslin_core::base::NodeId;
use muslin_core::node::NodeStatus;
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;

/// Largest request to join: a certificate request and a token are a few kilobytes.
const JOIN_BYTES_MAX: usize = 64 << 10;

async fn known(desk: &Desk) -> Result<NodeStatus, Problem> {
    desk.handle.status().await.map_err(|failure| Problem::of_failure(failure, true))
}

pub(super) async fn status(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let answering = is_quorum_answering(&desk).await;
    let quorum = if answering { Quorum::Answers } else { Quorum::Silent };
    Ok(Json(Status::of(&known(&desk).await?, &desk.facts, quorum)).into_response())
}

/// The answer of `GET /v1/nodes`.
#[derive(Serialize)]
struct Nodes {
    consistency: &'static str,
    items: Vec<NodeRow>,
}

pub(super) async fn list(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let items = node_rows(&known(&desk).await?);
    Ok(Json(Nodes { consistency: "local", items }).into_response())
}

pub(super) async fn one(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let path = request.uri().path();
    let asked = path.strip_prefix("/v1/nodes/").expect("the router matched this path");
    let asked = String::from_utf8_lossy(&params::percent_decode(asked)?).into_owned();
    Ok(Json(named(&known(&desk).await?, &asked)?).into_response())
}

/// By id, else by name.
fn named(status: &NodeStatus, asked: &str) -> Result<NodeRow, Problem> {
    let rows = node_rows(status);
    let found = rows.iter().find(|row| row.id == asked);
    found.or_else(|| rows.iter().find(|row| row.name == asked)).cloned().ok_or_else(|| {
        Problem::not_found(format!("there is no node {asked}")).hint("see `muslin node ls`")
    })
}

pub(super) async fn join(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let (admission, asked) = asked(&desk, request).await?;
    Ok(json_answer(admission.join(asked).await?))
}

pub(super) async fn renew(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let (admission, asked) = asked(&desk, request).await?;
    let node = match asked.caller {
        Caller::Node(node) | Caller::Outdated(node) => node,
        _ => {
            let detail = "only a node can have its own certificate renewed";
            return Err(Problem::new(StatusCode::FORBIDDEN, "not-a-node", detail)
                .hint("`muslin cert rotate` has a running node do it"));
        }
    };
    Ok(json_answer(admission.renew(node, asked).await?))
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
    let caller = request.extensions().get().copied().unwrap_or(Caller::Anonymous);
    let body = params::body(request, limit).await?;
    Ok((admission.clone(), Asked { caller, body }))
}

fn json_answer(answer: Bytes) -> Response {
    let kind = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (kind, answer).into_response()
}

pub(super) async fn transfer(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let to = params.text("to")?.ok_or_else(|| Problem::bad_request("say to whom: ?to=NODE"))?;
    params.finish()?;
    let row = named(&known(&desk).await?, &to)?;
    if row.role != "voter" && row.role != "leader" {
        let detail = format!("{} does not vote, so it cannot lead", row.name);
        return Err(Problem::new(StatusCode::CONFLICT, "conflict", detail));
    }
    let id = NodeId::parse(&row.id).expect("rows are made of ids");
    let leader = desk.handle.glance().leader;
    if let Some(leader) = leader.filter(|leader| *leader != desk.id) {
        let detail = format!("this node does not lead, node {leader} does");
        let hint = "ask that node: GET /v1/nodes names its address";
        return Err(Problem::new(StatusCode::CONFLICT, "not-leader", detail).hint(hint));
    }
    let moved = desk.handle.transfer_leader(id).await;
    moved.map_err(|failure| Problem::of_failure(failure, leader.is_some()))?;
    Ok(Json(json!({ "leader": { "id": row.id, "name": row.name } })).into_response())
}
