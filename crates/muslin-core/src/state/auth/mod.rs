//! Users, roles and what they may do: etcd's model, kept in the replicated state.
//!
//! A user has roles, a role has permissions to read or write ranges of keys, and the role `root`
//! may all. While auth is enabled, everything that is asked is checked against the [`Asker`] that
//! came with it: commands when they are applied, so that the order of the log decides, and
//! questions and watches where they are answered. There is one module that decides, [`check`];
//! every interface is above it.
//!
//! # Invariants
//! 1. What a command does, its asker had the right to at its place in the log: a right revoked
//!    before it is missing, whatever the node knew that took the command.
//! 2. A transaction is checked as a whole: comparisons and both branches, whichever will run.
//! 3. No answer tells of a key that its asker may not read: a pair replaced or deleted, a key of a
//!    lease, a change that is watched.
//! 4. While auth is enabled there is a user `root` with the role `root`.
//! 5. The revision of auth rises with every change but enabling. A token is of one revision, and is
//!    worth nothing if its user was made, its password was set or auth was enabled since. Other
//!    changes leave it good: what it may do is looked up each time (etcd's rule for its default
//!    tokens).
//!
//! # Departures
//! etcd leaves some calls to anybody, also while auth is enabled. Here compaction, alarms and
//! moving leadership are root's, and leases and the list of members are for those who are known.
//! A put inside a transaction that names a lease is checked like one outside.
//!
//! # Limits
//! [`USERS_MAX`], [`AUTH_ROLES_MAX`], [`USER_ROLES_MAX`], [`ROLE_PERMISSIONS_MAX`],
//! [`AUTH_NAME_BYTES_MAX`], [`CREDENTIAL_BYTES_MAX`], [`PERMISSION_BYTES_MAX`].
//!
//! # Not here
//! Passwords and tokens: what is kept is a hash that only the shell can read, and the key that
//! seals tokens, which is drawn each time auth is enabled.

mod asker;
mod check;
mod command;
mod records;
mod refusal;
mod spans;
mod table;

pub use asker::{AskedBy, Asker};
pub use check::{Needs, RECEIPT_PREFIX};
pub use command::*;
pub use records::{AuthAnswer, AuthQuery, RolePermission};
pub(super) use records::{AuthHead, RoleRecord, UserRecord};
pub use refusal::AuthRefusal;
pub(super) use table::Auth;

/// Most users: a table of a few megabytes in every snapshot.
pub const USERS_MAX: usize = 10_000;

/// Most roles, for the same reason.
pub const AUTH_ROLES_MAX: usize = 10_000;

/// Most roles of one user: every one is asked with every key.
pub const USER_ROLES_MAX: usize = 64;

/// Most permissions of one role: all are sorted anew when one changes.
pub const ROLE_PERMISSIONS_MAX: usize = 1_000;

/// Longest name of a user or a role, in bytes.
pub const AUTH_NAME_BYTES_MAX: usize = 256;

/// Longest credential: a hash of a password with all that is needed to make it again.
pub const CREDENTIAL_BYTES_MAX: usize = 512;

/// Longest key that begins or ends a permission, in bytes.
pub const PERMISSION_BYTES_MAX: usize = 4_096;

/// Bytes of the key that seals tokens.
pub const TOKEN_KEY_BYTES: usize = 32;

/// The user and the role that may all.
pub const ROOT: &str = "root";
