//! The deciding half of Muslin.
//!
//! Everything in this crate is a plain value that is stepped: it takes the present time, an input
//! and a seed, and answers with an ordered list of outputs. It never reads a clock, draws entropy,
//! opens a socket or a file, takes a lock or starts a thread; `no_std` makes most of that a compile
//! error.
//!
//! Reading order: [`base`] (the shape every machine has), [`raft`] (agreement), [`swim`] (who is
//! alive), [`state`] (what is replicated), [`groups`] (many more of them), [`node`] (the value that
//! joins them).
#![no_std]
#![deny(missing_docs)]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod base;
pub mod groups;
pub mod node;
pub mod plan;
pub mod raft;
pub mod state;
pub mod swim;
mod waiting;
pub mod wire;
