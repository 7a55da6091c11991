//! What may be asked of the record: admissions, removals, and everything between them. As it stands
//! in the log: protobuf by derive, tags never reused, new fields optional.
//!
//! Every one of these may be given twice: the second time it finds what it wants done, and says so.

pub use super::invites::{INVITE_URLS_MAX, INVITES_MAX, Invite};
use super::{DeclaredDown, Member, NodeLoad, Settings, Token};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

/// Admit a node, on the strength of a token, of the certificate of one that stayed behind, or of
/// somebody's approval later.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Admit {
    /// Who.
    #[prost(message, required, tag = "1")]
    pub member: Member,
    /// Public part of the token; empty when it has none.
    #[prost(string, tag = "2")]
    pub token_id: String,
    /// SHA-256 of the token's secret.
    #[prost(bytes = "bytes", tag = "3")]
    pub secret_hash: Bytes,
    /// The responder's wall clock, Unix milliseconds: what the token's expiry is compared with.
    #[prost(uint64, tag = "4")]
    pub unix_ms: u64,
    /// Whoever asks understands that it may be held; otherwise it is refused.
    #[prost(bool, tag = "5")]
    pub may_wait: bool,
    /// The member in whose place it comes, which stayed behind when the epoch rose: whoever asks
    /// has shown the certificate of that one. 0 is nobody.
    #[prost(fixed64, tag = "6")]
    pub in_place_of: u64,
}

/// Remove a member.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Remove {
    /// Who.
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    /// Although it takes part, and nothing was moved off it.
    #[prost(bool, tag = "2")]
    pub force: bool,
    /// The asker's wall clock, Unix milliseconds.
    #[prost(uint64, tag = "3")]
    pub unix_ms: u64,
}

/// A member's present addresses (its name and roles do not change here).
#[derive(Clone, PartialEq, prost::Message)]
pub struct UpdateMember {
    /// Who.
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    /// Where peers reach it.
    #[prost(string, tag = "2")]
    pub address: String,
    /// Where plain etcd clients reach it; empty when nowhere.
    #[prost(string, tag = "3")]
    pub etcd_address: String,
}

/// A change of the record, with who asked for it and when.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Membership {
    /// The asker's wall clock, Unix milliseconds.
    #[prost(uint64, tag = "1")]
    pub unix_ms: u64,
    /// The person or program that asked; empty when the control group did.
    #[prost(string, tag = "2")]
    pub by: String,
    /// What.
    #[prost(
        oneof = "MembershipChange",
        tags = "3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, \
                24, 25, 26"
    )]
    pub change: Option<MembershipChange>,
}

impl Membership {
    /// A change that the control group, or a node for itself, makes at this time.
    pub fn at(unix_ms: u64, change: MembershipChange) -> Membership {
        Membership { unix_ms, by: String::new(), change: Some(change) }
    }
}

/// The changes of the record.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum MembershipChange {
    /// Let a held join in.
    #[prost(message, tag = "3")]
    Approve(Approve),
    /// Refuse a held join.
    #[prost(message, tag = "4")]
    Deny(Whom),
    /// Have everything moved off a member.
    #[prost(message, tag = "5")]
    Drain(Whom),
    /// Let a member take part as before: undoes `Drain`.
    #[prost(message, tag = "6")]
    Resume(Whom),
    /// Have a member vote.
    #[prost(message, tag = "7")]
    Promote(Whom),
    /// Have a member not vote.
    #[prost(message, tag = "8")]
    Demote(Whom),
    /// Leave it to the planner whether a member votes: undoes `Promote` and `Demote`.
    #[prost(message, tag = "9")]
    VoteAuto(Whom),
    /// Give a member roles, and take some.
    #[prost(message, tag = "10")]
    ChangeRoles(ChangeRoles),
    /// Label a member.
    #[prost(message, tag = "11")]
    ChangeLabels(ChangeLabels),
    /// A member is down: a majority of its living watchers say so.
    #[prost(message, tag = "12")]
    Down(Down),
    /// A member that was down or had left is there, in a later life.
    #[prost(message, tag = "13")]
    Up(Life),
    /// A member leaves of its own will.
    #[prost(message, tag = "14")]
    Leave(Life),
    /// Remove members that were down, or had left, for long enough.
    #[prost(message, tag = "15")]
    Reap(Reap),
    /// Raise the epoch.
    #[prost(message, tag = "16")]
    RaiseEpoch(RaiseEpoch),
    /// Set all settings.
    #[prost(message, tag = "17")]
    SetSettings(Settings),
    /// Take a token back.
    #[prost(message, tag = "18")]
    RevokeToken(TokenName),
    /// Put another token in the place of one.
    #[prost(message, tag = "19")]
    RotateToken(RotateToken),
    /// Add a gossip key.
    #[prost(message, tag = "20")]
    AddGossipKey(AddGossipKey),
    /// Seal gossip with this key from here on.
    #[prost(message, tag = "21")]
    UseGossipKey(KeyName),
    /// Open nothing any more that is sealed with this key.
    #[prost(message, tag = "22")]
    DropGossipKey(KeyName),
    /// Say how busy a member is.
    #[prost(message, tag = "23")]
    ReportLoad(ReportLoad),
    /// A member has another key pair.
    #[prost(message, tag = "24")]
    Rekey(Rekey),
    /// Keep a place for a node that is to come.
    #[prost(message, tag = "25")]
    Invite(Invite),
    /// Keep a place no longer.
    #[prost(message, tag = "26")]
    Uninvite(Whom),
}

/// One node.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Whom {
    /// Which.
    #[prost(fixed64, tag = "1")]
    pub id: u64,
}

/// Let a held join in.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Approve {
    /// Which.
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    /// Although nobody performs what it requires.
    #[prost(bool, tag = "2")]
    pub force: bool,
}

/// Give a member roles, and take some. Those it has, and has not, are passed over.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ChangeRoles {
    /// Who.
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    /// To perform.
    #[prost(string, repeated, tag = "2")]
    pub add: Vec<String>,
    /// To perform no more.
    #[prost(string, repeated, tag = "3")]
    pub remove: Vec<String>,
}

/// Label a member.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ChangeLabels {
    /// Who.
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    /// Labels to set.
    #[prost(btree_map = "string, string", tag = "2")]
    pub set: BTreeMap<String, String>,
    /// Labels to take away.
    #[prost(string, repeated, tag = "3")]
    pub remove: Vec<String>,
    /// Where it stands, if that is to change.
    #[prost(string, optional, tag = "4")]
    pub zone: Option<String>,
}

/// A member is down.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Down {
    /// Who.
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    /// On whose word.
    #[prost(message, required, tag = "2")]
    pub declared: DeclaredDown,
}

/// A life of a node.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Life {
    /// Which node.
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    /// Which of its lives.
    #[prost(uint64, tag = "2")]
    pub incarnation: u64,
}

/// Remove members that were down, or had left, for long enough. Whoever is not is passed over.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Reap {
    /// Who.
    #[prost(fixed64, repeated, tag = "1")]
    pub ids: Vec<u64>,
}

/// Raise the epoch. All living members are of the new one; whoever is down or has left has to be
/// admitted anew, and what is left of removed members goes.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct RaiseEpoch {
    /// The epoch it was decided in: in a later one it is done already.
    #[prost(uint64, tag = "1")]
    pub from: u64,
    /// Why.
    #[prost(enumeration = "RaisedFor", tag = "2")]
    pub why: i32,
    /// Of a recovery: the one member that is left; all others are declared down, and have to be
    /// admitted anew.
    #[prost(fixed64, tag = "3")]
    pub survivor: u64,
    /// Of a recovery: the epoch that begins, beyond the next one by a number that was drawn, so
    /// that two recoveries of one cluster do not begin the same. Otherwise 0: the next one begins.
    #[prost(uint64, tag = "4")]
    pub to: u64,
}

/// Why the epoch is raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum RaisedFor {
    /// An operator asked for it.
    Asked = 0,
    /// The last removal is long ago: tombstones are to be collected. Refused when it is not.
    Tombstones = 1,
    /// The cluster was recovered from what one member had.
    Recovered = 2,
}

/// One token.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TokenName {
    /// Its public part.
    #[prost(string, tag = "1")]
    pub id: String,
}

/// Put another token in the place of one, which is revoked.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RotateToken {
    /// The one that goes.
    #[prost(string, tag = "1")]
    pub id: String,
    /// The one that comes. Name, roles and uses are those of the one that goes.
    #[prost(message, required, tag = "2")]
    pub token: Token,
}

/// Add a gossip key. It becomes the primary one if there is none.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AddGossipKey {
    /// One more than that of the last one ever added.
    #[prost(uint64, tag = "1")]
    pub generation: u64,
    /// 32 bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub key: Bytes,
}

/// One gossip key.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct KeyName {
    /// Which.
    #[prost(uint64, tag = "1")]
    pub generation: u64,
}

/// Say how busy a member is.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct ReportLoad {
    /// Who.
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    /// How busy.
    #[prost(message, required, tag = "2")]
    pub load: NodeLoad,
}

/// A member has another key pair.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Rekey {
    /// Who.
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    /// SHA-256 of the public key it had.
    #[prost(bytes = "bytes", tag = "2")]
    pub from: Bytes,
    /// SHA-256 of the one it has.
    #[prost(bytes = "bytes", tag = "3")]
    pub key_hash: Bytes,
}
