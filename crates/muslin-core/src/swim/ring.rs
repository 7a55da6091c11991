//! Who tracks whom in a large cluster.
//!
//! All members stand on a ring, in the order of a hash of their ids. Each tracks the members that
//! follow it, up to a number, and so is tracked by as many that come before it: its watchers. Those
//! next to each other track nearly the same members, so that a suspicion soon finds others to
//! confirm or to refute it; with members chosen at random hardly anybody else would watch the same
//! one, and a suspicion would run to its longest time.

use super::Options;
use crate::base::{Fnv64, NodeId};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::SocketAddr;

/// Whom a node tracks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Scope {
    /// Everybody it hears of.
    #[default]
    All,
    /// These only; others are known to it by the record.
    Slice(BTreeMap<NodeId, Tracked>),
}

/// One member of a slice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tracked {
    /// Where the record says it is.
    pub address: SocketAddr,
    /// It follows on the ring, so that this node is one of its watchers; otherwise it is tracked
    /// because it is needed.
    pub is_watched: bool,
}

impl Scope {
    pub(super) fn covers(&self, node: NodeId) -> bool {
        match self {
            Scope::All => true,
            Scope::Slice(slice) => slice.contains_key(&node),
        }
    }

    pub(super) fn is_slice(&self) -> bool {
        matches!(self, Scope::Slice(_))
    }
}

/// Where a node stands on the ring. The id breaks ties.
fn place(node: NodeId) -> (u64, NodeId) {
    let mut hash = Fnv64::new();
    hash.write_u64(node.0);
    // FNV's upper bits differ little between near numbers; these shifts spread them.
    let mut bits = hash.finish();
    bits ^= bits >> 33;
    bits = bits.wrapping_mul(0xff51_afd7_ed55_8ccd);
    (bits ^ (bits >> 33), node)
}

/// The members that follow `node` on the ring, the next first, at most `count`.
pub fn successors(
    node: NodeId,
    members: impl IntoIterator<Item = NodeId>,
    count: usize,
) -> Vec<NodeId> {
    let own = place(node);
    nearest(members, node, count, |place| (place < own, place))
}

/// The members that come before `node` on the ring, the last first, at most `count`: its watchers.
pub fn watchers(
    node: NodeId,
    members: impl IntoIterator<Item = NodeId>,
    count: usize,
) -> Vec<NodeId> {
    let own = place(node);
    nearest(members, node, count, |(bits, id)| {
        let place = (bits, id);
        (place > own, (u64::MAX - bits, NodeId(u64::MAX - id.0)))
    })
}

fn nearest<K: Ord>(
    members: impl IntoIterator<Item = NodeId>,
    node: NodeId,
    count: usize,
    order: impl Fn((u64, NodeId)) -> K,
) -> Vec<NodeId> {
    // The nearest so far, of which the farthest goes when there are too many.
    let mut near: BTreeMap<K, NodeId> = BTreeMap::new();
    for member in members {
        if member != node {
            near.insert(order(place(member)), member);
        }
        if near.len() > count {
            near.pop_last();
        }
    }
    near.into_values().collect()
}

/// Whom `node` tracks in a cluster of these `members`: everybody, or above
/// [`Options::slice_above`] its successors and those in `keep`. `locate` says where one is; whoever
/// has no address is left out.
pub fn scope(
    node: NodeId,
    options: &Options,
    members: &BTreeSet<NodeId>,
    keep: &BTreeSet<NodeId>,
    locate: impl Fn(NodeId) -> Option<SocketAddr>,
) -> Scope {
    if members.len() <= options.slice_above {
        return Scope::All;
    }
    let mut slice = BTreeMap::new();
    for kept in keep.iter().filter(|kept| **kept != node) {
        if let Some(address) = locate(*kept) {
            slice.insert(*kept, Tracked { address, is_watched: false });
        }
    }
    for next in successors(node, members.iter().copied(), options.slice) {
        if let Some(address) = locate(next) {
            slice.insert(next, Tracked { address, is_watched: true });
        }
    }
    Scope::Slice(slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn members(count: u64) -> impl Iterator<Item = NodeId> + Clone {
        (1..=count).map(NodeId)
    }

    #[test]
    fn who_follows_is_watched_by_who_comes_before() {
        for (count, slice) in [(1, 3), (2, 3), (5, 3), (5, 10), (200, 32)] {
            for node in members(count) {
                for next in successors(node, members(count), slice) {
                    let watchers = watchers(next, members(count), slice);
                    assert!(watchers.contains(&node), "{node} tracks {next} of {count}");
                    assert!(watchers.len() == slice.min(count as usize - 1));
                }
            }
        }
    }

    #[test]
    fn the_ring_goes_around_once_in_one_order() {
        let mut walked = vec![NodeId(1)];
        for _ in 1..50 {
            let last = walked[walked.len() - 1];
            walked.push(successors(last, members(50), 1)[0]);
        }
        assert_eq!(successors(walked[49], members(50), 1), [NodeId(1)]);
        assert_eq!(successors(NodeId(1), members(50), 49), walked[1..]);
        let mut back = watchers(NodeId(1), members(50), 49);
        back.reverse();
        assert_eq!(back, walked[1..]);
        walked.sort_unstable();
        assert_eq!(walked, members(50).collect::<Vec<_>>());
    }

    #[test]
    fn a_newcomer_changes_the_slices_of_those_before_it_only() {
        let changed = members(1_000).filter(|node| {
            successors(*node, members(1_000), 32) != successors(*node, members(1_001), 32)
        });
        assert_eq!(changed.count(), 32);
    }

    #[test]
    fn a_small_cluster_is_tracked_whole_and_a_large_one_by_slices_that_keep_who_is_needed() {
        let options = Options { slice_above: 10, slice: 4, ..Options::fast() };
        let place = |node: NodeId| Some(SocketAddr::new([10, 0, 0, 1].into(), node.0 as u16));
        let keep = BTreeSet::from([NodeId(1), NodeId(2)]);
        let small: BTreeSet<NodeId> = members(10).collect();
        assert_eq!(scope(NodeId(1), &options, &small, &keep, place), Scope::All);
        let large: BTreeSet<NodeId> = members(11).collect();
        let Scope::Slice(slice) = scope(NodeId(1), &options, &large, &keep, place) else {
            panic!("eleven are more than ten");
        };
        let watched = slice.iter().filter(|(_, tracked)| tracked.is_watched).map(|(id, _)| *id);
        let mut next = successors(NodeId(1), members(11), 4);
        next.sort_unstable();
        assert_eq!(watched.collect::<Vec<_>>(), next);
        assert!(slice.contains_key(&NodeId(2)) && !slice.contains_key(&NodeId(1)));
        assert!(slice.len() <= 5);
    }
}
