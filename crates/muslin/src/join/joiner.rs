//! The joiner's side: what it prepares, and what it makes of an answer.

use super::message::{JoinAnswer, JoinMember, JoinRequest};
use super::token::{Token, TokenError};
use crate::identity::{
    ClusterCa, Identity, IdentityError, KeyedCertificate, Keyring, Secret, SigningRequest,
    draw_node_id,
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
}

/// A node that is about to join: its id and key. May ask more than once; it is admitted once.
#[derive(Clone, Debug)]
pub struct Joiner {
    token: Token,
    node: NodeId,
    key: Secret,
    request: JoinRequest,
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
    /// The answer makes no sense.
    #[error("{address} gave an answer that cannot be used ({what}); are both of the same version?")]
    Answer {
        /// Whose.
        address: SocketAddr,
        /// What is wrong with it.
        what: String,
    },
}

impl Joiner {
    /// Draws an id and makes a key.
    pub fn new(token: &str, wish: Wish) -> Result<Joiner, JoinError> {
        let token = Token::parse(token)?;
        let node = draw_node_id();
        let SigningRequest { csr_pem, key_pem } = SigningRequest::generate(token.cluster, node)?;
        let mut request = JoinRequest {
            node: node.to_string(),
            name: wish.name,
            address: wish.address.to_string(),
            etcd_address: wish.etcd_address.map(|address| address.to_string()).unwrap_or_default(),
            roles: wish.roles,
            csr_pem,
            proof: None,
        };
        request.proof = Some(token.prove(&request.signed()));
        Ok(Joiner { token, node, key: key_pem, request })
    }

    /// The node it will be.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The token it holds.
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// What it asks.
    pub fn request(&self) -> &JoinRequest {
        &self.request
    }

    /// Asks a member to be admitted.
    #[cfg(feature = "client")]
    pub async fn join(&self, member: SocketAddr) -> Result<Joined, JoinError> {
        let answer = super::request(member, &self.token, &self.request).await?;
        self.accept(answer).map_err(|what| JoinError::Answer { address: member, what })
    }

    /// Makes an identity of an answer, if it fits the token and the key.
    pub fn accept(&self, answer: JoinAnswer) -> Result<Joined, String> {
        if ClusterId::parse(&answer.cluster) != Some(self.token.cluster) {
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
            cluster: self.token.cluster,
            cluster_name: answer.cluster_name,
            node: self.node,
            ca_pem: answer.ca_pem,
            ca_key: answer.ca_key_pem.map(Secret::new),
            own,
            keyring,
            admin: None,
            ticket,
        };
        if identity.ca_fingerprint().map_err(|error| error.to_string())? != self.token.ca_hash {
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
