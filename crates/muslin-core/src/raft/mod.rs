//! Consensus: a Raft group as a value.
//!
//! Several replicas keep one log. What a quorum has on its disks is committed: it stays for ever,
//! and every replica hands it out in the same order. [`Raft`] is one replica of one group; the
//! control group and every shard group are driven by the same code. It is stepped with an [`Input`]
//! and answers with [`Output`]s; it never reads a clock, a disk or a socket. The protocol is Raft
//! (Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm", 2014, cited by
//! section) with what the thesis (Ongaro 2014) adds to make it usable.
//!
//! # The protocol
//! **Terms and votes** (5.2; `election.rs`). Time is cut into terms, each with one leader at most.
//! A [`Role::Follower`] that hears no leader for a random time asks [`Unbound::PreVote`], which
//! raises no term; if a quorum would elect it, it enters the next term as a [`Role::Candidate`] and
//! sends [`Bound::Vote`]. A vote goes to the first candidate of a term whose log is not behind
//! (5.4.1). Whoever has heard a leader within the shortest time-out ignores both requests, unless
//! the leader itself hands over. A leader that no quorum answers for the longest time-out steps
//! down (6.2 of the thesis). A sole voter campaigns the moment it starts.
//!
//! **Replication** (5.3; `replication.rs`, `progress.rs`, `follower.rs`). A [`Role::Leader`] begins
//! with an empty entry of its own. It writes entries and sends [`Unbound::Append`]s at the same
//! time. A peer whose log is known is streamed to, within a window of messages and bytes; one whose
//! log is not known is probed with one append at a time. A refusal names the last entry that may
//! agree, by term, so that a whole term is skipped at once. Messages may be lost, doubled or late:
//! an answer to a heartbeat after a silence makes the leader ask again. A new commit index is told
//! to idle peers at once.
//!
//! **Reads** (8; thesis 6.4; `reads.rs`). Reads gather, one round of [`Unbound::Heartbeat`]s under
//! a fresh number confirms them all. Followers ask the leader for an index by
//! [`Unbound::ReadIndex`].
//!
//! **Members** (6; `changes.rs`). A [`Change`] of voters goes through a joint configuration, in
//! force as soon as it is appended and left as soon as it is committed. Learners come and go in one
//! step. Truncation brings the earlier configuration back.
//!
//! **Snapshots** (7; `snapshots.rs`). A saved snapshot lets the log go but for a tail. A peer that
//! needs what is gone gets a snapshot in pieces, one under way at a time, from where it stands; the
//! whole is verified, written, and replaces the peer's log. A replica that joins begins with one.
//!
//! **The order** (`durability.rs`). Writes are numbered. A [`Bound`] message names the write that
//! must be durable before it leaves; an [`Unbound`] one promises nothing.
//!
//! # Invariants
//! - **R1** One leader per term.
//! - **R2** Logs that agree on an entry agree on all before it.
//! - **R3** A committed entry is never lost or changed, and is in the log of every later leader.
//! - **R4** Only entries of the leader's own term commit by being counted.
//! - **R5** Persisted term and vote never go back; one vote per term.
//! - **R6** The state handed out is a function of the committed log: entries leave by
//!   [`Output::Commit`] or inside [`Output::Install`], in order, exactly once.
//! - **R7** A linearizable read sees every write acknowledged before it began.
//! - **R8** Any two quorums that could decide overlap, also while the configuration changes.
//! - **R9** Nothing is promised, and nothing of one's own is counted, before it is durable.
//! - **R10** An acknowledgement counts only for the session of replication it answers: one per term
//!   and addition of a peer.
//!
//! # Departures
//! - Appends leave before the leader's own write is durable (thesis 10.2.1); it counts itself when
//!   it is.
//! - A leader sends an append without entries when it commits, since followers answer clients too.
//! - A vote request is judged whoever it comes from, as the paper has it: the voter's own
//!   configuration may be old. Answers, by contrast, count only from members.
//! - A heartbeat is a message of its own, without `prev`: it carries a commit index no higher than
//!   what the peer acknowledged.
//!
//! # Limits
//! Proposals: [`Options::uncommitted_entries_max`]. Appends under way:
//! [`Options::appends_in_flight_max`] and [`Options::bytes_in_flight_max`] per peer. Waiting reads:
//! `READS_WAITING_MAX`, beyond it they fail. One snapshot is held for sending; a replica that
//! receives one holds what has arrived of it. A voter that is removed is not told that its removal
//! was committed: the record says so.
//!
//! # Not here
//! What commands mean and whether one was applied before ([`crate::state`]); forwarding of
//! proposals and timing out of requests ([`crate::node`]); who is alive ([`crate::swim`]);
//! authenticity of peers, which is the transport's; lease reads; passive groups.

mod changes;
mod configuration;
mod dispatch;
mod durability;
mod election;
mod entries;
mod follower;
mod log;
mod message;
mod options;
mod output;
mod passive;
mod progress;
mod reads;
mod rebuild;
mod replica;
mod replication;
mod room;
mod sanity;
mod snapshots;
#[cfg(test)]
mod tests;

pub use configuration::{Change, Configuration};
pub use entries::{Entries, IntoIter};
pub use message::{
    AppendResult, Bound, Condition, Entry, Message, Payload, RebuildId, SessionId, SnapshotMeta,
    Unbound,
};
pub use options::{Drive, Options, OptionsError};
pub use output::{
    DiskRoom, Event, HardState, Input, Output, ReadId, Recovered, Role, Snapshot, Write,
};
pub use replica::Raft;
