//! Errors as people and programs get them over HTTP: `application/problem+json` (RFC 9457).

use crate::coordination;
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use muslin_core::node::{COMMAND_BYTES_MAX, Failure};
use muslin_core::state::{AuthRefusal, Refusal};
use serde::Serialize;
use std::num::NonZeroU32;
use std::time::Duration;

/// The media type of every error body.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// When a request that no leader or no running node could take should come again: an election, or
/// a supervisor that starts a node, takes about so long.
const RETRY_AFTER_ELECTION: Duration = Duration::from_secs(1);

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
    /// When it should be asked again, where that is known. The header `Retry-After` says the same
    /// in whole seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<NonZeroU32>,
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
            retry_after_ms: None,
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

    /// The same request may succeed when so much time has passed.
    #[must_use]
    pub fn retry_after(mut self, time: Duration) -> Problem {
        let millis = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        self.retry_after_ms = NonZeroU32::new(millis);
        self.retryable()
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
                    .retry_after(RETRY_AFTER_ELECTION)
            }
            Failure::Busy { retry_after } => {
                let detail = "as many requests as this node lets wait do so already; \
                              this one was refused and nothing happened";
                let hint = format!(
                    "ask again in {} ms, or ask another node; with fewer at once none is refused",
                    retry_after.as_millis()
                );
                Problem::new(StatusCode::TOO_MANY_REQUESTS, "busy", detail)
                    .hint(hint)
                    .retry_after(retry_after)
            }
            Failure::Stopping => {
                let detail = "this node is stopping; nothing happened";
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", detail)
                    .hint("ask another node")
                    .retry_after(RETRY_AFTER_ELECTION)
            }
            Failure::TooLarge => Problem::too_large(COMMAND_BYTES_MAX),
            Failure::NoGroup => {
                let detail = "this node knows of no such group, or is to keep a replica and does \
                              not know its kind; nothing happened";
                Problem::new(StatusCode::NOT_FOUND, "no-group", detail)
                    .hint("see `muslin group ls`")
            }
            Failure::Lost => {
                let detail = "the disk of this node has lost what it had acknowledged, and it \
                              keeps the group's only replica; nothing happened";
                Problem::new(StatusCode::GONE, "group-lost", detail)
                    .hint("restore the data directory from a backup, or take the group out")
            }
            Failure::StandsStill => {
                let detail = "the disk of this node is full and its copy stands still, so nothing \
                              happened";
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stands-still", detail)
                    .hint("ask another node, or make room; consistency=local reads what is here")
                    .retryable()
            }
            Failure::Starting => {
                let detail = "this node has started and has not read yet which groups it keeps; \
                              nothing happened";
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "starting", detail)
                    .hint("ask again, or ask another node")
                    .retry_after(RETRY_AFTER_ELECTION)
            }
            Failure::Denied(refusal) => Problem::of_auth(refusal),
            Failure::NoSpace => {
                let detail = "the disk is full where the group needs it, and the write was refused";
                Problem::new(StatusCode::INSUFFICIENT_STORAGE, "no-space", detail)
                    .hint("make room on the disk that `muslin status` names; it clears by itself")
                    .retryable()
            }
        }
    }

    /// A lock, an office or a write behind a fence was not had.
    pub fn of_coordination(error: &coordination::Error, leader_known: bool) -> Problem {
        use coordination::Error;
        match error {
            Error::Failed(failure) => Problem::of_failure(*failure, leader_known),
            Error::Refused(refusal) => Problem::of_refusal(refusal),
            Error::SessionEnded => Problem::of_refusal(&Refusal::LeaseNotFound)
                .hint("get another lease, and queue again"),
            Error::Held | Error::WaitedInVain => {
                Problem::new(StatusCode::CONFLICT, "held", error.to_string())
                    .hint("wait for it, longer if you did: `--wait`, over HTTP wait=")
                    .retryable()
            }
            Error::NotLeader => Problem::new(StatusCode::CONFLICT, "not-leader", error.to_string())
                .hint("campaign again"),
            Error::Fenced => {
                Problem::new(StatusCode::PRECONDITION_FAILED, "fenced", error.to_string())
                    .hint("it was lost or given back: acquire it again, and decide again")
            }
            Error::NotThere => Problem::not_found(error.to_string()),
            Error::Differs => {
                Problem::new(StatusCode::PRECONDITION_FAILED, "conflict", error.to_string())
                    .hint("read it again, and decide again")
            }
            Error::OutOfRange | Error::BadIdentity => Problem::bad_request(error.to_string()),
            Error::IdentityReused => {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                Problem::new(status, "key-reused", error.to_string())
                    .hint("use another id for another operation")
            }
            Error::NoRandomness => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                Problem::new(status, "internal", error.to_string())
            }
        }
    }

    /// Somebody may not, or rights cannot be changed so.
    pub fn of_auth(refusal: AuthRefusal) -> Problem {
        let (status, code) = match refusal {
            AuthRefusal::UserEmpty => (StatusCode::UNAUTHORIZED, "user-needed"),
            AuthRefusal::InvalidToken => (StatusCode::UNAUTHORIZED, "token-stale"),
            AuthRefusal::Failed | AuthRefusal::NoPasswordUser => {
                (StatusCode::UNAUTHORIZED, "not-authenticated")
            }
            AuthRefusal::Denied => (StatusCode::FORBIDDEN, "permission-denied"),
            AuthRefusal::UserNotFound
            | AuthRefusal::RoleNotFound
            | AuthRefusal::RoleNotGranted
            | AuthRefusal::PermissionNotGranted => (StatusCode::NOT_FOUND, "not-found"),
            AuthRefusal::UserExists
            | AuthRefusal::RoleExists
            | AuthRefusal::RootUserMissing
            | AuthRefusal::RootRoleMissing
            | AuthRefusal::NotEnabled
            | AuthRefusal::InvalidManagement => (StatusCode::CONFLICT, "conflict"),
            AuthRefusal::TooMany => (StatusCode::TOO_MANY_REQUESTS, "too-many"),
            AuthRefusal::RoleEmpty | AuthRefusal::PermissionNotGiven | AuthRefusal::BadForm => {
                (StatusCode::BAD_REQUEST, "bad-request")
            }
        };
        Problem::new(status, code, refusal.words()).hint(auth_hint(refusal))
    }

    /// The replicated state refused a command or a query.
    pub fn of_refusal(refusal: &Refusal) -> Problem {
        if let Refusal::Auth(refusal) = refusal {
            return Problem::of_auth(*refusal);
        }
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
            Refusal::Full { .. } => (StatusCode::INSUFFICIENT_STORAGE, "quota"),
            Refusal::NoSpace => (StatusCode::INSUFFICIENT_STORAGE, "no-space"),
            Refusal::Corrupt => (StatusCode::SERVICE_UNAVAILABLE, "corrupt"),
            Refusal::TooManyLeases => (StatusCode::TOO_MANY_REQUESTS, "too-many-leases"),
            Refusal::LeaseFull => (StatusCode::CONFLICT, "lease-full"),
            Refusal::TooManyGroups => (StatusCode::TOO_MANY_REQUESTS, "too-many-groups"),
            Refusal::TokenInvalid | Refusal::TokenRole(_) => {
                (StatusCode::FORBIDDEN, "token-refused")
            }
            Refusal::JoinDenied => (StatusCode::FORBIDDEN, "join-denied"),
            Refusal::TokenNotFound | Refusal::JoinNotFound | Refusal::GossipKeyNotFound => {
                (StatusCode::NOT_FOUND, "not-found")
            }
            Refusal::QuorumNeeded(_) | Refusal::VotersGone(_) => {
                (StatusCode::CONFLICT, "quorum-needed")
            }
            Refusal::ClusterTooSmall(_) => (StatusCode::CONFLICT, "cluster-too-small"),
            Refusal::OldLife | Refusal::OldEpoch { .. } | Refusal::NotLeftBehind(_) => {
                (StatusCode::CONFLICT, "stale")
            }
            Refusal::TooManyHeld => (StatusCode::TOO_MANY_REQUESTS, "too-many-held"),
            Refusal::AddressTaken(_)
            | Refusal::TokenExists
            | Refusal::RolesMissing(_)
            | Refusal::MemberLives(_)
            | Refusal::MemberGone(_)
            | Refusal::MemberDrains(_)
            | Refusal::NotControl(_)
            | Refusal::TombstonesYoung
            | Refusal::GossipKeyOrder
            | Refusal::GossipKeyInUse
            | Refusal::TooManyGossipKeys => (StatusCode::CONFLICT, "conflict"),
            _ => (StatusCode::BAD_REQUEST, "bad-request"),
        };
        let problem = Problem::new(status, code, refusal.to_string());
        match refusal {
            Refusal::Compacted => problem.hint(
                "name a later revision, or none: the header `muslin-index` of every answer ends \
                 with the present one",
            ),
            _ => problem,
        }
    }
}

/// What to do about it.
fn auth_hint(refusal: AuthRefusal) -> &'static str {
    match refusal {
        AuthRefusal::UserEmpty => {
            "auth is enabled: say who you are with `Authorization: Bearer TOKEN` \
             (POST /v1/auth/token), --user NAME, or an administrator's certificate"
        }
        AuthRefusal::InvalidToken => {
            "authenticate again: the token is too old, or of an earlier password"
        }
        AuthRefusal::Failed => {
            "try again with the right name and password; the user root, or an administrator's \
             certificate, gives a user another password"
        }
        AuthRefusal::NoPasswordUser => "this user is made without a password: use another",
        AuthRefusal::Denied => "ask the user root for a role that may",
        AuthRefusal::RootUserMissing => "make it first: `muslin user add root`",
        AuthRefusal::RootRoleMissing => "give it first: `muslin user grant root root`",
        AuthRefusal::UserExists => {
            "choose another name; `muslin user passwd` gives this one another password"
        }
        AuthRefusal::RoleExists => "choose another name; `muslin role show` tells what it may do",
        AuthRefusal::UserNotFound => "`muslin user ls` lists them",
        AuthRefusal::RoleNotFound => "`muslin role ls` lists them",
        AuthRefusal::RoleNotGranted => "`muslin user show` tells which roles it has",
        AuthRefusal::PermissionNotGranted => {
            "name the range as it was granted: `muslin role show` tells them"
        }
        AuthRefusal::NotEnabled => "no token is needed until `muslin auth enable`",
        AuthRefusal::InvalidManagement => {
            "the user root, its role and that role stay while auth is enabled; a permission is on \
             a key that is not empty, and a range ends behind its key"
        }
        AuthRefusal::TooMany => "take out some that are not needed",
        AuthRefusal::RoleEmpty => "name a role",
        AuthRefusal::PermissionNotGiven => "say which: read, write or readwrite, and of which keys",
        AuthRefusal::BadForm => "choose a shorter one",
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).expect("a problem has only strings and numbers");
        let kind = [(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON))];
        let mut response = (status, kind, body).into_response();
        if let Some(millis) = self.retry_after_ms {
            // Whole seconds (RFC 9110, 10.2.3), never too early.
            let seconds = HeaderValue::from(millis.get().div_ceil(1_000));
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_is_told_what_to_do() {
        let last = Problem::of_auth(AuthRefusal::InvalidManagement);
        assert!(last.hint.contains("key that is not empty"), "{}", last.hint);
        assert_eq!((last.status, last.code), (409, "conflict"));
    }

    #[test]
    fn a_busy_node_says_when_to_ask_again_in_the_header_and_in_the_body() {
        let busy = |millis| Failure::Busy { retry_after: Duration::from_millis(millis) };
        for (millis, seconds) in [(50, "1"), (1_000, "1"), (1_001, "2")] {
            let problem = Problem::of_failure(busy(millis), true);
            assert!(problem.hint.contains(&format!("{millis} ms")), "{}", problem.hint);
            let body = serde_json::to_value(&problem).unwrap();
            assert_eq!(body["retry_after_ms"], millis);
            let response = problem.into_response();
            assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(response.headers()[RETRY_AFTER], seconds);
        }
        let problem = Problem::of_failure(Failure::TooLarge, true);
        assert!(serde_json::to_value(&problem).unwrap().get("retry_after_ms").is_none());
        assert!(!problem.into_response().headers().contains_key(RETRY_AFTER));
    }
}
