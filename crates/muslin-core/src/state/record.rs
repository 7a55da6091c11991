//! What the record keeps of the members and of all that admits them, as it stands in snapshots:
//! protobuf by derive, tags never reused, new fields optional.

use super::BadForm;
use crate::base::{Epoch, NodeId};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// The number of a cluster's membership history at its founding.
pub const FIRST_EPOCH: Epoch = Epoch(1);

/// Role whose holders may vote in the control group.
pub const CONTROL_ROLE: &str = "control";

/// A node that the control group has admitted.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Member {
    /// Never reused.
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    /// A label for people; unique among members.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Where peers reach it, `ip:port`, both UDP and TCP.
    #[prost(string, tag = "3")]
    pub address: String,
    /// Where plain etcd clients reach it, `ip:port`; empty when nowhere.
    #[prost(string, tag = "4")]
    pub etcd_address: String,
    /// What it performs: `control` may vote.
    #[prost(string, repeated, tag = "5")]
    pub roles: Vec<String>,
    /// Index of the log at which it was admitted; 0 for founders. Set by apply.
    #[prost(uint64, tag = "6")]
    pub admitted_at: u64,
    /// SHA-256 of its public key (SubjectPublicKeyInfo).
    #[prost(bytes = "bytes", tag = "7")]
    pub key_hash: Bytes,
    /// Roles that somebody must perform for it to operate.
    #[prost(string, repeated, tag = "8")]
    pub requires: Vec<String>,
    /// Roles that somebody must perform before it is admitted.
    #[prost(string, repeated, tag = "9")]
    pub requires_for_bootstrap: Vec<String>,
    /// Words of the operator's own.
    #[prost(btree_map = "string, string", tag = "10")]
    pub labels: BTreeMap<String, String>,
    /// What it shares its fate with: a rack, a room, a provider's zone; empty when unknown.
    #[prost(string, tag = "11")]
    pub zone: String,
    /// When it was admitted, Unix milliseconds; 0 for founders. Set by apply.
    #[prost(uint64, tag = "12")]
    pub admitted_unix_ms: u64,
    /// The epoch it belongs to; 0 stands for the first. Set by apply. See [`Member::epoch`].
    #[prost(uint64, tag = "13")]
    pub epoch_number: u64,
    /// Whether an operator wants it to vote. Set by apply.
    #[prost(enumeration = "VoteWish", tag = "14")]
    pub vote_wish: i32,
    /// An operator wants everything moved off it. Set by apply.
    #[prost(bool, tag = "15")]
    pub is_draining: bool,
    /// What it last said of its load. Set by apply.
    #[prost(message, optional, tag = "16")]
    pub load: Option<NodeLoad>,
    /// The token, or the person, that let it in. Set by apply.
    #[prost(string, tag = "17")]
    pub admitted_by: String,
    /// The life in which it last came back: what is said of earlier ones is over. Set by apply.
    #[prost(uint64, tag = "20")]
    pub life: u64,
    /// What was declared of it; `None` while it takes part. Set by apply.
    #[prost(oneof = "Standing", tags = "18, 19")]
    pub standing: Option<Standing>,
}

/// Whether an operator wants a member to vote in the control group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum VoteWish {
    /// The planner chooses.
    Auto = 0,
    /// It is to vote.
    Votes = 1,
    /// It is not to vote.
    Never = 2,
}

/// What the control group has declared of a member that does not take part.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum Standing {
    /// A majority of its living watchers reported it.
    #[prost(message, tag = "18")]
    Down(DeclaredDown),
    /// It said good-bye.
    #[prost(message, tag = "19")]
    Left(DeclaredLeft),
}

/// That a member is down, and on whose word.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DeclaredDown {
    /// The life of the node that ended.
    #[prost(uint64, tag = "1")]
    pub incarnation: u64,
    /// Who reported it, ascending by node: the first [`WITNESSES_MAX`](super::WITNESSES_MAX).
    #[prost(message, repeated, tag = "2")]
    pub witnesses: Vec<Witness>,
    /// How many living watchers it had.
    #[prost(uint32, tag = "3")]
    pub watchers: u32,
    /// How many of them reported it: more than half.
    #[prost(uint32, tag = "5")]
    pub confirmed: u32,
    /// When the leader declared it, Unix milliseconds.
    #[prost(uint64, tag = "4")]
    pub unix_ms: u64,
}

/// What one watcher saw.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Witness {
    /// The watcher.
    #[prost(fixed64, tag = "1")]
    pub node: u64,
    /// Who probed in vain, by what it heard: itself, or the one that told it.
    #[prost(fixed64, tag = "2")]
    pub probed_by: u64,
    /// For how long it had heard nothing when it reported, in milliseconds.
    #[prost(uint64, tag = "3")]
    pub silent_ms: u64,
}

/// That a member left of its own will.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct DeclaredLeft {
    /// The life of the node that ended.
    #[prost(uint64, tag = "1")]
    pub incarnation: u64,
    /// When the leader declared it, Unix milliseconds.
    #[prost(uint64, tag = "2")]
    pub unix_ms: u64,
}

/// What a node says of how busy it is.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct NodeLoad {
    /// Of its processors, in thousandths.
    #[prost(uint32, tag = "1")]
    pub cpu_permille: u32,
    /// Of its memory, in thousandths.
    #[prost(uint32, tag = "2")]
    pub memory_permille: u32,
    /// Instances, replicas and shards it runs.
    #[prost(uint32, tag = "3")]
    pub parts: u32,
    /// When it said so, Unix milliseconds.
    #[prost(uint64, tag = "4")]
    pub unix_ms: u64,
}

/// What a member is to whoever looks at the record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemberState {
    /// It takes part.
    Admitted,
    /// It takes part, and everything is to be moved off it.
    Draining,
    /// It was declared down.
    Down,
    /// It left.
    Left,
}

impl Member {
    /// What it is, in one word.
    pub fn state(&self) -> MemberState {
        match &self.standing {
            Some(Standing::Down(_)) => MemberState::Down,
            Some(Standing::Left(_)) => MemberState::Left,
            None if self.is_draining => MemberState::Draining,
            None => MemberState::Admitted,
        }
    }

    /// Whether it takes part, by the record.
    pub fn is_living(&self) -> bool {
        self.standing.is_none()
    }

    /// Its id.
    pub fn node(&self) -> NodeId {
        NodeId(self.id)
    }

    /// The epoch it belongs to: the cluster's while it lives, the one in which it was declared down
    /// or left otherwise.
    pub fn epoch(&self) -> Epoch {
        Epoch(self.epoch_number).max(FIRST_EPOCH)
    }

    /// Whether it performs a role.
    pub fn performs(&self, role: &str) -> bool {
        self.roles.iter().any(|one| one == role)
    }
}

/// What lets a node in. The secret itself is never stored.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Token {
    /// Public part.
    #[prost(string, tag = "1")]
    pub id: String,
    /// SHA-256 of the secret part.
    #[prost(bytes = "bytes", tag = "2")]
    pub secret_hash: Bytes,
    /// Unix milliseconds; not valid from then on.
    #[prost(uint64, tag = "3")]
    pub expires_unix_ms: u64,
    /// How many nodes it may still admit; 0 is any number.
    #[prost(uint64, tag = "4")]
    pub uses_left: u64,
    /// A label for people.
    #[prost(string, tag = "5")]
    pub name: String,
    /// The roles a node may have that it admits; any if empty.
    #[prost(string, repeated, tag = "6")]
    pub roles: Vec<String>,
    /// When it was made, Unix milliseconds.
    #[prost(uint64, tag = "7")]
    pub created_unix_ms: u64,
    /// When it last admitted a node, Unix milliseconds; 0 is never. Set by apply.
    #[prost(uint64, tag = "8")]
    pub used_unix_ms: u64,
    /// How many nodes it has admitted. Set by apply.
    #[prost(uint64, tag = "9")]
    pub used: u64,
    /// Whether it may admit at all. Set by apply.
    #[prost(enumeration = "TokenState", tag = "10")]
    pub state: i32,
}

/// Whether a token may admit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum TokenState {
    /// It may, until it expires.
    Good = 0,
    /// It has admitted as many as it may.
    Spent = 1,
    /// An operator has taken it back, or another has taken its place.
    Revoked = 2,
}

/// A node that asked to be admitted and waits.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct HeldJoin {
    /// Who asks, as it will be when it is admitted.
    #[prost(message, required, tag = "1")]
    pub member: Member,
    /// The token it came with; empty when it came without.
    #[prost(string, tag = "2")]
    pub token_id: String,
    /// When it asked first, Unix milliseconds.
    #[prost(uint64, tag = "3")]
    pub asked_unix_ms: u64,
    /// When it is given up, Unix milliseconds.
    #[prost(uint64, tag = "4")]
    pub expires_unix_ms: u64,
    /// Index of the log at which it asked first: the order in which they are let in. Set by apply.
    #[prost(uint64, tag = "5")]
    pub asked_at: u64,
    /// What it waits for.
    #[prost(enumeration = "HoldState", tag = "6")]
    pub state: i32,
    /// Who approved it, or denied it; empty while nobody has.
    #[prost(string, tag = "7")]
    pub decided_by: String,
}

/// What a held join waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum HoldState {
    /// It came without a token: for somebody to approve it.
    Approval = 0,
    /// For somebody who performs the roles it requires.
    Roles = 1,
    /// For nothing: it was denied, and is kept so that it hears that when it asks again.
    Denied = 2,
}

/// What is left of a removed member, until an epoch bars all that is older.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Tombstone {
    /// Who it was; never a member again.
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    /// What it was called.
    #[prost(string, tag = "2")]
    pub name: String,
    /// When it was removed, Unix milliseconds; 0 when that was not said.
    #[prost(uint64, tag = "3")]
    pub removed_unix_ms: u64,
    /// The epoch in which it was removed: any later one makes it collectable.
    #[prost(uint64, tag = "4")]
    pub epoch: u64,
    /// Why.
    #[prost(enumeration = "RemovedFor", tag = "5")]
    pub why: i32,
    /// Who has its name; 0 if nobody took it over.
    #[prost(fixed64, tag = "6")]
    pub successor: u64,
}

/// Why a member was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum RemovedFor {
    /// An operator asked for it.
    Asked = 0,
    /// It was down or had left for longer than [`Settings::reap_after`].
    Reaped = 1,
    /// A new node took its name over.
    Replaced = 2,
}

/// A key that seals gossip.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct GossipKey {
    /// Counted up, never reused.
    #[prost(uint64, tag = "1")]
    pub generation: u64,
    /// 32 bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub key: Bytes,
    /// When it was added, Unix milliseconds.
    #[prost(uint64, tag = "3")]
    pub added_unix_ms: u64,
    /// All seal with it; the others are only opened with.
    #[prost(bool, tag = "4")]
    pub is_primary: bool,
}

/// What an operator may set of the cluster. 0 stands for the default everywhere.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Settings {
    /// With fewer living members than this nothing is assigned. Default: more than half of them.
    #[prost(uint32, tag = "1")]
    pub min_members: u32,
    /// For how long a voter is down before a spare takes its place, in milliseconds.
    #[prost(uint64, tag = "2")]
    pub voter_grace_ms: u64,
    /// For how long a member that does not vote is down, or has left, before it is removed, in
    /// milliseconds.
    #[prost(uint64, tag = "3")]
    pub reap_after_ms: u64,
    /// How long after the last removal the tombstones are collected, in milliseconds.
    #[prost(uint64, tag = "4")]
    pub tombstone_after_ms: u64,
    /// How many are to vote: 1, 3, 5 or 7. Default: 3, and 5 from 7 control members on.
    #[prost(uint32, tag = "5")]
    pub voters_target: u32,
    /// For how long a join is held, in milliseconds.
    #[prost(uint64, tag = "6")]
    pub hold_for_ms: u64,
    /// Whoever asks without a token is refused; otherwise held for somebody to approve it.
    #[prost(bool, tag = "7")]
    pub tokens_only: bool,
    /// How many revisions can be read and watched from, at most.
    #[prost(uint64, tag = "8")]
    pub keep_revisions: u64,
    /// For how long a revision can be read and watched from, at most, in milliseconds.
    #[prost(uint64, tag = "9")]
    pub keep_history_ms: u64,
    /// How much keys, values and their history may take in memory, in bytes. With more nothing can
    /// be added until something was deleted and compacted.
    #[prost(uint64, tag = "10")]
    pub quota_bytes: u64,
    /// How often whoever leads writes a backup, in milliseconds; by default never.
    #[prost(uint64, tag = "11")]
    pub backup_every_ms: u64,
    /// How many of its backups each node keeps.
    #[prost(uint32, tag = "12")]
    pub backup_keep: u32,
}

/// Default of [`Settings::voter_grace_ms`]: longer than a machine needs to restart its process.
const VOTER_GRACE: Duration = Duration::from_secs(30);

/// Default of [`Settings::reap_after_ms`] and [`Settings::tombstone_after_ms`].
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Default of [`Settings::hold_for_ms`].
const HOLD_FOR: Duration = Duration::from_secs(3_600);

/// Default of [`Settings::keep_revisions`]: two seconds of the heaviest load, more than a day of a
/// write a second.
const KEEP_REVISIONS: u64 = 100_000;

/// Default of [`Settings::keep_history_ms`].
const KEEP_HISTORY: Duration = Duration::from_secs(3_600);

/// Default of [`Settings::quota_bytes`], as etcd's.
const QUOTA: u64 = 2 << 30;

/// Default of [`Settings::backup_keep`]: a day of one an hour.
const BACKUP_KEEP: u32 = 24;

/// The largest [`Settings::backup_keep`]: whoever looks for old ones reads the whole directory.
pub const BACKUP_KEEP_MAX: u32 = 10_000;

/// The smallest [`Settings::quota_bytes`]: less than one large value and its history is none.
pub const QUOTA_MIN: u64 = 16 << 20;

/// The smallest [`Settings::keep_revisions`]: a watcher that connects again finds what it missed.
pub const KEEP_REVISIONS_MIN: u64 = 1_000;

/// The shortest time that can be set: less than an election and a round of probes take, and every
/// hiccup would count as a death.
pub const SETTING_TIME_MIN: Duration = Duration::from_secs(1);

/// The longest: whoever sets more has mistaken the unit.
pub const SETTING_TIME_MAX: Duration = Duration::from_secs(366 * 24 * 3_600);

/// The largest [`Settings::min_members`]: no cluster has so many members.
pub const MIN_MEMBERS_MAX: u32 = 65_536;

impl Settings {
    /// Whether they are within all limits.
    pub fn check(&self) -> Result<(), BadForm> {
        let is_fit = |millis: u64| {
            let time = Duration::from_millis(millis);
            millis == 0 || (SETTING_TIME_MIN..=SETTING_TIME_MAX).contains(&time)
        };
        let times = [
            self.voter_grace_ms,
            self.reap_after_ms,
            self.tombstone_after_ms,
            self.hold_for_ms,
            self.keep_history_ms,
            self.backup_every_ms,
        ];
        if !matches!(self.voters_target, 0 | 1 | 3 | 5 | 7) {
            return Err(BadForm::VotersTarget);
        }
        if self.min_members > MIN_MEMBERS_MAX {
            return Err(BadForm::MinMembers);
        }
        if (1..QUOTA_MIN).contains(&self.quota_bytes) {
            return Err(BadForm::Quota);
        }
        if self.backup_keep > BACKUP_KEEP_MAX {
            return Err(BadForm::BackupKeep);
        }
        if (1..KEEP_REVISIONS_MIN).contains(&self.keep_revisions) {
            return Err(BadForm::KeepRevisions);
        }
        if times.into_iter().all(is_fit) { Ok(()) } else { Err(BadForm::Time) }
    }

    /// See [`Settings::voter_grace_ms`].
    pub fn voter_grace(&self) -> Duration {
        or_default(self.voter_grace_ms, VOTER_GRACE)
    }

    /// See [`Settings::reap_after_ms`].
    pub fn reap_after(&self) -> Duration {
        or_default(self.reap_after_ms, DAY)
    }

    /// See [`Settings::tombstone_after_ms`].
    pub fn tombstone_after(&self) -> Duration {
        or_default(self.tombstone_after_ms, DAY)
    }

    /// See [`Settings::hold_for_ms`].
    pub fn hold_for(&self) -> Duration {
        or_default(self.hold_for_ms, HOLD_FOR)
    }

    /// See [`Settings::keep_revisions`].
    pub fn keep_revisions(&self) -> u64 {
        if self.keep_revisions == 0 { KEEP_REVISIONS } else { self.keep_revisions }
    }

    /// See [`Settings::keep_history_ms`].
    pub fn keep_history(&self) -> Duration {
        or_default(self.keep_history_ms, KEEP_HISTORY)
    }

    /// See [`Settings::quota_bytes`].
    pub fn quota(&self) -> u64 {
        if self.quota_bytes == 0 { QUOTA } else { self.quota_bytes }
    }

    /// See [`Settings::backup_every_ms`].
    pub fn backup_every(&self) -> Option<Duration> {
        (self.backup_every_ms > 0).then(|| Duration::from_millis(self.backup_every_ms))
    }

    /// See [`Settings::backup_keep`].
    pub fn backup_keep(&self) -> u32 {
        if self.backup_keep == 0 { BACKUP_KEEP } else { self.backup_keep }
    }
}

fn or_default(millis: u64, default: Duration) -> Duration {
    if millis == 0 { default } else { Duration::from_millis(millis) }
}
