//! What the tasks of a transport share.

use super::hello::Greeter;
use super::peer::Peer;
use crate::transport::seal::{Sealer, Unsealed};
use crate::transport::{Incoming, IncomingSender, TransportCounters};
use muslin_core::base::{ClusterId, Epoch, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// Peers known at once: as many as gossip remembers senders.
pub const PEERS_MAX: usize = crate::transport::seal::SENDERS_MAX;

/// Removed nodes remembered; beyond it the one of the smallest id is forgotten, and the node's
/// record alone keeps it out.
const REMOVED_MAX: usize = 65_536;

/// Who this node is, its peers, and where what comes in goes.
pub(super) struct Registry {
    pub(super) cluster: ClusterId,
    pub(super) node: NodeId,
    pub(super) boot: u64,
    pub(super) counters: Arc<TransportCounters>,
    pub(super) incoming: IncomingSender,
    pub(super) sealer: Sealer,
    pub(super) epoch: AtomicU64,
    pub(super) table: Mutex<Table>,
}

/// Who is known.
#[derive(Default)]
pub(super) struct Table {
    pub(super) peers: BTreeMap<NodeId, Arc<Peer>>,
    pub(super) removed: BTreeSet<NodeId>,
}

impl Table {
    /// Bars a node; its peer, if it has one.
    pub(super) fn remove(&mut self, node: NodeId) -> Option<Arc<Peer>> {
        self.removed.insert(node);
        if self.removed.len() > REMOVED_MAX {
            self.removed.pop_first();
        }
        self.peers.remove(&node)
    }
}

impl Registry {
    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("no holder of this lock panics")
    }

    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Relaxed))
    }

    /// What greetings of this node say.
    pub(super) fn greeter(&self) -> Greeter {
        let (cluster, node, boot) = (self.cluster, self.node, self.boot);
        Greeter { cluster, epoch: self.epoch(), node, boot }
    }

    /// Opens a gossip datagram and hands it up. Never waits, never answers.
    pub(super) fn take_datagram(&self, from: SocketAddr, datagram: &[u8]) {
        let counters = &self.counters;
        let opened = match self.sealer.open(self.epoch(), datagram) {
            Ok(opened) => opened,
            Err(unsealed) => return self.count_unsealed(unsealed),
        };
        let (peer, is_removed) = {
            let table = self.table();
            let peer = table.peers.get(&opened.sender).cloned();
            (peer, table.removed.contains(&opened.sender))
        };
        // One's own datagram comes back only from someone who plays it back.
        if is_removed || opened.sender == self.node {
            return counters.datagrams_removed.raise();
        }
        if let Some(peer) = peer {
            peer.heard(opened.boot);
        }
        counters.datagrams_in.raise();
        counters.datagram_bytes_in.add(datagram.len() as u64);
        let delivered = self.incoming.try_send(Incoming::Datagram { from, bytes: opened.bytes });
        if delivered.is_err() {
            counters.datagrams_overrun.raise();
        }
    }

    fn count_unsealed(&self, unsealed: Unsealed) {
        let counters = &self.counters;
        let counter = match unsealed {
            Unsealed::Short => &counters.datagrams_short,
            Unsealed::Long => &counters.datagrams_long,
            Unsealed::Kind => &counters.datagrams_unknown_kind,
            Unsealed::Cluster => &counters.datagrams_wrong_cluster,
            Unsealed::Epoch => &counters.datagrams_old_epoch,
            Unsealed::Key => &counters.datagrams_unknown_key,
            Unsealed::Forged => &counters.datagrams_forged,
            Unsealed::Replayed => &counters.datagrams_replayed,
        };
        counter.raise();
    }
}
