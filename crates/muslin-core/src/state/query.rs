//! What is answered: results of commands and of reads, and the reasons for refusal.

use super::{
    Admission, Admit, Alarm, AuthAnswer, AuthQuery, AuthRefusal, BadForm, Blob, ClusterSize,
    GossipKey, GroupRecord, Invite, JoinState, KeyRange, Member, QuorumNeeded, Range, RecordView,
};
use crate::base::quorum::Tally;
use crate::base::{Epoch, GroupId, NodeId, Revision};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;

/// One pair with its history numbers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KeyValue {
    /// The key.
    pub key: Blob,
    /// The value; empty in a deletion.
    pub value: Blob,
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
        /// Those leases, in order.
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
    /// To an admission, and to the approval of one.
    Admission(Admission),
    /// To a change of one member.
    Member {
        /// As it is after it.
        member: Box<Member>,
        /// Whether that is news.
        changed: bool,
    },
    /// To the reaping of members.
    Removed {
        /// Who was removed.
        nodes: Vec<NodeId>,
    },
    /// To the raising of the epoch.
    Epoch {
        /// The present one.
        epoch: Epoch,
        /// Tombstones that went.
        collected: usize,
    },
    /// To [`Query::Record`].
    Record(Box<RecordView>),
    /// To [`Query::Join`].
    Join(JoinState),
    /// To [`Query::GossipKeys`].
    GossipKeys(GossipKeys),
    /// To [`Query::Auth`].
    Auth(Box<AuthAnswer>),
    /// To the raising or ending of an alarm.
    Alarm {
        /// Whether that is news.
        changed: bool,
    },
    /// To [`Query::Alarms`].
    Alarms {
        /// In order of their members.
        alarms: Vec<Alarm>,
    },
    /// To [`Query::Invites`].
    Invites {
        /// In order of their ids.
        invites: Vec<Invite>,
    },
    /// To everything about members that has no answer of its own.
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
    /// All leases that were granted by themselves; none that a put made.
    Leases,
    /// One lease.
    Lease(u64),
    /// Nothing but the revision.
    Revision,
    /// All groups besides the control group.
    Groups,
    /// One group.
    Group(GroupId),
    /// Members, tombstones, held joins, tokens, settings and epoch.
    Record,
    /// Where a request for admission stands.
    Join(NodeId),
    /// What would be refused of a request for admission by a token, were it made: refused likewise,
    /// and nothing is used up. [`Response::Done`] if it would be let in or held for roles it
    /// requires, also where a place is kept for it; [`Response::Admission`] if it was made before,
    /// or came without a token and is to wait.
    Admission(Box<Admit>),
    /// The keys that seal gossip, secrets and all: for the node itself.
    GossipKeys,
    /// Something about users and rights.
    Auth(AuthQuery),
    /// Alarms that were raised by hand.
    Alarms,
    /// Places kept for nodes that are to come.
    Invites,
}

/// The keys that seal gossip. `Debug` shows their generations only.
#[derive(Clone, PartialEq, Eq)]
pub struct GossipKeys(pub Vec<GossipKey>);

impl fmt::Debug for GossipKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| key.generation)).finish()
    }
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
    /// [`LEASE_KEYS_MAX`](super::LEASE_KEYS_MAX) keys hang on the lease.
    LeaseFull,
    /// Keys, values and history take as much as they may.
    Full {
        /// How much that is, in bytes.
        quota: u64,
    },
    /// An alarm says that there is no room.
    NoSpace,
    /// An alarm says that what is kept cannot be relied upon.
    Corrupt,
    /// An alarm is about nothing that is known here, or there are too many.
    AlarmUnknown,
    /// No such member.
    MemberNotFound,
    /// The node id is taken or was removed.
    MemberExists,
    /// The name is taken by another member.
    NameTaken(String),
    /// The address is that of a living member, of this name.
    AddressTaken(String),
    /// The token is unknown, wrong, expired, used up or revoked; which of these is not said.
    TokenInvalid,
    /// The token does not admit nodes with this role.
    TokenRole(String),
    /// A token of that id exists, with another secret.
    TokenExists,
    /// No such token, or it admits nobody any more.
    TokenNotFound,
    /// Nobody performs these roles, which the node requires.
    RolesMissing(Vec<String>),
    /// Somebody has denied the join.
    JoinDenied,
    /// No join of that node is held.
    JoinNotFound,
    /// More joins are held than there is room for, see [`HELD_MAX`](super::HELD_MAX) and
    /// [`HELD_STRANGERS_MAX`](super::HELD_STRANGERS_MAX).
    TooManyHeld,
    /// The member of this name takes part.
    MemberLives(String),
    /// The member of this name is down or has left.
    MemberGone(String),
    /// The member of this name is being drained.
    MemberDrains(String),
    /// The member of this name has not the role `control`.
    NotControl(String),
    /// Nothing is assigned while so few members live.
    ClusterTooSmall(ClusterSize),
    /// No majority of voters would be left.
    QuorumNeeded(Box<QuorumNeeded>),
    /// So many voters are gone that those left behind by another epoch could neither come back nor
    /// be removed.
    VotersGone(Tally),
    /// What is said is of a life that is over.
    OldLife,
    /// This member cannot be admitted anew in its own place: it did not stay behind when the epoch
    /// rose, or it votes, or other duties are asked for than it had.
    NotLeftBehind(String),
    /// It is of another epoch.
    OldEpoch {
        /// The one it is of.
        epoch: Epoch,
        /// The cluster's.
        present: Epoch,
    },
    /// There are no tombstones that could be collected yet.
    TombstonesYoung,
    /// A gossip key has to be the next one, and is another.
    GossipKeyOrder,
    /// There is no such gossip key.
    GossipKeyNotFound,
    /// Gossip is sealed with that key.
    GossipKeyInUse,
    /// There are [`GOSSIP_KEYS_MAX`](super::GOSSIP_KEYS_MAX) gossip keys.
    TooManyGossipKeys,
    /// Something is too long, too many, or not what it should be.
    BadForm(BadForm),
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
    /// Whoever asks may not, or a change of rights cannot be.
    Auth(AuthRefusal),
    /// A command kind this version does not know.
    Unknown,
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
