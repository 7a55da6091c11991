//! What certificates say: names in the subject alternative name.

use muslin_core::base::{ClusterId, Epoch, NodeId};
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;

/// Whom a certificate of a cluster's authority names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Principal {
    /// A node.
    Node {
        /// Of which cluster.
        cluster: ClusterId,
        /// Which.
        node: NodeId,
    },
    /// A person or program that administers the cluster.
    Admin {
        /// Of which cluster.
        cluster: ClusterId,
        /// A label.
        name: String,
    },
}

/// Why a certificate names nobody.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameError {
    /// It is not an X.509 certificate.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// It names no node and no administrator.
    #[error("the certificate names no node and no administrator of a cluster")]
    Nobody,
    /// It names more than one.
    #[error("the certificate names more than one node or administrator")]
    Ambiguous,
}

/// The name a node's certificate is valid for, and which diallers demand.
pub fn node_dns_name(cluster: ClusterId, node: NodeId) -> String {
    format!("{node}.node.{cluster}.muslin")
}

/// The name that binds a node's certificate to a membership history.
pub(super) fn epoch_dns_name(cluster: ClusterId, epoch: Epoch) -> String {
    format!("e{}.epoch.{cluster}.muslin", epoch.0)
}

/// The membership history in which a certificate was given: zero, which every one has outlived,
/// for one that names none, several, or that of another cluster.
pub fn epoch_of(cluster: ClusterId, certificate: &CertificateDer<'_>) -> Epoch {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else { return Epoch(0) };
    let Ok(Some(names)) = parsed.subject_alternative_name() else { return Epoch(0) };
    let suffix = format!(".epoch.{cluster}.muslin");
    let mut found = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(text) => {
            text.strip_suffix(&suffix)?.strip_prefix('e')?.parse().map(Epoch).ok()
        }
        _ => None,
    });
    match (found.next(), found.next()) {
        (Some(epoch), None) => epoch,
        _ => Epoch(0),
    }
}

/// The name in an administrator's certificate. `name` must be a DNS label.
pub(super) fn admin_dns_name(cluster: ClusterId, name: &str) -> String {
    format!("{name}.admin.{cluster}.muslin")
}

impl Principal {
    /// Reads whom a certificate names. Says nothing about who signed it: TLS has checked that.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Principal, NameError> {
        let (_, parsed) =
            x509_parser::parse_x509_certificate(certificate).map_err(|_| NameError::Unreadable)?;
        let names = parsed.subject_alternative_name().map_err(|_| NameError::Unreadable)?;
        let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or(&[]);
        let mut found = names.iter().filter_map(|name| match name {
            GeneralName::DNSName(text) => Principal::parse(text),
            _ => None,
        });
        let principal = found.next().ok_or(NameError::Nobody)?;
        if found.next().is_some() { Err(NameError::Ambiguous) } else { Ok(principal) }
    }

    /// The cluster it belongs to.
    pub fn cluster(&self) -> ClusterId {
        match self {
            Principal::Node { cluster, .. } | Principal::Admin { cluster, .. } => *cluster,
        }
    }

    fn parse(name: &str) -> Option<Principal> {
        let mut labels = name.split('.');
        let (who, kind) = (labels.next()?, labels.next()?);
        let cluster = ClusterId::parse(labels.next()?)?;
        if labels.next() != Some("muslin") || labels.next().is_some() {
            return None;
        }
        match kind {
            "node" => Some(Principal::Node { cluster, node: NodeId::parse(who)? }),
            "admin" => Some(Principal::Admin { cluster, name: who.to_string() }),
            _ => None,
        }
    }
}
