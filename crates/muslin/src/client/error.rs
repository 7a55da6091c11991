//! What can go wrong with a call, by what can be done about it.

use hyper::StatusCode;
use serde::Deserialize;
use thiserror::Error;

/// Why a call has no answer of success.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ClientError {
    /// Nobody answers there: the node does not run, or cannot be reached, or is not trusted.
    /// Nothing was asked of it.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// Where.
        address: String,
        /// What the system says.
        reason: String,
    },
    /// The answer did not come in time. A write may or may not have happened.
    #[error("{address} did not answer in time")]
    Timeout {
        /// Who.
        address: String,
    },
    /// The node answered that it did not do it.
    #[error("{detail}")]
    Problem {
        /// The HTTP status.
        status: u16,
        /// For programs to match on; empty when the answer was no problem document.
        code: String,
        /// What happened.
        detail: String,
        /// What to do; may be empty.
        hint: String,
    },
    /// The connection broke, or what came is not what a node says. A write may or may not have
    /// happened.
    #[error("{address} broke off or does not answer as a node does: {reason}")]
    Protocol {
        /// Who.
        address: String,
        /// What is wrong.
        reason: String,
    },
}

/// The members of a problem document (RFC 9457) that are looked at.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    title: String,
    code: String,
    detail: String,
    hint: String,
}

impl ClientError {
    /// What an answer of failure says, whether it is a problem document or not.
    pub(super) fn of_answer(status: StatusCode, body: &[u8]) -> ClientError {
        let document: Document = serde_json::from_slice(body).unwrap_or_default();
        let said = [document.detail, document.title].into_iter().find(|text| !text.is_empty());
        ClientError::Problem {
            status: status.as_u16(),
            code: document.code,
            detail: said.unwrap_or_else(|| format!("the node answered {status}")),
            hint: document.hint,
        }
    }
}
