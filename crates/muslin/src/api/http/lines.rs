//! What a watch of any collection tells, in the shape its reader asked for.
//!
//! There are three: lines of JSON (NDJSON), server-sent events (`Accept: text/event-stream`), and
//! one document for whoever polls (`wait`). Whoever tells knows nothing of that: it tells lines,
//! and says of each behind which place a reader that has it goes on.
//!
//! Whoever follows has to read: a stream of which nothing was read for a while, while there was
//! something to read, is cancelled. Nothing is kept for its reader from then on but the lines that
//! are on their way, and a last one that says so, and behind which place to go on.

use super::numbers;
use super::params::Params;
use super::poll::{self, Polled};
use crate::api::desk::Desk;
use crate::api::problem::Problem;
use crate::api::unread::{Charge, Reader};
use crate::api::visitor::Visitor;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::Request;
use hyper::StatusCode;
use hyper::body::{Frame, SizeHint};
use hyper::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use serde::Serialize;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Lines that may wait for their reader. When full, whoever writes waits. A line may be as large as
/// a value, so a reader that never reads costs a few of the largest values and no more.
const LINES_WAITING_MAX: usize = 4;

/// Server-sent events.
pub(super) const EVENTS: &str = "text/event-stream";

/// Lines of JSON.
pub(super) const LINES: &str = "application/x-ndjson";

/// With this a browser says behind which event it goes on.
const LAST_EVENT_ID: &str = "last-event-id";

/// The longest a poll waits.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// What a reader asked for besides the collection.
#[derive(Debug)]
pub(super) struct Following {
    shape: Shape,
    /// The place behind which it goes on: `index` of a poll, or what a browser says by itself.
    pub(super) behind: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shape {
    Lines,
    Events,
    Once(Duration),
}

impl Following {
    /// Takes what belongs to it out of a request; `None` if nothing is to be followed.
    pub(super) fn of<B>(
        request: &Request<B>,
        params: &mut Params,
    ) -> Result<Option<Following>, Problem> {
        let (watch, wait) = (params.switch("watch")?, params.duration("wait")?);
        let index = params.text("index")?;
        match (watch, wait) {
            (true, Some(_)) => Err(Problem::bad_request("watch follows, wait polls: not both")),
            (_, None) if index.is_some() => {
                Err(Problem::bad_request("index belongs to wait").hint("?index=7&wait=30s"))
            }
            (false, Some(wait)) => {
                let shape = Shape::Once(wait.min(WAIT_MAX));
                Ok(Some(Following { shape, behind: index }))
            }
            (true, None) => {
                let header = |name: &str| {
                    let value = request.headers().get(name)?;
                    value.to_str().ok().map(String::from)
                };
                let wants_events = |accept: String| accept.contains(EVENTS);
                let is_events = header(ACCEPT.as_str()).is_some_and(wants_events);
                let behind = is_events.then(|| header(LAST_EVENT_ID)).flatten();
                let shape = if is_events { Shape::Events } else { Shape::Lines };
                Ok(Some(Following { shape, behind }))
            }
            (false, None) => Ok(None),
        }
    }
}

/// One line on its way.
pub(super) struct Told {
    pub(super) json: Vec<u8>,
    /// Whoever has it, and all before, goes on behind this place.
    pub(super) place: Option<String>,
    /// Counts it until it is read.
    pub(super) charge: Option<Charge>,
}

/// The writing side.
#[derive(Clone)]
pub(super) struct Lines {
    sender: mpsc::Sender<Told>,
    /// Counts what it does not read.
    reader: Option<Reader>,
    desk: Arc<Desk>,
    ending: Arc<Mutex<Ending>>,
}

/// How far a stream was told, for the case that it is cancelled.
#[derive(Default)]
struct Ending {
    /// Behind this place its reader goes on.
    place: Option<String>,
    /// The last line, behind those that are on their way.
    last: Option<Told>,
}

/// The line that ends a stream that was not read.
#[derive(Serialize)]
struct Cancelled {
    #[serde(rename = "type")]
    kind: &'static str,
    problem: Problem,
    /// Nothing that could be gone on from had been told if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<serde_json::Value>,
}

/// The reader has gone, or does not read: nobody wants more.
pub(super) struct Gone;

impl Lines {
    /// The writing side of a stream of lines, and what answers the request.
    pub(super) fn new(desk: &Arc<Desk>, request: &Request<Body>) -> (Lines, Response) {
        let (lines, waiting) = Lines::of(desk, request);
        let response = lines.streamed(waiting, Shape::Lines);
        (lines, response)
    }

    /// The same, in the shape that was asked for.
    pub(super) fn following(
        desk: &Arc<Desk>,
        request: &Request<Body>,
        following: &Following,
    ) -> (Lines, Answered) {
        let (lines, waiting) = Lines::of(desk, request);
        let answered = match following.shape {
            Shape::Once(wait) => {
                let is_from = following.behind.is_some();
                Answered::Later(Polled { waiting, wait, is_from })
            }
            shape => Answered::Now(lines.streamed(waiting, shape)),
        };
        (lines, answered)
    }

    fn of(desk: &Arc<Desk>, request: &Request<Body>) -> (Lines, mpsc::Receiver<Told>) {
        let (sender, waiting) = mpsc::channel(LINES_WAITING_MAX);
        let visitor = request.extensions().get::<Visitor>();
        let reader = visitor.map(|visitor| visitor.reader.clone());
        (Lines { sender, reader, desk: desk.clone(), ending: Arc::default() }, waiting)
    }

    fn streamed(&self, waiting: mpsc::Receiver<Told>, shape: Shape) -> Response {
        self.reader.iter().for_each(Reader::watch);
        let kind = if shape == Shape::Events { EVENTS } else { LINES };
        let headers = [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store")];
        let ending = self.ending.clone();
        (headers, Body::new(Waiting { waiting, shape, ending })).into_response()
    }

    /// Writes one line; waits while the reader is behind.
    pub(super) async fn write<T: Serialize>(&self, line: &T) -> Result<(), Gone> {
        self.tell(line, None).await
    }

    /// Writes a line with which all up to a place has been told.
    pub(super) async fn write_at<T: Serialize>(
        &self,
        line: &T,
        place: impl ToString,
    ) -> Result<(), Gone> {
        self.tell(line, Some(place.to_string())).await
    }

    /// Counts what is kept until it has been told.
    pub(super) fn charge(&self, bytes: usize) -> Option<Charge> {
        self.reader.as_ref().map(|reader| reader.charge(bytes))
    }

    async fn tell<T: Serialize>(&self, line: &T, place: Option<String>) -> Result<(), Gone> {
        let json = serde_json::to_vec(line).expect("lines have string keys only");
        let charge = self.charge(json.len());
        let told = Told { json, place: place.clone(), charge };
        match timeout(self.desk.patience.unread, self.sender.send(told)).await {
            Ok(sent) => sent.map_err(|_| Gone)?,
            Err(_) => {
                self.cancel();
                return Err(Gone);
            }
        }
        if place.is_some() {
            locked(&self.ending).place = place;
        }
        Ok(())
    }

    /// Nobody reads: whatever has not been told may be followed again.
    fn cancel(&self) {
        let mut ending = locked(&self.ending);
        let place = ending.place.clone();
        let detail = format!("nothing was read for {} s", self.desk.patience.unread.as_secs());
        let hint = match &place {
            Some(place) => format!("follow again behind the index {place}, and read"),
            None => "follow again from the beginning, and read".to_string(),
        };
        let problem = Problem::new(StatusCode::REQUEST_TIMEOUT, "unread", detail).hint(hint);
        let index = place.as_deref().map(numbers::index);
        let line = Cancelled { kind: "error", problem: problem.retryable(), index };
        let json = serde_json::to_vec(&line).expect("lines have string keys only");
        ending.last = Some(Told { json, place, charge: None });
        self.desk.metrics.cancelled_watches.increment(1);
        tracing::info!("a stream was cancelled: its reader has read nothing for a while");
    }

    /// Returns when the reader has gone.
    pub(super) async fn closed(&self) {
        self.sender.closed().await;
    }
}

/// What answers whoever follows.
pub(super) enum Answered {
    /// A stream.
    Now(Response),
    /// One document, when there is something to tell or the time is up.
    Later(Polled),
}

impl Answered {
    pub(super) async fn response(self) -> Result<Response, Problem> {
        match self {
            Answered::Now(response) => Ok(response),
            Answered::Later(polled) => poll::answer(polled).await,
        }
    }
}

fn locked(ending: &Mutex<Ending>) -> MutexGuard<'_, Ending> {
    // What is behind it is whole whenever it is let go.
    ending.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Waiting {
    waiting: mpsc::Receiver<Told>,
    shape: Shape,
    ending: Arc<Mutex<Ending>>,
}

impl hyper::body::Body for Waiting {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.waiting.poll_recv(cx).map(|told| {
            let mut told = told.or_else(|| locked(&self.ending).last.take())?;
            let charge = told.charge.take();
            let text = match self.shape {
                Shape::Events => as_event(told),
                Shape::Lines | Shape::Once(_) => as_line(told),
            };
            let text = Bytes::from(text);
            Some(Ok(Frame::data(match charge {
                Some(charge) => charge.hold(text),
                None => text,
            })))
        })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

fn as_line(told: Told) -> Vec<u8> {
    let mut text = told.json;
    text.push(b'\n');
    text
}

/// A name, the place, and the line itself, which has no line break.
fn as_event(told: Told) -> Vec<u8> {
    let mut text = Vec::with_capacity(told.json.len() + 64);
    if let Some(kind) = kind(&told.json) {
        text.extend([b"event: ", kind, b"\n"].concat());
    }
    if let Some(place) = told.place {
        text.extend(format!("id: {place}\n").into_bytes());
    }
    text.extend([b"data: ", &told.json[..], b"\n\n"].concat());
    text
}

/// What sort of line it is: its first field.
pub(super) fn kind(json: &[u8]) -> Option<&[u8]> {
    json.strip_prefix(b"{\"type\":\"")?.split(|byte| *byte == b'"').next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(place: Option<&str>) -> Told {
        let json = serde_json::to_vec(&json!({"type": "put", "key": "a\nb"})).unwrap();
        Told {
            json: [b"{\"type\":\"put\",", &json[1..]].concat(),
            place: place.map(String::from),
            charge: None,
        }
    }

    #[test]
    fn an_event_has_a_name_a_place_if_it_has_one_and_one_line_of_data() {
        let text = String::from_utf8(as_event(told(Some("7")))).unwrap();
        assert!(text.starts_with("event: put\nid: 7\ndata: {"), "{text}");
        assert!(text.ends_with("}\n\n") && text.matches('\n').count() == 4, "{text}");
        let text = String::from_utf8(as_event(told(None))).unwrap();
        assert!(text.starts_with("event: put\ndata: {"), "{text}");
    }

    #[test]
    fn what_is_asked_is_one_shape() {
        let of = |query: &str, accept: &str, last: Option<&str>| {
            let mut request = Request::get(format!("/v1/kv?{query}")).header(ACCEPT, accept);
            if let Some(last) = last {
                request = request.header(LAST_EVENT_ID, last);
            }
            let request = request.body(()).unwrap();
            let mut params = Params::of(&request).unwrap();
            Following::of(&request, &mut params)
        };
        assert!(of("prefix=a", "*/*", None).unwrap().is_none());
        let lines = of("watch=1", "*/*", Some("7")).unwrap().unwrap();
        assert_eq!((lines.shape, lines.behind), (Shape::Lines, None));
        let events = of("watch=1", "text/event-stream", Some("7")).unwrap().unwrap();
        assert_eq!((events.shape, events.behind.as_deref()), (Shape::Events, Some("7")));
        let once = of("index=7&wait=2s", "*/*", None).unwrap().unwrap();
        assert_eq!(once.shape, Shape::Once(Duration::from_secs(2)));
        assert_eq!(once.behind.as_deref(), Some("7"));
        assert_eq!(of("watch=1&wait=2s", "*/*", None).unwrap_err().status, 400);
        assert_eq!(of("index=7", "*/*", None).unwrap_err().status, 400);
    }
}
