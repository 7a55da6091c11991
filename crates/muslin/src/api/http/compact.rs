//! Dropping history.

use super::kv::{change, stamp};
use super::params::Params;
use super::{leases, numbers};
use crate::api::desk::Desk;
use crate::api::problem::Problem;
use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::Request;
use muslin_core::node::Consistency;
use muslin_core::state::{CommandKind, Compact};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// How often whoever waits until history is dropped looks for that.
const SWEPT_EVERY: Duration = Duration::from_millis(20);

pub(super) async fn run(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let revision = params.number("revision")?;
    let physical = params.switch("physical")?;
    params.finish()?;
    let revision = revision.ok_or_else(|| {
        Problem::bad_request("say up to where: revision=N, as answers tell revisions")
    })?;
    let (_, at) = change(&desk, CommandKind::Compact(Compact { revision })).await?;
    while physical && is_sweeping(&desk).await? {
        tokio::time::sleep(SWEPT_EVERY).await;
    }
    let body = json!({ "compacted": numbers::json(revision), "revision": numbers::json(at.0) });
    Ok((stamp(&desk, at, Consistency::Linearizable), Json(body)).into_response())
}

async fn is_sweeping(desk: &Desk) -> Result<bool, Problem> {
    let failed = |failure| Problem::of_failure(failure, leases::is_led(desk));
    Ok(desk.handle.status().await.map_err(failed)?.is_sweeping)
}
