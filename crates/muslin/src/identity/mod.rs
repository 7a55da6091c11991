//! Who a node is and how others know: the cluster's certificate authority, node and admin
//! certificates, and the keys that seal gossip.
//!
//! Every cluster has one authority ([`ClusterCa`]), made at `init`. A certificate of it says either
//! "node N of cluster C" or "administrator A of cluster C" in its subject alternative name
//! ([`Principal`]); nothing else is ever believed about a peer but the membership history
//! ([`epoch_of`]) in which its certificate was given. A dialler demands the name of the
//! node it means to reach, so a valid certificate of another node of the cluster is refused too.
//! Gossip datagrams have no handshake; they are sealed with the shared [`Keyring`].
//!
//! An [`Identity`] is all of that for one node, kept under `identity/` in its data directory:
//! `identity.json`, `ca.pem`, `node.pem`, and, readable by their owner only, `node-key.pem`,
//! `gossip-keys.json`, `ca-key.pem` (control nodes) and `admin-key.pem`. Each file is replaced
//! atomically; `identity.json` is written last, so a directory has an identity whole or not at all.
//!
//! # Invariants
//! - No secret is ever shown: `Debug` of everything that holds one says `..`.
//! - M4: the cluster's id is in every certificate, and two clusters never share an authority.
//! - A request for a certificate decides nothing but the public key: names and usages are ours.
//!
//! # Limits
//! [`KEYRING_MAX`] gossip keys; certificates of nodes live [`NODE_VALIDITY`], of administrators a
//! year, of the authority ten.
//!
//! # Not here
//! When a certificate is renewed ([`daemon`](crate::daemon)); revocation: a removed node is barred
//! by the record and the epoch, whatever its certificate says.

mod ca;
mod error;
mod files;
mod keyring;
mod names;
mod node;
mod ticket;
mod tls;

pub use ca::{
    ClusterCa, KeyedCertificate, NODE_VALIDITY, NodeSubject, SignedRequest, SigningRequest,
};
pub use error::IdentityError;
pub use files::write_private;
pub use keyring::{GossipKey, KEYRING_MAX, Keyring, KeyringError};
pub use names::{NameError, Principal, epoch_of, node_dns_name};
pub use node::{FIRST_EPOCH, Identity, Papers, draw_cluster_id, draw_node_id};
pub use ticket::{TICKET_BYTES, Ticket, TicketClaims, TicketError, TicketKey};
pub use tls::{ALPN_PEER, crypto_provider};

use std::fmt;

/// Text that must not be shown: a private key. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret in.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// Shows it, to write it to a private file or to send it over an authenticated channel.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests;
