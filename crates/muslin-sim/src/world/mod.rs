//! The whole cluster and all that can happen to it, one thing after another.
//!
//! | file | what |
//! | --- | --- |
//! | `steps` | the [`World`]: what is going to happen, and letting it |
//! | `process` | the driver of every node |
//! | `clients`, `asks` | what is asked of them |
//! | `operator` | who is admitted and removed |
//! | `faults` | what goes wrong |
//! | `settle` | what must hold once it no longer does |

mod asks;
mod clients;
mod faults;
#[cfg(test)]
mod hand;
mod operator;
mod process;
mod settle;
mod steps;

#[cfg(test)]
pub(crate) use asks::Answer;
pub(crate) use steps::World;
