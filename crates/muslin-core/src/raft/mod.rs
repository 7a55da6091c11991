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
//! an answer to a heartbeat after a silence makes the leader ask again.
//!
//! **Rounds** (`progress.rs`, `replication.rs`). Under load, what a commit costs is the messages,
//! writes and wake-ups of its round divided by how many share it. So while two appends are under
//! way to a peer, one for its disk and one to be there when that is done, the entries that follow
//! gather until an answer comes or there is [`Options::appends_gather_bytes`] of them. Answers and
//! writes that came together commit together, at [`Input::Flush`], and what leaves then carries the
//! new commit index; a peer that is sent no entries is told of it at once. A follower whose answer
//! still waits for its write does not give the same answer twice.
//!
//! **Reads** (8; thesis 6.4; `reads.rs`). Reads gather, one round of [`Unbound::Heartbeat`]s under
//! a fresh number confirms them all. Followers ask the leader for an index by
//! [`Unbound::ReadIndex`]. With [`Options::lease_reads`] an [`Input::LeaseRead`] is answered at
//! once for the shortest election time-out, less what clocks may drift, after the beginning of the
//! last round that a quorum answered: so long none of them gives a vote, not even one that started
//! again meanwhile. A leader that has told another to campaign has no lease for the rest of its
//! term.
//!
//! **Members** (6; `changes.rs`). A [`Change`] of voters goes through a joint configuration, in
//! force as soon as it is appended and left as soon as it is committed. Learners come and go in one
//! step. Truncation brings the earlier configuration back.
//!
//! **Others** (`feed.rs`). Whoever is neither voter nor learner can be told what is committed by
//! any replica that knows it. Nothing of it is acknowledged.
//!
//! **Snapshots** (7; `snapshots.rs`). A snapshot of its own is saved off the path of the writes
//! ([`Output::Save`]) and lets the log go but for a tail. A peer that needs what is gone gets a
//! snapshot in pieces, one under way at a time, from where it stands, two peers at a time; the
//! whole is verified, written, and replaces the peer's log. While it is on its way the log after it
//! is kept, so that it leads somewhere. A replica that joins begins with one.
//!
//! **Disks** (`room.rs`, `rebuild.rs`). A replica without room takes no entries; it votes and
//! answers. A leader without room, or whose disk is silent while a quorum has more than it, hands
//! over. One whose disk lost what it promised rebuilds (R11, below).
//!
//! **Passive groups** (`passive.rs`). Under [`Drive::Passive`] a replica wakes for nothing but what
//! is outstanding to live peers; who campaigns is said from outside, and terms are the fence.
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
//! - **R11** A replica whose disk lost what it promised gives no vote and is counted for nothing
//!   until a configuration without its vote is committed, and it knows so.
//!
//! # Why R11 suffices
//! A replica X has lost acknowledgements and votes: of which entries and in which terms, nobody
//! knows. From then on it only takes the log.
//!
//! *While it rebuilds*, what it promised is still true of everybody else. An entry may have been
//! committed with the lost copy counted. But whoever is elected from then on has a majority without
//! X, that majority and the one that committed overlap, and they overlap outside X: somebody in
//! both has the entry, and withholds its vote from a log without it (R3). A vote that X gave and
//! forgot is still one vote in that term, since X gives no other (R1). Copies that X acknowledged
//! in an earlier life stay counted; the leader that hears of the rebuilding begins a new session
//! (R10), in which X counts for nothing.
//!
//! *Afterwards* X may vote, and must not vote twice in a term, nor for a log without an entry that
//! its forgotten copy helped to commit. It asks its leader for a read index, under a fresh number:
//! the fence F. A quorum without X has confirmed that leader's term t after the loss, so every
//! entry committed before, by whomever, is at or below F (R7). X stops rebuilding when it has the
//! log up to a committed configuration C at or after F in which it does not vote. Then:
//! - Forgotten acknowledgements: those that mattered are at or below F, and X has them again.
//! - Forgotten votes in terms up to t: X is in t or later and gives no vote below it. Its log holds
//!   an entry of t, since no read index is told before one is committed; a candidate of t has none,
//!   so X gives it no vote either.
//! - Forgotten votes in a later term u, for a candidate B: B asked before the loss, so its log
//!   lacks C if C came after, and a majority without X has acknowledged C in t. Those of them that
//!   B needs either voted for B first, are in u, and cannot have acknowledged C in t; or
//!   acknowledged C first, and do not vote for a shorter log. So B is never elected, and a second
//!   vote of X in u elects no second leader. If C was there before the loss, and B has it, then B
//!   needs a majority of C, of which X is none.
//!
//! A configuration that X finds in an old part of the log does not count, whatever it says: only as
//! of F and later. X commits by appends alone while it rebuilds, since a heartbeat names what X
//! acknowledged in a session of before. A learner has no vote to give up and ends with its fence. A
//! sole voter has nobody to take its vote away, and nobody else has its data: the process stops.
//!
//! A disk that lost data without its owner's noticing is found out by the next heartbeat, which
//! names all that the replica has acknowledged in the session ([`Event::DataLost`]). What it voted
//! before that is beyond help.
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
//! `READS_WAITING_MAX`, beyond it they fail. One snapshot is held for sending, to `RECEIVERS_MAX`
//! peers at a time, and the log behind it for `SENDING_TAILS_MAX` tails; one is being saved at a
//! time; a replica that receives one holds what has arrived of it. A voter that is removed is not
//! told that its removal was committed: the record says so.
//!
//! # Not here
//! What commands mean and whether one was applied before ([`crate::state`]); forwarding of
//! proposals and timing out of requests ([`crate::node`]); who is alive ([`crate::swim`]);
//! authenticity of peers, which is the transport's; who shall lead a passive group
//! ([`crate::plan`], [`crate::groups`]).

mod arriving;
mod changes;
mod configuration;
mod dispatch;
mod durability;
mod election;
mod entries;
mod feed;
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
mod tail;
#[cfg(test)]
mod tests;

pub(crate) use arriving::{Arriving, Chunk};
pub use configuration::{Change, Configuration};
pub use entries::{Entries, IntoIter};
pub use feed::{Committed, Fed, Readers, Standing};
pub use message::{
    AppendResult, Bound, Condition, Entry, Message, Payload, RebuildId, SessionId, SnapshotMeta,
    Unbound,
};
pub use options::{Drive, Options, OptionsError};
pub use output::{
    DiskRoom, Event, HardState, Input, Output, ReadId, Recovered, Role, Snapshot, Write,
};
pub use replica::Raft;
pub use tail::Kept;
