//! Why a node is held to be what it is held to be: who probed it and how, who suspected it, who
//! confirmed it, and when; what this node sees beside what the record says.

use super::params::Params;
use super::views::{Look, Wish, look, name_row, named, node_in_path};
use crate::api::desk::Desk;
use crate::api::problem::Problem;
use crate::api::status::{NodeName, NodeRow, liveness_name, millis, name_of, rfc3339};
use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::Request;
use jiff::Timestamp;
use muslin_core::base::{NodeId, Now};
use muslin_core::node::NodeStatus;
use muslin_core::state::{DeclaredDown, Standing};
use muslin_core::swim::{Accuser, Liveness, Trail, Transition};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::SystemTime;

/// Most transitions told in sentences; the route tells all that are kept.
const WORDS_MAX: usize = 4;

/// One change of opinion, as it is told.
#[derive(Serialize)]
struct TransitionRow {
    /// RFC 3339, by this node's clock.
    time: Option<String>,
    state: &'static str,
    incarnation: u64,
    /// Who formed the opinion first.
    by: NodeName,
    /// Whose packet brought it here.
    told_by: NodeName,
    /// What this node tried itself.
    probe: Option<ProbeRow>,
    /// Who probed it in vain.
    accusers: Vec<AccuserRow>,
}

/// A probe that nobody answered, step by step.
#[derive(Serialize)]
struct ProbeRow {
    direct: Option<String>,
    indirect: Option<String>,
    /// Who was asked to try.
    through: Vec<NodeName>,
    /// Who of them said that they had no answer either.
    denied: Vec<NodeName>,
    stream: Option<String>,
    given_up: Option<String>,
}

#[derive(Serialize)]
struct AccuserRow {
    #[serde(flatten)]
    node: NodeName,
    time: Option<String>,
}

/// Names and times, as this node has them.
struct Teller<'a> {
    status: &'a NodeStatus,
}

impl Teller<'_> {
    /// A moment of the node's own clock as a person writes it.
    fn time(&self, at: Now) -> Option<String> {
        let age = (Now::START + self.status.uptime).since(at);
        let time = SystemTime::now().checked_sub(age)?;
        Timestamp::try_from(time).ok().map(|time| time.to_string())
    }

    fn name(&self, id: NodeId) -> NodeName {
        name_row(self.status, id)
    }

    fn row(&self, transition: &Transition) -> TransitionRow {
        let accuser =
            |one: &Accuser| AccuserRow { node: self.name(one.node), time: self.time(one.at) };
        TransitionRow {
            time: self.time(transition.at),
            state: liveness_name(transition.state),
            incarnation: transition.incarnation.0,
            by: self.name(transition.by),
            told_by: self.name(transition.told_by),
            probe: transition.trail.as_ref().map(|trail| self.probe(trail)),
            accusers: transition.accusers.iter().map(accuser).collect(),
        }
    }

    fn probe(&self, trail: &Trail) -> ProbeRow {
        let names = |ids: &[NodeId]| ids.iter().map(|id| self.name(*id)).collect();
        ProbeRow {
            direct: self.time(trail.direct_at),
            indirect: trail.indirect_at.and_then(|at| self.time(at)),
            through: names(&trail.asked),
            denied: names(&trail.denied),
            stream: trail.stream_at.and_then(|at| self.time(at)),
            given_up: self.time(trail.ended_at),
        }
    }

    /// A transition as a sentence.
    fn words(&self, transition: &Transition) -> String {
        let name = |id: NodeId| name_of(self.status, id);
        let time = self.time(transition.at).unwrap_or_default();
        let here = self.status.id;
        let (by, told_by) = (name(transition.by), name(transition.told_by));
        let how = match (&transition.trail, transition.state) {
            (Some(trail), _) => self.probe_words(trail),
            (None, Liveness::Alive | Liveness::Left) => format!("{told_by} brought the word"),
            (None, _) if transition.told_by == here => format!("{by} had probed it in vain"),
            (None, _) => format!("{by} had probed it in vain, {told_by} brought the word"),
        };
        let mut text = format!("{time} {}: {how}", liveness_name(transition.state));
        let others: Vec<String> =
            transition.accusers.iter().map(|accuser| name(accuser.node)).collect();
        if !others.is_empty() && transition.state != Liveness::Alive {
            text += &format!("; probed in vain by {}", others.join(", "));
        }
        text
    }

    fn probe_words(&self, trail: &Trail) -> String {
        let name = |id: &NodeId| name_of(self.status, *id);
        let after = |at: Now| millis(at.since(trail.direct_at));
        let prober = name(&self.status.id);
        let mut text = format!("{prober} asked it directly");
        if let Some(at) = trail.indirect_at.filter(|_| !trail.asked.is_empty()) {
            let asked: Vec<String> = trail.asked.iter().map(name).collect();
            text += &format!(", after {} ms through {}", after(at), asked.join(", "));
        }
        if !trail.denied.is_empty() {
            let denied: Vec<String> = trail.denied.iter().map(name).collect();
            text += &format!(" (no answer to {} either)", denied.join(", "));
        }
        if let Some(at) = trail.stream_at {
            text += &format!(", after {} ms over a stream", after(at));
        }
        text + &format!(", and gave up after {} ms", after(trail.ended_at))
    }
}

async fn transitions(desk: &Desk, id: NodeId) -> Result<Vec<Transition>, Problem> {
    let kept = desk.handle.evidence(id).await;
    kept.map_err(|failure| Problem::of_failure(failure, true))
}

pub(super) async fn answer(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let wish = Wish::of(&mut params)?;
    params.finish()?;
    let asked = node_in_path(&request, "/evidence")?;
    let look = look(&desk, wish).await?;
    let row = named(&look.status, &asked)?;
    let id = NodeId::parse(&row.id).expect("rows are made of ids");
    let teller = Teller { status: &look.status };
    let seen = transitions(&desk, id).await?;
    let mut body = serde_json::to_value(&look.basis).unwrap_or_default();
    body["node"] = json!(teller.name(id));
    body["view"] = view(&look, id, &teller);
    body["record"] = record(&look, id, &teller);
    let rows: Vec<TransitionRow> = seen.iter().map(|one| teller.row(one)).collect();
    body["transitions"] = json!(rows);
    Ok((look.headers, Json(body)).into_response())
}

/// What this node holds of it; `null` when it holds nothing.
fn view(look: &Look, id: NodeId, teller: &Teller<'_>) -> Value {
    let entry = look.status.view.iter().find(|entry| entry.node == id);
    entry.map_or(Value::Null, |entry| {
        json!({
            "state": liveness_name(entry.state),
            "since": teller.time(entry.since),
            "heard": teller.time(entry.heard),
            "incarnation": entry.incarnation.0,
            "by": teller.name(entry.by),
        })
    })
}

/// What the record says of it; `null` when it is no member.
fn record(look: &Look, id: NodeId, teller: &Teller<'_>) -> Value {
    let Some(member) = look.record.members.iter().find(|one| one.node() == id) else {
        return Value::Null;
    };
    let standing = crate::api::status::standing_name(member);
    match &member.standing {
        None => json!({ "standing": standing }),
        Some(Standing::Left(left)) => json!({
            "standing": standing, "since": rfc3339(left.unix_ms), "incarnation": left.incarnation,
        }),
        Some(Standing::Down(down)) => declared(standing, down, teller),
    }
}

fn declared(standing: &str, down: &DeclaredDown, teller: &Teller<'_>) -> Value {
    let witnesses: Vec<Value> = (down.witnesses.iter())
        .map(|one| {
            json!({
                "node": teller.name(NodeId(one.node)),
                "probed_by": teller.name(NodeId(one.probed_by)),
                "silent_ms": one.silent_ms,
            })
        })
        .collect();
    json!({
        "standing": standing,
        "since": rfc3339(down.unix_ms),
        "incarnation": down.incarnation,
        "watchers": down.watchers,
        "confirmed": down.confirmed,
        "witnesses": witnesses,
    })
}

/// The last that was seen of a node here, in sentences.
pub(super) async fn words(desk: &Desk, look: &Look, row: &NodeRow) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(heard) = row.heard_ms.filter(|_| row.id != desk.id.to_string()) {
        words.push(format!("{} last heard of it {heard} ms ago", desk.facts.name));
    }
    let Some(id) = NodeId::parse(&row.id) else { return words };
    let Ok(seen) = transitions(desk, id).await else { return words };
    let teller = Teller { status: &look.status };
    let last = seen.len().saturating_sub(WORDS_MAX);
    words.extend(seen[last..].iter().map(|one| teller.words(one)));
    words
}
