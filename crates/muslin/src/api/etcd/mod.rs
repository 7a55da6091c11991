//! The etcd v3 interface over gRPC: KV, Watch, Lease, Cluster, Maintenance, Auth, Lock
//! and Election.
//!
//! Each call is checked for shape, turned into the core's words, given to the node's [`Handle`],
//! and the answer turned back; what it means is decided in the core alone. Error texts and codes
//! are etcd's, because clients match on them.
//!
//! # Limits
//! A message of [`MESSAGE_BYTES_MAX`](server::MESSAGE_BYTES_MAX) at most is read; an answer has at
//! most [`ANSWER_BYTES_MAX`](server::ANSWER_BYTES_MAX), and all of them together share a budget,
//! see `unread`. A stream carries at most [`WATCHES_PER_STREAM_MAX`](watch::WATCHES_PER_STREAM_MAX)
//! watches.
//!
//! # Departures
//! Adding a member keeps a place for whoever comes to its address by `muslin join`, which has an
//! id of its own. There is no database file: defragmenting does nothing, hashes and snapshots over
//! gRPC are not offered. [`VERSION`](server::VERSION) is what clients are told, since some decide
//! by it what to use.
//!
//! [`Handle`]: crate::driver::Handle

mod alarm;
mod auth;
mod cluster;
mod convert;
mod election;
mod framing;
mod kv;
mod lease;
mod lock;
mod maintenance;
mod outbox;
mod probe;
mod refuse;
mod reply;
mod server;
mod unary;
mod watch;

pub(in crate::api) use auth::turned;
pub(crate) use framing::patience_of_caller;
pub(crate) use probe::call as probe;
pub(crate) use refuse::{deadline_exceeded, in_one_wording};
pub(crate) use reply::Reply;
pub(crate) use server::VERSION;
pub(crate) use server::{MESSAGE_BYTES_MAX, Offered};
pub(crate) use unary::Method;
pub(crate) use watch::WATCH;
