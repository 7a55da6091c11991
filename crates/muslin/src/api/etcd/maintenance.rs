//! Care of one member.

use super::outbox::Outbox;
use super::server::{Etcd, VERSION};
use super::{convert, refuse};
use crate::api::proto::etcdserverpb as pb;
use muslin_core::base::NodeId;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl pb::maintenance_server::Maintenance for Etcd {
    type SnapshotStream = Outbox<pb::SnapshotResponse>;

    async fn alarm(
        &self,
        request: Request<pb::AlarmRequest>,
    ) -> Result<Response<pb::AlarmResponse>, Status> {
        use pb::alarm_request::AlarmAction;
        if request.into_inner().action == AlarmAction::Activate as i32 {
            return Err(Status::unimplemented("muslin: alarms are not raised by hand"));
        }
        let status = self.desk.handle.status().await.map_err(refuse::failure)?;
        // One that is asked to end ends when there is room again, and not before.
        let no_space =
            |id: &NodeId| pb::AlarmMember { member_id: id.0, alarm: pb::AlarmType::Nospace as i32 };
        let alarms = status.full.iter().map(no_space).collect();
        Ok(Response::new(pb::AlarmResponse { header: Some(self.header(status.revision)), alarms }))
    }

    async fn status(
        &self,
        _: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusResponse>, Status> {
        let status = self.desk.handle.status().await.map_err(refuse::failure)?;
        let mut errors = match status.leader {
            Some(_) => Vec::new(),
            None => vec![String::from(refuse::no_leader().message())],
        };
        let no_space = |id: &NodeId| format!("memberID:{} alarm:NOSPACE ", id.0);
        errors.extend(status.full.iter().map(no_space));
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
        _: Request<pb::DefragmentRequest>,
    ) -> Result<Response<pb::DefragmentResponse>, Status> {
        // The state lives in memory: there is no file with holes.
        Ok(Response::new(pb::DefragmentResponse { header: Some(self.header_here()) }))
    }

    async fn hash(
        &self,
        _: Request<pb::HashRequest>,
    ) -> Result<Response<pb::HashResponse>, Status> {
        Err(Status::unimplemented("muslin: there is no database file to hash"))
    }

    async fn hash_kv(
        &self,
        _: Request<pb::HashKvRequest>,
    ) -> Result<Response<pb::HashKvResponse>, Status> {
        Err(Status::unimplemented("muslin: hashes of the keys are not offered; compare by reading"))
    }

    async fn snapshot(
        &self,
        _: Request<pb::SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        Err(Status::unimplemented("muslin: snapshots are not offered through etcd's API"))
    }

    async fn move_leader(
        &self,
        request: Request<pb::MoveLeaderRequest>,
    ) -> Result<Response<pb::MoveLeaderResponse>, Status> {
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
