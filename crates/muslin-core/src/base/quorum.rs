//! Majority arithmetic, in a file of its own so that it can be checked by hand.

use super::mutant::{self, Mutant};
use super::{Index, NodeId};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::fmt;

/// The smallest number of `voters` of which any two choices overlap.
pub fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// How many of `voters` may fail while a majority is left.
pub fn survives(voters: usize) -> usize {
    voters.saturating_sub(majority(voters))
}

/// Whether those for whom `holds` is true are a majority of `voters`. False for no voters.
pub fn is_majority(voters: &BTreeSet<NodeId>, mut holds: impl FnMut(NodeId) -> bool) -> bool {
    !voters.is_empty() && voters.iter().filter(|id| holds(**id)).count() >= majority(voters.len())
}

/// The highest index that a majority of `voters` has reached, by `reached`. Zero for no voters.
pub fn majority_index(voters: &BTreeSet<NodeId>, reached: impl Fn(NodeId) -> Index) -> Index {
    if voters.is_empty() {
        return Index::ZERO;
    }
    let mut all: Vec<Index> = voters.iter().map(|id| reached(*id)).collect();
    if !mutant::is_active(Mutant::CommitUnsorted) {
        all.sort_unstable();
    }
    // Everything from this place on, a majority of them, is at least this high.
    all[all.len() - majority(all.len())]
}

/// Voters and how many of them answer: the arithmetic that a refusal explains itself with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// How many vote.
    pub voters: usize,
    /// How many of them answer.
    pub answering: usize,
}

impl Tally {
    /// Counts those of `voters` for whom `answers` is true.
    pub fn of(voters: &BTreeSet<NodeId>, mut answers: impl FnMut(NodeId) -> bool) -> Tally {
        let answering = voters.iter().filter(|id| answers(**id)).count();
        Tally { voters: voters.len(), answering }
    }

    /// How many have to answer.
    pub fn needed(&self) -> usize {
        majority(self.voters)
    }

    /// How many more may fail; `None` when too few answer already, or nobody votes.
    pub fn spare(&self) -> Option<usize> {
        if self.voters == 0 { None } else { self.answering.checked_sub(self.needed()) }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { voters, answering } = self;
        match (voters, answering) {
            (1, _) => write!(f, "{answering} of 1 voter answers"),
            (_, 1) => write!(f, "1 of {voters} voters answers"),
            _ => write!(f, "{answering} of {voters} voters answer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reached: &[u64], expected: u64) {
        let voters: BTreeSet<NodeId> = (1..=reached.len() as u64).map(NodeId).collect();
        let at = |id: NodeId| Index(reached[id.0 as usize - 1]);
        assert_eq!(majority_index(&voters, at), Index(expected), "{reached:?}");
    }

    #[test]
    fn a_majority_has_reached_the_lower_median() {
        check(&[], 0);
        check(&[5], 5);
        check(&[5, 0], 0);
        check(&[5, 3, 0], 3);
        check(&[9, 5, 3, 0], 3);
        check(&[9, 5, 3, 0, 0], 3);
    }

    #[test]
    fn a_tally_says_how_many_more_may_fail() {
        let spare = |answering, voters| Tally { voters, answering }.spare();
        assert_eq!([spare(3, 3), spare(2, 3), spare(1, 3)], [Some(1), Some(0), None]);
        assert_eq!(spare(0, 0), None);
        let words = [(2, 3), (1, 3), (1, 1)]
            .map(|(answering, voters)| std::format!("{}", Tally { voters, answering }));
        assert_eq!(
            words,
            ["2 of 3 voters answer", "1 of 3 voters answers", "1 of 1 voter answers"]
        );
    }

    #[test]
    fn three_survive_one_and_four_no_more() {
        assert_eq!([1, 2, 3, 4, 5].map(survives), [0, 0, 1, 1, 2]);
    }
}
