//! What must never happen, watched at every step.
//!
//! Some see only what clients see (answers, events); most look inside: at every log, every disk and
//! every promise on the wire. Each names the invariant it guards; `docs` of the project list them.
//!
//! | file | guards |
//! | --- | --- |
//! | [`leaders`] | R1 |
//! | [`logs`] | R2, R3, R4, R8: logs match, commits are on a quorum of disks, leaders complete |
//! | [`promises`] | R5: votes and acknowledgements leave only when the disk has what they promise |
//! | [`quorums`] | R1, R8: leaders have the votes of a quorum, quorums overlap |
//! | [`digests`] | R6 |
//! | [`roll`] | M1 to M3, by the committed record |
//! | [`seats`] | who is given a vote answers and has caught up; who is down has its grace time |
//! | `nodes::strangers` | M4 |
//! | [`ledger`] | K1, R7: every reply against a model, in commit order and in real time |
//! | [`watches`] | K2 |
//! | [`leases`], [`timed`] | K3 |
//! | [`locks`] | K4 |
//! | [`once`] | K1 of requests with a key |

pub(crate) mod digests;
pub(crate) mod leaders;
pub(crate) mod leases;
pub(crate) mod ledger;
pub(crate) mod locks;
pub(crate) mod logs;
pub(crate) mod once;
pub(crate) mod promises;
pub(crate) mod quorums;
pub(crate) mod roll;
pub(crate) mod seats;
pub(crate) mod timed;
pub(crate) mod watches;

use crate::time::Time;
use std::fmt;

/// An invariant is broken: which, and the facts that contradict each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Broken {
    pub(crate) invariant: &'static str,
    pub(crate) facts: String,
}

impl Broken {
    pub(crate) fn new(invariant: &'static str, facts: String) -> Broken {
        Broken { invariant, facts }
    }
}

/// A run in which an invariant was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// The seed that shows it.
    pub seed: u64,
    /// When.
    pub at: Time,
    /// Which invariant, by its number (`R1`, `K2`, ..), or `progress`, `answers`, `panic`,
    /// `storm`.
    pub invariant: &'static str,
    /// The facts that contradict each other.
    pub facts: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { seed, at, invariant, facts } = self;
        write!(f, "violation of {invariant} seed={seed} at={at}: {facts}")
    }
}

impl std::error::Error for Violation {}
