//! What a node serves to people and programs on the TCP side of its port: the etcd v3 API over
//! gRPC, HTTP with JSON, metrics and their description.
//!
//! [`serve`] accepts connections until told to stop. The first byte of a connection tells TLS from
//! plain text; the first bytes inside tell HTTP/2 from HTTP/1. Every request passes one place that
//! knows the [`Caller`], and is then gRPC or HTTP. Handlers hold a
//! [`Handle`](crate::driver::Handle) and decide nothing: what a write or a read means, the core
//! decides.
//!
//! # Invariants
//! 1. A caller from another machine without a certificate of the cluster may ask `/livez`,
//!    `/readyz` and to join, and nothing else, whatever the protocol. Where the API is strict, so
//!    may a caller on this machine.
//! 2. Plain text is answered to this machine only.
//! 3. The certificate of a removed node, or of an earlier epoch, lets in nobody: that is asked with
//!    every request.
//! 4. Every failure over HTTP is a [`Problem`] with a code and a hint, over gRPC a status with
//!    etcd's text; no error is an empty body.
//! 5. A client that stalls costs a bounded amount of memory for a bounded time, or for as long as
//!    it answers pings.
//!
//! # Limits
//! What streams and answers hold for readers who do not read: see `unread`. Connections: `gate`.
//! Calls per connection, windows, headers, time-outs: see `connection`.
//! Bodies: [`COMMAND_BYTES_MAX`](muslin_core::node::COMMAND_BYTES_MAX). Pages and watches: beside
//! their handlers.
//!
//! # Not here
//! The certificates ([`identity`](crate::identity)), the check of join tokens (behind
//! [`Admission`]), users and permissions.

mod auth;
mod authority;
mod backups;
mod between;
mod bodies;
mod caller;
mod calls;
mod chronicle;
mod connection;
mod desk;
mod etcd;
mod front;
mod gallery;
mod gate;
mod gateway;
mod http;
mod metrics;
mod party;
mod problem;
pub mod proto;
mod server;
mod sniff;
pub mod status;
mod story;
#[cfg(test)]
mod tests;
mod unread;
mod visitor;
mod worded;

pub use caller::Caller;
pub use connection::{Patience, Tls};
pub use gate::CONNECTIONS_MAX;
pub use metrics::{Row, TABLE};
pub use problem::{PROBLEM_JSON, Problem};
pub use server::{Admission, ApiOptions, Asked, BoxFuture, serve};
pub use status::NodeFacts;
