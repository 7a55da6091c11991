//! Users, roles, rights, and tokens for users.

use super::kv::{KeyField, ask, settle, unexpected};
use super::params::{self, BodyLimit, Params};
use crate::api::auth::Turned;
use crate::api::desk::Desk;
use crate::api::problem::Problem;
use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::Request;
use muslin_core::node::{Consistency, Failure};
use muslin_core::state::{
    self, AuthAnswer, AuthChange, AuthDisable, AuthEnable, AuthQuery, Command, CommandKind,
    KeyRange, Permission, PermissionKind, PermissionOfRole, Query, RoleOfUser, RolePermission,
    UserChange,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;

/// Largest body: two keys as long as a permission may have, in base64.
const BODY_BYTES_MAX: usize = 16 << 10;

/// Where the name stands in `/v1/auth/users/{user}` and `/v1/auth/roles/{role}`.
const NAME_PLACE: usize = 4;

type Answer = Result<Response, Problem>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    user: String,
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserWanted {
    name: String,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    no_password: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PasswordWanted {
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleNamed {
    role: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NameWanted {
    name: String,
}

/// A range of keys, and what may be done with it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PermissionWanted {
    /// `read`, `write` or `readwrite`; a revocation has none.
    #[serde(default)]
    permission: Option<String>,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    key_b64: Option<String>,
    /// All keys that begin so, in place of a key; empty is all keys.
    #[serde(default)]
    prefix: Option<String>,
    #[serde(default)]
    prefix_b64: Option<String>,
    /// The first key outside; one zero byte is the end of all.
    #[serde(default)]
    range_end: Option<String>,
    #[serde(default)]
    range_end_b64: Option<String>,
}

pub(super) async fn status(desk: Arc<Desk>, request: Request<Body>) -> Answer {
    Params::of(&request)?.finish()?;
    drop(request);
    match answer(&desk, AuthQuery::Status).await? {
        AuthAnswer::Status { enabled, revision } => {
            Ok(Json(json!({ "enabled": enabled, "revision": revision })).into_response())
        }
        _ => Err(unexpected()),
    }
}

pub(super) async fn enable(desk: Arc<Desk>, request: Request<Body>) -> Answer {
    Params::of(&request)?.finish()?;
    drop(request);
    let drawn = desk.doorman.drawn_key();
    let token_key = drawn.ok_or_else(|| Problem::of_failure(Failure::Stopping, true))?;
    change(&desk, AuthChange::Enable(AuthEnable { token_key })).await?;
    done(json!({ "enabled": true }))
}

pub(super) async fn disable(desk: Arc<Desk>, request: Request<Body>) -> Answer {
    Params::of(&request)?.finish()?;
    drop(request);
    change(&desk, AuthChange::Disable(AuthDisable {})).await?;
    done(json!({ "enabled": false }))
}

pub(super) async fn token(desk: Arc<Desk>, request: Request<Body>) -> Answer {
    Params::of(&request)?.finish()?;
    let Login { user, password } = body(&desk, request).await?;
    let made = desk.doorman.authenticate(&user, &password).await;
    done(json!({ "token": made.map_err(turned)? }))
}

pub(super) async fn users(desk: Arc<Desk>, request: Request<Body>) -> Answer {
    Params::of(&request)?.finish()?;
    drop(request);
    done(json!({ "items": names(&desk, AuthQuery::Users).await? }))
}

pub(super) async fn add_user(desk: Arc<Desk>, request: Request<Body>) -> Answer {
    Params::of(&request)?.finish()?;
    let UserWanted { name, password, no_password } = body(&desk, request).await?;
    let credential = match (password, no_password) {
        (Some(password), false) => desk.doorman.hashed(password).await.map_err(turned)?,
        (None, true) => Bytes::new(),
        _ => return Err(Problem::bad_request("give a `password`, or `no_password`: true")),
    };
    let user = UserChange { name: name.clone(), credential, no_password };
    change(&desk, AuthChange::AddUser(user)).await?;
    done(json!({ "name": name, "roles": [] }))
}

pub(super) async fn user(desk: Arc<Desk>, request: Request<Body>) -> Answer {
    Params::of(&request)?.finish()?;
    let name = named(&request, "")?;
    drop(request);
    let roles = names(&desk, AuthQuery::User(name.clone())).await?;
    done(json!({ "name": name, "roles": roles }))
}

pub(super) async fn delete_user(desk: Arc<Desk>, request: Request<Body>) -> Answer {
    Params::of(&request)?.finish()?;
    let name = named(&request, "")?;
    drop(request);
    change(&desk, AuthChange::DeleteUser(name.clone())).await?;
    done(json!({ "name": name }))
}

pub(super) async fn password(desk: Arc<Desk>, request: Request<Body>) -> Answer {
    Params::of(&request)?.finish()?;
    let name = named(&request, ":password")?;
    let PasswordWanted { password } = body(&desk, request).await?;
    let credential = desk.doorman.hashed(password).await.map_err(turned)?;
    let user = UserChange { name: name.clone(), credential, no_password: false };
    change(&desk, AuthChange::ChangePassword(user)).await?;
    done(json!({ "name": name }))
}

pub(super) async fn grant_role(desk: Arc<Desk>, request: Request<Body>) -> Answer {
    Params::of(&request)?.finish()?;
    let user = named(&request, ":grant")?;
    let RoleNamed { role } = body(&desk, request).await?;
    let names = RoleOfUser { user: user.clone(), role: role.clone() };
    change(&desk, AuthChange::GrantRole(names)).await?;
    done(json!({ "name": user, "granted": role }))
}

pub(super) async fn revoke_role(desk: Arc<Desk>, request: Request<Body>) -> Answer {
    Params::of(&request)?.finish()?;
    let user = named(&request, ":revoke")?;
    let RoleNamed { role } = body(&desk, request).await?;
    let names = RoleOfUser { user: user.clone(), role: role.clone() };
    change(&desk, AuthChange::RevokeRole(names)).await?;
    done(json!({ "name": user, "revoked": role }))
}

pub(super) async fn roles(desk: Arc<Desk>, request: Request<Body>) -> Answer {
    Params::of(&request)?.finish()?;
    drop(request);
    done(json!({ "items": names(&desk, AuthQuery::Roles).await? }))
}

pub(super) async fn add_role(desk: Arc<Desk>, request: Request<Body>) -> Answer {
    Params::of(&request)?.finish()?;
    let NameWanted { name } = body(&desk, request).await?;
    change(&desk, AuthChange::AddRole(name.clone())).await?;
    done(json!({ "name": name, "permissions": [] }))
}

pub(super) async fn role(desk: Arc<Desk>, request: Request<Body>) -> Answer {
    Params::of(&request)?.finish()?;
    let name = named(&request, "")?;
    drop(request);
    match answer(&desk, AuthQuery::Role(name.clone())).await? {
        AuthAnswer::Permissions(all) => {
            let all: Vec<Value> = all.iter().map(told).collect();
            done(json!({ "name": name, "permissions": all }))
        }
        _ => Err(unexpected()),
    }
}

pub(super) async fn delete_role(desk: Arc<Desk>, request: Request<Body>) -> Answer {
    Params::of(&request)?.finish()?;
    let name = named(&request, "")?;
    drop(request);
    change(&desk, AuthChange::DeleteRole(name.clone())).await?;
    done(json!({ "name": name }))
}

pub(super) async fn grant(desk: Arc<Desk>, request: Request<Body>) -> Answer {
    Params::of(&request)?.finish()?;
    let role = named(&request, ":grant")?;
    let wanted: PermissionWanted = body(&desk, request).await?;
    let kind = match wanted.permission.as_deref() {
        Some("read") => PermissionKind::Read,
        Some("write") => PermissionKind::Write,
        Some("readwrite") => PermissionKind::ReadWrite,
        _ => return Err(Problem::bad_request("`permission` is read, write or readwrite")),
    };
    let permission = Some(Permission { kind: kind as i32, range: wanted.range()? });
    let grant = PermissionOfRole { role: role.clone(), permission };
    change(&desk, AuthChange::GrantPermission(grant)).await?;
    done(json!({ "name": role }))
}

pub(super) async fn revoke(desk: Arc<Desk>, request: Request<Body>) -> Answer {
    Params::of(&request)?.finish()?;
    let role = named(&request, ":revoke")?;
    let wanted: PermissionWanted = body(&desk, request).await?;
    if wanted.permission.is_some() {
        return Err(Problem::bad_request("a range is revoked whole: leave `permission` out"));
    }
    let permission = Some(Permission { range: wanted.range()?, ..Permission::default() });
    let revoke = PermissionOfRole { role: role.clone(), permission };
    change(&desk, AuthChange::RevokePermission(revoke)).await?;
    done(json!({ "name": role }))
}

impl PermissionWanted {
    fn range(&self) -> Result<KeyRange, Problem> {
        let key = field("key", self.key.as_deref(), self.key_b64.as_deref())?;
        let end = field("range_end", self.range_end.as_deref(), self.range_end_b64.as_deref())?;
        let prefix = field("prefix", self.prefix.as_deref(), self.prefix_b64.as_deref())?;
        match (prefix, key) {
            (Some(prefix), None) if end.is_none() => Ok(KeyRange::of_prefix(prefix)),
            (None, Some(key)) => Ok(KeyRange { key, range_end: end.unwrap_or_default() }),
            _ => {
                Err(Problem::bad_request("give a `key` (with a `range_end` or not), or a `prefix`"))
            }
        }
    }
}

/// As text, or as bytes in base64.
fn field(name: &str, text: Option<&str>, base64: Option<&str>) -> Result<Option<Bytes>, Problem> {
    match (text, base64) {
        (None, None) => Ok(None),
        (Some(text), None) => Ok(Some(Bytes::copy_from_slice(text.as_bytes()))),
        (None, Some(base64)) => match STANDARD.decode(base64) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(_) => Err(Problem::bad_request(format!("`{name}_b64` is not base64"))),
        },
        (Some(_), Some(_)) => {
            Err(Problem::bad_request(format!("give `{name}` or `{name}_b64`, not both")))
        }
    }
}

fn told(permission: &RolePermission) -> Value {
    let kind = match permission.kind {
        PermissionKind::Read => "read",
        PermissionKind::Write => "write",
        PermissionKind::ReadWrite => "readwrite",
    };
    let mut told = json!({ "permission": kind });
    let mut put = |name: &str, bytes: &Bytes| match KeyField::of(bytes) {
        KeyField::Text(text) => told[name] = Value::String(text),
        KeyField::Bytes(base64) => told[format!("{name}_b64")] = Value::String(base64),
    };
    put("key", &permission.key);
    if !permission.range_end.is_empty() {
        put("range_end", &permission.range_end);
    }
    told
}

async fn change(desk: &Desk, change: AuthChange) -> Result<(), Problem> {
    let command = Command::of(CommandKind::Auth(Box::new(change.into())));
    settle(desk, desk.handle.write(command).await).map(drop)
}

async fn answer(desk: &Desk, query: AuthQuery) -> Result<AuthAnswer, Problem> {
    match ask(desk, Query::Auth(query), Consistency::Linearizable).await?.0 {
        state::Response::Auth(answer) => Ok(*answer),
        _ => Err(unexpected()),
    }
}

async fn names(desk: &Desk, query: AuthQuery) -> Result<Vec<String>, Problem> {
    match answer(desk, query).await? {
        AuthAnswer::Names(names) => Ok(names),
        _ => Err(unexpected()),
    }
}

/// The user or role of the path, without the word behind its colon.
fn named(request: &Request<Body>, word: &str) -> Result<String, Problem> {
    let part = request.uri().path().split('/').nth(NAME_PLACE).unwrap_or_default();
    let part = part.strip_suffix(word).unwrap_or(part);
    Ok(String::from_utf8_lossy(&params::percent_decode(part)?).into_owned())
}

async fn body<T: DeserializeOwned>(desk: &Desk, request: Request<Body>) -> Result<T, Problem> {
    let limit = BodyLimit { bytes: BODY_BYTES_MAX, time: desk.patience.body };
    let body = params::body(request, limit).await?;
    serde_json::from_slice(&body)
        .map_err(|error| Problem::bad_request(format!("the body is not as it should be: {error}")))
}

fn done(body: Value) -> Answer {
    Ok(Json(body).into_response())
}

/// Somebody was turned away.
pub(in crate::api) fn turned(turned: Turned) -> Problem {
    match turned {
        Turned::Refused(refusal) => Problem::of_auth(refusal),
        Turned::Failed(failure) => Problem::of_failure(failure, true),
    }
}
