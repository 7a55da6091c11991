//! Other papers for a member that has proved which node it is.

use super::admit::{JoinRefusal, unsettled};
use super::message::{JoinMember, REQUEST_BYTES_MAX};
use crate::driver::Handle;
use crate::identity::{Identity, NodeSubject, Papers, SignedRequest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use muslin_core::base::{Epoch, NodeId};
use muslin_core::node::Consistency;
use muslin_core::state::Query;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Asks for a certificate of a fresh key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RenewRequest {
    /// PKCS #10, PEM, for the node that asks.
    pub csr_pem: String,
}

/// What a member goes on with. `Debug` hides the keys.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct RenewAnswer {
    /// The certificate.
    pub certificate_pem: String,
    /// Base64 of the ticket that goes with it.
    pub ticket: String,
    /// The present membership history.
    pub epoch: u64,
    /// The keys that seal gossip, as [`Keyring::to_json`](crate::identity::Keyring::to_json).
    pub gossip_keys: String,
    /// All members.
    pub members: Vec<JoinMember>,
    /// The node has slept through a rise of the epoch and does not vote: it was admitted again,
    /// and fetches afresh what the others hold.
    #[serde(default)]
    pub begins_afresh: bool,
}

/// A member that has proved who it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holder {
    /// Which.
    pub node: NodeId,
    /// What it showed is of an earlier epoch, and its time to renew is over.
    pub is_outdated: bool,
}

impl std::fmt::Debug for RenewAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RenewAnswer(epoch {}, ..)", self.epoch)
    }
}

impl RenewAnswer {
    /// The papers in it.
    pub fn papers(&self) -> Result<Papers, String> {
        let ticket = STANDARD.decode(&self.ticket).map_err(|_| "the ticket is not base64")?;
        Ok(Papers { certificate_pem: self.certificate_pem.clone(), ticket })
    }

    /// The epoch that the papers are of.
    pub fn epoch(&self) -> Epoch {
        Epoch(self.epoch)
    }
}

/// Gives a member a certificate and a ticket of the present epoch.
///
/// The record is asked through a quorum first: a node that this one has not yet heard to be removed
/// gets nothing.
pub async fn renew(
    handle: &Handle,
    identity: &Identity,
    holder: Holder,
    body: &[u8],
) -> Result<RenewAnswer, JoinRefusal> {
    let Holder { node, is_outdated } = holder;
    if body.len() > REQUEST_BYTES_MAX {
        let detail = format!("the request is larger than {REQUEST_BYTES_MAX} bytes");
        return Err(JoinRefusal::new(413, "too-large", detail, "this is a bug: report it"));
    }
    identity.authority().map_err(super::admit::unsigned)?;
    let request: RenewRequest = serde_json::from_slice(body)
        .map_err(|error| JoinRefusal::bad(format!("line {} is not as expected", error.line())))?;
    let request = SignedRequest::parse(&request.csr_pem).map_err(|error| {
        JoinRefusal::new(400, "bad-certificate-request", error.to_string(), "ask again")
    })?;
    if !request.is_for(identity.cluster, node) {
        return Err(JoinRefusal::bad("the certificate request is for another node or cluster"));
    }
    handle.read(Query::Revision, Consistency::Linearizable).await.map_err(unsettled)?;
    let status = handle.status().await.map_err(unsettled)?;
    let Some(member) = status.members.iter().find(|member| member.id == node.0) else {
        let detail = format!("node {node} is not a member of the cluster: it was removed");
        let hint = "join again with an empty data directory: the name is free";
        return Err(JoinRefusal::new(403, "removed", detail, hint));
    };
    let addresses: Vec<_> =
        member.address.parse::<SocketAddr>().map(|address| address.ip()).into_iter().collect();
    let subject = NodeSubject { node, epoch: status.epoch, addresses: &addresses };
    let papers = identity
        .issue((&member.name, &member.roles), subject, &request)
        .map_err(super::admit::unsigned)?;
    Ok(RenewAnswer {
        certificate_pem: papers.certificate_pem,
        ticket: STANDARD.encode(papers.ticket),
        epoch: status.epoch.0,
        gossip_keys: identity.keyring.to_json(),
        members: status.members.iter().map(JoinMember::from).collect(),
        begins_afresh: is_outdated && !status.configuration.is_voter(node),
    })
}
