//! Whether a store that keeps its promises could have answered so.
//!
//! Every change of the store has a revision, and every answer names the revision it speaks of. So
//! nothing need be searched for: the revisions *are* the order that the store claims, and the
//! checkers verify the claim.
//!
//! 1. `timeline`: all watches, on all nodes, told one and the same sequence of changes, without a
//!    gap, without a repetition (K2). That sequence is the history by revision; what became of a
//!    call whose outcome is unknown stands in it, since a value names its write.
//! 2. `effects`: every acknowledged write stands in it at its revision, with all its effects;
//!    nothing stands there that nobody asked for, twice, or that was refused (K1, R3).
//! 3. `order`: the order by revision agrees with real time: what began after something had been
//!    answered or told comes after it (R7).
//! 4. `replay`: every read, compare and listing is what the sequence gives at its revision, for one
//!    key and across keys; and at the end every node holds the same (R6).
//! 5. `leases`: no lease ended before its time (K3).
//! 6. `fences`: whoever was told that it has a lock was the first in its queue; a write with a
//!    fence was done while that very place was the first, and refused when it was gone.
//! 7. `work`: each item of the queue that was pushed is done once, or there in the end.
//!
//! 2 to 4 together are strict serializability (K1): the sequence is the witness.

mod effects;
mod fences;
mod findings;
mod leases;
mod order;
mod replay;
mod timeline;
mod work;

#[cfg(test)]
mod tests;

use crate::history::{History, Outcome};
pub use fences::Locks;
pub use findings::Findings;

/// What there is to say of a history.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// What must not be.
    pub findings: Findings,
    /// Calls.
    pub ops: usize,
    /// Calls whose outcome their client does not know.
    pub unknown: usize,
    /// Of these, how many took effect.
    pub unknown_done: usize,
    /// Revisions in the sequence.
    pub revisions: usize,
    /// Changes that watches told.
    pub told: usize,
    /// What there is to say of locks.
    pub locks: fences::Locks,
    /// Items of the queue that are done.
    pub done: usize,
}

/// Judges a whole history.
pub fn check(history: &History) -> Verdict {
    let mut findings = Findings::default();
    for nonsense in &history.nonsense {
        findings.add("nonsense", nonsense.clone());
    }
    let timeline = timeline::Timeline::of(history, &mut findings);
    let unknown_done = effects::check(history, &timeline, &mut findings);
    order::check(history, &timeline, &mut findings);
    replay::check(history, &timeline, &mut findings);
    leases::check(history, &timeline, &mut findings);
    let locks = fences::check(history, &timeline, &mut findings);
    let done = work::check(history, &mut findings);
    let is_unknown = |outcome: &Outcome| matches!(outcome, Outcome::Unknown);
    Verdict {
        findings,
        ops: history.ops.len(),
        unknown: history.ops.iter().filter(|op| is_unknown(&op.outcome)).count(),
        unknown_done,
        revisions: timeline.len(),
        told: history.watches.iter().map(|watch| watch.changes.len()).sum(),
        locks,
        done,
    }
}
