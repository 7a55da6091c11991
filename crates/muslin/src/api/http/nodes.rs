//! Who joins, and nodes whose papers are renewed.

use super::params::{self, BodyLimit, Params};
use crate::api::caller::Caller;
use crate::api::desk::Desk;
use crate::api::problem::Problem;
use crate::api::server::{Admission, Asked};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, StatusCode};
use std::sync::Arc;

/// Largest request to join: a certificate request and a token are a few kilobytes.
const JOIN_BYTES_MAX: usize = 64 << 10;

pub(super) async fn join(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let (admission, asked) = asked(&desk, request).await?;
    let body = asked.body.clone();
    let answer = admission.join(asked).await;
    Ok(json_answer(answer.inspect_err(|problem| desk.chronicle.refused(&name_in(&body), problem))?))
}

pub(super) async fn renew(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let (admission, asked) = asked(&desk, request).await?;
    let node = match asked.caller {
        Caller::Node(node) | Caller::Outdated(node) => node,
        _ => {
            let detail = "only a node can have its own certificate renewed";
            return Err(Problem::new(StatusCode::FORBIDDEN, "not-a-node", detail)
                .hint("`muslin cert rotate` has a running node do it"));
        }
    };
    Ok(json_answer(admission.renew(node, asked).await?))
}

/// What a joiner calls itself, as far as that can be read.
fn name_in(body: &[u8]) -> String {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    body["name"].as_str().unwrap_or_default().to_string()
}

async fn asked(
    desk: &Desk,
    request: Request<Body>,
) -> Result<(Arc<dyn Admission>, Asked), Problem> {
    Params::of(&request)?.finish()?;
    let Some(admission) = &desk.join else {
        let detail = "this node admits nobody";
        return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "not-offered", detail)
            .hint("ask another node of the cluster"));
    };
    let limit = BodyLimit { bytes: JOIN_BYTES_MAX, time: desk.patience.body };
    let caller = request.extensions().get().copied().unwrap_or(Caller::Anonymous);
    let body = params::body(request, limit).await?;
    Ok((admission.clone(), Asked { caller, body }))
}

fn json_answer(answer: Bytes) -> Response {
    let kind = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (kind, answer).into_response()
}
