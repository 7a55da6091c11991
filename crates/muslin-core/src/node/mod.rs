//! The node as one value: membership view, control group and replicated state joined.
//!
//! PLACEHOLDER-DOC

mod types;

pub use types::*;
