//! How much of the bodies of requests stands in memory, of all connections together.
//!
//! A body is counted piece by piece as it comes, until its request is answered. A body for which
//! there is no room ends the request, not the connection; so does one that stops coming.

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Sleep, sleep};
use tonic::Status;

/// Bytes of all bodies together: some forty of the largest requests, or tens of thousands of
/// ordinary ones.
const BODY_BYTES_MAX: usize = 64 << 20;

/// When one that was refused asks again: the largest request has come by then on a good line.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Counts what bodies hold.
#[derive(Clone, Default)]
pub(super) struct Bodies {
    /// Of all requests. It guards nothing else, so no order is asked of it.
    taken: Arc<AtomicUsize>,
}

impl Bodies {
    /// What one request holds; given back when dropped.
    pub(super) fn hold(&self) -> Held {
        Held { bodies: self.clone(), taken: AtomicUsize::new(0) }
    }

    /// Takes so much more, if there is so much. Two that ask for the last room at once may both be
    /// refused.
    fn take(&self, bytes: usize) -> Result<(), NoRoom> {
        let before = self.taken.fetch_add(bytes, Ordering::Relaxed);
        if bytes > BODY_BYTES_MAX || before > BODY_BYTES_MAX - bytes {
            self.give_back(bytes);
            return Err(NoRoom);
        }
        Ok(())
    }

    fn give_back(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The share of one request.
pub(super) struct Held {
    bodies: Bodies,
    taken: AtomicUsize,
}

impl Held {
    /// Takes so much more, if there is so much.
    pub(super) fn take(&self, bytes: usize) -> Result<(), NoRoom> {
        self.bodies.take(bytes)?;
        self.taken.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.bodies.give_back(*self.taken.get_mut());
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

impl From<NoRoom> for Status {
    fn from(reason: NoRoom) -> Status {
        Status::resource_exhausted(format!("muslin: {reason}"))
    }
}

/// What a call is answered whose message does not come.
pub(super) fn late() -> Status {
    Status::deadline_exceeded("muslin: the request did not come in time")
}

/// A body that is counted.
pub(super) struct Counted<B = Incoming> {
    inner: B,
    held: Option<Arc<Held>>,
    limit: Limit,
}

/// By when a body has come.
enum Limit {
    /// Somebody else sees to it.
    Elsewhere,
    /// So long after it was first waited for: most have come before anybody waits.
    After(Duration),
    /// It is waited for.
    At(Pin<Box<Sleep>>),
}

impl<B> Counted<B> {
    /// Of a request over HTTP, which has its own time-out.
    pub(super) fn http(inner: B, held: Arc<Held>) -> Counted<B> {
        Counted { inner, held: Some(held), limit: Limit::Elsewhere }
    }

    /// Of a call over gRPC with one message, which must come in this time.
    pub(super) fn call(inner: B, held: Arc<Held>, patience: Duration) -> Counted<B> {
        Counted { inner, held: Some(held), limit: Limit::After(patience) }
    }

    /// Of a call that goes on, whose messages are used as they come.
    pub(super) fn stream(inner: B) -> Counted<B> {
        Counted { inner, held: None, limit: Limit::Elsewhere }
    }

    /// The reason as the one who reads the body passes it on.
    fn refusal(&self, reason: NoRoom) -> BoxError {
        match self.limit {
            Limit::Elsewhere => Box::new(reason),
            Limit::After(_) | Limit::At(_) => Box::new(Status::from(reason)),
        }
    }
}

impl Limit {
    /// Whether the time is over, of a body that has not come.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        if let Limit::After(patience) = self {
            *self = Limit::At(Box::pin(sleep(*patience)));
        }
        match self {
            Limit::At(deadline) => deadline.as_mut().poll(cx).is_ready(),
            Limit::Elsewhere | Limit::After(_) => false,
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
        if polled.is_pending() && this.limit.poll(cx) {
            return Poll::Ready(Some(Err(Box::new(late()))));
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
        let [first, second, third] = [(); 3].map(|()| Arc::new(bodies.hold()));
        assert!(Counted::http(large(), first.clone()).collect().await.is_ok());
        assert!(Counted::http(large(), second.clone()).collect().await.is_ok());
        let refused = Counted::http(large(), third.clone()).collect().await.unwrap_err();
        assert!(NoRoom::is_cause_of(refused.as_ref()));
        let call = Counted::call(large(), third.clone(), Duration::from_secs(9));
        let refused = call.collect().await.unwrap_err();
        assert_eq!(refused.downcast::<Status>().unwrap().code(), tonic::Code::ResourceExhausted);
        assert!(Counted::stream(large()).collect().await.is_ok());
        drop(first);
        assert!(Counted::http(large(), third.clone()).collect().await.is_ok());
        drop((second, third));
        assert_eq!(bodies.taken.load(Ordering::Relaxed), 0, "what was refused was not taken");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_whose_body_stops_coming_ends() {
        let body = Counted::call(Silent, Bodies::default().hold().into(), Duration::from_secs(9));
        let late = body.collect().await.unwrap_err().downcast::<Status>().unwrap();
        assert_eq!(late.code(), tonic::Code::DeadlineExceeded);
    }
}
