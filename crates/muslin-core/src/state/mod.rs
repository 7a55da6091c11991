//! What the control group replicates: key-value history, leases, members, tokens and the table that
//! makes a retried command take effect once.
//!
//! To this module the log is bytes: it never sees consensus, so all of it is tested without.
//!
//! PLACEHOLDER-DOC (invariants K1.., limits, not here).

mod apply;
mod command;
mod digest;
mod kv;
mod lease;
mod members;
mod overlap;
mod query;
mod range;
mod sessions;
mod snapshot;
mod txn;
mod version;
mod watch;

pub use apply::{Applied, LeaseNews, MemberNews, State};
pub use command::*;
pub use lease::{LEASE_TTL_MS_MAX, LEASES_MAX, Lease};
pub use members::TOKENS_MAX;
pub use query::*;
pub use sessions::{SESSION_WINDOW, SESSIONS_MAX};
pub use snapshot::RestoreError;
pub use watch::{Compacted, History};

/// Most operations in one transaction, comparisons and both branches counted apart: etcd's 128.
pub const TXN_OPS_MAX: usize = 128;
