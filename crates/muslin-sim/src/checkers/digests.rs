//! R6: the applied state is a function of the committed log, so digests are equal at equal indexes.

use super::Broken;
use muslin_core::base::{Index, NodeId};
use std::collections::BTreeMap;

/// Digests are compared at every so many entries: a digest costs little.
pub(crate) const STRIDE: u64 = 1;

/// Digests of the reference are kept for so many strides behind the newest.
const KEPT: usize = 4_096;

#[derive(Default)]
pub(crate) struct Digests {
    reference: BTreeMap<Index, u64>,
}

impl Digests {
    /// Whether the digest at this index is compared.
    pub(crate) fn wants(index: Index) -> bool {
        index.0.is_multiple_of(STRIDE)
    }

    /// What a state that applied every entry one by one says.
    pub(crate) fn on_reference(&mut self, index: Index, digest: u64) {
        self.reference.insert(index, digest);
        if self.reference.len() > KEPT {
            self.reference.pop_first();
        }
    }

    /// What a node's state says, however it came there.
    pub(crate) fn on_node(&self, node: NodeId, index: Index, digest: u64) -> Result<(), Broken> {
        match self.reference.get(&index) {
            Some(expected) if *expected != digest => {
                let facts = format!(
                    "{node:?} applied up to {index} and has digest {digest:016x}; \
                     the entries one by one give {expected:016x}"
                );
                Err(Broken::new("R6", facts))
            }
            _ => Ok(()),
        }
    }
}
