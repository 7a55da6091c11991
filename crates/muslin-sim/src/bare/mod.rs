//! A bare group: replicas of any implementation under a machine of registers, and nothing else.
//!
//! Without gossip, sessions and a key-value store a step costs a fraction, so that far more of the
//! protocol's own trouble fits into the same time. Clients write values that are never written
//! twice, and read all registers at once at any replica; every answer is held against the order of
//! the log, and that against the order of real time.

mod crowd;
mod operator;
mod ours;
mod registers;
mod seated;
mod settle;

pub(crate) use seated::world;
