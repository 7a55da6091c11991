//! Care of one member.

use super::outbox::Outbox;
use super::server::{Etcd, VERSION};
use super::{convert, refuse};
use crate::api::backups::{self, Leaving};
use crate::api::proto::etcdserverpb as pb;
use muslin_core::base::{NodeId, Revision};
use muslin_core::node::Consistency;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl pb::maintenance_server::Maintenance for Etcd {
    type SnapshotStream = Outbox<pb::SnapshotResponse>;

    async fn alarm(
        &self,
        request: Request<pb::AlarmRequest>,
    ) -> Result<Response<pb::AlarmResponse>, Status> {
        self.admit(request.metadata())?;
        self.alarms(request.into_inner()).await.map(Response::new)
    }

    async fn status(
        &self,
        request: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusResponse>, Status> {
        self.admit(request.metadata())?;
        let status = self.desk.handle.status().await.map_err(refuse::failure)?;
        let mut errors = match status.leader {
            Some(_) => Vec::new(),
            None => vec![String::from(refuse::no_leader().message())],
        };
        errors.extend(self.alarm_errors(&status).await?);
        Ok(Response::new(pb::StatusResponse {
            header: Some(self.header(status.revision)),
            version: String::from(VERSION),
            db_size: convert::signed(status.state_bytes),
            leader: status.leader.unwrap_or_default().0,
            raft_index: status.commit.0,
            raft_term: status.term.0,
            raft_applied_index: status.applied.0,
            errors,
            db_size_in_use: convert::signed(status.state_bytes),
            is_learner: !status.voter,
        }))
    }

    async fn defragment(
        &self,
        request: Request<pb::DefragmentRequest>,
    ) -> Result<Response<pb::DefragmentResponse>, Status> {
        self.admit(request.metadata())?;
        // The state lives in memory: there is no file with holes.
        Ok(Response::new(pb::DefragmentResponse { header: Some(self.header_here()) }))
    }

    async fn hash(
        &self,
        _: Request<pb::HashRequest>,
    ) -> Result<Response<pb::HashResponse>, Status> {
        // Each member answers for itself.
        let looked =
            backups::look(&self.desk.handle, |state| (state.hash(), state.counts().revision));
        let (hash, revision) = looked.await.map_err(refuse::failure)?;
        Ok(Response::new(pb::HashResponse { header: Some(self.header(revision)), hash }))
    }

    async fn hash_kv(
        &self,
        request: Request<pb::HashKvRequest>,
    ) -> Result<Response<pb::HashKvResponse>, Status> {
        // Negative is the present one, as zero is.
        let at = Revision(u64::try_from(request.into_inner().revision).unwrap_or_default());
        let looked = backups::look(&self.desk.handle, move |state| {
            (state.hash_kv(at), state.counts().revision)
        });
        let (hashed, revision) = looked.await.map_err(refuse::failure)?;
        let hashed = hashed.map_err(refuse::refusal)?;
        Ok(Response::new(pb::HashKvResponse {
            header: Some(self.header(revision)),
            hash: hashed.hash,
            compact_revision: convert::signed(hashed.compacted.0),
            hash_revision: convert::signed(hashed.revision.0),
        }))
    }

    async fn snapshot(
        &self,
        _: Request<pb::SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        // Through the leader, as this node's copy may be of a moment ago.
        let begun = backups::begin(&self.desk, &self.desk.handle, Consistency::Linearizable).await;
        let Leaving { mut chunks, head, .. } = begun.map_err(refuse::failure)?;
        let header = self.header(Revision(head.revision));
        let (sender, outbox) = Outbox::new(1);
        tokio::spawn(async move {
            while let Some((blob, left)) = chunks.recv().await {
                let answer = pb::SnapshotResponse {
                    header: Some(header),
                    remaining_bytes: left,
                    blob,
                    version: String::from(VERSION),
                };
                if sender.send(Ok(answer)).await.is_err() || left == 0 {
                    return;
                }
            }
            // Without an error the client would keep what came as if it were all.
            let _ = sender.send(Err(Status::unavailable("muslin: the backup ended early"))).await;
        });
        Ok(Response::new(outbox))
    }

    async fn move_leader(
        &self,
        request: Request<pb::MoveLeaderRequest>,
    ) -> Result<Response<pb::MoveLeaderResponse>, Status> {
        self.admit(request.metadata())?;
        let target = NodeId(request.into_inner().target_id);
        let status = self.desk.handle.status().await.map_err(refuse::failure)?;
        if !status.configuration.is_voter(target) {
            return Err(refuse::bad_transferee());
        }
        self.desk.handle.transfer_leader(target).await.map_err(refuse::failure)?;
        Ok(Response::new(pb::MoveLeaderResponse { header: Some(self.header_here()) }))
    }

    async fn downgrade(
        &self,
        _: Request<pb::DowngradeRequest>,
    ) -> Result<Response<pb::DowngradeResponse>, Status> {
        Err(Status::unimplemented("muslin: there is no etcd version to go back to"))
    }
}
