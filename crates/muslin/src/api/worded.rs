//! Words for what HTTP/1 itself refuses with a bare status: a head or an address that is too long.
//!
//! The library that reads heads answers those by itself, without a body. Such an answer is caught
//! on its way out, by its first bytes, which no handler of ours begins with, and told in full. The
//! connection ends behind it, as it would have.

use super::problem::{PROBLEM_JSON, Problem};
use hyper::StatusCode;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How such answers begin.
const BARE: [(&[u8], StatusCode); 2] = [
    (b"HTTP/1.1 431 ", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
    (b"HTTP/1.1 414 ", StatusCode::URI_TOO_LONG),
];

/// Most fields of a head: what the library takes by itself.
const FIELDS_MAX: usize = 100;

/// A stream whose bare refusals are told in words.
pub(super) struct Worded<S> {
    stream: S,
    /// Most bytes of a head.
    limit: usize,
    told: Option<Told>,
}

/// An answer on its way out.
struct Told {
    bytes: Vec<u8>,
    written: usize,
    /// How many bytes it stands for.
    instead_of: usize,
}

impl<S> Worded<S> {
    pub(super) fn new(stream: S, limit: usize) -> Worded<S> {
        Worded { stream, limit, told: None }
    }

    fn begin(&mut self, bare: &[u8]) -> bool {
        let is_it = |(start, _): &&(&[u8], StatusCode)| bare.starts_with(start);
        let Some((_, status)) = BARE.iter().find(is_it) else { return false };
        let bytes = in_words(*status, self.limit);
        self.told = Some(Told { bytes, written: 0, instead_of: bare.len() });
        true
    }
}

fn in_words(status: StatusCode, limit: usize) -> Vec<u8> {
    let detail = format!(
        "the head of the request is over {limit} bytes, its address included, or has more than \
         {FIELDS_MAX} fields"
    );
    let problem = Problem::new(status, "head-too-large", detail)
        .hint("a key stands in the address: use shorter ones, or the etcd API, where it does not");
    let body = serde_json::to_string(&problem).expect("text and numbers are always JSON");
    format!(
        "HTTP/1.1 {} {}\r\ncontent-type: {PROBLEM_JSON}\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default(),
        body.len()
    )
    .into_bytes()
}

impl<S: AsyncWrite + Unpin> Worded<S> {
    /// Writes what is to be told; ready when all of it is out.
    fn tell(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(told) = &mut self.told else { return Poll::Ready(Ok(0)) };
        while told.written < told.bytes.len() {
            let rest = &told.bytes[told.written..];
            match Pin::new(&mut self.stream).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => told.written += written,
                other => return other,
            }
        }
        let instead_of = told.instead_of;
        self.told = None;
        Poll::Ready(Ok(instead_of))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Worded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Worded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.told.is_some() || self.begin(buf) {
            return self.tell(cx);
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = bufs.iter().find(|buf| !buf.is_empty());
        if self.told.is_some() || first.is_some_and(|buf| self.begin(buf)) {
            return self.tell(cx);
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
