//! The service `etcdserverpb.Watch`, as the generated one but for how answers are encoded.

use super::answer::{Answer, WatchCodec};
use super::stream::{ANSWERS_WAITING_MAX, First, WatchStream};
use crate::api::etcd::outbox::Outbox;
use crate::api::etcd::server::Etcd;
use crate::api::proto::etcdserverpb as pb;
use crate::api::unread::Reader;
use crate::api::visitor::Visitor;
use hyper::body::Body;
use hyper::{Request, Response};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tonic::codegen::{BoxFuture, StdError};
use tonic::server::{Grpc, StreamingService};
use tonic::{Status, Streaming};

/// The one call of the service.
pub(crate) const WATCH: &str = "/etcdserverpb.Watch/Watch";

/// Whoever asks for nothing within this time, and waits for the head of the answer first, has it.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// Opens streams of watches.
#[derive(Clone)]
pub(crate) struct WatchStreams(Arc<Etcd>);

impl WatchStreams {
    pub(in crate::api::etcd) fn new(etcd: Arc<Etcd>) -> WatchStreams {
        WatchStreams(etcd)
    }

    /// Answers a call. It ends with the stream.
    pub(crate) async fn call<B>(
        &self,
        request: Request<B>,
    ) -> Result<Response<tonic::body::Body>, Infallible>
    where
        B: Body + Send + 'static,
        B::Error: Into<StdError> + Send,
    {
        let path = request.uri().path();
        if path != WATCH {
            let status = Status::unimplemented(format!("muslin: {path} is not offered"));
            return Ok(status.into_http());
        }
        Ok(Grpc::new(WatchCodec).streaming(self.clone(), request).await)
    }

    /// The answer's head leaves when the first watch has begun, as etcd's does: some clients take
    /// it for the word that what is written from now on will be told (`etcd-client` of Rust).
    async fn open(
        &self,
        request: tonic::Request<Streaming<pb::WatchRequest>>,
    ) -> Result<tonic::Response<Outbox<Answer>>, Status> {
        let leader = self.0.admit(request.metadata())?;
        let (answers, outbox) = Outbox::new(ANSWERS_WAITING_MAX);
        let visitor = request.extensions().get::<Visitor>();
        let reader = visitor.map(|visitor| visitor.reader.clone());
        reader.iter().for_each(Reader::watch);
        let stream = WatchStream::new(self.0.desk.clone(), reader);
        let mut requests = request.into_inner();
        let first = match timeout(FIRST_WAIT, requests.message()).await {
            Ok(first) => first?,
            Err(_) => None,
        };
        let (begun, has_begun) = oneshot::channel();
        let run = stream.run(First { request: first, begun }, requests, answers, leader);
        self.0.desk.gallery.spawn(run);
        // Nothing is said: it is let go of.
        let _ = has_begun.await;
        Ok(tonic::Response::new(outbox))
    }
}

impl StreamingService<pb::WatchRequest> for WatchStreams {
    type Response = Answer;
    type ResponseStream = Outbox<Answer>;
    type Future = BoxFuture<tonic::Response<Outbox<Answer>>, Status>;

    fn call(&mut self, request: tonic::Request<Streaming<pb::WatchRequest>>) -> Self::Future {
        let streams = self.clone();
        Box::pin(async move { streams.open(request).await })
    }
}
