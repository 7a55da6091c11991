//! What every machine in this crate is made of: identities, time, seeded numbers, quorum arithmetic
//! and the ordered list of outputs.
//!
//! # Invariants
//! - Time only enters as a [`Now`] argument; nothing here can read a clock.
//! - Numbers that must not mix are newtypes; arithmetic on them is explicit.

mod hash;
mod ids;
pub mod mutant;
mod now;
mod output;
mod prng;
pub mod quorum;

pub use hash::{Fnv64, Sum64};
pub use ids::{
    ClusterId, Epoch, GroupId, Incarnation, Index, LeaseId, LogId, NodeId, PersistId, RequestId,
    Revision, Term,
};
pub use now::Now;
pub use output::{Machine, Outputs, Wake};
pub use prng::Prng;
