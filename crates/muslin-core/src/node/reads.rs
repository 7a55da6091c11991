//! What waits for a round of the control group's reads.

use crate::base::{GroupId, LeaseId, NodeId, RequestId};
use crate::groups;
use crate::state::{self, Query};

/// Most reads of one node waiting at once.
pub(super) const READS_MAX: usize = 16_384;

/// Something to answer once a quorum has confirmed the leader after it was asked.
pub(super) type Ask = crate::waiting::Ask<What>;

#[derive(Debug)]
pub(super) enum What {
    /// Read the state.
    Query { request: RequestId, asker: state::Asker, query: Query },
    /// Leader only: tell how long a lease has left, extending it first when `extend`.
    Lease { asker: Asker, lease: LeaseId, extend: bool },
    /// Ask a group that the record, as far as it was read here, does not have.
    Group { request: RequestId, group: GroupId, ask: groups::Ask },
    /// Nobody waits: once it is answered, the record has been read since the start.
    Record,
}

impl What {
    /// Who waits for it on this node.
    pub(super) fn waiter(&self) -> Option<RequestId> {
        match self {
            What::Query { request, .. } | What::Group { request, .. } => Some(*request),
            What::Lease { asker: Asker::Local(request), .. } => Some(*request),
            What::Lease { asker: Asker::Peer { .. }, .. } | What::Record => None,
        }
    }
}

/// How far a node that has started knows the record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Record {
    /// As it was saved, or older than the last start.
    Unread,
    /// A read is on its way.
    Asked,
    /// Every group made before the start is known.
    Read,
}

/// Who asked about a lease.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asker {
    Local(RequestId),
    Peer { node: NodeId, number: u64 },
}
