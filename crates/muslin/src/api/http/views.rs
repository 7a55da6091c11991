//! What the answering node knows of the cluster, and how old that is.
//!
//! A view rests on two things: the record, read as fresh as the caller asks, and the node's own
//! opinion of who is alive, which is local whatever is asked. Without a quorum a local read still
//! answers, and says since when nothing was heard.

use super::health::{QUORUM_TIMEOUT, is_quorum_answering};
use super::kv::{ask, consistency_name, stamp, unexpected};
use super::lines::Following;
use super::nodes_watch;
use super::params::{self, Params};
use crate::api::desk::Desk;
use crate::api::problem::Problem;
use crate::api::status::{NodeName, NodeRow, Quorum, Status, millis, name_of, node_rows};
use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::header::HeaderMap;
use hyper::{Request, StatusCode};
use muslin_core::base::{NodeId, Revision};
use muslin_core::node::{Consistency, FedMember, NodeStatus};
use muslin_core::state::{self, HoldState, Query, RecordView};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// A node that has heard nothing of a leader for longer than this has no quorum behind it, as far
/// as it can tell: some elections have passed.
const STALE_AFTER: Duration = QUORUM_TIMEOUT;

/// How fresh a view is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) consistency: Consistency,
    max_staleness: Option<Duration>,
}

impl Wish {
    /// As the parameters say; local when they say nothing, so that it is answered.
    pub(super) fn of(params: &mut Params) -> Result<Wish, Problem> {
        let consistency = params.consistency_said()?.unwrap_or(Consistency::Local);
        Ok(Wish { consistency, max_staleness: params.duration("max_staleness")? })
    }

    /// For a read of keys: linearizable when nothing is said.
    pub(super) fn of_keys(params: &mut Params) -> Result<Wish, Problem> {
        let consistency = params.consistency()?;
        Ok(Wish { consistency, max_staleness: params.duration("max_staleness")? })
    }

    /// Refuses what this node knows if it is older than was wished.
    pub(super) fn check(self, desk: &Desk) -> Result<(), Problem> {
        match (self.max_staleness, self.consistency) {
            (Some(most), Consistency::Local) => check_age(desk.handle.glance().staleness(), most),
            _ => Ok(()),
        }
    }

    /// Of now.
    pub(super) fn fresh() -> Wish {
        Wish { consistency: Consistency::Linearizable, max_staleness: None }
    }
}

/// What is known at one moment.
pub(super) struct Look {
    pub(super) status: NodeStatus,
    pub(super) record: RecordView,
    pub(super) basis: Basis,
    pub(super) headers: HeaderMap,
}

/// What an answer rests on.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct Basis {
    /// Who answers.
    answered_by: NodeName,
    consistency: &'static str,
    /// Epoch and revision.
    index: String,
    /// How old it may be; `null` when the node has heard no leader since its start.
    staleness_ms: Option<u64>,
    /// Why nobody is admitted or removed at present; `null` when there is a quorum, as far as the
    /// node can tell.
    pub(super) degraded: Option<String>,
}

/// Reads the record as fresh as is wished, and then what the node sees.
pub(super) async fn look(desk: &Desk, wish: Wish) -> Result<Look, Problem> {
    let staleness = match wish.consistency {
        Consistency::Local => desk.handle.glance().staleness(),
        Consistency::Linearizable | Consistency::Lease => Some(Duration::ZERO),
    };
    if let Some(most) = wish.max_staleness {
        check_age(staleness, most)?;
    }
    let (response, revision) = ask(desk, Query::Record, wish.consistency).await?;
    let state::Response::Record(record) = response else { return Err(unexpected()) };
    let status = known(desk).await?;
    let headers = stamp(desk, revision, wish.consistency);
    let basis = Basis {
        answered_by: NodeName { id: desk.id.to_string(), name: desk.facts.name.clone() },
        consistency: consistency_name(wish.consistency),
        index: index_of(&record, revision),
        staleness_ms: staleness.map(millis),
        degraded: degraded(&status, staleness),
    };
    Ok(Look { status, record: *record, basis, headers })
}

fn index_of(record: &RecordView, revision: Revision) -> String {
    format!("{}.{revision}", record.epoch)
}

fn check_age(staleness: Option<Duration>, most: Duration) -> Result<(), Problem> {
    let age = match staleness {
        Some(age) if age <= most => return Ok(()),
        Some(age) => format!("{} ms old", age.as_millis()),
        None => String::from("of unknown age: it has heard no leader since it started"),
    };
    let detail = format!(
        "what this node knows is {age}, and at most {} ms were asked for",
        most.as_millis()
    );
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too-stale", detail)
        .hint("ask another node, ask with consistency=linearizable, or allow more")
        .retryable())
}

/// Why nothing can be decided at present, by what this node has heard.
fn degraded(status: &NodeStatus, staleness: Option<Duration>) -> Option<String> {
    const CLOSED: &str = "nobody is admitted or removed until a quorum of voters answers";
    let why = match (status.leader, staleness) {
        (None, _) => String::from("no leader is known here"),
        (Some(leader), None) => format!("nothing was heard of {} yet", name_of(status, leader)),
        (Some(leader), Some(age)) if age > STALE_AFTER => {
            let name = name_of(status, leader);
            format!("nothing was heard of the leader, {name}, for {} ms", age.as_millis())
        }
        _ => return None,
    };
    Some(format!("{why}: {CLOSED}"))
}

/// What the node is and knows.
pub(super) async fn known(desk: &Desk) -> Result<NodeStatus, Problem> {
    desk.handle.status().await.map_err(|failure| Problem::of_failure(failure, true))
}

/// Asks a quorum, so that the sentence is about now.
async fn judge(desk: &Desk) -> Quorum {
    if is_quorum_answering(desk).await { Quorum::Answers } else { Quorum::Silent }
}

/// The answer of `GET /v1/status`.
#[derive(Serialize)]
struct StatusAnswer {
    #[serde(flatten)]
    status: Status,
    #[serde(flatten)]
    basis: Basis,
}

pub(super) async fn status(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let wish = Wish::of(&mut params)?;
    params.finish()?;
    let quorum = judge(&desk).await;
    let Look { status, mut basis, headers, .. } = look(&desk, wish).await?;
    let status = judged(&desk, &status, quorum);
    basis.correct(quorum, &status.sentence);
    Ok((headers, Json(StatusAnswer { status, basis })).into_response())
}

fn judged(desk: &Desk, known: &NodeStatus, quorum: Quorum) -> Status {
    let mut status = Status::of(known, &desk.facts, quorum);
    let copied = desk.roster.as_ref().map(|roster| roster.copied_lately()).unwrap_or_default();
    status.warn_of_copies(known, &copied);
    status
}

impl Basis {
    /// A quorum was asked: that is surer than what was heard.
    fn correct(&mut self, quorum: Quorum, sentence: &str) {
        match quorum {
            Quorum::Answers => self.degraded = None,
            Quorum::Silent => {
                self.degraded.get_or_insert_with(|| {
                    format!("{sentence}; nobody is admitted or removed until then")
                });
            }
        }
    }
}

/// The answer of `GET /v1/nodes`.
#[derive(Serialize)]
struct Nodes {
    #[serde(flatten)]
    basis: Basis,
    items: Vec<NodeRow>,
}

pub(super) async fn list(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    if let Some(following) = Following::of(&request, &mut params)? {
        let answered = nodes_watch::answer(desk, &request, (following, params))?;
        return answered.response().await;
    }
    let wish = Wish::of(&mut params)?;
    params.finish()?;
    let Look { status, basis, headers, .. } = look(&desk, wish).await?;
    Ok((headers, Json(Nodes { basis, items: node_rows(&status) })).into_response())
}

pub(super) async fn one(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let wish = Wish::of(&mut params)?;
    params.finish()?;
    let asked = node_in_path(&request, "")?;
    let Look { status, headers, .. } = look(&desk, wish).await?;
    Ok((headers, Json(named(&status, &asked)?)).into_response())
}

/// The name or id between `/v1/nodes/` and what stands behind it.
pub(super) fn node_in_path(request: &Request<Body>, behind: &str) -> Result<String, Problem> {
    let path = request.uri().path();
    let asked = path.strip_prefix("/v1/nodes/").and_then(|rest| rest.strip_suffix(behind));
    let asked = asked.expect("the router matched this path");
    let asked = params::percent_decode(asked)?;
    Ok(String::from_utf8_lossy(&asked).into_owned())
}

/// By id, else by name.
pub(super) fn named(status: &NodeStatus, asked: &str) -> Result<NodeRow, Problem> {
    let rows = node_rows(status);
    let found = rows.iter().find(|row| row.id == asked);
    found.or_else(|| rows.iter().find(|row| row.name == asked)).cloned().ok_or_else(|| {
        Problem::not_found(format!("there is no node {asked}")).hint("see `muslin node ls`")
    })
}

/// A node by its id, with its name.
pub(super) fn name_row(status: &NodeStatus, id: NodeId) -> NodeName {
    NodeName { id: id.to_string(), name: name_of(status, id) }
}

pub(super) async fn cluster(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let wish = Wish::of(&mut params)?;
    params.finish()?;
    let look = look(&desk, wish).await?;
    Ok((look.headers.clone(), Json(cluster_body(&desk, &look))).into_response())
}

fn cluster_body(desk: &Desk, look: &Look) -> Value {
    let Look { status, record, basis, .. } = look;
    let names = |ids: &mut dyn Iterator<Item = NodeId>| -> Vec<NodeName> {
        ids.map(|id| name_row(status, id)).collect()
    };
    let configuration = &status.configuration;
    let settings = &record.settings;
    let keys = record.gossip_keys.iter();
    let keys: Vec<Value> = keys
        .map(|(generation, seals)| json!({ "generation": generation, "seals": seals }))
        .collect();
    let mut body = json!({
        "id": desk.cluster.to_string(),
        "name": desk.facts.cluster_name,
        "epoch": record.epoch.0,
        "leader": status.leader.map(|id| name_row(status, id)),
        "term": status.term.0,
        "voters": names(&mut configuration.voters.iter().copied()),
        "outgoing_voters": names(&mut configuration.outgoing.iter().copied()),
        "learners": names(&mut configuration.learners.iter().copied()),
        "fed": fed_rows(status),
        "fed_by": status.fed_by.map(|fed| name_row(status, fed.voter)),
        "members": record.size.members,
        "living": record.size.living,
        "min_members": record.size.min_members,
        "too_small": record.size.is_too_small(),
        "joins_waiting": waiting(record),
        "tombstones": record.tombstones.len(),
        "gossip_keys": keys,
        "settings": super::settings::plain(settings),
    });
    merge(&mut body, basis);
    body
}

/// Who is told the record by a voter, as far as the answering node knows.
fn fed_rows(status: &NodeStatus) -> Vec<Value> {
    let row = |fed: &FedMember| {
        json!({
            "node": name_row(status, fed.node),
            "by": name_row(status, fed.by),
            "upto": fed.upto.0,
            "heard_ms": millis(fed.heard),
        })
    };
    status.fed.iter().map(row).collect()
}

/// Puts the fields of one object into another.
pub(super) fn merge(body: &mut Value, more: &impl Serialize) {
    let more = serde_json::to_value(more).expect("a basis has only strings and numbers");
    if let (Value::Object(body), Value::Object(more)) = (body, more) {
        body.extend(more);
    }
}

pub(super) async fn health(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let wish = Wish::of(&mut params)?;
    params.finish()?;
    let quorum = judge(&desk).await;
    let Look { status: known, record, mut basis, headers } = look(&desk, wish).await?;
    let status = judged(&desk, &known, quorum);
    basis.correct(quorum, &status.sentence);
    let needed = status.voters.total / 2 + 1;
    let checks: Vec<Value> = checks(&status, &record)
        .into_iter()
        .map(|(name, is_ok, says)| json!({ "check": name, "ok": is_ok, "says": says }))
        .collect();
    let mut body = json!({
        "health": status.health,
        "sentence": status.sentence,
        "can_lose": status.can_lose,
        "voters": { "answering": status.voters.answering, "total": status.voters.total,
                    "needed": needed },
        "leader": status.leader,
        "checks": checks,
    });
    merge(&mut body, &basis);
    Ok((headers, Json(body)).into_response())
}

/// How many joins wait: one that was denied is kept so that it hears that, and waits for nothing.
fn waiting(record: &RecordView) -> usize {
    record.held.iter().filter(|held| held.state() != HoldState::Denied).count()
}

/// Each thing that was looked at, whether it is as it should be, and in words.
fn checks(status: &Status, record: &RecordView) -> Vec<(&'static str, bool, String)> {
    let voters = status.voters;
    let needed = voters.total / 2 + 1;
    let leader = status.leader.as_ref().map(|leader| format!("{} leads", leader.name));
    let gone: Vec<&str> = (status.nodes.iter())
        .filter(|row| row.standing != "none" && row.state != "alive")
        .map(|row| row.name.as_str())
        .collect();
    let silent = match gone.is_empty() {
        true => String::from("every member is heard"),
        false => format!("not heard: {}", gone.join(", ")),
    };
    let joins = waiting(record);
    let waiting = match joins {
        0 => String::from("no join waits"),
        1 => String::from("1 join waits: `muslin explain join/NAME` says for what"),
        more => format!("{more} joins wait: `muslin explain join/NAME` says for what"),
    };
    let quorum = format!("{} of {} voters answer, {needed} needed", voters.answering, voters.total);
    vec![
        (
            "leader",
            leader.is_some(),
            leader.unwrap_or_else(|| String::from("nobody is known to lead")),
        ),
        ("quorum", voters.total > 0 && voters.answering >= needed, quorum),
        ("members", gone.is_empty(), silent),
        ("size", !record.size.is_too_small(), record.size.to_string()),
        ("joins", joins == 0, waiting),
    ]
}
