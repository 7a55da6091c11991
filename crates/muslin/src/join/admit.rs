//! The member's side: checks, has the admission committed, answers.

use super::message::{JoinAnswer, JoinHeld, JoinMember, JoinReply, JoinRequest, REQUEST_BYTES_MAX};
use super::reach::{one_node_at, reach};
use super::words::{Unfit, check_new_name, check_roles};
use crate::driver::Handle;
use crate::identity::{Identity, IdentityError, NodeSubject, Papers, SignedRequest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use muslin_core::base::{Epoch, NodeId};
use muslin_core::node::{Consistency, Failure};
use muslin_core::state::{
    Admission, Admit, CONTROL_ROLE, Command, CommandKind, Founding, HoldReason, Member, Query,
    Refusal, RemovedFor, Response, Tombstone,
};
use prost::Message;
use serde::Serialize;
use std::fmt;
use std::net::SocketAddr;

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

/// Most members told to a joiner, those first that can vote: it learns the others by gossip.
const MEMBERS_TOLD_MAX: usize = 512;

/// The member that admits.
#[derive(Clone, Copy)]
pub struct Door<'a> {
    /// Asks the control group.
    pub handle: &'a Handle,
    /// Signs, if it holds the authority's key.
    pub identity: &'a Identity,
    /// What the cluster started from.
    pub founding: &'a Founding,
    /// The wall clock, with which expiries are compared.
    pub unix_ms: u64,
}

impl Door<'_> {
    /// [`Door::admit`], from the bytes of a request to the bytes of an answer, both JSON.
    pub async fn answer(
        &self,
        body: &[u8],
        predecessor: Option<NodeId>,
    ) -> Result<Vec<u8>, JoinRefusal> {
        if body.len() > REQUEST_BYTES_MAX {
            let detail = format!("the request is larger than {REQUEST_BYTES_MAX} bytes");
            return Err(JoinRefusal::new(413, "too-large", detail, "use `muslin join`"));
        }
        let request = serde_json::from_slice(body).map_err(|error| {
            JoinRefusal::bad(format!("line {} is not as expected", error.line()))
        })?;
        let reply = match predecessor {
            Some(node) => self.admit_again(request, node).await?,
            None => self.admit(request).await?,
        };
        Ok(serde_json::to_vec(&reply).expect("text and numbers are always JSON"))
    }

    /// Admits a node, or holds it: answers once that is committed, and refuses otherwise.
    pub async fn admit(&self, request: JoinRequest) -> Result<JoinReply, JoinRefusal> {
        let wanted = Wanted::of(&request, self.identity)?;
        let claim = match &request.proof {
            Some(proof) => {
                let hash = proof.check(&request.signed()).ok_or_else(token_refused)?;
                Claim::Token(proof.token_id.clone(), hash.to_vec().into())
            }
            None => Claim::Nothing,
        };
        self.foresee(&wanted, &claim, request.listens).await?;
        self.propose(&wanted, claim).await
    }

    /// Refuses what would be refused, and a node that is not where it says, before anything is
    /// written. Only for whoever has a good token, or a place, is anybody called.
    async fn foresee(
        &self,
        wanted: &Wanted,
        claim: &Claim,
        listens: bool,
    ) -> Result<(), JoinRefusal> {
        let query = Query::Admission(Box::new(self.admission(wanted, claim)));
        let read = self.handle.read(query, Consistency::Linearizable).await.map_err(unsettled)?;
        let foreseen = match read.result {
            // It is written that a token was refused, so that the cluster's people learn of it.
            Err(Refusal::TokenInvalid) => Ok(()),
            Err(refusal) => Err(refused(refusal)),
            // A place is kept for an address: whoever asks for it has to be there.
            Ok(Response::Done) if listens || matches!(claim, Claim::Nothing) => {
                reach(wanted.address, wanted.node).await
            }
            Ok(_) => Ok(()),
        };
        foreseen.inspect_err(|refusal| wanted.tell(refusal))
    }

    fn admission(&self, wanted: &Wanted, claim: &Claim) -> Admit {
        Admit {
            member: wanted.member.clone(),
            unix_ms: self.unix_ms,
            may_wait: true,
            ..claim.admission()
        }
    }

    /// Admits a member anew that slept through a rise of the epoch: under another id, with its
    /// name and roles, on the strength of the certificate that it has shown.
    async fn admit_again(
        &self,
        request: JoinRequest,
        predecessor: NodeId,
    ) -> Result<JoinReply, JoinRefusal> {
        let wanted = Wanted::of(&request, self.identity)?;
        // Through a quorum: what this node has not yet heard may be that it was removed.
        let read = self.handle.read(Query::Record, Consistency::Linearizable).await;
        let Ok(Response::Record(record)) = read.map_err(unsettled)?.result else {
            return Err(JoinRefusal::bad("the record was not told"));
        };
        let before = record.members.iter().find(|member| member.node() == predecessor);
        let Some(before) = before else {
            return match record.members.iter().any(|member| member.node() == wanted.node) {
                // Its first try was admitted, and the answer was lost.
                true => self.propose(&wanted, Claim::Nothing).await,
                false => Err(removed(predecessor, None)),
            };
        };
        if record.voters.contains(&predecessor) {
            let detail = format!("{} votes in the control group under its old id", before.name);
            let hint = "take its vote away first: `muslin node demote` it, then start it again";
            return Err(JoinRefusal::new(409, "still-votes", detail, hint));
        }
        self.propose(&wanted, Claim::Place(predecessor)).await
    }

    async fn propose(&self, wanted: &Wanted, claim: Claim) -> Result<JoinReply, JoinRefusal> {
        // Signed before it is proposed: if that fails, nothing has changed.
        let epoch = self.handle.glance().epoch;
        let mut papers = wanted.sign(self.identity, epoch).map_err(unsigned)?;
        let admission = self.admission(wanted, &claim);
        let written = self.write(CommandKind::Admit(admission.into())).await;
        let written = written.map_err(|refusal| match (&claim, refusal.code) {
            (Claim::Nothing, "token-refused") => by_token_only(),
            _ => refusal,
        });
        match written.inspect_err(|refusal| wanted.tell(refusal))? {
            Response::Admission(Admission::Held { reason, expires_unix_ms }) => {
                Ok(JoinReply::Held(held(reason, expires_unix_ms)))
            }
            Response::Admission(Admission::Admitted { epoch: given, .. }) if given != epoch => {
                papers = wanted.sign(self.identity, given).map_err(unsigned)?;
                self.welcome(wanted, given, papers).await
            }
            _ => self.welcome(wanted, epoch, papers).await,
        }
    }

    async fn write(&self, kind: CommandKind) -> Result<Response, JoinRefusal> {
        let outcome = self.handle.write(Command::of(kind)).await.map_err(unsettled)?;
        outcome.result.map_err(refused)
    }

    /// All that an admitted node begins with.
    async fn welcome(
        &self,
        wanted: &Wanted,
        epoch: Epoch,
        papers: Papers,
    ) -> Result<JoinReply, JoinRefusal> {
        // Committed, and applied here: the status has the new member.
        let status = self.handle.status().await.map_err(unsettled)?;
        let identity = self.identity;
        let is_control = wanted.member.performs(CONTROL_ROLE);
        let ca_key = identity.ca_key.as_ref().filter(|_| is_control);
        let mut members: Vec<&Member> = status.members.iter().collect();
        members
            .sort_by_key(|member| !(member.performs(CONTROL_ROLE) || member.id == wanted.node.0));
        Ok(JoinReply::Admitted(Box::new(JoinAnswer {
            cluster: identity.cluster.to_string(),
            cluster_name: identity.cluster_name.clone(),
            epoch: epoch.0,
            ca_pem: identity.ca_pem.clone(),
            certificate_pem: papers.certificate_pem,
            ticket: STANDARD.encode(papers.ticket),
            ca_key_pem: ca_key.map(|key| key.expose().to_string()),
            gossip_keys: identity.keyring.to_json(),
            founding: STANDARD.encode(self.founding.encode_to_vec()),
            members_total: members.len(),
            members: members.into_iter().take(MEMBERS_TOLD_MAX).map(JoinMember::from).collect(),
        })))
    }
}

/// On the strength of what a node is to be admitted.
enum Claim {
    /// Somebody has to approve it.
    Nothing,
    /// The public part, and the hash of the secret.
    Token(String, Bytes),
    /// It has shown the certificate of this member, which stayed behind when the epoch rose.
    Place(NodeId),
}

impl Claim {
    fn admission(&self) -> Admit {
        match self {
            Claim::Nothing => Admit::default(),
            Claim::Token(token_id, secret_hash) => Admit {
                token_id: token_id.clone(),
                secret_hash: secret_hash.clone(),
                ..Admit::default()
            },
            Claim::Place(node) => Admit { in_place_of: node.0, ..Admit::default() },
        }
    }
}

fn held(reason: HoldReason, expires_unix_ms: u64) -> JoinHeld {
    let (waits_for, missing_roles) = match reason {
        HoldReason::Approval => ("somebody has to approve it".to_string(), Vec::new()),
        HoldReason::Roles(roles) => {
            (format!("nobody performs what it requires: {}", roles.join(", ")), roles)
        }
    };
    JoinHeld { waits_for, missing_roles, expires_unix_ms }
}

/// What a removed node is told: as much as is still known of how that came.
pub(super) fn removed(node: NodeId, stone: Option<&Tombstone>) -> JoinRefusal {
    let how = stone.map_or(String::new(), |stone| {
        let why = match stone.why() {
            RemovedFor::Asked => "by an operator (`muslin node rm`)",
            RemovedFor::Reaped => "since it was gone for longer than the settings allow",
            RemovedFor::Replaced => "since another node has taken its name over",
        };
        format!(" {why}, at {}", moment(stone.removed_unix_ms))
    });
    let detail =
        format!("node {node} was removed from the cluster{how}; its id is barred for ever");
    let hint = "join again with an empty data directory: the name is free";
    JoinRefusal::new(403, "removed", detail, hint)
}

/// A moment as people write it.
fn moment(unix_ms: u64) -> String {
    #[cfg(feature = "api")]
    if let Some(text) = crate::api::status::rfc3339(unix_ms) {
        return text;
    }
    format!("{} s after the beginning of 1970", unix_ms / 1_000)
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
        check_new_name(&request.name).map_err(|e| unfit("bad-name", e, "choose another --name"))?;
        check_roles(&request.roles).map_err(|e| unfit("bad-role", e, "change --roles"))?;
        for roles in [&request.requires, &request.requires_for_bootstrap] {
            check_roles(roles).map_err(|e| unfit("bad-role", e, "change --requires"))?;
        }
        let address = reachable(&request.address)?;
        // As the record compares them: one text for one address.
        let etcd_address = match request.etcd_address.as_str() {
            "" => String::new(),
            text => reachable(text)?.to_string(),
        };
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
            etcd_address,
            roles: request.roles.clone(),
            requires: request.requires.clone(),
            requires_for_bootstrap: request.requires_for_bootstrap.clone(),
            zone: request.zone.clone(),
            key_hash: signed.key_hash().to_vec().into(),
            ..Member::default()
        };
        Ok(Wanted { node, address, request: signed, member })
    }

    /// In the log of the node that decided: whoever asked is told less.
    fn tell(&self, refusal: &JoinRefusal) {
        let (node, name) = (self.node, &self.member.name);
        tracing::warn!(%node, name, code = refusal.code, "a join was refused");
    }

    fn sign(&self, identity: &Identity, epoch: Epoch) -> Result<Papers, IdentityError> {
        let subject = NodeSubject { node: self.node, epoch, addresses: &[self.address.ip()] };
        identity.issue((&self.member.name, &self.member.roles), subject, &self.request)
    }
}

fn reachable(text: &str) -> Result<SocketAddr, JoinRefusal> {
    text.parse::<SocketAddr>().ok().and_then(one_node_at).ok_or_else(|| {
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
        Failure::Denied(_)
        | Failure::NoGroup
        | Failure::Starting
        | Failure::Lost
        | Failure::TooLarge => {
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

/// Whoever comes without a token is told no secret.
fn by_token_only() -> JoinRefusal {
    let detail = "the cluster admits by token only (setting tokens_only), and none came";
    JoinRefusal::new(403, "token-refused", detail, "join with --token-file: `muslin token create`")
}

fn refused(refusal: Refusal) -> JoinRefusal {
    let (status, code, hint) = match refusal {
        // One answer for all that is wrong with a token: which it is, the event log says.
        Refusal::TokenInvalid => return token_refused(),
        Refusal::TokenRole(_) => (403, "token-role", BY_TOKEN),
        Refusal::JoinDenied => {
            return JoinRefusal::new(
                403,
                "denied",
                "the join was denied",
                "ask whoever runs the cluster",
            );
        }
        Refusal::TooManyHeld => (503, "busy", "join with a token, or again later"),
        Refusal::OldEpoch { .. } => (403, "outdated", "join with an empty data directory"),
        Refusal::NotLeftBehind(_) => (403, "outdated", BY_TOKEN),
        Refusal::NameTaken(_) => {
            (409, "name-taken", "see `muslin node ls` for the names there are")
        }
        Refusal::AddressTaken(_) => {
            (409, "address-taken", "listen elsewhere, or say with --advertise where it is reached")
        }
        Refusal::MemberExists => {
            (409, "member-exists", "use a --data-dir of its own for each node")
        }
        Refusal::BadForm(_) => (400, "bad-request", "change what the join asks for"),
        _ => (409, "refused", "see `muslin status`"),
    };
    JoinRefusal::new(status, code, refusal.to_string(), hint)
}
