//! raft-rs 0.7 in Muslin's simulator: a differential that tests the simulator itself.
//!
//! [`RaftRs`] is raft-rs's `RawNode` behind the simulator's [`Replica`](muslin_sim::Replica), so
//! that it runs on the same network and disks, under the same faults and the same checkers as
//! Muslin's own Raft. It is known to work: where a checker complains, the checker, the world or the
//! driver in between is wrong, or raft-rs is, and each is worth knowing. The other way round
//! [`Bug`]s in that driver must be found.
//!
//! # What differs from Muslin's own Raft
//! - Configurations are in force when they are applied, not when they are in the log
//!   ([`Replica::configures_when_applied`](muslin_sim::Replica::configures_when_applied)).
//! - A replica whose disk lost what it promised cannot come back, a full disk means nothing, and
//!   reads by lease do not reckon with clocks that drift: [`profile`] has none of the three.
#![forbid(unsafe_code)]

mod bug;
mod log;
mod reads;
mod replica;
mod timing;
mod words;
mod world;

pub use bug::{Bug, plant};
pub use replica::RaftRs;
pub use world::{profile, run};
