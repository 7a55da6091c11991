//! The replica in small clusters: scripts for what it does in a given case, seeds for what it must
//! never do in any.

mod cluster;
mod describe;
mod ledger;
mod log;
mod property;
mod scripts;
mod tail;
