//! The etcd v3 interface over gRPC: KV, Watch, Lease, Cluster and Maintenance.
//!
//! Each call is checked for shape, turned into the core's words, given to the node's [`Handle`],
//! and the answer turned back; what it means is decided in the core alone. Error texts and codes
//! are etcd's, because clients match on them.
//!
//! # Limits
//! A message of [`MESSAGE_BYTES_MAX`](server::MESSAGE_BYTES_MAX) at most is read; answers have no
//! limit. A stream carries at most [`WATCHES_PER_STREAM_MAX`](watch::WATCHES_PER_STREAM_MAX)
//! watches.
//!
//! # Departures
//! Members are added by `muslin join`, not by an unauthenticated call: the four calls that change
//! members say so. There is no database file: defragmenting does nothing, hashes and snapshots over
//! gRPC are not offered. [`VERSION`](server::VERSION) is what clients are told, since some decide
//! by it what to use.
//!
//! # Not here
//! Auth, Lock and Election; etcd's clients bring locks and elections of their own, made of these
//! calls.
//!
//! [`Handle`]: crate::driver::Handle

mod cluster;
mod convert;
mod kv;
mod lease;
mod maintenance;
mod outbox;
mod refuse;
mod server;
mod watch;

pub(crate) use server::Offered;
#[cfg(test)]
pub(crate) use server::VERSION;
