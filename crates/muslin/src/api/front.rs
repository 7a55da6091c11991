//! Where every request arrives: checked for who calls, then handed to gRPC or HTTP.

use super::bodies::{Bodies, Counted, Held, RETRY_AFTER};
use super::caller::{Caller, Shown};
use super::desk::Desk;
use super::etcd::{Method as KvMethod, Reply};
use super::etcd::{WATCH, deadline_exceeded, in_one_wording, patience_of_caller};
use super::gallery::Gallery;
use super::gateway;
use super::http;
use super::party::{NotLet, Parties, Party};
use super::problem::Problem;
use super::unread::{Charge, Full, Reader, Unread};
use super::visitor::Visitor;
use axum::Router;
use axum::response::IntoResponse;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue, ORIGIN};
use hyper::{Method, Request, Response, StatusCode, Uri};
use muslin_core::base::ClusterId;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::timeout;
use tonic::Status;
use tower::{Service, ServiceExt};

/// Answers requests of every kind.
pub(super) struct Front {
    desk: Arc<Desk>,
    parties: Parties,
    http: Router,
    bodies: Bodies,
    unread: Unread,
}

impl Front {
    pub(super) fn new(desk: Arc<Desk>) -> Front {
        let (parties, http) = (Parties::new(&desk), http::router(desk.clone()));
        Front { parties, http, bodies: Bodies::default(), unread: Unread::default(), desk }
    }

    /// The far end of a connection.
    pub(super) fn reader(&self) -> Reader {
        self.unread.reader()
    }

    /// Where connections are served on which something is watched.
    pub(super) fn gallery(&self) -> &Gallery {
        &self.desk.gallery
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

    /// What a request holds in memory.
    pub(super) fn hold(&self) -> Held {
        self.bodies.hold()
    }

    /// How long a body is waited for.
    pub(super) fn body_patience(&self) -> Duration {
        self.desk.patience.body
    }

    /// Who that is, at present.
    pub(super) fn caller(&self, shown: Shown) -> Caller {
        shown.caller(self.desk.roster.as_deref())
    }

    /// Who makes a request. All that decides what it may do is looked at here, and nowhere else.
    pub(super) fn visitor(&self, shown: Shown, reader: &Reader) -> Visitor {
        Visitor { caller: self.caller(shown), reader: reader.clone() }
    }

    /// Answers one request. An error of any kind is an answer too.
    pub(super) async fn answer(
        &self,
        visitor: Visitor,
        request: Request<Incoming>,
    ) -> Result<Response<Answer>, Infallible> {
        // All but the frequent calls is on the heap: their tasks would be as large otherwise.
        let Some(kind) = grpc_kind(request.headers()) else {
            return Box::pin(self.http(visitor, request)).await;
        };
        self.desk.metrics.grpc_requests.increment(1);
        if request.method() != Method::POST {
            return Ok(not_a_post(request.method()));
        }
        Ok(match self.party_of_call(&visitor, &request).await {
            Ok(party) => self.grpc(&party, kind, visitor, request).await,
            Err(status) => status.into_http(),
        })
    }

    /// On whose behalf a call of gRPC is made, if it may be; found out before its body is read.
    pub(super) async fn party_of_call<B>(
        &self,
        visitor: &Visitor,
        request: &Request<B>,
    ) -> Result<Arc<Party>, Status> {
        let place = (request.method(), request.uri());
        let party = self.parties.of_call(visitor.caller, place, request.headers()).await;
        party.map_err(|not_let| {
            self.desk.metrics.refused_calls.increment(1);
            not_let.into_status()
        })
    }

    /// Answers a call of gRPC, however it came.
    pub(super) async fn grpc<B>(
        &self,
        party: &Party,
        kind: GrpcKind,
        visitor: Visitor,
        request: Request<B>,
    ) -> Response<Answer>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        match request.uri().path().strip_prefix("/etcdserverpb.KV/").and_then(KvMethod::of) {
            Some(method) => self.kv(party, (kind, method), &visitor, request).await,
            None => {
                let request = request.map(tonic::body::Body::new);
                Box::pin(self.generated(party, visitor, request)).await
            }
        }
    }

    async fn kv<B>(
        &self,
        party: &Party,
        (kind, method): (GrpcKind, KvMethod),
        visitor: &Visitor,
        request: Request<B>,
    ) -> Response<Answer>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
    {
        // Held until the answer is there: so long what came stands in memory.
        let held = self.bodies.hold();
        match party.etcd.kv.unary(method, visitor, request, &held).await {
            Ok(reply) => {
                let mut response = Response::new(Answer::Kv(reply));
                response.headers_mut().insert(CONTENT_TYPE, kind.header());
                response
            }
            Err(status) => status.into_http(),
        }
    }

    /// Answers a call of the services that are generated.
    async fn generated(
        &self,
        party: &Party,
        visitor: Visitor,
        mut request: Request<tonic::body::Body>,
    ) -> Response<Answer> {
        let patience = match patience_of_caller(request.headers()) {
            Ok(patience) => patience,
            Err(status) => return status.into_http(),
        };
        let reader = visitor.reader.clone();
        request.extensions_mut().insert(visitor);
        if is_stream(request.uri().path()) {
            let response = offered(party, request.map(Counted::stream)).await;
            return response.map(|body| Answer::Grpc(body, Some(reader)));
        }
        let held = Arc::new(self.bodies.hold());
        let counted = |body| Counted::call(body, held.clone(), self.desk.patience.body);
        let mut call = std::pin::pin!(offered(party, request.map(counted)));
        let response = match patience {
            None => call.await,
            Some(patience) => {
                let answered = timeout(patience, call.as_mut()).await;
                answered.unwrap_or_else(|_| deadline_exceeded().into_http())
            }
        };
        response.map(|body| Answer::Grpc(body, None))
    }

    async fn http(
        &self,
        visitor: Visitor,
        mut request: Request<Incoming>,
    ) -> Result<Response<Answer>, Infallible> {
        self.desk.metrics.http_requests.increment(1);
        let (caller, reader) = (visitor.caller, visitor.reader.clone());
        let is_read = request.method() == Method::GET;
        let place = (request.method(), request.uri());
        let checked = match check_origin(caller, place, request.headers()) {
            Ok(()) => {
                // Whether it may be made is found out where calls of gRPC are.
                if let Some(call) = gateway::called(request.uri().path()) {
                    return Ok(self.gateway(call, visitor, request).await);
                }
                let party = self.parties.of_http(caller, place, request.headers()).await;
                party.map_err(NotLet::into_problem)
            }
            Err(problem) => Err(problem),
        };
        request.extensions_mut().insert(visitor);
        let held = Arc::new(self.bodies.hold());
        let response = match checked {
            Ok(party) => {
                request.extensions_mut().insert(party.desk.clone());
                let request = request.map(|body| Counted::http(body, held.clone()));
                self.http.clone().oneshot(request).await?
            }
            Err(problem) => {
                self.desk.metrics.refused_calls.increment(1);
                problem.into_response()
            }
        };
        Ok(match is_read {
            true => counted(&reader, response),
            false => told(&reader, response),
        })
    }
}

/// The names are etcd's: `/package.Service/Method`.
async fn offered(
    party: &Party,
    request: Request<Counted<tonic::body::Body>>,
) -> Response<tonic::body::Body> {
    let etcd = &party.etcd;
    let path = request.uri().path();
    let service = path.strip_prefix('/').and_then(|rest| rest.split('/').next());
    let answered: Result<_, Infallible> = match service {
        Some("etcdserverpb.Watch") => etcd.watch.clone().call(request).await,
        Some("etcdserverpb.Lease") => etcd.lease.clone().call(request).await,
        Some("etcdserverpb.Cluster") => etcd.cluster.clone().call(request).await,
        Some("etcdserverpb.Maintenance") => etcd.maintenance.clone().call(request).await,
        Some("etcdserverpb.Auth") => etcd.auth.clone().call(request).await,
        Some("v3lockpb.Lock") => etcd.lock.clone().call(request).await,
        Some("grpc.health.v1.Health") => Ok(super::etcd::probe(party.desk.clone(), request).await),
        Some("v3electionpb.Election") => etcd.election.clone().call(request).await,
        _ => Ok(Status::unimplemented(format!("muslin: {path} is not offered")).into_http()),
    };
    let Ok(response) = answered;
    in_one_wording(response)
}

/// Counts what an answer holds until it is read; refuses it where there is no room. Streams have no
/// length, and are counted as they are written.
fn counted(reader: &Reader, response: axum::response::Response) -> Response<Answer> {
    match reader.admit(body_bytes(&response)) {
        Ok(charge) => response.map(|body| Answer::Http(body, charge)),
        Err(Full) => {
            let detail = "too many large answers are under way that their readers have not read";
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail);
            let hint = "ask again, for smaller pages (limit), or ask another node";
            told(reader, problem.hint(hint).retry_after(RETRY_AFTER).into_response())
        }
    }
}

/// The same of an answer that tells what has happened: it is not taken back for lack of room, but
/// counts among the streams.
fn told(reader: &Reader, response: axum::response::Response) -> Response<Answer> {
    let charge = reader.charge(body_bytes(&response));
    response.map(|body| Answer::Http(body, charge))
}

fn body_bytes(response: &axum::response::Response) -> usize {
    let bytes = response.body().size_hint().exact().unwrap_or(0);
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Calls whose caller goes on sending.
fn is_stream(path: &str) -> bool {
    path == WATCH || path == "/etcdserverpb.Lease/LeaseKeepAlive"
}

/// How a caller writes that it speaks gRPC, and is answered.
#[derive(Clone, Copy)]
pub(super) enum GrpcKind {
    Bare,
    Proto,
}

impl GrpcKind {
    fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            GrpcKind::Bare => "application/grpc",
            GrpcKind::Proto => "application/grpc+proto",
        })
    }
}

/// `application/grpc`, alone or with an encoding of messages or a parameter. The encoding is always
/// that of Protocol Buffers.
fn grpc_kind(headers: &HeaderMap) -> Option<GrpcKind> {
    match headers.get(CONTENT_TYPE)?.as_bytes().strip_prefix(b"application/grpc")? {
        b"+proto" => Some(GrpcKind::Proto),
        [] | [b'+' | b';', ..] => Some(GrpcKind::Bare),
        _ => None,
    }
}

fn not_a_post(method: &Method) -> Response<Answer> {
    let text = format!("muslin: a gRPC call is a POST, not a {method}");
    let mut response = Status::internal(text).into_http();
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response
}

/// A caller on this machine is trusted, so a page of some website in this machine's browser must
/// not pass for one. Its requests carry an `Origin`, but for those that read; and those, where it
/// plays with names (DNS rebinding), a foreign `Host`.
fn check_origin(
    caller: Caller,
    (method, uri): (&Method, &Uri),
    headers: &HeaderMap,
) -> Result<(), Problem> {
    if caller != Caller::Loopback {
        return Ok(());
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let is_local = host.is_none_or(is_local_host);
    let refused = |detail: &str, hint: &'static str| {
        Err(Problem::new(StatusCode::FORBIDDEN, "cross-site", detail).hint(hint))
    };
    if let Some(origin) = headers.get(ORIGIN) {
        let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        let is_same = origin.is_some_and(|(_, origin)| Some(origin) == host);
        return match is_local && is_same {
            true => Ok(()),
            false => refused(
                "the request comes from a web page of another site",
                "call 127.0.0.1 or localhost, without an Origin header",
            ),
        };
    }
    // What is asked by reading outside of it tells nothing that is anybody's.
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    match is_read && uri.path().starts_with("/v1/") && !is_local {
        false => Ok(()),
        true => refused(
            "from this machine, what is asked for by a name may come from a web page whose name \
             was pointed here",
            "name 127.0.0.1 or localhost instead, or any address of this machine",
        ),
    }
}

/// An address, or the one name that cannot be pointed elsewhere.
fn is_local_host(host: &str) -> bool {
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

/// The body of an answer, of any kind.
#[derive(Default)]
pub(super) enum Answer {
    /// All is said in the head.
    #[default]
    Empty,
    /// Of a key-value call.
    Kv(Reply),
    /// With the reader of a stream, to count what it has not read.
    Grpc(tonic::body::Body, Option<Reader>),
    /// With what counts it.
    Http(axum::body::Body, Charge),
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
            Answer::Empty => Poll::Ready(None),
            Answer::Kv(reply) => Poll::Ready(reply.next().map(Ok)),
            Answer::Grpc(body, reader) => {
                let polled = Pin::new(body).poll_frame(cx);
                let counted = |frame: Frame<Bytes>| match reader {
                    Some(reader) => frame.map_data(|bytes| reader.hold(bytes)),
                    None => frame,
                };
                polled.map(|frame| frame.map(|f| f.map(counted).map_err(Into::into)))
            }
            Answer::Http(body, charge) => {
                let polled = Pin::new(body).poll_frame(cx);
                let counted = |frame: Frame<Bytes>| {
                    frame.map_data(|bytes| charge.part(bytes.len()).hold(bytes))
                };
                polled.map(|frame| frame.map(|f| f.map(counted).map_err(Into::into)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Answer::Empty => true,
            Answer::Kv(reply) => reply.is_ended(),
            Answer::Grpc(body, _) => body.is_end_stream(),
            Answer::Http(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Answer::Empty => SizeHint::with_exact(0),
            Answer::Kv(_) => SizeHint::default(),
            Answer::Grpc(body, _) => body.size_hint(),
            Answer::Http(body, _) => body.size_hint(),
        }
    }
}
