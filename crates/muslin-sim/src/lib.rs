//! Whole Muslin clusters on one thread, in virtual time, from one seed, with checkers.
//!
//! A [`Cluster`] is made of real nodes ([`muslin_core::node::Node`]): the very code that runs in
//! production, since it never reads a clock, a disk or a network by itself. Around them the
//! simulator plays the world: a network that loses, delays, doubles and cuts; disks that forget
//! what was not synced; processes that die, stand still and start again; clocks that drift; clients
//! that read, write, follow and hold leases. Everything is drawn from one number, so whatever is
//! found is found again.
//!
//! ```
//! use muslin_sim::{Cluster, Faults};
//! use std::time::Duration;
//!
//! let run = || {
//!     let cluster = Cluster::seeded(42).nodes(3).faults(Faults::drawn(7));
//!     cluster.run(Duration::from_secs(3)).expect("no invariant is broken")
//! };
//! let summary = run();
//! assert!(summary.acked > 0);
//! assert_eq!(run(), summary, "the same seed is the same run");
//! ```
//!
//! A run has two phases. In the first, faults of the kinds its [`Profile`] has strike all the time,
//! and nothing may ever be broken. Then they end (sometimes all but one, and the others must go on
//! without its victim), and the cluster must answer at every node within a bound, agree, and come
//! to rest. Checkers look at every step, from outside (answers, watch
//! events) and from inside (logs, disks, votes, digests); a broken invariant is a [`Violation`]
//! that names it.
//!
//! # Limits
//! Disks forget and tear, they do not rot or fill, and no machine loses its disk.
#![forbid(unsafe_code)]

mod bare;
mod checkers;
mod cluster;
mod disk;
mod host;
mod model;
mod net;
mod nodes;
mod profile;
mod queue;
mod replica;
#[cfg(test)]
mod script;
mod subject;
mod time;
mod trace;
mod world;

pub use checkers::Violation;
pub use cluster::{Cluster, Group, Summary};
pub use profile::{Delay, Disks, Faults, Load, Machines, Network, Preset, Profile, Switch};
pub use replica::{Input, Output, Promise, Replica, Seat, View};
pub use time::Time;
