//! Bugs of the driver around raft-rs that can be switched on, to see the simulator find them.

use std::cell::Cell;

macro_rules! bugs {
    ($($bug:ident $name:literal $sentence:literal,)*) => {
        /// A planted bug.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Bug {
            $(#[doc = $sentence] $bug,)*
        }

        impl Bug {
            /// All of them.
            pub const ALL: &[Bug] = &[$(Bug::$bug,)*];

            /// Its name on command lines.
            pub fn name(self) -> &'static str {
                match self {
                    $(Bug::$bug => $name,)*
                }
            }
        }
    };
}

bugs! {
    AckBeforePersisted "ack-before-persisted"
        "Messages that promise leave before the write they rest on is durable.",
    CountsUnsynced "counts-unsynced"
        "raft-rs is told that a write is durable when it is issued.",
    VoteNotPersisted "vote-not-persisted"
        "The hard state is written without the vote.",
    TermNotPersisted "term-not-persisted"
        "The hard state is never written.",
    LeadsBeforeVoted "leads-before-voted"
        "A sole voter appends and sends before its own vote is durable, as raft-rs has it.",
    CommitBeforeEntries "commit-before-entries"
        "The commit index is on the disk before the entries that it covers.",
    EntriesLostAtRestart "entries-lost-at-restart"
        "A start forgets the last entry of the log.",
    AppliedForgotten "applied-forgotten"
        "A start does not say what the snapshot has applied.",
    ReadWithoutRound "read-without-round"
        "Leaders answer reads without asking a quorum (`ReadOnlyOption::LeaseBased`).",
    ReadBeforeApplied "read-before-applied"
        "A read does not wait until the entries below its index are applied.",
    ReadIdReused "read-id-reused"
        "The contexts of reads recur: a late answer to an earlier read counts for a later one.",
    SnapshotWithoutVoters "snapshot-without-voters"
        "A snapshot that is sent names the founders as voters.",
    SnapshotNeverReported "snapshot-never-reported"
        "raft-rs is never told that a snapshot did not arrive.",
    TicksOverSnapshot "ticks-over-snapshot"
        "Time goes on for raft-rs while a snapshot is being written.",
    JointNotApplied "joint-not-applied"
        "A change of two voters is applied without the joint configuration.",
}

impl Bug {
    /// By its name.
    pub fn named(name: &str) -> Option<Bug> {
        Bug::ALL.iter().copied().find(|bug| bug.name() == name)
    }
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Plants a bug in every replica that this thread runs from here on, or takes it out.
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether this one is planted.
pub(crate) fn is_planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}
