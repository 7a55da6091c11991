//! The cluster's certificate authority.

use super::names::{admin_dns_name, epoch_dns_name, node_dns_name};
use super::{IdentityError, Secret};
use muslin_core::base::{ClusterId, Epoch, NodeId};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
    SanType, SerialNumber,
};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a node's certificate is valid: renewed by itself when a third of it is left, so that a
/// node may be down for a month. Whoever is removed is barred at once, whatever is left.
pub const NODE_VALIDITY: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// How long an administrator's certificate is valid: a person renews it.
const ADMIN_VALIDITY: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How long the authority is valid.
const CA_VALIDITY: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Longest administrator's name: a DNS label has at most 63 bytes.
const ADMIN_NAME_BYTES_MAX: usize = 63;

/// A certificate with its private key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyedCertificate {
    /// The certificate.
    pub certificate_pem: String,
    /// Its key.
    pub key_pem: Secret,
}

/// Which node a certificate is to name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeSubject<'a> {
    /// The node.
    pub node: NodeId,
    /// The membership history in which the certificate is given.
    pub epoch: Epoch,
    /// Named in it besides those of loopback, for callers who check the address.
    pub addresses: &'a [IpAddr],
}

/// A fresh key and the request for a certificate of it. Only the request travels.
#[derive(Clone, Debug)]
pub struct SigningRequest {
    /// PKCS #10, PEM.
    pub csr_pem: String,
    /// The key; stays here.
    pub key_pem: Secret,
}

/// A checked request for a certificate: it is signed with the key it names.
#[derive(Debug)]
pub struct SignedRequest {
    parsed: CertificateSigningRequestParams,
}

/// The cluster's authority: its certificate and key.
#[derive(Clone, Debug)]
pub struct ClusterCa {
    cluster: ClusterId,
    certificate_pem: String,
    certificate: CertificateDer<'static>,
    key_pem: Secret,
}

impl SigningRequest {
    /// Makes a key and a request for it, for this node.
    pub fn generate(cluster: ClusterId, node: NodeId) -> Result<SigningRequest, IdentityError> {
        let failed = |error| IdentityError::crypto("make a certificate request", error);
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![dns(node_dns_name(cluster, node))?];
        let request = params.serialize_request(&key).map_err(failed)?;
        let csr_pem = request.pem().map_err(failed)?;
        Ok(SigningRequest { csr_pem, key_pem: Secret::new(key.serialize_pem()) })
    }
}

impl SignedRequest {
    /// Reads a request and checks that whoever made it has the key.
    pub fn parse(csr_pem: &str) -> Result<SignedRequest, IdentityError> {
        let parsed = CertificateSigningRequestParams::from_pem(csr_pem)
            .map_err(|error| IdentityError::Request(error.to_string()))?;
        Ok(SignedRequest { parsed })
    }

    /// Whether the key's holder made it for this node: a request is of no use to another.
    pub fn is_for(&self, cluster: ClusterId, node: NodeId) -> bool {
        let names = &self.parsed.params.subject_alt_names;
        dns(node_dns_name(cluster, node)).is_ok_and(|name| *names == [name])
    }

    /// SHA-256 of the public key (SubjectPublicKeyInfo).
    pub fn key_hash(&self) -> [u8; 32] {
        sha256(&self.parsed.public_key.subject_public_key_info())
    }
}

impl ClusterCa {
    /// Makes the authority of a new cluster.
    pub fn create(cluster: ClusterId, name: &str) -> Result<ClusterCa, IdentityError> {
        let failed = |error| IdentityError::crypto("make the cluster's CA", error);
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = dated(CA_VALIDITY);
        params.distinguished_name = subject(cluster, &format!("Muslin CA of {name}"));
        // It signs nodes and administrators, never another authority.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(failed)?;
        ClusterCa::from_pem(cluster, &certificate.pem(), Secret::new(key.serialize_pem()))
    }

    /// Takes up an authority made earlier.
    pub fn from_pem(
        cluster: ClusterId,
        certificate_pem: &str,
        key_pem: Secret,
    ) -> Result<ClusterCa, IdentityError> {
        let failed = |error| IdentityError::crypto("read the cluster's CA certificate", error);
        let certificate =
            CertificateDer::from_pem_slice(certificate_pem.as_bytes()).map_err(failed)?;
        let certificate_pem = certificate_pem.to_string();
        Ok(ClusterCa { cluster, certificate_pem, certificate, key_pem })
    }

    /// Its cluster.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// Its certificate.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Its key.
    pub fn key_pem(&self) -> &Secret {
        &self.key_pem
    }

    /// Whether the key is the certificate's: compares the public parts.
    pub fn verify(&self) -> Result<(), IdentityError> {
        let failed = |what: &str| IdentityError::crypto("use the cluster's CA key", what);
        let key = KeyPair::from_pem(self.key_pem.expose())
            .map_err(|_| failed("it is not the PEM of a key"))?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&self.certificate)
            .map_err(|_| failed("its certificate cannot be read"))?;
        let is_same = parsed.tbs_certificate.subject_pki.raw == key.subject_public_key_info();
        if is_same { Ok(()) } else { Err(failed("it is not the key of the CA's certificate")) }
    }

    /// SHA-256 of its certificate (DER): what join tokens pin.
    pub fn fingerprint(&self) -> [u8; 32] {
        sha256(&self.certificate)
    }

    /// A certificate with a fresh key for a node.
    pub fn issue_node(&self, subject: NodeSubject<'_>) -> Result<KeyedCertificate, IdentityError> {
        let failed = |error| IdentityError::crypto("make a node's key", error);
        let key = KeyPair::generate().map_err(failed)?;
        let certificate_pem = self.sign(node_params(self.cluster, subject)?, &key)?;
        Ok(KeyedCertificate { certificate_pem, key_pem: Secret::new(key.serialize_pem()) })
    }

    /// A certificate for a node that made its own key. Of the request only the public key counts.
    pub fn sign_node(
        &self,
        subject: NodeSubject<'_>,
        request: &SignedRequest,
    ) -> Result<String, IdentityError> {
        let params = node_params(self.cluster, subject)?;
        self.sign(params, &request.parsed.public_key)
    }

    /// A client certificate with a fresh key for an administrator.
    pub fn issue_admin(&self, name: &str) -> Result<KeyedCertificate, IdentityError> {
        let failed = |error| IdentityError::crypto("make an administrator's key", error);
        let is_label =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > ADMIN_NAME_BYTES_MAX || !name.bytes().all(is_label) {
            let what = "its name must be 1 to 63 lower-case letters, digits and dashes";
            return Err(IdentityError::crypto("make an administrator's certificate", what));
        }
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = dated(ADMIN_VALIDITY);
        params.distinguished_name = subject(self.cluster, &format!("admin {name}"));
        params.subject_alt_names = vec![dns(admin_dns_name(self.cluster, name))?];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate_pem = self.sign(params, &key)?;
        Ok(KeyedCertificate { certificate_pem, key_pem: Secret::new(key.serialize_pem()) })
    }

    fn sign(
        &self,
        params: CertificateParams,
        public_key: &impl PublicKeyData,
    ) -> Result<String, IdentityError> {
        let failed = |error| IdentityError::crypto("sign a certificate", error);
        let key = KeyPair::from_pem(self.key_pem.expose()).map_err(failed)?;
        let issuer = Issuer::from_ca_cert_der(&self.certificate, key).map_err(failed)?;
        Ok(params.signed_by(public_key, &issuer).map_err(failed)?.pem())
    }
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn node_params(
    cluster: ClusterId,
    named: NodeSubject<'_>,
) -> Result<CertificateParams, IdentityError> {
    let NodeSubject { node, epoch, addresses } = named;
    let mut params = dated(NODE_VALIDITY);
    params.distinguished_name = subject(cluster, &format!("node {node}"));
    let names = [node_dns_name(cluster, node), epoch_dns_name(cluster, epoch), "localhost".into()];
    params.subject_alt_names = names.into_iter().map(dns).collect::<Result<_, _>>()?;
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    for address in loopback.iter().chain(addresses) {
        let name = SanType::IpAddress(*address);
        if !address.is_unspecified() && !params.subject_alt_names.contains(&name) {
            params.subject_alt_names.push(name);
        }
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

/// Valid from a day ago, so that clocks of nodes may differ by hours.
fn dated(validity: Duration) -> CertificateParams {
    let present = SystemTime::now();
    let mut serial = [0; 16];
    SystemRandom::new().fill(&mut serial).expect("the system gives random bytes");
    // A serial number is positive: its first bit must be zero.
    serial[0] = serial[0] & 0x7f | 0x40;
    let mut params = CertificateParams::default();
    params.not_before = (present - DAY).into();
    params.not_after = (present + validity).into();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.use_authority_key_identifier_extension = true;
    params
}

fn subject(cluster: ClusterId, name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, format!("cluster {cluster}"));
    subject.push(DnType::CommonName, name);
    subject
}

fn dns(name: String) -> Result<SanType, IdentityError> {
    let name =
        name.try_into().map_err(|error| IdentityError::crypto("name a certificate", error))?;
    Ok(SanType::DnsName(name))
}
