//! Reads and writes.

use super::convert;
use super::server::Etcd;
use crate::api::proto::etcdserverpb as pb;
use muslin_core::node::Consistency;
use muslin_core::state::{CommandKind, Compact, Query};
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl pb::kv_server::Kv for Etcd {
    async fn range(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<pb::RangeResponse>, Status> {
        self.admit(request.metadata())?;
        self.desk.metrics.kv_reads.increment(1);
        let request = request.into_inner();
        let consistency = consistency(request.serializable);
        let query = Query::Range(convert::range(request)?);
        let (response, header) = self.read(query, consistency).await?;
        convert::range_reply(response, header).map(Response::new)
    }

    async fn put(
        &self,
        request: Request<pb::PutRequest>,
    ) -> Result<Response<pb::PutResponse>, Status> {
        self.admit(request.metadata())?;
        self.desk.metrics.kv_writes.increment(1);
        let put = CommandKind::Put(convert::put(request.into_inner())?);
        let (response, header) = self.write(put).await?;
        convert::put_reply(response, header).map(Response::new)
    }

    async fn delete_range(
        &self,
        request: Request<pb::DeleteRangeRequest>,
    ) -> Result<Response<pb::DeleteRangeResponse>, Status> {
        self.admit(request.metadata())?;
        self.desk.metrics.kv_writes.increment(1);
        let delete = CommandKind::Delete(convert::delete(request.into_inner())?);
        let (response, header) = self.write(delete).await?;
        convert::delete_reply(response, header).map(Response::new)
    }

    async fn txn(
        &self,
        request: Request<pb::TxnRequest>,
    ) -> Result<Response<pb::TxnResponse>, Status> {
        self.admit(request.metadata())?;
        let plan = convert::txn(request.into_inner())?;
        let (response, header) = if plan.read_only {
            self.desk.metrics.kv_reads.increment(1);
            self.read(Query::Txn(plan.txn), consistency(plan.serializable)).await?
        } else {
            self.desk.metrics.kv_writes.increment(1);
            self.write(CommandKind::Txn(plan.txn)).await?
        };
        convert::txn_reply(response, header).map(Response::new)
    }

    async fn compact(
        &self,
        request: Request<pb::CompactionRequest>,
    ) -> Result<Response<pb::CompactionResponse>, Status> {
        self.admit(request.metadata())?;
        // What is below zero is as long gone as zero.
        let revision = u64::try_from(request.into_inner().revision).unwrap_or(0);
        let (_, header) = self.write(CommandKind::Compact(Compact { revision })).await?;
        Ok(Response::new(pb::CompactionResponse { header }))
    }
}

fn consistency(serializable: bool) -> Consistency {
    if serializable { Consistency::Local } else { Consistency::Linearizable }
}
