//! For whoever watches over the process.

use super::params::Params;
use crate::api::desk::Desk;
use crate::api::problem::Problem;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::header::CONTENT_TYPE;
use hyper::{Request, StatusCode};
use muslin_core::node::{Consistency, Failure};
use muslin_core::state::Query;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::timeout;

/// A quorum that takes longer to answer a read counts as silent.
pub(super) const QUORUM_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) async fn live(_: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    Ok("ok\n".into_response())
}

/// Ready: it knows a leader, and has once applied all that was written before it started.
pub(super) async fn ready(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    if desk.handle.glance().leader.is_none() {
        return Err(not_ready("this node knows no leader"));
    }
    if !desk.caught_up.load(Ordering::Relaxed) {
        is_quorum_answering(&desk).await;
    }
    if !desk.caught_up.load(Ordering::Relaxed) {
        return Err(not_ready("this node has not caught up yet"));
    }
    Ok("ok\n".into_response())
}

fn not_ready(why: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", why)
        .hint("see `muslin status`")
        .retryable()
}

/// Whether a quorum confirms a read now, be it that this node cannot answer it.
pub(super) async fn is_quorum_answering(desk: &Desk) -> bool {
    let read = desk.handle.read(Query::Revision, Consistency::Linearizable);
    match timeout(QUORUM_TIMEOUT, read).await {
        Ok(Ok(_)) => {
            desk.caught_up.store(true, Ordering::Relaxed);
            true
        }
        Ok(Err(failure)) => failure == Failure::StandsStill,
        Err(_) => false,
    }
}

pub(super) async fn metrics(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let status = desk.handle.status().await;
    let status = status.map_err(|failure| Problem::of_failure(failure, true))?;
    let kind = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((kind, desk.metrics.render(&status, &desk.handle)).into_response())
}
