//! What may be asked of the replicated state, as it stands in the log: protobuf by derive, tags
//! never reused, new fields optional.

pub use super::alarms::{ALARMS_MAX, Alarm, AlarmKind, SetAlarm};
use super::{
    Admit, AskedBy, AuthCommand, Member, Membership, Remove, Settings, Token, UpdateMember,
};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

/// What an entry of the log carries: a command and what makes a retry harmless.
///
/// `(origin, boot, sequence)` names one intention of one process. It takes effect at most once,
/// however often it stands in the log (Raft thesis 6.3).
#[derive(Clone, PartialEq, prost::Message)]
pub struct Proposal {
    /// The node whose client asked.
    #[prost(fixed64, tag = "1")]
    pub origin: u64,
    /// Start counter of that node's process, raised and made durable at each start. A proposal of
    /// an earlier start than the last one seen has no effect.
    #[prost(uint64, tag = "2")]
    pub boot: u64,
    /// Numbered from 1 within a start.
    #[prost(uint64, tag = "3")]
    pub sequence: u64,
    /// Every sequence below this is settled at the origin and will not be proposed again: the
    /// table may forget it.
    #[prost(uint64, tag = "4")]
    pub settled_below: u64,
    /// What to do.
    #[prost(message, optional, tag = "5")]
    pub command: Option<Command>,
    /// On whose behalf; nobody's but the cluster's own if it is not said.
    #[prost(message, optional, tag = "6")]
    pub asker: Option<AskedBy>,
}

/// A change of the replicated state.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Command {
    /// Which one. An unknown kind (of a newer version) is applied as nothing and answered as
    /// unknown.
    #[prost(
        oneof = "CommandKind",
        tags = "1, 2, 3, 4, 5, 6, 7, 8, 10, 16, 17, 18, 19, 20, 32, 33, 34"
    )]
    pub kind: Option<CommandKind>,
}

/// The kinds of change.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum CommandKind {
    /// Set one key.
    #[prost(message, tag = "1")]
    Put(Put),
    /// Delete a range of keys.
    #[prost(message, tag = "2")]
    Delete(DeleteRange),
    /// Compare, then one of two lists of operations, atomically, at one revision.
    #[prost(message, tag = "3")]
    Txn(Txn),
    /// Drop history at and before a revision.
    #[prost(message, tag = "4")]
    Compact(Compact),
    /// Make a lease.
    #[prost(message, tag = "5")]
    LeaseGrant(LeaseGrant),
    /// End leases, with all their keys.
    #[prost(message, tag = "6")]
    LeaseRevoke(LeaseRevoke),
    /// Raise or end an alarm.
    #[prost(message, tag = "7")]
    Alarm(SetAlarm),
    /// Change who may do what.
    #[prost(message, boxed, tag = "8")]
    Auth(Box<AuthCommand>),
    /// Go on with a compaction although nobody writes.
    #[prost(message, tag = "10")]
    Sweep(Sweep),
    /// Admit a node.
    #[prost(message, boxed, tag = "16")]
    Admit(Box<Admit>),
    /// A member leaves or is removed.
    #[prost(message, tag = "17")]
    Remove(Remove),
    /// A member tells its present addresses.
    #[prost(message, tag = "18")]
    UpdateMember(UpdateMember),
    /// Store a join token.
    #[prost(message, tag = "19")]
    PutToken(Token),
    /// Change anything else about who belongs to the cluster.
    #[prost(message, boxed, tag = "20")]
    Membership(Box<Membership>),
    /// Make a group.
    #[prost(message, tag = "32")]
    GroupCreate(GroupCreate),
    /// Say who is to lead groups.
    #[prost(message, tag = "33")]
    GroupAssign(GroupAssign),
    /// Take a group out.
    #[prost(message, tag = "34")]
    GroupRemove(GroupRemove),
}

/// Set one key.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Put {
    /// Not empty.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// Any bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
    /// Lease to attach to; 0 is none.
    #[prost(uint64, tag = "3")]
    pub lease: u64,
    /// Answer with the pair replaced.
    #[prost(bool, tag = "4")]
    pub prev_kv: bool,
    /// Keep the present value (the key must exist).
    #[prost(bool, tag = "5")]
    pub ignore_value: bool,
    /// Keep the present lease (the key must exist).
    #[prost(bool, tag = "6")]
    pub ignore_lease: bool,
    /// Time to live, in milliseconds; 0 is none. With one, `lease` is an id drawn by the proposer,
    /// and the put makes that lease: it ends with the last key that hangs on it, or in time.
    #[prost(uint64, tag = "7")]
    pub ttl_ms: u64,
}

/// A range of keys as etcd writes it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct KeyRange {
    /// First key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// Empty: only `key`. One zero byte: everything from `key` on. Otherwise the exclusive end.
    #[prost(bytes = "bytes", tag = "2")]
    pub range_end: Bytes,
}

/// Delete a range of keys.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeleteRange {
    /// Which keys.
    #[prost(message, required, tag = "1")]
    pub range: KeyRange,
    /// Answer with the pairs deleted.
    #[prost(bool, tag = "2")]
    pub prev_kv: bool,
}

/// Read a range of keys.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Range {
    /// Which keys.
    #[prost(message, required, tag = "1")]
    pub range: KeyRange,
    /// Most pairs answered; 0 is all.
    #[prost(uint64, tag = "2")]
    pub limit: u64,
    /// As of this revision; 0 is the present one.
    #[prost(uint64, tag = "3")]
    pub revision: u64,
    /// Sort order.
    #[prost(enumeration = "SortOrder", tag = "4")]
    pub sort_order: i32,
    /// Sort by.
    #[prost(enumeration = "SortTarget", tag = "5")]
    pub sort_target: i32,
    /// Answer without values.
    #[prost(bool, tag = "6")]
    pub keys_only: bool,
    /// Answer with the count alone.
    #[prost(bool, tag = "7")]
    pub count_only: bool,
    /// Only pairs modified at or after this revision; 0 is no bound. Likewise below.
    #[prost(uint64, tag = "8")]
    pub min_mod_revision: u64,
    /// Only pairs modified at or before this revision.
    #[prost(uint64, tag = "9")]
    pub max_mod_revision: u64,
    /// Only pairs created at or after this revision.
    #[prost(uint64, tag = "10")]
    pub min_create_revision: u64,
    /// Only pairs created at or before this revision.
    #[prost(uint64, tag = "11")]
    pub max_create_revision: u64,
}

/// etcd's sort orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum SortOrder {
    /// By key, ascending, unless a target is given.
    None = 0,
    /// Ascending.
    Ascend = 1,
    /// Descending.
    Descend = 2,
}

/// etcd's sort targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum SortTarget {
    /// By key.
    Key = 0,
    /// By version.
    Version = 1,
    /// By create revision.
    Create = 2,
    /// By mod revision.
    Mod = 3,
    /// By value.
    Value = 4,
}

/// Compare, then act.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Txn {
    /// All must hold for `success` to run; otherwise `failure` runs.
    #[prost(message, repeated, tag = "1")]
    pub compares: Vec<Compare>,
    /// Run in order.
    #[prost(message, repeated, tag = "2")]
    pub success: Vec<Op>,
    /// Run in order.
    #[prost(message, repeated, tag = "3")]
    pub failure: Vec<Op>,
}

/// One operation of a transaction.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Op {
    /// Which one.
    #[prost(oneof = "OpKind", tags = "1, 2, 3, 4")]
    pub kind: Option<OpKind>,
}

/// The kinds of operation in a transaction.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum OpKind {
    /// Read.
    #[prost(message, tag = "1")]
    Range(Range),
    /// Set.
    #[prost(message, tag = "2")]
    Put(Put),
    /// Delete.
    #[prost(message, tag = "3")]
    Delete(DeleteRange),
    /// A transaction inside, at the same revision.
    #[prost(message, tag = "4")]
    Txn(Txn),
}

/// One comparison.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Compare {
    /// Which key or range; with a range, it must hold for every key in it.
    #[prost(message, required, tag = "1")]
    pub range: KeyRange,
    /// How.
    #[prost(enumeration = "CompareResult", tag = "2")]
    pub result: i32,
    /// With what.
    #[prost(oneof = "CompareTarget", tags = "3, 4, 5, 6, 7")]
    pub target: Option<CompareTarget>,
}

/// How two numbers or values stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum CompareResult {
    /// Equal.
    Equal = 0,
    /// The key's is greater.
    Greater = 1,
    /// The key's is less.
    Less = 2,
    /// They differ.
    NotEqual = 3,
}

/// What is compared. Of a key that does not exist all numbers are 0 and a value compares false.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum CompareTarget {
    /// Version.
    #[prost(uint64, tag = "3")]
    Version(u64),
    /// Create revision.
    #[prost(uint64, tag = "4")]
    Create(u64),
    /// Mod revision.
    #[prost(uint64, tag = "5")]
    Mod(u64),
    /// Value.
    #[prost(bytes = "bytes", tag = "6")]
    Value(Bytes),
    /// Lease.
    #[prost(uint64, tag = "7")]
    Lease(u64),
}

/// Drop history.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Compact {
    /// Revisions below this can no longer be read; this one can.
    #[prost(uint64, tag = "1")]
    pub revision: u64,
}

/// Go on with a compaction.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Sweep {
    /// About how many changes of history to go over.
    #[prost(uint32, tag = "1")]
    pub changes: u32,
}

/// Make a lease.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct LeaseGrant {
    /// Drawn by the proposer, never 0.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Time to live, in milliseconds.
    #[prost(uint64, tag = "2")]
    pub ttl_ms: u64,
}

/// End leases.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LeaseRevoke {
    /// Which ones. An `expired` revoke skips those that are gone; a client's names one.
    #[prost(uint64, repeated, tag = "1")]
    pub ids: Vec<u64>,
    /// The leader ended them because their time was up; otherwise a client did.
    #[prost(bool, tag = "2")]
    pub expired: bool,
}

/// A group besides the control group: what it replicates, and where.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct GroupRecord {
    /// Never reused; never that of the control group.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Name of its state machine, as the replicas know it.
    #[prost(string, tag = "2")]
    pub kind: String,
    /// The nodes that keep it and vote in it, ascending.
    #[prost(fixed64, repeated, tag = "3")]
    pub replicas: Vec<u64>,
    /// Who is to lead it, one of the replicas; none when just made. Its terms say who does.
    #[prost(fixed64, optional, tag = "4")]
    pub leader: Option<u64>,
    /// How often that was said.
    #[prost(uint64, tag = "5")]
    pub assignment: u64,
    /// Index of the log at which it was made.
    #[prost(uint64, tag = "6")]
    pub created_at: u64,
}

/// Make a group.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GroupCreate {
    /// 0: the next free one. Otherwise above all that were ever given, or of the same group made
    /// before.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Name of its state machine.
    #[prost(string, tag = "2")]
    pub kind: String,
    /// Members that are to keep it.
    #[prost(fixed64, repeated, tag = "3")]
    pub replicas: Vec<u64>,
}

/// Say who is to lead groups: all of it, or nothing.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GroupAssign {
    /// One per group.
    #[prost(message, repeated, tag = "1")]
    pub steps: Vec<AssignStep>,
}

/// Say who is to lead one group.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct AssignStep {
    /// Which.
    #[prost(uint64, tag = "1")]
    pub group: u64,
    /// One of its replicas.
    #[prost(fixed64, tag = "2")]
    pub leader: u64,
    /// One more than that of the record it was decided upon.
    #[prost(uint64, tag = "3")]
    pub assignment: u64,
}

/// Take a group out.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct GroupRemove {
    /// Which.
    #[prost(uint64, tag = "1")]
    pub id: u64,
}

/// What a cluster starts from: the state before the first entry. Equal on all founders.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Founding {
    /// The first members; those with role `control` are the first voters.
    #[prost(message, repeated, tag = "1")]
    pub members: Vec<Member>,
    /// Tokens made at init.
    #[prost(message, repeated, tag = "2")]
    pub tokens: Vec<Token>,
    /// The cluster's settings.
    #[prost(message, optional, tag = "3")]
    pub settings: Option<Settings>,
    /// The first gossip key, of generation 1, if the record is to keep the keys: 32 bytes.
    #[prost(bytes = "bytes", tag = "4")]
    pub gossip_key: Bytes,
}

impl Command {
    /// Wraps a kind.
    pub fn of(kind: CommandKind) -> Command {
        Command { kind: Some(kind) }
    }
}
