//! Errors as people and programs get them over HTTP: `application/problem+json` (RFC 9457).

use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use muslin_core::node::{COMMAND_BYTES_MAX, Failure};
use muslin_core::state::Refusal;
use serde::Serialize;

/// The media type of every error body.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What went wrong and what to do about it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Problem {
    /// Names the kind of problem as a URI, made of `code`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// For programs to match on.
    pub code: &'static str,
    /// What happened.
    pub detail: String,
    /// What to do.
    pub hint: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
}

impl Problem {
    /// A problem that trying again does not solve.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Problem {
        Problem {
            kind: format!("urn:muslin:problem:{code}"),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code,
            detail: detail.into(),
            hint: String::new(),
            retryable: false,
        }
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = hint.into();
        self
    }

    /// The same request may succeed later.
    #[must_use]
    pub fn retryable(mut self) -> Problem {
        self.retryable = true;
        self
    }

    /// The request makes no sense.
    pub fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "bad-request", detail)
    }

    /// What was named does not exist.
    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// The body is larger than what is taken.
    pub fn too_large(limit: usize) -> Problem {
        let detail = format!("the body is larger than the limit of {limit} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
            .hint("store it in pieces, or store where it is")
    }

    /// The caller shows no certificate, and the route wants one.
    pub fn unauthorized() -> Problem {
        let detail = "this route wants a client certificate of the cluster";
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail).hint(
            "call from the node's own machine, or with a certificate signed by the cluster's CA",
        )
    }

    /// Plain HTTP from another machine.
    pub fn plain_text_refused() -> Problem {
        let detail = "plain HTTP is answered on this machine only";
        Problem::new(StatusCode::FORBIDDEN, "https-required", detail)
            .hint("use https:// and a client certificate signed by the cluster's CA")
    }

    /// The node did not settle a request.
    pub fn of_failure(failure: Failure, leader_known: bool) -> Problem {
        match failure {
            Failure::TimedOut if leader_known => {
                let detail = "not settled in time; a write may or may not have happened";
                Problem::new(StatusCode::GATEWAY_TIMEOUT, "timed-out", detail)
                    .hint("read before you write again")
                    .retryable()
            }
            Failure::TimedOut | Failure::NoLeader => {
                let detail = "no quorum: this node knows no leader";
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no-quorum", detail)
                    .hint("see `muslin status`; reads with consistency=local still work")
                    .retryable()
            }
            Failure::Busy => {
                let detail = "too many requests wait already; nothing happened";
                Problem::new(StatusCode::TOO_MANY_REQUESTS, "busy", detail)
                    .hint("try again in a moment")
                    .retryable()
            }
            Failure::Stopping => {
                let detail = "this node is stopping; nothing happened";
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", detail)
                    .hint("ask another node")
                    .retryable()
            }
            Failure::TooLarge => Problem::too_large(COMMAND_BYTES_MAX),
            Failure::NoGroup => {
                let detail = "this node keeps no replica of such a group; nothing happened";
                Problem::new(StatusCode::NOT_FOUND, "no-group", detail)
                    .hint("ask one of its replicas: see `muslin group ls`")
            }
            Failure::NoSpace => {
                let detail = "the disk is full where the group needs it, and the write was refused";
                Problem::new(StatusCode::INSUFFICIENT_STORAGE, "no-space", detail)
                    .hint("make room on the disk that `muslin status` names; it clears by itself")
                    .retryable()
            }
        }
    }

    /// The replicated state refused a command or a query.
    pub fn of_refusal(refusal: &Refusal) -> Problem {
        let (status, code) = match refusal {
            Refusal::Compacted => (StatusCode::GONE, "compacted"),
            Refusal::FutureRevision => (StatusCode::BAD_REQUEST, "future-revision"),
            Refusal::KeyNotFound
            | Refusal::LeaseNotFound
            | Refusal::MemberNotFound
            | Refusal::GroupNotFound => (StatusCode::NOT_FOUND, "not-found"),
            Refusal::LeaseExists
            | Refusal::MemberExists
            | Refusal::NameTaken(_)
            | Refusal::GroupExists
            | Refusal::GroupIdSpent
            | Refusal::GroupReassigned => (StatusCode::CONFLICT, "conflict"),
            Refusal::TooManyLeases => (StatusCode::TOO_MANY_REQUESTS, "too-many-leases"),
            Refusal::TooManyGroups => (StatusCode::TOO_MANY_REQUESTS, "too-many-groups"),
            Refusal::TokenInvalid | Refusal::TokenExpired => {
                (StatusCode::FORBIDDEN, "token-refused")
            }
            _ => (StatusCode::BAD_REQUEST, "bad-request"),
        };
        Problem::new(status, code, refusal.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).expect("a problem has only strings and numbers");
        let kind = [(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON))];
        (status, kind, body).into_response()
    }
}
