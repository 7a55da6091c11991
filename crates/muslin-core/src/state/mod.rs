//! What the control group replicates: key-value history, leases, members, tokens and the table that
//! makes a retried command take effect once.
//!
//! To this module the log is bytes: it never sees consensus, so all of it is tested without.
//!
//! PLACEHOLDER-DOC (invariants K1.., limits, not here).

mod command;
mod query;

pub use command::*;
pub use query::*;

/// Most operations in one transaction, comparisons and both branches counted apart: etcd's 128.
pub const TXN_OPS_MAX: usize = 128;
