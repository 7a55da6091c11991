//! The directory of a `dev` cluster that nobody named: it lives as long as the supervisor.
//!
//! The supervisor holds a lock on a file in it. So the next one can tell what a killed one left,
//! and removes it. What is to stay (`--retain`) has no such file.

use crate::failure::{Failure, Kind};
use std::fs::{self, DirEntry, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How the names begin; the supervisor's process id is behind it.
const BEGINNING: &str = "muslin-dev-";

/// The file that is locked for as long as the supervisor runs.
const LOCK: &str = "dev.lock";

/// Names that are tried: process ids come again, and what an earlier one left may be in use.
const NAMES_MAX: u32 = 100;

/// Most entries of the system's directory that are looked at for what others left.
const LOOKED_AT_MAX: usize = 10_000;

/// Makes a directory beside others, and removes those of killed supervisors.
pub(super) fn make(parent: &Path, is_kept: bool) -> Result<(PathBuf, Option<File>), Failure> {
    sweep(parent);
    let first = parent.join(format!("{BEGINNING}{}", std::process::id()));
    let mut directory = first.clone();
    for number in 2..=NAMES_MAX {
        match made(&directory, is_kept) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                directory = first.with_extension(number.to_string());
            }
            Err(error) => {
                let sentence = format!("cannot make {}: {error}", directory.display());
                return Err(Failure::new(Kind::Failed, sentence));
            }
            Ok(lock) => return Ok((directory.canonicalize()?, lock)),
        }
    }
    let sentence = format!("{} and the names after it are taken", first.display());
    Err(Failure::new(Kind::Conflict, sentence).hint("name a directory with --data-dir"))
}

fn made(directory: &Path, is_kept: bool) -> io::Result<Option<File>> {
    fs::create_dir(directory)?;
    if is_kept {
        return Ok(None);
    }
    let unfinished = directory.join(LOCK).with_extension("unfinished");
    let lock = File::create_new(&unfinished)?;
    // Where files cannot be locked, nobody takes this directory for one that was left either.
    let _ = lock.try_lock();
    // It has its name only when it is locked: another that starts might take it for a dead one's.
    fs::rename(unfinished, directory.join(LOCK))?;
    Ok(Some(lock))
}

/// Removes what supervisors of this user left that were killed.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.take(LOOKED_AT_MAX).flatten() {
        if is_left_behind(&entry) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn is_left_behind(entry: &DirEntry) -> bool {
    let is_named_so = entry.file_name().to_str().is_some_and(|name| name.starts_with(BEGINNING));
    let user = nix::unistd::geteuid().as_raw();
    // What is a link, or another user's, was not made by us.
    let is_ours = || entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == user);
    let is_of_nobody = || File::open(entry.path().join(LOCK)).is_ok_and(|f| f.try_lock().is_ok());
    is_named_so && is_ours() && is_of_nobody()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_supervisor_left_goes_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let (lives, _lock) = make(parent.path(), false).unwrap();
        let (kept, none) = make(parent.path(), true).unwrap();
        assert!(none.is_none() && kept != lives);
        let left = parent.path().join("muslin-dev-1");
        fs::create_dir_all(left.join("n1")).unwrap();
        fs::write(left.join(LOCK), "").unwrap();
        let elses = parent.path().join("else");
        fs::create_dir(&elses).unwrap();
        fs::write(elses.join(LOCK), "").unwrap();
        std::os::unix::fs::symlink(&elses, parent.path().join("muslin-dev-2")).unwrap();
        let (next, _lock) = make(parent.path(), false).unwrap();
        assert!(!left.exists());
        assert!([&lives, &kept, &next, &elses].into_iter().all(|path| path.exists()));
        assert!(elses.join(LOCK).exists());
    }
}
