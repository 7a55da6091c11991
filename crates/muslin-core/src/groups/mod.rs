//! Many Raft groups in one node, which cost nothing while nobody uses them.
//!
//! [`Groups`] holds this node's replicas of the groups in the record. Each is a passive
//! [`Raft`](crate::raft::Raft): it sends no heartbeats and waits for no time-out. Three things that
//! a ticking group does for itself are done once for all of them:
//! - **Who is alive** (`liveness.rs`) is a matter between nodes. Two nodes that share a group say
//!   [`Message::Alive`] to each other, whatever the number of groups; a group is told when that
//!   changes, and not otherwise.
//! - **Who leads** is said by the record ([`crate::plan::leaders`]). The replica that is named asks
//!   for votes; a replica that leads although another is named hands over to it if it can, and
//!   otherwise claims the group, so that the record comes to say what is. Terms stay the fence:
//!   whatever the record says, and however late a node learns of it, a term has one leader (R1).
//! - **When to look** (`machine.rs`): a set of groups with something under way is walked, never all
//!   groups. An idle group is in none of the sets.
//!
//! When the control group has had no leader for [`Options::fallback_after`], nobody would name a
//! leader in place of a dead one: the groups then keep time by themselves, until it has one again.
//!
//! A group's state is a [`GroupMachine`], made by name ([`Machines`]). Commands are proposed by any
//! replica, carried to the leader, and answered by the replica that took them when it applies them;
//! `(origin, boot, sequence)` makes a repetition harmless, as in the control group. A repetition by
//! a client is another command; [`Receipted`] makes that harmless too. A node that keeps no replica
//! asks those that do (`afar.rs`), and is answered by the leader when that applies what it took.
//!
//! # Invariants
//! - A command is answered only from an applied, committed entry of this process's own `boot`, and
//!   takes effect once (K1).
//! - A linearizable query is answered from a state applied at least up to an index that a leader's
//!   quorum confirmed after it was asked (R7).
//! - What nodes believe of each other's life never moves a vote or a commit: it says to whom it is
//!   worth sending, and who should campaign.
//! - The state of a group is a function of its log (R6): replicas with equal applied indexes have
//!   equal digests.
//!
//! # Limits
//! `PROPOSALS_MAX` and `READS_MAX` per group and node; beyond them [`Failure::Busy`], which says
//! when to ask again. A command is at most [`COMMAND_BYTES_MAX`].
//!
//! # Not here
//! The record and its planner; which node leads the control group; routes; the disk.

mod afar;
mod counts;
mod group;
mod liveness;
mod machine;
mod machines;
mod receipts;
mod snapshot;
#[cfg(test)]
mod tests;
mod told;
mod types;

pub use crate::waiting::{COMMAND_BYTES_MAX, Failure};
pub use counts::GroupCounts;
pub use group::Group;
pub use machine::{Groups, Start};
pub use machines::{Journal, Register};
pub use receipts::{
    Envelope, RECEIPT_ANSWER_BYTES_MAX, RECEIPT_KEY_BYTES_MAX, RECEIPTS_BYTES_MAX, RECEIPTS_MAX,
    Receipt, ReceiptKind, Receipted,
};
pub use types::*;
