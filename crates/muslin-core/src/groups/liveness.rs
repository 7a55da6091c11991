//! Who is alive among the nodes that share a group with this one: one short message each way per
//! interval and pair of nodes, however many groups they share. A node that is heard and hears
//! nothing is of no use to a group: each message says whether its receiver is heard, and alive is
//! who is heard and hears. One that says other things only does not know, perhaps, that it shares a
//! group; it may be deaf all the same, and counts as that.

use super::{Message, Output};
use crate::base::{NodeId, Now, Outputs};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

/// What is known of the nodes that share groups with this one.
#[derive(Clone, Debug)]
pub(super) struct Liveness {
    boot: u64,
    every: Duration,
    timeout: Duration,
    peers: BTreeMap<NodeId, Peer>,
    /// When to say again that this node is alive, and look who is not.
    due: Now,
}

#[derive(Clone, Debug)]
struct Peer {
    /// How many groups are shared.
    groups: usize,
    heard: Now,
    /// It says that it does not hear this node, or has not said for long that it does.
    is_deaf: bool,
    /// When it last said whether it hears this node.
    spoke: Now,
    is_alive: bool,
    /// Start counter of its data directory, as it said last.
    boot: Option<u64>,
}

/// A change that groups must be told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// It fell silent.
    Silent(NodeId),
    /// It is heard again, and hears.
    Back(NodeId),
    /// It started anew: what it was sent before may be lost.
    Anew(NodeId),
    /// It said for the first time of which start it is: what it was sent before that may have gone
    /// to an earlier one.
    Met(NodeId),
}

impl Liveness {
    pub(super) fn new(boot: u64, every: Duration, timeout: Duration, now: Now) -> Liveness {
        Liveness { boot, every, timeout, peers: BTreeMap::new(), due: now }
    }

    /// One more group is shared with this node, which counts as alive until it is silent.
    pub(super) fn share(&mut self, now: Now, node: NodeId) {
        if self.peers.is_empty() {
            self.due = now;
        }
        let unheard = || Peer {
            groups: 0,
            heard: now,
            is_deaf: false,
            spoke: now,
            is_alive: true,
            boot: None,
        };
        self.peers.entry(node).or_insert_with(unheard).groups += 1;
    }

    /// One less.
    pub(super) fn unshare(&mut self, node: NodeId) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.groups -= 1;
        if peer.groups == 0 {
            self.peers.remove(&node);
        }
    }

    /// Whether it is known to be alive; `None` of a node that shares nothing.
    pub(super) fn is_alive(&self, node: NodeId) -> Option<bool> {
        self.peers.get(&node).map(|peer| peer.is_alive)
    }

    /// Nodes that share groups, and whether they are alive.
    pub(super) fn peers(&self) -> impl Iterator<Item = (NodeId, bool)> + '_ {
        self.peers.iter().map(|(node, peer)| (*node, peer.is_alive))
    }

    /// The peer said something, whatever it was.
    pub(super) fn on_heard(&mut self, now: Now, node: NodeId) -> Option<Change> {
        let peer = self.peers.get_mut(&node)?;
        peer.heard = now;
        if peer.is_alive || peer.is_deaf {
            return None;
        }
        peer.is_alive = true;
        peer.spoke = now;
        Some(Change::Back(node))
    }

    /// The peer said of which start it is and whether it hears this node.
    pub(super) fn on_alive(
        &mut self,
        now: Now,
        node: NodeId,
        (boot, is_deaf): (u64, bool),
    ) -> Option<Change> {
        let peer = self.peers.get_mut(&node)?;
        peer.is_deaf = is_deaf;
        peer.spoke = now;
        let before = peer.boot.replace(boot);
        let was_alive = core::mem::replace(&mut peer.is_alive, !is_deaf);
        match (was_alive, peer.is_alive) {
            (true, false) => Some(Change::Silent(node)),
            (false, true) => Some(Change::Back(node)),
            (true, true) if before.is_none() => Some(Change::Met(node)),
            (true, true) if before != Some(boot) => Some(Change::Anew(node)),
            (true, true) | (false, false) => None,
        }
    }

    pub(super) fn deadline(&self) -> Option<Now> {
        (!self.peers.is_empty()).then_some(self.due)
    }

    /// Says that this node is alive, when it is time to; and who was silent for too long.
    pub(super) fn on_tick(&mut self, now: Now, out: &mut Outputs<Output>) -> Vec<Change> {
        if self.peers.is_empty() || now < self.due {
            return Vec::new();
        }
        self.due = now + self.every;
        let mut changes = Vec::new();
        for (node, peer) in &mut self.peers {
            let is_deaf = peer.heard + self.timeout <= now;
            let message = Message::Alive { boot: self.boot, is_deaf };
            out.push(Output::Send { to: *node, after: None, message });
            // Later than silence would be noticed: whoever is cut off in the middle of other words
            // is silent, and alive at the next one.
            let is_strange = !is_deaf && peer.spoke + self.timeout * 2 <= now;
            peer.is_deaf |= is_strange;
            if peer.is_alive && (is_deaf || is_strange) {
                peer.is_alive = false;
                changes.push(Change::Silent(*node));
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_millis(100);
    const TIMEOUT: Duration = Duration::from_millis(500);
    const PEER: NodeId = NodeId(2);

    fn shared() -> Liveness {
        let mut liveness = Liveness::new(1, EVERY, TIMEOUT, Now::START);
        liveness.share(Now::START, PEER);
        liveness
    }

    /// Hears the peer say something every 100 ms until a moment, and what that came to.
    fn hear(liveness: &mut Liveness, until: u64, says: Option<bool>) -> Vec<(u64, Change)> {
        let from = liveness.due.0 / 1_000_000;
        let mut changes = Vec::new();
        for millis in (from..=until).step_by(100) {
            let now = Now::from_millis(millis);
            changes.extend(liveness.on_heard(now, PEER).map(|change| (millis, change)));
            let change = says.and_then(|is_deaf| liveness.on_alive(now, PEER, (7, is_deaf)));
            changes.extend(change.map(|change| (millis, change)));
            let silent = liveness.on_tick(now, &mut Outputs::new());
            changes.extend(silent.into_iter().map(|change| (millis, change)));
        }
        changes
    }

    #[test]
    fn who_says_that_it_hears_is_alive() {
        let mut liveness = shared();
        assert_eq!(hear(&mut liveness, 2_000, Some(false)), [(0, Change::Met(PEER))]);
        assert_eq!(liveness.is_alive(PEER), Some(true));
    }

    #[test]
    fn who_was_silent_is_alive_at_its_first_word() {
        let mut liveness = shared();
        assert_eq!(liveness.on_tick(Now::from_millis(900), &mut Outputs::new()).len(), 1);
        let back = [(1_000, Change::Back(PEER)), (1_000, Change::Met(PEER))];
        assert_eq!(hear(&mut liveness, 2_000, Some(false)), back);
    }

    #[test]
    fn who_says_that_it_is_deaf_is_not_alive_until_it_says_that_it_hears() {
        let mut liveness = shared();
        assert_eq!(hear(&mut liveness, 900, Some(true)), [(0, Change::Silent(PEER))]);
        assert_eq!(hear(&mut liveness, 2_000, Some(false)), [(1_000, Change::Back(PEER))]);
    }

    #[test]
    fn who_never_says_whether_it_hears_is_not_alive_however_much_else_it_says() {
        let mut liveness = shared();
        assert_eq!(hear(&mut liveness, 2_000, None), [(1_000, Change::Silent(PEER))]);
        assert_eq!(hear(&mut liveness, 3_000, Some(false)), [(2_100, Change::Back(PEER))]);
    }
}
