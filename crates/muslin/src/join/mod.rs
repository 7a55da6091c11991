//! How a node becomes a member.
//!
//! A person carries one line from a member to the new machine: a [`Token`]. It says which cluster,
//! by the hash of its CA certificate, and holds a secret. The joiner makes its own key, dials any
//! member over TLS, accepts exactly a chain that ends in that CA, and sends a [`JoinRequest`]: who
//! it wants to be, a request for a certificate signed with its key, and the secret. The member has
//! the control group commit the admission ([`admit`]); only then does the [`JoinAnswer`] go back,
//! with the certificate, what seals gossip, the founding of the cluster, and where members are. A
//! node that asks for the role `control` also gets the CA's key, so that it can admit others.
//!
//! # Invariants
//! - M3: an answer exists only after the admission is committed. Whoever is refused, or hears
//!   nothing, may ask again with the same [`Joiner`]: the same node is admitted once.
//! - Private keys never travel, except the CA's, inside TLS, to a node admitted for control.
//! - The secret is not stored: the record keeps its SHA-256, which is what is compared.
//! - The joiner sends the secret only to a node of the cluster that made the token.
//!
//! # Limits
//! [`REQUEST_BYTES_MAX`] and [`ANSWER_BYTES_MAX`]; [`ROLES_MAX`] roles.
//!
//! # Not here
//! Which roles a token allows (it allows all); approval by a person; the HTTP route.

mod admit;
mod joiner;
mod message;
#[cfg(feature = "client")]
mod request;
mod token;
mod words;

pub use admit::{JoinRefusal, admit, answer};
pub use joiner::{JoinError, Joined, Joiner, Wish};
pub use message::{ANSWER_BYTES_MAX, JoinAnswer, JoinMember, JoinRequest, REQUEST_BYTES_MAX};
#[cfg(feature = "client")]
pub use request::request;
pub use token::{Token, TokenError};
pub use words::{ROLES_MAX, Unfit, check_name, check_roles};

#[cfg(test)]
mod tests;
