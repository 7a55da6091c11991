//! One file of the log: its name, its header, how it is made and read.

use super::super::StoreError;
use super::crc::crc32c;
use super::disk::{self, explain};
use super::record::{self, Place};
use muslin_core::base::{ClusterId, NodeId};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What a segment file begins with.
const MAGIC: &[u8; 8] = b"MUSLINLG";

/// The format described in `docs/design/disk.md`. Magic, format and checksum keep their places in
/// every later one.
pub(super) const FORMAT: u32 = 1;

/// Where records begin.
pub(super) const HEADER_BYTES: usize = 72;

/// The file was a segment before.
const FLAG_REUSED: u32 = 1;

/// Ending of a segment's name.
const ENDING: &str = ".log";

/// Whose files these are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} of cluster {}", self.node, self.cluster)
    }
}

impl Owner {
    /// Refuses what is another's.
    pub(crate) fn must_be(self, wanted: Owner, path: &Path) -> Result<(), StoreError> {
        if self == wanted {
            return Ok(());
        }
        Err(StoreError::Foreign {
            path: path.to_owned(),
            found: self.to_string(),
            wanted: wanted.to_string(),
        })
    }

    pub(super) fn encode(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.cluster.to_bytes());
        bytes.extend_from_slice(&self.node.0.to_le_bytes());
    }

    /// Reads the 24 bytes at `offset`, which must be there.
    pub(super) fn decode(bytes: &[u8], offset: usize) -> Owner {
        let cluster = array(bytes, offset);
        Owner {
            cluster: ClusterId(u128::from_be_bytes(cluster)),
            node: NodeId(u64_at(bytes, offset + 16)),
        }
    }
}

/// What a segment says about itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) owner: Owner,
    /// Segments are numbered from 1 without a gap.
    pub(super) number: u64,
    /// Length of the file: a shorter one lost its end.
    pub(super) size: u64,
    /// No segment below this one was needed when this one was made.
    pub(super) oldest: u64,
    /// Checksum of the closing seal of the segment before: the chain goes on from it.
    pub(super) seed: u32,
    /// The file was a segment before: behind the records there may be what is left of that.
    pub(super) is_reused: bool,
}

impl Header {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        let flags = if self.is_reused { FLAG_REUSED } else { 0 };
        bytes.extend_from_slice(&flags.to_le_bytes());
        self.owner.encode(&mut bytes);
        for number in [self.number, self.size, self.oldest] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.seed.to_le_bytes());
        bytes.extend_from_slice(&crc32c(&bytes).to_le_bytes());
        assert_eq!(bytes.len(), HEADER_BYTES);
        bytes
    }

    /// Reads the header that these bytes begin with.
    pub(super) fn decode(bytes: &[u8], path: &Path) -> Result<Header, StoreError> {
        check_header(MAGIC, FORMAT, &bytes[..HEADER_BYTES], path)?;
        Ok(Header {
            owner: Owner::decode(bytes, 16),
            number: u64_at(bytes, 40),
            size: u64_at(bytes, 48),
            oldest: u64_at(bytes, 56),
            seed: u32_at(bytes, 64),
            is_reused: u32_at(bytes, 12) & FLAG_REUSED != 0,
        })
    }
}

/// Checks magic, checksum (the last four bytes) and format of a header. The checksum comes before
/// the format, so that a damaged number is not taken for a later version.
pub(super) fn check_header(
    magic: &[u8; 8],
    format: u32,
    header: &[u8],
    path: &Path,
) -> Result<(), StoreError> {
    if &array::<8>(header, 0) != magic {
        return Err(damaged(path, 0, "it does not begin as one of our files"));
    }
    let end = header.len() - 4;
    if crc32c(&header[..end]) != u32_at(header, end) {
        return Err(damaged(path, 0, "the checksum of its header does not match"));
    }
    match u32_at(header, 8) {
        found if found != format => {
            Err(StoreError::Format { path: path.to_owned(), found, known: format })
        }
        _ => Ok(()),
    }
}

/// Where a segment stands.
pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}{ENDING}"))
}

/// The numbers of the segments in a directory, in order.
pub(super) fn list(dir: &Path) -> Result<Vec<u64>, StoreError> {
    let names = disk::names(dir)?;
    let numbers: Vec<u64> = names.iter().filter_map(|name| number_of(name)).collect();
    numbers.iter().try_for_each(|number| disk::must_be_file(&path(dir, *number)))?;
    Ok(numbers)
}

fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(ENDING).filter(|digits| digits.len() == 16)?;
    hexadecimal(digits)
}

/// A number as names of files have it: in digits and lower case, so that it has one name only.
pub(super) fn hexadecimal(digits: &str) -> Option<u64> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    digits.bytes().all(is_digit).then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// Makes a segment of a length of its own: zeros behind the header, all of it and its name on the
/// disk.
pub(super) fn create(dir: &Path, header: &Header) -> Result<File, StoreError> {
    let path = path(dir, header.number);
    let unfinished = disk::unfinished(&path);
    let made = zeros(&unfinished, header.size).and_then(|file| {
        disk::write(&file, &unfinished, &header.encode(), 0)?;
        disk::sync(&file, &unfinished)?;
        Ok(file)
    });
    let file = made.inspect_err(|_| disk::discard(&unfinished))?;
    disk::publish(&unfinished, &path)?;
    Ok(file)
}

/// Makes a file of zeros that can become a segment.
pub(super) fn blank(path: &Path, size: u64) -> Result<(), StoreError> {
    let unfinished = disk::unfinished(path);
    let made = zeros(&unfinished, size).and_then(|file| disk::sync(&file, &unfinished));
    made.inspect_err(|_| disk::discard(&unfinished))?;
    disk::publish(&unfinished, path)
}

/// Makes a segment of what [`blank`] made, or of one that is not needed any more.
pub(super) fn adopt(
    spare: &Path,
    file: &File,
    dir: &Path,
    header: &Header,
) -> Result<(), StoreError> {
    disk::write(file, spare, &header.encode(), 0)?;
    disk::sync(file, spare)?;
    disk::publish(spare, &path(dir, header.number))
}

/// The zeros are really written, not only reserved: a sync then never waits for the file system to
/// note that a reserved block came into use.
fn zeros(path: &Path, size: u64) -> Result<File, StoreError> {
    let file = disk::create(path)?;
    explain("make room for the log in", path, reserve(&file, size))?;
    disk::fill(&file, path, 0, size)?;
    Ok(file)
}

/// Has the file system find the room in one piece, or say at once that there is none.
#[cfg(target_os = "linux")]
fn reserve(file: &File, size: u64) -> io::Result<()> {
    use nix::errno::Errno;
    use nix::fcntl::{FallocateFlags, fallocate};
    match fallocate(file, FallocateFlags::empty(), 0, size as i64) {
        // Some file systems cannot; writing the zeros does the same, less neatly.
        Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn reserve(_: &File, _: u64) -> io::Result<()> {
    Ok(())
}

/// A segment as found on the disk.
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) header: Header,
    /// The whole file, as far as the header says it goes.
    pub(super) bytes: Vec<u8>,
    /// Bytes behind the end that the header names: never ours.
    pub(super) beyond: u64,
}

impl Segment {
    /// Reads one; refuses another node's. What the disk cannot read is damaged.
    pub(super) fn open(dir: &Path, number: u64, owner: Owner) -> Result<Segment, StoreError> {
        let path = path(dir, number);
        let file = disk::open(&path)?;
        let length = explain("read", &path, file.metadata())?.len();
        let mut bytes = Vec::new();
        let read = (&file).take(HEADER_BYTES as u64).read_to_end(&mut bytes);
        read.map_err(|error| unreadable(&path, 0, error))?;
        if bytes.len() < HEADER_BYTES {
            return Err(damaged(&path, length, "it is shorter than its header"));
        }
        let header = Header::decode(&bytes, &path)?;
        header.owner.must_be(owner, &path)?;
        if header.number != number {
            return Err(damaged(&path, 40, "its name and its number differ"));
        }
        let rest = header.size.min(length).saturating_sub(HEADER_BYTES as u64);
        bytes.reserve_exact(rest as usize);
        let read = (&file).take(rest).read_to_end(&mut bytes);
        read.map_err(|error| unreadable(&path, bytes.len() as u64, error))?;
        let beyond = length.saturating_sub(header.size);
        Ok(Segment { path, file, header, bytes, beyond })
    }

    /// Whether no record was ever written since it is this segment.
    pub(super) fn is_unused(&self) -> bool {
        if self.header.is_reused {
            let first = Place { segment: self.header.number, offset: HEADER_BYTES as u64 };
            let is_begun = record::read(&self.bytes, first).is_ok();
            return !is_begun && !record::has_seal_behind(&self.bytes, first);
        }
        self.used_end(HEADER_BYTES) == HEADER_BYTES
    }

    /// Just behind the last byte at or after `from` that is not zero; `from` when there is none.
    pub(super) fn used_end(&self, from: usize) -> usize {
        let rest = self.bytes.get(from..).unwrap_or_default();
        from + rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
    }
}

/// What can still be read of a segment, whatever is wrong with it.
pub(super) fn salvage(dir: &Path, number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(mut file) = File::open(path(dir, number)) {
        // As far as it goes.
        let _ = file.read_to_end(&mut bytes);
    }
    bytes
}

/// A disk that cannot read what it was given has lost it. Any other refusal is the system's.
pub(super) fn unreadable(path: &Path, offset: u64, error: io::Error) -> StoreError {
    match error.raw_os_error() {
        Some(code) if code == nix::errno::Errno::EIO as i32 => {
            damaged(path, offset, "the disk cannot read it")
        }
        _ => StoreError::Io { action: "read", path: path.to_owned(), source: error },
    }
}

/// Damage, with its place.
pub(super) fn damaged(path: &Path, offset: u64, what: impl Into<String>) -> StoreError {
    StoreError::Damaged { path: path.to_owned(), offset, what: what.into() }
}

/// The bytes at an offset; the caller knows that they are there.
pub(super) fn array<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    bytes[offset..offset + N].try_into().expect("a slice of N bytes is an array of N bytes")
}

/// A number at an offset, little end first.
pub(super) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(array(bytes, offset))
}

/// A number at an offset, little end first.
pub(super) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(array(bytes, offset))
}
