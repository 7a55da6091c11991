//! How a node becomes a member.
//!
//! A person carries one line from a member to the new machine: a [`Token`]. It says which cluster,
//! by the hash of its CA certificate, and holds a secret. The joiner makes its own key, dials any
//! member over TLS, accepts exactly a chain that ends in that CA, and sends a [`JoinRequest`]: who
//! it wants to be, a request for a certificate signed with its key, and a [`Proof`] that it has the
//! secret. A member without the CA's key passes that on to one that has it, which has the control
//! group commit the admission ([`Door::admit`]); only then does the [`JoinAnswer`] go back, with
//! the certificate and a ticket, what seals gossip, the founding of the cluster, and where members
//! are. A node that asks for the role `control` also gets the CA's key, so that it can admit
//! others. A member has its papers renewed by [`renew`].
//!
//! # Invariants
//! - M3: an answer exists only after the admission is committed. Whoever is refused, or hears
//!   nothing, may ask again with the same [`Joiner`]: the same node is admitted once.
//! - Private keys never travel, except the CA's, inside TLS, to a node admitted for control.
//! - The secret stays with the joiner: it signs the request with it. The record keeps the SHA-256
//!   of the public half, and whoever passes a request on can ask for nothing else with it.
//! - The joiner speaks only to a node of the cluster that made the token.
//! - Whatever is wrong with a token, the answer is the same.
//! - What can be known to be wrong with a request is refused before anything is written, and uses
//!   nothing of its token: also an address that belongs to another, or where the joiner is not.
//!
//! # Limits
//! [`REQUEST_BYTES_MAX`] and [`ANSWER_BYTES_MAX`]; [`ROLES_MAX`] roles.
//!
//! # Without a token
//! The join is held until a person approves it (`muslin node approve`). The joiner cannot know whom
//! it talks to, nor the cluster who asks: both ends show a [code](join_code) made of the CA it was
//! shown and of the key that arrived, and people compare them. A join whose required roles nobody
//! performs is held too, with a token or without, and goes through by itself when somebody does.
//! The joiner asks again until it is decided; what it asks with is kept in its directory, so that a
//! later run of the same command is the same node.
//!
//! # Not here
//! What is decided, which is the record's; the HTTP route.

mod admit;
mod code;
mod joiner;
mod message;
mod pending;
mod reach;
mod renew;
#[cfg(feature = "client")]
mod request;
mod token;
mod words;

pub use admit::{Door, JoinRefusal};
pub use code::join_code;
pub use joiner::{JoinError, Joined, Joiner, Progress, Trust, Wish};
pub use message::{
    ANSWER_BYTES_MAX, JoinAnswer, JoinHeld, JoinMember, JoinReply, JoinRequest, NAMED_BYTES,
    REQUEST_BYTES_MAX,
};
#[cfg(feature = "api")]
pub(crate) use reach::one_node_at;
pub use renew::{RenewAnswer, RenewRequest, renew};
#[cfg(feature = "client")]
pub use request::{greet, request};
pub use token::{Proof, Token, TokenError};
pub use words::{ROLES_MAX, Unfit, check_name, check_new_name, check_roles};

#[cfg(test)]
mod tests;
