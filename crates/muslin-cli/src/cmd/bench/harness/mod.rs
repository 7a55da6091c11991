//! What every engine is measured with: the closed loop of proposers, the queues between threads,
//! the disk's own speed and the figures.
//!
//! `peers/bench` compiles the same files, so that other engines meet the same load and the same
//! arithmetic; hence nothing here names anything outside this directory.

pub(crate) mod disk;
pub(crate) mod figures;
pub(crate) mod mailbox;
pub(crate) mod proposers;
