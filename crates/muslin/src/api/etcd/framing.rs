//! How gRPC puts one message on the wire, read from the body of a call.
//!
//! Five bytes head a message: whether it is compressed, and its length. A message that came in one
//! piece, as nearly all do, is not copied.

use super::refuse;
use crate::api::bodies::{Held, late};
use bytes::{Buf, Bytes, BytesMut};
use hyper::body::Body;
use hyper::header::{HeaderMap, HeaderValue};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::timeout;
use tonic::Status;

/// Bytes before a message.
pub(super) const PREFIX_BYTES: usize = 5;

/// The prefix of a message of this length, which is not compressed.
pub(super) fn prefix(len: usize) -> [u8; PREFIX_BYTES] {
    let len = u32::try_from(len).expect("answers are bounded far below 4 GiB");
    let [a, b, c, d] = len.to_be_bytes();
    [0, a, b, c, d]
}

/// Reads a call's one message to the end of the call's body.
///
/// It is counted as it comes, and has all come in this time.
pub(super) async fn message<B>(
    mut body: B,
    held: &Held,
    limit: usize,
    patience: Duration,
) -> Result<Bytes, Status>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut reading = Reading { limit, whole: Bytes::new(), pieces: BytesMut::new() };
    // It is usually all here when the call begins: then no timer is set.
    let begun = std::future::poll_fn(|cx| Poll::Ready(reading.poll(&mut body, held, cx))).await;
    match begun {
        Poll::Ready(read) => read,
        Poll::Pending => {
            let rest = std::future::poll_fn(|cx| reading.poll(&mut body, held, cx));
            timeout(patience, rest).await.unwrap_or_else(|_| Err(late()))
        }
    }
}

/// What has come of a message. One of the two is empty.
struct Reading {
    limit: usize,
    /// As long as there was one piece.
    whole: Bytes,
    /// Since there were more.
    pieces: BytesMut,
}

impl Reading {
    fn poll<B>(
        &mut self,
        body: &mut B,
        held: &Held,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Bytes, Status>>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        loop {
            match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                None => return Poll::Ready(self.end()),
                Some(Err(error)) => return Poll::Ready(Err(Status::from_error(error.into()))),
                Some(Ok(frame)) => {
                    // Trailers of a caller mean nothing in gRPC.
                    let Ok(piece) = frame.into_data() else { continue };
                    held.take(piece.len())?;
                    self.add(piece)?;
                }
            }
            if body.is_end_stream() {
                return Poll::Ready(self.end());
            }
        }
    }

    fn come(&self) -> &[u8] {
        if self.pieces.is_empty() { &self.whole } else { &self.pieces }
    }

    fn add(&mut self, piece: Bytes) -> Result<(), Status> {
        if self.come().is_empty() {
            self.whole = piece;
        } else {
            if self.pieces.is_empty() {
                self.pieces.extend_from_slice(&std::mem::take(&mut self.whole));
            }
            self.pieces.extend_from_slice(&piece);
        }
        match self.len()? {
            Some(len) if self.come().len() > PREFIX_BYTES + len => Err(refuse::two_messages()),
            _ => Ok(()),
        }
    }

    /// How long the message says it is, once that has come: it is refused before it is read.
    fn len(&self) -> Result<Option<usize>, Status> {
        let Some(&[compressed, a, b, c, d]) = self.come().first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        match compressed {
            0 => {}
            1 => return Err(refuse::compressed_without_encoding()),
            other => return Err(refuse::unknown_format(other)),
        }
        let len = u32::from_be_bytes([a, b, c, d]) as usize;
        if len > self.limit {
            Err(refuse::message_too_large(len, self.limit))
        } else {
            Ok(Some(len))
        }
    }

    fn end(&mut self) -> Result<Bytes, Status> {
        let come = self.come().len();
        match self.len()? {
            None if come == 0 => Err(refuse::no_message()),
            Some(len) if come == PREFIX_BYTES + len => {
                let mut message = match self.pieces.is_empty() {
                    true => std::mem::take(&mut self.whole),
                    false => std::mem::take(&mut self.pieces).freeze(),
                };
                message.advance(PREFIX_BYTES);
                Ok(message)
            }
            _ => Err(refuse::cut_message()),
        }
    }
}

/// Messages are taken as they are: nobody compresses keys of some bytes.
pub(super) fn check_encoding(headers: &HeaderMap) -> Result<(), Status> {
    match headers.get("grpc-encoding") {
        Some(encoding) if encoding != "identity" => {
            Err(refuse::unknown_encoding(&String::from_utf8_lossy(encoding.as_bytes())))
        }
        _ => Ok(()),
    }
}

/// Most digits of a time-out (gRPC over HTTP/2, "Timeout").
const TIMEOUT_DIGITS_MAX: usize = 8;

/// How long the caller will wait, if it says so: a number and a unit.
pub(crate) fn patience_of_caller(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    match parse_timeout(value) {
        Some(time) => Ok(Some(time)),
        None => Err(refuse::malformed_timeout(&String::from_utf8_lossy(value.as_bytes()))),
    }
}

fn parse_timeout(value: &HeaderValue) -> Option<Duration> {
    let (unit, digits) = value.as_bytes().split_last()?;
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    if !is_number || digits.len() > TIMEOUT_DIGITS_MAX {
        return None;
    }
    let number = digits.iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(number * 3_600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::bodies::Bodies;
    use http_body_util::{BodyExt, StreamBody};
    use hyper::body::Frame;
    use tonic::Code;
    use tonic::codegen::tokio_stream;

    const LIMIT: usize = 100;

    /// What is read of a body that comes in these pieces.
    async fn read(pieces: &[&[u8]]) -> Result<Bytes, Status> {
        let frames: Vec<Result<_, std::convert::Infallible>> =
            pieces.iter().map(|p| Ok(Frame::data(Bytes::copy_from_slice(p)))).collect();
        let body = StreamBody::new(tokio_stream::iter(frames));
        message(body, &Bodies::default().hold(), LIMIT, Duration::from_secs(9)).await
    }

    #[tokio::test]
    async fn a_message_is_read_however_it_was_cut() {
        let sent = [&prefix(6)[..], b"abcdef"].concat();
        assert_eq!(read(&[&sent]).await.unwrap(), "abcdef");
        for cut in 0..=sent.len() {
            assert_eq!(read(&[&sent[..cut], &sent[cut..]]).await.unwrap(), "abcdef");
        }
        let bytes: Vec<&[u8]> = sent.chunks(1).collect();
        assert_eq!(read(&bytes).await.unwrap(), "abcdef");
        assert_eq!(read(&[&prefix(0)]).await.unwrap(), "");
    }

    #[tokio::test]
    async fn what_is_no_message_is_refused_in_the_words_of_grpc_go() {
        let too_large = [&prefix(LIMIT + 1)[..], b"a"].concat();
        let cases: [(&[&[u8]], Code, &str); 8] = [
            (&[], Code::Internal, "grpc: the call has no message"),
            (&[b"\0\0"], Code::Internal, "unexpected EOF"),
            (&[&prefix(3), b"ab"], Code::Internal, "unexpected EOF"),
            (&[&prefix(1), b"ab"], Code::Internal, "grpc: the call has more than one message"),
            (&[&prefix(1), b"a", &prefix(1), b"a"], Code::Internal, "more than one"),
            (&[b"\x01\0\0\0\x01a"], Code::Internal, "compressed flag set with identity"),
            (&[b"\x07\0\0\0\x01a"], Code::Internal, "unexpected payload format 7"),
            (
                &[&too_large],
                Code::ResourceExhausted,
                "grpc: received message larger than max (101 vs. 100)",
            ),
        ];
        for (pieces, code, text) in cases {
            let status = read(pieces).await.unwrap_err();
            assert_eq!(status.code(), code, "{pieces:?}");
            assert!(status.message().contains(text), "{status}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_stops_coming_ends_the_call() {
        let first: Result<_, std::convert::Infallible> = Ok(Frame::data(Bytes::from_static(&[0])));
        let frames =
            tokio_stream::StreamExt::chain(tokio_stream::iter([first]), tokio_stream::pending());
        let body = StreamBody::new(frames).boxed_unsync();
        let read = message(body, &Bodies::default().hold(), LIMIT, Duration::from_secs(9)).await;
        assert_eq!(read.unwrap_err().code(), Code::DeadlineExceeded);
    }

    #[test]
    fn the_patience_of_a_caller_is_a_number_and_a_unit() {
        let parse = |text: &str| parse_timeout(&HeaderValue::from_str(text).unwrap());
        for (text, time) in [
            ("1H", Duration::from_secs(3_600)),
            ("2M", Duration::from_secs(120)),
            ("99999999S", Duration::from_secs(99_999_999)),
            ("5m", Duration::from_millis(5)),
            ("7u", Duration::from_micros(7)),
            ("0n", Duration::ZERO),
        ] {
            assert_eq!(parse(text), Some(time), "{text}");
        }
        for text in ["", "S", "5", "5s", "-5S", "123456789S", "1.5S", " 1S"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
