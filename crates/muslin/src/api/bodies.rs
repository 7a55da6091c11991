//! How much of the bodies of requests stands in memory, of all connections together.
//!
//! A body is counted piece by piece as it comes, until its request is answered. A body for which
//! there is no room ends the request, not the connection; so does one that stops coming.

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tonic::Status;

/// Bytes of all bodies together: some forty of the largest requests, or tens of thousands of
/// ordinary ones.
const BODY_BYTES_MAX: usize = 64 << 20;

/// When one that was refused asks again: the largest request has come by then on a good line.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Counts what bodies hold.
pub(super) struct Bodies {
    room: Arc<Semaphore>,
}

impl Default for Bodies {
    fn default() -> Bodies {
        Bodies { room: Arc::new(Semaphore::new(BODY_BYTES_MAX)) }
    }
}

impl Bodies {
    /// What one request holds; given back when nobody has it any more.
    pub(super) fn hold(&self) -> Arc<Held> {
        Arc::new(Held { room: self.room.clone(), taken: Mutex::new(None) })
    }
}

/// The share of one request.
pub(super) struct Held {
    room: Arc<Semaphore>,
    taken: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Held {
    /// Takes so much more, if there is so much.
    fn take(&self, bytes: usize) -> Result<(), NoRoom> {
        let count = u32::try_from(bytes).map_err(|_| NoRoom)?;
        let more = self.room.clone().try_acquire_many_owned(count).map_err(|_| NoRoom)?;
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.as_mut() {
            Some(taken) => taken.merge(more),
            None => *taken = Some(more),
        }
        Ok(())
    }
}

/// There is no room for a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoRoom;

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "as many bytes of requests as this node takes at once are under way; this one was \
             refused and nothing happened",
        )
    }
}

impl std::error::Error for NoRoom {}

impl NoRoom {
    /// Whether this is why a body could not be read.
    pub(super) fn is_cause_of(error: &(dyn std::error::Error + 'static)) -> bool {
        let causes = std::iter::successors(Some(error), |error| error.source());
        causes.into_iter().any(|cause| cause.is::<NoRoom>())
    }
}

/// A body that is counted.
pub(super) struct Counted<B = Incoming> {
    inner: B,
    held: Option<Arc<Held>>,
    /// Of a body of a call that ends: it has all come by then.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<B> Counted<B> {
    /// Of a request over HTTP, which has its own time-out.
    pub(super) fn http(inner: B, held: Arc<Held>) -> Counted<B> {
        Counted { inner, held: Some(held), deadline: None }
    }

    /// Of a call over gRPC with one message, which must come in this time.
    pub(super) fn call(inner: B, held: Arc<Held>, patience: Duration) -> Counted<B> {
        Counted { inner, held: Some(held), deadline: Some(Box::pin(sleep(patience))) }
    }

    /// Of a call that goes on, whose messages are used as they come.
    pub(super) fn stream(inner: B) -> Counted<B> {
        Counted { inner, held: None, deadline: None }
    }

    /// The reason as the one who reads the body passes it on.
    fn refusal(&self, reason: NoRoom) -> BoxError {
        match self.deadline {
            Some(_) => Box::new(Status::resource_exhausted(format!("muslin: {reason}"))),
            None => Box::new(reason),
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Counted<B>
where
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        if polled.is_pending()
            && let Some(deadline) = &mut this.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            let late = Status::deadline_exceeded("muslin: the request did not come in time");
            return Poll::Ready(Some(Err(Box::new(late))));
        }
        polled.map(|frame| {
            let frame = match frame? {
                Ok(frame) => frame,
                Err(error) => return Some(Err(error.into())),
            };
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            match this.held.as_ref().map_or(Ok(()), |held| held.take(bytes)) {
                Ok(()) => Some(Ok(frame)),
                Err(reason) => Some(Err(this.refusal(reason))),
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Full};

    /// Nothing ever comes of it.
    struct Silent;

    impl Body for Silent {
        type Data = Bytes;
        type Error = NoRoom;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, NoRoom>>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn bodies_under_way_are_bounded_together_until_they_are_answered() {
        let bodies = Bodies::default();
        let large = || Full::new(Bytes::from(vec![0; BODY_BYTES_MAX / 2]));
        let (first, second, third) = (bodies.hold(), bodies.hold(), bodies.hold());
        assert!(Counted::http(large(), first.clone()).collect().await.is_ok());
        assert!(Counted::http(large(), second.clone()).collect().await.is_ok());
        let refused = Counted::http(large(), third.clone()).collect().await.unwrap_err();
        assert!(NoRoom::is_cause_of(refused.as_ref()));
        let call = Counted::call(large(), third.clone(), Duration::from_secs(9));
        let refused = call.collect().await.unwrap_err();
        assert_eq!(refused.downcast::<Status>().unwrap().code(), tonic::Code::ResourceExhausted);
        assert!(Counted::stream(large()).collect().await.is_ok());
        drop(first);
        assert!(Counted::http(large(), third).collect().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_whose_body_stops_coming_ends() {
        let body = Counted::call(Silent, Bodies::default().hold(), Duration::from_secs(9));
        let late = body.collect().await.unwrap_err().downcast::<Status>().unwrap();
        assert_eq!(late.code(), tonic::Code::DeadlineExceeded);
    }
}
