//! What is answered: results of commands and of reads, and the reasons for refusal.

use super::{GroupRecord, KeyRange, Range};
use crate::base::{GroupId, Revision};
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;

/// One pair with its history numbers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The value; empty in a deletion.
    pub value: Bytes,
    /// Revision that created it; 0 in a deletion.
    pub create_revision: u64,
    /// Revision that last changed it.
    pub mod_revision: u64,
    /// Changes since it was created, from 1; 0 in a deletion.
    pub version: u64,
    /// Lease it is attached to; 0 is none.
    pub lease: u64,
}

/// Outcome of a command or a read, with the state's numbers at that moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Revision after it.
    pub revision: Revision,
    /// Answer or refusal; a refusal changed nothing.
    pub result: Result<Response, Refusal>,
}

/// Answers, by command or query.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Response {
    /// To a put.
    Put {
        /// What was replaced, if asked for and there.
        prev: Option<KeyValue>,
    },
    /// To a range.
    Range {
        /// The pairs.
        kvs: Vec<KeyValue>,
        /// The limit cut some off.
        more: bool,
        /// How many keys there are in the range, whatever the limit.
        count: u64,
    },
    /// To a delete.
    Delete {
        /// How many keys went.
        deleted: u64,
        /// Which, if asked for.
        prev: Vec<KeyValue>,
    },
    /// To a transaction.
    Txn {
        /// Whether the comparisons held.
        succeeded: bool,
        /// One per operation run.
        responses: Vec<Response>,
    },
    /// To a compaction.
    Compact,
    /// To a grant.
    LeaseGrant {
        /// The lease.
        id: u64,
        /// Its time to live, in milliseconds.
        ttl_ms: u64,
    },
    /// To a revoke.
    LeaseRevoke,
    /// To [`Query::Leases`].
    Leases {
        /// All leases, in order.
        ids: Vec<u64>,
    },
    /// To [`Query::Lease`].
    Lease {
        /// Its granted time to live, in milliseconds.
        ttl_ms: u64,
        /// Its keys, in order.
        keys: Vec<Bytes>,
    },
    /// To the making of a group.
    Group {
        /// The group.
        id: GroupId,
    },
    /// To [`Query::Groups`] and [`Query::Group`].
    Groups {
        /// In the order of their ids.
        records: Vec<GroupRecord>,
    },
    /// To an admission, a removal, an update of a member or a token.
    Done,
}

/// What a pair costs in an answer beside its key and its value.
const PAIR_OVERHEAD: u64 = 40;

impl Response {
    /// About how many bytes this is when it is sent. Cheap: values are not touched.
    pub fn approximate_bytes(&self) -> u64 {
        let pair = |kv: &KeyValue| (kv.key.len() + kv.value.len()) as u64 + PAIR_OVERHEAD;
        match self {
            Response::Range { kvs, .. } | Response::Delete { prev: kvs, .. } => {
                kvs.iter().map(pair).sum()
            }
            Response::Put { prev } => prev.iter().map(pair).sum(),
            Response::Txn { responses, .. } => {
                responses.iter().map(Response::approximate_bytes).sum()
            }
            Response::Lease { keys, .. } => keys.iter().map(|key| key.len() as u64).sum(),
            _ => 0,
        }
    }
}

/// What may be read of the replicated state.
#[derive(Clone, PartialEq, Debug)]
pub enum Query {
    /// A range of keys.
    Range(Range),
    /// A transaction without writes.
    Txn(super::Txn),
    /// All leases.
    Leases,
    /// One lease.
    Lease(u64),
    /// Nothing but the revision.
    Revision,
    /// All groups besides the control group.
    Groups,
    /// One group.
    Group(GroupId),
}

/// Why a command or query was refused. Nothing changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The revision asked for is compacted away.
    Compacted,
    /// The revision asked for is still to come.
    FutureRevision,
    /// A key is empty.
    EmptyKey,
    /// `ignore_value` or `ignore_lease` of a key that does not exist.
    KeyNotFound,
    /// `ignore_value` with a value, or `ignore_lease` with a lease.
    ValueProvided,
    /// See above.
    LeaseProvided,
    /// A transaction writes one key twice.
    DuplicateKey,
    /// A transaction has more operations than [`TXN_OPS_MAX`](super::TXN_OPS_MAX).
    TooManyOps,
    /// A transaction's ranges cover more keys than [`TXN_KEYS_MAX`](super::TXN_KEYS_MAX).
    TooManyKeys,
    /// No such lease.
    LeaseNotFound,
    /// A lease of that id exists.
    LeaseExists,
    /// Time to live too large or zero.
    LeaseTtl,
    /// More leases than are kept.
    TooManyLeases,
    /// No such member.
    MemberNotFound,
    /// The node id is taken or was removed.
    MemberExists,
    /// The name is taken by another member.
    NameTaken(String),
    /// The token is unknown, used up or wrong; which of these is not said.
    TokenInvalid,
    /// The token was valid once.
    TokenExpired,
    /// Too many proposals of one node are unsettled, see
    /// [`SESSION_WINDOW`](super::SESSION_WINDOW) and [`SESSIONS_MAX`](super::SESSIONS_MAX).
    TooManyUnsettled,
    /// No such group.
    GroupNotFound,
    /// A group of that id exists, and is another.
    GroupExists,
    /// The id is not above all that were ever given.
    GroupIdSpent,
    /// The name of the state machine is empty or too long.
    GroupKind,
    /// No replicas, too many, one twice, or one that is no member; or who is to lead is no replica.
    GroupReplicas,
    /// The record has changed since this was decided.
    GroupReassigned,
    /// More groups than [`GROUPS_MAX`](super::GROUPS_MAX).
    TooManyGroups,
    /// A command kind this version does not know.
    Unknown,
}

impl core::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Compacted => "the required revision has been compacted",
            Refusal::FutureRevision => "the required revision is a future revision",
            Refusal::EmptyKey => "the key is empty; give at least one byte",
            Refusal::KeyNotFound => "the key does not exist; put it with a value first",
            Refusal::ValueProvided => "a value is given together with ignore_value; drop one",
            Refusal::LeaseProvided => "a lease is given together with ignore_lease; drop one",
            Refusal::DuplicateKey => "the transaction writes one key twice; write each key once",
            Refusal::TooManyOps => "the transaction has too many operations; split it",
            Refusal::TooManyKeys => {
                "the transaction's ranges cover more than 100,000 keys; read or delete them apart"
            }
            Refusal::LeaseNotFound => {
                "the lease does not exist: it expired or was revoked; grant a new one"
            }
            Refusal::LeaseExists => {
                "a lease of that id exists; choose another id, or 0 to have one chosen"
            }
            Refusal::LeaseTtl => "the time to live must be between 1 ms and 9,000,000,000 s",
            Refusal::TooManyLeases => "there are too many leases; revoke some first",
            Refusal::MemberNotFound => "no such member",
            Refusal::MemberExists => {
                "the node id is taken or was removed; join with an empty data directory"
            }
            Refusal::NameTaken(name) => {
                return write!(
                    f,
                    "the name {name} is taken by another member; choose another with --name"
                );
            }
            Refusal::TokenInvalid => {
                "the join token is not valid for this cluster; ask for a new one"
            }
            Refusal::TokenExpired => "the join token has expired; make a new one",
            Refusal::TooManyUnsettled => {
                "too many commands of this node are unsettled; retry when some are answered"
            }
            Refusal::GroupNotFound => "no such group",
            Refusal::GroupExists => "another group has that id; choose 0 to have one chosen",
            Refusal::GroupIdSpent => {
                "ids of groups count up and are never given again; choose 0 to have one chosen"
            }
            Refusal::GroupKind => {
                "the kind of a group is a name of 1 to 64 bytes, without control characters"
            }
            Refusal::GroupReplicas => {
                "a group has 1 to 7 replicas, each a member and named once, and one of them leads"
            }
            Refusal::GroupReassigned => "the group's leader was decided anew meanwhile; look again",
            Refusal::TooManyGroups => "there are too many groups; remove some first",
            Refusal::Unknown => "this version does not know the command; upgrade this node",
        })
    }
}

/// One change of one key, as watchers see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KvEvent {
    /// Put, or deleted and why.
    pub kind: KvEventKind,
    /// The pair after the change. Of a deletion: only key and mod revision are set.
    pub kv: KeyValue,
    /// The pair before the change, if there was one.
    pub prev: Option<KeyValue>,
}

/// What happened to a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KvEventKind {
    /// It was set.
    Put,
    /// A client deleted it (or revoked its lease).
    Delete,
    /// Its lease expired.
    Expired,
}

/// What a watcher wants to see.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct WatchSpec {
    /// Which keys.
    pub range: KeyRange,
    /// First revision to see; 0 is from the next one on.
    pub start_revision: u64,
    /// Leave out puts.
    pub no_put: bool,
    /// Leave out deletions.
    pub no_delete: bool,
    /// Fill in [`KvEvent::prev`].
    pub prev_kv: bool,
}
