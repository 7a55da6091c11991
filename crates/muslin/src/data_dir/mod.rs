//! A node's data directory: who it is, where it listens, and everything it must not lose.
//!
//! | name | what |
//! | --- | --- |
//! | `LOCK` | locked while a process has the directory; its number inside |
//! | `node.json` | [`NodeConfig`], the founding, the boot counter; comes last in the making |
//! | `peers.json` | where members were last seen: a hint, may be deleted |
//! | `log/`, `snapshot/` | the [store](crate::store::file) |
//! | `rewritten/` | a [copy](Stopped) of the node that is to take its place |
//! | `before-epoch-<n>/` | what was there before such a copy; may be deleted |
//! | `identity/` | certificates and keys, written by [`identity`](crate::identity) |
//!
//! # Invariants
//! 1. At most one process has a directory: the lock is the operating system's and ends with the
//!    process.
//! 2. The boot counter is raised, durably, before a process promises anything: no two processes of
//!    a node ever number their proposals alike.
//! 3. A directory has a node whole or not at all: `node.json` comes last and is replaced in one
//!    step.
//! 4. What is not ours is never written to.

mod config;
mod dir;
mod lock;
mod stopped;
#[cfg(test)]
mod tests;

pub use config::{Addresses, NodeConfig};
pub use dir::{DataDir, PeersFile};
pub use stopped::{Rewrite, Stopped, finish_rewrite};
