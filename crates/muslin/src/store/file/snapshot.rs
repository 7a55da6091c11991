//! One file per group: the last saved snapshot, and what it makes of the log.

use super::super::{Damage, StoreError};
use super::crc::{Crc, crc32c};
use super::disk;
use super::record::{Place, configuration_bytes, decode_configuration, encode_configuration};
use super::segment::{Owner, check_header, damaged, hexadecimal, u32_at, u64_at, unreadable};
use bytes::Bytes;
use muslin_core::base::{GroupId, Index, LogId, Term};
use muslin_core::raft::{Snapshot, SnapshotMeta};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What a snapshot file begins with.
const MAGIC: &[u8; 8] = b"MUSLINSN";

/// The format described in `docs/design/disk.md`.
const FORMAT: u32 = 1;

/// Where the configuration begins, and behind it the state.
const HEADER_BYTES: usize = 112;

/// Ending of a snapshot's name.
const ENDING: &str = ".snap";

/// A snapshot with what it makes of the log.
pub(super) struct Saved {
    pub(super) snapshot: Snapshot,
    /// In the same file as the state, so that both change in one step.
    pub(super) effect: Effect,
}

/// What a snapshot makes of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Effect {
    /// Entries below this are not needed.
    pub(super) keep_from: Index,
    /// Entries of the group that stand before this place of the log do not count: they disagree
    /// with the snapshot, or end before it.
    pub(super) void_before: Place,
}

/// Makes a snapshot's file, all but its final name.
pub(super) fn prepare(
    unfinished: &Path,
    owner: Owner,
    group: GroupId,
    snapshot: &Snapshot,
    effect: Effect,
) -> Result<(), StoreError> {
    let meta = &snapshot.meta;
    let mut configuration = Vec::with_capacity(configuration_bytes(&meta.configuration));
    encode_configuration(&mut configuration, &meta.configuration);
    let state = &snapshot.data;
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&FORMAT.to_le_bytes());
    header.extend_from_slice(&[0; 4]);
    owner.encode(&mut header);
    let numbers = [
        group.0,
        meta.last.index.0,
        meta.last.term.0,
        effect.keep_from.0,
        effect.void_before.segment,
        effect.void_before.offset,
        state.len() as u64,
        configuration.len() as u64,
    ];
    for number in numbers {
        header.extend_from_slice(&number.to_le_bytes());
    }
    let body = Crc::new().with(&configuration).with(state).finish();
    header.extend_from_slice(&body.to_le_bytes());
    header.extend_from_slice(&crc32c(&header).to_le_bytes());
    assert_eq!(header.len(), HEADER_BYTES);
    disk::prepare(unfinished, &[&header, &configuration, state])
}

/// Snapshots that are sound, and what is wrong with the others.
type Loaded = (BTreeMap<GroupId, Saved>, BTreeMap<GroupId, Damage>);

/// Reads every snapshot of a directory.
pub(super) fn load_all(dir: &Path, owner: Owner) -> Result<Loaded, StoreError> {
    let (mut sound, mut damages) = (BTreeMap::new(), BTreeMap::new());
    for group in disk::names(dir)?.iter().filter_map(|name| group_of(name)) {
        match load(&path(dir, group), owner, group) {
            Ok(saved) => drop(sound.insert(group, saved)),
            Err(StoreError::Damaged { path, offset, what }) => {
                damages.insert(group, Damage { path, offset, what });
            }
            Err(error) => return Err(error),
        }
    }
    Ok((sound, damages))
}

/// Where a group's snapshot stands.
pub(super) fn path(dir: &Path, group: GroupId) -> PathBuf {
    dir.join(format!("{:016x}{ENDING}", group.0))
}

fn group_of(name: &str) -> Option<GroupId> {
    let digits = name.strip_suffix(ENDING).filter(|digits| digits.len() == 16)?;
    hexadecimal(digits).map(GroupId)
}

fn load(path: &Path, owner: Owner, group: GroupId) -> Result<Saved, StoreError> {
    disk::must_be_file(path)?;
    let read = fs::read(path).map_err(|error| unreadable(path, 0, error))?;
    let bytes = Bytes::from(read);
    let mut body = Body::default();
    body.count(bytes.get(HEADER_BYTES..).unwrap_or_default());
    judge(&bytes, body, path, (owner, group))?;
    let configuration_length = u64_at(&bytes, 96);
    let body = bytes.slice(HEADER_BYTES..);
    let state = body.slice(configuration_length as usize..);
    let configuration = decode_configuration(&body[..configuration_length as usize])
        .ok_or_else(|| damaged(path, HEADER_BYTES as u64, "its configuration cannot be read"))?;
    let last = LogId::new(Term(u64_at(&bytes, 56)), Index(u64_at(&bytes, 48)));
    Ok(Saved {
        snapshot: Snapshot { meta: SnapshotMeta { last, configuration }, data: state },
        effect: Effect {
            keep_from: Index(u64_at(&bytes, 64)),
            void_before: Place { segment: u64_at(&bytes, 72), offset: u64_at(&bytes, 80) },
        },
    })
}

/// What stands behind a header: its length and its checksum so far.
#[derive(Clone, Copy)]
pub(super) struct Body {
    length: u64,
    crc: Crc,
}

impl Default for Body {
    fn default() -> Body {
        Body { length: 0, crc: Crc::new() }
    }
}

impl Body {
    fn count(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.crc = self.crc.with(bytes);
    }

    /// Counts what stands behind the header in these bytes, and drops it.
    pub(super) fn add(&mut self, bytes: &mut Vec<u8>) {
        self.count(bytes.get(HEADER_BYTES..).unwrap_or_default());
        bytes.truncate(HEADER_BYTES);
    }
}

/// Whether a header and what stands behind it are what was written.
pub(super) fn judge(
    header: &[u8],
    body: Body,
    path: &Path,
    (owner, group): (Owner, GroupId),
) -> Result<(), StoreError> {
    if header.len() < HEADER_BYTES {
        return Err(damaged(path, header.len() as u64, "it is shorter than its header"));
    }
    check_header(MAGIC, FORMAT, &header[..HEADER_BYTES], path)?;
    Owner::decode(header, 16).must_be(owner, path)?;
    if u64_at(header, 40) != group.0 {
        return Err(damaged(path, 40, "its name and its group differ"));
    }
    let (state_length, configuration_length) = (u64_at(header, 88), u64_at(header, 96));
    if state_length.checked_add(configuration_length) != Some(body.length) {
        let end = HEADER_BYTES as u64 + body.length;
        return Err(damaged(path, end, "it has not the length its header says"));
    }
    if body.crc.finish() != u32_at(header, 104) {
        return Err(damaged(path, HEADER_BYTES as u64, "the checksum of its state does not match"));
    }
    Ok(())
}
