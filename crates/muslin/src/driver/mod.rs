//! The loop that owns a node, and the handle everyone else holds.
//!
//! Nothing but this loop owns a [`Node`](muslin_core::node::Node). It gathers what waits, steps the
//! node through it, and carries the outputs out in order. Writes go to a thread of their own, which
//! gathers in turn whatever came during the last sync (group commit), so that the loop never waits
//! for a disk.

mod crowd;
mod gate;
mod groups;
mod handle;
mod heavy;
mod held;
mod hub;
mod inboxes;
mod log_thread;
mod reading;
mod run;
#[cfg(test)]
mod tests;
mod turns;
mod watch;

pub use groups::GroupError;
#[cfg(feature = "api")]
pub(crate) use handle::{Asked, Kept};
pub use handle::{EventRecord, Gauge, Handle};
#[cfg(feature = "api")]
pub(crate) use hub::Inbox;
pub use run::{Driver, DriverError, start};
#[cfg(feature = "api")]
pub(crate) use watch::{Begun, Lookout, Read};
pub use watch::{Watch, WatchItem};
