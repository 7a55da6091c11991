//! The record for those that have no part in the control group: told by a voter, as a feed.
//!
//! # What it does
//! The leader replicates to voters and to the few learners that may become voters. Every other
//! member keeps the record as they do, the whole of it and in the same order, but is told what is
//! committed by one of the voters: the one that wins a draw between the member and each voter
//! ([`choice`]), so that each voter has its share, and few members move when voters come or go.
//!
//! A member subscribes from the last entry that it knows to be committed. The voter tells all that
//! follows, as much at a time as the member gave credit for, and a snapshot in pieces where its log
//! begins too late. A quiet feed says now and then how the voter stands. A voter that is silent,
//! knows no leader for long, or is far behind it, is left for the next one.
//!
//! # Why it is safe
//! What is fed is committed, so that it is the same whoever tells it (R3), and the replica takes it
//! only where it continues what it has (R6, [`raft::feed`](crate::raft)). The replica that is fed
//! is the one that the leader would replicate to: its log, its disk and its state do not know the
//! difference, so that it may become a learner or stop being one at any time, and a restart goes on
//! from what is on the disk. Nothing that is fed is acknowledged to the leader: no promise rests on
//! it.
//!
//! A session is one subscription. What comes of another one is dropped, and its teller told to
//! stop: two voters never feed a member at the same time for long.
//!
//! # Limits
//! Each has its constant where it is used. A voter feeds `READERS_MAX` members, sends a snapshot to
//! `SNAPSHOT_READERS_MAX` of them at a time, and keeps the log for them as for followers that lag.

mod choice;
mod message;
mod shown;
mod source;
mod subscription;

use super::{Node, Output, PeerMessage};
use message::say;

pub use message::{Feed, FeedId, FeedRefusal, Health, Piece, Taken, Told};
pub use shown::{FedBy, FedMember};
pub(super) use source::Source;
pub(super) use subscription::Subscription;
