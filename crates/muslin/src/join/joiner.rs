//! The joiner's side: what it prepares, and what it makes of an answer.

use super::code::join_code;
#[cfg(feature = "client")]
use super::message::JoinReply;
use super::message::{JoinAnswer, JoinHeld, JoinMember, JoinRequest};
use super::token::{Token, TokenError};
use crate::identity::{
    ClusterCa, Identity, IdentityError, KeyedCertificate, Keyring, Secret, SignedRequest,
    SigningRequest, draw_node_id,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use muslin_core::base::{ClusterId, Epoch, NodeId};
use muslin_core::state::Founding;
use prost::Message;
use std::net::SocketAddr;

/// What a joiner wants to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wish {
    /// Its name.
    pub name: String,
    /// Where peers will reach it.
    pub address: SocketAddr,
    /// Where it serves plain etcd clients.
    pub etcd_address: Option<SocketAddr>,
    /// What it wants to perform.
    pub roles: Vec<String>,
    /// Roles that somebody must perform for it to operate.
    pub requires: Vec<String>,
    /// Roles that somebody must perform before it is admitted.
    pub requires_for_bootstrap: Vec<String>,
    /// What it shares its fate with; empty when unknown.
    pub zone: String,
}

/// The cluster that a joiner means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trust {
    /// Which.
    pub cluster: ClusterId,
    /// SHA-256 of its CA certificate (DER).
    pub ca_hash: [u8; 32],
}

/// A node that is about to join: its id and key. May ask more than once; it is admitted once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Joiner {
    pub(super) trust: Trust,
    pub(super) node: NodeId,
    pub(super) key: Secret,
    pub(super) request: JoinRequest,
}

/// What a member answered, unless it refused.
#[derive(Clone, PartialEq, Debug)]
pub enum Progress {
    /// The node is a member.
    Admitted(Box<Joined>),
    /// It waits: ask again.
    Held(JoinHeld),
}

/// What an admitted node begins with.
#[derive(Clone, PartialEq, Debug)]
pub struct Joined {
    /// Who it is.
    pub identity: Identity,
    /// The cluster's membership history.
    pub epoch: Epoch,
    /// What the cluster started from.
    pub founding: Founding,
    /// All members, itself included.
    pub members: Vec<JoinMember>,
}

/// Why a node could not join. `Display` says what happened and what to do.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The token cannot be read.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Keys or certificates could not be made or read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Nobody answers there.
    #[error("cannot reach {address}: {source}; check the address and that the node runs")]
    Connect {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Whoever answers there is not of the token's cluster. Nothing was said to it.
    #[error(
        "what answers at {0} is not a node of the cluster that made the token; check the address, \
         or take a token of that cluster"
    )]
    WrongCluster(SocketAddr),
    /// It took too long.
    #[error("{0} did not answer in time; it may still admit this node: join again")]
    TimedOut(SocketAddr),
    /// The connection ended between the question and the answer.
    #[error(
        "{address} broke off before it answered ({reason}); it may have admitted this node: run \
         the same command again, and it is the same node that asks"
    )]
    BrokenOff {
        /// Whose.
        address: SocketAddr,
        /// What the system said.
        reason: String,
    },
    /// The cluster refuses.
    #[error("{detail}; {hint}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// For programs.
        code: String,
        /// What happened.
        detail: String,
        /// What to do.
        hint: String,
        /// The same request may succeed later.
        retryable: bool,
    },
    /// Nothing released it in the time that its person would wait.
    #[error(
        "the join still waits: {waits_for}; it is held by the cluster: run the same command again \
         to go on waiting, and have it approved with `muslin node approve {name}`"
    )]
    Held {
        /// For what.
        waits_for: String,
        /// Who.
        name: String,
    },
    /// A join that was begun in this directory cannot be gone on with.
    #[error("{path} cannot be used: {what}; remove the directory to begin again")]
    Pending {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// The answer makes no sense.
    #[error("{address} gave an answer that cannot be used ({what}); are both of the same version?")]
    Answer {
        /// Whose.
        address: SocketAddr,
        /// What is wrong with it.
        what: String,
    },
}

#[cfg(feature = "api")]
impl JoinError {
    /// The cluster said no, and will say no to the same again.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, JoinError::Refused { retryable: false, .. })
    }

    /// The same question may be answered a while later.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(
            self,
            JoinError::Connect { .. }
                | JoinError::TimedOut(_)
                | JoinError::BrokenOff { .. }
                | JoinError::Refused { retryable: true, .. }
        )
    }

    /// A member may have been asked: the node may be admitted, or come to be.
    pub(crate) fn was_asked(&self) -> bool {
        matches!(
            self,
            JoinError::TimedOut(_)
                | JoinError::BrokenOff { .. }
                | JoinError::Refused { .. }
                | JoinError::Held { .. }
                | JoinError::Answer { .. }
        )
    }
}

impl Wish {
    fn request(self, node: NodeId, csr_pem: String) -> JoinRequest {
        JoinRequest {
            node: node.to_string(),
            name: self.name,
            address: self.address.to_string(),
            etcd_address: self.etcd_address.map(|address| address.to_string()).unwrap_or_default(),
            roles: self.roles,
            requires: self.requires,
            requires_for_bootstrap: self.requires_for_bootstrap,
            zone: self.zone,
            csr_pem,
            listens: false,
            proof: None,
        }
    }
}

impl Joiner {
    /// Draws an id and makes a key; asks on the strength of a token.
    pub fn new(token: &str, wish: Wish) -> Result<Joiner, JoinError> {
        let token = Token::parse(token)?;
        let trust = Trust { cluster: token.cluster, ca_hash: token.ca_hash };
        let joiner = Joiner::without_token(trust, wish)?;
        Ok(joiner.with_token(&token))
    }

    /// The same with nothing to show: somebody has to approve it.
    pub fn without_token(trust: Trust, wish: Wish) -> Result<Joiner, JoinError> {
        let node = draw_node_id();
        let SigningRequest { csr_pem, key_pem } = SigningRequest::generate(trust.cluster, node)?;
        let request = wish.request(node, csr_pem);
        Ok(Joiner { trust, node, key: key_pem, request })
    }

    /// The same node, with this token.
    #[must_use]
    pub fn with_token(mut self, token: &Token) -> Joiner {
        self.request.proof = Some(token.prove(&self.request.signed()));
        self
    }

    /// The same node, which answers at its address while it asks, or does not.
    #[must_use]
    pub fn listening(mut self, listens: bool) -> Joiner {
        self.request.listens = listens;
        self
    }

    /// Whether this is what it asks for, with whatever token.
    pub fn wants(&self, wish: Wish) -> bool {
        let asked = JoinRequest { proof: None, listens: false, ..self.request.clone() };
        asked == wish.request(self.node, self.request.csr_pem.clone())
    }

    /// The code that its person compares with the one that whoever approves it sees.
    pub fn code(&self) -> String {
        // The key's hash is that of the request, which this very process has made.
        let signed = SignedRequest::parse(&self.request.csr_pem);
        let key_hash = signed.map(|signed| signed.key_hash()).unwrap_or_default();
        join_code(&self.trust.ca_hash, &key_hash)
    }

    /// The cluster it means.
    pub fn trust(&self) -> Trust {
        self.trust
    }

    /// The node it will be.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// What it asks.
    pub fn request(&self) -> &JoinRequest {
        &self.request
    }

    /// Asks a member to be admitted, or how it stands.
    #[cfg(feature = "client")]
    pub async fn ask(&self, member: SocketAddr) -> Result<Progress, JoinError> {
        let unfit = |what| JoinError::Answer { address: member, what };
        match super::request(member, self.trust, &self.request).await? {
            JoinReply::Admitted(answer) => {
                Ok(Progress::Admitted(Box::new(self.accept(*answer).map_err(unfit)?)))
            }
            JoinReply::Held(held) => Ok(Progress::Held(held)),
        }
    }

    /// The same, where waiting is as good as a refusal.
    #[cfg(feature = "client")]
    pub async fn join(&self, member: SocketAddr) -> Result<Joined, JoinError> {
        match self.ask(member).await? {
            Progress::Admitted(joined) => Ok(*joined),
            Progress::Held(held) => {
                let name = self.request.name.clone();
                Err(JoinError::Held { waits_for: held.waits_for, name })
            }
        }
    }

    /// Makes an identity of an answer, if it fits the token and the key.
    pub fn accept(&self, answer: JoinAnswer) -> Result<Joined, String> {
        if ClusterId::parse(&answer.cluster) != Some(self.trust.cluster) {
            return Err("it is of another cluster".into());
        }
        let keyring = Keyring::from_json(&answer.gossip_keys).map_err(|error| error.to_string())?;
        let founding = STANDARD.decode(&answer.founding).ok();
        let founding = founding.and_then(|bytes| Founding::decode(bytes.as_slice()).ok());
        let founding = founding.ok_or("its founding cannot be read")?;
        let ticket = STANDARD.decode(&answer.ticket).map_err(|_| "its ticket is not base64")?;
        let own =
            KeyedCertificate { certificate_pem: answer.certificate_pem, key_pem: self.key.clone() };
        let identity = Identity {
            cluster: self.trust.cluster,
            cluster_name: answer.cluster_name,
            node: self.node,
            ca_pem: answer.ca_pem,
            ca_key: answer.ca_key_pem.map(Secret::new),
            own,
            keyring,
            admin: None,
            ticket,
        };
        if identity.ca_fingerprint().map_err(|error| error.to_string())? != self.trust.ca_hash {
            return Err("its CA is not the token's".into());
        }
        identity.verify().map_err(|error| error.to_string())?;
        let opened = identity.ticket_key().map_err(|error| error.to_string())?;
        let opened = opened.open(&identity.ticket).map_err(|error| error.to_string())?;
        if opened.node != self.node || !opened.is_of(&self.request.name, &self.request.roles) {
            return Err("its ticket is another node's".into());
        }
        if let Some(key) = &identity.ca_key {
            ClusterCa::from_pem(identity.cluster, &identity.ca_pem, key.clone())
                .and_then(|ca| ca.verify())
                .map_err(|error| error.to_string())?;
        }
        let (epoch, members) = (Epoch(answer.epoch), answer.members);
        Ok(Joined { identity, epoch, founding, members })
    }
}
