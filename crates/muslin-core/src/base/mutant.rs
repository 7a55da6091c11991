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
    /// The vector of what peers have is not sorted before its middle is taken (openraft 1802).
    CommitUnsorted = "commit-unsorted",
    /// A new leader takes it that its peers have what it has.
    MatchAssumed = "match-assumed",
    /// Learners count for commits.
    LearnerCounted = "learner-counted",
    /// A refusal counts as a vote (openraft 0.10-alpha.2).
    RefusedVoteCounted = "refused-vote-counted",
    /// Votes of an earlier term count.
    OldVotesCounted = "old-votes-counted",
    /// Whoever would vote has voted.
    PreVotesCounted = "pre-votes-counted",
    /// Of two logs the longer wins, whatever its last term (SlimCluster 0.9).
    VoteByIndexOnly = "vote-by-index-only",
    /// A term is entered and not written.
    TermNotPersisted = "term-not-persisted",
    /// The higher term in a refused pre-vote is not taken over (openraft 1796).
    PreVoteDeadlock = "pre-vote-deadlock",
    /// A leader that hears nobody leads on.
    DeafLeaderStays = "deaf-leader-stays",
    /// A heartbeat tells the leader's commit index, whatever the peer has acknowledged.
    HeartbeatCommits = "heartbeat-commits",
    /// An append that comes late drops what came after it.
    TruncatesKnown = "truncates-known",
    /// The voters of entries that were truncated stay in force.
    TruncationKeepsVoters = "truncation-keeps-voters",
    /// A snapshot is installed, and the voters of before stay in force (openraft 1808).
    InstallKeepsVoters = "install-keeps-voters",
    /// A snapshot names the oldest voters the replica knows of.
    SnapshotWithoutVoters = "snapshot-without-voters",
    /// A snapshot is installed, and the disk keeps the log that conflicts with it (openraft 559).
    InstallKeepsLog = "install-keeps-log",
    /// Pieces of two snapshots are put together, and the whole is not verified.
    SnapshotsMixed = "snapshots-mixed",
    /// Voters change in one step, however many they are.
    NoJoint = "no-joint",
    /// A change begins before the one before it is committed.
    TwoChangesAtOnce = "two-changes-at-once",
    /// Voters change in one step before the leader has committed in its term (Raft, 2015).
    ChangeBeforeOwnTerm = "change-before-own-term",
    /// A question for a read index is asked again under its old number (etcd 20418).
    ReadIdReused = "read-id-reused",
    /// All rounds of heartbeats have the same number.
    ReadRoundReused = "read-round-reused",
    /// A leader that is deposed answers the reads that wait.
    DeposedAnswersReads = "deposed-answers-reads",
    /// What a node has settled is no longer known as applied.
    RetriesForgottenEarly = "retries-forgotten-early",
    /// A watch begins before the compacted revision, without what is gone (etcd 15271).
    WatchSkipsCompacted = "watch-skips-compacted",
    /// A watch is not told what came inside a snapshot.
    InstallLosesEvents = "install-loses-events",
    /// A watch is told the last revision again after a snapshot.
    InstallRepeatsEvents = "install-repeats-events",
    /// A deposed leader hands the end of a lease to the next one.
    LeaseEndForwarded = "lease-end-forwarded",
    /// A log that is damaged in its middle is cut there, as if the rest had never been synced.
    DamageCutAsTail = "damage-cut-as-tail",
    /// A replica whose disk is gone begins as if it were new (SlimCluster 0.9).
    DiskLossForgotten = "disk-loss-forgotten",
    /// A sync that failed is tried again, which succeeds and saves nothing (Rebello, ATC 2020).
    SyncErrorIgnored = "sync-error-ignored",
    /// A leader goes on as before with a replica whose disk lost what it acknowledged.
    LossUnnoticed = "loss-unnoticed",
    /// A crash leaves a snapshot's index with the state of the one before it (etcd 3.5).
    IndexAheadOfState = "index-ahead-of-state",
    /// A replica ends its rebuilding with the first configuration without its vote, however old.
    RebuildEndsEarly = "rebuild-ends-early",
    /// A follower whose disk is full acknowledges entries it does not take.
    FullFollowerAcks = "full-follower-acks",
    /// A leader's lease lasts as long as if all clocks were equal.
    LeaseIgnoresDrift = "lease-ignores-drift",
    /// A leader that has told another to campaign goes on answering by its lease.
    LeaseSurvivesTransfer = "lease-survives-transfer",
    /// A replica that starts gives votes, whatever lease it had a part in before.
    LeaseForgotten = "lease-forgotten",
    /// A passive leader answers reads without asking a quorum.
    PassiveReadWithoutRound = "passive-read-without-round",
    /// A replica installs a snapshot of another cluster.
    SnapshotOfAnyCluster = "snapshot-of-any-cluster",
    /// A node numbers its questions about leases from 1 at each start.
    LeaseAnswerMixed = "lease-answer-mixed",
    /// An assignment is carried out whatever was assigned since it was decided.
    StaleAssignmentTaken = "stale-assignment-taken",
    /// A node whose disk is full is named to lead.
    FullNodeNamed = "full-node-named",
    /// A passive replica asks for votes although another is named.
    UnnamedCampaigns = "unnamed-campaigns",
    /// A replica that may not ask for votes does not say so when it is named.
    NamedNeverDeclines = "named-never-declines",
    /// A replica that has more than the one that asks for its vote leaves it at that.
    LongerLogStaysSilent = "longer-log-stays-silent",
    /// A query waits where no leader is known, and nobody is asked.
    LeaderNotSought = "leader-not-sought",
    /// A write under a fence is carried out whether or not the fence holds.
    FenceNotCompared = "fence-not-compared",
    /// Places in a queue are served in the order of their keys.
    QueueServedByKey = "queue-served-by-key",
    /// A request with a key is carried out whether or not its receipt is there.
    ReceiptNotLookedFor = "receipt-not-looked-for",
    /// A snapshot leaves out the receipts of a state machine.
    ReceiptForgottenInSnapshot = "receipt-forgotten-in-snapshot",
    /// A state machine remembers the last command only.
    ReceiptsForgottenEarly = "receipts-forgotten-early",
    /// A node that comes to lead does not know of leases that puts made.
    PutLeaseOutlivesLeader = "put-lease-outlives-leader",
    /// The time of a lease that a put made is counted in halves.
    PutTtlHalved = "put-ttl-halved",
    /// `Down` wins whatever life it is about (foca 2.0).
    DownBeatsAnyLife = "down-beats-any-life",
    /// "It did not answer me" is taken for an answer.
    NackIsAck = "nack-is-ack",
    /// A refutation leaves the life as it was.
    RefutesInSameLife = "refutes-in-same-life",
    /// A node that was removed is admitted again under its id.
    IdReused = "id-reused",
    /// A token admits any number of nodes, whatever it says.
    TokenUseUncounted = "token-use-uncounted",
    /// What is left of removed members is collected in the epoch in which they were removed.
    CollectedWithoutEpoch = "collected-without-epoch",
    /// A node is declared down on the word of any one watcher.
    WatcherMajorityIgnored = "watcher-majority-ignored",
    /// A learner votes as soon as there is a seat, whether it answers or not.
    PromotionLowersSurvival = "promotion-lowers-survival",
    /// A learner votes whether or not it has what the others have.
    PromotedBehind = "promoted-behind",
    /// A voter that has to go goes at once, spare or not.
    DismissedAtOnce = "dismissed-at-once",
    /// A voter too many stays.
    SurplusStays = "surplus-stays",
    /// A member that is drained or demoted may vote.
    UnwantedVotes = "unwanted-votes",
    /// A spare takes the seat of a voter as soon as that is declared down.
    ReplacedBeforeGrace = "replaced-before-grace",
    /// A join that waits for a role is let in by whatever is admitted next.
    ReleasedWithoutRole = "released-without-role",
    /// A member that is gone is removed whenever somebody looks.
    ReapedTooSoon = "reaped-too-soon",
    /// Members that are gone when the epoch rises are of the one that begins.
    GoneFollowsEpoch = "gone-follows-epoch",
    /// Groups are made however few members live.
    SmallClusterAssigns = "small-cluster-assigns",
    /// A feed tells all that is in the log, committed or not.
    FeedsUncommitted = "feeds-uncommitted",
    /// A node that is fed takes entries that do not follow those it has.
    FeedSkipsGap = "feed-skips-gap",
    /// A voter feeds from where it stands itself, whatever it was asked for.
    FeedBeginsLate = "feed-begins-late",
    /// Entries that wait for an answer to those under way go on waiting when it comes.
    GatheredNeverSent = "gathered-never-sent",
    /// A follower leaves it at an acknowledgement that it gave in an earlier session.
    AckOfOlderSessionKept = "ack-of-older-session-kept",
    /// Of a transaction only what will run is checked.
    AuthChecksTakenBranchOnly = "auth-checks-taken-branch-only",
    /// Rights are checked by the node that takes a command, not where it stands in the log.
    AuthCheckedBeforeLog = "auth-checked-before-log",
    /// A token of before auth was disabled is good when it is enabled again.
    TokenSurvivesDisable = "token-survives-disable",
    /// A deletion tells its pairs to somebody who may not read them.
    PrevKvUnchecked = "prev-kv-unchecked",
    /// A watch goes on whose user may not read any more what it tells.
    WatchOutlivesRight = "watch-outlives-right",
    /// What makes room in the ring of changes is not known to be gone.
    RingDropsAtWrap = "ring-drops-at-wrap",
    /// A watch that has caught up by history goes on at the end of the ring.
    CursorSkipsAfterHistory = "cursor-skips-after-history",
    /// Watches are told to have seen a revision before it is there.
    EventBeforeCommit = "event-before-commit",
    /// A ticket lets in whoever shows it, whichever cluster gave it.
    TicketOfAnyCluster = "ticket-of-any-cluster",
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
