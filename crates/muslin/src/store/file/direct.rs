//! Writing to a segment past the page cache.
//!
//! A log is written once and read after a crash: what the system would do to cache it costs more
//! processor time than everything else about a batch. The disk takes whole blocks, so the block in
//! which the log ends is kept here and written again with what follows, as the cache would do. A
//! crash leaves of a block either what was there or what was written, and both begin alike.
//!
//! Where the file system cannot do this, or the segment is not made of whole blocks, the cache
//! serves.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What addresses on the disk and in memory are multiples of. Disks with smaller blocks take it as
/// well.
const BLOCK_BYTES: usize = 4096;

/// Written at a time: one system call never takes long enough to look like a hang.
const PIECE_BYTES: usize = 1 << 20;

/// How a segment is written to.
#[derive(Default)]
pub(super) enum Direct {
    /// It has not been written to.
    #[default]
    Untried,
    /// Past the page cache.
    Open(Blocks),
    /// Through it.
    Refused,
}

impl Direct {
    /// Writes to the segment that is open as `file`, of whole blocks up to `size`. Every write must
    /// begin where the last successful one ended.
    pub(super) fn write(
        &mut self,
        (file, path): (&File, &Path),
        size: u64,
        bytes: &[u8],
        at: u64,
    ) -> io::Result<()> {
        if matches!(self, Direct::Untried) {
            *self = Blocks::open(file, path, size, at).map_or(Direct::Refused, Direct::Open);
        }
        if let Direct::Open(blocks) = self {
            match blocks.write(bytes, at) {
                Ok(()) => return Ok(()),
                Err(error) if is_refusal(&error) => *self = Direct::Refused,
                Err(error) => {
                    // Some of it may be there: what the next write begins with is read again.
                    *self = Direct::Untried;
                    return Err(error);
                }
            }
        }
        file.write_all_at(bytes, at)
    }
}

/// A file of which whole blocks are written.
pub(super) struct Blocks {
    file: File,
    /// From its first aligned place on: what the last block of the log holds, then room.
    room: Vec<u8>,
    /// Where the log ends.
    end: u64,
}

impl Blocks {
    /// None when that is not possible here.
    fn open(file: &File, path: &Path, size: u64, end: u64) -> Option<Blocks> {
        if !size.is_multiple_of(BLOCK_BYTES as u64) {
            return None;
        }
        let mut blocks = Blocks { file: open_direct(path)?, room: Vec::new(), end };
        let lead = blocks.lead();
        blocks.grow(BLOCK_BYTES);
        let start = blocks.start();
        file.read_exact_at(&mut blocks.room[start..start + lead], end - lead as u64).ok()?;
        Some(blocks)
    }

    fn write(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        assert!(at == self.end, "a log is written without gaps");
        bytes.chunks(PIECE_BYTES).try_for_each(|piece| self.put(piece))
    }

    /// One piece, with the block it begins in and zeros up to the next block.
    fn put(&mut self, piece: &[u8]) -> io::Result<()> {
        let lead = self.lead();
        let used = lead + piece.len();
        let whole = used.next_multiple_of(BLOCK_BYTES);
        self.grow(whole);
        let start = self.start();
        let blocks = &mut self.room[start..start + whole];
        blocks[lead..used].copy_from_slice(piece);
        blocks[used..].fill(0);
        self.file.write_all_at(blocks, self.end - lead as u64)?;
        let last = used - used % BLOCK_BYTES;
        blocks.copy_within(last..used, 0);
        self.end += piece.len() as u64;
        Ok(())
    }

    /// Length of what stands in the block that the log ends in.
    fn lead(&self) -> usize {
        (self.end % BLOCK_BYTES as u64) as usize
    }

    fn start(&self) -> usize {
        self.room.as_ptr().align_offset(BLOCK_BYTES)
    }

    /// Makes room for so many bytes from the aligned place on; what the last block holds stays.
    fn grow(&mut self, needed: usize) {
        if self.room.len() >= needed + BLOCK_BYTES {
            return;
        }
        let mut room = vec![0; (needed + BLOCK_BYTES).next_power_of_two()];
        if !self.room.is_empty() {
            let (from, to) = (self.start(), room.as_ptr().align_offset(BLOCK_BYTES));
            room[to..to + BLOCK_BYTES].copy_from_slice(&self.room[from..from + BLOCK_BYTES]);
        }
        self.room = room;
    }
}

#[cfg(target_os = "linux")]
fn open_direct(path: &Path) -> Option<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).custom_flags(nix::libc::O_DIRECT).open(path).ok()
}

#[cfg(not(target_os = "linux"))]
fn open_direct(_: &Path) -> Option<File> {
    None
}

/// The file system opens files this way and cannot write to them, or not with blocks of this size.
fn is_refusal(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [nix::libc::EINVAL, nix::libc::EOPNOTSUPP].into_iter().any(|refusal| code == Some(refusal))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;

    const SIZE: u64 = 4 << 20;

    fn segment() -> (tempfile::TempDir, std::path::PathBuf, File) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("segment");
        let made = OpenOptions::new().create_new(true).read(true).write(true).open(&path);
        let file = made.unwrap();
        // What is left of an earlier life of the file.
        file.write_all_at(&vec![0xee; SIZE as usize], 0).unwrap();
        (dir, path, file)
    }

    #[test]
    fn what_is_written_in_pieces_of_any_length_stands_one_behind_the_other() {
        let (_dir, path, file) = segment();
        let (mut direct, mut at, mut wanted) = (Direct::default(), 72, vec![0xee; 72]);
        for (number, length) in
            [40, 4000, 1, 55, 4096, 9000, 43_008, PIECE_BYTES + 5000, 7].into_iter().enumerate()
        {
            let bytes = vec![number as u8; length];
            direct.write((&file, &path), SIZE, &bytes, at).unwrap();
            at += length as u64;
            wanted.extend_from_slice(&bytes);
            let found = std::fs::read(&path).unwrap();
            assert!(found[..wanted.len()] == wanted, "write {number} of {length}");
            assert_eq!(found.len() as u64, SIZE);
        }
    }

    #[test]
    fn a_segment_that_is_not_made_of_whole_blocks_goes_through_the_cache() {
        let (_dir, path, file) = segment();
        let mut direct = Direct::default();
        direct.write((&file, &path), SIZE - 1, b"record", 100).unwrap();
        assert!(matches!(direct, Direct::Refused));
        assert_eq!(std::fs::read(&path).unwrap()[100..106], *b"record");
    }
}
