//! What can go wrong with a call, by what can be done about it.

use hyper::StatusCode;
use serde::Deserialize;
use std::time::Duration;
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
    /// What is asked does not fit into a request. Nobody was asked.
    #[error("the request cannot be made: {reason}; nothing was sent")]
    Unsendable {
        /// What is wrong with it.
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
        /// When the node wants to be asked again, if it said so.
        retry_after: Option<Duration>,
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
    retry_after_ms: Option<u64>,
}

/// Refusals after which nothing has happened and the same node will soon take the same request.
const ASK_AGAIN: [&str; 2] = ["busy", "starting"];

impl ClientError {
    /// When to ask the same of the same node again: it refused for the moment, and said when.
    /// `None` for anything else, after which something may have happened or asking again is of
    /// no use.
    pub fn ask_again_after(&self) -> Option<Duration> {
        match self {
            ClientError::Problem { code, retry_after, .. } if ASK_AGAIN.contains(&&**code) => {
                *retry_after
            }
            _ => None,
        }
    }

    /// What an answer of failure says, whether it is a problem document or not.
    pub(super) fn of_answer(status: StatusCode, body: &[u8]) -> ClientError {
        let document: Document = serde_json::from_slice(body).unwrap_or_default();
        let said = [document.detail, document.title].into_iter().find(|text| !text.is_empty());
        ClientError::Problem {
            status: status.as_u16(),
            code: document.code,
            detail: said.unwrap_or_else(|| format!("the node answered {status}")),
            hint: document.hint,
            retry_after: document.retry_after_ms.map(Duration::from_millis),
        }
    }
}
