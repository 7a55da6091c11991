//! The state as bytes, and back.
//!
//! A snapshot is a list of length-delimited [`Record`]s: a head, everything in the order of its
//! keys, and an end with the digest. It is written and read one record at a time, so that neither
//! needs the whole twice. Equal states give equal bytes.

use super::groups::{GROUP_ID_MAX, GROUP_REPLICAS_MAX, GROUPS_MAX};
use super::kv::{Change, Kv};
use super::lease::{LEASE_ID_MAX, LEASE_TTL_MS_MAX, LEASES_MAX, Lease};
use super::restore_members::{Barred, MembersHead};
use super::sessions::{SESSION_WORDS_MAX, SESSIONS_MAX, Session, Sessions};
use super::version::{Content, KeyHistory, Version};
use super::{Founding, GossipKey, GroupRecord, HeldJoin, Member, State, Token, Tombstone};
use crate::base::mutant::{self, Mutant};
use crate::base::{GroupId, Index, LeaseId, NodeId, Revision};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;
use prost::Message as _;

/// Raised when a reader of the last one would misunderstand.
const FORMAT: u32 = 2;

/// The oldest format that can be read: it has nothing that later ones have not.
const OLDEST_FORMAT: u32 = 1;

/// Largest revision or index taken: counting on from a forged snapshot must not reach the end of
/// what etcd clients see as a signed number.
pub(super) const NUMBER_MAX: u64 = i64::MAX as u64 / 2;

#[derive(Clone, PartialEq, prost::Message)]
struct Record {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(message, tag = "1")]
    Head(Head),
    #[prost(message, tag = "2")]
    Lease(LeaseRecord),
    #[prost(message, tag = "3")]
    Key(KeyRecord),
    #[prost(message, tag = "4")]
    Member(Member),
    #[prost(message, tag = "6")]
    Token(Token),
    #[prost(message, tag = "7")]
    Session(SessionRecord),
    #[prost(fixed64, tag = "8")]
    End(u64),
    #[prost(message, tag = "9")]
    Groups(GroupsHead),
    #[prost(message, tag = "10")]
    Group(GroupRecord),
    #[prost(message, tag = "11")]
    Members(MembersHead),
    #[prost(message, tag = "12")]
    Tombstone(Tombstone),
    #[prost(message, tag = "13")]
    Barred(Barred),
    #[prost(message, tag = "14")]
    Held(HeldJoin),
    #[prost(message, tag = "15")]
    GossipKey(GossipKey),
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Head {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(uint64, tag = "2")]
    applied: u64,
    #[prost(uint64, tag = "3")]
    revision: u64,
    #[prost(uint64, tag = "4")]
    compacted: u64,
    #[prost(uint64, tag = "5")]
    swept: u64,
}

/// In front of the groups, if there ever was one.
#[derive(Clone, Copy, PartialEq, prost::Message)]
struct GroupsHead {
    #[prost(uint64, tag = "1")]
    last_id: u64,
    #[prost(uint64, tag = "2")]
    changed_at: u64,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct LeaseRecord {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    ttl_ms: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct KeyRecord {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(message, repeated, tag = "2")]
    versions: Vec<VersionRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct VersionRecord {
    #[prost(uint64, tag = "1")]
    revision: u64,
    #[prost(uint32, tag = "2")]
    sub: u32,
    /// 0 of a deletion; then nothing but `expired` follows.
    #[prost(uint64, tag = "3")]
    version: u64,
    #[prost(uint64, tag = "4")]
    created: u64,
    #[prost(uint64, tag = "5")]
    lease: u64,
    #[prost(bytes = "bytes", tag = "6")]
    value: Bytes,
    #[prost(bool, tag = "7")]
    expired: bool,
}

/// What was applied of one node's proposals.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SessionRecord {
    #[prost(fixed64, tag = "1")]
    origin: u64,
    #[prost(uint64, tag = "2")]
    boot: u64,
    #[prost(uint64, tag = "3")]
    settled_below: u64,
    #[prost(fixed64, repeated, tag = "4")]
    words: Vec<u64>,
}

/// Why bytes are not a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RestoreError {
    /// They are no list of records, or it ends too early.
    Undecodable,
    /// Another version wrote them.
    Format {
        /// The format it says it has.
        found: u32,
    },
    /// No state is like this.
    Impossible {
        /// What is wrong.
        why: &'static str,
    },
    /// The digest at the end is of another state.
    Damaged,
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RestoreError::Undecodable => f.write_str("the snapshot is cut short or no snapshot"),
            RestoreError::Format { found } => {
                write!(f, "the snapshot has format {found}, this version reads {FORMAT}")
            }
            RestoreError::Impossible { why } => write!(f, "the snapshot is impossible: {why}"),
            RestoreError::Damaged => f.write_str("the snapshot is damaged: its digest differs"),
        }
    }
}

impl core::error::Error for RestoreError {}

impl Sessions {
    /// One record per node that ever proposed.
    pub(crate) fn records(&self) -> impl Iterator<Item = SessionRecord> {
        self.table.iter().map(|(origin, session)| SessionRecord {
            origin: origin.0,
            boot: session.boot,
            settled_below: session.settled_below,
            words: session.words.iter().copied().collect(),
        })
    }

    /// Takes a record in, if it is one of a possible table.
    pub(crate) fn take(&mut self, record: SessionRecord) -> Result<(), RestoreError> {
        let SessionRecord { origin, boot, settled_below, words } = record;
        require(self.table.len() < SESSIONS_MAX, "too many sessions")?;
        require(settled_below >= 1, "a session that settled nothing")?;
        require(words.len() <= SESSION_WORDS_MAX, "a session beyond its window")?;
        let below = !(u64::MAX << (settled_below % 64));
        let is_clear = words.first().is_none_or(|first| first & below == 0);
        require(is_clear, "a session that holds what is settled")?;
        let session = Session { boot, settled_below, words: words.into() };
        require(self.table.insert(NodeId(origin), session).is_none(), "a session twice")
    }
}

impl State {
    /// The whole state. Takes time and memory in proportion to it.
    pub fn snapshot(&self) -> Bytes {
        if mutant::is_active(Mutant::SnapshotForgetsRetries) {
            let forgetful = State { sessions: Sessions::default(), ..self.clone() };
            return forgetful.encode();
        }
        self.encode()
    }

    fn encode(&self) -> Bytes {
        // Upper bound in practice: what a version costs in memory is more than what it takes here.
        let mut out = Vec::with_capacity(self.kv.totals().bytes as usize);
        let mut write = |kind: Kind| {
            let record = Record { kind: Some(kind) };
            record.encode_length_delimited(&mut out).expect("a vector grows as needed");
        };
        write(Kind::Head(Head {
            format: FORMAT,
            applied: self.applied.0,
            revision: self.kv.revision.0,
            compacted: self.kv.compacted.0,
            swept: self.kv.swept.0,
        }));
        for (id, lease) in &self.leases.table {
            write(Kind::Lease(LeaseRecord { id: id.0, ttl_ms: lease.ttl_ms }));
        }
        for (key, history) in &self.kv.keys {
            let versions = history.iter().map(version_record).collect();
            write(Kind::Key(KeyRecord { key: key.clone(), versions }));
        }
        let members = &self.members;
        write(Kind::Members(members.head()));
        members.present.values().for_each(|one| write(Kind::Member(one.clone())));
        members.tombstones.values().for_each(|one| write(Kind::Tombstone(one.clone())));
        members.barred().for_each(|one| write(Kind::Barred(one)));
        members.tokens.values().for_each(|one| write(Kind::Token(one.clone())));
        members.held.values().for_each(|one| write(Kind::Held(one.clone())));
        members.keys.values().for_each(|one| write(Kind::GossipKey(one.clone())));
        for record in self.sessions.records() {
            write(Kind::Session(record));
        }
        if self.groups.last_id > 0 {
            let (last_id, changed_at) = (self.groups.last_id, self.groups.changed_at.0);
            write(Kind::Groups(GroupsHead { last_id, changed_at }));
        }
        for record in self.groups.table.values() {
            write(Kind::Group(record.clone()));
        }
        write(Kind::End(self.digest()));
        Bytes::from(out)
    }

    /// The state a snapshot was made of. Bytes from anywhere are safe: what comes back is a state
    /// that commands can be applied to, or an error.
    pub fn restore(bytes: Bytes) -> Result<State, RestoreError> {
        let (state, digest) = State::decode(bytes)?;
        if state.digest() == digest { Ok(state) } else { Err(RestoreError::Damaged) }
    }

    /// A possible state, and the digest it should have.
    pub(super) fn decode(bytes: Bytes) -> Result<(State, u64), RestoreError> {
        let mut rest = bytes;
        let Kind::Head(head) = next_record(&mut rest)? else {
            return Err(RestoreError::Undecodable);
        };
        let mut restoring = Restoring::begin(head)?;
        loop {
            match next_record(&mut rest)? {
                Kind::End(digest) if rest.is_empty() => return Ok((restoring.end()?, digest)),
                kind => restoring.take(kind)?,
            }
        }
    }
}

fn version_record(version: &Version) -> VersionRecord {
    let record = VersionRecord {
        revision: version.revision.0,
        sub: version.sub,
        ..VersionRecord::default()
    };
    match &version.content {
        Content::Gone { expired } => VersionRecord { expired: *expired, ..record },
        Content::Set { created, version, lease, value } => VersionRecord {
            version: *version,
            created: created.0,
            lease: *lease,
            value: value.clone(),
            ..record
        },
    }
}

fn next_record(rest: &mut Bytes) -> Result<Kind, RestoreError> {
    let record =
        Record::decode_length_delimited(&mut *rest).map_err(|_| RestoreError::Undecodable)?;
    record.kind.ok_or(RestoreError::Undecodable)
}

/// A state that is being read. Every check stands for an assertion that would fail later.
struct Restoring {
    state: State,
    /// Changes found so far, by place in history.
    changes: Vec<(Revision, u32, Bytes)>,
}

impl Restoring {
    fn begin(head: Head) -> Result<Restoring, RestoreError> {
        let Head { format, applied, revision, compacted, swept } = head;
        if !(OLDEST_FORMAT..=FORMAT).contains(&format) {
            return Err(RestoreError::Format { found: format });
        }
        let is_possible = (1..=NUMBER_MAX).contains(&revision) && compacted <= revision;
        require(is_possible, "revisions out of order")?;
        require(swept <= compacted, "swept further than compacted")?;
        require(applied <= NUMBER_MAX, "an index out of range")?;
        let mut state = State::founded(&Founding::default());
        state.applied = Index(applied);
        state.kv.revision = Revision(revision);
        state.kv.compacted = Revision(compacted);
        state.kv.swept = Revision(swept);
        Ok(Restoring { state, changes: Vec::new() })
    }

    fn take(&mut self, kind: Kind) -> Result<(), RestoreError> {
        match kind {
            Kind::Head(_) | Kind::End(_) => Err(RestoreError::Undecodable),
            Kind::Lease(lease) => self.take_lease(lease),
            Kind::Key(record) => self.take_key(record),
            Kind::Member(member) => self.state.members.take_member(member),
            Kind::Members(head) => self.state.members.take_head(head),
            Kind::Tombstone(one) => self.state.members.take_tombstone(one),
            Kind::Barred(one) => self.state.members.take_barred(one),
            Kind::Token(token) => self.state.members.take_token(token),
            Kind::Held(held) => self.state.members.take_held(held),
            Kind::GossipKey(key) => self.state.members.take_key(key),
            Kind::Session(record) => self.state.sessions.take(record),
            Kind::Groups(head) => {
                let GroupsHead { last_id, changed_at } = head;
                require(self.state.groups.last_id == 0, "the groups twice")?;
                require((1..=GROUP_ID_MAX).contains(&last_id), "a group id out of range")?;
                require(changed_at <= self.state.applied.0, "groups of the future")?;
                self.state.groups.last_id = last_id;
                self.state.groups.changed_at = Index(changed_at);
                Ok(())
            }
            Kind::Group(record) => self.take_group(record),
        }
    }

    fn take_lease(&mut self, record: LeaseRecord) -> Result<(), RestoreError> {
        let LeaseRecord { id, ttl_ms } = record;
        require((1..=LEASE_ID_MAX).contains(&id), "a lease id out of range")?;
        require((1..=LEASE_TTL_MS_MAX).contains(&ttl_ms), "a time to live out of range")?;
        let table = &mut self.state.leases.table;
        require(table.len() < LEASES_MAX, "too many leases")?;
        let lease = Lease { ttl_ms, keys: BTreeSet::new() };
        require(table.insert(LeaseId(id), lease).is_none(), "a lease twice")
    }

    fn take_key(&mut self, record: KeyRecord) -> Result<(), RestoreError> {
        require(!record.key.is_empty(), "an empty key")?;
        let kv = &mut self.state.kv;
        let is_after = kv.keys.last_key_value().is_none_or(|(last, _)| *last < record.key);
        require(is_after, "keys out of order")?;
        // The state's own copies: a slice would hold the whole snapshot in memory.
        let key = Bytes::copy_from_slice(&record.key);
        let mut history: Option<KeyHistory> = None;
        for version in &record.versions {
            let version = restored_version(version, kv)?;
            if version.revision >= kv.swept {
                self.changes.push((version.revision, version.sub, key.clone()));
            }
            match &mut history {
                None => history = Some(KeyHistory::new(version)),
                Some(history) => {
                    let is_after = history.newest().revision < version.revision;
                    require(is_after, "versions out of order")?;
                    history.push(version);
                }
            }
        }
        let Some(history) = history else {
            return require(false, "a key without versions");
        };
        let lease = history.newest().lease();
        require(self.state.leases.check_attach(lease).is_ok(), "a key on an unknown lease")?;
        self.state.leases.reattach(&key, 0, lease);
        kv.restore_key(key, history);
        Ok(())
    }

    fn take_group(&mut self, record: GroupRecord) -> Result<(), RestoreError> {
        let groups = &mut self.state.groups;
        let is_in_range = (1..=groups.last_id).contains(&record.id);
        require(is_in_range, "a group beyond the last one made")?;
        let count = record.replicas.len();
        require((1..=GROUP_REPLICAS_MAX).contains(&count), "a group without replicas")?;
        require(record.replicas.is_sorted_by(|one, next| one < next), "replicas out of order")?;
        let is_led = record.leader.is_none_or(|leader| record.replicas.contains(&leader));
        require(is_led, "a group led from outside")?;
        require(groups.table.len() < GROUPS_MAX, "too many groups")?;
        let id = GroupId(record.id);
        require(groups.table.insert(id, record).is_none(), "a group twice")
    }

    fn end(self) -> Result<State, RestoreError> {
        let Restoring { mut state, mut changes } = self;
        state.members.check_restored()?;
        changes.sort_unstable_by_key(|(revision, sub, _)| (*revision, *sub));
        let is_unique = changes.windows(2).all(|pair| {
            let [(revision, sub, _), (next, next_sub, _)] = pair else {
                return true;
            };
            (revision, sub) != (next, next_sub)
        });
        require(is_unique, "two changes at one place in history")?;
        let changes = changes.into_iter().map(|(revision, _, key)| Change { revision, key });
        state.kv.history = changes.collect();
        Ok(state)
    }
}

fn restored_version(record: &VersionRecord, kv: &Kv) -> Result<Version, RestoreError> {
    let VersionRecord { revision, sub, version, created, lease, value, expired } = record;
    require(*revision <= kv.revision.0, "a version of the future")?;
    let is_counted = *version <= *revision && *created <= *revision;
    require(is_counted, "a version counted wrongly")?;
    let content = match *version {
        0 => Content::Gone { expired: *expired },
        version => Content::Set {
            created: Revision(*created),
            version,
            lease: *lease,
            value: Bytes::copy_from_slice(value),
        },
    };
    Ok(Version { revision: Revision(*revision), sub: *sub, content })
}

pub(super) fn require(holds: bool, why: &'static str) -> Result<(), RestoreError> {
    if holds { Ok(()) } else { Err(RestoreError::Impossible { why }) }
}
