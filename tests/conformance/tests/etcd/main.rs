//! What etcd's clients expect, as tests. [`cluster`] starts three nodes for each of them.
#![allow(clippy::unwrap_used)]

mod cluster;
#[path = "../../../../crates/muslin-cli/tests/it/ports.rs"]
mod ports;

mod crate_auth;
mod crate_kv;
mod crate_lease;
mod crate_lock;
mod crate_watch;
mod etcdctl;
