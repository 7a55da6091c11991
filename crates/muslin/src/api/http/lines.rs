//! Streams of JSON lines, one value each (NDJSON).

use crate::api::unread::Reader;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::Request;
use hyper::body::{Frame, SizeHint};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::Serialize;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// Lines that may wait for their reader. When full, whoever writes waits. A line may be as large as
/// a value, so a reader that never reads costs a few of the largest values and no more.
const LINES_WAITING_MAX: usize = 4;

/// The writing side.
#[derive(Clone)]
pub(super) struct Lines {
    sender: mpsc::Sender<Bytes>,
    reader: Option<Reader>,
}

/// The reader has gone: nobody wants more.
pub(super) struct Gone;

impl Lines {
    /// A stream that answers a request, and its writing side.
    pub(super) fn new(request: &Request<Body>) -> (Lines, Response) {
        let reader = request.extensions().get::<Reader>().cloned();
        let (sender, waiting) = mpsc::channel(LINES_WAITING_MAX);
        let headers = [(CONTENT_TYPE, "application/x-ndjson"), (CACHE_CONTROL, "no-store")];
        (Lines { sender, reader }, (headers, Body::new(Waiting { waiting })).into_response())
    }

    /// Writes one line; waits while the reader is behind.
    pub(super) async fn write<T: Serialize>(&self, line: &T) -> Result<(), Gone> {
        let mut text = serde_json::to_vec(line).expect("lines have string keys only");
        text.push(b'\n');
        let text = Bytes::from(text);
        let text = self.reader.as_ref().map_or(text.clone(), |reader| reader.hold(text));
        self.sender.send(text).await.map_err(|_| Gone)
    }

    /// Returns when the reader has gone.
    pub(super) async fn closed(&self) {
        self.sender.closed().await;
    }
}

struct Waiting {
    waiting: mpsc::Receiver<Bytes>,
}

impl hyper::body::Body for Waiting {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.waiting.poll_recv(cx).map(|line| line.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
