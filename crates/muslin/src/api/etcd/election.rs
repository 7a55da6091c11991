//! Elections by name, kept in the store as etcd's clients keep theirs.

use super::lock::{entry, refused};
use super::outbox::{Outbox, Sender};
use super::server::{Etcd, header};
use super::{convert, refuse};
use crate::api::desk::Desk;
use crate::api::proto::v3electionpb as pb;
use crate::coordination::{self, Fence, Observed, Observer};
use muslin_core::base::{LeaseId, Revision};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Answers that may wait for the reader of one observation.
const OBSERVED_WAITING_MAX: usize = 16;

#[tonic::async_trait]
impl pb::election_server::Election for Etcd {
    async fn campaign(
        &self,
        request: Request<pb::CampaignRequest>,
    ) -> Result<Response<pb::CampaignResponse>, Status> {
        self.admit(request.metadata())?;
        let pb::CampaignRequest { name, lease, value } = request.into_inner();
        let entry = entry(lease, value)?;
        let mut waiting = self.election(&name).stand(entry).await.map_err(refused)?;
        tokio::select! {
            turn = waiting.turn() => turn.map_err(refused)?,
            () = self.desk.stopping() => return Err(refuse::stopped()),
        }
        let place = waiting.keep();
        let leader = pb::LeaderKey {
            name,
            key: place.fence.key,
            rev: convert::signed(place.fence.create_revision.0),
            lease: convert::signed(place.lease.0),
        };
        let header = Some(self.header(place.revision));
        Ok(Response::new(pb::CampaignResponse { header, leader: Some(leader) }))
    }

    async fn proclaim(
        &self,
        request: Request<pb::ProclaimRequest>,
    ) -> Result<Response<pb::ProclaimResponse>, Status> {
        self.admit(request.metadata())?;
        let pb::ProclaimRequest { leader, value } = request.into_inner();
        let leader = leader.ok_or_else(no_leader_key)?;
        let lease = LeaseId(u64::try_from(leader.lease).map_err(|_| no_lease())?);
        let election = self.election(&leader.name);
        let done = election.proclaim(&fence(leader), lease, value).await;
        let header = Some(self.header(done.map_err(refused)?));
        Ok(Response::new(pb::ProclaimResponse { header }))
    }

    async fn leader(
        &self,
        request: Request<pb::LeaderRequest>,
    ) -> Result<Response<pb::LeaderResponse>, Status> {
        self.admit(request.metadata())?;
        let name = request.into_inner().name;
        let (leader, revision) = self.election(&name).leader().await.map_err(refused)?;
        let kv = leader.ok_or_else(|| Status::unknown("election: no leader"))?;
        let header = Some(self.header(revision));
        Ok(Response::new(pb::LeaderResponse { header, kv: Some(convert::pair(kv)) }))
    }

    type ObserveStream = Outbox<pb::LeaderResponse>;

    async fn observe(
        &self,
        request: Request<pb::LeaderRequest>,
    ) -> Result<Response<Self::ObserveStream>, Status> {
        self.admit(request.metadata())?;
        let observer = self.election(&request.into_inner().name).observe();
        let (sender, outbox) = Outbox::new(OBSERVED_WAITING_MAX);
        let desk = self.desk.clone();
        tokio::spawn(async move {
            let end = tokio::select! {
                end = tell(&desk, observer, &sender) => end,
                () = desk.stopping() => Err(refuse::stopped()),
                () = sender.closed() => Ok(()),
            };
            if let Err(status) = end {
                let _ = sender.send(Err(status)).await;
            }
        });
        Ok(Response::new(outbox))
    }

    async fn resign(
        &self,
        request: Request<pb::ResignRequest>,
    ) -> Result<Response<pb::ResignResponse>, Status> {
        self.admit(request.metadata())?;
        let leader = request.into_inner().leader.ok_or_else(no_leader_key)?;
        let election = self.election(&leader.name);
        let done = election.resign(&fence(leader)).await.map_err(refused)?;
        Ok(Response::new(pb::ResignResponse { header: Some(self.header(done)) }))
    }
}

impl Etcd {
    fn election(&self, name: &[u8]) -> coordination::Election {
        coordination::Election::new(&self.desk.handle, name.to_vec())
    }
}

fn fence(leader: pb::LeaderKey) -> Fence {
    // What is below 1 made nothing: such a fence never holds.
    let create_revision = Revision(u64::try_from(leader.rev).unwrap_or(u64::MAX).max(1));
    Fence { key: leader.key, create_revision }
}

fn no_leader_key() -> Status {
    Status::unknown("\"leader\" field must be provided")
}

fn no_lease() -> Status {
    Status::unknown(refuse::lease_not_found().message())
}

/// Tells what is observed until nobody reads it.
async fn tell(
    desk: &Arc<Desk>,
    mut observer: Observer,
    sender: &Sender<pb::LeaderResponse>,
) -> Result<(), Status> {
    loop {
        // etcd says nothing of an office that nobody has.
        let Observed::Leader { kv, revision } = observer.next().await.map_err(refused)? else {
            continue;
        };
        let header = Some(header(desk, revision));
        let kv = Some(convert::pair(kv));
        if sender.send(Ok(pb::LeaderResponse { header, kv })).await.is_err() {
            return Ok(());
        }
    }
}
