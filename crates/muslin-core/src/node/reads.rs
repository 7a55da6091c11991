//! What waits for a round of the control group's reads.

use crate::base::{LeaseId, NodeId, RequestId};
use crate::state::Query;

/// Most reads of one node waiting at once.
pub(super) const READS_MAX: usize = 16_384;

/// Something to answer once a quorum has confirmed the leader after it was asked.
pub(super) type Ask = crate::waiting::Ask<What>;

#[derive(Debug)]
pub(super) enum What {
    /// Read the state.
    Query { request: RequestId, query: Query },
    /// Leader only: tell how long a lease has left, extending it first when `extend`.
    Lease { asker: Asker, lease: LeaseId, extend: bool },
}

/// Who asked about a lease.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asker {
    Local(RequestId),
    Peer { node: NodeId, number: u64 },
}
