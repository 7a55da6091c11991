//! The product as people meet it: real processes, real sockets, real disks.
//!
//! [`process`] runs the binary, [`dev`] a whole cluster, [`http`] asks nodes, [`load`] writes while
//! things break and remembers what was acknowledged, [`ports`] keeps tests out of each other's way.
//! Everything else is tests, by topic. Nothing here asserts how long something took; a wait has a
//! limit only so that a failure is not a hang.
#![allow(clippy::unwrap_used)]

mod dev;
mod http;
mod load;
mod ports;
mod process;

mod tests_admission;
mod tests_backup;
mod tests_collections;
mod tests_counter;
mod tests_dev;
mod tests_discovery;
mod tests_faults;
mod tests_hold;
mod tests_hostile;
mod tests_kv;
mod tests_kv_more;
mod tests_nodes;
mod tests_password;
mod tests_recover;
mod tests_usage;
mod tests_views;
