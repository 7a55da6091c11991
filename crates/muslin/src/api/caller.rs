//! Who calls, and what that lets them do.

use super::problem::Problem;
use crate::identity::{Principal, epoch_of};
use crate::transport::{Barred, Roster};
use hyper::{Method, StatusCode, Uri};
use muslin_core::base::{ClusterId, Epoch, NodeId};
use rustls::pki_types::CertificateDer;

/// What is known of whoever is at the other end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Caller {
    /// Someone on this machine.
    Loopback,
    /// Someone with an administrator's certificate of the cluster.
    Certified,
    /// A node of the cluster.
    Node(NodeId),
    /// A node whose certificate is of an earlier epoch.
    Outdated(NodeId),
    /// A node that was removed.
    Removed(NodeId),
    /// Someone who showed no certificate.
    Anonymous,
    /// Someone on this machine who did not even encrypt, where that is not enough.
    PlainLocal,
    /// Someone on another machine who did not even encrypt.
    PlainRemote,
}

/// What anyone may do: ask whether the node lives, and ask to join (a token decides).
const OPEN: [(Method, &str); 3] =
    [(Method::GET, "/livez"), (Method::GET, "/readyz"), (Method::POST, JOIN)];

const JOIN: &str = "/v1/join";

/// Where a node asks for other papers, also with those of an earlier epoch.
pub(super) const RENEW: &str = "/v1/certificates:renew";

/// What a connection has shown. What that lets it do is asked anew with each request: a node may be
/// removed while its connection lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shown {
    /// Nothing that the record could take back.
    Plain(Caller),
    /// The certificate of a node.
    Node(NodeId, Epoch),
}

impl Shown {
    /// What a certificate shows, which TLS has found to be of the cluster's authority.
    pub(super) fn of(cluster: ClusterId, certificate: &CertificateDer<'_>) -> Shown {
        match Principal::of(certificate) {
            Ok(principal) if principal.cluster() != cluster => Shown::Plain(Caller::Anonymous),
            Ok(Principal::Node { node, .. }) => Shown::Node(node, epoch_of(cluster, certificate)),
            Ok(Principal::Admin { .. }) => Shown::Plain(Caller::Certified),
            Err(_) => Shown::Plain(Caller::Anonymous),
        }
    }

    /// Who that is at present.
    pub(super) fn caller(self, roster: Option<&Roster>) -> Caller {
        match self {
            Shown::Plain(caller) => caller,
            Shown::Node(node, epoch) => match roster.map_or(Ok(()), |r| r.check(node, epoch)) {
                Ok(()) => Caller::Node(node),
                Err(Barred::Outdated) => Caller::Outdated(node),
                Err(Barred::Removed) => Caller::Removed(node),
            },
        }
    }
}

impl Caller {
    /// Whether this caller may make this call.
    pub(super) fn check(self, method: &Method, uri: &Uri) -> Result<(), Problem> {
        if self.is_trusted() {
            return Ok(());
        }
        let is_open = OPEN.iter().any(|(m, path)| m == method && *path == uri.path());
        match self {
            Caller::Loopback | Caller::Certified | Caller::Node(_) => Ok(()),
            Caller::PlainRemote => Err(Problem::plain_text_refused()),
            Caller::PlainLocal if is_open && uri.path() == JOIN => {
                Err(Problem::plain_text_refused())
            }
            _ if is_open => Ok(()),
            // One that was removed is told there when, and why.
            Caller::Outdated(_) | Caller::Removed(_)
                if method == Method::POST && uri.path() == RENEW =>
            {
                Ok(())
            }
            Caller::Outdated(_) => Err(barred("outdated", Barred::Outdated)
                .hint("start the node: it asks to be admitted again by itself")),
            Caller::Removed(_) => Err(barred("removed", Barred::Removed)
                .hint("join again with an empty data directory: the name is free")),
            Caller::Anonymous | Caller::PlainLocal => Err(Problem::unauthorized()),
        }
    }

    /// Whether more is allowed than to ask to join: it also gets more room.
    pub(super) fn is_trusted(self) -> bool {
        matches!(self, Caller::Loopback | Caller::Certified | Caller::Node(_))
    }
}

fn barred(code: &'static str, barred: Barred) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, code, barred.to_string())
}
