//! Who is asking, below all interfaces: passwords, tokens, and what a call needs.
//!
//! A user shows a name and a password once and is given a token; every call after that carries the
//! token, over gRPC as metadata `token` or `authorization`, over HTTP as `Authorization: Bearer`.
//! A token is not kept anywhere: it says whose it is, as of which revision of auth and until when,
//! sealed by a key that the replicated state has, so that every node knows every node's. What the
//! user may do is decided in [`muslin_core::state`], where the call is carried out.
//!
//! # Invariants
//! 1. A password is neither kept nor sent on: what enters the log is a hash, made by the node that
//!    was asked.
//! 2. Whoever shows a token is that user, whatever else they show: a certificate makes nobody more
//!    than the user they say they are.
//! 3. A call is looked at by one table, `floors.rs`: what is missing there is root's.
//!
//! # Limits
//! [`TOKEN_LIFE`](token::TOKEN_LIFE), [`HASHED_AT_ONCE_MAX`](doorman::HASHED_AT_ONCE_MAX),
//! [`HASHES_WAITING_MAX`](doorman::HASHES_WAITING_MAX).

mod doorman;
mod floors;
mod password;
mod token;

pub(super) use doorman::{Doorman, Turned};
pub(super) use floors::Floor;
