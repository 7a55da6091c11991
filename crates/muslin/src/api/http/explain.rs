//! Why something is as it is: what happened, since when, because of what, and what to do.
//!
//! The answer is made of the record, of what this node sees, and of what it remembers to have
//! happened; it names what it does not know.

use super::operate::missing_roles;
use super::params::Params;
use super::views::{Basis, Look, Wish, look};
use crate::api::chronicle::{Entry, Topic};
use crate::api::desk::Desk;
use crate::api::problem::Problem;
use crate::api::status::{NodeRow, millis, name_of, node_rows, rfc3339};
use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::Request;
use jiff::Timestamp;
use muslin_core::base::{NodeId, quorum::Tally};
use muslin_core::node::CONTROL_ROLE;
use muslin_core::state::{
    DeclaredDown, HeldJoin, HoldState, Member, RemovedFor, Standing, Tombstone, VoteWish,
};
use muslin_core::swim::Liveness;
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Most entries of the past told in one answer.
const PAST_MAX: usize = 8;

/// The answer of `GET /v1/explain`.
#[derive(Serialize)]
pub(super) struct Explanation {
    pub(super) subject: String,
    /// How it stands, in one sentence.
    pub(super) answer: String,
    /// Since when, RFC 3339; `null` when this node does not know.
    pub(super) since: Option<String>,
    pub(super) because: Vec<String>,
    /// What to do; empty when nothing is to be done.
    #[serde(rename = "do")]
    pub(super) advice: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    basis: Option<Basis>,
}

impl Explanation {
    pub(super) fn new(answer: impl Into<String>) -> Explanation {
        Explanation {
            subject: String::new(),
            answer: answer.into(),
            since: None,
            because: Vec::new(),
            advice: Vec::new(),
            basis: None,
        }
    }

    fn since(mut self, since: Option<String>) -> Explanation {
        self.since = since;
        self
    }

    pub(super) fn because(mut self, why: impl Into<String>) -> Explanation {
        self.because.push(why.into());
        self
    }

    pub(super) fn advice(mut self, advice: impl Into<String>) -> Explanation {
        self.advice.push(advice.into());
        self
    }
}

pub(super) async fn answer(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let subject = params.text("subject")?;
    let wish = Wish::of(&mut params)?;
    params.finish()?;
    let known = "the subjects are node/NAME, leader, voters and join/NAME";
    let subject = subject.ok_or_else(|| Problem::bad_request("say ?subject=..").hint(known))?;
    let look = look(&desk, wish).await?;
    let explanation = match subject.split_once('/') {
        None if subject == "leader" => leader(&desk, &look),
        None if subject == "voters" => super::voters::explain(&desk, &look),
        Some(("node", name)) => node(&desk, &look, name).await?,
        Some(("join", name)) => join(&desk, &look, name),
        _ => {
            let detail = format!("nothing is known about the subject {subject:?}");
            return Err(Problem::bad_request(detail).hint(known));
        }
    };
    let basis = Some(look.basis);
    let explanation = Explanation { subject, basis, ..explanation };
    Ok((look.headers, Json(explanation)).into_response())
}

fn time_of(time: SystemTime) -> Option<String> {
    Timestamp::try_from(time).ok().map(|time| time.to_string())
}

/// A time that is so long ago, by the node's own clock.
pub(super) fn ago(age: Duration) -> Option<String> {
    SystemTime::now().checked_sub(age).and_then(time_of)
}

fn told(entry: &Entry) -> String {
    let time = time_of(entry.time).unwrap_or_default();
    format!("{time} {}", entry.text)
}

/// Who leads, and how it came to.
fn leader(desk: &Desk, look: &Look) -> Explanation {
    let status = &look.status;
    let past = desk.chronicle.of(Topic::Leadership);
    let Some(leader) = status.leader else { return leaderless(look, &past) };
    let name = name_of(status, leader);
    let term = status.term.0;
    let is_start = |entry: &Entry| {
        entry.kind == "leader-changed" && entry.node == Some(leader) && entry.term == Some(term)
    };
    let start = past.iter().position(is_start);
    let mut explanation = Explanation::new(format!("{name} leads in term {term}"));
    match start {
        None => {
            explanation = explanation
                .because(format!("it was elected before {} began to remember", desk.facts.name));
        }
        Some(start) => {
            explanation = explanation.since(time_of(past[start].time));
            // What led to it: back to the election before.
            let before = past[..start].iter().rposition(|entry| entry.kind == "leader-changed");
            let first = before.unwrap_or(0).max(start.saturating_sub(PAST_MAX));
            for entry in &past[first..=start] {
                explanation.because.push(told(entry));
            }
        }
    }
    let votes = tally(look);
    explanation = explanation.because(format!("{votes}, {} are needed", votes.needed()));
    explanation.advice("to have another lead: `muslin cluster transfer-leader`")
}

/// The voters, and how many of them this node holds to be alive.
pub(super) fn tally(look: &Look) -> Tally {
    let status = &look.status;
    Tally::of(&status.configuration.voters, |id| {
        let seen = status.view.iter().find(|entry| entry.node == id);
        let is_alive = seen.is_some_and(|entry| entry.state == Liveness::Alive);
        id == status.id || (is_alive && !status.silent.contains(&id))
    })
}

fn leaderless(look: &Look, past: &[Entry]) -> Explanation {
    let votes = tally(look);
    let lost = past.iter().rev().take_while(|entry| entry.kind != "leader-changed").last();
    let mut explanation =
        Explanation::new("nobody is known to lead").since(lost.and_then(|one| time_of(one.time)));
    explanation.because.extend(past.iter().rev().take(PAST_MAX).rev().map(told));
    explanation = explanation.because(format!("{votes}, {} are needed", votes.needed()));
    let missing: Vec<String> = (node_rows(&look.status).into_iter())
        .filter(|row| matches!(row.role, "voter" | "leader") && row.state != "alive")
        .map(|row| format!("{} is {}", row.name, row.state))
        .collect();
    match votes.spare() {
        None if missing.is_empty() => explanation.advice("see that the voters reach each other"),
        None => explanation
            .because(missing.join(", "))
            .advice("start the voters that are missing, or see that they reach each other")
            .advice("if they are lost for good, go on from one: `muslin cluster recover`"),
        Some(_) => explanation.advice("wait: an election takes a second or two"),
    }
}

/// How a node stands, by the record and by what is seen of it here.
async fn node(desk: &Desk, look: &Look, asked: &str) -> Result<Explanation, Problem> {
    let rows = node_rows(&look.status);
    let row = rows.iter().find(|row| row.id == asked || row.name == asked);
    let member = look
        .record
        .members
        .iter()
        .find(|one| row.map_or(one.name == asked, |row| one.node().to_string() == row.id));
    let Some(row) = row else { return not_a_node(look, asked) };
    let Some(member) = member else { return Ok(stranger(look, row)) };
    let mut explanation = match &member.standing {
        Some(Standing::Down(down)) => declared_down(look, row, down),
        Some(Standing::Left(left)) => Explanation::new(format!("{} has left", row.name))
            .since(rfc3339(left.unix_ms))
            .because("it said good-bye when it was stopped")
            .advice(format!("start it again, or take it out: `muslin node rm {}`", row.name)),
        None => living(look, row, member),
    };
    explanation.because.extend(super::evidence::words(desk, look, row).await);
    explanation = explanation.because(vote_words(look, row, member));
    let id = NodeId::parse(&row.id);
    let past = desk.chronicle.of(Topic::Nodes);
    let past = past.iter().filter(|entry| entry.node == id).rev().take(PAST_MAX);
    let mut past: Vec<String> = past.map(told).collect();
    past.reverse();
    explanation.because.extend(past);
    Ok(explanation)
}

fn not_a_node(look: &Look, asked: &str) -> Result<Explanation, Problem> {
    let is_it = |stone: &&Tombstone| stone.name == asked || NodeId(stone.id).to_string() == asked;
    if let Some(stone) = look.record.tombstones.iter().rev().find(is_it) {
        return Ok(removed(look, stone));
    }
    if look.record.held.iter().any(|held| held.member.name == asked) {
        let detail = format!("{asked} is no member yet: its join waits");
        return Err(Problem::not_found(detail).hint(format!("`muslin explain join/{asked}`")));
    }
    Err(Problem::not_found(format!("there is no node {asked}")).hint(format!(
        "`muslin node ls` lists them; was it refused? `muslin explain join/{asked}`"
    )))
}

fn removed(look: &Look, stone: &Tombstone) -> Explanation {
    let why = match stone.why() {
        RemovedFor::Asked => String::from("an operator took it out"),
        RemovedFor::Reaped => String::from("it was gone for longer than the settings allow"),
        RemovedFor::Replaced => {
            format!("{} took its name over", name_of(&look.status, NodeId(stone.successor)))
        }
    };
    Explanation::new(format!("{} is no member any more", stone.name))
        .since(rfc3339(stone.removed_unix_ms))
        .because(why)
        .because(format!("its id {} is barred, since epoch {}", NodeId(stone.id), stone.epoch))
        .advice("join with an empty data directory: it gets another id, and may have the name")
}

/// Seen, and not in the record.
fn stranger(look: &Look, row: &NodeRow) -> Explanation {
    let age = look.status.members.is_empty();
    let because = match age {
        true => "this node has not read the record yet",
        false => "the record has no such member: it was removed, or its admission is on its way",
    };
    Explanation::new(format!("{} is seen at {} and is no member", row.name, row.addr))
        .since(row.since_ms.and_then(|ms| ago(Duration::from_millis(ms))))
        .because(because)
        .advice("ask again with --consistency linearizable")
}

fn declared_down(look: &Look, row: &NodeRow, down: &DeclaredDown) -> Explanation {
    let mut explanation =
        Explanation::new(format!("{} is down", row.name)).since(rfc3339(down.unix_ms));
    explanation = explanation.because(match down.watchers {
        0 => String::from("the control group declared it: it had no living watcher to hear it"),
        watchers => format!(
            "the control group declared it: {} of its {watchers} living watchers reported it, \
             more than half are needed",
            down.confirmed
        ),
    });
    for witness in &down.witnesses {
        let watcher = name_of(&look.status, NodeId(witness.node));
        let prober = name_of(&look.status, NodeId(witness.probed_by));
        explanation = explanation.because(format!(
            "{watcher} confirmed it: {prober} probed it in vain, and {watcher} had heard nothing \
             for {} ms",
            witness.silent_ms
        ));
    }
    let unseen = (down.confirmed as usize).saturating_sub(down.witnesses.len());
    if unseen > 0 {
        explanation = explanation.because(format!("and {unseen} watchers more confirmed it"));
    }
    explanation
        .advice(format!("start it, on its machine: `muslin up --data-dir DIR` for {}", row.name))
        .advice(format!("or take it out for good: `muslin node rm {}`", row.name))
}

fn living(look: &Look, row: &NodeRow, member: &Member) -> Explanation {
    let name = &row.name;
    let since = row.since_ms.and_then(|ms| ago(Duration::from_millis(ms)));
    let explanation = match row.state {
        "suspect" => Explanation::new(format!("{name} is a member, and suspect here"))
            .advice("wait: it refutes the suspicion, or the control group declares it down"),
        "down" => Explanation::new(format!("{name} is a member, and does not answer"))
            .because(match &look.basis.degraded {
                None => "a majority of its watchers has not reported it: it is not declared down",
                Some(_) => "nothing can be declared without a quorum",
            })
            .advice(format!("start it, or see that {name} can be reached")),
        "left" => Explanation::new(format!("{name} said good-bye"))
            .because("the record does not say so yet")
            .advice("start it again, or take it out"),
        "unknown" => Explanation::new(format!("{name} is a member, and is not watched from here"))
            .because("this node has heard nothing of it, or watches a part of the cluster only")
            .advice("ask a voter: `muslin explain .. --addr HOST:PORT`"),
        _ => Explanation::new(format!("{name} takes part and answers")),
    };
    let explanation = explanation.since(since);
    let by = match member.admitted_by.is_empty() {
        true => String::from("it founded the cluster"),
        false => {
            let when = rfc3339(member.admitted_unix_ms).unwrap_or_default();
            format!("{when} it was admitted by {}", member.admitted_by)
        }
    };
    let explanation = explanation.because(by);
    match member.is_draining {
        true => explanation
            .because("an operator has everything moved off it")
            .advice(format!("when nothing runs there: `muslin node rm {name}`, or resume it")),
        false => explanation,
    }
}

/// Why it votes, or does not.
fn vote_words(look: &Look, row: &NodeRow, member: &Member) -> String {
    let configuration = &look.status.configuration;
    let voters = configuration.voters.len();
    let id = member.node();
    if look.status.leader == Some(id) {
        return format!("it leads the control group of {voters}");
    }
    if configuration.is_voter(id) {
        return format!("it votes in the control group of {voters}");
    }
    let why = if !member.performs(CONTROL_ROLE) {
        format!("it has not the role {CONTROL_ROLE}")
    } else if member.vote_wish() == VoteWish::Never {
        String::from("an operator does not want it to")
    } else if member.is_draining || !member.is_living() {
        format!("it is {}", row.standing)
    } else if configuration.learners.contains(&id) {
        format!("it stands by, and {voters} vote already or it is still catching up")
    } else {
        format!("{voters} vote already")
    };
    format!("it does not vote: {why}{}", fed_words(look, id))
}

/// Who tells it the record.
fn fed_words(look: &Look, id: NodeId) -> String {
    let status = &look.status;
    if let Some(fed) = status.fed_by.filter(|_| id == status.id) {
        let heard = fed
            .heard
            .map_or(String::from("not heard yet"), |age| format!("heard {} ms ago", millis(age)));
        return format!("; {} tells it the record, {heard}", name_of(status, fed.voter));
    }
    match status.fed.iter().find(|fed| fed.node == id) {
        Some(fed) => format!(
            "; {} tells it the record: it has all up to entry {} of {}, and was heard {} ms ago",
            name_of(status, fed.by),
            fed.upto,
            status.commit,
            millis(fed.heard)
        ),
        None => String::new(),
    }
}

/// What became of a wish to join.
fn join(desk: &Desk, look: &Look, asked: &str) -> Explanation {
    let is_it = |member: &Member| member.name == asked || member.node().to_string() == asked;
    if let Some(held) = look.record.held.iter().find(|held| is_it(&held.member)) {
        return waits(look, held);
    }
    let refusal = desk.chronicle.last_refusal(asked);
    let is_later = |member: &Member| {
        let refused = refusal.as_ref().map(|refused| refused.time);
        let refused = refused.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        refused.is_some_and(|time| millis(time) > member.admitted_unix_ms)
    };
    let member = look.record.members.iter().find(|one| is_it(one));
    if let Some(member) = member.filter(|one| !is_later(one)) {
        let by = if member.admitted_by.is_empty() { "its founding" } else { &member.admitted_by };
        return Explanation::new(format!("{asked} was admitted"))
            .since(rfc3339(member.admitted_unix_ms))
            .because(format!("it came in by {by}, in epoch {}", member.epoch()))
            .advice(format!("how it fares: `muslin explain node/{asked}`"));
    }
    if let Some(refused) = refusal {
        return Explanation::new(format!("{asked} was refused: {}", refused.code))
            .since(time_of(refused.time))
            .because(refused.detail)
            .advice(refused.hint);
    }
    if let Some(stone) = look.record.tombstones.iter().rev().find(|stone| stone.name == asked) {
        return removed(look, stone);
    }
    let past = desk.chronicle.of(Topic::Joins);
    let mut explanation = Explanation::new(format!("nothing is known of a join of {asked}"))
        .because(format!(
            "{} was not asked by it, and the record has neither a member nor a waiting join of \
             that name",
            desk.facts.name
        ));
    let refused = past.iter().filter(|entry| entry.kind != "member-admitted");
    explanation.because.extend(refused.rev().take(PAST_MAX).map(told));
    explanation.advice("ask the node that it asked: it remembers whom it refused (--addr)")
}

fn waits(look: &Look, held: &HeldJoin) -> Explanation {
    let name = &held.member.name;
    let until = rfc3339(held.expires_unix_ms).unwrap_or_default();
    let by = if held.decided_by.is_empty() { "an operator" } else { &held.decided_by };
    let explanation = match held.state() {
        HoldState::Approval => Explanation::new(format!("{name} waits for approval"))
            .because("it came without a token")
            .advice(format!("`muslin node approve {name}`, or `muslin node deny {name}`")),
        HoldState::Roles => {
            let missing = missing_roles(&held.member, look).join(", ");
            Explanation::new(format!("{name} waits for somebody who performs: {missing}"))
                .because("it requires that to be admitted, and nobody who lives performs it")
                .advice(format!(
                    "add a node with that role, give it to one (`muslin node role add`), or admit \
                     it all the same: `muslin node approve {name} --force`"
                ))
        }
        HoldState::Denied => Explanation::new(format!("{name} was denied"))
            .because(format!("{by} denied it"))
            .advice("nothing; or let it ask again after that time, with a token"),
    };
    explanation
        .since(rfc3339(held.asked_unix_ms))
        .because(format!("it is given up at {until}"))
        .because(format!(
            "it asks from {} with the roles {}",
            held.member.address,
            held.member.roles.join(", ")
        ))
}
