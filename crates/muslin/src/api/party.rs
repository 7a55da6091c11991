//! On whose behalf a request is carried out.
//!
//! The connection shows who calls, the headers may show a user; from both comes the asker, found
//! out once for each request and here alone. It goes on as part of the handle with which the
//! request is answered, so that nothing behind it can forget to say who asks.

use super::auth::{Doorman, Floor, Turned};
use super::caller::Caller;
use super::desk::Desk;
use super::etcd::{self, Offered, WATCH};
use super::http;
use super::problem::Problem;
use hyper::header::HeaderMap;
use hyper::{Method, Uri};
use muslin_core::state::{Asker, AuthRefusal};
use std::sync::Arc;
use tonic::Status;

/// What answers on behalf of one asker.
pub(super) struct Party {
    pub(super) desk: Arc<Desk>,
    pub(super) etcd: Offered,
}

impl Party {
    fn new(desk: Arc<Desk>) -> Arc<Party> {
        Arc::new(Party { etcd: Offered::new(desk.clone()), desk })
    }
}

/// Those who ask often, ready made; others are made when they ask.
pub(super) struct Parties {
    cluster: Arc<Party>,
    nobody: Arc<Party>,
    /// Whose token is not good: may watch, and is told of each watch that it may not.
    stranger: Arc<Party>,
}

/// Why a request is not carried out.
pub(super) enum NotLet {
    /// Whoever calls may not call this at all.
    Caller(Problem),
    /// Who asks could not be found out, or may not.
    Turned(Turned),
}

impl Parties {
    /// By the desk whose handle asks on behalf of the cluster itself.
    pub(super) fn new(desk: &Arc<Desk>) -> Parties {
        let nobody = Party::new(desk.asking(Asker::Nobody));
        // No user has this name.
        let stranger = Party::new(desk.asking(Asker::user("", 0)));
        Parties { cluster: Party::new(desk.clone()), nobody, stranger }
    }

    /// Who asks in a request over HTTP.
    pub(super) async fn of_http(
        &self,
        caller: Caller,
        (method, uri): (&Method, &Uri),
        headers: &HeaderMap,
    ) -> Result<Arc<Party>, NotLet> {
        let name = method.as_str().to_ascii_lowercase();
        let is_open = Floor::listed_route(&name, uri.path()) == Some(Floor::Open);
        self.of(caller, (method, uri), headers, is_open).await
    }

    /// Who asks in a call over gRPC; refused if it is for others.
    pub(super) async fn of_call(
        &self,
        caller: Caller,
        (method, uri): (&Method, &Uri),
        headers: &HeaderMap,
    ) -> Result<Arc<Party>, NotLet> {
        let floor = Floor::of_call(uri.path());
        let party = match self.of(caller, (method, uri), headers, floor == Floor::Open).await {
            // As etcd: a stream of watches is opened, and tells each of them. Its clients take an
            // end of the stream for a fault of theirs, and get another token when they are told.
            Err(NotLet::Turned(Turned::Refused(AuthRefusal::InvalidToken)))
                if uri.path() == WATCH && caller.check(method, uri).is_ok() =>
            {
                return Ok(self.stranger.clone());
            }
            party => party?,
        };
        let asker = party.desk.handle.asker();
        self.doorman().check(asker, floor).await.map_err(NotLet::Turned)?;
        Ok(party)
    }

    async fn of(
        &self,
        caller: Caller,
        (method, uri): (&Method, &Uri),
        headers: &HeaderMap,
        is_open: bool,
    ) -> Result<Arc<Party>, NotLet> {
        let checked = caller.check(method, uri);
        // Whoever shows nothing else may still ask for a token.
        let is_login = caller == Caller::Anonymous && is_login(uri.path());
        if is_open && (checked.is_ok() || is_login) {
            return Ok(self.party(Doorman::without_token(caller)));
        }
        // A connection that proves nothing of its own can carry a token, if it is encrypted.
        if let Err(problem) = checked {
            if caller != Caller::Anonymous {
                return Err(NotLet::Caller(problem));
            }
            let asker = self.doorman().asker(caller, headers).await.map_err(NotLet::Turned)?;
            return match self.doorman().lets_in(&asker).await {
                Ok(true) => Ok(self.party(asker)),
                Ok(false) => Err(NotLet::Caller(problem)),
                Err(turned) => Err(NotLet::Turned(turned)),
            };
        }
        let asker = self.doorman().asker(caller, headers).await.map_err(NotLet::Turned)?;
        Ok(self.party(asker))
    }

    fn doorman(&self) -> &Doorman {
        &self.cluster.desk.doorman
    }

    fn party(&self, asker: Asker) -> Arc<Party> {
        match asker {
            Asker::Cluster => self.cluster.clone(),
            Asker::Nobody => self.nobody.clone(),
            Asker::User(_) => Party::new(self.cluster.desk.asking(asker)),
        }
    }
}

/// Where a password is shown and a token given.
fn is_login(path: &str) -> bool {
    path == "/v1/auth/token" || path == "/etcdserverpb.Auth/Authenticate"
}

impl NotLet {
    /// As etcd's clients are told.
    pub(super) fn into_status(self) -> Status {
        match self {
            NotLet::Caller(problem) => {
                Status::unauthenticated(format!("muslin: {}", problem.detail))
            }
            NotLet::Turned(turned) => etcd::turned(turned),
        }
    }

    /// As everybody else is told.
    pub(super) fn into_problem(self) -> Problem {
        match self {
            NotLet::Caller(problem) => problem,
            NotLet::Turned(turned) => http::turned(turned),
        }
    }
}
