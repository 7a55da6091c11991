//! Whole nodes: what a world of them consists of besides the machines.
//!
//! | file | what |
//! | --- | --- |
//! | `clients`, `asks` | what is asked of them |
//! | `careful` | clients that hold locks, put for a while, and ask again under a key |
//! | `groups` | what is asked of their groups, and what the answers are held against |
//! | `operator` | who is admitted and removed |
//! | `settle` | what must hold of them once all is well |
//! | `strangers` | another cluster, which gossips to the addresses of this one |
//! | `subject` | the node as what a world is made of |
//! | `tending` | all that an operator may do about members |
//! | `watchers` | those of its clients that follow changes |
//! | `trace` | their inputs and outputs as numbers and as text |

mod asks;
mod careful;
mod clients;
mod groups;
#[cfg(test)]
mod hand;
mod operator;
mod settle;
mod strangers;
mod subject;
mod tending;
mod trace;
mod watchers;

#[cfg(test)]
pub(crate) use asks::Answer;
pub(crate) use subject::{Nodes, foreign_snapshot, promise_of, view_of, world};
use subject::{SECRET_HASH, TOKEN, TOKEN_FOR_ONE, member_at};
pub(crate) use trace::fold_raft;
