//! Who calls, and what that lets them do.

use super::problem::Problem;
use hyper::{Method, Uri};

/// What is known of whoever is at the other end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Caller {
    /// Someone on this machine.
    Loopback,
    /// Someone with a certificate signed by the cluster's CA.
    Certified,
    /// Someone on another machine who showed no certificate.
    Anonymous,
    /// Someone on another machine who did not even encrypt.
    PlainRemote,
}

/// What anyone may do: ask whether the node lives, and ask to join (a token decides).
const OPEN: [(Method, &str); 3] =
    [(Method::GET, "/livez"), (Method::GET, "/readyz"), (Method::POST, "/v1/join")];

impl Caller {
    /// Whether this caller may make this call.
    pub(super) fn check(self, method: &Method, uri: &Uri) -> Result<(), Problem> {
        match self {
            Caller::Loopback | Caller::Certified => Ok(()),
            Caller::PlainRemote => Err(Problem::plain_text_refused()),
            Caller::Anonymous => {
                let open = OPEN.iter().any(|(m, path)| m == method && *path == uri.path());
                if open { Ok(()) } else { Err(Problem::unauthorized()) }
            }
        }
    }
}
