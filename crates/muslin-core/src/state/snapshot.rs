//! The state as bytes, and back.
//!
//! A snapshot is a list of length-delimited [`Record`]s: a head, all that is no key, the keys, and
//! an end with the digest, each kind in order. It is written and read one record at a time, so that
//! neither needs the whole twice. Equal states give equal bytes.
//!
//! What is written is a [`Frozen`] state: a copy that costs next to nothing, that may be written
//! wherever there is time for it, a piece at a time, while commands are applied to the state
//! itself.

use super::auth::{AuthHead, RoleRecord, UserRecord};
use super::groups::{GROUP_ID_MAX, GROUP_REPLICAS_MAX, GROUPS_MAX};
use super::kv::{Key, Kv, Stamp};
use super::lease::{LEASE_ID_MAX, LEASE_TTL_MS_MAX, LEASES_MAX, Lease};
use super::restore_members::{Barred, MembersHead};
use super::sessions::{SESSION_WORDS_MAX, SESSIONS_MAX, Session, Sessions};
use super::tree::Builder;
use super::version::{Fate, KeyHistory, Version};
use super::{
    Alarm, Blob, Founding, GossipKey, GroupRecord, HeldJoin, Invite, Member, State, Token,
    Tombstone,
};
use crate::base::mutant::{self, Mutant};
use crate::base::{Epoch, GroupId, Index, LeaseId, NodeId, Revision};
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;
use core::ops::Bound;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

/// Raised when a reader of the last one would misunderstand.
const FORMAT: u32 = 2;

/// The oldest format that can be read: it has nothing that later ones have not.
const OLDEST_FORMAT: u32 = 1;

/// Largest revision or index taken: counting on from a forged snapshot must not reach the end of
/// what etcd clients see as a signed number.
pub(super) const NUMBER_MAX: u64 = i64::MAX as u64 / 2;

#[derive(Clone, PartialEq, prost::Message)]
struct Record {
    #[prost(
        oneof = "Kind",
        tags = "1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 21"
    )]
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
    #[prost(message, tag = "16")]
    Auth(AuthHead),
    #[prost(message, tag = "17")]
    User(UserRecord),
    #[prost(message, tag = "18")]
    Role(RoleRecord),
    #[prost(message, tag = "20")]
    Alarm(Alarm),
    #[prost(message, tag = "21")]
    Invite(Invite),
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
    #[prost(bool, tag = "3")]
    is_of_put: bool,
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

/// A state as it was at one moment, and how far it is written.
#[derive(Clone, Debug)]
pub struct Frozen {
    state: State,
    next: Next,
}

/// How many of what is in a state, and its numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counted {
    /// The last entry that carried a proposal.
    pub applied: Index,
    /// The present revision.
    pub revision: Revision,
    /// The earliest revision that can be read; zero when nothing was ever compacted.
    pub compacted: Revision,
    /// The number of the membership history.
    pub epoch: Epoch,
    /// Keys that exist.
    pub keys: u64,
    /// Leases, those of single keys included.
    pub leases: u64,
    /// Users.
    pub users: u64,
    /// Their roles.
    pub roles: u64,
    /// Members, whatever their standing.
    pub members: u64,
    /// Groups besides the control group.
    pub groups: u64,
}

/// What of a frozen state is to be written next.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Next {
    /// All that is no key.
    Head,
    /// The keys after this one.
    After(Blob),
    Nothing,
}

/// Of one state, and as far written.
impl PartialEq for Frozen {
    fn eq(&self, other: &Frozen) -> bool {
        let is_as_far = self.next == other.next;
        is_as_far && self.state.digest() == other.state.digest()
    }
}

impl Frozen {
    /// The state.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// How many of what is in it.
    pub fn counts(&self) -> Counted {
        let State { kv, leases, members, groups, auth, .. } = &self.state;
        let count = |many: usize| many as u64;
        Counted {
            applied: self.state.applied,
            revision: kv.revision,
            compacted: kv.compacted,
            epoch: members.epoch(),
            keys: self.state.keys(),
            leases: count(leases.table.counts().all),
            users: count(auth.user_records().count()),
            roles: count(auth.role_records().count()),
            members: count(members.present.len()),
            groups: count(groups.table.len()),
        }
    }

    /// About how many bytes it takes to write it.
    pub fn approximate_bytes(&self) -> u64 {
        self.state.approximate_bytes()
    }

    /// Writes the next piece of the snapshot: what is no key in one, then keys until they are
    /// about `most` bytes. Whether it is whole.
    pub fn write(&mut self, out: &mut Vec<u8>, most: usize) -> bool {
        let before = out.len();
        let after = match core::mem::replace(&mut self.next, Next::Nothing) {
            Next::Nothing => return true,
            Next::Head => {
                self.state.write_all_but_keys(out);
                // No key is empty: all are after it.
                Blob::default()
            }
            Next::After(key) => key,
        };
        let from = Bound::Excluded(&after[..]);
        for (key, history) in self.state.kv.keys.range(from, Bound::Unbounded) {
            write_key(out, key, history);
            if out.len() - before >= most {
                self.next = Next::After(key.clone());
                return false;
            }
        }
        write_record(out, Kind::End(self.state.digest_with(self.state.written_sessions())));
        true
    }

    /// The whole snapshot.
    pub fn encoded(mut self) -> Bytes {
        // Upper bound in practice: what a version costs in memory is more than what it takes here.
        let mut out = Vec::with_capacity(self.approximate_bytes() as usize);
        while !self.write(&mut out, usize::MAX) {}
        Bytes::from(out)
    }
}

impl State {
    /// The whole state. Takes time and memory in proportion to it.
    pub fn snapshot(&self) -> Bytes {
        self.freeze().encoded()
    }

    /// The state as it is at this moment, to be written while commands are applied to this one:
    /// what is copied for it is what is no key and no lease.
    pub fn freeze(&self) -> Frozen {
        Frozen { state: self.clone(), next: Next::Head }
    }

    fn written_sessions(&self) -> &Sessions {
        const NONE: &Sessions = &Sessions::NONE;
        if mutant::is_active(Mutant::SnapshotForgetsRetries) { NONE } else { &self.sessions }
    }

    fn write_all_but_keys(&self, out: &mut Vec<u8>) {
        let mut write = |kind: Kind| write_record(out, kind);
        write(Kind::Head(Head {
            format: FORMAT,
            applied: self.applied.0,
            revision: self.kv.revision.0,
            compacted: self.kv.compacted.0,
            swept: self.kv.swept.0,
        }));
        for (id, lease) in self.leases() {
            let Lease { ttl_ms, is_of_put, .. } = *lease;
            write(Kind::Lease(LeaseRecord { id: id.0, ttl_ms, is_of_put }));
        }
        let members = &self.members;
        write(Kind::Members(members.head()));
        members.present.values().for_each(|one| write(Kind::Member(one.clone())));
        members.tombstones.values().for_each(|one| write(Kind::Tombstone(one.clone())));
        members.barred().for_each(|one| write(Kind::Barred(one)));
        members.tokens.values().for_each(|one| write(Kind::Token(one.clone())));
        members.held.values().for_each(|one| write(Kind::Held(one.clone())));
        members.keys.values().for_each(|one| write(Kind::GossipKey(one.clone())));
        self.written_sessions().records().for_each(|record| write(Kind::Session(record)));
        if self.groups.last_id > 0 {
            let (last_id, changed_at) = (self.groups.last_id, self.groups.changed_at.0);
            write(Kind::Groups(GroupsHead { last_id, changed_at }));
        }
        for record in self.groups.table.values() {
            write(Kind::Group(record.clone()));
        }
        self.auth.head().into_iter().for_each(|head| write(Kind::Auth(head)));
        self.auth.user_records().for_each(|record| write(Kind::User(record)));
        self.auth.role_records().for_each(|record| write(Kind::Role(record)));
        self.alarms.all().for_each(|alarm| write(Kind::Alarm(alarm)));
        self.members.invites.values().for_each(|one| write(Kind::Invite(one.clone())));
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

fn write_record(out: &mut Vec<u8>, kind: Kind) {
    let record = Record { kind: Some(kind) };
    record.encode_length_delimited(out).expect("a vector grows as needed");
}

/// Writes a [`KeyRecord`] as the derived code would, without the record: of a million keys, to make
/// one each costs most of the time.
pub(super) fn write_key(out: &mut Vec<u8>, key: &[u8], history: &KeyHistory) {
    const LENGTH_DELIMITED: WireType = WireType::LengthDelimited;
    let field = |length: usize| 1 + encoded_len_varint(length as u64) + length;
    let of_versions = history.iter().map(|version| field(version_bytes(version)));
    let key_record = field(key.len()) + of_versions.sum::<usize>();
    encode_varint(field(key_record) as u64, out);
    encode_key(3, LENGTH_DELIMITED, out);
    encode_varint(key_record as u64, out);
    write_bytes(1, key, out);
    for version in history.iter() {
        encode_key(2, LENGTH_DELIMITED, out);
        encode_varint(version_bytes(version) as u64, out);
        for (tag, number) in version_numbers(version) {
            if number != 0 {
                encode_key(tag, WireType::Varint, out);
                encode_varint(number, out);
            }
        }
        write_bytes(6, &version.value, out);
        if version.fate == Fate::Expired {
            encode_key(7, WireType::Varint, out);
            encode_varint(1, out);
        }
    }
}

/// What [`write_key`] is to be equal to.
#[cfg(test)]
pub(super) fn write_key_as_derived(key: &[u8], history: &KeyHistory) -> Vec<u8> {
    let version = |version: &Version| VersionRecord {
        revision: version.revision.0,
        sub: version.sub,
        version: version.version,
        created: version.created.0,
        lease: version.lease,
        value: Bytes::from(&version.value),
        expired: version.fate == Fate::Expired,
    };
    let versions = history.iter().map(version).collect();
    let record = KeyRecord { key: Bytes::copy_from_slice(key), versions };
    Record { kind: Some(Kind::Key(record)) }.encode_length_delimited_to_vec()
}

/// Nothing where there are none.
fn write_bytes(tag: u32, bytes: &[u8], out: &mut Vec<u8>) {
    if !bytes.is_empty() {
        encode_key(tag, WireType::LengthDelimited, out);
        encode_varint(bytes.len() as u64, out);
        out.extend_from_slice(bytes);
    }
}

/// The numbers of a [`VersionRecord`], by tag.
fn version_numbers(version: &Version) -> [(u32, u64); 5] {
    let sub = u64::from(version.sub);
    let (revision, created) = (version.revision.0, version.created.0);
    [(1, revision), (2, sub), (3, version.version), (4, created), (5, version.lease)]
}

/// Length of a [`VersionRecord`].
fn version_bytes(version: &Version) -> usize {
    let numbers = version_numbers(version).into_iter().filter(|(_, number)| *number != 0);
    let numbers: usize = numbers.map(|(_, number)| 1 + encoded_len_varint(number)).sum();
    let value = version.value.len();
    let value = if value == 0 { 0 } else { 1 + encoded_len_varint(value as u64) + value };
    numbers + value + if version.fate == Fate::Expired { 2 } else { 0 }
}

fn next_record(rest: &mut Bytes) -> Result<Kind, RestoreError> {
    let record =
        Record::decode_length_delimited(&mut *rest).map_err(|_| RestoreError::Undecodable)?;
    record.kind.ok_or(RestoreError::Undecodable)
}

/// A state that is being read. Every check stands for an assertion that would fail later.
struct Restoring {
    state: State,
    keys: Builder<Blob, KeyHistory>,
    /// Changes found so far.
    changes: Vec<(Stamp, Blob)>,
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
        Ok(Restoring { state, keys: Builder::default(), changes: Vec::new() })
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
            Kind::Auth(head) => Arc::make_mut(&mut self.state.auth).take_head(head),
            Kind::User(record) => Arc::make_mut(&mut self.state.auth).take_user(record),
            Kind::Role(record) => Arc::make_mut(&mut self.state.auth).take_role(record),
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
            Kind::Alarm(alarm) => self.state.alarms.take(alarm),
            Kind::Invite(invite) => self.state.members.take_invite(invite),
        }
    }

    fn take_lease(&mut self, record: LeaseRecord) -> Result<(), RestoreError> {
        let LeaseRecord { id, ttl_ms, is_of_put } = record;
        require((1..=LEASE_ID_MAX).contains(&id), "a lease id out of range")?;
        require((1..=LEASE_TTL_MS_MAX).contains(&ttl_ms), "a time to live out of range")?;
        let table = &mut self.state.leases.table;
        require(table.counts().all < LEASES_MAX, "too many leases")?;
        let lease = Lease { ttl_ms, is_of_put, ..Lease::default() };
        require(table.insert(LeaseId(id), lease).is_none(), "a lease twice")
    }

    fn take_key(&mut self, record: KeyRecord) -> Result<(), RestoreError> {
        require(!record.key.is_empty(), "an empty key")?;
        let kv = &mut self.state.kv;
        let is_after = self.keys.last().is_none_or(|(last, _)| **last < *record.key);
        require(is_after, "keys out of order")?;
        // The state's own copies: a slice would hold the whole snapshot in memory.
        let key = Blob::from(&record.key);
        let mut history: Option<KeyHistory> = None;
        for version in &record.versions {
            let version = restored_version(version, kv)?;
            if version.revision >= kv.swept {
                let stamp = Stamp { revision: version.revision, sub: version.sub };
                self.changes.push((stamp, key.clone()));
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
        let lease = history.newest().lease;
        require(self.state.leases.check_attach(lease).is_ok(), "a key on an unknown lease")?;
        self.state.leases.reattach(&key, 0, lease);
        kv.restore_totals(&key, &history);
        self.keys.push(key, history);
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
        let Restoring { mut state, keys, mut changes } = self;
        state.members.check_restored()?;
        Arc::make_mut(&mut state.auth).check_restored()?;
        state.kv.keys = keys.finish();
        changes.sort_unstable_by_key(|(stamp, _)| *stamp);
        let mut history = Builder::default();
        for (stamp, key) in changes {
            let is_after = history.last().is_none_or(|(last, _)| *last < stamp);
            require(is_after, "two changes at one place in history")?;
            history.push(stamp, Key(key));
        }
        state.kv.history = history.finish();
        Ok(state)
    }
}

fn restored_version(record: &VersionRecord, kv: &Kv) -> Result<Version, RestoreError> {
    let VersionRecord { revision, sub, version, created, lease, value, expired } = record;
    require(*revision <= kv.revision.0, "a version of the future")?;
    let is_counted = *version <= *revision && *created <= *revision;
    require(is_counted, "a version counted wrongly")?;
    let (revision, sub) = (Revision(*revision), *sub);
    if *version == 0 {
        return Ok(Version::gone(revision, sub, *expired));
    }
    let (created, version, lease) = (Revision(*created), *version, *lease);
    // The state's own copy, as of the key.
    let value = Blob::from(value);
    Ok(Version { revision, created, version, lease, value, sub, fate: Fate::Set })
}

pub(super) fn require(holds: bool, why: &'static str) -> Result<(), RestoreError> {
    if holds { Ok(()) } else { Err(RestoreError::Impossible { why }) }
}
