//! What the tasks of a transport share.

use super::hello::Greeter;
use super::peer::Peer;
use crate::transport::seal::{Sealer, Unsealed};
use crate::transport::{Barred, Incoming, IncomingSender, Roster, TransportCounters};
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
        Greeter { cluster, epoch: self.epoch(), node, boot }
    }

    /// Opens a gossip datagram and hands it up. Never waits, never answers.
    pub(super) fn take_datagram(&self, from: SocketAddr, datagram: &[u8]) {
        let counters = &self.counters;
        let opened = match self.sealer.open_if(datagram, |sender, wire| self.admits(sender, wire)) {
            Ok(opened) => opened,
            Err(unsealed) => return self.count_unsealed(unsealed),
        };
        let peer = self.table().peers.get(&opened.sender).cloned();
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

    /// Asked before anything is decrypted: what it believes of the header is checked with the rest.
    fn admits(&self, sender: NodeId, wire: u32) -> Result<(), Unsealed> {
        // One's own datagram comes back only from someone who plays it back.
        if sender == self.node {
            return Err(Unsealed::Removed);
        }
        // An epoch that the lower half takes for a later one is let in, as one heard of early.
        let epoch = Epoch(self.epoch().0 >> 32 << 32 | u64::from(wire));
        self.roster.check(sender, epoch).map_err(|barred| match barred {
            Barred::Removed => Unsealed::Removed,
            Barred::Outdated => Unsealed::Epoch,
        })
    }

    fn count_unsealed(&self, unsealed: Unsealed) {
        let counters = &self.counters;
        let counter = match unsealed {
            Unsealed::Short => &counters.datagrams_short,
            Unsealed::Long => &counters.datagrams_long,
            Unsealed::Kind => &counters.datagrams_unknown_kind,
            Unsealed::Cluster => &counters.datagrams_wrong_cluster,
            Unsealed::Epoch => &counters.datagrams_old_epoch,
            Unsealed::Removed => &counters.datagrams_removed,
            Unsealed::Key => &counters.datagrams_unknown_key,
            Unsealed::Forged => &counters.datagrams_forged,
            Unsealed::Replayed => &counters.datagrams_replayed,
        };
        counter.raise();
    }
}
