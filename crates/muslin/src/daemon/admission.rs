//! What stands behind `POST /v1/join`.

use super::found::unix_ms;
use crate::api::{Admission, BoxFuture, Problem};
use crate::driver::Handle;
use crate::identity::Identity;
use crate::join::{self, JoinRefusal};
use bytes::Bytes;
use hyper::StatusCode;
use muslin_core::state::Founding;
use std::sync::Arc;

/// Admits nodes with this node's identity, on the control group's word.
pub(super) struct Gatekeeper {
    pub(super) handle: Handle,
    pub(super) identity: Arc<Identity>,
    pub(super) founding: Arc<Founding>,
}

impl Admission for Gatekeeper {
    fn join(&self, body: Bytes) -> BoxFuture<Result<Bytes, Problem>> {
        let (handle, identity) = (self.handle.clone(), self.identity.clone());
        let founding = self.founding.clone();
        Box::pin(async move {
            let answer = join::answer(&handle, &identity, &founding, &body, unix_ms()).await;
            answer.map(Bytes::from).map_err(problem)
        })
    }
}

fn problem(refusal: JoinRefusal) -> Problem {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
    let problem = Problem::new(status, refusal.code, refusal.detail).hint(refusal.hint);
    if refusal.retryable { problem.retryable() } else { problem }
}
