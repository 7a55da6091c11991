//! A snapshot on its way in, piece by piece.

use super::{Snapshot, SnapshotMeta};
use crate::base::Sum64;
use crate::base::mutant::{self, Mutant};
use alloc::vec::Vec;
use bytes::Bytes;

/// What has come of a snapshot without a gap. The sum is kept along, so that the last piece costs
/// no more than any other.
#[derive(Clone, Debug)]
pub(crate) struct Arriving {
    meta: SnapshotMeta,
    total: u64,
    checksum: u64,
    /// Grows with what has come, never by what was announced.
    received: Vec<u8>,
    sum: Sum64,
}

/// One piece of it.
pub(crate) struct Chunk {
    pub(crate) meta: SnapshotMeta,
    pub(crate) offset: u64,
    /// Bytes of the whole.
    pub(crate) total: u64,
    /// [`Sum64`] of the whole.
    pub(crate) checksum: u64,
    pub(crate) data: Bytes,
}

impl Arriving {
    /// Takes a chunk if it continues what is here or begins another snapshot. Bytes held without a
    /// gap after it.
    pub(crate) fn take(slot: &mut Option<Arriving>, chunk: Chunk) -> u64 {
        if !slot.as_ref().is_some_and(|arriving| arriving.is_of(&chunk)) {
            if chunk.offset > 0 {
                return 0;
            }
            let Chunk { ref meta, total, checksum, .. } = chunk;
            let (meta, received, sum) = (meta.clone(), Vec::new(), Sum64::default());
            *slot = Some(Arriving { meta, total, checksum, received, sum });
        }
        let Some(arriving) = slot else { return 0 };
        let is_next = arriving.received.len() as u64 == chunk.offset;
        if is_next && chunk.data.len() as u64 <= arriving.total.saturating_sub(chunk.offset) {
            arriving.received.extend_from_slice(&chunk.data);
            arriving.sum.write(&chunk.data);
        }
        arriving.received.len() as u64
    }

    /// Bytes held of the snapshot that this chunk is of.
    pub(crate) fn held(slot: Option<&Arriving>, chunk: &Chunk) -> u64 {
        let held = slot.filter(|arriving| arriving.is_of(chunk));
        held.map_or(0, |arriving| arriving.received.len() as u64)
    }

    /// The snapshot, if it is what was sent.
    pub(crate) fn whole(self) -> Option<Snapshot> {
        let is_whole = self.received.len() as u64 == self.total;
        let is_sound = is_whole && self.sum.finish() == self.checksum;
        let Arriving { meta, received, .. } = self;
        (is_sound || mutant::is_active(Mutant::SnapshotsMixed))
            .then(|| Snapshot { meta, data: Bytes::from(received) })
    }

    fn is_of(&self, chunk: &Chunk) -> bool {
        let is_same =
            self.meta == chunk.meta && self.total == chunk.total && self.checksum == chunk.checksum;
        is_same || mutant::is_active(Mutant::SnapshotsMixed)
    }
}
