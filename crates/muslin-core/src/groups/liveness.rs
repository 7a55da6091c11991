//! Who is alive among the nodes that share a group with this one: one short message each way per
//! interval and pair of nodes, however many groups they share. A node that is heard and hears
//! nothing is of no use to a group: each message says whether its receiver is heard, and alive is
//! who is heard and hears.

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
    /// It says that it does not hear this node.
    is_deaf: bool,
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
        let unheard = Peer { groups: 0, heard: now, is_deaf: false, is_alive: true, boot: None };
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
        if peer.is_alive || peer.is_deaf {
            return None;
        }
        peer.is_alive = true;
        Some(Change::Back(node))
    }

    /// The peer, heard just before, said of which start it is and whether it hears this node.
    pub(super) fn on_alive(&mut self, node: NodeId, boot: u64, is_deaf: bool) -> Option<Change> {
        let peer = self.peers.get_mut(&node)?;
        peer.is_deaf = is_deaf;
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
            if peer.is_alive && is_deaf {
                peer.is_alive = false;
                changes.push(Change::Silent(*node));
            }
        }
        changes
    }
}
