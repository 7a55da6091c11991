//! State machines of an application, replicated by groups of their own.
//!
//! A [`StateMachine`] carries commands out, in the same order on every replica, and answers whoever
//! gave them. A [`Kind`] binds one to a name and a [`Codec`](crate::codec::Codec): registered with
//! the [`Machines`](muslin_core::groups::Machines) of every node, it makes the replicas; on a
//! node's [`Handle`](crate::driver::Handle) it makes [`Machine`]s, which ask them.
//!
//! A command takes effect once, however often it is asked for: each has a [`Key`], drawn by
//! [`Machine::propose`] or said by whoever asks ([`Machine::propose_as`]), and the group remembers
//! what it answered, over changes of leader, restarts and snapshots. See
//! [`muslin_core::groups::Receipted`] for how long.
//!
//! [`contract`] is what a state machine must obey.

mod bound;
mod client;
pub mod contract;
mod kind;
#[cfg(test)]
mod tests;

pub use client::{Done, Key, Machine, MachineError};
pub use kind::{Codes, Kind};

use muslin_core::base::Index;

/// What a group replicates, with the types of an application.
///
/// The same commands in the same order must give the same state and the same answers on every
/// replica: no clock, no chance, no hash order. What a command needs of these, whoever asks for it
/// puts in.
pub trait StateMachine: Default + Send + 'static {
    /// What changes it.
    type Command;
    /// What a command is answered with.
    type Answer;
    /// What is asked of it.
    type Query;
    /// What a query is answered with.
    type Reply;
    /// All of its state.
    type Snapshot;

    /// Carries a committed command out. Cannot fail: one that makes no sense is answered so.
    fn apply(&mut self, index: Index, command: Self::Command) -> Self::Answer;

    /// Answers; changes nothing.
    fn query(&self, query: Self::Query) -> Self::Reply;

    /// The whole state.
    fn snapshot(&self) -> Self::Snapshot;

    /// Becomes the state that a snapshot was made of.
    fn restore(&mut self, snapshot: Self::Snapshot);
}
