//! `muslin bench`: loads, and what they cost.
//!
//! [`kv`] drives anything that speaks etcd v3; [`raft`] measures consensus alone and [`groups`]
//! many groups, both in this process, and [`state`] the keys alone. [`harness`] is what [`raft`]
//! shares with the benchmark of other engines.

pub(crate) mod groups;
mod harness;
pub(crate) mod kv;
pub(crate) mod raft;
pub(crate) mod state;
