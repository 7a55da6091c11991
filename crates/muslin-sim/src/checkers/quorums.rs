//! R1 and R8 from inside: whoever leads was given the votes of a quorum, and any two quorums that
//! could decide overlap.

use super::Broken;
use muslin_core::base::{NodeId, Term};
use muslin_core::raft::Configuration;
use std::collections::BTreeSet;

/// A node leads; `has_voted` says who told it so on the wire. Its own vote never travels. One of
/// the configurations was in force.
pub(crate) fn check_elected(
    (node, term): (NodeId, Term),
    in_force: &[&Configuration],
    has_voted: impl Fn(NodeId) -> bool,
) -> Result<(), Broken> {
    if in_force.iter().any(|it| it.is_quorum(|voter| voter == node || has_voted(voter))) {
        return Ok(());
    }
    let members: BTreeSet<NodeId> = in_force.iter().flat_map(|it| it.members()).collect();
    let by: Vec<NodeId> = members.into_iter().filter(|voter| has_voted(*voter)).collect();
    let facts = format!(
        "{node:?} leads in term {term} with the votes of {by:?} and its own; who votes: \
         {in_force:?}"
    );
    Err(Broken::new("R1", facts))
}

/// A leader appended the last of these; the first is that in force where its log is committed. Any
/// of them may be all that some other candidate knows of.
pub(crate) fn check_overlap(node: NodeId, in_log: &[&Configuration]) -> Result<(), Broken> {
    let Some((last, earlier)) = in_log.split_last() else { return Ok(()) };
    match earlier.iter().find(|other| can_disagree(last, other)) {
        Some(other) => {
            let facts = format!(
                "{node:?} appends {last:?} while {other:?} may still decide: two quorums share \
                 nobody"
            );
            Err(Broken::new("R8", facts))
        }
        None => Ok(()),
    }
}

/// Whether the voters can be parted so that each side is a quorum of one configuration.
fn can_disagree(one: &Configuration, other: &Configuration) -> bool {
    let sets = [&one.voters, &one.outgoing, &other.voters, &other.outgoing];
    let mut all: Vec<NodeId> = sets.into_iter().flatten().copied().collect();
    all.sort_unstable();
    all.dedup();
    let is_in =
        |side: u32, id: NodeId| all.binary_search(&id).is_ok_and(|place| side & (1 << place) != 0);
    (0..1_u32 << all.len())
        .any(|side| one.is_quorum(|id| is_in(side, id)) && other.is_quorum(|id| is_in(!side, id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(voters: &[u64], outgoing: &[u64]) -> Configuration {
        let outgoing = outgoing.iter().copied().map(NodeId).collect();
        Configuration { outgoing, ..Configuration::of_voters(voters.iter().copied().map(NodeId)) }
    }

    #[test]
    fn one_voter_more_overlaps_and_two_do_not() {
        let three = of(&[1, 2, 3], &[]);
        assert!(!can_disagree(&three, &of(&[1, 2, 3, 4], &[])));
        assert!(can_disagree(&three, &of(&[1, 2, 3, 4, 5], &[])));
        assert!(!can_disagree(&three, &of(&[4, 5, 6], &[1, 2, 3])));
    }

    #[test]
    fn a_leader_needs_the_votes_of_both_sets() {
        let joint = of(&[3, 4, 5], &[1, 2, 3]);
        let check = |votes: &[u64]| {
            check_elected((NodeId(1), Term(1)), &[&joint], |id| votes.contains(&id.0)).is_ok()
        };
        assert!(check(&[2, 4, 5]));
        assert!(!check(&[4, 5]));
        assert!(!check(&[2, 3]));
    }
}
