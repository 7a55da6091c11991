//! One value behind every call, and what the calls have in common.

use super::watch::WatchStreams;
use super::{convert, refuse};
use crate::api::desk::Desk;
use crate::api::proto::etcdserverpb as pb;
use crate::api::proto::v3electionpb::election_server::ElectionServer;
use crate::api::proto::v3lockpb::lock_server::LockServer;
use hyper::header::HeaderMap;
use muslin_core::base::Revision;
use muslin_core::node::{COMMAND_BYTES_MAX, Consistency};
use muslin_core::state::{Asker, Command, CommandKind, Query, Response};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, interval_at};
use tonic::Status;
use tonic::metadata::MetadataMap;

/// Largest answer: the state's keys and values are held until it is sent. Larger ones are refused,
/// reads with the advice to read in pages.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// The etcd whose interface this is.
pub(crate) const VERSION: &str = "3.5.0";

/// Largest request read: the largest command, and as much again for its envelope as etcd allows.
pub(crate) const MESSAGE_BYTES_MAX: usize = COMMAND_BYTES_MAX + (512 << 10);

/// How often a stream that requires a leader looks for one; missing twice in a row ends it.
const LEADER_PERIOD: Duration = Duration::from_secs(1);

/// What is offered, for whoever hands calls over.
pub(crate) struct Offered {
    /// The key-value calls, which have a way of their own: see `unary`.
    pub(crate) kv: Arc<Etcd>,
    pub(crate) watch: WatchStreams,
    pub(crate) lease: pb::lease_server::LeaseServer<Etcd>,
    pub(crate) cluster: pb::cluster_server::ClusterServer<Etcd>,
    pub(crate) maintenance: pb::maintenance_server::MaintenanceServer<Etcd>,
    pub(crate) lock: LockServer<Etcd>,
    pub(crate) election: ElectionServer<Etcd>,
    pub(crate) auth: pb::auth_server::AuthServer<Etcd>,
}

impl Offered {
    pub(crate) fn new(desk: Arc<Desk>) -> Offered {
        let etcd = Arc::new(Etcd { desk });
        Offered {
            kv: etcd.clone(),
            watch: WatchStreams::new(etcd.clone()),
            lease: pb::lease_server::LeaseServer::from_arc(etcd.clone()),
            cluster: pb::cluster_server::ClusterServer::from_arc(etcd.clone()),
            maintenance: pb::maintenance_server::MaintenanceServer::from_arc(etcd.clone()),
            lock: LockServer::from_arc(etcd.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX),
            election: ElectionServer::from_arc(etcd.clone())
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
            auth: pb::auth_server::AuthServer::from_arc(etcd),
        }
    }
}

/// Implements every service.
pub(crate) struct Etcd {
    pub(super) desk: Arc<Desk>,
}

/// Whether a caller wants to be turned away while no leader is known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Leader {
    Required,
    Optional,
}

impl Leader {
    /// Returns when one is required and none has been known for a while.
    pub(super) async fn lost(self, desk: &Desk) {
        if self == Leader::Optional {
            return std::future::pending().await;
        }
        let mut ticks = interval_at(Instant::now() + LEADER_PERIOD, LEADER_PERIOD);
        let mut missing = 0;
        while missing < 2 {
            ticks.tick().await;
            missing = if desk.handle.glance().leader.is_none() { missing + 1 } else { 0 };
        }
    }
}

impl Etcd {
    /// Clients that set `hasleader` are told at once that there is none, rather than wait.
    pub(super) fn admit(&self, metadata: &MetadataMap) -> Result<Leader, Status> {
        self.admit_with(metadata.as_ref())
    }

    /// The same, by the headers of the request.
    pub(super) fn admit_with(&self, headers: &HeaderMap) -> Result<Leader, Status> {
        if headers.get("hasleader").is_none_or(|value| value != "true") {
            return Ok(Leader::Optional);
        }
        match self.desk.handle.glance().leader {
            Some(_) => Ok(Leader::Required),
            None => Err(refuse::no_leader()),
        }
    }

    pub(super) async fn write(
        &self,
        kind: CommandKind,
    ) -> Result<(Response, convert::Header), Status> {
        let command = Command::of(kind);
        let outcome = self.desk.handle.write(command).await.map_err(refuse::failure)?;
        let response = outcome.result.map_err(refuse::refusal)?;
        if response.approximate_bytes() > ANSWER_BYTES_MAX {
            return Err(refuse::result_too_large());
        }
        Ok((response, Some(self.header(outcome.revision))))
    }

    pub(super) async fn read(
        &self,
        query: Query,
        consistency: Consistency,
    ) -> Result<(Response, convert::Header), Status> {
        let outcome = self.desk.handle.read(query, consistency).await.map_err(refuse::failure)?;
        let response = outcome.result.map_err(refuse::refusal)?;
        if response.approximate_bytes() > ANSWER_BYTES_MAX {
            return Err(refuse::answer_too_large());
        }
        Ok((response, Some(self.header(outcome.revision))))
    }

    /// What this node's copy says, for the node itself: calls that are open to all tell some of it.
    pub(super) async fn read_for_node(
        &self,
        query: Query,
    ) -> Result<(Response, convert::Header), Status> {
        let handle = self.desk.handle.asking(Asker::Cluster);
        let outcome = handle.read(query, Consistency::Local).await.map_err(refuse::failure)?;
        let response = outcome.result.map_err(refuse::refusal)?;
        Ok((response, Some(self.header(outcome.revision))))
    }

    pub(super) fn header(&self, revision: Revision) -> pb::ResponseHeader {
        header(&self.desk, revision)
    }

    /// A header for an answer that is not about one revision.
    pub(super) fn header_here(&self) -> pb::ResponseHeader {
        self.header(self.desk.handle.glance().revision)
    }
}

/// What heads every answer. The cluster's identity is its low 64 bits: etcd's has no more.
pub(super) fn header(desk: &Desk, revision: Revision) -> pb::ResponseHeader {
    pb::ResponseHeader {
        cluster_id: desk.cluster.0 as u64,
        member_id: desk.id.0,
        revision: convert::signed(revision.0),
        raft_term: desk.handle.glance().term.0,
    }
}
