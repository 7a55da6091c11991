//! What the control group replicates: key-value history, leases, the record of the members and of
//! what admits them, the other groups, and the table that makes a retried command take effect once.
//!
//! To this module the log is bytes: it never sees consensus, so all of it is tested without. A
//! [`State`] is a value: [`State::founded`] makes the one before the first entry, [`State::apply`]
//! takes it over an entry's [`Proposal`] and answers with [`Applied`], [`State::query`] reads it,
//! and [`State::snapshot`] and [`State::restore`] carry it elsewhere. [`State::view`] and
//! [`State::freeze`] are of one moment, for whoever reads or writes down while it goes on. It reads
//! no clock: when a lease ends is the leader's decision, and stands in the log as a
//! [`LeaseRevoke`].
//!
//! The model of keys is etcd's: every command that writes raises the
//! [`Revision`](crate::base::Revision) by one, whatever it writes; every key keeps its versions
//! until a [`Compact`] passes them by. A command is first checked in full, then carried out: the
//! second half cannot be refused.
//!
//! A proposal names itself by origin, boot and sequence. What a node proposed is remembered until
//! it says that it is settled, and no longer (Raft thesis 6.3), so that a command may stand in the
//! log twice when its first answer was lost.
//!
//! # Invariants
//! 1. The state is a function of the founding and the proposals in order (R6): equal logs give
//!    equal digests and equal snapshots, whether or not a snapshot was taken and restored in
//!    between.
//! 2. A command takes one revision or none, and changes a key at most once (K1).
//! 3. A refusal and a duplicate change nothing but what is remembered of the proposal, and the
//!    joins that were held for too long by its time.
//! 4. History holds every change at or after the compacted revision, in order (K2), and the
//!    versions that any read at or after it sees.
//! 5. A lease's keys are those whose latest version names it; they go with it, at one revision
//!    (K3).
//! 6. No member without a token that was good when the log said so, or somebody's approval, and
//!    none that was removed (M3). The epoch never goes back (M2).
//! 7. No bytes make `apply` or `restore` panic. (The index of an entry is the node's own: it must
//!    grow.)
//!
//! # Departures
//! From etcd: of two transactions inside one, that which deletes what the other puts is refused in
//! either order (etcd: in one), which is what makes 2 hold. Several leases that run out together
//! take one revision. A sort by anything but the key looks at all pairs before the limit, whatever
//! the order given.
//!
//! # Limits
//! [`TXN_OPS_MAX`], [`LEASES_MAX`], [`LEASE_TTL_MS_MAX`], [`TOKENS_MAX`], [`SESSION_WINDOW`],
//! [`SESSIONS_MAX`], [`GROUPS_MAX`], [`HELD_MAX`], [`TOMBSTONES_MAX`], [`BARRED_MAX`],
//! [`GOSSIP_KEYS_MAX`]; the size of a command is the node's to bound. Members grow as people admit.
//! A count of what is there at present takes the same time for any range; one at an earlier
//! revision looks at every key of the range.
//!
//! # Not here
//! Time, consensus, who watches (the node tells [`Changes`], and others keep the [`Ring`]), and
//! quotas.

mod alarms;
mod apply;
mod auth;
mod blob;
mod command;
mod digest;
mod dispatch;
mod epoch;
mod form;
mod groups;
mod hash;
mod held;
mod invites;
mod kv;
mod lease;
mod members;
mod membership;
mod overlap;
mod places;
mod query;
mod range;
mod reborn;
mod record;
mod refusal;
mod restore_members;
mod ring;
mod roster;
mod sessions;
mod snapshot;
mod standing;
#[cfg(test)]
mod tests;
mod tokens;
mod tree;
mod txn;
mod version;
mod view;
mod watch;

pub use apply::{Applied, GroupNews, LeaseNews, State};
pub use auth::*;
pub use blob::Blob;
pub use command::*;
pub use epoch::{ClusterSize, GOSSIP_KEY_BYTES, GOSSIP_KEYS_MAX};
pub use form::*;
pub use groups::{GROUP_KIND_BYTES_MAX, GROUP_REPLICAS_MAX, GROUPS_MAX};
pub use held::{HELD_MAX, HELD_STRANGERS_MAX, HoldReason};
pub use lease::{LEASE_KEYS_MAX, LEASE_TTL_MS_MAX, LEASES_MAX, Lease};
pub use members::{Admission, BARRED_MAX, MemberNews, TOMBSTONES_MAX, UnheldFor};
pub use membership::*;
pub use query::*;
pub use reborn::{REVISION_LEAP, Rebirth};
pub use record::*;
pub use ring::{Changes, Cursor, Passage, RightsAt, Ring, RingRoom, Room, Segment, Told};
pub use roster::{JoinState, RecordView};
pub use sessions::{SESSION_WINDOW, SESSIONS_MAX};
pub use snapshot::{Counted, Frozen, RestoreError};
pub use standing::{QuorumNeeded, WITNESSES_MAX};
pub use tokens::{TOKENS_MAX, TokenFault};
pub use txn::{TXN_KEYS_MAX, TXN_OPS_MAX};
pub use watch::{Compacted, History};
pub(crate) use {digest::Digest, sessions::*, snapshot::SessionRecord};
pub use {hash::KvHash, places::*, view::View};
