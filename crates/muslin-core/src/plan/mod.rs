//! Planners: pure functions from what is desired and what is observed to steps.
//!
//! A planner is asked again after every change of what it looks at. It keeps nothing between calls,
//! so that a leader that takes over goes on where the last one stopped, and it answers with the
//! next step alone: what follows is planned from what that step turned out to be.
//!
//! - [`voters`]: who votes in the control group.
//! - [`leaders`]: who leads which group.
//!
//! # Invariants
//! 1. The same observation gives the same step.
//! 2. A step that was carried out is not planned again: every planner comes to rest.
//!
//! # Not here
//! Carrying steps out, and remembering which one is under way: the node does both.

mod leaders;
mod voters;

pub use leaders::{BALANCE_MOVES_MAX, GroupView, LeaderView, leaders};
pub use voters::{
    CAUGHT_UP_ENTRIES, LARGE_CONTROL_MEMBERS, LARGE_VOTERS, SMALL_VOTERS, VoterPlan, VoterReason,
    VoterStep, VoterView, voters,
};
