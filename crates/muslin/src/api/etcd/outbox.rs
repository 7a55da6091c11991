//! The sending side of a gRPC stream.

use crate::api::unread::Charge;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use tonic::Status;
use tonic::codegen::tokio_stream::Stream;

/// Answers waiting for their reader. When full, whoever answers waits.
pub(crate) struct Outbox<T> {
    waiting: mpsc::Receiver<Waiting<T>>,
}

/// Puts answers into an [`Outbox`].
pub(super) struct Sender<T> {
    sender: mpsc::Sender<Waiting<T>>,
}

struct Waiting<T> {
    answer: Result<T, Status>,
    /// Counts what it holds, if that is much.
    _charge: Option<Charge>,
}

/// Room for one answer.
pub(super) struct Place<'a, T>(mpsc::Permit<'a, Waiting<T>>);

impl<T> Place<'_, T> {
    /// Sends what may hold much, counted until it is encoded.
    pub(super) fn fill(self, answer: T, charge: Option<Charge>) {
        self.0.send(Waiting { answer: Ok(answer), _charge: charge });
    }
}

/// The reader has gone: nobody wants more.
pub(super) struct Gone;

impl<T> Outbox<T> {
    pub(super) fn new(capacity: usize) -> (Sender<T>, Outbox<T>) {
        let (sender, waiting) = mpsc::channel(capacity);
        (Sender { sender }, Outbox { waiting })
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        Sender { sender: self.sender.clone() }
    }
}

impl<T> Sender<T> {
    pub(super) async fn send(&self, answer: Result<T, Status>) -> Result<(), Gone> {
        self.sender.send(Waiting { answer, _charge: None }).await.map_err(|_| Gone)
    }

    /// Waits for room. Cancel safe.
    pub(super) async fn room(&self) -> Result<Place<'_, T>, Gone> {
        self.sender.reserve().await.map(Place).map_err(|_| Gone)
    }

    /// Returns when the reader has gone.
    pub(super) async fn closed(&self) {
        self.sender.closed().await;
    }
}

impl<T> Stream for Outbox<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.waiting.poll_recv(cx).map(|waiting| waiting.map(|waiting| waiting.answer))
    }
}
