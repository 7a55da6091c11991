//! The node as one value: view, control group and replicated state joined.
//!
//! # What it does
//! A [`Node`] owns a failure detector ([`Swim`](crate::swim::Swim)), a replica of the control group
//! ([`Raft`](crate::raft::Raft)) and the replicated [`State`](crate::state::State), and passes on
//! what one of them says that another must know:
//! - committed entries are applied at once, in order; the node whose client asked answers it when
//!   its own replica applies the entry, so an answer never needs a message of its own;
//! - proposals of a node that does not lead travel to the leader and are sent again when leadership
//!   moves; `(origin, boot, sequence)` makes the repetition harmless;
//! - linearizable reads gather between two flushes and share one read index;
//! - the view's addresses become routes, and so do the record's; with [`Membership::Static`] there
//!   is no view, and a list from outside ([`Input::Places`]) takes its place;
//! - what the record says of the other groups goes to [`Groups`](crate::groups::Groups), which says
//!   the rest to its like on other nodes;
//! - a member that has no part in the control group is fed the record by a voter (`feed`);
//! - on the leader: leases run out, voters are chosen ([`plan::voters`](crate::plan::voters)) and
//!   the leaders of the groups named ([`plan::leaders`](crate::plan::leaders)).
//!
//! # Invariants
//! - A reply to a write is given only from an applied, committed entry of this process's own `boot`
//!   (K1), or is a [`Failure`].
//! - A linearizable read is answered from a state applied at least up to an index that a leader's
//!   quorum confirmed after the read began (R7).
//! - A watch is told every revision from its first on, in order, once (K2): it is either live, and
//!   told of each batch as it is applied, or behind, and told from history.
//! - A lease is ended by the leader alone, never before its time to live has passed since the
//!   leader received the last keep-alive it answered, nor since it became leader (K3).
//! - What the view believes never changes the record: it gives routes and advice to the planner.
//!
//! # Limits
//! Each queue has its constant at its only user; full queues answer [`Failure::Busy`], which says
//! when to ask again.
//!
//! # Not here
//! Sockets, files, clocks, threads, encryption, text: the shell's.

mod applying;
mod feed;
mod freshness;
mod groups;
mod history;
mod leases;
mod load;
mod machine;
mod members;
mod placement;
mod places;
mod reads;
mod recovery;
mod reports;
mod requests;
mod scope;
mod snapshots;
mod steward;
mod types;
mod watches;

#[cfg(test)]
mod tests;

pub use crate::state::CONTROL_ROLE;
pub use crate::waiting::{COMMAND_BYTES_MAX, Failure};
pub use feed::{FedBy, FedMember, Feed, FeedId, FeedRefusal, Health, Piece, Taken, Told};
pub use machine::Node;
pub use placement::{Placement, Seen, Vitals};
pub use recovery::{
    EPOCH_LEAP_MAX, Position, Recovery, RecoveryRefusal, Survey, Survivor, recover, survey,
};
pub use reports::Report;
pub use types::*;
