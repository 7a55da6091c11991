//! What peers of a group say to each other.
//!
//! The order rule is a type: an [`Unbound`] message depends on no write of the sender and may leave
//! at once; a [`Bound`] one makes a promise that must be on stable storage before it leaves, so it
//! can only be sent behind a [`PersistId`](crate::base::PersistId).

use super::{Configuration, Entries};
use crate::base::{ClusterId, Index, LogId, NodeId, Term};
use alloc::vec::Vec;
use bytes::Bytes;

/// One place of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Where it stands.
    pub id: LogId,
    /// What it says.
    pub payload: Payload,
}

/// What an entry says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Payload {
    /// Appended by each new leader, so that it can commit (R4, Raft 8).
    Empty,
    /// For the state machine; opaque here.
    Command(Bytes),
    /// Who votes from here on.
    Configuration(Configuration),
}

/// One leader's replication towards one peer. Drawn anew whenever a peer is added or a term begins,
/// so that an acknowledgement given to an earlier one can never count for this one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct SessionId(pub u64);

/// One rebuilding of a replica by one of its processes, drawn at random when it begins: what its
/// disk held before counts for nothing under another number (R11).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct RebuildId(pub u64);

/// What a peer's answers say about itself besides the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Condition {
    /// It rebuilds: nothing it says may be counted (R11).
    pub rebuild: Option<RebuildId>,
    /// Its disk is full: it takes no entries.
    pub is_full: bool,
    /// What it knows to be committed.
    pub commit: Index,
}

/// What a snapshot stands for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SnapshotMeta {
    /// The last entry whose effect is inside.
    pub last: LogId,
    /// Who votes as of that entry.
    pub configuration: Configuration,
}

/// A message between peers of one group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// May leave at once.
    Unbound(Unbound),
    /// Leaves behind a write.
    Bound(Bound),
}

/// Messages that promise nothing about the sender's disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unbound {
    /// Would you vote for me in `term`, were I to ask? Raises no term (Raft thesis 9.6).
    PreVote {
        /// The term the sender would campaign in: its own plus one.
        term: Term,
        /// The sender's last entry.
        last: LogId,
    },
    /// Answer to a pre-vote. `term` is the asked one when granted, the answerer's own when not.
    PreVoteReply {
        /// See above.
        term: Term,
        /// Whether a vote would be given.
        granted: bool,
    },
    /// Replicates entries. Leaves before the leader's own write is durable; the leader counts
    /// itself only when it is.
    Append {
        /// The leader's term.
        term: Term,
        /// Echoed by the answer.
        session: SessionId,
        /// The entry just before `entries`.
        prev: LogId,
        /// Consecutive, possibly none.
        entries: Entries,
        /// The leader's commit index.
        commit: Index,
    },
    /// Keeps authority, carries the commit index and a read round.
    Heartbeat {
        /// The leader's term.
        term: Term,
        /// Echoed by the answer.
        session: SessionId,
        /// The leader's commit index, never beyond what the peer is known to hold.
        commit: Index,
        /// What the peer has acknowledged in this session: it finds out whether its disk still has
        /// it (R11).
        matched: Index,
        /// Echoed by the answer; confirms every read of this round or earlier. Never reused.
        round: u64,
        /// The leader answers reads by its lease, which the answer extends: the peer remembers
        /// that before it answers.
        lease: bool,
    },
    /// One piece of a snapshot.
    SnapshotChunk {
        /// The leader's term.
        term: Term,
        /// Echoed by the answer.
        session: SessionId,
        /// The leader's cluster: a snapshot of another one is refused.
        cluster: ClusterId,
        /// The snapshot it is of.
        meta: SnapshotMeta,
        /// Where this piece starts.
        offset: u64,
        /// Length of the whole.
        total: u64,
        /// [`Sum64`](crate::base::Sum64) of the whole.
        checksum: u64,
        /// The piece.
        data: Bytes,
    },
    /// Campaign now, without a pre-vote: the leader hands over (Raft thesis 3.10).
    TimeoutNow {
        /// The leader's term.
        term: Term,
    },
    /// A follower asks for a linearizable read index.
    ReadIndex {
        /// The follower's term.
        term: Term,
        /// Chosen by the follower, never reused by it.
        id: u64,
        /// An answer by the leader's lease will do.
        lease: bool,
    },
    /// A read at or after `index` is linearizable.
    ReadIndexReply {
        /// The leader's term.
        term: Term,
        /// As asked.
        id: u64,
        /// The commit index to wait for; `None` when the asked one cannot tell (it is not the
        /// leader).
        index: Option<Index>,
        /// Who has answered the leader nothing for an election time-out, in id order.
        silent: Vec<NodeId>,
    },
}

/// Messages that promise something the sender must have on its disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Bound {
    /// Vote for me. Behind the write of the candidate's own term and vote.
    Vote {
        /// The candidate's term.
        term: Term,
        /// The candidate's last entry.
        last: LogId,
        /// The old leader asked for this: leader stickiness does not apply.
        transfer: bool,
    },
    /// Behind the write of the voter's term and vote.
    VoteReply {
        /// The voter's term.
        term: Term,
        /// Whether it is granted.
        granted: bool,
    },
    /// Behind the write of the entries it acknowledges.
    AppendReply {
        /// The follower's term.
        term: Term,
        /// As received.
        session: SessionId,
        /// What happened.
        result: AppendResult,
        /// How the follower is.
        condition: Condition,
    },
    /// Behind the write of the follower's term.
    HeartbeatReply {
        /// The follower's term.
        term: Term,
        /// As received.
        session: SessionId,
        /// As received.
        round: u64,
        /// How the follower is.
        condition: Condition,
    },
    /// Behind the write of the snapshot when it is complete.
    SnapshotReply {
        /// The follower's term.
        term: Term,
        /// As received.
        session: SessionId,
        /// The snapshot it is about.
        last: LogId,
        /// Bytes held without a gap: where to go on from.
        received: u64,
        /// The whole is installed and durable.
        installed: bool,
        /// How the follower is.
        condition: Condition,
    },
}

/// Answer to an append.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendResult {
    /// All entries up to and including this one equal the leader's and are durable.
    Accepted {
        /// The last one.
        matched: Index,
    },
    /// `prev` is not in the follower's log.
    Rejected {
        /// The `prev` index of the refused append: stale refusals are told by it.
        prev: Index,
        /// The last entry of the follower that may agree: the leader skips back to it, or to the
        /// end of the same term in its own log, whichever is earlier.
        hint: LogId,
    },
}
