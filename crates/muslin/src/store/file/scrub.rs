//! Reading again what was written, to find out in time what has gone bad.
//!
//! Segments that are not written to any more, and snapshots: one file after the other, a piece at a
//! time. The system is asked to forget what it holds of a file first, so that it is the disk that
//! is read.

use super::super::{Damage, StoreError};
use super::log::Home;
use super::record::{self, Content, Place};
use super::segment::{self, HEADER_BYTES, Header, Owner, damaged, unreadable};
use super::snapshot;
use muslin_core::base::GroupId;
use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A file that is looked at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Item {
    /// With the checksum of its closing seal.
    Segment(u64, u32),
    Snapshot(GroupId),
}

/// Where a look through the disk stands.
#[derive(Default)]
pub(super) struct Scrubber {
    /// What is still to be looked at in this round; `None` between two.
    left: Option<VecDeque<Item>>,
    current: Option<Reading>,
}

/// A file that is being read.
struct Reading {
    item: Item,
    path: PathBuf,
    file: File,
    bytes: Vec<u8>,
    body: snapshot::Body,
}

/// What came of a step.
pub(super) enum Step {
    /// So much was read.
    Read(u64),
    /// A file was read to its end: what is wrong with it, if anything is.
    Judged(Item, Option<Damage>),
    /// Nothing is left of this round.
    Done,
}

impl Scrubber {
    /// Whether a round is under way.
    pub(super) fn is_begun(&self) -> bool {
        self.left.is_some()
    }

    /// Begins a round.
    pub(super) fn begin(&mut self, items: impl IntoIterator<Item = Item>) {
        self.left = Some(items.into_iter().collect());
    }

    /// Reads on.
    pub(super) fn step(&mut self, home: &Home, bytes: u64) -> Result<Step, StoreError> {
        let mut reading = match self.current.take() {
            Some(reading) => reading,
            None => {
                let Some(item) = self.left.as_mut().and_then(VecDeque::pop_front) else {
                    self.left = None;
                    return Ok(Step::Done);
                };
                match Reading::open(home, item) {
                    Some(reading) => reading,
                    // It is not needed any more; if it is, the next start tells.
                    None => return Ok(Step::Read(0)),
                }
            }
        };
        match reading.read(bytes) {
            Ok(0) => {
                let judged = reading.judge(home.owner);
                found(judged).map(|damage| Step::Judged(reading.item, damage))
            }
            Ok(count) => {
                self.current = Some(reading);
                Ok(Step::Read(count))
            }
            Err(error) => found(Err(error)).map(|damage| Step::Judged(reading.item, damage)),
        }
    }
}

/// Damage is what is looked for; any other error is one.
fn found(judged: Result<(), StoreError>) -> Result<Option<Damage>, StoreError> {
    match judged {
        Ok(()) => Ok(None),
        Err(StoreError::Damaged { path, offset, what }) => Ok(Some(Damage { path, offset, what })),
        Err(error) => Err(error),
    }
}

impl Reading {
    fn open(home: &Home, item: Item) -> Option<Reading> {
        let path = match item {
            Item::Segment(number, _) => segment::path(&home.log, number),
            Item::Snapshot(group) => snapshot::path(&home.snapshots, group),
        };
        let file = File::open(&path).ok()?;
        forget(&file);
        let (bytes, body) = (Vec::new(), snapshot::Body::default());
        Some(Reading { item, path, file, bytes, body })
    }

    /// Of a snapshot, which may be large, only the header is kept.
    fn read(&mut self, bytes: u64) -> Result<u64, StoreError> {
        let from = self.bytes.len();
        let read = (&self.file).take(bytes).read_to_end(&mut self.bytes);
        let count = read.map_err(|error| unreadable(&self.path, from as u64, error))?;
        if matches!(self.item, Item::Snapshot(_)) {
            self.body.add(&mut self.bytes);
        }
        Ok(count as u64)
    }

    fn judge(&self, owner: Owner) -> Result<(), StoreError> {
        match self.item {
            Item::Segment(number, chain) => {
                judge_segment(&self.bytes, &self.path, (owner, number), chain)
            }
            Item::Snapshot(group) => {
                snapshot::judge(&self.bytes, self.body, &self.path, (owner, group))
            }
        }
    }
}

/// Follows a closed segment to its end, which is known.
fn judge_segment(
    bytes: &[u8],
    path: &Path,
    (owner, number): (Owner, u64),
    closing: u32,
) -> Result<(), StoreError> {
    if bytes.len() < HEADER_BYTES {
        return Err(damaged(path, bytes.len() as u64, "it is shorter than its header"));
    }
    let header = Header::decode(bytes, path)?;
    header.owner.must_be(owner, path)?;
    if header.number != number || header.size != bytes.len() as u64 {
        return Err(damaged(path, 40, "its number or its length is not what it was"));
    }
    let mut chain = header.seed;
    let mut at = Place { segment: number, offset: HEADER_BYTES as u64 };
    loop {
        let record = record::read(bytes, at).map_err(|why| damaged(path, at.offset, why))?;
        if record.previous != chain {
            return Err(damaged(path, at.offset, "a record follows the wrong one"));
        }
        chain = record.crc;
        if matches!(record.content, Content::Seal { closing: true, .. }) {
            let is_same = chain == closing;
            return if is_same {
                Ok(())
            } else {
                Err(damaged(path, at.offset, "it ends otherwise"))
            };
        }
        at.offset += record.length;
    }
}

/// Has the system read the disk, not its memory. Where it will not, its memory is what is read.
#[cfg(target_os = "linux")]
fn forget(file: &File) {
    use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
    let _ = posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
}

#[cfg(not(target_os = "linux"))]
fn forget(_: &File) {}
