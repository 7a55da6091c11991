//! A node put together: data directory, identity, transport, discovery, driver and API.
//!
//! [`init`] makes the first node of a cluster, [`join`] another one, [`init_founders`] several at
//! once on one machine; [`run`] runs what they made until it is told to stop. Applications that
//! want a part of this only take the part: each is public by itself. [`survey`] is for the day on
//! which most voters are lost.
//!
//! # Invariants
//! - Nothing is served before the data directory is this process's alone, and its start counter is
//!   raised and durable.
//! - The process ends when its driver does: a node is never half alive.
//! - A node that was refused has changed nothing, here or in the cluster.

mod admission;
mod afresh;
mod backups;
mod contacts;
mod copies;
mod errand;
mod error;
mod files;
mod found;
mod keeper;
mod load;
mod options;
mod presence;
mod recovery;
mod removed;
mod restore;
mod rotation;
mod run;
mod wallet;
mod ways;

pub use error::DaemonError;
pub use found::{init, init_founders, join};
pub use options::{InitAnswer, InitOptions, JoinOptions, JoinedAnswer, Profile, UpOptions};
pub use recovery::{Answering, Candidate, RecoveredAnswer, Survivors, survey};
pub use removed::RemovedNote;
pub use restore::{RestoreAnswer, restore};
pub use run::{Embedding, run, run_with};
