//! Taking gossip datagrams in, the same for every transport that seals them.

use super::seal::{Sealer, Unsealed};
use super::{Barred, Incoming, IncomingSender, Roster, TransportCounters};
use muslin_core::base::{Epoch, NodeId};
use std::net::SocketAddr;

/// What a transport opens datagrams with.
pub(super) struct Ear<'a> {
    /// This node.
    pub(super) node: NodeId,
    pub(super) sealer: &'a Sealer,
    pub(super) roster: &'a Roster,
    pub(super) counters: &'a TransportCounters,
    pub(super) incoming: &'a IncomingSender,
}

impl Ear<'_> {
    /// Opens a datagram and hands it up; which start of which node sealed it. Never waits, never
    /// answers.
    pub(super) fn take(&self, from: SocketAddr, datagram: &[u8]) -> Option<(NodeId, u64)> {
        let counters = self.counters;
        let opened = match self.sealer.open_if(datagram, |sender, wire| self.admits(sender, wire)) {
            Ok(opened) => opened,
            Err(unsealed) => {
                count(counters, unsealed);
                return None;
            }
        };
        counters.datagrams_in.raise();
        counters.datagram_bytes_in.add(datagram.len() as u64);
        let delivered = self.incoming.try_send(Incoming::Datagram { from, bytes: opened.bytes });
        if delivered.is_err() {
            counters.datagrams_overrun.raise();
        }
        Some((opened.sender, opened.boot))
    }

    /// Asked before anything is decrypted: what it believes of the header is checked with the rest.
    fn admits(&self, sender: NodeId, wire: u32) -> Result<(), Unsealed> {
        // One's own datagram comes back only from someone who plays it back.
        if sender == self.node {
            return Err(Unsealed::Removed);
        }
        // An epoch that the lower half takes for a later one is let in, as one heard of early.
        let epoch = Epoch(self.roster.epoch().0 >> 32 << 32 | u64::from(wire));
        self.roster.check(sender, epoch).map_err(|barred| match barred {
            Barred::Removed => Unsealed::Removed,
            Barred::Outdated => Unsealed::Epoch,
        })
    }
}

fn count(counters: &TransportCounters, unsealed: Unsealed) {
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
