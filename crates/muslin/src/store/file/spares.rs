//! Segments made before they are needed: two files of full length, zeros, synced.
//!
//! A segment that is not needed any more is kept as one more of them: to write over it costs the
//! disk nothing, while a file of zeros is written once for nothing. So a log that lets go of as
//! much as it takes makes no more files.
//!
//! The first is the next segment, so that the log never waits for one. The second is what is left
//! when the disk is full: what was issued still goes into the log, and it can be given up so that a
//! snapshot, which lets go of old segments, finds room.

use super::super::StoreError;
use super::disk;
use super::segment;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The next segment, and the one behind it.
pub(super) const SPARES: u8 = 2;

/// With so many, a segment that is not needed any more is removed: snapshots come in bursts, and
/// what they let go of at once should not be made again.
const SPARES_MAX: u8 = 6;

/// Ending of a spare's name.
const ENDING: &str = ".spare";

/// Read at a time when a spare is looked through.
const LOOK_BYTES: usize = 256 << 10;

/// A file that can become a segment.
pub(super) struct Spare {
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// It was one before.
    pub(super) is_reused: bool,
}

/// Clones are the same spares.
#[derive(Clone)]
pub(super) struct Spares {
    shared: Arc<Shared>,
}

struct Shared {
    dir: PathBuf,
    size: u64,
    /// Everything is done by whoever asks.
    is_alone: bool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// By slot: whether it was a segment before.
    ready: BTreeMap<u8, bool>,
    is_making: bool,
    /// The last one could not be made: there was no room.
    is_full: bool,
    /// A snapshot waits for room: what is given up is not made again meanwhile.
    is_saving: bool,
    /// The disk failed: told to whoever asks next.
    error: Option<StoreError>,
}

impl Spares {
    /// Of segments of this length. None is known yet.
    pub(super) fn new(dir: &Path, size: u64, is_alone: bool) -> Spares {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Spares { shared: Arc::new(Shared { dir: dir.to_owned(), size, is_alone, state, changed }) }
    }

    /// Removes the last one of a directory, which no store has open. Whether there was one.
    pub(super) fn give_up_one(dir: &Path) -> Result<bool, StoreError> {
        let paths = (0..SPARES_MAX).rev().map(|slot| path(dir, slot));
        match paths.into_iter().find(|path| path.exists()) {
            Some(path) => disk::remove(&path).map(|()| true),
            None => Ok(false),
        }
    }

    /// What a segment must be long to be one of these.
    pub(super) fn size(&self) -> u64 {
        self.shared.size
    }

    /// Whether what should be there is not, for lack of room.
    pub(super) fn is_full(&self) -> bool {
        let state = self.shared.lock();
        state.is_full || state.is_saving
    }

    /// Keeps a segment that is not needed any more; its name is gone then, though not durably. No,
    /// if there are enough, or room is short.
    pub(super) fn keep(&self, segment: &Path) -> Result<bool, StoreError> {
        let mut state = self.shared.lock();
        let slot = (SPARES..SPARES_MAX).find(|slot| !state.ready.contains_key(slot));
        let Some(slot) = slot.filter(|_| !state.is_full && !state.is_saving) else {
            return Ok(false);
        };
        let length = disk::explain("look at", segment, segment.metadata())?.len();
        if length != self.shared.size {
            return Ok(false);
        }
        disk::rename(segment, &self.shared.path(slot))?;
        state.ready.insert(slot, true);
        Ok(true)
    }

    /// Removes those that an earlier process kept: it is not known what is in them.
    pub(super) fn forget_kept(dir: &Path) -> Result<(), StoreError> {
        let kept = (SPARES..SPARES_MAX).map(|slot| path(dir, slot));
        kept.filter(|path| path.exists()).try_for_each(|path| disk::remove(&path))
    }

    /// Takes one out. Waits for one that is being made.
    pub(super) fn take(&self) -> Result<Spare, StoreError> {
        let mut has_tried = false;
        loop {
            let mut state = self.shared.lock();
            if let Some((slot, is_reused)) = state.ready.pop_last() {
                let path = self.shared.path(slot);
                let file = OpenOptions::new().read(true).write(true).open(&path);
                if file.as_ref().is_err_and(is_short_of_files) {
                    state.ready.insert(slot, is_reused);
                }
                let file = short_as_full(disk::explain("open", &path, file))?;
                return Ok(Spare { path, file, is_reused });
            }
            if state.is_making {
                let waits = |state: &mut State| state.is_making && state.ready.is_empty();
                let waited = self.shared.changed.wait_while(state, waits);
                drop(waited.unwrap_or_else(PoisonError::into_inner));
                has_tried = true;
                continue;
            }
            if let Some(error) = state.error.take() {
                return Err(error);
            }
            if has_tried {
                return Err(StoreError::Full { path: self.shared.path(0), done: 0 });
            }
            drop(state);
            self.refill();
            has_tried = true;
        }
    }

    /// Has those that are missing made, beside the caller.
    pub(super) fn refill(&self) {
        let mut state = self.shared.lock();
        if state.is_making || state.ready.len() >= state.wanted() || state.error.is_some() {
            return;
        }
        state.is_making = true;
        drop(state);
        if self.shared.is_alone {
            return self.shared.make();
        }
        let shared = self.shared.clone();
        let maker = std::thread::Builder::new().name("muslin-spare".into());
        if maker.spawn(move || shared.make()).is_err() {
            // The system has no thread for us: the next who asks tries again.
            self.shared.lock().is_making = false;
            self.shared.changed.notify_all();
        }
    }

    /// The first error that the disk had with a spare, if there was one.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.shared.lock().error.take().map_or(Ok(()), Err)
    }

    /// A snapshot finds no room: gives up all spares but one, if that makes room for so many bytes.
    /// Whether any was.
    pub(super) fn give_up(&self, needed: u64) -> Result<bool, StoreError> {
        let mut state = self.shared.lock();
        let surplus = state.ready.len().saturating_sub(1) as u64 * self.shared.size;
        state.is_saving = disk::room(&self.shared.dir)?.saturating_add(surplus) >= needed;
        if !state.is_saving {
            return Ok(false);
        }
        let mut is_given = false;
        while state.ready.len() > 1 {
            let (slot, _) = state.ready.pop_last().expect("there are two at least");
            disk::remove(&self.shared.path(slot))?;
            is_given = true;
        }
        Ok(is_given)
    }

    /// Waits until nothing is being made: the directory may have another user then.
    pub(super) fn settle(&self) {
        let waited = self.shared.changed.wait_while(self.shared.lock(), |state| state.is_making);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// A snapshot found room.
    pub(super) fn has_saved(&self) {
        self.shared.lock().is_saving = false;
    }
}

impl State {
    fn wanted(&self) -> usize {
        if self.is_saving { 1 } else { usize::from(SPARES) }
    }
}

impl Shared {
    fn make(&self) {
        let mut made = Ok(());
        for slot in 0..SPARES {
            let state = self.lock();
            if state.ready.len() >= state.wanted() {
                break;
            }
            if state.ready.contains_key(&slot) {
                continue;
            }
            drop(state);
            made = self.make_one(slot);
            if made.is_err() {
                break;
            }
            self.lock().ready.insert(slot, false);
            self.changed.notify_all();
        }
        let mut state = self.lock();
        state.is_making = false;
        state.is_full = matches!(made, Err(StoreError::Full { .. }));
        if let Err(error) = made
            && !state.is_full
        {
            state.error = Some(error);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// One that an earlier process left is as good, when there is nothing in it.
    fn make_one(&self, slot: u8) -> Result<(), StoreError> {
        let path = self.path(slot);
        if is_blank(&path, self.size) {
            return Ok(());
        }
        short_as_full(segment::blank(&path, self.size))
    }

    fn path(&self, slot: u8) -> PathBuf {
        path(&self.dir, slot)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under this lock panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn path(dir: &Path, slot: u8) -> PathBuf {
    dir.join(format!("{slot}{ENDING}"))
}

/// Too many files are open, in the process or on the system. It passes, as a full disk does.
fn is_short_of_files(error: &std::io::Error) -> bool {
    let code = error.raw_os_error();
    [nix::libc::EMFILE, nix::libc::ENFILE].into_iter().any(|short| code == Some(short))
}

/// Being short of files is not the end: a spare is tried again later, as on a full disk.
fn short_as_full<T>(done: Result<T, StoreError>) -> Result<T, StoreError> {
    match done {
        Err(StoreError::Io { path, source, .. }) if is_short_of_files(&source) => {
            tracing::warn!(
                path = %path.display(),
                %source,
                "this process has too many files open to make the next segment of its log: it \
                 takes no writes until it has fewer; raise its limit (ulimit -n)"
            );
            Err(StoreError::Full { path, done: 0 })
        }
        done => done,
    }
}

/// Whether a file has this length and nothing but zeros. One that cannot be read is not.
fn is_blank(path: &Path, size: u64) -> bool {
    if !path.metadata().is_ok_and(|found| found.is_file() && found.len() == size) {
        return false;
    }
    let Ok(mut file) = File::open(path) else { return false };
    let mut piece = vec![0; LOOK_BYTES];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return true,
            Ok(count) if piece[..count].iter().all(|byte| *byte == 0) => {}
            _ => return false,
        }
    }
}
