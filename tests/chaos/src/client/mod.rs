//! The clients: on every node's own machine, since a node trusts callers from there.
//!
//! One thread per machine lives in that machine's network namespace and runs all of its clients:
//! probes that never wait for one another (`probe`), workers with one call at a time
//! (`worker`), watchers (`watcher`), keepers of leases (`keeper`), holders of locks (`locker`),
//! those who push and take work, and whose keys have a time to live (`web`). All write into one
//! [`Recorder`].

mod call;
mod desk;
mod draw;
mod keeper;
mod load;
mod locker;
mod probe;
mod recorder;
mod watcher;
mod web;
mod worker;

pub use desk::{Ask, Burst, Standing};
pub use draw::Draw;
pub use load::{Load, Machine};
pub use recorder::Recorder;
