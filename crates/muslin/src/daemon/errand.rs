//! Asking the holders of the authority's key, as the node that this is.

use crate::api::Problem;
use crate::client::{Call, Client, ClientError};
use crate::identity::{Identity, node_dns_name};
use bytes::Bytes;
use hyper::StatusCode;
use muslin_core::base::NodeId;
use muslin_core::node::{CONTROL_ROLE, NodeStatus};
use std::time::Duration;

/// How long one of them may take: a commit, with an election in between.
const PATIENCE: Duration = Duration::from_secs(15);

/// Most of them that are asked before whoever waits is told: a person waits for it.
const ASKED_MAX: usize = 5;

/// Where a node of the cluster is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) node: NodeId,
    pub(super) address: String,
}

/// Members that hold the authority's key, the leader first.
pub(super) fn holders(status: &NodeStatus) -> Vec<Place> {
    let is_holder = |member: &&muslin_core::state::Member| {
        member.id != status.id.0 && member.roles.iter().any(|role| role == CONTROL_ROLE)
    };
    let mut places: Vec<Place> = (status.members.iter().filter(is_holder))
        .map(|member| Place { node: NodeId(member.id), address: member.address.clone() })
        .collect();
    places.sort_by_key(|place| (Some(place.node) != status.leader, place.node));
    places
}

/// Asks one after the other until one has something to say. All of it may be said twice.
pub(super) async fn ask(
    identity: &Identity,
    places: &[Place],
    path: &str,
    body: &Bytes,
) -> Result<Bytes, Problem> {
    ask_past(identity, places, (path, body), |_| false).await
}

/// Code of what is said when nobody decided.
pub(super) const NOBODY: &str = "no-control-node";

/// That nobody could be asked.
pub(super) fn nobody() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        NOBODY,
        "no node with role control is known here, and only those can admit",
    )
    .hint("see `muslin status`; ask again once one runs")
    .retryable()
}

/// The same, past those that say something that is no use: an answer, or the code of a problem.
pub(super) async fn ask_past(
    identity: &Identity,
    places: &[Place],
    (path, body): (&str, &Bytes),
    is_passed: impl Fn(Result<&Bytes, &str>) -> bool,
) -> Result<Bytes, Problem> {
    let mut last = nobody();
    for place in places.iter().take(ASKED_MAX) {
        let call = Call::post(path, body.clone());
        match as_node(identity, place)?.bytes(call).await {
            Ok(answer) if is_passed(Ok(&answer.body)) => {
                let detail = format!("{} knows less than others do", place.address);
                last = Problem::new(StatusCode::SERVICE_UNAVAILABLE, NOBODY, detail)
                    .hint("ask again once another node with role control answers")
                    .retryable();
            }
            Ok(answer) => return Ok(answer.body),
            Err(ClientError::Problem { status, code, detail, hint, .. }) if code != "no-ca-key" => {
                let is_passed = is_passed(Err(&code));
                let problem = passed_on(status, &code, detail, hint);
                if !is_passed {
                    return Err(problem);
                }
                last = problem;
            }
            Err(error) => {
                let detail =
                    format!("no node that could decide it answers; the last said: {error}");
                last = Problem::new(StatusCode::SERVICE_UNAVAILABLE, NOBODY, detail)
                    .hint("see `muslin status`; ask again once a node with role control answers")
                    .retryable();
            }
        }
    }
    Err(last)
}

/// Shows this node's certificate, whatever administrator's stands beside it, and demands that
/// node's.
pub(super) fn as_node(identity: &Identity, place: &Place) -> Result<Client, Problem> {
    let own = Identity { admin: None, ..identity.clone() };
    let tls = own.client_tls().map_err(|error| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string())
    })?;
    let name = node_dns_name(identity.cluster, place.node);
    Ok(Client::new(&place.address, Some(tls)).named(name).timeout(PATIENCE))
}

/// What another node has said, as if said here.
fn passed_on(status: u16, code: &str, detail: String, hint: String) -> Problem {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let known = CODES.iter().find(|known| **known == code).copied().unwrap_or("refused");
    let problem = Problem::new(status, known, detail).hint(hint);
    if status.is_server_error() { problem.retryable() } else { problem }
}

/// What those who decide may say.
const CODES: [&str; 20] = [
    "address-unreachable",
    "bad-address",
    "bad-certificate-request",
    "bad-name",
    "bad-request",
    "bad-role",
    "busy",
    "denied",
    "held",
    "member-exists",
    "name-taken",
    "address-taken",
    "no-quorum",
    "no-space",
    "not-a-member",
    "outdated",
    "removed",
    "token-refused",
    "token-role",
    "too-large",
];
