//! Calls a node's HTTP API.
//!
//! A [`Client`] names one node; every call makes one connection, which is what commands and tests
//! need: no pool, nothing to time out while idle. Answers are whole ([`Client::json`],
//! [`Client::bytes`]) or go on as [`Lines`]. Errors are typed by what a caller can do about them
//! ([`ClientError`]); a node that refuses for the moment and says for how long is asked again.
//!
//! # Limits
//! Connecting takes at most [`CONNECT_TIMEOUT`], a whole answer at most the client's time-out and
//! [`ANSWER_BYTES_MAX`]; a line at most [`LINE_BYTES_MAX`].
//!
//! # Not here
//! etcd's API (any gRPC client), finding another node when one does not answer.

mod call;
mod error;
mod lines;
mod pieces;
#[cfg(test)]
mod tests;

pub use call::{ANSWER_BYTES_MAX, Answer, CONNECT_TIMEOUT, Call, Client};
pub use error::ClientError;
pub use lines::{LINE_BYTES_MAX, Lines};
pub use pieces::Pieces;
