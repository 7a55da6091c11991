//! What operators have done: to members, to joins that wait, to the cluster.
//!
//! Any node may be asked: a change of the record travels to the leader as every write does, and so
//! does the wish that another should lead. What the record refuses it refuses with the numbers, and
//! nothing has happened then.

use super::kv::{settle, stamp, unexpected};
use super::ops;
use super::params::{self, BodyLimit, Params};
use super::views::{Look, Wish, known, look, name_row, node_in_path};
use crate::api::caller::Caller;
use crate::api::desk::Desk;
use crate::api::problem::Problem;
use crate::api::status::{name_of, rfc3339, standing_name, vote_name};
use crate::api::visitor::Visitor;
use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::{Request, StatusCode};
use muslin_core::base::{NodeId, Revision};
use muslin_core::node::{Consistency, NodeStatus};
use muslin_core::state::{
    self, Admission, Approve, ChangeLabels, ChangeRoles, Command, CommandKind, HeldJoin,
    HoldReason, Member, Membership, MembershipChange, NAME_BYTES_MAX, RaiseEpoch, RaisedFor,
    Remove, Whom,
};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Largest body: all labels a node may have, many times over.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Longest word for who asked that the record takes.
const BY_BYTES_MAX: usize = 64;

/// Who asks, and when.
pub(super) struct Asker {
    by: String,
    unix_ms: u64,
}

impl Asker {
    pub(super) fn of(desk: &Desk, request: &Request<Body>) -> Asker {
        let caller = Visitor::caller(request);
        let mut by = match caller {
            Caller::Certified => String::from("an administrator"),
            Caller::Node(node) => format!("node {node}"),
            _ => format!("someone on the machine of {}", desk.facts.name),
        };
        while by.len() > BY_BYTES_MAX {
            by.pop();
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Asker { by, unix_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX) }
    }

    pub(super) fn wants(self, change: MembershipChange) -> CommandKind {
        let Asker { by, unix_ms } = self;
        CommandKind::Membership(Membership { unix_ms, by, change: Some(change) }.into())
    }
}

pub(super) async fn write(
    desk: &Desk,
    kind: CommandKind,
) -> Result<(state::Response, Revision), Problem> {
    settle(desk, desk.handle.write(Command::of(kind)).await).map_err(advise)
}

/// What to do about what the record refuses.
fn advise(problem: Problem) -> Problem {
    let hint = match problem.code {
        _ if !problem.hint.is_empty() => return problem,
        "quorum-needed" => "`muslin cluster quorum` shows who votes and who answers",
        "not-found" => "`muslin node ls` lists the members, `muslin node held` who waits",
        "conflict" => "`muslin explain node/NAME` says how a node stands",
        _ => return problem,
    };
    problem.hint(hint)
}

/// The member of this id, or of this name. A node that has just started may not have read of it:
/// it asks a quorum before it says that there is none.
async fn member(desk: &Desk, asked: &str) -> Result<Member, Problem> {
    let find = |members: &[Member]| {
        let by_id = members.iter().find(|one| one.node().to_string() == asked);
        by_id.or_else(|| members.iter().find(|one| one.name == asked)).cloned()
    };
    if let Some(found) = find(&known(desk).await?.members) {
        return Ok(found);
    }
    let missing = || {
        let detail = format!("there is no member {asked}; nothing happened");
        Problem::not_found(detail).hint("see `muslin node ls`")
    };
    find(&fresh(desk).await?.record.members).ok_or_else(missing)
}

pub(super) async fn fresh(desk: &Desk) -> Result<Look, Problem> {
    look(desk, Wish::fresh()).await
}

/// Who is asked about, for a route that ends with a colon and this word.
fn target(request: &Request<Body>, word: &str) -> Result<String, Problem> {
    node_in_path(request, &format!(":{word}"))
}

/// One of the changes that name a member and nothing else.
async fn change_one(
    desk: Arc<Desk>,
    request: Request<Body>,
    word: &'static str,
    change: fn(Whom) -> MembershipChange,
) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let (asker, asked) = (Asker::of(&desk, &request), target(&request, word)?);
    change_named(&desk, asker, &asked, change).await
}

async fn change_named(
    desk: &Desk,
    asker: Asker,
    asked: &str,
    change: fn(Whom) -> MembershipChange,
) -> Result<Response, Problem> {
    let member = member(desk, asked).await?;
    let change = change(Whom { id: member.id });
    let op = ops::id_of_change(&change);
    changed(desk, op, write(desk, asker.wants(change)).await?).await
}

/// The answer of a change of one member, with the operation that it begins, if it does.
async fn changed(
    desk: &Desk,
    op: Option<String>,
    (response, revision): (state::Response, Revision),
) -> Result<Response, Problem> {
    let state::Response::Member { member, changed } = response else { return Err(unexpected()) };
    let body = json!({
        "id": member.node().to_string(),
        "name": member.name,
        "changed": changed,
        "standing": standing_name(&member),
        "vote": vote_name(&member),
        "roles": member.roles,
        "labels": member.labels,
        "zone": member.zone,
    });
    let headers = stamp(desk, revision, Consistency::Linearizable);
    ops::begun_by(desk, (op, body), headers).await
}

pub(super) async fn drain(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    change_one(desk, request, "drain", MembershipChange::Drain).await
}

pub(super) async fn resume(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    change_one(desk, request, "resume", MembershipChange::Resume).await
}

pub(super) async fn promote(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    wish(desk, request, "promote", MembershipChange::Promote).await
}

pub(super) async fn demote(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    wish(desk, request, "demote", MembershipChange::Demote).await
}

/// Whether a member is to vote, or with `undo` the planner's choice again.
async fn wish(
    desk: Arc<Desk>,
    request: Request<Body>,
    word: &'static str,
    change: fn(Whom) -> MembershipChange,
) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let is_undone = params.switch("undo")?;
    params.finish()?;
    let change = if is_undone { MembershipChange::VoteAuto } else { change };
    let (asker, asked) = (Asker::of(&desk, &request), target(&request, word)?);
    change_named(&desk, asker, &asked, change).await
}

pub(super) async fn remove(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let force = params.switch("force")?;
    params.finish()?;
    let member = member(&desk, &target(&request, "remove")?).await?;
    let Asker { unix_ms, .. } = Asker::of(&desk, &request);
    let removal = CommandKind::Remove(Remove { id: member.id, force, unix_ms });
    let (_, revision) = write(&desk, removal).await?;
    let body = json!({ "removed": { "id": member.node().to_string(), "name": member.name } });
    Ok((stamp(&desk, revision, Consistency::Linearizable), Json(body)).into_response())
}

/// What is asked of the roles of a member.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Roles {
    add: Vec<String>,
    remove: Vec<String>,
}

/// What is asked of the labels of a member.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Labels {
    set: BTreeMap<String, String>,
    remove: Vec<String>,
    zone: Option<String>,
}

pub(super) async fn body<T: for<'a> Deserialize<'a>>(
    desk: &Desk,
    request: Request<Body>,
) -> Result<T, Problem> {
    let limit = BodyLimit { bytes: BODY_BYTES_MAX, time: desk.patience.body };
    let bytes = params::body(request, limit).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Problem::bad_request(format!("the body is not what is taken: {error}")))
}

pub(super) async fn roles(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let member = member(&desk, &target(&request, "roles")?).await?;
    let asker = Asker::of(&desk, &request);
    let Roles { add, remove } = body(&desk, request).await?;
    let change = MembershipChange::ChangeRoles(ChangeRoles { id: member.id, add, remove });
    changed(&desk, None, write(&desk, asker.wants(change)).await?).await
}

pub(super) async fn labels(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let member = member(&desk, &target(&request, "labels")?).await?;
    let asker = Asker::of(&desk, &request);
    let Labels { set, remove, zone } = body(&desk, request).await?;
    if set.contains_key("") {
        let detail = format!("the key of a label is 1 to {NAME_BYTES_MAX} bytes; nothing happened");
        return Err(Problem::bad_request(detail).hint("{\"set\": {KEY: VALUE}}"));
    }
    let change = ChangeLabels { id: member.id, set, remove, zone };
    let change = MembershipChange::ChangeLabels(change);
    changed(&desk, None, write(&desk, asker.wants(change)).await?).await
}

/// What a node requires to be admitted and nobody who lives performs.
pub(super) fn missing_roles(wanted: &Member, look: &Look) -> Vec<String> {
    let is_met = |role: &&String| {
        let mut living = look.record.members.iter().filter(|one| one.is_living());
        wanted.performs(role) || living.any(|one| one.performs(role))
    };
    wanted.requires_for_bootstrap.iter().filter(|role| !is_met(role)).cloned().collect()
}

/// The join that waits under this id, or this name.
async fn waiting(desk: &Desk, asked: &str) -> Result<HeldJoin, Problem> {
    let held = fresh(desk).await?.record.held;
    let is_it =
        |one: &&HeldJoin| !asked.is_empty() && one.member.node().to_string().starts_with(asked);
    let mut by_beginning = held.iter().filter(is_it);
    // The beginning of an id, when it fits one only.
    let by_id = by_beginning.next().filter(|_| by_beginning.next().is_none());
    let found = by_id.or_else(|| held.iter().find(|one| one.member.name == asked)).cloned();
    found.ok_or_else(|| {
        let detail = format!("no join of {asked} waits; nothing happened");
        Problem::not_found(detail).hint("`muslin node held` lists those that wait")
    })
}

pub(super) async fn approve(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let force = params.switch("force")?;
    params.finish()?;
    let held = waiting(&desk, &target(&request, "approve")?).await?;
    let id = held.member.id;
    let change = MembershipChange::Approve(Approve { id, force });
    let asker = Asker::of(&desk, &request);
    let (response, revision) = write(&desk, asker.wants(change)).await?;
    let state::Response::Admission(admission) = response else { return Err(unexpected()) };
    let mut answer = json!({ "id": held.member.node().to_string(), "name": held.member.name });
    match admission {
        Admission::Admitted { epoch, .. } => {
            answer["admitted"] = json!(true);
            answer["epoch"] = json!(epoch.0);
        }
        Admission::Held { reason, expires_unix_ms } => {
            answer["admitted"] = json!(false);
            answer["waits_for"] = json!(match reason {
                HoldReason::Approval => vec![String::from("approval")],
                HoldReason::Roles(roles) => roles,
            });
            answer["expires"] = json!(rfc3339(expires_unix_ms));
        }
    }
    Ok((stamp(&desk, revision, Consistency::Linearizable), Json(answer)).into_response())
}

pub(super) async fn deny(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let held = waiting(&desk, &target(&request, "deny")?).await?;
    let change = MembershipChange::Deny(Whom { id: held.member.id });
    let asker = Asker::of(&desk, &request);
    let (_, revision) = write(&desk, asker.wants(change)).await?;
    let denied = json!({ "id": held.member.node().to_string(), "name": held.member.name });
    let headers = stamp(&desk, revision, Consistency::Linearizable);
    Ok((headers, Json(json!({ "denied": denied }))).into_response())
}

pub(super) async fn bump_epoch(
    desk: Arc<Desk>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let from = fresh(&desk).await?.record.epoch;
    let raise = RaiseEpoch { from: from.0, why: RaisedFor::Asked.into(), survivor: 0, to: 0 };
    let asker = Asker::of(&desk, &request);
    let (response, revision) =
        write(&desk, asker.wants(MembershipChange::RaiseEpoch(raise))).await?;
    let state::Response::Epoch { epoch, collected } = response else { return Err(unexpected()) };
    let body = json!({ "before": from.0, "epoch": epoch.0, "collected": collected });
    Ok((stamp(&desk, revision, Consistency::Linearizable), Json(body)).into_response())
}

pub(super) async fn transfer(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let to = params.text("to")?;
    params.finish()?;
    let status = known(&desk).await?;
    let to = match to {
        Some(asked) => member(&desk, &asked).await?.node(),
        None => next_leader(&status)?,
    };
    if !status.configuration.is_voter(to) {
        let name = name_of(&status, to);
        let detail = format!("{name} does not vote, so it cannot lead; nothing happened");
        return Err(Problem::new(StatusCode::CONFLICT, "conflict", detail)
            .hint("`muslin cluster quorum` shows who votes"));
    }
    let moved = desk.handle.transfer_leader(to).await;
    moved.map_err(|failure| Problem::of_failure(failure, status.leader.is_some()))?;
    let before = status.leader.map(|id| name_row(&status, id));
    Ok(Json(json!({ "before": before, "leader": name_row(&status, to) })).into_response())
}

/// The voter that is heard and stands next to the one that leads.
fn next_leader(status: &NodeStatus) -> Result<NodeId, Problem> {
    use muslin_core::swim::Liveness;
    let is_heard = |id: &NodeId| {
        let seen = status.view.iter().find(|entry| entry.node == *id);
        seen.is_some_and(|entry| entry.state == Liveness::Alive) && !status.silent.contains(id)
    };
    let leader = status.leader.unwrap_or(status.id);
    let voters = || status.configuration.voters.iter().copied();
    let behind = voters().filter(|id| *id > leader);
    let mut in_order = behind.chain(voters().filter(|id| *id < leader));
    in_order.find(is_heard).ok_or_else(|| {
        let detail = "no other voter answers, so nobody can take over; nothing happened";
        Problem::new(StatusCode::CONFLICT, "conflict", detail)
            .hint("`muslin cluster quorum` shows who votes and who answers")
    })
}
