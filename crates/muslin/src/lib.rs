//! Muslin: a light-weight cluster fabric.
//!
//! PLACEHOLDER-DOC
#![deny(missing_docs)]

#[cfg(feature = "api")]
pub mod api;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "api")]
pub mod daemon;
pub mod data_dir;
pub mod discovery;
pub mod driver;
pub mod identity;
pub mod join;
pub mod store;
pub mod transport;

pub use muslin_core as core;
