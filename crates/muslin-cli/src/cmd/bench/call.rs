//! The two calls of etcd's interface that the load makes, with only the fields it needs.

use bytes::Bytes;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

/// Writes a key.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct PutRequest {
    /// Which.
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) key: Bytes,
    /// What.
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) value: Bytes,
}

/// Reads a key, linearizably.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RangeRequest {
    /// Which.
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) key: Bytes,
}

/// An answer whose content the load does not look at.
#[derive(Clone, PartialEq, prost::Message)]
struct Ignored {}

/// One client.
#[derive(Clone)]
pub(crate) struct KvClient {
    grpc: tonic::client::Grpc<Channel>,
}

impl KvClient {
    /// A client on a connection, which it may share.
    pub(crate) fn new(channel: Channel) -> KvClient {
        KvClient { grpc: tonic::client::Grpc::new(channel) }
    }

    /// Writes.
    pub(crate) async fn put(&mut self, request: PutRequest) -> Result<(), Status> {
        self.call("/etcdserverpb.KV/Put", request).await
    }

    /// Reads.
    pub(crate) async fn range(&mut self, request: RangeRequest) -> Result<(), Status> {
        self.call("/etcdserverpb.KV/Range", request).await
    }

    async fn call<T>(&mut self, path: &'static str, request: T) -> Result<(), Status>
    where
        T: prost::Message + Default + Send + Sync + 'static,
    {
        self.grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let codec: ProstCodec<T, Ignored> = ProstCodec::default();
        let path = PathAndQuery::from_static(path);
        self.grpc.unary(Request::new(request), path, codec).await.map(drop)
    }
}
