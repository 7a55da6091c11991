//! Who belongs to the cluster.

use super::refuse;
use super::server::Etcd;
use crate::api::proto::etcdserverpb as pb;
use muslin_core::base::NodeId;
use muslin_core::node::{Consistency, NodeStatus};
use muslin_core::state::{Member, Query};
use tonic::{Request, Response, Status};

/// Every change of members needs a token or an operator's certificate, which these calls do not
/// carry.
fn elsewhere(what: &str) -> Status {
    Status::unimplemented(format!("muslin: members are not changed through etcd's API; {what}"))
}

#[tonic::async_trait]
impl pb::cluster_server::Cluster for Etcd {
    async fn member_add(
        &self,
        _: Request<pb::MemberAddRequest>,
    ) -> Result<Response<pb::MemberAddResponse>, Status> {
        Err(elsewhere("run `muslin join` on the machine to be added"))
    }

    async fn member_remove(
        &self,
        _: Request<pb::MemberRemoveRequest>,
    ) -> Result<Response<pb::MemberRemoveResponse>, Status> {
        Err(elsewhere("members cannot be removed in this version; see docs/roadmap.md"))
    }

    async fn member_update(
        &self,
        _: Request<pb::MemberUpdateRequest>,
    ) -> Result<Response<pb::MemberUpdateResponse>, Status> {
        Err(elsewhere("start the node with another `--listen` or `--advertise`"))
    }

    async fn member_list(
        &self,
        request: Request<pb::MemberListRequest>,
    ) -> Result<Response<pb::MemberListResponse>, Status> {
        self.admit(request.metadata())?;
        if request.into_inner().linearizable {
            self.read(Query::Revision, Consistency::Linearizable).await?;
        }
        let status = self.desk.handle.status().await.map_err(refuse::failure)?;
        let header = Some(self.header(status.revision));
        Ok(Response::new(pb::MemberListResponse { header, members: members(&status) }))
    }

    async fn member_promote(
        &self,
        _: Request<pb::MemberPromoteRequest>,
    ) -> Result<Response<pb::MemberPromoteResponse>, Status> {
        Err(elsewhere("a learner that has caught up is promoted by itself"))
    }
}

fn members(status: &NodeStatus) -> Vec<pb::Member> {
    status.members.iter().map(|member| row(status, member)).collect()
}

fn row(status: &NodeStatus, member: &Member) -> pb::Member {
    let peer = format!("https://{}", member.address);
    let client = match member.etcd_address.as_str() {
        "" => peer.clone(),
        etcd => format!("http://{etcd}"),
    };
    pb::Member {
        id: member.id,
        name: member.name.clone(),
        peer_ur_ls: vec![peer],
        client_ur_ls: vec![client],
        is_learner: !status.configuration.is_voter(NodeId(member.id)),
    }
}
