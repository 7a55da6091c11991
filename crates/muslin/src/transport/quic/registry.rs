//! What the tasks of a transport share.

use super::hello::Greeter;
use super::peer::Peer;
use crate::transport::gossip::Ear;
use crate::transport::seal::Sealer;
use crate::transport::{IncomingSender, Roster, TransportCounters};
use muslin_core::base::{ClusterId, Epoch, NodeId};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

/// Peers known at once: as many as gossip remembers senders.
pub const PEERS_MAX: usize = crate::transport::seal::SENDERS_MAX;

/// Who this node is, its peers, and where what comes in goes.
pub(super) struct Registry {
    pub(super) cluster: ClusterId,
    pub(super) node: NodeId,
    pub(super) boot: u64,
    /// Drawn at the start.
    pub(super) session: u64,
    pub(super) counters: Arc<TransportCounters>,
    pub(super) incoming: IncomingSender,
    pub(super) sealer: Sealer,
    pub(super) roster: Arc<Roster>,
    pub(super) table: Mutex<Table>,
}

/// Who is known.
#[derive(Default)]
pub(super) struct Table {
    pub(super) peers: BTreeMap<NodeId, Arc<Peer>>,
}

impl Registry {
    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("no holder of this lock panics")
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.roster.epoch()
    }

    /// What greetings of this node say.
    pub(super) fn greeter(&self) -> Greeter {
        let (cluster, node, boot) = (self.cluster, self.node, self.boot);
        Greeter { cluster, epoch: self.epoch(), node, boot, session: self.session }
    }

    /// Opens a gossip datagram and hands it up. Never waits, never answers.
    pub(super) fn take_datagram(&self, from: SocketAddr, datagram: &[u8]) {
        let (sealer, roster) = (&self.sealer, &*self.roster);
        let (counters, incoming) = (&*self.counters, &self.incoming);
        let ear = Ear { node: self.node, sealer, roster, counters, incoming };
        let Some((sender, boot)) = ear.take(from, datagram) else { return };
        let peer = self.table().peers.get(&sender).cloned();
        if let Some(peer) = peer {
            peer.heard(boot);
        }
    }
}
