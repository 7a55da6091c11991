//! Keys that live as long as their owner says so.

use super::outbox::{Outbox, Sender};
use super::server::{Etcd, Leader, header};
use super::{convert, refuse};
use crate::api::desk::Desk;
use crate::api::proto::etcdserverpb as pb;
use crate::driver::{Asked, Kept};
use muslin_core::base::LeaseId;
use muslin_core::node::{Consistency, Failure};
use muslin_core::state::{self, CommandKind, Query, Refusal};
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::VecDeque;
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming};

/// Longest time to live, in seconds: etcd's.
const TTL_SECONDS_MAX: i64 = 9_000_000_000;

/// Shortest time to live, in seconds. A client that asks for less gets this, and is told so.
const TTL_SECONDS_MIN: i64 = 1;

/// Identities drawn for one grant before it is given up. One in 2^63 is taken per lease that
/// exists: a second draw is already a miracle.
const DRAWS_MAX: usize = 3;

/// Leases of one stream that are asked for at once; further ones wait. A round of the leader takes
/// them all.
const KEPT_ALIVE_AT_ONCE: usize = 1_024;

/// Answers that may wait for the reader of one keep-alive stream.
const KEEP_ALIVES_WAITING_MAX: usize = 16;

#[tonic::async_trait]
impl pb::lease_server::Lease for Etcd {
    type LeaseKeepAliveStream = Outbox<pb::LeaseKeepAliveResponse>;

    async fn lease_grant(
        &self,
        request: Request<pb::LeaseGrantRequest>,
    ) -> Result<Response<pb::LeaseGrantResponse>, Status> {
        self.admit(request.metadata())?;
        let pb::LeaseGrantRequest { ttl, id } = request.into_inner();
        if ttl > TTL_SECONDS_MAX {
            return Err(refuse::lease_ttl());
        }
        let ttl_ms =
            convert::signed(ttl.max(TTL_SECONDS_MIN).unsigned_abs() * 1_000).unsigned_abs();
        if id != 0 {
            let id = u64::try_from(id).map_err(|_| {
                Status::invalid_argument("muslin: a lease id must be positive; 0 has one chosen")
            })?;
            return self.grant(state::LeaseGrant { id, ttl_ms }).await;
        }
        for _ in 1..DRAWS_MAX {
            let outcome = self.grant(state::LeaseGrant { id: drawn_id()?, ttl_ms }).await;
            match outcome {
                Err(status) if status.message() == taken().message() => {}
                settled => return settled,
            }
        }
        self.grant(state::LeaseGrant { id: drawn_id()?, ttl_ms }).await
    }

    async fn lease_revoke(
        &self,
        request: Request<pb::LeaseRevokeRequest>,
    ) -> Result<Response<pb::LeaseRevokeResponse>, Status> {
        self.admit(request.metadata())?;
        let id = convert::lease_id(request.into_inner().id)?;
        let revoke = state::LeaseRevoke { ids: vec![id], expired: false };
        let (_, header) = self.write(CommandKind::LeaseRevoke(revoke)).await?;
        Ok(Response::new(pb::LeaseRevokeResponse { header }))
    }

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<pb::LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let leader = self.admit(request.metadata())?;
        let (sender, outbox) = Outbox::new(KEEP_ALIVES_WAITING_MAX);
        let desk = self.desk.clone();
        tokio::spawn(async move {
            let requests = request.into_inner();
            let end = tokio::select! {
                end = keep_alive(&desk, requests, leader, &sender) => end,
                () = desk.stopping() => Err(refuse::stopped()),
                () = leader.lost(&desk) => Err(refuse::no_leader()),
                () = sender.closed() => Ok(()),
            };
            if let Err(status) = end {
                let _ = sender.send(Err(status)).await;
            }
        });
        Ok(Response::new(outbox))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<pb::LeaseTimeToLiveRequest>,
    ) -> Result<Response<pb::LeaseTimeToLiveResponse>, Status> {
        self.admit(request.metadata())?;
        let pb::LeaseTimeToLiveRequest { id, keys } = request.into_inner();
        let lease = LeaseId(convert::lease_id(id)?);
        let (ttl, revision) =
            self.desk.handle.time_to_live(lease).await.map_err(refuse::failure)?;
        let mut response = pb::LeaseTimeToLiveResponse {
            header: Some(self.header(revision)),
            id,
            ttl: -1,
            ..pb::LeaseTimeToLiveResponse::default()
        };
        if let Some((granted_ms, left_ms)) = ttl {
            response.granted_ttl = convert::signed(granted_ms / 1_000);
            response.ttl = convert::signed(left_ms / 1_000);
            if keys {
                response.keys = self.keys_of(lease).await?;
            }
        }
        Ok(Response::new(response))
    }

    async fn lease_leases(
        &self,
        request: Request<pb::LeaseLeasesRequest>,
    ) -> Result<Response<pb::LeaseLeasesResponse>, Status> {
        self.admit(request.metadata())?;
        let (response, header) = self.read(Query::Leases, Consistency::Linearizable).await?;
        let state::Response::Leases { ids } = response else {
            return Err(refuse::unexpected());
        };
        let leases = ids.into_iter().map(|id| pb::LeaseStatus { id: convert::signed(id) });
        Ok(Response::new(pb::LeaseLeasesResponse { header, leases: leases.collect() }))
    }
}

impl Etcd {
    async fn grant(
        &self,
        grant: state::LeaseGrant,
    ) -> Result<Response<pb::LeaseGrantResponse>, Status> {
        let (response, header) = self.write(CommandKind::LeaseGrant(grant)).await?;
        let state::Response::LeaseGrant { id, ttl_ms } = response else {
            return Err(refuse::unexpected());
        };
        Ok(Response::new(pb::LeaseGrantResponse {
            header,
            id: convert::signed(id),
            ttl: convert::signed(ttl_ms / 1_000),
            error: String::new(),
        }))
    }

    /// The keys of a lease; none when it ended since it was looked at.
    async fn keys_of(&self, lease: LeaseId) -> Result<Vec<bytes::Bytes>, Status> {
        let query = Query::Lease(lease.0);
        let consistency = Consistency::Linearizable;
        let outcome = self.desk.handle.read(query, consistency).await.map_err(refuse::failure)?;
        match outcome.result {
            Ok(state::Response::Lease { keys, .. }) => Ok(keys),
            Ok(_) => Err(refuse::unexpected()),
            Err(Refusal::LeaseNotFound) => Ok(Vec::new()),
            Err(refusal) => Err(refuse::refusal(refusal)),
        }
    }
}

fn taken() -> Status {
    refuse::refusal(Refusal::LeaseExists)
}

/// A random identity that a signed number holds, never 0.
fn drawn_id() -> Result<u64, Status> {
    let mut bytes = [0; 8];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Status::internal("muslin: the system has no randomness"))?;
    Ok((u64::from_le_bytes(bytes) >> 1).max(1))
}

/// Answers one stream, in order, until the client has no more requests. Those that come together
/// are asked together, so that a client with thousands of leases waits for a round or two.
async fn keep_alive(
    desk: &Arc<Desk>,
    mut requests: Streaming<pb::LeaseKeepAliveRequest>,
    leader: Leader,
    sender: &Sender<pb::LeaseKeepAliveResponse>,
) -> Result<(), Status> {
    let mut asked: VecDeque<(i64, Asked)> = VecDeque::new();
    let mut is_over = false;
    while !is_over || !asked.is_empty() {
        tokio::select! {
            request = requests.message(), if !is_over && asked.len() < KEPT_ALIVE_AT_ONCE => {
                let Some(pb::LeaseKeepAliveRequest { id }) = request? else {
                    is_over = true;
                    continue;
                };
                if leader == Leader::Required && desk.handle.glance().leader.is_none() {
                    return Err(refuse::no_leader());
                }
                let lease = LeaseId(u64::try_from(id).unwrap_or(0));
                let answer = desk.handle.begin_keep_alive(lease).await.map_err(refuse::failure)?;
                asked.push_back((id, answer));
            }
            (id, answer) = first(&mut asked), if !asked.is_empty() => {
                asked.pop_front();
                let (ttl, revision) = answer.map_err(refuse::failure)?;
                let answer = pb::LeaseKeepAliveResponse {
                    header: Some(header(desk, revision)),
                    id,
                    ttl: ttl.map_or(0, |(granted_ms, _)| convert::signed(granted_ms / 1_000)),
                };
                if sender.send(Ok(answer)).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// The answer to the oldest question. Cancel safe.
async fn first(asked: &mut VecDeque<(i64, Asked)>) -> (i64, Result<Kept, Failure>) {
    let (id, answer) = asked.front_mut().expect("the caller has looked");
    (*id, answer.await)
}
