//! Planted bugs, to show that the tests can see.
//!
//! Each is a bug that some implementation shipped. Without the `mutants` feature all of this
//! compiles to `false`; with it, one bug at a time can be switched on in a process, and the
//! simulator must find it.

macro_rules! mutants {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal),+ $(,)?) => {
        /// One planted bug.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u32)]
        pub enum Mutant {
            /// The code as it should be.
            None = 0,
            $($(#[doc = $doc])* $name),+
        }

        impl Mutant {
            /// All planted bugs, without `None`.
            pub const ALL: &'static [Mutant] = &[$(Mutant::$name),+];

            /// Its name on command lines.
            pub fn name(self) -> &'static str {
                match self {
                    Mutant::None => "none",
                    $(Mutant::$name => $text),+
                }
            }

            /// By its name.
            pub fn named(name: &str) -> Option<Mutant> {
                Mutant::ALL.iter().copied().find(|mutant| mutant.name() == name)
            }
        }
    };
}

mutants! {
    /// A follower acknowledges entries before they are durable.
    AckBeforeDurable = "ack-before-durable",
    /// A leader counts its own copy before it is durable.
    LeaderCountsUnsynced = "leader-counts-unsynced",
    /// Entries of an older term commit by counting (Raft figure 8).
    CommitOldTerm = "commit-old-term",
    /// Votes are given to candidates whose log lags.
    VoteWithoutLogCheck = "vote-without-log-check",
    /// Votes are not written before they are given.
    VoteNotPersisted = "vote-not-persisted",
    /// A follower keeps entries that conflict with the leader's.
    NoTruncation = "no-truncation",
    /// A leader answers reads without asking a quorum.
    ReadWithoutQuorum = "read-without-quorum",
    /// A new leader answers reads before it has committed in its own term.
    ReadBeforeOwnTerm = "read-before-own-term",
    /// A retried proposal is applied again.
    RetryAppliedTwice = "retry-applied-twice",
    /// A snapshot leaves out the table of applied proposals.
    SnapshotForgetsRetries = "snapshot-forgets-retries",
    /// A watch from a past revision begins one too late.
    WatchOffByOne = "watch-off-by-one",
    /// A new leader ends leases by the time they were granted, not kept alive.
    LeaseEndsEarly = "lease-ends-early",
    /// A joint configuration commits with a majority of the new voters alone.
    JointCountsNewOnly = "joint-counts-new-only",
    /// A leader counts a replica whose disk lost what it acknowledged.
    RebuildingReplicaCounts = "rebuilding-replica-counts",
    /// A replica whose disk lost what it promised gives votes.
    RebuildingReplicaVotes = "rebuilding-replica-votes",
}

#[cfg(feature = "mutants")]
mod switch {
    use super::Mutant;
    use core::sync::atomic::{AtomicU32, Ordering};

    static ACTIVE: AtomicU32 = AtomicU32::new(0);

    /// Switches one planted bug on for this process.
    pub fn activate(mutant: Mutant) {
        ACTIVE.store(mutant as u32, Ordering::Relaxed);
    }

    /// Whether this planted bug is on.
    pub fn is_active(mutant: Mutant) -> bool {
        ACTIVE.load(Ordering::Relaxed) == mutant as u32
    }
}

#[cfg(feature = "mutants")]
pub use switch::{activate, is_active};

/// Whether this planted bug is on: never, without the `mutants` feature.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub fn is_active(_: Mutant) -> bool {
    false
}
