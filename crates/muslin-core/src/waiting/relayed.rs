//! What peers have handed to this replica to append, until the next flush.

use super::Proposal;
use crate::base::NodeId;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use bytes::Bytes;
use prost::Message as _;

/// Encoded proposals of peers, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Relayed(Vec<(NodeId, Bytes)>);

impl Relayed {
    pub(crate) fn add(&mut self, from: NodeId, proposals: Vec<Bytes>) {
        self.0.extend(proposals.into_iter().map(|bytes| (from, bytes)));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first `count` of them.
    pub(crate) fn take(&mut self, count: usize) -> Vec<Bytes> {
        let count = count.min(self.0.len());
        self.0.drain(..count).map(|(_, bytes)| bytes).collect()
    }

    /// All of them, to be refused: their sequences by who sent them. Whoever sent them sends them
    /// again, to the leader or here.
    pub(crate) fn refuse(&mut self) -> BTreeMap<NodeId, Vec<u64>> {
        let mut by_origin: BTreeMap<NodeId, Vec<u64>> = BTreeMap::new();
        for (from, bytes) in self.0.drain(..) {
            if let Ok(proposal) = Proposal::decode(bytes) {
                by_origin.entry(from).or_default().push(proposal.sequence);
            }
        }
        by_origin
    }
}
