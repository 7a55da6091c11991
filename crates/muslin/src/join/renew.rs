//! Other papers for a member that has proved which node it is.

use super::admit::{JoinRefusal, unsettled};
use super::message::REQUEST_BYTES_MAX;
use crate::driver::Handle;
use crate::identity::{Identity, NodeSubject, Papers, SignedRequest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use muslin_core::base::{Epoch, NodeId};
use muslin_core::node::Consistency;
use muslin_core::state::{Query, Response};
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
    node: NodeId,
    body: &[u8],
) -> Result<RenewAnswer, JoinRefusal> {
    if body.len() > REQUEST_BYTES_MAX {
        let detail = format!("the request is larger than {REQUEST_BYTES_MAX} bytes");
        return Err(JoinRefusal::new(413, "too-large", detail, "this is a bug: report it"));
    }
    identity.authority().map_err(super::admit::unsigned)?;
    let read = handle.read(Query::Record, Consistency::Linearizable).await.map_err(unsettled)?;
    let Ok(Response::Record(record)) = read.result else {
        return Err(JoinRefusal::bad("the record was not told"));
    };
    let Some(member) = record.members.iter().find(|member| member.node() == node) else {
        let stone = record.tombstones.iter().find(|stone| stone.id == node.0);
        return Err(super::admit::removed(node, stone));
    };
    if member.epoch() < record.epoch {
        let detail = format!(
            "{} was gone when the epoch rose to {}, so it has to be admitted again",
            member.name, record.epoch
        );
        return Err(JoinRefusal::new(403, "outdated", detail, "a node that runs asks by itself"));
    }
    let request: RenewRequest = serde_json::from_slice(body)
        .map_err(|error| JoinRefusal::bad(format!("line {} is not as expected", error.line())))?;
    let request = SignedRequest::parse(&request.csr_pem).map_err(|error| {
        JoinRefusal::new(400, "bad-certificate-request", error.to_string(), "ask again")
    })?;
    if !request.is_for(identity.cluster, node) {
        return Err(JoinRefusal::bad("the certificate request is for another node or cluster"));
    }
    let addresses: Vec<_> =
        member.address.parse::<SocketAddr>().map(|address| address.ip()).into_iter().collect();
    let subject = NodeSubject { node, epoch: record.epoch, addresses: &addresses };
    let papers = identity
        .issue((&member.name, &member.roles), subject, &request)
        .map_err(super::admit::unsigned)?;
    Ok(RenewAnswer {
        certificate_pem: papers.certificate_pem,
        ticket: STANDARD.encode(papers.ticket),
        epoch: record.epoch.0,
        gossip_keys: identity.keyring.to_json(),
    })
}
