//! A stream with something between it and who reads and writes it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What stands between: it does something of its own to what is read or written, and passes on the
/// rest as it is. What it does not say is passed on.
pub(super) trait Between: Unpin {
    /// As [`AsyncRead::poll_read`].
    fn read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(stream).poll_read(cx, buf)
    }

    /// What is written in place of these bytes, if it says something else: then as
    /// [`AsyncWrite::poll_write`]. It is asked again with the same bytes until it is ready.
    fn write_instead<S: AsyncWrite + Unpin>(
        &mut self,
        _stream: &mut S,
        _cx: &mut Context<'_>,
        _bytes: &[u8],
    ) -> Option<Poll<io::Result<usize>>> {
        None
    }
}

/// A stream that is read and written through what stands between.
pub(super) struct Through<S, B> {
    stream: S,
    between: B,
}

impl<S, B: Between> Through<S, B> {
    pub(super) fn new(stream: S, between: B) -> Through<S, B> {
        Through { stream, between }
    }
}

impl<S: AsyncRead + Unpin, B: Between> AsyncRead for Through<S, B> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.between.read(&mut this.stream, cx, buf)
    }
}

impl<S: AsyncWrite + Unpin, B: Between> AsyncWrite for Through<S, B> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        match this.between.write_instead(&mut this.stream, cx, buf) {
            Some(written) => written,
            None => Pin::new(&mut this.stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
        match this.between.write_instead(&mut this.stream, cx, first) {
            Some(written) => written,
            None => Pin::new(&mut this.stream).poll_write_vectored(cx, bufs),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Says `no` in place of what begins with a question mark.
    struct Refusing;

    impl Between for Refusing {
        fn write_instead<S: AsyncWrite + Unpin>(
            &mut self,
            stream: &mut S,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Option<Poll<io::Result<usize>>> {
            if !bytes.starts_with(b"?") {
                return None;
            }
            Some(Pin::new(stream).poll_write(cx, b"no").map_ok(|_| bytes.len()))
        }
    }

    #[tokio::test]
    async fn what_is_not_its_own_is_passed_on() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut near = Through::new(near, Refusing);
        far.write_all(b"in").await.unwrap();
        let mut read = [0; 2];
        near.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"in");

        assert!(near.is_write_vectored(), "as the stream itself");
        near.write_all(b"out,").await.unwrap();
        let pieces = [b"".as_slice(), b"in ", b"pieces,"].map(IoSlice::new);
        assert_eq!(near.write_vectored(&pieces).await.unwrap(), 10, "all of them at once");
        near.write_all(b"?one").await.unwrap();
        let asked = [b"".as_slice(), b"?two"].map(IoSlice::new);
        assert_eq!(near.write_vectored(&asked).await.unwrap(), 4);
        near.flush().await.unwrap();
        near.shutdown().await.unwrap();
        let mut all = String::new();
        far.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "out,in pieces,nono");
    }
}
