//! `grpc.health.v1.Health`: whether calls are worth making, as probes ask for it.

use super::outbox::Outbox;
use crate::api::bodies::Counted;
use crate::api::desk::Desk;
use hyper::{Request, Response};
use std::sync::Arc;
use tonic::codegen::BoxFuture;
use tonic::server::{Grpc, ServerStreamingService, UnaryService};
use tonic::{Response as Answered, Status};
use tonic_prost::ProstCodec;

/// States that may wait for the reader of one watch.
const STATES_WAITING_MAX: usize = 4;

/// What is asked: a service, or with no name the whole server.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HealthRequest {
    #[prost(string, tag = "1")]
    pub(crate) service: String,
}

/// What is answered.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct HealthResponse {
    #[prost(enumeration = "Serving", tag = "1")]
    pub(crate) status: i32,
}

/// Whether it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum Serving {
    /// It is not known.
    Unknown = 0,
    /// It does.
    Yes = 1,
    /// It does not: no leader is known.
    No = 2,
    /// There is no such service; said to those who watch only.
    NoSuchService = 3,
}

/// Answers a call of the service.
pub(crate) async fn call(
    desk: Arc<Desk>,
    request: Request<Counted<tonic::body::Body>>,
) -> Response<tonic::body::Body> {
    let mut grpc = Grpc::new(ProstCodec::default());
    match request.uri().path() {
        "/grpc.health.v1.Health/Check" => grpc.unary(Probe(desk), request).await,
        "/grpc.health.v1.Health/Watch" => grpc.server_streaming(Probe(desk), request).await,
        path => Status::unimplemented(format!("muslin: {path} is not offered")).into_http(),
    }
}

struct Probe(Arc<Desk>);

fn state(desk: &Desk) -> HealthResponse {
    let serving = match desk.handle.glance().leader {
        Some(_) => Serving::Yes,
        None => Serving::No,
    };
    HealthResponse { status: serving.into() }
}

impl UnaryService<HealthRequest> for Probe {
    type Response = HealthResponse;
    type Future = BoxFuture<Answered<HealthResponse>, Status>;

    fn call(&mut self, request: tonic::Request<HealthRequest>) -> Self::Future {
        let told = match request.into_inner().service.as_str() {
            "" => Ok(Answered::new(state(&self.0))),
            _ => Err(Status::not_found("unknown service")),
        };
        Box::pin(async move { told })
    }
}

impl ServerStreamingService<HealthRequest> for Probe {
    type Response = HealthResponse;
    type ResponseStream = Outbox<HealthResponse>;
    type Future = BoxFuture<Answered<Outbox<HealthResponse>>, Status>;

    fn call(&mut self, request: tonic::Request<HealthRequest>) -> Self::Future {
        let desk = self.0.clone();
        let (sender, outbox) = Outbox::new(STATES_WAITING_MAX);
        tokio::spawn(async move {
            if !request.into_inner().service.is_empty() {
                let unknown = HealthResponse { status: Serving::NoSuchService.into() };
                // Whoever has gone wants to know nothing.
                let _ = sender.send(Ok(unknown)).await;
                tokio::select! {
                    () = desk.stopping() => {}
                    () = sender.closed() => {}
                }
                return;
            }
            let mut events = desk.handle.events();
            let mut told = None;
            loop {
                let now = state(&desk);
                if told != Some(now) && sender.send(Ok(now)).await.is_err() {
                    return;
                }
                told = Some(now);
                tokio::select! {
                    // A leader found or lost is an event; one that was missed is looked for anyway.
                    _ = events.recv() => {}
                    () = desk.stopping() => return,
                    () = sender.closed() => return,
                }
            }
        });
        Box::pin(async move { Ok(Answered::new(outbox)) })
    }
}
