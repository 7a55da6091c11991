//! An answer that goes on, one JSON value per line.

use super::ClientError;
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;

/// Longest line taken: the largest value, written in base64, with room for its key and numbers.
pub const LINE_BYTES_MAX: usize = 8 << 20;

/// Reads an answer line by line.
pub struct Lines {
    body: Incoming,
    waiting: BytesMut,
    /// How much of `waiting` holds no end of a line.
    searched: usize,
    address: String,
}

impl Lines {
    pub(super) fn new(body: Incoming, address: &str) -> Lines {
        Lines { body, waiting: BytesMut::new(), searched: 0, address: String::from(address) }
    }

    /// The next line, without its end; `None` when the node has ended the answer. Waits as long as
    /// it takes.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            if let Some(line) = self.take_line() {
                return Ok(Some(line));
            }
            if self.waiting.len() > LINE_BYTES_MAX {
                return Err(self.broken("a line is too long"));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.waiting.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(self.broken(&error.to_string())),
                None if self.waiting.is_empty() => return Ok(None),
                None => return Err(self.broken("the answer ended within a line")),
            }
        }
    }

    fn take_line(&mut self) -> Option<Bytes> {
        let found = self.waiting[self.searched..].iter().position(|byte| *byte == b'\n');
        let Some(end) = found.map(|position| self.searched + position) else {
            self.searched = self.waiting.len();
            return None;
        };
        let line = self.waiting.split_to(end).freeze();
        self.waiting.advance(1);
        self.searched = 0;
        Some(line)
    }

    fn broken(&self, reason: &str) -> ClientError {
        ClientError::Protocol { address: self.address.clone(), reason: String::from(reason) }
    }
}
