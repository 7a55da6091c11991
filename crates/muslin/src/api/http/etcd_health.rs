//! What etcd's port says over HTTP: `/health` and `/version`, for probes that were made for it.

use super::health::is_quorum_answering;
use super::params::Params;
use crate::api::desk::Desk;
use crate::api::etcd::VERSION;
use crate::api::problem::Problem;
use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::{Request, StatusCode};
use muslin_core::node::Consistency;
use muslin_core::state::{AlarmKind, Asker, Query, Response as Answered};
use serde_json::json;
use std::sync::Arc;

/// Healthy: no alarm that is not left out, a leader, and a quorum that answers.
pub(super) async fn health(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let left_out = params.text("exclude")?;
    let is_own = params.switch("serializable")?;
    params.finish()?;
    let reason = match alarm(&desk, left_out.as_deref()).await {
        Some(alarm) => Some(alarm),
        None if is_own => None,
        None if desk.handle.glance().leader.is_none() => Some("RAFT NO LEADER"),
        None if !is_quorum_answering(&desk).await => Some("QGET ERROR:the quorum is silent"),
        None => None,
    };
    let (status, health) = match reason {
        None => (StatusCode::OK, "true"),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "false"),
    };
    let body = json!({ "health": health, "reason": reason.unwrap_or_default() });
    Ok((status, Json(body)).into_response())
}

/// An alarm, as etcd words it.
async fn alarm(desk: &Desk, left_out: Option<&str>) -> Option<&'static str> {
    let handle = desk.handle.asking(Asker::Cluster);
    let outcome = handle.read(Query::Alarms, Consistency::Local).await.ok()?;
    let Ok(Answered::Alarms { alarms }) = outcome.result else { return None };
    let status = handle.status().await.ok()?;
    let is_full = !status.full.is_empty() || status.state_bytes >= status.quota_bytes;
    let is_raised = |kind: AlarmKind| alarms.iter().any(|alarm| alarm.kind() == kind);
    let no_space = is_full || is_raised(AlarmKind::NoSpace);
    let all = [
        ("NOSPACE", "ALARM NOSPACE", no_space),
        ("CORRUPT", "ALARM CORRUPT", is_raised(AlarmKind::Corrupt)),
    ];
    let mut raised = all.into_iter().filter(|(name, _, is)| *is && Some(*name) != left_out);
    raised.next().map(|(_, words, _)| words)
}

pub(super) async fn version(_: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    Ok(Json(json!({ "etcdserver": VERSION, "etcdcluster": VERSION })).into_response())
}
