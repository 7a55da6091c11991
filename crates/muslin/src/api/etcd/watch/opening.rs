//! The service `etcdserverpb.Watch`, as the generated one but for how answers are encoded.

use super::answer::{Answer, WatchCodec};
use super::stream::{ANSWERS_WAITING_MAX, WatchStream};
use crate::api::etcd::outbox::Outbox;
use crate::api::etcd::server::Etcd;
use crate::api::proto::etcdserverpb as pb;
use crate::api::unread::Reader;
use crate::api::visitor::Visitor;
use hyper::body::Body;
use hyper::{Request, Response};
use std::convert::Infallible;
use std::sync::Arc;
use tonic::codegen::{BoxFuture, StdError};
use tonic::server::{Grpc, StreamingService};
use tonic::{Status, Streaming};

/// The one call of the service.
pub(crate) const WATCH: &str = "/etcdserverpb.Watch/Watch";

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

    fn open(
        &self,
        request: tonic::Request<Streaming<pb::WatchRequest>>,
    ) -> Result<tonic::Response<Outbox<Answer>>, Status> {
        let leader = self.0.admit(request.metadata())?;
        let (answers, outbox) = Outbox::new(ANSWERS_WAITING_MAX);
        let visitor = request.extensions().get::<Visitor>();
        let reader = visitor.map(|visitor| visitor.reader.clone());
        reader.iter().for_each(Reader::watch);
        let stream = WatchStream::new(self.0.desk.clone(), reader);
        let run = stream.run(request.into_inner(), answers, leader);
        self.0.desk.gallery.spawn(run);
        Ok(tonic::Response::new(outbox))
    }
}

impl StreamingService<pb::WatchRequest> for WatchStreams {
    type Response = Answer;
    type ResponseStream = Outbox<Answer>;
    type Future = BoxFuture<tonic::Response<Outbox<Answer>>, Status>;

    fn call(&mut self, request: tonic::Request<Streaming<pb::WatchRequest>>) -> Self::Future {
        let opened = self.open(request);
        Box::pin(async move { opened })
    }
}
