//! A body of JSON objects as the messages of a gRPC call.

use super::carrying::framed;
use super::shapes::{self, NoObject, Seeker};
use crate::api::bodies::Counted;
use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, Incoming};
use prost_reflect::MessageDescriptor;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tonic::Status;

/// Largest object of a stream: a watch or a lease to keep, no values.
const OBJECT_BYTES_MAX: usize = 64 << 10;

/// The messages, each as gRPC puts it on the wire.
pub(super) struct Messages {
    body: Counted<Incoming>,
    shape: MessageDescriptor,
    /// What has come of the next object.
    come: BytesMut,
    /// How much of that was looked at.
    seeker: Seeker,
    /// The message that was read before anybody asked.
    first: Option<Bytes>,
    has_ended: bool,
    /// Who calls goes on listening when the body has ended.
    listens: bool,
}

impl Messages {
    pub(super) fn new(body: Counted<Incoming>, shape: MessageDescriptor) -> Messages {
        let (come, seeker) = (BytesMut::new(), Seeker::default());
        Messages { body, shape, come, seeker, first: None, has_ended: false, listens: false }
    }

    /// The call goes on when the body has ended, until who calls hangs up: nobody who writes
    /// `curl -d` can keep a body open.
    pub(super) fn listening(self) -> Messages {
        Messages { listens: true, ..self }
    }

    /// Reads the first message.
    ///
    /// # Errors
    ///
    /// There is none, or it is not the JSON of one.
    pub(super) async fn begin(&mut self) -> Result<(), Status> {
        let listens = std::mem::take(&mut self.listens);
        let first = poll_fn(|cx| self.poll_message(cx)).await;
        self.listens = listens;
        let nothing = || Status::invalid_argument("muslin: the body holds no JSON object");
        self.first = Some(first.ok_or_else(nothing)??);
        Ok(())
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        loop {
            match self.next_message() {
                Ok(None) if self.has_ended && self.listens => return Poll::Pending,
                Ok(None) if self.has_ended => return Poll::Ready(None),
                Ok(None) => {}
                Ok(Some(message)) => return Poll::Ready(Some(Ok(message))),
                Err(refusal) => return Poll::Ready(Some(Err(refusal))),
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => self.has_ended = true,
                Some(Err(error)) => return Poll::Ready(Some(Err(Status::from_error(error)))),
                Some(Ok(frame)) => {
                    if let Ok(piece) = frame.into_data() {
                        self.come.extend_from_slice(&piece);
                    }
                }
            }
        }
    }

    /// The next message, of what has come.
    fn next_message(&mut self) -> Result<Option<Bytes>, Status> {
        let refused = |why: &str| Status::invalid_argument(format!("muslin: the body {why}"));
        let too_long = || refused(&format!("has a JSON object of over {OBJECT_BYTES_MAX} bytes"));
        match self.seeker.look(&self.come) {
            Ok(Some(length)) if length > OBJECT_BYTES_MAX => Err(too_long()),
            Ok(Some(length)) => {
                self.seeker = Seeker::default();
                let json = self.come.split_to(length);
                shapes::from_json(&self.shape, &json).map(|message| Some(framed(&message)))
            }
            Ok(None) if self.has_ended && !self.come.trim_ascii().is_empty() => {
                Err(refused("ends within a JSON object"))
            }
            Ok(None) if self.come.len() > OBJECT_BYTES_MAX => Err(too_long()),
            Ok(None) => Ok(None),
            Err(NoObject(byte)) => {
                let byte = byte.escape_ascii();
                Err(refused(&format!("has `{byte}` where a JSON object is to begin")))
            }
        }
    }
}

impl Body for Messages {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let message = match this.first.take() {
            Some(first) => Poll::Ready(Some(Ok(first))),
            None => this.poll_message(cx),
        };
        message.map(|message| message.map(|message| message.map(Frame::data)))
    }
}
