//! DNS SRV: one name for the whole cluster.
//!
//! `srv:_muslin._udp.example.org` asks a name server which hosts and ports there are, in which
//! order (RFC 2782), and what their addresses are. It asks over UDP, and over TCP when an answer
//! was cut. The server is the system's (`/etc/resolv.conf`, read at every try) or the one behind an
//! `@`. A Kubernetes service without a cluster address has such a name for each named port.
//!
//! # Limits
//! [`RECORDS_MAX`](message::RECORDS_MAX) records of an answer, [`LOOKUPS_MAX`](lookup::LOOKUPS_MAX)
//! targets whose addresses the answer did not bring, three servers, one second for each question.
//! An answer is kept as long as its records say, at most half a minute.
//!
//! # Not here
//! Search domains: a name is taken as written. DNSSEC: what DNS says is a hint like any other.

mod ask;
mod lookup;
mod message;
mod name;
#[cfg(test)]
mod name_server;
mod order;
mod system;
#[cfg(test)]
mod tests;

pub use lookup::Srv;
pub use name::{SrvError, SrvName};
