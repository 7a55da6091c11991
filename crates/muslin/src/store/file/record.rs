//! One record of the log: how it is written and how it is believed.
//!
//! A record is believed when its checksum matches, which covers the segment's number and the
//! record's own offset besides its bytes, and when it names the checksum of the record before it.
//! So none can be moved, swapped, left out or taken from an earlier life of the file.

use super::crc::Crc;
use super::segment::{array, u32_at, u64_at};
use bytes::Bytes;
use muslin_core::base::{GroupId, Index, LogId, NodeId, Term};
use muslin_core::raft::{Configuration, Entry, HardState, Payload};
use std::collections::BTreeSet;

/// Length of a record without payload.
pub(super) const HEADER_BYTES: usize = 40;

/// Length of a seal, which has no payload.
pub(super) const SEAL_BYTES: u64 = HEADER_BYTES as u64;

/// Records begin at multiples of this, so that a search for them can step.
const ALIGN: usize = 8;

/// Length of a state record's payload.
const STATE_BYTES: usize = 24;

const KIND_SEAL: u8 = 1;
const KIND_STATE: u8 = 2;
const KIND_EMPTY: u8 = 3;
const KIND_COMMAND: u8 = 4;
const KIND_CONFIGURATION: u8 = 5;

/// The last record of a write, or, of a seal, that the log goes on in the next segment.
const FLAG_LAST: u8 = 1;

const STATE_HAS_VOTE: u64 = 1;
const STATE_HAS_SNAPSHOT: u64 = 2;
const STATE_IS_REBUILDING: u64 = 4;
const STATE_IS_LEASED: u64 = 8;

/// A place in the log, in the order of writing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

/// What a group must not forget, apart from its entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct GroupState {
    pub(super) hard_state: HardState,
    /// A snapshot up to here was saved: its file must be there.
    pub(super) snapshot: Option<Index>,
}

/// What a record says.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Content {
    /// All before is on the disk. No segment below `oldest` is needed. After a closing one the log
    /// goes on in the next segment.
    Seal { oldest: u64, closing: bool },
    /// Replaces what was said of this group.
    State { group: GroupId, state: GroupState },
    /// Appends; an index that exists drops all from there on.
    Entry { group: GroupId, entry: Entry },
}

/// A record that is believed.
pub(super) struct Record {
    pub(super) content: Content,
    /// The last one of its write. Always true for seals.
    pub(super) is_last: bool,
    /// Checksum of the record before it.
    pub(super) previous: u32,
    pub(super) crc: u32,
    /// Room it takes.
    pub(super) length: u64,
}

/// What is to be written: a [`Content`] whose entry stands elsewhere.
#[derive(Clone, Copy)]
pub(super) enum Told<'a> {
    Seal { oldest: u64, closing: bool },
    State { group: GroupId, state: &'a GroupState },
    Entry { group: GroupId, entry: &'a Entry },
}

/// Room that a state record takes.
pub(super) const STATE_ROOM: u64 = (HEADER_BYTES + STATE_BYTES) as u64;

/// Room that an entry takes.
pub(super) fn room(entry: &Entry) -> u64 {
    let payload = match &entry.payload {
        Payload::Empty => 0,
        Payload::Command(command) => command.len(),
        Payload::Configuration(configuration) => configuration_bytes(configuration),
    };
    (HEADER_BYTES + payload).next_multiple_of(ALIGN) as u64
}

/// Appends a record for this place to a buffer; returns its checksum, which the next one names.
pub(super) fn encode(
    buffer: &mut Vec<u8>,
    at: Place,
    previous: u32,
    told: Told,
    is_last: bool,
) -> u32 {
    let start = buffer.len();
    let (kind, flag, numbers) = head(told, is_last);
    let mut header = [0; HEADER_BYTES];
    header[8..12].copy_from_slice(&previous.to_le_bytes());
    header[12] = kind;
    header[13] = if flag { FLAG_LAST } else { 0 };
    for (place, number) in header[16..].as_chunks_mut::<8>().0.iter_mut().zip(numbers) {
        *place = number.to_le_bytes();
    }
    buffer.extend_from_slice(&header);
    encode_payload(buffer, told);
    let length = buffer.len() - start;
    let length = u32::try_from(length).expect("commands are far smaller than 4 GiB");
    buffer[start..start + 4].copy_from_slice(&length.to_le_bytes());
    let crc = checksum(at, &buffer[start..]);
    buffer[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    buffer.resize(start + (length as usize).next_multiple_of(ALIGN), 0);
    crc
}

/// Kind, flag and the three numbers of a record's header.
fn head(told: Told, is_last: bool) -> (u8, bool, [u64; 3]) {
    match told {
        Told::Seal { oldest, closing } => (KIND_SEAL, closing, [0, oldest, 0]),
        Told::State { group, state } => {
            let hard_state = state.hard_state;
            (KIND_STATE, is_last, [group.0, hard_state.commit.0, hard_state.term.0])
        }
        Told::Entry { group, entry } => {
            let kind = match entry.payload {
                Payload::Empty => KIND_EMPTY,
                Payload::Command(_) => KIND_COMMAND,
                Payload::Configuration(_) => KIND_CONFIGURATION,
            };
            (kind, is_last, [group.0, entry.id.index.0, entry.id.term.0])
        }
    }
}

fn encode_payload(buffer: &mut Vec<u8>, told: Told) {
    match told {
        Told::Seal { .. } => {}
        Told::State { state, .. } => {
            let vote = state.hard_state.vote.map_or(0, |_| STATE_HAS_VOTE);
            let snapshot = state.snapshot.map_or(0, |_| STATE_HAS_SNAPSHOT);
            let rebuilding = if state.hard_state.rebuilding { STATE_IS_REBUILDING } else { 0 };
            let leased = if state.hard_state.leased { STATE_IS_LEASED } else { 0 };
            buffer.extend_from_slice(&(vote | snapshot | rebuilding | leased).to_le_bytes());
            let vote = state.hard_state.vote.unwrap_or_default();
            buffer.extend_from_slice(&vote.0.to_le_bytes());
            buffer.extend_from_slice(&state.snapshot.unwrap_or_default().0.to_le_bytes());
        }
        Told::Entry { entry, .. } => match &entry.payload {
            Payload::Empty => {}
            Payload::Command(command) => buffer.extend_from_slice(command),
            Payload::Configuration(configuration) => {
                encode_configuration(buffer, configuration);
            }
        },
    }
}

fn checksum(at: Place, record: &[u8]) -> u32 {
    // One piece of its own: each piece costs as much as some hundred bytes.
    let mut head = [0; 20];
    head[..8].copy_from_slice(&at.segment.to_le_bytes());
    head[8..16].copy_from_slice(&at.offset.to_le_bytes());
    head[16..].copy_from_slice(&record[..4]);
    Crc::new().with(&head).with(&record[8..]).finish()
}

/// Reads the record at a place of a segment, or says why there is none.
pub(super) fn read(segment: &[u8], at: Place) -> Result<Record, &'static str> {
    read_first(segment.get(at.offset as usize..).unwrap_or_default(), at)
}

/// Reads the record that these bytes begin with, and that stands at this place.
pub(super) fn read_first(rest: &[u8], at: Place) -> Result<Record, &'static str> {
    if rest.len() < HEADER_BYTES {
        return Err("the file ends within a record");
    }
    let length = u32_at(rest, 0) as usize;
    if length == 0 {
        return Err("a record is missing");
    }
    let padded = length.next_multiple_of(ALIGN);
    if length < HEADER_BYTES || padded > rest.len() {
        return Err("the length of a record is impossible");
    }
    let crc = u32_at(rest, 4);
    if checksum(at, &rest[..length]) != crc {
        return Err("the checksum of a record does not match");
    }
    if rest[length..padded].iter().any(|byte| *byte != 0) {
        return Err("there are bytes between two records");
    }
    let (content, flag) = decode(&rest[..length]).ok_or("a record says nothing we know")?;
    let is_last = flag || matches!(content, Content::Seal { .. });
    Ok(Record { content, is_last, previous: u32_at(rest, 8), crc, length: padded as u64 })
}

fn decode(record: &[u8]) -> Option<(Content, bool)> {
    let flag = record[13] == FLAG_LAST;
    let group = GroupId(u64_at(record, 16));
    let index = Index(u64_at(record, 24));
    let term = Term(u64_at(record, 32));
    let payload = &record[HEADER_BYTES..];
    let entry = |payload| {
        let entry = Entry { id: LogId::new(term, index), payload };
        Some(Content::Entry { group, entry })
    };
    let content = match record[12] {
        KIND_SEAL => Some(Content::Seal { oldest: index.0, closing: flag }),
        KIND_STATE => {
            decode_state(payload, index, term).map(|state| Content::State { group, state })
        }
        KIND_EMPTY => entry(Payload::Empty),
        KIND_COMMAND => entry(Payload::Command(Bytes::copy_from_slice(payload))),
        KIND_CONFIGURATION => entry(Payload::Configuration(decode_configuration(payload)?)),
        _ => None,
    };
    Some((content?, flag))
}

fn decode_state(payload: &[u8], commit: Index, term: Term) -> Option<GroupState> {
    if payload.len() != STATE_BYTES {
        return None;
    }
    let flags = u64_at(payload, 0);
    let vote = (flags & STATE_HAS_VOTE != 0).then(|| NodeId(u64_at(payload, 8)));
    let snapshot = (flags & STATE_HAS_SNAPSHOT != 0).then(|| Index(u64_at(payload, 16)));
    let rebuilding = flags & STATE_IS_REBUILDING != 0;
    let leased = flags & STATE_IS_LEASED != 0;
    Some(GroupState { hard_state: HardState { term, vote, commit, rebuilding, leased }, snapshot })
}

/// The states that are believed, wherever in a segment they stand.
pub(super) fn states(segment: &[u8], number: u64) -> Vec<(GroupId, GroupState)> {
    let length = (HEADER_BYTES + STATE_BYTES) as u32;
    let at = |offset: usize| Place { segment: number, offset: offset as u64 };
    (super::segment::HEADER_BYTES..segment.len())
        .step_by(ALIGN)
        .filter(|offset| is_long(&segment[*offset..], length))
        .filter_map(|offset| match read(segment, at(offset)).ok()?.content {
            Content::State { group, state } => Some((group, state)),
            _ => None,
        })
        .collect()
}

/// Whether a seal that is believed stands anywhere at or behind this offset: then all before it was
/// acknowledged. Seals have a fixed length, so this looks at each byte a bounded number of times,
/// whatever somebody stored in a command.
pub(super) fn has_seal_behind(segment: &[u8], at: Place) -> bool {
    let first = (at.offset as usize).next_multiple_of(ALIGN);
    (first..segment.len()).step_by(ALIGN).any(|offset| {
        let place = Place { segment: at.segment, offset: offset as u64 };
        is_long(&segment[offset..], HEADER_BYTES as u32)
            && read(segment, place).is_ok_and(|record| is_seal(&record.content))
    })
}

/// Whether these bytes may begin a record of this length.
fn is_long(bytes: &[u8], length: u32) -> bool {
    bytes.len() >= HEADER_BYTES && array(bytes, 0) == length.to_le_bytes()
}

fn is_seal(content: &Content) -> bool {
    matches!(content, Content::Seal { .. })
}

/// Length of an encoded configuration.
pub(super) fn configuration_bytes(configuration: &Configuration) -> usize {
    sets(configuration).iter().map(|set| 4 + 8 * set.len()).sum()
}

/// Writes the three sets, each as its count and its members.
pub(super) fn encode_configuration(buffer: &mut Vec<u8>, configuration: &Configuration) {
    for set in sets(configuration) {
        buffer.extend_from_slice(&(set.len() as u32).to_le_bytes());
        for id in set {
            buffer.extend_from_slice(&id.0.to_le_bytes());
        }
    }
}

/// Reads what [`encode_configuration`] wrote; `None` unless all bytes are used up exactly.
pub(super) fn decode_configuration(bytes: &[u8]) -> Option<Configuration> {
    let mut rest = bytes;
    let voters = decode_set(&mut rest)?;
    let outgoing = decode_set(&mut rest)?;
    let learners = decode_set(&mut rest)?;
    rest.is_empty().then_some(Configuration { voters, outgoing, learners })
}

fn sets(configuration: &Configuration) -> [&BTreeSet<NodeId>; 3] {
    [&configuration.voters, &configuration.outgoing, &configuration.learners]
}

fn decode_set(rest: &mut &[u8]) -> Option<BTreeSet<NodeId>> {
    let (count, behind) = rest.split_first_chunk::<4>()?;
    let length = (u32::from_le_bytes(*count) as usize).checked_mul(8)?;
    let (members, behind) = behind.split_at_checked(length)?;
    *rest = behind;
    Some(members.chunks_exact(8).map(|id| NodeId(u64_at(id, 0))).collect())
}
