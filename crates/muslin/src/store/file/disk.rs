//! Steps on the disk whose order matters, with errors that say what was tried. Everything that
//! changes the disk goes through here, so that tests can cut the power between any two steps.

use super::super::StoreError;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Files are written in pieces of at most this many bytes: one system call never takes long enough
/// to look like a hang.
const PIECE_BYTES: usize = 1 << 20;

/// A file that is made is synced whenever so much was written of it: the disk then never has more
/// of it in front of what a log waits for, another node's on the same disk included.
const SYNC_BYTES: u64 = 2 << 20;

/// A large file that lost its name is given back in pieces of this size, with a pause behind each:
/// some systems tell the disk of what was freed, and the disk does nothing else meanwhile.
const FREE_BYTES: u64 = 4 << 20;
const FREE_PAUSE: Duration = Duration::from_millis(2);

/// Ending of a file that is being made. Whatever has it after a crash is removed.
const UNFINISHED: &str = "tmp";

/// Files are for the owner alone: they hold the cluster's state and hashes of its secrets.
const FILE_MODE: u32 = 0o600;

/// And so are directories.
const DIRECTORY_MODE: u32 = 0o700;

/// Says what was tried, and on what.
pub(super) fn explain<T>(
    action: &'static str,
    path: &Path,
    result: io::Result<T>,
) -> Result<T, StoreError> {
    result.map_err(|source| {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                StoreError::Full { path, done: 0 }
            }
            _ => StoreError::Io { action, path, source },
        }
    })
}

/// Makes an empty file for reading and writing.
pub(super) fn create(path: &Path) -> Result<File, StoreError> {
    explain("create", path, take(|| Step::Create(path.to_owned())))?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).mode(FILE_MODE);
    explain("create", path, options.open(path))
}

/// Writes at a place.
pub(super) fn write(file: &File, path: &Path, bytes: &[u8], at: u64) -> Result<(), StoreError> {
    write_by(path, bytes, at, || file.write_all_at(bytes, at))
}

/// Writes at a place, by this way of doing it.
pub(super) fn write_by(
    path: &Path,
    bytes: &[u8],
    at: u64,
    write: impl FnOnce() -> io::Result<()>,
) -> Result<(), StoreError> {
    let step = || Step::Write { path: path.to_owned(), at, bytes: bytes.to_vec() };
    explain("write", path, take(step).and_then(|()| write()))
}

/// Writes zeros, and syncs most of them.
pub(super) fn fill(file: &File, path: &Path, from: u64, to: u64) -> Result<(), StoreError> {
    let zeros = vec![0; PIECE_BYTES.min((to - from) as usize)];
    let (mut at, mut synced) = (from, from);
    while at < to {
        let piece = (to - at).min(zeros.len() as u64);
        write(file, path, &zeros[..piece as usize], at)?;
        at += piece;
        sync_some(file, path, at, &mut synced)?;
    }
    Ok(())
}

/// Syncs a file that is written from its beginning on, if there is enough behind the last sync.
fn sync_some(file: &File, path: &Path, at: u64, synced: &mut u64) -> Result<(), StoreError> {
    if at - *synced < SYNC_BYTES {
        return Ok(());
    }
    *synced = at;
    sync(file, path)
}

/// Cuts a file, or lengthens it by zeros.
pub(super) fn set_length(file: &File, path: &Path, length: u64) -> Result<(), StoreError> {
    let step = || Step::SetLength { path: path.to_owned(), length };
    explain("set the length of", path, take(step))?;
    explain("set the length of", path, file.set_len(length))
}

/// Waits until what was written is on the disk. Whatever goes wrong, lack of room included, is the
/// end: the system may have dropped what it could not write, and says so only once.
pub(super) fn sync(file: &File, path: &Path) -> Result<(), StoreError> {
    let synced = take(|| Step::Sync(path.to_owned())).and_then(|()| file.sync_data());
    explain("sync", path, synced).map_err(|error| error.fatal("sync"))
}

/// Makes names in a directory durable: files made, renamed or removed there.
pub(crate) fn sync_dir(path: &Path) -> Result<(), StoreError> {
    let step = take(|| Step::SyncDir(path.to_owned()));
    let synced = step.and_then(|()| File::open(path)).and_then(|dir| dir.sync_all());
    explain("sync the directory", path, synced).map_err(|error| error.fatal("sync the directory"))
}

/// Removes a file. Not durable before the directory is synced.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    let step = take(|| Step::Remove(path.to_owned()));
    explain("remove", path, step.and_then(|()| fs::remove_file(path)))
}

/// Gives a finished, synced file its name, durably.
pub(super) fn publish(unfinished: &Path, path: &Path) -> Result<(), StoreError> {
    rename(unfinished, path)?;
    sync_dir(path.parent().expect("every file of a store stands in its directory"))
}

/// What had a name before another file got it, and may be large.
#[must_use = "it is given back to the disk when nobody waits"]
pub(super) struct Superseded(Option<File>);

/// As [`publish`], where a large file may have the name.
pub(super) fn supersede(unfinished: &Path, path: &Path) -> Result<Superseded, StoreError> {
    // What cannot be opened goes at once.
    let before = OpenOptions::new().write(true).open(path).ok();
    publish(unfinished, path)?;
    Ok(Superseded(before))
}

impl Superseded {
    /// Whether giving it back takes pauses.
    pub(super) fn is_large(&self) -> bool {
        self.length() > FREE_BYTES
    }

    /// Gives it back piece by piece. It has no name any more: a crash leaves nothing of it. If
    /// somebody gave it another one, it is theirs.
    pub(super) fn give_back(self) {
        let mut length = self.length();
        let Some(file) = self.0 else { return };
        while length > FREE_BYTES {
            length -= FREE_BYTES;
            if file.set_len(length).is_err() {
                return;
            }
            #[cfg(test)]
            WATCHED.with_borrow_mut(|watched| watched.pieces_given += 1);
            std::thread::sleep(FREE_PAUSE);
        }
    }

    /// Nothing, if the file has a name.
    fn length(&self) -> u64 {
        let found = self.0.as_ref().and_then(|file| file.metadata().ok());
        found.filter(|found| found.nlink() == 0).map_or(0, |found| found.len())
    }
}

/// Gives a file or directory another name. Not durable before the directories are synced.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    let step = take(|| Step::Rename { from: from.to_owned(), to: to.to_owned() });
    explain("rename", from, step.and_then(|()| fs::rename(from, to)))
}

/// Replaces a file, or makes it, in one step that a crash cannot split: the old bytes or the parts
/// one after the other. Durable on return.
pub(crate) fn replace(path: &Path, parts: &[&[u8]]) -> Result<(), StoreError> {
    let unfinished = unfinished(path);
    prepare(&unfinished, parts)?;
    publish(&unfinished, path)
}

/// Bytes that a file system has for files of this process.
pub(super) fn room(dir: &Path) -> Result<u64, StoreError> {
    let stats = nix::sys::statvfs::statvfs(dir).map_err(std::io::Error::from);
    let stats = explain("look for room in", dir, stats)?;
    // Their types differ from system to system.
    #[allow(clippy::useless_conversion)]
    Ok(u64::from(stats.blocks_available()).saturating_mul(u64::from(stats.fragment_size())))
}

/// Makes a file that has all but its final name. Leaves nothing behind when there is no room, and
/// writes nothing when that can be known before.
pub(super) fn prepare(unfinished: &Path, parts: &[&[u8]]) -> Result<(), StoreError> {
    let needed: usize = parts.iter().map(|part| part.len()).sum();
    let dir = unfinished.parent().unwrap_or(unfinished);
    if room(dir)? < needed as u64 {
        return Err(StoreError::Full { path: unfinished.to_owned(), done: 0 });
    }
    let written = create(unfinished).and_then(|file| {
        let (mut at, mut synced) = (0, 0);
        for piece in parts.iter().flat_map(|part| part.chunks(PIECE_BYTES)) {
            write(&file, unfinished, piece, at)?;
            at += piece.len() as u64;
            sync_some(&file, unfinished, at, &mut synced)?;
        }
        sync(&file, unfinished)
    });
    written.inspect_err(|_| discard(unfinished))
}

/// Removes what was not finished. Should that fail too, the next start does it.
pub(super) fn discard(unfinished: &Path) {
    let _ = fs::remove_file(unfinished);
}

/// Where a file stands while it is being made.
pub(super) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(UNFINISHED);
    PathBuf::from(name)
}

/// The names in a directory, in order, but for what is unfinished. None when there is no directory.
pub(super) fn names(dir: &Path) -> Result<Vec<String>, StoreError> {
    let mut names: Vec<String> = all_names(dir)?;
    names.retain(|name| !is_unfinished(name));
    names.sort();
    Ok(names)
}

/// Removes what a crash left unfinished in a directory.
pub(super) fn clean(dir: &Path) -> Result<(), StoreError> {
    let mut unfinished = all_names(dir)?.into_iter().filter(|name| is_unfinished(name));
    unfinished.try_for_each(|name| remove(&dir.join(name)))
}

fn is_unfinished(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|ending| ending == UNFINISHED)
}

fn all_names(dir: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            let why = "it should be a directory: put back the one that was there".to_string();
            return Err(StoreError::Unusable { path: dir.to_owned(), why });
        }
        read => explain("list", dir, read)?,
    };
    let name = |entry: io::Result<fs::DirEntry>| {
        let name = explain("list", dir, entry)?.file_name();
        Ok(name.into_string().ok())
    };
    entries.filter_map(|entry| name(entry).transpose()).collect()
}

/// Makes a directory for the owner alone, unless it is there.
pub(crate) fn make_dir(dir: &Path) -> Result<(), StoreError> {
    let step = take(|| Step::Create(dir.to_owned()));
    let made = step.and_then(|()| DirBuilder::new().mode(DIRECTORY_MODE).create(dir));
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => explain("create the directory", dir, made),
    }
}

/// Removes a directory with all that is in it, if it is there.
pub(crate) fn remove_tree(dir: &Path) -> Result<(), StoreError> {
    if !dir.exists() {
        return Ok(());
    }
    let step = take(|| Step::Remove(dir.to_owned()));
    explain("remove", dir, step.and_then(|()| fs::remove_dir_all(dir)))
}

/// Opens a file that is there, for writing too.
pub(super) fn open(path: &Path) -> Result<File, StoreError> {
    explain("open", path, OpenOptions::new().read(true).write(true).open(path))
}

/// Refuses what is not a file but has the name of one: to open a pipe would wait for its writer.
pub(super) fn must_be_file(path: &Path) -> Result<(), StoreError> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => {
            let why = "it has the name of a file of ours and is none (a directory, a pipe or a \
                       device): move it out of the data directory";
            Err(StoreError::Unusable { path: path.to_owned(), why: why.to_string() })
        }
        _ => Ok(()),
    }
}

/// One change of the disk, in the order of issue.
#[cfg_attr(not(test), allow(dead_code))]
#[derive(Clone, Debug)]
pub(super) enum Step {
    Create(PathBuf),
    Write { path: PathBuf, at: u64, bytes: Vec<u8> },
    SetLength { path: PathBuf, length: u64 },
    Sync(PathBuf),
    Rename { from: PathBuf, to: PathBuf },
    Remove(PathBuf),
    SyncDir(PathBuf),
}

/// What tests have this thread do with its steps.
#[cfg(test)]
#[derive(Default)]
struct Watched {
    steps: Option<Vec<Step>>,
    fault: Option<Fault>,
    pieces_given: u64,
}

/// A step that fails, and perhaps all behind it.
#[cfg(test)]
#[derive(Clone, Debug)]
pub(super) struct Fault {
    /// Which kind of step counts.
    pub(super) of: fn(&Step) -> bool,
    /// How many of them still succeed.
    pub(super) after: u64,
    /// How many fail then.
    pub(super) times: u64,
    /// With what.
    pub(super) error: io::ErrorKind,
}

#[cfg(test)]
thread_local! {
    static WATCHED: std::cell::RefCell<Watched> = std::cell::RefCell::default();
}

/// Every step is told here before it is taken.
#[cfg(test)]
fn take(step: impl FnOnce() -> Step) -> io::Result<()> {
    WATCHED.with_borrow_mut(|watched| {
        if watched.steps.is_none() && watched.fault.is_none() {
            return Ok(());
        }
        let step = step();
        if let Some(fault) = watched.fault.as_mut().filter(|fault| (fault.of)(&step)) {
            if fault.after > 0 {
                fault.after -= 1;
            } else if fault.times > 0 {
                fault.times -= 1;
                return Err(fault.error.into());
            }
        }
        watched.steps.iter_mut().for_each(|steps| steps.push(step.clone()));
        Ok(())
    })
}

#[cfg(not(test))]
fn take(_: impl FnOnce() -> Step) -> io::Result<()> {
    Ok(())
}

/// From here on this thread's steps are kept; returns those kept so far.
#[cfg(test)]
pub(super) fn keep_steps() -> Vec<Step> {
    WATCHED.with_borrow_mut(|watched| watched.steps.replace(Vec::new()).unwrap_or_default())
}

/// How many pieces of files this thread has given back to the disk.
#[cfg(test)]
pub(super) fn pieces_given_here() -> u64 {
    WATCHED.with_borrow(|watched| watched.pieces_given)
}

/// Steps of this thread fail from here on, as told; or none does.
#[cfg(test)]
pub(super) fn inject(fault: Option<Fault>) {
    WATCHED.with_borrow_mut(|watched| watched.fault = fault);
}
