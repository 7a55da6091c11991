//! Which voter feeds which member: rendezvous hashing (Thaler and Ravishankar, 1998). Each member
//! draws a number for each voter, and asks them in the order of their numbers. Without one voter
//! only its own members move, and to all others alike; when it is back, the same ones return.

use crate::base::{Fnv64, NodeId};
use alloc::vec::Vec;

/// What the member draws for the voter: the highest wins.
fn draw(member: NodeId, voter: NodeId) -> u64 {
    let mut hash = Fnv64::new();
    hash.write_u64(member.0);
    hash.write_u64(voter.0);
    // The last byte has hardly moved the upper half (the finalizer of MurmurHash3).
    let mut mixed = hash.finish();
    mixed = (mixed ^ mixed >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed = (mixed ^ mixed >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ mixed >> 33
}

/// The voters in the order in which a member asks them.
pub(super) fn in_order(member: NodeId, voters: impl Iterator<Item = NodeId>) -> Vec<NodeId> {
    let mut voters: Vec<NodeId> = voters.filter(|voter| *voter != member).collect();
    voters.sort_unstable_by_key(|voter| core::cmp::Reverse((draw(member, *voter), *voter)));
    voters
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn first(member: u64, voters: &[u64]) -> u64 {
        in_order(NodeId(member), voters.iter().copied().map(NodeId))[0].0
    }

    #[test]
    fn each_voter_has_its_share_and_none_has_much_more() {
        for far in [1, 1 << 40] {
            let mut shares = BTreeMap::<u64, u64>::new();
            for member in 100..1_100 {
                *shares.entry(first(member * far, &[1, 2, 3])).or_default() += 1;
            }
            assert_eq!(shares.len(), 3, "{shares:?}");
            assert!(shares.values().all(|share| (270..400).contains(share)), "{shares:?}");
        }
    }

    #[test]
    fn when_a_voter_goes_only_its_own_members_move() {
        let mut heirs = BTreeMap::<u64, u64>::new();
        for member in 100..1_100 {
            let (before, after) = (first(member, &[1, 2, 3]), first(member, &[1, 3]));
            assert!(before == after || before == 2);
            if before == 2 {
                *heirs.entry(after).or_default() += 1;
            }
        }
        assert!(heirs.values().all(|share| *share > 100), "{heirs:?}");
    }

    #[test]
    fn nobody_asks_itself() {
        assert_eq!(in_order(NodeId(1), [NodeId(1)].into_iter()), []);
    }
}
