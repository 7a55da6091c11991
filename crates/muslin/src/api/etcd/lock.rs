//! Locks by name, kept in the store as etcd's clients keep theirs.

use super::refuse;
use super::server::Etcd;
use super::{convert, refuse::failure};
use crate::api::proto::v3lockpb as pb;
use crate::coordination::{Entry, Error, Queue, drawn_lease};
use bytes::Bytes;
use muslin_core::base::LeaseId;
use muslin_core::state::{CommandKind, DeleteRange, KeyRange};
use tonic::{Code, Request, Response, Status};

/// Life of the lease that is made for a caller without one: etcd's.
const TTL_MS_DEFAULT: u64 = 60_000;

#[tonic::async_trait]
impl pb::lock_server::Lock for Etcd {
    async fn lock(
        &self,
        request: Request<pb::LockRequest>,
    ) -> Result<Response<pb::LockResponse>, Status> {
        self.admit(request.metadata())?;
        let pb::LockRequest { name, lease } = request.into_inner();
        let queue = Queue::new(&self.desk.handle, &name);
        let entry = entry(lease, Bytes::new())?;
        let mut waiting = queue.enter(entry).await.map_err(refused)?;
        tokio::select! {
            turn = waiting.turn() => turn.map_err(expired)?,
            () = self.desk.stopping() => return Err(refuse::stopped()),
        }
        let place = waiting.keep();
        let header = Some(self.header(place.revision));
        Ok(Response::new(pb::LockResponse { header, key: place.fence.key }))
    }

    async fn unlock(
        &self,
        request: Request<pb::UnlockRequest>,
    ) -> Result<Response<pb::UnlockResponse>, Status> {
        self.admit(request.metadata())?;
        let range = KeyRange::of_key(request.into_inner().key);
        let delete = CommandKind::Delete(DeleteRange { range, prev_kv: false });
        let (_, header) = self.write(delete).await.map_err(untyped)?;
        Ok(Response::new(pb::UnlockResponse { header }))
    }
}

/// Who asks for a place. Without a lease one is made, which ends with the place.
pub(super) fn entry(lease: i64, value: Bytes) -> Result<Entry, Status> {
    if lease != 0 {
        let lease = LeaseId(convert::lease_id(lease).map_err(untyped)?);
        return Ok(Entry { lease, value, ttl_ms: 0 });
    }
    Ok(Entry { lease: drawn_lease().map_err(refused)?, value, ttl_ms: TTL_MS_DEFAULT })
}

/// As etcd's own services for locks and elections refuse: with its texts, and without its codes.
pub(super) fn refused(error: Error) -> Status {
    match error {
        Error::SessionEnded => untyped(refuse::lease_not_found()),
        Error::Refused(refusal) => untyped(refuse::refusal(refusal)),
        // The node did not settle it: clients that try again look at the code.
        Error::Failed(it) => failure(it),
        other => Status::unknown(other.to_string()),
    }
}

/// A place was lost before its turn came.
fn expired(error: Error) -> Status {
    match error {
        Error::SessionEnded => Status::unknown("mutex: session is expired"),
        other => refused(other),
    }
}

fn untyped(status: Status) -> Status {
    match status.code() {
        Code::Unavailable | Code::ResourceExhausted => status,
        _ => Status::unknown(status.message()),
    }
}
