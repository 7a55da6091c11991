//! The queue of what is still to be spread.

use crate::base::NodeId;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Reverse;

/// Most nodes with news to spread at once. Beyond it the news sent most often goes: whoever has
/// missed it learns it from the periodic sync.
pub(super) const RUMORS_MAX: usize = 2_048;

/// Rumors looked at for one packet; the smallest takes 22 bytes, so more than this never fit.
const TRIED_PER_PACKET: usize = 64;

/// What is being spread: one rumor per node, the latest, least sent first.
///
/// Only names are kept. What is said is read from the view when it is sent, so that it cannot be
/// old.
#[derive(Debug, Default)]
pub(super) struct RumorQueue {
    waiting: BTreeMap<NodeId, Waiting>,
    order: BTreeSet<Place>,
    last_sequence: u64,
}

/// Least sent first; of those, the latest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place {
    sent: u32,
    sequence: Reverse<u64>,
    node: NodeId,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    place: Place,
    by: NodeId,
    bytes: usize,
}

/// One rumor taken for a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Taken {
    /// About whom.
    pub(super) node: NodeId,
    /// Who said so.
    pub(super) by: NodeId,
}

impl RumorQueue {
    /// Spreads news about a node, said by `by`, that take `bytes` in a packet. Replaces older news.
    pub(super) fn push(&mut self, node: NodeId, by: NodeId, bytes: usize) {
        self.remove(node);
        if self.waiting.len() == RUMORS_MAX {
            let most_sent = self.order.last().expect("a full queue has a last place").node;
            self.remove(most_sent);
        }
        self.last_sequence += 1;
        let place = Place { sent: 0, sequence: Reverse(self.last_sequence), node };
        self.insert(Waiting { place, by, bytes });
    }

    /// Says no more about a node.
    pub(super) fn remove(&mut self, node: NodeId) {
        if let Some(waiting) = self.waiting.remove(&node) {
            let was_there = self.order.remove(&waiting.place);
            assert!(was_there, "every waiting rumor has its place in the order");
        }
    }

    /// Takes what fits into `budget` bytes, without `except`, and counts it as sent once more. What
    /// has been sent `limit` times is not kept.
    pub(super) fn take(&mut self, budget: usize, limit: u32, except: &[NodeId]) -> Vec<Taken> {
        let mut left = budget;
        let mut chosen = Vec::new();
        for place in self.order.iter().take(TRIED_PER_PACKET) {
            let waiting = self.waiting[&place.node];
            if waiting.bytes <= left && !except.contains(&place.node) {
                left -= waiting.bytes;
                chosen.push(waiting);
            }
        }
        for waiting in &chosen {
            self.count_sent(waiting.place.node, limit);
        }
        chosen.iter().map(|waiting| Taken { node: waiting.place.node, by: waiting.by }).collect()
    }

    /// Counts a rumor that went along for another reason.
    pub(super) fn count_sent(&mut self, node: NodeId, limit: u32) {
        if let Some(mut waiting) = self.waiting.get(&node).copied() {
            self.remove(node);
            waiting.place.sent += 1;
            if waiting.place.sent < limit {
                self.insert(waiting);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn insert(&mut self, waiting: Waiting) {
        let is_fresh = self.order.insert(waiting.place);
        assert!(is_fresh, "sequence numbers are not reused");
        self.waiting.insert(waiting.place.node, waiting);
        assert!(self.waiting.len() == self.order.len(), "one place for each waiting rumor");
        assert!(self.waiting.len() <= RUMORS_MAX, "the queue is bounded");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn taken(queue: &mut RumorQueue, budget: usize) -> Vec<u64> {
        queue.take(budget, 3, &[]).iter().map(|taken| taken.node.0).collect()
    }

    #[test]
    fn the_least_sent_goes_first_and_the_latest_of_those() {
        let mut queue = RumorQueue::default();
        queue.push(NodeId(1), NodeId(9), 10);
        assert_eq!(taken(&mut queue, 10), vec![1]);
        queue.push(NodeId(2), NodeId(9), 10);
        queue.push(NodeId(3), NodeId(9), 10);
        assert_eq!(taken(&mut queue, 20), vec![3, 2]);
        assert_eq!(taken(&mut queue, 30), vec![3, 2, 1]);
        assert_eq!(taken(&mut queue, 30), vec![3, 2, 1]);
        assert!(queue.is_empty(), "each was sent three times");
    }

    #[test]
    fn a_large_rumor_does_not_keep_small_ones_back() {
        let mut queue = RumorQueue::default();
        queue.push(NodeId(1), NodeId(9), 10);
        queue.push(NodeId(2), NodeId(9), 500);
        assert_eq!(taken(&mut queue, 100), vec![1]);
    }

    #[test]
    fn a_full_queue_drops_what_was_sent_most() {
        let mut queue = RumorQueue::default();
        queue.push(NodeId(0), NodeId(9), 1);
        queue.take(1, 9, &[]);
        for node in 1..=RUMORS_MAX as u64 {
            queue.push(NodeId(node), NodeId(9), 1);
        }
        assert_eq!(queue.waiting.len(), RUMORS_MAX);
        assert!(!queue.waiting.contains_key(&NodeId(0)));
    }
}
