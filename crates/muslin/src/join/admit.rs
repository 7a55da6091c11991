//! The member's side: checks, has the admission committed, answers.

use super::message::{JoinAnswer, JoinMember, JoinRequest, REQUEST_BYTES_MAX};
use super::words::{Unfit, check_name, check_roles};
use crate::driver::Handle;
use crate::identity::{Identity, IdentityError, NodeSubject, Papers, SignedRequest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use muslin_core::base::{Epoch, NodeId};
use muslin_core::node::Failure;
use muslin_core::state::{Admit, Command, CommandKind, Founding, Member, Refusal};
use prost::Message;
use serde::Serialize;
use std::fmt;
use std::net::SocketAddr;

/// The role whose holders may vote, and hold the authority's key.
const CONTROL: &str = "control";

/// Where tokens come from.
const BY_TOKEN: &str = "make another where a node runs: `muslin token create`";

/// Why a joiner was not admitted, in the shape of a problem over HTTP.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct JoinRefusal {
    /// The HTTP status that fits.
    pub status: u16,
    /// For programs.
    pub code: &'static str,
    /// What happened.
    pub detail: String,
    /// What to do.
    pub hint: String,
    /// The same request may succeed later.
    pub retryable: bool,
}

impl JoinRefusal {
    pub(super) fn new(
        status: u16,
        code: &'static str,
        detail: impl Into<String>,
        hint: &str,
    ) -> JoinRefusal {
        let (detail, hint) = (detail.into(), hint.to_string());
        JoinRefusal { status, code, detail, hint, retryable: false }
    }

    pub(super) fn bad(detail: impl Into<String>) -> JoinRefusal {
        JoinRefusal::new(400, "bad-request", detail, "join with this cluster's version of muslin")
    }

    fn retryable(self) -> JoinRefusal {
        JoinRefusal { retryable: true, ..self }
    }
}

impl fmt::Display for JoinRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.detail, self.hint)
    }
}

impl std::error::Error for JoinRefusal {}

/// [`admit`], from the bytes of a request to the bytes of an answer, both JSON.
pub async fn answer(
    handle: &Handle,
    identity: &Identity,
    founding: &Founding,
    body: &[u8],
    unix_ms: u64,
) -> Result<Vec<u8>, JoinRefusal> {
    if body.len() > REQUEST_BYTES_MAX {
        let detail = format!("the request is larger than {REQUEST_BYTES_MAX} bytes");
        return Err(JoinRefusal::new(413, "too-large", detail, "use `muslin join`"));
    }
    // The parser's message could quote the secret.
    let request = serde_json::from_slice(body)
        .map_err(|error| JoinRefusal::bad(format!("line {} is not as expected", error.line())))?;
    let answer = admit(handle, identity, founding, request, unix_ms).await?;
    Ok(serde_json::to_vec(&answer).expect("text and numbers are always JSON"))
}

/// Admits a node: answers once its admission is committed, and refuses otherwise.
///
/// `unix_ms` is the wall clock, with which the token's expiry is compared.
pub async fn admit(
    handle: &Handle,
    identity: &Identity,
    founding: &Founding,
    request: JoinRequest,
    unix_ms: u64,
) -> Result<JoinAnswer, JoinRefusal> {
    let wanted = Wanted::of(&request, identity)?;
    let proof = request.proof.as_ref().ok_or_else(token_refused)?;
    let secret_hash = proof.check(&request.signed()).ok_or_else(token_refused)?;
    // Signed before it is proposed: if that fails, nothing has changed.
    let epoch = handle.glance().epoch;
    let papers = wanted.sign(identity, epoch).map_err(unsigned)?;
    let admission = Admit {
        member: wanted.member.clone(),
        token_id: proof.token_id.clone(),
        secret_hash: secret_hash.to_vec().into(),
        unix_ms,
        may_wait: false,
    };
    let outcome =
        handle.write(Command::of(CommandKind::Admit(admission))).await.map_err(unsettled)?;
    if let Err(refusal) = outcome.result {
        let (node, name) = (wanted.node, &wanted.member.name);
        let token = &proof.token_id;
        tracing::warn!(%node, name, token, reason = %refusal, "a join was refused");
        return Err(refused(refusal));
    }
    // Committed, and applied here: the status has the new member.
    let status = handle.status().await.map_err(unsettled)?;
    let is_control = wanted.member.roles.iter().any(|role| role == CONTROL);
    let ca_key = identity.ca_key.as_ref().filter(|_| is_control);
    Ok(JoinAnswer {
        cluster: identity.cluster.to_string(),
        cluster_name: identity.cluster_name.clone(),
        epoch: epoch.0,
        ca_pem: identity.ca_pem.clone(),
        certificate_pem: papers.certificate_pem,
        ticket: STANDARD.encode(papers.ticket),
        ca_key_pem: ca_key.map(|key| key.expose().to_string()),
        gossip_keys: identity.keyring.to_json(),
        founding: STANDARD.encode(founding.encode_to_vec()),
        members: status.members.iter().map(JoinMember::from).collect(),
    })
}

/// What a request asks for, checked.
struct Wanted {
    node: NodeId,
    address: SocketAddr,
    request: SignedRequest,
    member: Member,
}

impl Wanted {
    fn of(request: &JoinRequest, identity: &Identity) -> Result<Wanted, JoinRefusal> {
        let node = NodeId::parse(&request.node).filter(|node| node.0 != 0);
        let node = node.ok_or_else(|| JoinRefusal::bad("the node id is not 16 hex digits"))?;
        let unfit = |code, unfit: Unfit, hint| JoinRefusal::new(400, code, unfit.to_string(), hint);
        check_name(&request.name).map_err(|e| unfit("bad-name", e, "choose another --name"))?;
        check_roles(&request.roles).map_err(|e| unfit("bad-role", e, "change --roles"))?;
        let address = reachable(&request.address)?;
        if !request.etcd_address.is_empty() {
            reachable(&request.etcd_address)?;
        }
        let signed = SignedRequest::parse(&request.csr_pem).map_err(|error| {
            JoinRefusal::new(400, "bad-certificate-request", error.to_string(), "join again")
        })?;
        if !signed.is_for(identity.cluster, node) {
            return Err(JoinRefusal::bad("the certificate request is for another node or cluster"));
        }
        let member = Member {
            id: node.0,
            name: request.name.clone(),
            address: address.to_string(),
            etcd_address: request.etcd_address.clone(),
            roles: request.roles.clone(),
            key_hash: signed.key_hash().to_vec().into(),
            ..Member::default()
        };
        Ok(Wanted { node, address, request: signed, member })
    }

    fn sign(&self, identity: &Identity, epoch: Epoch) -> Result<Papers, IdentityError> {
        let subject = NodeSubject { node: self.node, epoch, addresses: &[self.address.ip()] };
        identity.issue((&self.member.name, &self.member.roles), subject, &self.request)
    }
}

fn reachable(text: &str) -> Result<SocketAddr, JoinRefusal> {
    let address = text.parse::<SocketAddr>().ok();
    let address = address.filter(|address| !address.ip().is_unspecified() && address.port() != 0);
    address.ok_or_else(|| {
        let detail = format!("{text:?} is not an address that others can reach");
        let hint = "give an ip:port that the other nodes can reach with --advertise";
        JoinRefusal::new(400, "bad-address", detail, hint)
    })
}

pub(super) fn unsigned(error: IdentityError) -> JoinRefusal {
    match error {
        IdentityError::NoCaKey => JoinRefusal::new(
            421,
            "no-ca-key",
            "the asked node does not hold the cluster's CA key, so it cannot admit anyone",
            "ask a node with role control",
        ),
        other => JoinRefusal::new(500, "internal", other.to_string(), "ask another node"),
    }
}

pub(super) fn unsettled(failure: Failure) -> JoinRefusal {
    let refusal = match failure {
        Failure::TimedOut | Failure::NoLeader => JoinRefusal::new(
            503,
            "no-quorum",
            "the control group gave no answer in time, so nothing is known to have changed",
            "see `muslin status`; join again once a quorum of the voters answers",
        ),
        Failure::Busy { .. } => {
            let detail = "as many requests as the asked node lets wait do so already";
            JoinRefusal::new(503, "busy", detail, "join again in some seconds, or by another node")
        }
        Failure::Stopping => {
            JoinRefusal::new(503, "stopping", "the asked node is stopping", "ask another node")
        }
        Failure::StandsStill => {
            let detail = "the disk of the asked node is full and its copy stands still";
            JoinRefusal::new(503, "stands-still", detail, "ask another node")
        }
        Failure::NoSpace => {
            let detail = "the disk of the leader, or of a quorum, is full";
            JoinRefusal::new(507, "no-space", detail, "make room on it, then join again")
        }
        Failure::NoGroup | Failure::Starting | Failure::Lost | Failure::TooLarge => {
            let detail = "the request is too large to be recorded";
            return JoinRefusal::new(413, "too-large", detail, "use fewer roles and shorter names");
        }
    };
    refusal.retryable()
}

/// The same whatever is wrong with a token: an answer that told them apart would tell a stranger
/// which ids there are.
fn token_refused() -> JoinRefusal {
    let detail = "the token does not let this node in: it is wrong, expired, used up or revoked";
    JoinRefusal::new(403, "token-refused", detail, BY_TOKEN)
}

fn refused(refusal: Refusal) -> JoinRefusal {
    let (status, code, hint) = match refusal {
        // One answer for all that is wrong with a token: which it is, this node's own log says.
        Refusal::TokenInvalid => return token_refused(),
        Refusal::NameTaken(_) => {
            (409, "name-taken", "see `muslin node ls` for the names there are")
        }
        Refusal::MemberExists => {
            (409, "member-exists", "use a --data-dir of its own for each node")
        }
        _ => (409, "refused", "see `muslin status`"),
    };
    JoinRefusal::new(status, code, refusal.to_string(), hint)
}
