//! Those that ask a node which tracks a slice of the cluster, and are not in that slice: its
//! watchers.

use crate::base::{NodeId, Now, Prng};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;

/// Most callers remembered: twice the watchers a node has, since some come by other ways. Beyond it
/// the one that was silent longest is forgotten.
const CALLERS_MAX: usize = 64;

/// Where they are, and when they were last heard.
#[derive(Debug, Default)]
pub(super) struct Callers {
    all: BTreeMap<NodeId, (SocketAddr, Now)>,
}

impl Callers {
    pub(super) fn note(&mut self, node: NodeId, address: SocketAddr, now: Now) {
        self.all.insert(node, (address, now));
        if self.all.len() > CALLERS_MAX {
            let oldest = self.all.iter().min_by_key(|(_, (_, at))| *at).map(|(node, _)| *node);
            self.remove(oldest.expect("a full map has an oldest entry"));
        }
    }

    pub(super) fn remove(&mut self, node: NodeId) {
        self.all.remove(&node);
    }

    pub(super) fn clear(&mut self) {
        self.all.clear();
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.all.values().map(|(address, _)| *address).collect()
    }

    /// Some of them, at random.
    pub(super) fn sample(&self, count: usize, rng: &mut Prng) -> Vec<SocketAddr> {
        let mut some = self.addresses();
        rng.shuffle(&mut some);
        some.truncate(count);
        some
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_was_silent_longest_is_forgotten() {
        let mut callers = Callers::default();
        let place = SocketAddr::new([10, 0, 0, 1].into(), 1);
        for node in 0..=CALLERS_MAX as u64 {
            callers.note(NodeId(node), place, Now(100 - node));
        }
        assert_eq!(callers.all.len(), CALLERS_MAX);
        assert!(!callers.all.contains_key(&NodeId(CALLERS_MAX as u64)));
        assert_eq!(callers.sample(3, &mut Prng::seeded(1)).len(), 3);
    }
}
