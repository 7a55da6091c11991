//! Several discoveries as one.

use super::{Discovery, tidy};
use std::net::SocketAddr;

/// Asks several, in order, and leaves out this node itself.
pub struct Combined {
    own: SocketAddr,
    parts: Vec<Box<dyn Discovery>>,
}

impl Combined {
    /// Of no parts yet, for the node at this address.
    pub fn new(own: SocketAddr) -> Combined {
        Combined { own, parts: Vec::new() }
    }

    /// Asks this one, too. What comes first is kept when there are too many addresses.
    #[must_use]
    pub fn with(mut self, part: impl Discovery + 'static) -> Combined {
        self.parts.push(Box::new(part));
        self
    }
}

impl Discovery for Combined {
    fn contacts(&mut self) -> Vec<SocketAddr> {
        let own = self.own;
        let all = self.parts.iter_mut().flat_map(|part| part.contacts());
        tidy(all.filter(|address| *address != own))
    }
}
