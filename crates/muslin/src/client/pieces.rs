//! An answer of any length.

use super::ClientError;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::time::Duration;
use tokio::time::timeout;

/// Reads an answer as it comes.
pub struct Pieces {
    body: Incoming,
    address: String,
    patience: Duration,
}

impl Pieces {
    pub(super) fn new(body: Incoming, address: &str, patience: Duration) -> Pieces {
        Pieces { body, address: String::from(address), patience }
    }

    /// The next piece; `None` when that was all. Waits no longer for each than for a whole answer.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let frame = timeout(self.patience, self.body.frame()).await;
            let late = |_| ClientError::Timeout { address: self.address.clone() };
            match frame.map_err(late)? {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => {
                    let (address, reason) = (self.address.clone(), error.to_string());
                    return Err(ClientError::Protocol { address, reason });
                }
                None => return Ok(None),
            }
        }
    }
}
