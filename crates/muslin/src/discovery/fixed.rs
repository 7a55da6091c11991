//! A list that stays.

use super::{Discovery, tidy};
use crate::data_dir::DataDir;
use std::net::SocketAddr;

/// Addresses that do not change while the process runs: from a configuration, or remembered.
pub struct Fixed {
    addresses: Vec<SocketAddr>,
}

impl Fixed {
    /// These.
    pub fn new(addresses: impl IntoIterator<Item = SocketAddr>) -> Fixed {
        Fixed { addresses: tidy(addresses) }
    }

    /// Where members were last seen by an earlier process of this node. The file is a hint: one
    /// that cannot be read is none.
    pub fn last_seen(directory: &DataDir) -> Fixed {
        let peers = directory.peers().unwrap_or_else(|error| {
            tracing::warn!(%error, "going on without the members last seen");
            Default::default()
        });
        Fixed::new(peers.into_values())
    }
}

impl Discovery for Fixed {
    fn contacts(&mut self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }
}
