//! What stands behind `POST /v1/join` and `POST /v1/certificates:renew`.

use super::errand;
use super::found::unix_ms;
use super::wallet::Wallet;
use crate::api::{Admission, Asked, BoxFuture, Caller, Problem};
use crate::driver::Handle;
use crate::identity::IdentityError;
use crate::join::{self, Door, JoinRefusal};
use bytes::Bytes;
use hyper::StatusCode;
use muslin_core::base::NodeId;
use muslin_core::state::Founding;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Admits nodes with this node's identity, on the control group's word; or, where this node does
/// not hold the authority's key, through one that does.
#[derive(Clone)]
pub(super) struct Gatekeeper {
    pub(super) handle: Handle,
    pub(super) wallet: Arc<Wallet>,
    pub(super) founding: Arc<Founding>,
    pub(super) places: Arc<Semaphore>,
}

/// Joins decided at once: each is an entry of the log, and anyone may ask.
pub(super) const JOINS_MAX: usize = 64;

/// How long a rotation is waited for: less than a client waits.
const ROTATION_MAX: Duration = Duration::from_secs(8);

/// When whoever was refused for that should come again.
const BUSY_RETRY: Duration = Duration::from_secs(1);

impl Admission for Gatekeeper {
    fn join(&self, asked: Asked) -> BoxFuture<Result<Bytes, Problem>> {
        let gatekeeper = self.clone();
        Box::pin(async move { gatekeeper.admit(asked).await })
    }

    fn ca_hash(&self) -> Result<[u8; 32], Problem> {
        self.wallet.identity().ca_fingerprint().map_err(broken)
    }

    fn papers(&self) -> Result<serde_json::Value, Problem> {
        let identity = self.wallet.identity();
        let hex =
            |hash: [u8; 32]| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let ticket = identity.ticket_key().map_err(broken)?.open(&identity.ticket).ok();
        let expires = identity.expires().map_err(broken)?;
        let expires = expires.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Ok(serde_json::json!({
            "node": identity.node.to_string(),
            "cluster": identity.cluster.to_string(),
            "epoch": identity.epoch().map_err(broken)?.0,
            "expires_unix_ms": u64::try_from(expires.as_millis()).unwrap_or(u64::MAX),
            "key": hex(identity.key_hash().map_err(broken)?),
            "ca": hex(identity.ca_fingerprint().map_err(broken)?),
            "holds_ca_key": identity.ca_key.is_some(),
            "ticket_expires_unix_ms": ticket.map(|ticket| ticket.expires_unix_ms),
        }))
    }

    fn rotate(&self) -> BoxFuture<Result<(), Problem>> {
        let wallet = self.wallet.clone();
        Box::pin(async move {
            tokio::time::timeout(ROTATION_MAX, wallet.rotate()).await.map_err(|_| {
                let detail = "nobody has given this node another certificate in time";
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no-control-node", detail)
                    .hint("it goes on asking: see the node's log, and `muslin cert ls`")
                    .retryable()
            })
        })
    }

    fn renew(&self, node: NodeId, asked: Asked) -> BoxFuture<Result<Bytes, Problem>> {
        let Gatekeeper { handle, wallet, .. } = self.clone();
        Box::pin(async move {
            let answer = join::renew(&handle, &wallet.identity(), node, &asked.body).await;
            let answer = answer.map_err(problem)?;
            let answer = serde_json::to_vec(&answer).expect("text and numbers are always JSON");
            Ok(Bytes::from(answer))
        })
    }
}

impl Gatekeeper {
    async fn admit(&self, asked: Asked) -> Result<Bytes, Problem> {
        let identity = self.wallet.identity();
        // What a node passes on is not passed on once more: it would go in circles.
        if identity.ca_key.is_none() && !matches!(asked.caller, Caller::Node(_)) {
            let status = self.handle.status().await;
            let status = status.map_err(|failure| Problem::of_failure(failure, true))?;
            let holders = errand::holders(&status);
            return errand::ask(&identity, &holders, "/v1/join", &asked.body).await;
        }
        let Ok(_place) = self.places.try_acquire() else {
            let detail = "as many nodes ask to join here as are answered at once";
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
                .hint("join again in some seconds, or by another node")
                .retry_after(BUSY_RETRY));
        };
        let Gatekeeper { handle, founding, .. } = self;
        let door = Door { handle, identity: &identity, founding, unix_ms: unix_ms() };
        let predecessor = match asked.caller {
            Caller::Outdated(node) => Some(node),
            _ => None,
        };
        let answer = door.answer(&asked.body, predecessor).await;
        answer.map(Bytes::from).map_err(problem)
    }
}

/// Papers that the node itself cannot read.
fn broken(error: IdentityError) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string())
}

fn problem(refusal: JoinRefusal) -> Problem {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
    let problem = Problem::new(status, refusal.code, refusal.detail).hint(refusal.hint);
    if refusal.retryable { problem.retryable() } else { problem }
}
