//! One connection: found out what it speaks, served until it ends or the process stops.

use super::authority::Schemeless;
use super::between::Through;
use super::caller::{Caller, Shown};
use super::calls::{Calls, Serving};
use super::desk::stopping;
use super::front::{Answer, Front};
use super::sniff::{Speech, TLS_HANDSHAKE, sniff};
use super::unread::Reader;
use super::worded::Worded;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// How long slow clients are waited for. A client on a bad line needs a second or two; one that
/// needs longer is broken, or means harm.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until a client has said what it speaks, and once more until that is encrypted.
    pub handshake: Duration,
    /// Until the whole head of an HTTP/1 request has come, however it trickles.
    pub header: Duration,
    /// Until the whole body of an HTTP request has come.
    pub body: Duration,
    /// Until something of a stream is read: a watch of which nothing was read for so long, while
    /// there was something to read, is cancelled.
    pub unread: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            handshake: Duration::from_secs(5),
            header: Duration::from_secs(10),
            body: Duration::from_secs(10),
            unread: Duration::from_secs(60),
        }
    }
}

/// How long requests under way may still take once the process stops.
pub(super) const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// A quiet HTTP/2 client is asked this often whether it is still there ..
const PING_PERIOD: Duration = Duration::from_secs(20);

/// .. and cut off when it does not answer in this time.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// What one HTTP/2 connection may hold.
struct Allowance {
    /// Calls under way at once.
    streams: u32,
    /// Bytes that may come unasked on one call.
    stream_window: u32,
    /// Bytes that may come unasked on the whole connection.
    connection_window: u32,
    /// Bytes of headers of one request.
    header_bytes: u32,
}

/// Enough for a load generator that shares one connection among thousands of callers; the largest
/// request fits without a round trip, and many small ones never wait for one another.
const TRUSTED: Allowance = Allowance {
    streams: 10_000,
    stream_window: 2 << 20,
    connection_window: 8 << 20,
    header_bytes: 32 << 10,
};

/// Enough to ask to join. Times [`REMOTE_CONNECTIONS_MAX`](super::gate::REMOTE_CONNECTIONS_MAX) it
/// is still bearable.
const STRANGER: Allowance = Allowance {
    streams: 8,
    stream_window: 64 << 10,
    connection_window: 64 << 10,
    header_bytes: 8 << 10,
};

/// Most bytes of an HTTP/1 connection gathered before they are used.
const HTTP1_BUFFER_BYTES: usize = 64 << 10;

/// How TLS is spoken: it changes when the node's certificate is renewed, for connections to come.
pub type Tls = watch::Receiver<Arc<rustls::ServerConfig>>;

/// What connections of one listener have in common.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) front: Arc<Front>,
    /// `None`: this listener speaks no TLS.
    pub(super) tls: Option<Tls>,
    /// Callers on this machine must show a certificate too.
    pub(super) is_strict: bool,
    pub(super) patience: Patience,
    pub(super) shutdown: watch::Receiver<bool>,
}

impl Line {
    /// Serves one connection. An error is the peer's: it has gone, or said something that makes no
    /// sense; there is nobody left to tell.
    pub(super) async fn serve(self, stream: TcpStream, peer: IpAddr) -> io::Result<()> {
        // Answers are small and awaited: none of them should wait for an acknowledgement.
        stream.set_nodelay(true)?;
        let mut first = [0];
        let looked = timeout(self.patience.handshake, stream.peek(&mut first)).await??;
        if looked == 0 {
            return Ok(());
        }
        let is_here = peer.to_canonical().is_loopback() && !self.is_strict;
        let Some(tls) = self.tls.clone().filter(|_| first[0] == TLS_HANDSHAKE) else {
            let caller = match (is_here, peer.to_canonical().is_loopback()) {
                (true, _) => Caller::Loopback,
                (false, true) => Caller::PlainLocal,
                (false, false) => Caller::PlainRemote,
            };
            return self.speak(stream, Shown::Plain(caller)).await;
        };
        let acceptor = TlsAcceptor::from(tls.borrow().clone());
        let stream = timeout(self.patience.handshake, acceptor.accept(stream)).await??;
        let shown = match stream.get_ref().1.peer_certificates() {
            Some([leaf, ..]) => Shown::of(self.front.cluster(), leaf),
            _ if is_here => Shown::Plain(Caller::Loopback),
            _ => Shown::Plain(Caller::Anonymous),
        };
        self.speak(stream, shown).await
    }

    async fn speak<S>(self, stream: S, shown: Shown) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (speech, stream) = timeout(self.patience.handshake, sniff(stream)).await??;
        let front = self.front;
        let is_trusted = front.caller(shown).is_trusted();
        let reader = front.reader();
        let cut = reader.clone();
        let watched = front.clone();
        let session = Arc::new(Session { front: front.clone(), shown, reader: reader.clone() });
        let service = service_fn(move |request| {
            let session = session.clone();
            async move { session.answer(request).await }
        });
        let shutdown = self.shutdown;
        // Two kinds of connection without a trait in common: the same lines for each.
        match speech {
            Speech::Http1 => {
                let stream = TokioIo::new(Through::new(stream, Worded::new(HTTP1_BUFFER_BYTES)));
                let connection = http1(self.patience).serve_connection(stream, service);
                let serving = async move {
                    let mut connection = pin!(connection);
                    tokio::select! {
                        end = connection.as_mut() => return end.map_err(io::Error::other),
                        () = cut.cut() => {
                            watched.on_cut();
                            return Ok(());
                        }
                        () = stopping(shutdown) => connection.as_mut().graceful_shutdown(),
                    }
                    timeout(SHUTDOWN_GRACE, connection).await?.map_err(io::Error::other)
                };
                seated(serving, &front, &reader).await
            }
            Speech::Http2 => {
                let stream = TokioIo::new(Through::new(stream, Schemeless::new()));
                let calls = Calls::default();
                let connection = http2(is_trusted, &calls).serve_connection(stream, service);
                let mut serving = Serving::new(connection, calls);
                let serving = async move {
                    tokio::select! {
                        end = &mut serving => return end.map_err(io::Error::other),
                        () = cut.cut() => {
                            watched.on_cut();
                            return Ok(());
                        }
                        () = stopping(shutdown) => serving.connection().graceful_shutdown(),
                    }
                    timeout(SHUTDOWN_GRACE, serving).await?.map_err(io::Error::other)
                };
                seated(serving, &front, &reader).await
            }
        }
    }
}

/// Serves a connection: here at first, and in the gallery once something is watched on it.
async fn seated(
    serving: impl Future<Output = io::Result<()>> + Send + 'static,
    front: &Front,
    reader: &Reader,
) -> io::Result<()> {
    let mut serving = Box::pin(serving);
    tokio::select! {
        biased;
        end = serving.as_mut() => return end,
        () = reader.watches() => {}
    }
    // It is ended from outside when the process stops.
    front.gallery().seat(serving).await.unwrap_or(Ok(()))
}

/// What the requests of one connection have in common.
struct Session {
    front: Arc<Front>,
    shown: Shown,
    reader: Reader,
}

impl Session {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
        let visitor = self.front.visitor(self.shown, &self.reader);
        self.front.answer(visitor, request).await
    }
}

fn http1(patience: Patience) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(patience.header)
        .max_buf_size(HTTP1_BUFFER_BYTES);
    builder
}

fn http2(is_trusted: bool, calls: &Calls) -> http2::Builder<Calls> {
    let allowance = if is_trusted { TRUSTED } else { STRANGER };
    let mut builder = http2::Builder::new(calls.clone());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_PERIOD)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(allowance.streams)
        .initial_stream_window_size(allowance.stream_window)
        .initial_connection_window_size(allowance.connection_window)
        .max_header_list_size(allowance.header_bytes)
        // No client asks what time it is, and it costs a header on every answer.
        .auto_date_header(false);
    builder
}
