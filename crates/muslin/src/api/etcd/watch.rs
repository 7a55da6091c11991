//! Changes as they happen. One stream carries many watches, and is served by one task: it is woken
//! when some of them have something to read, and reads as fast as its own reader does.
//!
//! # Invariants
//! 1. Everything of one watch leaves in order: `created`, then events of rising revisions, then at
//!    most one `canceled`.
//! 2. A progress answer for the whole stream leaves after every event at or below its revision
//!    (K2).
//! 3. A reader that does not read holds up its own stream only. Nothing waits for it but the few
//!    answers that are on their way; after a while its watches are cancelled, and it is told from
//!    where to watch again.
//!
//! Events are encoded once, for all: an answer is a head of its own and a copy of them.

mod answer;
mod opening;
mod rounds;
mod stream;

pub(crate) use opening::{WATCH, WatchStreams};

/// Most watches on one stream: more than any client library opens, and a bound on what one
/// connection can make a node hold.
pub(super) const WATCHES_PER_STREAM_MAX: usize = 10_000;
