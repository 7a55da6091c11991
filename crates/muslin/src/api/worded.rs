//! Words for what HTTP/1 itself refuses with a bare status: a head or an address that is too long.
//!
//! The library that reads heads answers those by itself, without a body. Such an answer is caught
//! on its way out, by its first bytes, which no handler of ours begins with, and told in full. The
//! connection ends behind it, as it would have.

use super::between::Between;
use super::problem::{PROBLEM_JSON, Problem};
use hyper::StatusCode;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;

/// How such answers begin.
const BARE: [(&[u8], StatusCode); 2] = [
    (b"HTTP/1.1 431 ", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
    (b"HTTP/1.1 414 ", StatusCode::URI_TOO_LONG),
];

/// Most fields of a head: what the library takes by itself.
const FIELDS_MAX: usize = 100;

/// Tells the bare refusals of a stream in words.
pub(super) struct Worded {
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

impl Worded {
    pub(super) fn new(limit: usize) -> Worded {
        Worded { limit, told: None }
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

impl Told {
    fn begin(bare: &[u8], limit: usize) -> Option<Told> {
        let (_, status) = BARE.iter().find(|(start, _)| bare.starts_with(start))?;
        Some(Told { bytes: in_words(*status, limit), written: 0, instead_of: bare.len() })
    }

    /// Writes what is to be told; ready when all of it is out.
    fn tell<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        while self.written < self.bytes.len() {
            let rest = &self.bytes[self.written..];
            match Pin::new(&mut *stream).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => self.written += written,
                other => return other,
            }
        }
        Poll::Ready(Ok(self.instead_of))
    }
}

impl Between for Worded {
    fn write_instead<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Option<Poll<io::Result<usize>>> {
        if self.told.is_none() {
            self.told = Told::begin(bytes, self.limit);
        }
        let written = self.told.as_mut()?.tell(stream, cx);
        if let Poll::Ready(Ok(_)) = written {
            self.told = None;
        }
        Some(written)
    }
}
