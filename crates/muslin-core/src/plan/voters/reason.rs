//! What is planned, and why, in numbers and in words.

use crate::base::NodeId;
use crate::base::quorum::Tally;
use core::fmt;

/// The next change of the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VoterStep {
    /// Send it the log.
    AddLearner(NodeId),
    /// A learner has caught up: let it vote.
    Promote(NodeId),
    /// Take its vote; it goes on receiving the log.
    Demote(NodeId),
    /// Neither let it vote nor have the leader send it the log.
    Remove(NodeId),
}

/// Why a step is taken, or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VoterReason {
    /// As many vote as are to.
    AtTarget,
    /// A change is under way.
    Changing,
    /// Too few voters answer: nothing could be committed.
    NoQuorum,
    /// Its disk lost what it promised (R11).
    LostData(NodeId),
    /// It is no member of the record.
    NoMember(NodeId),
    /// An operator wants it not to vote, or it has not the role.
    Unwanted(NodeId),
    /// It was down for longer than the grace time, or left.
    Overdue(NodeId),
    /// More vote than are to.
    Surplus(NodeId),
    /// There is a seat for it.
    Seat(NodeId),
    /// An operator wants it to vote.
    Promoted(NodeId),
    /// Its zone has fewer voters than another.
    Spread(NodeId),
    /// It is to receive the log, for a seat or to stand by for one.
    Receives(NodeId),
    /// It receives the log from the leader, and is not to vote: a voter feeds it.
    NoCandidate(NodeId),
    /// More stand by than are needed: a voter feeds it.
    SpareTooMany(NodeId),
    /// It receives the log, and has not caught up.
    CatchesUp(NodeId),
    /// It is to go, and no majority would be left.
    KeepsMajority(NodeId),
    /// It is to go, and a spare is to take its seat first.
    AwaitsSpare(NodeId),
    /// There are seats and nobody to take them.
    NoSpare,
}

/// What the planner makes of a view.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VoterPlan {
    /// The next step, if there is one to take.
    pub step: Option<VoterStep>,
    /// Why.
    pub reason: VoterReason,
    /// How many are to vote.
    pub target: usize,
    /// The voters as they are.
    pub before: Tally,
    /// As they are after the step; as they would be after the one that is not taken.
    pub after: Tally,
}

impl fmt::Display for VoterStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VoterStep::AddLearner(id) => write!(f, "send the log to {id:?}"),
            VoterStep::Promote(id) => write!(f, "let {id:?} vote"),
            VoterStep::Demote(id) => write!(f, "take the vote of {id:?}"),
            VoterStep::Remove(id) => write!(f, "remove {id:?}"),
        }
    }
}

impl fmt::Display for VoterReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VoterReason::AtTarget => f.write_str("as many vote as are to"),
            VoterReason::Changing => f.write_str("a change is under way"),
            VoterReason::NoQuorum => f.write_str("too few voters answer to change anything"),
            VoterReason::LostData(id) => write!(f, "the disk of {id:?} lost data"),
            VoterReason::NoMember(id) => write!(f, "{id:?} is no member"),
            VoterReason::Unwanted(id) => write!(f, "{id:?} is not to vote"),
            VoterReason::Overdue(id) => write!(f, "{id:?} is gone for too long"),
            VoterReason::Surplus(_) => f.write_str("more vote than are to"),
            VoterReason::Seat(_) => f.write_str("there is a seat"),
            VoterReason::Promoted(id) => write!(f, "{id:?} was promoted"),
            VoterReason::Spread(id) => write!(f, "the zone of {id:?} has fewer voters"),
            VoterReason::Receives(id) => write!(f, "{id:?} is to stand by"),
            VoterReason::NoCandidate(id) => write!(f, "{id:?} is not to vote, and is fed"),
            VoterReason::SpareTooMany(id) => write!(f, "enough stand by without {id:?}"),
            VoterReason::CatchesUp(id) => write!(f, "{id:?} has not caught up"),
            VoterReason::KeepsMajority(id) => {
                write!(f, "removing {id:?} would leave no majority")
            }
            VoterReason::AwaitsSpare(id) => {
                write!(f, "a spare is to take the seat of {id:?} first")
            }
            VoterReason::NoSpare => f.write_str("nobody is there to take the free seats"),
        }
    }
}

/// "2 of 3 voters answer; removing n2 would leave no majority".
impl fmt::Display for VoterPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let VoterPlan { step, reason, target, before, after } = self;
        write!(f, "{before}, {target} are to vote; ")?;
        match step {
            None => write!(f, "{reason}"),
            Some(step) => {
                let (before, after) = (before.spare().unwrap_or(0), after.spare().unwrap_or(0));
                write!(f, "{step}: {reason}; {before} could fail, then {after}")
            }
        }
    }
}
