//! Reads and writes.

use super::server::Etcd;
use super::{convert, refuse};
use crate::api::proto::etcdserverpb as pb;
use muslin_core::node::Consistency;
use muslin_core::state::{CommandKind, Compact, Query, Response};
use std::time::Duration;
use tonic::Status;

/// How often whoever waits until history is dropped looks for that.
const SWEPT_EVERY: Duration = Duration::from_millis(20);

/// How a call went that was not refused.
pub(super) struct Settled {
    pub(super) response: Response,
    pub(super) header: pb::ResponseHeader,
    /// Something may have changed.
    pub(super) is_write: bool,
}

impl Etcd {
    pub(super) async fn range(&self, request: pb::RangeRequest) -> Result<Settled, Status> {
        let consistency = consistency(request.serializable);
        self.ask(Query::Range(convert::range(request)?), consistency).await
    }

    pub(super) async fn put(&self, request: pb::PutRequest) -> Result<Settled, Status> {
        self.change(CommandKind::Put(convert::put(request)?)).await
    }

    pub(super) async fn delete_range(
        &self,
        request: pb::DeleteRangeRequest,
    ) -> Result<Settled, Status> {
        self.change(CommandKind::Delete(convert::delete(request)?)).await
    }

    pub(super) async fn txn(&self, request: pb::TxnRequest) -> Result<Settled, Status> {
        let plan = convert::txn(request)?;
        match plan.read_only {
            true => self.ask(Query::Txn(plan.txn), consistency(plan.serializable)).await,
            false => self.change(CommandKind::Txn(plan.txn)).await,
        }
    }

    pub(super) async fn compact(&self, request: pb::CompactionRequest) -> Result<Settled, Status> {
        // What is below zero is as long gone as zero.
        let revision = u64::try_from(request.revision).unwrap_or(0);
        let settled = self.change(CommandKind::Compact(Compact { revision })).await?;
        while request.physical && self.is_sweeping().await? {
            tokio::time::sleep(SWEPT_EVERY).await;
        }
        Ok(settled)
    }

    async fn is_sweeping(&self) -> Result<bool, Status> {
        Ok(self.desk.handle.status().await.map_err(refuse::failure)?.is_sweeping)
    }

    async fn ask(&self, query: Query, consistency: Consistency) -> Result<Settled, Status> {
        self.desk.metrics.kv_reads.increment(1);
        let (response, header) = self.read(query, consistency).await?;
        Ok(Settled { response, header: header.unwrap_or_default(), is_write: false })
    }

    async fn change(&self, kind: CommandKind) -> Result<Settled, Status> {
        self.desk.metrics.kv_writes.increment(1);
        let (response, header) = self.write(kind).await?;
        Ok(Settled { response, header: header.unwrap_or_default(), is_write: true })
    }
}

fn consistency(serializable: bool) -> Consistency {
    if serializable { Consistency::Local } else { Consistency::Linearizable }
}
