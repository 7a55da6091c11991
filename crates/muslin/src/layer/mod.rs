//! For applications that embed a node and serve HTTP themselves: any node takes a request, and the
//! leader answers it.
//!
//! [`ThroughLeader`] is a tower layer around an axum router. A request that comes to another node
//! is sent to the leader as it is, method, path with query, headers and body, and what the leader
//! answers goes back as it is. [`Leaders`] says who leads: [`OfGroup`] for the leader of a group,
//! [`OfCluster`] for that of the control group.
//!
//! What must not happen: a request that is passed round and round ([`HOPS_MAX`]), a body that is
//! read into memory without a bound ([`Limits`]), a write that is sent twice. Once it has left for
//! the leader it may have been done there, so it is sent again only if nothing can come of that:
//! reads, and requests with an `Idempotency-Key`, which the application remembers (see
//! [`machine`](crate::machine)).

mod leaders;
mod pass;
#[cfg(test)]
mod tests;
mod through;

pub use leaders::{Leader, Leaders, OfCluster, OfGroup, Places};
pub use through::{AnsweredThroughLeader, Limits, ThroughLeader};

use hyper::header::HeaderName;

/// Who passed a request on: a node's name for each time.
pub const PASSED_BY: HeaderName = HeaderName::from_static("muslin-passed-by");

/// Says that the node that answers did not have the leader answer: whoever passed the request on to
/// it may pass it on again.
pub const NOT_LEADER: HeaderName = HeaderName::from_static("muslin-not-leader");

/// By what a client calls what it asks for, to ask again.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// So often a request is passed on at most: one time is the rule, and one more when leadership
/// moved on the way.
pub const HOPS_MAX: usize = 2;
