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

#[cfg(feature = "node")]
mod ca;
#[cfg(feature = "node")]
mod error;
#[cfg(feature = "node")]
mod files;
mod keyring;
#[cfg(feature = "node")]
mod names;
#[cfg(feature = "node")]
mod node;
mod secret;
#[cfg(feature = "node")]
mod ticket;
#[cfg(feature = "node")]
mod tls;

#[cfg(feature = "node")]
pub use ca::{
    ClusterCa, KeyedCertificate, NODE_VALIDITY, NodeSubject, SignedRequest, SigningRequest,
};
#[cfg(feature = "node")]
pub use error::IdentityError;
#[cfg(feature = "node")]
pub use files::write_private;
pub use keyring::{GossipKey, KEYRING_MAX, Keyring, KeyringError};
#[cfg(feature = "node")]
pub use names::{NameError, Principal, epoch_of, node_dns_name};
#[cfg(feature = "node")]
pub use node::{FIRST_EPOCH, Identity, Papers, draw_cluster_id, draw_node_id};
pub use secret::Secret;
#[cfg(feature = "node")]
pub use ticket::{TICKET_BYTES, Ticket, TicketClaims, TicketError, TicketKey};
#[cfg(feature = "node")]
pub use tls::{ALPN_PEER, crypto_provider};

#[cfg(feature = "node")]
#[cfg(test)]
mod tests;
