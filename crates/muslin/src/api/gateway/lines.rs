//! The messages of a gRPC answer as lines of JSON: `{"result":..}`, and `{"error":..}` at the end
//! if it ended badly.

use super::carrying::{PREFIX_BYTES, check, http_status};
use super::shapes;
use crate::api::front::Answer;
use bytes::{Buf, Bytes, BytesMut};
use hyper::body::{Body, Frame};
use prost_reflect::MessageDescriptor;
use serde_json::json;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tonic::Status;

/// The lines.
pub(super) struct Lines {
    answer: Answer,
    shape: MessageDescriptor,
    /// What has come of the next message.
    come: BytesMut,
    has_ended: bool,
}

impl Lines {
    pub(super) fn new(answer: Answer, shape: MessageDescriptor) -> Lines {
        Lines { answer, shape, come: BytesMut::new(), has_ended: false }
    }

    /// The next line, of what has come.
    fn next_line(&mut self) -> Result<Option<Bytes>, Status> {
        let Some(&[_, a, b, c, d]) = self.come.first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if self.come.len() < PREFIX_BYTES + length {
            return Ok(None);
        }
        self.come.advance(PREFIX_BYTES);
        let message = self.come.split_to(length).freeze();
        let json = shapes::to_json(&self.shape, message)?;
        Ok(Some(Bytes::from([b"{\"result\":", &json[..], b"}\n"].concat())))
    }

    /// The last line: how it ended.
    fn end(&mut self, status: &Status) -> Bytes {
        self.has_ended = true;
        let http = http_status(status.code());
        let error = json!({
            "grpc_code": i32::from(status.code()),
            "http_code": http.as_u16(),
            "message": status.message(),
            "http_status": http.canonical_reason(),
        });
        Bytes::from(format!("{}\n", json!({ "error": error })))
    }
}

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let line = loop {
            if this.has_ended {
                return Poll::Ready(None);
            }
            match this.next_line() {
                Ok(Some(line)) => break line,
                Ok(None) => {}
                Err(status) => break this.end(&status),
            }
            match ready!(Pin::new(&mut this.answer).poll_frame(cx)) {
                None => this.has_ended = true,
                Some(Err(error)) => break this.end(&Status::from_error(error)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(piece) => this.come.extend_from_slice(&piece),
                    Err(frame) => {
                        let ended = frame.trailers_ref().map_or(Ok(()), check);
                        if let Err(status) = ended {
                            break this.end(&status);
                        }
                    }
                },
            }
        };
        Poll::Ready(Some(Ok(Frame::data(line))))
    }
}
