//! A request of the gateway as a call, and the call's answer as JSON.

use super::lines::Lines;
use super::messages::Messages;
use super::shapes;
use crate::api::bodies::{self, Counted};
use crate::api::etcd::{MESSAGE_BYTES_MAX, WATCH};
use crate::api::front::{Answer, Front, GrpcKind};
use crate::api::unread::{Full, Reader};
use crate::api::visitor::Visitor;
use axum::body::Body;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
};
use hyper::{Method, Request, Response, StatusCode};
use prost_reflect::MethodDescriptor;
use serde_json::json;
use std::sync::Arc;
use tonic::{Code, Status};

/// Largest JSON read: in base64 the largest message is a third larger.
const JSON_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;

/// What heads the headers that are handed on to the call, as etcd's gateway has it.
const METADATA: &str = "grpc-metadata-";

/// How long the caller waits, as gRPC writes it.
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Bytes before a message of gRPC.
pub(super) const PREFIX_BYTES: usize = 5;

impl Front {
    /// Answers the call of this name. A refusal is an answer, too.
    pub(in crate::api) async fn gateway(
        &self,
        name: &'static str,
        visitor: Visitor,
        request: Request<Incoming>,
    ) -> Response<Answer> {
        let reader = visitor.reader.clone();
        if request.method() != Method::POST {
            let mut answer = refusal(&reader, &Status::unimplemented("Method Not Allowed"));
            *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            answer.headers_mut().insert(ALLOW, const { HeaderValue::from_static("POST") });
            return answer;
        }
        let Some(method) = shapes::method(name) else {
            return refusal(&reader, &Status::unimplemented(format!("muslin: no call {name}")));
        };
        let answered = match method.is_client_streaming() {
            true => self.streamed(name, &method, visitor, request).await,
            false => self.asked_once(name, &method, visitor, request).await,
        };
        answered.unwrap_or_else(|status| refusal(&reader, &status))
    }

    async fn asked_once(
        &self,
        name: &'static str,
        method: &MethodDescriptor,
        visitor: Visitor,
        request: Request<Incoming>,
    ) -> Result<Response<Answer>, Status> {
        let (reader, held) = (visitor.reader.clone(), Arc::new(self.hold()));
        let (head, body) = request.into_parts();
        let call = call(name, &head.headers);
        let party = self.party_of_call(&visitor, &call).await?;
        let json = whole(Counted::call(body, held.clone(), self.body_patience())).await?;
        let message = match json.is_empty() {
            true => Bytes::new(),
            false => shapes::from_json(&method.input(), &json)?,
        };
        drop(json);
        let call = call.map(|()| http_body_util::Full::new(framed(&message)));
        let response = self.grpc(&party, GrpcKind::Bare, visitor, call).await;
        drop(held);
        if method.is_server_streaming() {
            return lines(&reader, method, response);
        }
        let message = only_message(response).await?;
        let json = shapes::to_json(&method.output(), message)?;
        let charge = reader.admit(json.len()).map_err(|Full| {
            Status::resource_exhausted(
                "muslin: too many large answers are under way that their readers have not read",
            )
        })?;
        Ok(told(StatusCode::OK, Answer::Http(Body::from(json), charge)))
    }

    /// Of a call whose caller goes on sending.
    async fn streamed(
        &self,
        name: &'static str,
        method: &MethodDescriptor,
        visitor: Visitor,
        request: Request<Incoming>,
    ) -> Result<Response<Answer>, Status> {
        let reader = visitor.reader.clone();
        let (head, body) = request.into_parts();
        let call = call(name, &head.headers);
        let party = self.party_of_call(&visitor, &call).await?;
        let mut messages = Messages::new(Counted::stream(body), method.input());
        if name == WATCH {
            messages = messages.listening();
        }
        // What is no JSON is refused before an answer begins.
        let begun = tokio::time::timeout(self.body_patience(), messages.begin()).await;
        begun.unwrap_or_else(|_| Err(bodies::late()))?;
        let response = self.grpc(&party, GrpcKind::Bare, visitor, call.map(|()| messages)).await;
        lines(&reader, method, response)
    }
}

/// The call as gRPC has it, without its messages: whether it may be made is found out before they
/// are read.
fn call(name: &'static str, headers: &HeaderMap) -> Request<()> {
    let mut call = Request::new(());
    *call.method_mut() = Method::POST;
    *call.uri_mut() = hyper::Uri::from_static(name);
    let handed_on = call.headers_mut();
    handed_on.insert(CONTENT_TYPE, const { HeaderValue::from_static("application/grpc") });
    for (header, value) in headers {
        let bare = header.as_str().strip_prefix(METADATA).map(str::parse);
        match bare {
            Some(Ok(bare)) => handed_on.insert::<HeaderName>(bare, value.clone()),
            _ if header == TIMEOUT || header == AUTHORIZATION => {
                handed_on.insert(header, value.clone())
            }
            _ => None,
        };
    }
    call
}

/// All of a body, which is counted.
async fn whole(body: Counted<Incoming>) -> Result<Bytes, Status> {
    match Limited::new(body, JSON_BYTES_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Status::invalid_argument("etcdserver: request is too large"))
        }
        Err(error) => Err(Status::from_error(error)),
    }
}

/// A message as gRPC puts it on the wire.
pub(super) fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("JSON is bounded far below 4 GiB");
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    framed.put_u8(0);
    framed.put_u32(length);
    framed.put_slice(message);
    framed.freeze()
}

/// The one message of an answer, or why there is none.
async fn only_message(response: Response<Answer>) -> Result<Bytes, Status> {
    check(response.headers())?;
    let collected = response.into_body().collect().await.map_err(Status::from_error)?;
    collected.trailers().map_or(Ok(()), check)?;
    let mut message = collected.to_bytes();
    if message.len() < PREFIX_BYTES {
        return Err(Status::internal("muslin: the call ended without an answer"));
    }
    message.advance(PREFIX_BYTES);
    Ok(message)
}

/// How a call ended, by headers or trailers that may say so.
pub(super) fn check(headers: &HeaderMap) -> Result<(), Status> {
    match Status::from_header_map(headers) {
        Some(status) if status.code() != Code::Ok => Err(status),
        _ => Ok(()),
    }
}

/// An answer that goes on.
fn lines(
    reader: &Reader,
    method: &MethodDescriptor,
    response: Response<Answer>,
) -> Result<Response<Answer>, Status> {
    check(response.headers())?;
    let lines = Lines::new(response.into_body(), method.output());
    Ok(told(StatusCode::OK, Answer::Http(Body::new(lines), reader.charge(0))))
}

/// A refusal, as etcd's gateway words it.
fn refusal(reader: &Reader, status: &Status) -> Response<Answer> {
    let text = status.message();
    let body = json!({ "error": text, "message": text, "code": i32::from(status.code()) });
    let body = body.to_string();
    let charge = reader.charge(body.len());
    told(http_status(status.code()), Answer::Http(Body::from(body), charge))
}

fn told(status: StatusCode, body: Answer) -> Response<Answer> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, const { HeaderValue::from_static("application/json") });
    headers.insert(CACHE_CONTROL, const { HeaderValue::from_static("no-store") });
    response
}

/// The status of HTTP for one of gRPC, as the gateway of etcd 3.5 has it.
pub(super) fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::REQUEST_TIMEOUT,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
