//! `muslin dev`: a real cluster on this machine, to try and to break.
//!
//! One process supervises; each node is a child process of its own, so that it can be killed,
//! paused and started again. [`plan`] says where everything goes and refuses what cannot work
//! before anything starts; [`fleet`] owns the children; [`ready`] waits for answered writes;
//! [`say`] prints (JSON lines for scripts, tables for people); [`order`] reads what is typed or
//! piped in; [`run()`] is the loop that joins them.
//!
//! # Invariants
//! 1. No child outlives the supervisor, however it ends: the kernel kills them when it is gone, and
//!    they end by themselves at the end of the pipe on their stdin.
//! 2. A directory that held a cluster before is never removed.
//! 3. The ready line stands for a write answered through every node.

mod fleet;
mod order;
mod plan;
mod ready;
mod run;
mod say;
mod temporary;

pub(crate) use run::run;
