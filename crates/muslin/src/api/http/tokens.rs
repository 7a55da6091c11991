//! What lets nodes in: tokens, joins that wait, certificates.

use super::kv::{ask, unexpected};
use super::ops;
use super::params::{self, BodyLimit, Params};
use crate::api::caller::Caller;
use crate::api::desk::Desk;
use crate::api::problem::Problem;
use crate::api::visitor::Visitor;
use crate::join::{Token, join_code};
use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::header::HeaderMap;
use hyper::{Request, StatusCode};
use muslin_core::node::Consistency;
use muslin_core::state::{
    self, AddGossipKey, Command, CommandKind, HeldJoin, HoldState, Membership, MembershipChange,
    Query, RecordView, RotateToken, TokenName, TokenState,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Largest request: a name and some roles.
const BODY_BYTES_MAX: usize = 16 << 10;

/// How long a token admits when nothing is said.
const LIFE_SECONDS: u64 = 3_600;

/// How often a token admits, unless said: as on the command line.
const USES: u64 = 1;

/// Longest life of a token: ten years.
const LIFE_SECONDS_MAX: u64 = 10 * 365 * 24 * 3_600;

/// Where a token's name or id stands in a path, counted from 1 behind the first slash.
const TOKEN_PLACE: usize = 3;

/// What a token is to be.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Wanted {
    name: String,
    roles: Vec<String>,
    ttl_seconds: Option<u64>,
    uses: Option<u64>,
}

impl Wanted {
    fn uses(&self) -> u64 {
        self.uses.unwrap_or(USES)
    }
}

/// A token as people see it: never its secret.
#[derive(Serialize)]
struct TokenRow {
    id: String,
    name: String,
    roles: Vec<String>,
    state: &'static str,
    expires_unix_ms: u64,
    /// `null`: any number.
    uses_left: Option<u64>,
    used: u64,
    used_unix_ms: u64,
    created_unix_ms: u64,
}

impl TokenRow {
    fn of(token: &state::Token, unix_ms: u64) -> TokenRow {
        TokenRow {
            id: token.id.clone(),
            name: token.name.clone(),
            roles: token.roles.clone(),
            state: state_of(token, unix_ms),
            expires_unix_ms: token.expires_unix_ms,
            uses_left: (token.uses_left > 0).then_some(token.uses_left),
            used: token.used,
            used_unix_ms: token.used_unix_ms,
            created_unix_ms: token.created_unix_ms,
        }
    }
}

fn state_of(token: &state::Token, unix_ms: u64) -> &'static str {
    match token.state() {
        TokenState::Revoked => "revoked",
        TokenState::Spent => "spent",
        TokenState::Good if unix_ms >= token.expires_unix_ms => "expired",
        TokenState::Good => "good",
    }
}

pub(super) async fn list(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let (record, present) = (record(&desk).await?, unix_ms());
    let items: Vec<_> = record.tokens.iter().map(|one| TokenRow::of(one, present)).collect();
    Ok(Json(json!({ "items": items })).into_response())
}

pub(super) async fn show(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let asked = asked(&request, "")?;
    drop(request);
    let present = unix_ms();
    let found = named_token(&record(&desk).await?.tokens, &asked, present)?;
    Ok(Json(TokenRow::of(&found, present)).into_response())
}

pub(super) async fn create(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let wanted = body(&desk, request).await?;
    crate::join::check_roles(&wanted.roles)
        .map_err(|error| Problem::bad_request(error.to_string()))?;
    let token = Token::generate(desk.cluster, ca_hash(&desk)?);
    let stored = state::Token {
        name: wanted.name.clone(),
        roles: wanted.roles.clone(),
        created_unix_ms: unix_ms(),
        ..token.record(expiry(&wanted)?, wanted.uses())
    };
    // Without a quorum it ends here, and nothing has been sent that may happen later.
    record(&desk).await?;
    write(&desk, CommandKind::PutToken(stored.clone())).await?;
    made(&desk, &token, &stored)
}

pub(super) async fn revoke(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let by = asker(&desk, Visitor::caller(&request));
    let asked = asked(&request, "")?;
    drop(request);
    let id = named_token(&record(&desk).await?.tokens, &asked, unix_ms())?.id;
    let change = MembershipChange::RevokeToken(TokenName { id: id.clone() });
    change_record(&desk, by, change).await?;
    Ok(Json(json!({ "id": id, "state": "revoked" })).into_response())
}

pub(super) async fn rotate(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let by = asker(&desk, Visitor::caller(&request));
    let asked = asked(&request, ":rotate")?;
    drop(request);
    let present = unix_ms();
    let old = named_token(&record(&desk).await?.tokens, &asked, present)?;
    let token = Token::generate(desk.cluster, ca_hash(&desk)?);
    // As long as the one before it was to live.
    let life = old.expires_unix_ms.saturating_sub(old.created_unix_ms.max(1)).max(1_000);
    let life = if old.created_unix_ms == 0 { LIFE_SECONDS * 1_000 } else { life };
    let stored = token.record(UNIX_EPOCH + Duration::from_millis(present + life), old.uses_left);
    let stored = state::Token {
        created_unix_ms: present,
        name: old.name.clone(),
        roles: old.roles.clone(),
        ..stored
    };
    let rotate = RotateToken { id: old.id, token: stored.clone() };
    change_record(&desk, by, MembershipChange::RotateToken(rotate)).await?;
    made(&desk, &token, &stored)
}

/// A join that waits, as people see it.
#[derive(Serialize)]
struct HeldRow {
    id: String,
    name: String,
    addr: String,
    roles: Vec<String>,
    waits_for: String,
    /// It waits for nothing, and is kept so that it hears that when it asks again.
    denied: bool,
    /// What whoever joins sees too, if nobody stands between.
    code: String,
    /// The token it came with.
    token: String,
    asked_unix_ms: u64,
    expires_unix_ms: u64,
}

impl HeldRow {
    fn of(held: &HeldJoin, ca_hash: &[u8]) -> HeldRow {
        HeldRow {
            id: held.member.node().to_string(),
            name: held.member.name.clone(),
            addr: held.member.address.clone(),
            roles: held.member.roles.clone(),
            waits_for: match held.state() {
                HoldState::Approval => "approval".into(),
                HoldState::Denied => "nothing: denied".into(),
                HoldState::Roles => {
                    format!("roles: {}", held.member.requires_for_bootstrap.join(", "))
                }
            },
            denied: held.state() == HoldState::Denied,
            code: join_code(ca_hash, &held.member.key_hash),
            token: held.token_id.clone(),
            asked_unix_ms: held.asked_unix_ms,
            expires_unix_ms: held.expires_unix_ms,
        }
    }
}

pub(super) async fn joins(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let (record, ca_hash) = (record(&desk).await?, ca_hash(&desk)?);
    let items: Vec<_> = record.held.iter().map(|one| HeldRow::of(one, &ca_hash)).collect();
    Ok(Json(json!({ "items": items })).into_response())
}

pub(super) async fn certificates(
    desk: Arc<Desk>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let mut papers = admission(&desk)?.papers()?;
    let keys = record(&desk).await?.gossip_keys.into_iter();
    let keys = keys.map(|(generation, seals)| json!({ "generation": generation, "seals": seals }));
    papers["gossip_keys"] = Value::Array(keys.collect());
    Ok(Json(papers).into_response())
}

pub(super) async fn rotate_gossip(
    desk: Arc<Desk>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let by = asker(&desk, Visitor::caller(&request));
    drop(request);
    let last = record(&desk).await?.gossip_keys.into_iter().map(|(generation, _)| generation).max();
    let generation = last.unwrap_or(0) + 1;
    let key = crate::identity::Keyring::generate().sealing().secret.to_vec().into();
    let add = AddGossipKey { generation, key };
    change_record(&desk, by, MembershipChange::AddGossipKey(add)).await?;
    let op = format!("gossip-key-{generation}");
    let body = json!({ "generation": generation });
    ops::begun_by(&desk, (Some(op), body), HeaderMap::new()).await
}

pub(super) async fn rotate_certificate(
    desk: Arc<Desk>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let admission = admission(&desk)?;
    admission.rotate().await?;
    Ok(Json(admission.papers()?).into_response())
}

fn made(desk: &Desk, token: &Token, stored: &state::Token) -> Result<Response, Problem> {
    let row = serde_json::to_value(TokenRow::of(stored, unix_ms()));
    let mut row = row.map_err(|error| Problem::bad_request(error.to_string()))?;
    row["token"] = token.expose().into();
    let addr = &desk.facts.addr;
    row["join"] = format!(
        "muslin join {addr} --token {} --data-dir DIR --name NAME --listen IP:PORT",
        token.expose()
    )
    .into();
    Ok(Json(row).into_response())
}

async fn body(desk: &Desk, request: Request<Body>) -> Result<Wanted, Problem> {
    let limit = BodyLimit { bytes: BODY_BYTES_MAX, time: desk.patience.body };
    let bytes = params::body(request, limit).await?;
    let wanted =
        if bytes.is_empty() { Ok(Wanted::default()) } else { serde_json::from_slice(&bytes) };
    wanted.map_err(|error| Problem::bad_request(format!("the body is not a token's: {error}")))
}

fn expiry(wanted: &Wanted) -> Result<SystemTime, Problem> {
    match wanted.ttl_seconds.unwrap_or(LIFE_SECONDS) {
        0 => Err(Problem::bad_request("`ttl_seconds` is at least 1")),
        seconds if seconds > LIFE_SECONDS_MAX => {
            Err(Problem::bad_request(format!("`ttl_seconds` is at most {LIFE_SECONDS_MAX}")))
        }
        seconds => Ok(SystemTime::now() + Duration::from_secs(seconds)),
    }
}

/// By id, by the beginning of one, or by name, when that is one token. Of many, the one that still
/// admits: a token that was rotated has left its name to the one in its place.
fn named_token(
    tokens: &[state::Token],
    asked: &str,
    unix_ms: u64,
) -> Result<state::Token, Problem> {
    let is_it =
        |one: &&state::Token| !asked.is_empty() && (one.id.starts_with(asked) || one.name == asked);
    let is_good =
        |one: &&&state::Token| one.state() == TokenState::Good && unix_ms < one.expires_unix_ms;
    let found: Vec<&state::Token> = tokens.iter().filter(is_it).collect();
    let good: Vec<&state::Token> = found.iter().filter(is_good).copied().collect();
    match (found.as_slice(), good.as_slice()) {
        ([one], _) | (_, [one]) => Ok((*one).clone()),
        ([_, _, ..], good) => {
            let detail = match good {
                [] => format!(
                    "more than one token is called {asked}, and none of them admits any more: {}",
                    told_apart(&found, unix_ms)
                ),
                good => format!(
                    "more than one token that admits is called {asked}: {}",
                    told_apart(good, unix_ms)
                ),
            };
            Err(Problem::bad_request(detail)
                .hint("write the id of the one you mean; `muslin token ls` tells more of them"))
        }
        _ => {
            Err(Problem::not_found(format!("there is no token {asked}"))
                .hint("see `muslin token ls`"))
        }
    }
}

/// Most tokens of one name that are told apart: a name that has more is told by its first ones.
const TOLD_APART_MAX: usize = 8;

/// The ids of tokens, and how each is.
fn told_apart(tokens: &[&state::Token], unix_ms: u64) -> String {
    let first = tokens.iter().take(TOLD_APART_MAX);
    let mut told: Vec<String> =
        first.map(|one| format!("{} ({})", one.id, state_of(one, unix_ms))).collect();
    if tokens.len() > TOLD_APART_MAX {
        told.push(format!("and {} more", tokens.len() - TOLD_APART_MAX));
    }
    told.join(", ")
}

/// The token that a path names, without the word behind its colon; where the word stands behind a
/// slash, colons are the name's.
fn asked<B>(request: &Request<B>, word: &str) -> Result<String, Problem> {
    let mut parts = request.uri().path().split('/').skip(TOKEN_PLACE);
    let part = parts.next().unwrap_or_default();
    let part = match parts.next() {
        None => part.strip_suffix(word).unwrap_or(part),
        Some(_) => part,
    };
    Ok(String::from_utf8_lossy(&params::percent_decode(part)?).into_owned())
}

async fn record(desk: &Desk) -> Result<RecordView, Problem> {
    match ask(desk, Query::Record, Consistency::Linearizable).await?.0 {
        state::Response::Record(record) => Ok(*record),
        _ => Err(unexpected()),
    }
}

/// Who asks, as the record keeps it.
fn asker(desk: &Desk, caller: Caller) -> String {
    match caller {
        Caller::Loopback => format!("someone on {}", desk.facts.name),
        Caller::Node(node) => format!("node {node}"),
        _ => "an administrator".to_string(),
    }
}

async fn change_record(desk: &Desk, by: String, change: MembershipChange) -> Result<(), Problem> {
    let change = Membership { unix_ms: unix_ms(), by, change: Some(change) };
    write(desk, CommandKind::Membership(change.into())).await
}

async fn write(desk: &Desk, kind: CommandKind) -> Result<(), Problem> {
    let outcome = desk.handle.write(Command::of(kind)).await;
    let outcome = outcome.map_err(|failure| Problem::of_failure(failure, true))?;
    outcome.result.map(drop).map_err(|refusal| Problem::of_refusal(&refusal))
}

fn admission(desk: &Desk) -> Result<&Arc<dyn crate::api::Admission>, Problem> {
    desk.join.as_ref().ok_or_else(|| {
        Problem::new(StatusCode::NOT_IMPLEMENTED, "not-offered", "this node has no papers")
            .hint("ask another node of the cluster")
    })
}

fn ca_hash(desk: &Desk) -> Result<[u8; 32], Problem> {
    admission(desk)?.ca_hash()
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: &str, state: TokenState, expires_unix_ms: u64) -> state::Token {
        let token = state::Token { id: id.into(), name: "rack7".into(), ..Default::default() };
        state::Token { state: state.into(), expires_unix_ms, ..token }
    }

    #[test]
    fn of_tokens_of_one_name_the_one_that_admits_is_meant() {
        let is = |tokens: &[state::Token], asked| named_token(tokens, asked, 50).map(|one| one.id);
        let revoked = token("aa1", TokenState::Revoked, 100);
        let (expired, good) =
            (token("ab2", TokenState::Good, 50), token("ac3", TokenState::Good, 51));
        let all = [revoked.clone(), expired.clone(), good.clone()];
        assert_eq!(is(&all, "rack7").unwrap(), "ac3");
        assert_eq!(is(&all, "a").unwrap(), "ac3");
        assert_eq!(is(&all, "aa").unwrap(), "aa1", "an id is an id, whatever its state");
        assert_eq!(is(std::slice::from_ref(&revoked), "rack7").unwrap(), "aa1");
        let unclear = is(&[revoked, expired.clone()], "rack7").unwrap_err();
        let told = "more than one token is called rack7, and none of them admits any more: \
                    aa1 (revoked), ab2 (expired)";
        assert_eq!((unclear.status, unclear.detail.as_str()), (400, told));
        let other = token("ad4", TokenState::Good, 90);
        let unclear = is(&[good.clone(), expired, other], "rack7").unwrap_err();
        let told = "more than one token that admits is called rack7: ac3 (good), ad4 (good)";
        assert_eq!((unclear.status, unclear.detail.as_str()), (400, told));
        let many = is(&vec![good; 10], "rack7").unwrap_err().detail;
        assert!(many.ends_with("ac3 (good), and 2 more"), "{many}");
        assert_eq!(is(&all, "").unwrap_err().status, 404);
    }

    #[test]
    fn the_name_in_a_path_ends_where_the_word_begins() {
        let of = |path: &str, word| asked(&Request::post(path).body(()).unwrap(), word).unwrap();
        assert_eq!(of("/v1/tokens/rack7:rotate", ":rotate"), "rack7");
        assert_eq!(of("/v1/tokens/rack7/rotate", ":rotate"), "rack7", "as it was called before");
        assert_eq!(of("/v1/tokens/a%3Arotate:rotate", ":rotate"), "a:rotate");
        assert_eq!(of("/v1/tokens/a:rotate/rotate", ":rotate"), "a:rotate");
        assert_eq!(of("/v1/tokens/a:rotate", ""), "a:rotate");
    }

    #[test]
    fn a_token_admits_once_unless_more_is_said() {
        let uses = |text| serde_json::from_str::<Wanted>(text).unwrap().uses();
        assert_eq!([uses("{}"), uses(r#"{"uses": 0}"#), uses(r#"{"uses": 30}"#)], [1, 0, 30]);
    }
}
