//! Messages on a QUIC stream: a length of four bytes, then the message.

use super::hello::Refusal;
use crate::transport::outbox::LENGTH_BYTES;
use bytes::{Buf, Bytes, BytesMut};
use quinn::{ConnectionError, ReadError, RecvStream};

/// Room made for a message before its bytes have come; it grows with them.
const FIRST_ALLOCATION_BYTES_MAX: usize = 64 << 10;

/// Most bytes taken from QUIC at once.
const CHUNK_BYTES_MAX: usize = 256 << 10;

/// Why there are no more messages.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    /// The peer is not taken, or said something not allowed.
    #[error("refused: {0:?}")]
    Refused(Refusal),
    /// The connection ended, or could not be made.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The peer ended the stream.
    #[error("the stream ended")]
    Ended,
    /// It took too long.
    #[error("no answer in time")]
    TimedOut,
    /// A dial was given up because something better came.
    #[error("given up")]
    Abandoned,
    /// The dial could not even begin.
    #[error(transparent)]
    Dial(#[from] quinn::ConnectError),
}

impl From<Refusal> for StreamError {
    fn from(refusal: Refusal) -> StreamError {
        StreamError::Refused(refusal)
    }
}

impl From<ReadError> for StreamError {
    fn from(error: ReadError) -> StreamError {
        match error {
            ReadError::ConnectionLost(lost) => StreamError::Connection(lost),
            _ => StreamError::Ended,
        }
    }
}

/// Cuts a stream into messages. Each gets memory of its own: a message kept for long must not keep
/// the packets it came in.
pub(super) struct FrameReader {
    stream: RecvStream,
    chunk: Bytes,
}

impl FrameReader {
    pub(super) fn new(stream: RecvStream) -> FrameReader {
        FrameReader { stream, chunk: Bytes::new() }
    }

    /// The next message; `None` when the stream ended between two.
    pub(super) async fn next(&mut self, bytes_max: usize) -> Result<Option<Bytes>, StreamError> {
        let mut length = [0; LENGTH_BYTES];
        let mut at = 0;
        while at < LENGTH_BYTES {
            if self.chunk.is_empty() && !self.refill().await? {
                return if at == 0 { Ok(None) } else { Err(StreamError::Ended) };
            }
            length[at] = self.chunk.get_u8();
            at += 1;
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > bytes_max {
            return Err(Refusal::Frame.into());
        }
        let mut frame = BytesMut::with_capacity(length.min(FIRST_ALLOCATION_BYTES_MAX));
        while frame.len() < length {
            if self.chunk.is_empty() && !self.refill().await? {
                return Err(StreamError::Ended);
            }
            let taken = self.chunk.split_to(self.chunk.len().min(length - frame.len()));
            frame.extend_from_slice(&taken);
        }
        Ok(Some(frame.freeze()))
    }

    /// Waits for more bytes; false at the end of the stream.
    async fn refill(&mut self) -> Result<bool, StreamError> {
        match self.stream.read_chunk(CHUNK_BYTES_MAX, true).await? {
            Some(chunk) => {
                self.chunk = chunk.bytes;
                Ok(true)
            }
            None => Ok(false),
        }
    }
}
