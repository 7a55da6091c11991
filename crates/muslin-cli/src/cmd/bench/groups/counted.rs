//! A transport that counts what goes through it.

use bytes::Bytes;
use muslin::transport::Transport;
use muslin_core::base::{GroupId, NodeId};
use muslin_core::groups::Message;
use muslin_core::node::PeerMessage;
use muslin_core::wire;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A kind of message.
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// It grows with the number of groups.
    pub(super) is_of_group: bool,
}

/// All that is told apart, in the order of the counts.
pub(super) const KINDS: [Kind; 5] = [
    Kind { name: "control group", is_of_group: false },
    Kind { name: "nodes saying they live", is_of_group: false },
    Kind { name: "gossip", is_of_group: false },
    Kind { name: "consensus of groups", is_of_group: true },
    Kind { name: "requests to groups", is_of_group: true },
];

/// How many messages of each of [`KINDS`].
#[derive(Default)]
pub(super) struct Counts {
    by_kind: [AtomicU64; KINDS.len()],
}

impl Counts {
    pub(super) fn read(&self) -> [u64; KINDS.len()] {
        std::array::from_fn(|at| self.by_kind[at].load(Ordering::Relaxed))
    }

    fn add(&self, kind: usize) {
        self.by_kind[kind].fetch_add(1, Ordering::Relaxed);
    }
}

/// Passes everything on.
pub(super) struct Counted<T> {
    pub(super) inner: Arc<T>,
    pub(super) counts: Arc<Counts>,
}

impl<T: Transport> Transport for Counted<T> {
    fn send(&self, to: NodeId, message: Bytes) {
        self.counts.add(match wire::decode_peer(message.clone()) {
            Ok(PeerMessage::Raft { group, .. }) if group != GroupId::CONTROL => 3,
            Ok(PeerMessage::Groups(Message::Alive { .. })) => 1,
            Ok(PeerMessage::Groups(_)) => 4,
            _ => 0,
        });
        self.inner.send(to, message);
    }

    fn datagram(&self, to: SocketAddr, bytes: Bytes) {
        self.counts.add(2);
        self.inner.datagram(to, bytes);
    }

    fn route(&self, node: NodeId, address: SocketAddr) {
        self.inner.route(node, address);
    }

    fn unroute(&self, node: NodeId) {
        self.inner.unroute(node);
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.inner.close()
    }
}
