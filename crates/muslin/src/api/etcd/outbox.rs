//! The sending side of a gRPC stream.

use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use tonic::Status;
use tonic::codegen::tokio_stream::Stream;

/// Answers waiting for their reader. When full, whoever answers waits.
pub(crate) struct Outbox<T> {
    waiting: mpsc::Receiver<Result<T, Status>>,
}

/// Puts answers into an [`Outbox`].
pub(super) type Sender<T> = mpsc::Sender<Result<T, Status>>;

impl<T> Outbox<T> {
    pub(super) fn new(capacity: usize) -> (Sender<T>, Outbox<T>) {
        let (sender, waiting) = mpsc::channel(capacity);
        (sender, Outbox { waiting })
    }
}

impl<T> Stream for Outbox<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.waiting.poll_recv(cx)
    }
}
