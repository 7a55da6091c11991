//! The layer and its service.

use super::pass::{self, Passed};
use super::{HOPS_MAX, IDEMPOTENCY_KEY, Leader, Leaders, NOT_LEADER, PASSED_BY};
use crate::api::Problem;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::header::{CONTENT_LENGTH, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, StatusCode};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};
use tower::{Layer, Service, ServiceExt};

/// Pause before it is looked again who leads.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// What passing a request on may cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Largest body passed on: it is held until the leader has answered.
    pub body_bytes: usize,
    /// How long a leader is looked for: within it a request is begun.
    pub patience: Duration,
    /// How long the leader's answer is waited for: without it, nobody knows what became of the
    /// request.
    pub answer: Duration,
}

impl Default for Limits {
    /// What a command of the cluster may have, and ten seconds for either.
    fn default() -> Limits {
        let body_bytes = muslin_core::node::COMMAND_BYTES_MAX;
        let patience = Duration::from_secs(10);
        Limits { body_bytes, patience, answer: patience }
    }
}

/// Has the leader answer, whichever node was asked.
#[derive(Clone)]
pub struct ThroughLeader {
    leaders: Arc<dyn Leaders>,
    limits: Limits,
    delegates: fn(&Request<Body>) -> bool,
}

impl ThroughLeader {
    /// All requests go to whom these say.
    pub fn new(leaders: impl Leaders) -> ThroughLeader {
        ThroughLeader { leaders: Arc::new(leaders), limits: Limits::default(), delegates: |_| true }
    }

    /// The same within other limits.
    #[must_use]
    pub fn limits(self, limits: Limits) -> ThroughLeader {
        ThroughLeader { limits, ..self }
    }

    /// Only requests for which this holds; this node answers the others.
    #[must_use]
    pub fn only(self, delegates: fn(&Request<Body>) -> bool) -> ThroughLeader {
        ThroughLeader { delegates, ..self }
    }
}

impl<S> Layer<S> for ThroughLeader {
    type Service = AnsweredThroughLeader<S>;

    fn layer(&self, inner: S) -> AnsweredThroughLeader<S> {
        AnsweredThroughLeader { inner, layer: self.clone() }
    }
}

/// What [`ThroughLeader`] makes of a service.
#[derive(Clone)]
pub struct AnsweredThroughLeader<S> {
    inner: S,
    layer: ThroughLeader,
}

impl<S> Service<Request<Body>> for AnsweredThroughLeader<S>
where
    S: Service<Request<Body>, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Which of its copies is asked, if any, is decided with the request.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let AnsweredThroughLeader { inner, layer } = self.clone();
        Box::pin(async move {
            if !(layer.delegates)(&request) {
                return inner.oneshot(request).await;
            }
            match layer.answer(inner, request).await {
                Ok(response) => Ok(response),
                Err(problem) => Ok(problem),
            }
        })
    }
}

impl ThroughLeader {
    async fn answer<S>(&self, inner: S, request: Request<Body>) -> Result<Response, Response>
    where
        S: Service<Request<Body>, Response = Response, Error = Infallible>,
    {
        let until = Instant::now() + self.limits.patience;
        let hops = request.headers().get_all(&PASSED_BY).iter().count();
        if self.leaders.leader().await == Leader::Here {
            let Ok(response) = inner.oneshot(request).await;
            return Ok(response);
        }
        if hops >= HOPS_MAX {
            return Err(not_leader("this request was passed on often enough"));
        }
        let (mut head, body) = request.into_parts();
        let body = whole(body, self.limits.body_bytes, until).await?;
        let name = HeaderValue::from_str(self.leaders.own_name());
        head.headers.append(PASSED_BY, name.unwrap_or(HeaderValue::from_static("unnamed")));
        let is_harmless = head.method == Method::GET
            || head.method == Method::HEAD
            || head.headers.contains_key(&IDEMPOTENCY_KEY);
        loop {
            let passed = match self.leaders.leader().await {
                Leader::Here => {
                    head.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
                    let request = Request::from_parts(head, Body::from(body));
                    let Ok(response) = inner.oneshot(request).await;
                    return Ok(response);
                }
                Leader::At(place) => pass::on(&place, &head, &body, self.limits.answer).await,
                Leader::Nobody => Passed::Unsent(String::from("nobody is known to lead")),
            };
            let why = match passed {
                Passed::Answered(answer) if !answer.headers().contains_key(&NOT_LEADER) => {
                    return Ok(answer);
                }
                // Nothing was done there, and it says so.
                Passed::Answered(_) => String::from("leadership is moving"),
                Passed::Unsent(why) => why,
                Passed::Lost(why) if is_harmless && hops == 0 => why,
                Passed::Lost(why) => return Err(unknown(&why, is_harmless)),
            };
            // Who passed it on to this node looks again: it is nearer to the client.
            if hops > 0 || Instant::now() + LOOK_AGAIN >= until {
                return Err(not_leader(&why));
            }
            sleep(LOOK_AGAIN).await;
        }
    }
}

/// The whole body, within bounds.
async fn whole(body: Body, most: usize, until: Instant) -> Result<Bytes, Response> {
    let read = timeout_at(until, Limited::new(body, most).collect()).await;
    let problem = match read {
        Ok(Ok(whole)) => return Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let detail = format!("the body has more than {most} bytes; nothing happened");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
        }
        Ok(Err(error)) => Problem::bad_request(format!("the body is not whole: {error}")),
        Err(_) => {
            let detail = "the body did not come in time; nothing happened";
            Problem::new(StatusCode::REQUEST_TIMEOUT, "body-timeout", detail)
        }
    };
    Err(problem.into_response())
}

/// Nothing happened, here or elsewhere.
fn not_leader(why: &str) -> Response {
    let detail = format!("no leader took the request in time ({why}); nothing happened");
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no-leader", detail)
        .hint("ask again")
        .retryable();
    let mut response = may_be_passed_again(problem.into_response());
    response.headers_mut().entry(RETRY_AFTER).or_insert(HeaderValue::from_static("1"));
    response
}

fn may_be_passed_again(mut response: Response) -> Response {
    response.headers_mut().insert(NOT_LEADER, HeaderValue::from_static("1"));
    response
}

/// It left for the leader, and what became of it is not known.
fn unknown(why: &str, is_harmless: bool) -> Response {
    let detail = format!("the leader was asked and did not answer ({why}); it may have happened");
    let response = Problem::new(StatusCode::GATEWAY_TIMEOUT, "timed-out", detail)
        .hint("read before you write again, or send an Idempotency-Key: then it is done once")
        .into_response();
    if is_harmless { may_be_passed_again(response) } else { response }
}
