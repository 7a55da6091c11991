//! Where every request arrives: checked for who calls, then handed to gRPC or HTTP.

use super::bodies::{Bodies, Counted};
use super::caller::{Caller, Shown};
use super::desk::Desk;
use super::etcd::Offered;
use super::http;
use super::problem::Problem;
use super::unread::{Reader, Unread};
use axum::Router;
use axum::response::IntoResponse;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, ORIGIN};
use hyper::{Request, Response};
use muslin_core::base::ClusterId;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::Status;
use tower::{Service, ServiceExt};

/// Answers requests of every kind.
pub(super) struct Front {
    desk: Arc<Desk>,
    etcd: Offered,
    http: Router,
    bodies: Bodies,
    unread: Unread,
}

impl Front {
    pub(super) fn new(desk: Arc<Desk>) -> Front {
        let (etcd, http) = (Offered::new(desk.clone()), http::router(desk.clone()));
        Front { etcd, http, bodies: Bodies::default(), unread: Unread::default(), desk }
    }

    /// The far end of a connection.
    pub(super) fn reader(&self) -> Reader {
        self.unread.reader()
    }

    /// A connection was cut, since its reader does not read.
    pub(super) fn on_cut(&self) {
        self.desk.metrics.cut_connections.increment(1);
        tracing::info!("a connection was cut: what it had not read kept others from being told");
    }

    /// Whose node this is.
    pub(super) fn cluster(&self) -> ClusterId {
        self.desk.cluster
    }

    /// Who that is, at present.
    pub(super) fn caller(&self, shown: Shown) -> Caller {
        shown.caller(self.desk.roster.as_deref())
    }

    /// Answers one request. An error of any kind is an answer too.
    pub(super) async fn answer(
        &self,
        shown: Shown,
        reader: &Reader,
        mut request: Request<Incoming>,
    ) -> Result<Response<Answer>, Infallible> {
        let caller = self.caller(shown);
        request.extensions_mut().insert(caller);
        // Held until the answer is there: so long what came stands in memory.
        let held = self.bodies.hold();
        request.extensions_mut().insert(reader.clone());
        if is_grpc(request.headers()) {
            let is_stream = is_stream(request.uri().path());
            let request = match is_stream {
                true => request.map(Counted::stream),
                false => request.map(|b| Counted::call(b, held.clone(), self.desk.patience.body)),
            };
            self.desk.metrics.grpc_requests.increment(1);
            let body = match caller.check(request.method(), request.uri()) {
                Ok(()) => self.grpc(request).await?,
                Err(problem) => {
                    self.desk.metrics.refused_calls.increment(1);
                    Status::unauthenticated(format!("muslin: {}", problem.detail)).into_http()
                }
            };
            let reader = is_stream.then(|| reader.clone());
            return Ok(body.map(|body| Answer::Grpc(body, reader)));
        }
        self.desk.metrics.http_requests.increment(1);
        let checked = caller
            .check(request.method(), request.uri())
            .and_then(|()| check_origin(caller, request.headers()));
        let response = match checked {
            Ok(()) => {
                let request = request.map(|body| Counted::http(body, held.clone()));
                self.http.clone().oneshot(request).await?
            }
            Err(problem) => {
                self.desk.metrics.refused_calls.increment(1);
                problem.into_response()
            }
        };
        Ok(response.map(Answer::Http))
    }

    /// The names are etcd's: `/package.Service/Method`.
    async fn grpc(
        &self,
        request: Request<Counted>,
    ) -> Result<Response<tonic::body::Body>, Infallible> {
        let path = request.uri().path();
        let service = path.strip_prefix("/etcdserverpb.").and_then(|rest| rest.split('/').next());
        match service {
            Some("KV") => self.etcd.kv.clone().call(request).await,
            Some("Watch") => self.etcd.watch.clone().call(request).await,
            Some("Lease") => self.etcd.lease.clone().call(request).await,
            Some("Cluster") => self.etcd.cluster.clone().call(request).await,
            Some("Maintenance") => self.etcd.maintenance.clone().call(request).await,
            _ => Ok(Status::unimplemented(format!("muslin: {path} is not offered")).into_http()),
        }
    }
}

/// Calls whose caller goes on sending.
fn is_stream(path: &str) -> bool {
    path == "/etcdserverpb.Watch/Watch" || path == "/etcdserverpb.Lease/LeaseKeepAlive"
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// A caller on this machine is trusted, so a page of some website in this machine's browser must
/// not pass for one: its requests carry an `Origin`, or, where it plays with names, a foreign
/// `Host`.
fn check_origin(caller: Caller, headers: &HeaderMap) -> Result<(), Problem> {
    if caller != Caller::Loopback {
        return Ok(());
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let local = host.is_none_or(is_local_host);
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    let same = !headers.contains_key(ORIGIN)
        || origin.and_then(|o| o.split_once("://")).is_some_and(|(_, o)| Some(o) == host);
    if local && same {
        return Ok(());
    }
    let detail = "the request comes from a web page of another site";
    Err(Problem::new(hyper::StatusCode::FORBIDDEN, "cross-site", detail)
        .hint("call 127.0.0.1 or localhost, without an Origin header"))
}

/// An address, or the one name that cannot be pointed elsewhere.
fn is_local_host(host: &str) -> bool {
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

/// The body of an answer, of either kind.
pub(super) enum Answer {
    /// With the reader of a stream, to count what it has not read.
    Grpc(tonic::body::Body, Option<Reader>),
    Http(axum::body::Body),
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Answer::Grpc(body, reader) => {
                let polled = Pin::new(body).poll_frame(cx);
                let counted = |frame: Frame<Bytes>| match reader {
                    Some(reader) => frame.map_data(|bytes| reader.hold(bytes)),
                    None => frame,
                };
                polled.map(|frame| frame.map(|f| f.map(counted).map_err(Into::into)))
            }
            Answer::Http(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|f| f.map_err(Into::into)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Answer::Grpc(body, _) => body.is_end_stream(),
            Answer::Http(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Answer::Grpc(body, _) => body.size_hint(),
            Answer::Http(body) => body.size_hint(),
        }
    }
}
