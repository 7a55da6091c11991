//! What two nodes compare to find where their views differ.

use crate::base::{Fnv64, Incarnation, NodeId};
use alloc::boxed::Box;

/// Parts a view is compared in. At 64 the digest takes a quarter of a packet, and one difference
/// among 5,000 members costs the words about 80.
pub const BUCKETS: usize = 64;

/// A sum of each bucket: of which lives its live members are.
///
/// Members that are down or left are not in it, so that nodes that have forgotten them agree with
/// those that have not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Digest(Box<[u32; BUCKETS]>);

impl Default for Digest {
    fn default() -> Digest {
        Digest(Box::new([0; BUCKETS]))
    }
}

impl Digest {
    /// From its sums.
    pub fn new(sums: [u32; BUCKETS]) -> Digest {
        Digest(Box::new(sums))
    }

    /// Its sums.
    pub fn sums(&self) -> &[u32; BUCKETS] {
        &self.0
    }

    /// Puts one in that is not in, or takes one out that is.
    pub(super) fn toggle(&mut self, node: NodeId, incarnation: Incarnation) {
        let mut hash = Fnv64::new();
        hash.write_u64(node.0);
        hash.write_u64(incarnation.0);
        let bits = hash.finish();
        self.0[bucket_of(node)] ^= (bits ^ (bits >> 32)) as u32;
    }

    /// Which buckets differ.
    pub(super) fn difference(&self, other: &Digest) -> Buckets {
        let pairs = self.0.iter().zip(other.0.iter()).enumerate();
        Buckets(pairs.fold(0, |set, (at, (one, two))| set | u64::from(one != two) << at))
    }
}

/// A set of buckets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Buckets(pub u64);

impl Buckets {
    /// Whether it has none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn has(self, node: NodeId) -> bool {
        self.0 & Buckets::of(node).0 != 0
    }

    pub(super) fn or(self, other: Buckets) -> Buckets {
        Buckets(self.0 | other.0)
    }

    /// The one that a node is in.
    pub(super) fn of(node: NodeId) -> Buckets {
        Buckets(1 << bucket_of(node))
    }
}

fn bucket_of(node: NodeId) -> usize {
    let mut hash = Fnv64::new();
    hash.write_u64(node.0);
    let bits = hash.finish();
    ((bits ^ (bits >> 29)) % BUCKETS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_found_in_each_bucket_and_nowhere_else() {
        let mut seen = 0;
        for node in (1..1_000).map(NodeId) {
            let (mut one, mut two) = (Digest::default(), Digest::default());
            for other in (1..1_000).map(NodeId) {
                one.toggle(other, Incarnation(1));
                let life = Incarnation(1 + u64::from(other == node));
                two.toggle(other, life);
            }
            let difference = one.difference(&two);
            assert!(difference.has(node), "{node}");
            assert_eq!(difference.0.count_ones(), 1);
            seen |= difference.0;
        }
        assert_eq!(seen, u64::MAX, "a thousand members fill all buckets");
    }

    #[test]
    fn what_was_taken_out_again_leaves_no_trace() {
        let mut digest = Digest::default();
        digest.toggle(NodeId(7), Incarnation(0));
        assert!(!digest.difference(&Digest::default()).is_empty());
        digest.toggle(NodeId(7), Incarnation(0));
        assert_eq!(digest, Digest::default());
    }
}
