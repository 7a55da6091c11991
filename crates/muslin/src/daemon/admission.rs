//! What stands behind `POST /v1/join` and `POST /v1/certificates:renew`.

use super::errand;
use super::found::unix_ms;
use super::wallet::Wallet;
use crate::api::{Admission, Asked, BoxFuture, Caller, Problem};
use crate::driver::Handle;
use crate::join::{self, Holder, JoinRefusal};
use bytes::Bytes;
use hyper::StatusCode;
use muslin_core::base::NodeId;
use muslin_core::state::Founding;
use std::sync::Arc;

/// Admits nodes with this node's identity, on the control group's word; or, where this node does
/// not hold the authority's key, through one that does.
#[derive(Clone)]
pub(super) struct Gatekeeper {
    pub(super) handle: Handle,
    pub(super) wallet: Arc<Wallet>,
    pub(super) founding: Arc<Founding>,
}

impl Admission for Gatekeeper {
    fn join(&self, asked: Asked) -> BoxFuture<Result<Bytes, Problem>> {
        let gatekeeper = self.clone();
        Box::pin(async move { gatekeeper.admit(asked).await })
    }

    fn renew(&self, node: NodeId, asked: Asked) -> BoxFuture<Result<Bytes, Problem>> {
        let Gatekeeper { handle, wallet, .. } = self.clone();
        Box::pin(async move {
            let is_outdated = matches!(asked.caller, Caller::Outdated(_));
            let holder = Holder { node, is_outdated };
            let answer = join::renew(&handle, &wallet.identity(), holder, &asked.body).await;
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
        let Gatekeeper { handle, founding, .. } = self;
        let answer = join::answer(handle, &identity, founding, &asked.body, unix_ms()).await;
        answer.map(Bytes::from).map_err(problem)
    }
}

fn problem(refusal: JoinRefusal) -> Problem {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
    let problem = Problem::new(status, refusal.code, refusal.detail).hint(refusal.hint);
    if refusal.retryable { problem.retryable() } else { problem }
}
