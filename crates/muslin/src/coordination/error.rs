//! Why something was not had.

use super::collections::{INDEX_MAX, PARTIES_MAX};
use muslin_core::node::Failure;
use muslin_core::state::Refusal;

/// Why a lock, an office or a fenced write was not had.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// The lease is gone, and with it every place in a queue.
    #[error("the session has ended: its lease is gone")]
    SessionEnded,
    /// Another one has it, and this one was not to wait.
    #[error("another session holds it")]
    Held,
    /// Another one had it for as long as this one was to wait.
    #[error("another session held it all the time")]
    WaitedInVain,
    /// Who speaks does not lead, or does no more.
    #[error("election: not leader")]
    NotLeader,
    /// What the fence stands for was given back or lost; nothing was written.
    #[error("the fence is not held any more; nothing was written")]
    Fenced,
    /// There is nothing at that place.
    #[error("there is nothing at that place")]
    NotThere,
    /// It is not as was expected; nothing was written.
    #[error("it is not as was expected; nothing was written")]
    Differs,
    /// A number that does not fit, or that is not served.
    #[error(
        "a number is out of range: of a counter 64 bits with a sign, parties of a barrier from 1 \
         to {PARTIES_MAX}, a place in a list up to {INDEX_MAX}; nothing was written"
    )]
    OutOfRange,
    /// The identity of an operation is empty or too long.
    #[error("the identity of an operation has 1 to 256 bytes; nothing was written")]
    BadIdentity,
    /// The identity of an operation was that of another one.
    #[error("this identity was used for another operation; nothing happened")]
    IdentityReused,
    /// The system gives no randomness, so that no lease can be named.
    #[error("the system has no randomness")]
    NoRandomness,
    /// The node did not settle a request.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The replicated state refused.
    #[error(transparent)]
    Refused(Refusal),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        match refusal {
            Refusal::LeaseNotFound => Error::SessionEnded,
            other => Error::Refused(other),
        }
    }
}
