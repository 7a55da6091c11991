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
//! # Worlds
//! - [`Cluster`]: whole nodes, with clients that read, write, follow and hold leases, operators,
//!   and ([`Preset::Groups`]) many passive groups; ([`Preset::Fed`]) members that are fed;
//!   ([`Preset::Members`]) members that come and go in all the ways there are.
//! - [`Group`]: Raft alone under a row of registers, several times as fast; of this project or of
//!   any other implementation that a [`Replica`] can be made of.
//!
//! # Faults
//! - **Network**: loss, delay, reordering, repetition, broken connections; halves, chains and
//!   rings, single links, one direction only; slow and flapping links.
//! - **Disks**: what was not synced is lost, torn, or there in part; slow, full, failing to sync; a
//!   log or a snapshot that rotted; nothing left at all.
//! - **Processes**: killed (at leaders, after acknowledgements, in the midst of a batch, all at
//!   once), stopped, standing still, starving.
//! - **Clocks**: of any rate within a bound, and changing it; leaping forward by up to hours, where
//!   no promise rests on them.
//! - **Strangers**: snapshots of another cluster, from the leader's address; its machines, which
//!   gossip to this one.
//! - **Operators**: admission, removal, changes of who votes, moved leadership.
//!
//! Disks lose what they promised only one at a time, where all voters are whole: a group does not
//! survive more, and does not promise to.
//!
//! # Limits
//! Clocks leap forward only, since machines read monotonic ones, and not on a leader of a run with
//! leases of keys, nor on the others of a run with reads by lease. The state machines of groups are
//! those that come with the project.
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
pub mod swim;
mod time;
mod trace;
mod world;

pub use checkers::Violation;
pub use cluster::{Cluster, Group, Summary};
pub use profile::{
    Delay, Disks, FaultSwitch, Faults, Load, Machines, Network, Preset, Profile, Rhythm,
};
pub use replica::{Input, Output, Promise, Replica, Seat, View};
pub use time::Time;
