//! The whole state as a file.

use super::params::Params;
use crate::api::backups::{self, Leaving};
use crate::api::desk::Desk;
use crate::api::problem::Problem;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::Request;
use hyper::body::{Frame, SizeHint};
use hyper::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;

pub(super) async fn answer(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let consistency = params.consistency()?;
    params.finish()?;
    let begun = backups::begin(&desk, &desk.handle, consistency).await;
    let Leaving { head, bytes, chunks } = begun
        .map_err(|failure| Problem::of_failure(failure, desk.handle.glance().leader.is_some()))?;
    let name = format!("attachment; filename=\"muslin-{}.backup\"", head.revision);
    let headers = [
        (CONTENT_TYPE, "application/octet-stream"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_DISPOSITION, name.as_str()),
    ];
    let body = Body::new(Blocks { chunks, left: bytes });
    Ok((headers, body).into_response())
}

/// The body. Its length is known, so that nobody takes a part for the whole.
struct Blocks {
    chunks: mpsc::Receiver<(Bytes, u64)>,
    left: u64,
}

impl hyper::body::Body for Blocks {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(match ready!(self.chunks.poll_recv(cx)) {
            Some((chunk, left)) => {
                self.left = left;
                Some(Ok(Frame::data(chunk)))
            }
            None if self.left == 0 => None,
            None => Some(Err(io::Error::other("the backup ended early"))),
        })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
