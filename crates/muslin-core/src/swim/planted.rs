//! Planted bugs, to show that the tests of this module can see. Each was shipped by somebody, or is
//! one line away from what is here. None can be switched on outside of the tests, but those that
//! the simulator hunts as well (feature `mutants`).

use super::machine::Swim;
#[cfg(not(test))]
use crate::base::mutant::{self, Mutant};

/// One planted bug.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bug {
    /// `Down` wins whatever life it is about (foca 2.0: a live node that has refuted must rejoin).
    DownBeatsAnyLife,
    /// An acknowledgement is matched by its number alone (SlimCluster 0.9).
    AnyAckSettles,
    /// The suspicion timer runs at the accuser only (foca 2.0).
    OnlyAccuserTimes,
    /// "It did not answer me" is taken for an answer.
    NackIsAck,
    /// The digest never finds one of its buckets to differ.
    BucketIgnored,
    /// A suspect hears of it by chance only.
    SuspectNotTold,
    /// An answer over a stream is not counted.
    StreamAnswerLost,
    /// Whoever was let in once need not show a valid ticket again.
    TicketCheckedOncePerNode,
    /// A ticket is believed, whoever gave it.
    TicketOfAnyCluster,
    /// What a stopped process did not hear counts against the others.
    StoppedNodeJudges,
    /// A refutation leaves the life as it was.
    RefutesInSameLife,
    /// A member outside of the slice is taken in by its rumor.
    SliceNotBounded,
}

impl Swim {
    /// Whether this bug was planted here.
    #[cfg(test)]
    pub(super) fn has(&self, bug: Bug) -> bool {
        self.planted == Some(bug)
    }

    /// Whether this bug was planted here: never, outside of the tests and the simulator's hunts.
    #[cfg(not(test))]
    #[inline(always)]
    pub(super) fn has(&self, bug: Bug) -> bool {
        bug.mutant().is_some_and(mutant::is_active)
    }
}

impl Bug {
    /// The same bug where the simulator can plant it; the others show in scripts only.
    #[cfg(not(test))]
    #[inline(always)]
    fn mutant(self) -> Option<Mutant> {
        match self {
            Bug::DownBeatsAnyLife => Some(Mutant::DownBeatsAnyLife),
            Bug::NackIsAck => Some(Mutant::NackIsAck),
            Bug::RefutesInSameLife => Some(Mutant::RefutesInSameLife),
            Bug::TicketOfAnyCluster => Some(Mutant::TicketOfAnyCluster),
            Bug::AnyAckSettles
            | Bug::OnlyAccuserTimes
            | Bug::BucketIgnored
            | Bug::SuspectNotTold
            | Bug::StoppedNodeJudges
            | Bug::StreamAnswerLost
            | Bug::TicketCheckedOncePerNode
            | Bug::SliceNotBounded => None,
        }
    }
}
