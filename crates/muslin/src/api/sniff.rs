//! Tells what a client speaks by the first bytes it sends, and gives them back to be read again.

use super::between::{Between, Through};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

/// What HTTP/2 connections begin with (RFC 9113, 3.4).
const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The first byte of a TLS connection: a record that carries a handshake (RFC 8446, 5.1).
pub(super) const TLS_HANDSHAKE: u8 = 0x16;

/// A version of HTTP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Speech {
    Http1,
    Http2,
}

/// Reads until it is clear which version the client speaks. Ends with an error when the client does
/// before that; the caller sets a time limit.
pub(super) async fn sniff<S>(mut stream: S) -> io::Result<(Speech, Rewound<S>)>
where
    S: AsyncRead + Unpin,
{
    let mut first = [0; HTTP2_PREFACE.len()];
    let mut len = 0;
    while len < first.len() && first[..len] == HTTP2_PREFACE[..len] {
        let read = stream.read(&mut first[len..]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        len += read;
    }
    let speech = if first == *HTTP2_PREFACE { Speech::Http2 } else { Speech::Http1 };
    Ok((speech, Through::new(stream, Again { first, len, given: 0 })))
}

/// A stream whose first bytes were read already, and are read again.
pub(super) type Rewound<S> = Through<S, Again>;

/// What is read again.
pub(super) struct Again {
    first: [u8; HTTP2_PREFACE.len()],
    len: usize,
    given: usize,
}

impl Between for Again {
    fn read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.given == self.len {
            return Pin::new(stream).poll_read(cx, buf);
        }
        let take = buf.remaining().min(self.len - self.given);
        buf.put_slice(&self.first[self.given..self.given + take]);
        self.given += take;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn told_apart(sent: &[u8]) -> io::Result<(Speech, Vec<u8>)> {
        let (speech, mut rewound) = sniff(sent).await?;
        let mut read = Vec::new();
        rewound.read_to_end(&mut read).await?;
        Ok((speech, read))
    }

    #[tokio::test]
    async fn what_was_sniffed_is_read_again() {
        let get = b"GET / HTTP/1.1\r\n\r\n".to_vec();
        assert_eq!(told_apart(&get).await.unwrap(), (Speech::Http1, get));
        let http2 = [HTTP2_PREFACE.as_slice(), b"\0\0\0\x04"].concat();
        assert_eq!(told_apart(&http2).await.unwrap(), (Speech::Http2, http2));
    }

    #[tokio::test]
    async fn a_preface_that_goes_wrong_is_not_http2() {
        let almost = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r!".to_vec();
        assert_eq!(told_apart(&almost).await.unwrap(), (Speech::Http1, almost));
    }

    #[tokio::test]
    async fn half_a_preface_is_an_error_once_the_client_has_gone() {
        let error = told_apart(b"PRI * HT").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
