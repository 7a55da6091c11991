//! What a node was admitted with, signed by the cluster's authority: peers believe a node's first
//! words about itself only with it.
//!
//! ```text
//! 0         1      9       17        25         57        73          137
//! | version | node | epoch | expires | key hash | duties | signature |
//! ```
//! Numbers are big end first. The signature is ECDSA P-256 over a label, the cluster's id and all
//! that stands before it, so a ticket of one cluster is noise to another. Name and roles are in it
//! as a digest, since both travel beside it and a packet of gossip is small.
//!
//! # Not here
//! Whether the holder has the key: TLS asks for that. Whether it was removed since: the roster of
//! the [transport](crate::transport) knows.

use super::IdentityError;
use super::ca::{ClusterCa, sha256};
use muslin_core::base::{ClusterId, Epoch, NodeId};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, UnparsedPublicKey,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;

/// Length of every ticket.
pub const TICKET_BYTES: usize = BODY_BYTES + SIGNATURE_BYTES;

const _: () = assert!(TICKET_BYTES <= muslin_core::swim::TICKET_BYTES_MAX);

const BODY_BYTES: usize = 1 + 8 + 8 + 8 + 32 + DUTIES_BYTES;
const SIGNATURE_BYTES: usize = 64;

/// Half a SHA-256: finding a second name with the same one takes 2^128 tries.
const DUTIES_BYTES: usize = 16;

const VERSION: u8 = 1;
const LABEL: &[u8] = b"muslin ticket 1";

/// A checked ticket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket {
    /// Whose.
    pub node: NodeId,
    /// The membership history it was given in.
    pub epoch: Epoch,
    /// Unix milliseconds; not valid from then on.
    pub expires_unix_ms: u64,
    /// SHA-256 of the public key in the node's certificate.
    pub key_hash: [u8; 32],
    duties: [u8; DUTIES_BYTES],
}

/// What a ticket is to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TicketClaims<'a> {
    /// Whose.
    pub node: NodeId,
    /// Its name.
    pub name: &'a str,
    /// What it performs.
    pub roles: &'a [String],
    /// The membership history it is given in.
    pub epoch: Epoch,
    /// Unix milliseconds; not valid from then on.
    pub expires_unix_ms: u64,
    /// SHA-256 of the public key in the node's certificate.
    pub key_hash: [u8; 32],
}

/// Why a ticket lets nobody in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TicketError {
    /// Another length.
    #[error("a ticket has {TICKET_BYTES} bytes")]
    Length,
    /// Of a format that this version does not read.
    #[error("the ticket is of another version")]
    Version,
    /// Not signed by this cluster's authority.
    #[error("the ticket is not one of this cluster")]
    Forged,
}

/// The public half of a cluster's authority: tells its tickets from others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TicketKey {
    cluster: ClusterId,
    point: Vec<u8>,
}

impl Ticket {
    /// Whether it was given to a node of this name and these roles.
    pub fn is_of(&self, name: &str, roles: &[String]) -> bool {
        self.duties == duties(name, roles)
    }
}

impl TicketKey {
    /// Of the authority with this certificate.
    pub fn of(cluster: ClusterId, ca: &CertificateDer<'_>) -> Result<TicketKey, IdentityError> {
        let (_, parsed) = x509_parser::parse_x509_certificate(ca)
            .map_err(|error| IdentityError::crypto("read the cluster's CA certificate", error))?;
        let point = parsed.tbs_certificate.subject_pki.subject_public_key.data.to_vec();
        Ok(TicketKey { cluster, point })
    }

    /// Reads a ticket, if the authority signed it. Whether it still holds is another question.
    pub fn open(&self, ticket: &[u8]) -> Result<Ticket, TicketError> {
        if ticket.len() != TICKET_BYTES {
            return Err(TicketError::Length);
        }
        let (body, signature) = ticket.split_at(BODY_BYTES);
        if body.first() != Some(&VERSION) {
            return Err(TicketError::Version);
        }
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.point);
        let signed = message(self.cluster, body);
        key.verify(&signed, signature).map_err(|_| TicketError::Forged)?;
        let mut rest = body.get(1..).expect("the length was checked");
        Ok(Ticket {
            node: NodeId(u64::from_be_bytes(take(&mut rest))),
            epoch: Epoch(u64::from_be_bytes(take(&mut rest))),
            expires_unix_ms: u64::from_be_bytes(take(&mut rest)),
            key_hash: take(&mut rest),
            duties: take(&mut rest),
        })
    }
}

impl ClusterCa {
    /// Signs a ticket.
    pub fn ticket(&self, claims: &TicketClaims<'_>) -> Result<Vec<u8>, IdentityError> {
        let failed = |what: &str| IdentityError::crypto("sign a ticket", what);
        let key = PrivatePkcs8KeyDer::from_pem_slice(self.key_pem().expose().as_bytes())
            .map_err(|_| failed("the CA's key is not PKCS #8"))?;
        let random = SystemRandom::new();
        let scheme = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::from_pkcs8(scheme, key.secret_pkcs8_der(), &random)
            .map_err(|_| failed("the CA's key is not ECDSA P-256"))?;
        let mut ticket = Vec::with_capacity(TICKET_BYTES);
        ticket.push(VERSION);
        ticket.extend_from_slice(&claims.node.0.to_be_bytes());
        ticket.extend_from_slice(&claims.epoch.0.to_be_bytes());
        ticket.extend_from_slice(&claims.expires_unix_ms.to_be_bytes());
        ticket.extend_from_slice(&claims.key_hash);
        ticket.extend_from_slice(&duties(claims.name, claims.roles));
        let signature = key.sign(&random, &message(self.cluster(), &ticket));
        ticket.extend_from_slice(signature.map_err(|_| failed("no random bytes"))?.as_ref());
        debug_assert_eq!(ticket.len(), TICKET_BYTES);
        Ok(ticket)
    }
}

fn message(cluster: ClusterId, body: &[u8]) -> Vec<u8> {
    [LABEL, &cluster.to_bytes(), body].concat()
}

/// Each with its length in front: no other list of words reads the same.
fn duties(name: &str, roles: &[String]) -> [u8; DUTIES_BYTES] {
    let mut text = Vec::new();
    for word in std::iter::once(name).chain(roles.iter().map(String::as_str)) {
        text.extend_from_slice(&(word.len() as u64).to_be_bytes());
        text.extend_from_slice(word.as_bytes());
    }
    *sha256(&text).first_chunk().expect("SHA-256 has 32 bytes")
}

fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let (head, rest) = bytes.split_first_chunk().expect("the length of a ticket is checked first");
    *bytes = rest;
    *head
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId(5);

    fn claims(roles: &[String]) -> TicketClaims<'_> {
        TicketClaims {
            node: NodeId(9),
            name: "n9",
            roles,
            epoch: Epoch(3),
            expires_unix_ms: 1_000,
            key_hash: [7; 32],
        }
    }

    fn key_of(ca: &ClusterCa) -> TicketKey {
        let certificate = super::super::node::certificate_of(ca.certificate_pem()).unwrap();
        TicketKey::of(ca.cluster(), &certificate).unwrap()
    }

    #[test]
    fn a_ticket_says_what_was_admitted_in_less_than_250_bytes() {
        let ca = ClusterCa::create(CLUSTER, "test").unwrap();
        let roles = vec!["control".to_string(), "worker".to_string()];
        let ticket = ca.ticket(&claims(&roles)).unwrap();
        assert_eq!(ticket.len(), TICKET_BYTES);
        const { assert!(TICKET_BYTES < 250) };
        let opened = key_of(&ca).open(&ticket).unwrap();
        assert_eq!((opened.node, opened.epoch), (NodeId(9), Epoch(3)));
        assert_eq!((opened.expires_unix_ms, opened.key_hash), (1_000, [7; 32]));
        assert!(opened.is_of("n9", &roles));
        assert!(!opened.is_of("n8", &roles) && !opened.is_of("n9", &roles[..1]));
        assert!(!opened.is_of("n9", &["controlworker".to_string()]));
    }

    #[test]
    fn every_flipped_bit_and_every_other_length_is_refused() {
        let ca = ClusterCa::create(CLUSTER, "test").unwrap();
        let key = key_of(&ca);
        let ticket = ca.ticket(&claims(&[])).unwrap();
        for bit in 0..ticket.len() * 8 {
            let mut flipped = ticket.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(key.open(&flipped).is_err(), "bit {bit}");
        }
        for length in 0..TICKET_BYTES {
            assert_eq!(key.open(&ticket[..length]), Err(TicketError::Length));
        }
        let long = [ticket.as_slice(), &[0]].concat();
        assert_eq!(key.open(&long), Err(TicketError::Length));
    }

    #[test]
    fn a_ticket_of_another_authority_or_cluster_is_refused() {
        let ours = ClusterCa::create(CLUSTER, "test").unwrap();
        let theirs = ClusterCa::create(CLUSTER, "test").unwrap();
        let ticket = theirs.ticket(&claims(&[])).unwrap();
        assert_eq!(key_of(&ours).open(&ticket), Err(TicketError::Forged));
        // The same key under another id does not help either: the id is signed.
        let renamed =
            ClusterCa::from_pem(ClusterId(6), ours.certificate_pem(), ours.key_pem().clone());
        let ticket = renamed.unwrap().ticket(&claims(&[])).unwrap();
        assert_eq!(key_of(&ours).open(&ticket), Err(TicketError::Forged));
    }
}
