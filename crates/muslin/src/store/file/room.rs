//! Whether a disk has room for a node at all.
//!
//! A log takes its first segment when it is made and two more at its start, ahead of need. Without
//! them the node takes no writes: on a disk that is full from the beginning it would wait for room
//! for ever, and nobody would learn for what.

use super::super::StoreError;
use super::disk::{explain, room};
use super::spares::SPARES;
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What a new node takes beside its log: certificates, keys, settings, and the blocks that name its
/// files.
const BESIDE_BYTES: u64 = 1 << 20;

/// The unit in which a system tells what a file takes.
const BLOCK_BYTES: u64 = 512;

/// What a log takes before anything is written to it.
fn of_log(segment_bytes: u64) -> u64 {
    (1 + u64::from(SPARES)) * segment_bytes
}

/// Refuses when a disk has no room for all the stores that are to be made on it.
pub(super) fn check_new(roots: &[&Path], segment_bytes: u64) -> Result<(), StoreError> {
    let mut disks: BTreeMap<u64, Vec<&Path>> = BTreeMap::new();
    for root in roots {
        let there = existing(root);
        let found = explain("look at", there, fs::metadata(there))?;
        disks.entry(found.dev()).or_default().push(root);
    }
    for roots in disks.values() {
        let needed = roots.len() as u64 * (of_log(segment_bytes) + BESIDE_BYTES);
        let left = room(existing(roots[0]))?;
        if left < needed {
            let nodes = match roots.len() {
                1 => "a new node takes".to_string(),
                count => format!("{count} new nodes take"),
            };
            return Err(too_little(roots[0], &nodes, needed, left));
        }
    }
    Ok(())
}

/// Refuses when the disk has no room for what a made store still has to take.
pub(super) fn check_made(root: &Path, segment_bytes: u64) -> Result<(), StoreError> {
    let needed = of_log(segment_bytes).saturating_sub(taken(&root.join("log"))?);
    let left = room(root)?;
    if left >= needed {
        return Ok(());
    }
    Err(too_little(root, "the node's first start takes", needed, left))
}

/// Refuses when the disk has no room for a copy of a store of so many bytes, and a segment more.
pub(super) fn check_copy(to: &Path, bytes: u64, segment_bytes: u64) -> Result<(), StoreError> {
    let needed = bytes + segment_bytes + BESIDE_BYTES;
    let left = room(to)?;
    if left >= needed {
        return Ok(());
    }
    Err(too_little(to, "a copy of the log and the snapshots takes", needed, left))
}

/// What the files of a log take. One that is gone takes nothing: a start makes it anew.
pub(super) fn taken(log: &Path) -> Result<u64, StoreError> {
    let files = match fs::read_dir(log) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        files => explain("read", log, files)?,
    };
    files
        .map(|file| explain("look at", log, file.and_then(|file| file.metadata())))
        .try_fold(0, |sum, file| Ok(sum + file?.blocks() * BLOCK_BYTES))
}

/// The directory, or the nearest one above it that is there.
fn existing(path: &Path) -> &Path {
    let there = path.ancestors().find(|path| path.exists());
    there.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn too_little(path: &Path, who: &str, needed: u64, left: u64) -> StoreError {
    let mebibytes = |bytes: u64| bytes.div_ceil(1 << 20);
    let why = format!(
        "{who} {} MiB at once, and its disk has {} MiB left: free some space, or name a directory \
         on another disk",
        mebibytes(needed),
        left >> 20
    );
    StoreError::Unusable { path: path.to_owned(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_with_too_little_room_for_all_new_nodes_is_refused_with_what_they_need() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("n1"), dir.path().join("n2"));
        check_new(&[&one, &two], 1 << 10).unwrap();
        let left = room(dir.path()).unwrap();
        let refused = check_new(&[&one, &two], left / 4).unwrap_err().to_string();
        assert!(refused.contains("2 new nodes take"), "{refused}");
        assert!(refused.contains("MiB left: free some space"), "{refused}");
        check_new(&[&one], left / 4).expect("one of them finds room");
        assert!(!one.exists(), "nothing was made");
    }

    #[test]
    fn what_a_store_has_taken_already_is_not_asked_for_again() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        fs::create_dir(&log).unwrap();
        let left = room(dir.path()).unwrap();
        let refused = check_made(dir.path(), left).unwrap_err().to_string();
        assert!(refused.contains("the node's first start takes"), "{refused}");
        fs::write(log.join("0.spare"), vec![7; 3 << 20]).unwrap();
        check_made(dir.path(), 1 << 20).unwrap();
    }

    #[test]
    fn a_log_that_is_gone_is_no_reason_to_refuse() {
        let dir = tempfile::tempdir().unwrap();
        check_made(dir.path(), 1 << 10).unwrap();
    }
}
