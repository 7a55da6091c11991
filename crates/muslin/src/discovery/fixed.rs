//! A list that stays.

use super::{Discovery, tidy};
use std::net::SocketAddr;

/// Addresses that do not change while the process runs: from a configuration, or from a founding.
pub struct Fixed {
    addresses: Vec<SocketAddr>,
}

impl Fixed {
    /// These.
    pub fn new(addresses: impl IntoIterator<Item = SocketAddr>) -> Fixed {
        Fixed { addresses: tidy(addresses) }
    }
}

impl Discovery for Fixed {
    fn contacts(&mut self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }
}
