//! The groups besides the control group: which there are, who leads, how far this node's replicas
//! are.

use super::params::Params;
use crate::api::desk::Desk;
use crate::api::problem::Problem;
use crate::api::status::name_of;
use crate::driver::GroupError;
use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::Request;
use muslin_core::base::{GroupId, NodeId};
use muslin_core::groups::GroupStatus;
use muslin_core::node::{Consistency, NodeStatus, role_name};
use muslin_core::state::{GroupRecord, Refusal};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One group, as the record has it, and what this node knows.
#[derive(Serialize)]
struct GroupRow {
    id: u64,
    kind: String,
    replicas: Vec<NodeName>,
    /// Whom the record names.
    leader: Option<NodeName>,
    assignment: u64,
    /// The replica on this node, if it keeps one.
    here: Option<Here>,
}

#[derive(Serialize)]
struct NodeName {
    id: String,
    name: String,
}

#[derive(Serialize)]
struct Here {
    role: String,
    term: u64,
    /// Who leads, as this replica knows: a passive one may not have heard.
    leader: Option<NodeName>,
    last: u64,
    commit: u64,
    applied: u64,
}

/// The answer of `GET /v1/groups`.
#[derive(Serialize)]
struct Groups {
    items: Vec<GroupRow>,
}

pub(super) async fn list(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let consistency = params.consistency()?;
    params.finish()?;
    let records = desk.handle.group_records(consistency).await.map_err(|e| problem(&desk, e))?;
    Ok(Json(Groups { items: rows(&desk, records).await? }).into_response())
}

pub(super) async fn one(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let consistency = params.consistency()?;
    params.finish()?;
    let id = id_of(&request)?;
    let records = desk.handle.group_records(consistency).await.map_err(|e| problem(&desk, e))?;
    let record = records.into_iter().find(|record| record.id == id.0);
    let record = record.ok_or_else(|| not_found(id))?;
    let row = rows(&desk, vec![record]).await?.pop();
    Ok(Json(row).into_response())
}

pub(super) async fn create(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let kind = params.text("kind")?.ok_or_else(|| Problem::bad_request("say ?kind=NAME"))?;
    let replicas = params.text("replicas")?;
    params.finish()?;
    let replicas = replicas.ok_or_else(|| Problem::bad_request("say &replicas=NODE,NODE,NODE"))?;
    let replicas = replicas_named(&desk, &replicas).await;
    let made = desk.handle.group_create(&kind, replicas?).await;
    let id = made.map_err(|error| problem(&desk, error))?;
    Ok(Json(json!({ "id": id.0 })).into_response())
}

pub(super) async fn remove(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let id = id_of(&request)?;
    desk.handle.group_remove(id).await.map_err(|error| match error {
        GroupError::Refused(Refusal::GroupNotFound) => not_found(id),
        error => problem(&desk, error),
    })?;
    Ok(Json(json!({ "removed": id.0 })).into_response())
}

fn not_found(id: GroupId) -> Problem {
    Problem::not_found(format!("group {} is not found: there is none, or none any more", id.0))
        .hint("see `muslin group ls`")
}

async fn known(desk: &Desk) -> Result<NodeStatus, Problem> {
    desk.handle.status().await.map_err(|failure| Problem::of_failure(failure, true))
}

async fn rows(desk: &Desk, records: Vec<GroupRecord>) -> Result<Vec<GroupRow>, Problem> {
    let names = known(desk).await?;
    let statuses = desk.handle.group_status(None).await;
    let statuses = statuses.map_err(|failure| Problem::of_failure(failure, true))?;
    let here: BTreeMap<u64, GroupStatus> =
        statuses.into_iter().map(|status| (status.record.id, status)).collect();
    let row = |record: GroupRecord| GroupRow {
        here: here.get(&record.id).map(|status| here_of(status, &names)),
        replicas: record.replicas.iter().map(|id| named(&names, NodeId(*id))).collect(),
        leader: record.leader.map(|id| named(&names, NodeId(id))),
        id: record.id,
        kind: record.kind,
        assignment: record.assignment,
    };
    Ok(records.into_iter().map(row).collect())
}

fn here_of(status: &GroupStatus, names: &NodeStatus) -> Here {
    Here {
        role: role_name(status.role),
        term: status.term.0,
        leader: status.leader.map(|id| named(names, id)),
        last: status.last_index.0,
        commit: status.commit.0,
        applied: status.applied.0,
    }
}

fn named(names: &NodeStatus, id: NodeId) -> NodeName {
    NodeName { id: id.to_string(), name: name_of(names, id) }
}

/// The members with these names or ids. A node that has just started may not have read of them yet:
/// it asks the leader before it says that there is none.
async fn replicas_named(desk: &Desk, asked: &str) -> Result<Vec<NodeId>, Problem> {
    let find = |status: &NodeStatus| -> Result<Vec<NodeId>, Problem> {
        asked.split(',').map(|one| member_named(status, one)).collect()
    };
    if let Ok(found) = find(&known(desk).await?) {
        return Ok(found);
    }
    let caught_up = desk.handle.group_records(Consistency::Linearizable).await;
    caught_up.map_err(|error| problem(desk, error))?;
    find(&known(desk).await?)
}

/// By id, else by name.
fn member_named(status: &NodeStatus, asked: &str) -> Result<NodeId, Problem> {
    if asked.is_empty() {
        return Err(Problem::bad_request("say &replicas=NODE,NODE,NODE, each by its name or id"));
    }
    let members = || status.members.iter();
    let by_id = members().find(|member| NodeId(member.id).to_string() == asked);
    let found = by_id.or_else(|| members().find(|member| member.name == asked));
    found.map(|member| NodeId(member.id)).ok_or_else(|| {
        Problem::not_found(format!("there is no member {asked}")).hint("see `muslin node ls`")
    })
}

fn id_of(request: &Request<Body>) -> Result<GroupId, Problem> {
    let path = request.uri().path();
    let asked = path.strip_prefix("/v1/groups/").expect("the router matched this path");
    let number = asked.parse();
    number.map(GroupId).map_err(|_| Problem::bad_request("the id of a group is a number"))
}

fn problem(desk: &Desk, error: GroupError) -> Problem {
    match error {
        GroupError::Refused(refusal) => Problem::of_refusal(&refusal),
        GroupError::Failed(failure) => {
            Problem::of_failure(failure, desk.handle.glance().leader.is_some())
        }
        GroupError::UnknownKind { kind, known } => {
            let detail =
                format!("this node knows no groups of the kind {kind:?}; nothing happened");
            Problem::bad_request(detail).hint(format!("the kinds it knows: {}", known.join(", ")))
        }
    }
}
