//! The members of an earlier process of this node.

use super::{CONTACTS_MAX, Discovery, tidy};
use crate::data_dir::DataDir;
use muslin_core::base::NodeId;
use muslin_core::swim::{Liveness, ViewEntry};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Where members were last seen by an earlier process of this node: `peers.json` in its data
/// directory, replaced in one step when membership changes. The file is a hint: one that is damaged
/// is said to be, and is none.
pub struct LastSeen {
    addresses: Vec<SocketAddr>,
}

impl LastSeen {
    /// Reads the file.
    pub fn new(directory: &DataDir) -> LastSeen {
        let peers = directory.peers().unwrap_or_else(|error| {
            tracing::warn!(%error, "going on without the members last seen");
            BTreeMap::new()
        });
        LastSeen { addresses: tidy(peers.into_values()) }
    }

    /// What to write down of a view: all but the node itself, as many as are kept, the living
    /// first. One that is down may be back when this node is.
    pub fn of_view(view: &[ViewEntry], own: NodeId) -> BTreeMap<NodeId, SocketAddr> {
        let mut others: Vec<&ViewEntry> = view.iter().filter(|seen| seen.node != own).collect();
        others.sort_by_key(|seen| (seen.state != Liveness::Alive, seen.node));
        others.into_iter().take(CONTACTS_MAX).map(|seen| (seen.node, seen.address)).collect()
    }
}

impl Discovery for LastSeen {
    fn contacts(&mut self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }
}
