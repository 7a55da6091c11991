//! Everything that makes a node itself.

use super::ca::{KeyedCertificate, NODE_VALIDITY, NodeSubject, sha256};
use super::files::{make_private_directory, read, write_private, write_public};
use super::{ClusterCa, IdentityError, Keyring, Principal, Secret, SignedRequest, SigningRequest};
use super::{TicketClaims, TicketKey, epoch_of};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use muslin_core::base::{ClusterId, Epoch, NodeId};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use x509_parser::extensions::GeneralName;

const DIRECTORY: &str = "identity";
const FORMAT: u32 = 1;

/// The name in the administrator's certificate made at init.
const ADMIN_NAME: &str = "admin";

/// The first membership history of a cluster.
pub const FIRST_EPOCH: Epoch = Epoch(1);

/// A node's identity: what it is, and the secrets that prove it.
#[derive(Clone, PartialEq, Debug)]
pub struct Identity {
    /// Its cluster.
    pub cluster: ClusterId,
    /// The cluster's name: a label for people.
    pub cluster_name: String,
    /// Itself.
    pub node: NodeId,
    /// The authority's certificate.
    pub ca_pem: String,
    /// The authority's key, which control nodes hold.
    pub ca_key: Option<Secret>,
    /// The node's certificate and key.
    pub own: KeyedCertificate,
    /// What seals gossip.
    pub keyring: Keyring,
    /// An administrator's certificate and key, where one was made.
    pub admin: Option<KeyedCertificate>,
    /// What peers ask to see before they believe what this node says of itself; empty until the
    /// authority has signed one.
    pub ticket: Vec<u8>,
}

/// What the authority gives a node that asks for a certificate of its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Papers {
    /// The certificate.
    pub certificate_pem: String,
    /// The ticket that goes with it.
    pub ticket: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Names {
    format: u32,
    cluster: String,
    cluster_name: String,
    node: String,
}

/// A random cluster id.
pub fn draw_cluster_id() -> ClusterId {
    ClusterId(u128::from_be_bytes(draw()))
}

/// A random node id, never zero.
pub fn draw_node_id() -> NodeId {
    NodeId(u64::from_be_bytes(draw()).max(1))
}

fn draw<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

impl Identity {
    /// The first node of a new cluster: makes the authority, the gossip key, the node's certificate
    /// (valid for loopback and `addresses`) and an administrator's.
    pub fn found(
        cluster_name: &str,
        node: NodeId,
        addresses: &[IpAddr],
    ) -> Result<Identity, IdentityError> {
        let cluster = draw_cluster_id();
        let ca = ClusterCa::create(cluster, cluster_name)?;
        Ok(Identity {
            cluster,
            cluster_name: cluster_name.to_string(),
            node,
            ca_pem: ca.certificate_pem().to_string(),
            ca_key: Some(ca.key_pem().clone()),
            own: ca.issue_node(NodeSubject { node, epoch: FIRST_EPOCH, addresses })?,
            keyring: Keyring::generate(),
            admin: Some(ca.issue_admin(ADMIN_NAME)?),
            ticket: Vec::new(),
        })
    }

    /// Another control node of the same cluster, made here (as `dev` does) and not by joining.
    pub fn sibling(&self, node: NodeId, addresses: &[IpAddr]) -> Result<Identity, IdentityError> {
        let subject = NodeSubject { node, epoch: self.epoch()?, addresses };
        let own = self.authority()?.issue_node(subject)?;
        Ok(Identity { node, own, ticket: Vec::new(), ..self.clone() })
    }

    /// The authority, if this node holds its key.
    pub fn authority(&self) -> Result<ClusterCa, IdentityError> {
        let key = self.ca_key.clone().ok_or(IdentityError::NoCaKey)?;
        ClusterCa::from_pem(self.cluster, &self.ca_pem, key)
    }

    /// SHA-256 of the authority's certificate (DER): what join tokens pin.
    pub fn ca_fingerprint(&self) -> Result<[u8; 32], IdentityError> {
        Ok(sha256(&certificate_of(&self.ca_pem)?))
    }

    /// What tells the authority's tickets from others.
    pub fn ticket_key(&self) -> Result<TicketKey, IdentityError> {
        TicketKey::of(self.cluster, &certificate_of(&self.ca_pem)?)
    }

    /// SHA-256 of this node's public key (SubjectPublicKeyInfo), as the record keeps it.
    pub fn key_hash(&self) -> Result<[u8; 32], IdentityError> {
        let certificate = certificate_of(&self.own.certificate_pem)?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate)
            .map_err(|error| IdentityError::crypto("read the node's certificate", error))?;
        Ok(sha256(parsed.tbs_certificate.subject_pki.raw))
    }

    /// The membership history in which this node's certificate was given.
    pub fn epoch(&self) -> Result<Epoch, IdentityError> {
        Ok(epoch_of(self.cluster, &certificate_of(&self.own.certificate_pem)?))
    }

    /// When this node's certificate ends.
    pub fn expires(&self) -> Result<SystemTime, IdentityError> {
        Ok(validity_of(&self.own)?.end)
    }

    /// Whether this node's certificate should be renewed: less than a third of its time is left, or
    /// it has not begun, as one that was made while the clock was wrong.
    pub fn is_aging(&self, present: SystemTime) -> Result<bool, IdentityError> {
        let validity = validity_of(&self.own)?;
        Ok(present < validity.start || validity.end < present + NODE_VALIDITY / 3)
    }

    /// Whether this node's certificate names this address.
    pub fn names(&self, address: IpAddr) -> Result<bool, IdentityError> {
        let certificate = certificate_of(&self.own.certificate_pem)?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate)
            .map_err(|error| IdentityError::crypto("read the node's certificate", error))?;
        let names = (parsed.subject_alternative_name())
            .map_err(|error| IdentityError::crypto("read the node's certificate", error))?;
        let octets = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let is_it = |name: &GeneralName<'_>| *name == GeneralName::IPAddress(&octets);
        Ok(names.is_some_and(|names| names.value.general_names.iter().any(is_it)))
    }

    /// Makes a fresh key and asks the authority's holder for a certificate of it.
    pub fn request(&self) -> Result<SigningRequest, IdentityError> {
        SigningRequest::generate(self.cluster, self.node)
    }

    /// Takes up what the authority gave for the key of a request.
    pub fn renewed(&self, key_pem: Secret, papers: Papers) -> Result<Identity, IdentityError> {
        let own = KeyedCertificate { certificate_pem: papers.certificate_pem, key_pem };
        let renewed = Identity { own, ticket: papers.ticket, ..self.clone() };
        renewed.verify()?;
        Ok(renewed)
    }

    /// The same node with a fresh key, certificate and ticket. Needs the authority.
    pub fn reissued(
        &self,
        duties: (&str, &[String]),
        epoch: Epoch,
        addresses: &[IpAddr],
    ) -> Result<Identity, IdentityError> {
        let SigningRequest { csr_pem, key_pem } = self.request()?;
        let subject = NodeSubject { node: self.node, epoch, addresses };
        let papers = self.issue(duties, subject, &SignedRequest::parse(&csr_pem)?)?;
        self.renewed(key_pem, papers)
    }

    /// A certificate and a ticket for a member. Needs the authority.
    pub fn issue(
        &self,
        duties: (&str, &[String]),
        subject: NodeSubject<'_>,
        request: &SignedRequest,
    ) -> Result<Papers, IdentityError> {
        let ca = self.authority()?;
        let certificate_pem = ca.sign_node(subject, request)?;
        let expires = SystemTime::now() + NODE_VALIDITY;
        let ticket = ca.ticket(&TicketClaims {
            node: subject.node,
            name: duties.0,
            roles: duties.1,
            epoch: subject.epoch,
            expires_unix_ms: unix_ms(expires),
            key_hash: request.key_hash(),
        })?;
        Ok(Papers { certificate_pem, ticket })
    }

    /// Writes everything under `data_dir/identity`; durable when it returns.
    pub fn save(&self, data_dir: &Path) -> Result<(), IdentityError> {
        let directory = data_dir.join(DIRECTORY);
        make_private_directory(&directory)?;
        write_public(&directory.join("ca.pem"), &self.ca_pem)?;
        if let Some(key) = &self.ca_key {
            write_private(&directory.join("ca-key.pem"), key.expose())?;
        }
        if let Some(admin) = &self.admin {
            write_public(&directory.join("admin.pem"), &admin.certificate_pem)?;
            write_private(&directory.join("admin-key.pem"), admin.key_pem.expose())?;
        }
        write_private(&directory.join("gossip-keys.json"), &self.keyring.to_json())?;
        write_private(&directory.join("node-key.pem"), self.own.key_pem.expose())?;
        write_public(&directory.join("node.pem"), &self.own.certificate_pem)?;
        write_public(&directory.join("ticket"), &STANDARD.encode(&self.ticket))?;
        let names = Names {
            format: FORMAT,
            cluster: self.cluster.to_string(),
            cluster_name: self.cluster_name.clone(),
            node: self.node.to_string(),
        };
        let names = serde_json::to_string_pretty(&names).expect("names are always JSON");
        write_public(&directory.join("identity.json"), &names)
    }

    /// Whether there is an identity under `data_dir`.
    pub fn exists(data_dir: &Path) -> bool {
        data_dir.join(DIRECTORY).join("identity.json").exists()
    }

    /// Reads what [`Identity::save`] wrote, and checks that the parts belong together.
    pub fn load(data_dir: &Path) -> Result<Identity, IdentityError> {
        let directory = data_dir.join(DIRECTORY);
        let names = load_names(data_dir, &directory.join("identity.json"))?;
        let (cluster, cluster_name, node) = names;
        let keyring = required(&directory.join("gossip-keys.json"))?;
        let keyring = Keyring::from_json(&keyring)
            .map_err(|error| damaged(&directory.join("gossip-keys.json"), error))?;
        let identity = Identity {
            cluster,
            cluster_name,
            node,
            ca_pem: required(&directory.join("ca.pem"))?,
            ca_key: read(&directory.join("ca-key.pem"))?.map(Secret),
            own: KeyedCertificate {
                certificate_pem: required(&directory.join("node.pem"))?,
                key_pem: Secret(required(&directory.join("node-key.pem"))?),
            },
            keyring,
            admin: load_admin(&directory)?,
            // A ticket that cannot be read is one that has yet to be asked for.
            ticket: (read(&directory.join("ticket"))?)
                .and_then(|text| STANDARD.decode(text.trim()).ok())
                .unwrap_or_default(),
        };
        identity.check(&directory)?;
        Ok(identity)
    }

    /// Whether the parts are of one cluster and one node, and the keys those of the certificates.
    pub fn verify(&self) -> Result<(), IdentityError> {
        let wrong = |what: String| IdentityError::crypto("use the node's certificate", what);
        let certificate = certificate_of(&self.own.certificate_pem)?;
        let found = Principal::of(&certificate).map_err(|error| wrong(error.to_string()))?;
        if found != (Principal::Node { cluster: self.cluster, node: self.node }) {
            let wanted = format!("node {} of cluster {}", self.node, self.cluster);
            return Err(wrong(format!("it is not the certificate of {wanted}")));
        }
        // Also notices a key that is not the certificate's.
        self.server_tls().map(drop)
    }

    fn check(&self, directory: &Path) -> Result<(), IdentityError> {
        self.verify().map_err(|error| damaged(&directory.join("node.pem"), error))?;
        let ca_key = directory.join("ca-key.pem");
        match self.authority() {
            Err(IdentityError::NoCaKey) => Ok(()),
            Err(error) => Err(damaged(&directory.join("ca.pem"), error)),
            Ok(ca) => ca.verify().map_err(|error| damaged(&ca_key, error)),
        }
    }
}

fn load_names(data_dir: &Path, path: &Path) -> Result<(ClusterId, String, NodeId), IdentityError> {
    let text = read(path)?.ok_or_else(|| IdentityError::Missing { path: data_dir.into() })?;
    let names: Names = serde_json::from_str(&text).map_err(|error| damaged(path, error))?;
    if names.format != FORMAT {
        let (found, known) = (names.format, FORMAT);
        return Err(IdentityError::Format { path: path.into(), found, known });
    }
    let cluster = ClusterId::parse(&names.cluster);
    let cluster = cluster.ok_or_else(|| damaged(path, "the cluster id is not 32 hex digits"))?;
    let node = NodeId::parse(&names.node);
    let node = node.ok_or_else(|| damaged(path, "the node id is not 16 hex digits"))?;
    Ok((cluster, names.cluster_name, node))
}

fn load_admin(directory: &Path) -> Result<Option<KeyedCertificate>, IdentityError> {
    let certificate = read(&directory.join("admin.pem"))?;
    let key = read(&directory.join("admin-key.pem"))?;
    Ok(certificate
        .zip(key)
        .map(|(certificate_pem, key)| KeyedCertificate { certificate_pem, key_pem: Secret(key) }))
}

fn required(path: &Path) -> Result<String, IdentityError> {
    read(path)?.ok_or_else(|| damaged(path, "it is missing"))
}

fn damaged(path: &Path, what: impl ToString) -> IdentityError {
    IdentityError::Damaged { path: path.into(), what: what.to_string() }
}

/// From when to when a certificate is good.
fn validity_of(own: &KeyedCertificate) -> Result<Range<SystemTime>, IdentityError> {
    let certificate = certificate_of(&own.certificate_pem)?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate)
        .map_err(|error| IdentityError::crypto("read a certificate", error))?;
    let time =
        |seconds: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    let validity = parsed.validity();
    Ok(time(validity.not_before.timestamp())..time(validity.not_after.timestamp()))
}

fn unix_ms(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn certificate_of(pem: &str) -> Result<CertificateDer<'static>, IdentityError> {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| IdentityError::crypto("read a certificate", error))
}
