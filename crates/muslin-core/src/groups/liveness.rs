//! Who is alive among the nodes that share a group with this one: one short message each way per
//! interval and pair of nodes, however many groups they share.

use super::{Message, Output};
use crate::base::{NodeId, Now, Outputs};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

/// What is known of the nodes that share groups with this one.
#[derive(Debug)]
pub(super) struct Liveness {
    boot: u64,
    every: Duration,
    timeout: Duration,
    peers: BTreeMap<NodeId, Peer>,
    /// When to say again that this node is alive, and look who is not.
    due: Now,
}

#[derive(Debug)]
struct Peer {
    /// How many groups are shared.
    groups: usize,
    heard: Now,
    is_alive: bool,
    /// Start counter of its data directory, as it said last.
    boot: Option<u64>,
}

/// A change that groups must be told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// It fell silent.
    Silent(NodeId),
    /// It is heard again.
    Back(NodeId),
    /// It started anew: what it was sent before may be lost.
    Anew(NodeId),
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
        let unheard = Peer { groups: 0, heard: now, is_alive: true, boot: None };
        self.peers.entry(node).or_insert(unheard).groups += 1;
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
        if peer.is_alive {
            return None;
        }
        peer.is_alive = true;
        Some(Change::Back(node))
    }

    /// The peer said of which start it is.
    pub(super) fn on_alive(&mut self, node: NodeId, boot: u64) -> Option<Change> {
        let peer = self.peers.get_mut(&node)?;
        let before = peer.boot.replace(boot)?;
        (before != boot).then_some(Change::Anew(node))
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
            let message = Message::Alive { boot: self.boot };
            out.push(Output::Send { to: *node, after: None, message });
            if peer.is_alive && peer.heard + self.timeout <= now {
                peer.is_alive = false;
                changes.push(Change::Silent(*node));
            }
        }
        changes
    }
}
