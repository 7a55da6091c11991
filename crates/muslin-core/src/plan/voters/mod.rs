//! Who votes in the control group.
//!
//! Few vote, whatever the size of the cluster: each voter costs every write a round. Few learn,
//! too: one that is to have a seat, and a spare that stands by for one. All other members are fed
//! by the voters, and the leader does not know of it. A learner votes once it has caught up, so
//! that it never holds up a commit before (Raft thesis 4.2.1). One change at a time: each is a
//! joint change of its own (R8).
//!
//! A seat is one of the [`VoterView::target`] votes. Seats are filled, and emptied, so that zones
//! have about as many each; whoever an operator wants to vote comes first. A voter that has to go
//! (it is drained, demoted, down for too long, of no control role, or no member) goes once a spare
//! has taken its seat, or at once when that costs nothing.
//!
//! # Invariants
//! 1. No step leaves a configuration without a majority of living voters, or is planned without
//!    one: it could not commit.
//! 2. A promotion never lowers how many more failures the group survives. Neither does a demotion
//!    or a removal, but for a surplus voter, down to what the target survives, and for one that an
//!    operator wants gone while there is no spare.
//! 3. Who is no member of the record any more is not asked to vote for longer than 1 allows.
//! 4. Whose disk lost data (R11) loses its vote before anything else is planned, and counts as
//!    failed until it has rebuilt.
//! 5. Every plan says why, with the numbers before and after it ([`VoterPlan`]).
//!
//! # Departures
//! An even number of voters survives no more than the odd one below it, and is passed through (or
//! stayed in, with two members) all the same: a second copy of the log is worth a second voter.

mod planner;
mod reason;
#[cfg(test)]
mod tests;
mod view;

pub use planner::voters;
pub use reason::{VoterPlan, VoterReason, VoterStep};
pub use view::{CAUGHT_UP_ENTRIES, LARGE_CONTROL_MEMBERS, LARGE_VOTERS, SMALL_VOTERS, VoterView};
