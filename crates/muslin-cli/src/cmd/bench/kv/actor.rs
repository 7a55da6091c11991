//! What the driver of a connection makes of clients and watchers alike.

use super::call::Op;
use std::time::Instant;

/// Parts of a run, in their order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// Everything that will be read is written.
    Fill,
    /// Leases are granted, nodes that are behind are waited for.
    Ready,
    /// The load itself.
    Load,
    /// What was written last is read back; leases are revoked.
    Close,
}

/// A part, and until when it goes on at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phase {
    pub(super) part: Part,
    pub(super) is_measured: bool,
    pub(super) until: Instant,
}

/// What somebody does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// This call.
    Call(Op),
    /// Nothing before then.
    At(Instant),
    /// Nothing any more in this phase.
    Done,
}

/// Somebody with one call at a time.
pub(super) trait Actor: Send + 'static {
    /// A phase begins.
    fn begin(&mut self) {}
    /// Asked whenever no call is under way.
    fn next(&mut self, phase: &Phase, now: Instant) -> Next;
    /// Since when a call is under way that must be answered.
    fn since(&self) -> Option<Instant>;
    /// A message of the call's answer has come.
    fn message(&mut self, message: &[u8], phase: &Phase, now: Instant);
    /// The call, or the stream that stays, is over.
    fn end(&mut self, end: Result<(), String>, phase: &Phase, now: Instant);
}
