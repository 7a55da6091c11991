//! Large files that have lost their names, given back to the disk on a thread of their own.
//!
//! That takes a pause behind each piece, and a log whose thread did it would hold up every write
//! meanwhile.

use super::disk::Superseded;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Most that wait to be given back: one for each of a few groups that take snapshots at once.
/// Beyond it whoever brings one gives it back itself.
const WAITING_MAX: usize = 8;

/// Where such files are brought.
pub(super) struct Given {
    shared: Arc<Shared>,
    /// Everything is done by whoever brings it.
    is_alone: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// How many were given back.
    given: AtomicU64,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Superseded>,
    /// There is a thread that takes them.
    is_giving: bool,
}

impl Given {
    pub(super) fn new(is_alone: bool) -> Given {
        Given { shared: Arc::default(), is_alone }
    }

    /// Has a file given back, beside the caller if that takes pauses.
    pub(super) fn take(&self, file: Superseded) {
        if !file.is_large() {
            return self.shared.give_back(file);
        }
        let mut state = self.shared.lock();
        if self.is_alone || state.waiting.len() >= WAITING_MAX {
            drop(state);
            return self.shared.give_back(file);
        }
        state.waiting.push_back(file);
        if std::mem::replace(&mut state.is_giving, true) {
            return;
        }
        drop(state);
        let shared = self.shared.clone();
        let giver = std::thread::Builder::new().name("muslin-given".into());
        if giver.spawn(move || shared.give()).is_err() {
            // The system has no thread for us.
            self.shared.give();
        }
    }

    /// How many were given back, ever.
    pub(super) fn count(&self) -> u64 {
        self.shared.given.load(Ordering::Acquire)
    }

    /// Waits until all that was brought is given back; as [`Given::count`].
    pub(super) fn settle(&self) -> u64 {
        let state = self.shared.lock();
        let waited = self.shared.changed.wait_while(state, |state| state.is_giving);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        self.count()
    }
}

impl Shared {
    fn give(&self) {
        let mut giving = Giving { shared: self, is_over: false };
        while let Some(file) = giving.next() {
            self.give_back(file);
        }
    }

    fn give_back(&self, file: Superseded) {
        file.give_back();
        self.given.fetch_add(1, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What is behind it changes in single steps only.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who takes what waits, until there is nothing.
struct Giving<'a> {
    shared: &'a Shared,
    is_over: bool,
}

impl Giving<'_> {
    /// The next, until there is none.
    fn next(&mut self) -> Option<Superseded> {
        let mut state = self.shared.lock();
        let next = state.waiting.pop_front();
        if next.is_none() {
            self.is_over = true;
            state.is_giving = false;
            self.shared.changed.notify_all();
        }
        next
    }
}

impl Drop for Giving<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            // It ended in a panic: nobody waits for it for ever.
            self.shared.lock().is_giving = false;
            self.shared.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::{pieces_given_here, prepare, publish, supersede};
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    /// A file that lost its name to another, and what is left of it.
    fn superseded(dir: &Path, bytes: usize) -> (Superseded, File) {
        let (new, path) = (dir.join("new"), dir.join("state"));
        prepare(&new, &[&vec![1; bytes]]).unwrap();
        publish(&new, &path).unwrap();
        let before = File::open(&path).unwrap();
        prepare(&new, &[b"short"]).unwrap();
        (supersede(&new, &path).unwrap(), before)
    }

    #[test]
    fn a_large_file_is_given_back_beside_who_brings_it() {
        let dir = tempfile::tempdir().unwrap();
        let given = Given::new(false);
        assert_eq!(given.settle(), 0, "there is nothing to wait for");
        let all: Vec<File> = (0..3)
            .map(|_| {
                let (file, before) = superseded(dir.path(), 9 << 20);
                given.take(file);
                before
            })
            .collect();
        assert_eq!((given.settle(), given.count()), (3, 3));
        assert_eq!(pieces_given_here(), 0, "this thread waited for none of them");
        for before in all {
            let left = before.metadata().unwrap();
            assert_eq!((left.nlink(), left.len()), (0, 1 << 20), "the last piece goes at once");
        }
    }

    #[test]
    fn a_store_that_is_alone_does_it_itself() {
        let dir = tempfile::tempdir().unwrap();
        let (file, before) = superseded(dir.path(), 9 << 20);
        Given::new(true).take(file);
        assert_eq!((pieces_given_here(), before.metadata().unwrap().len()), (2, 1 << 20));
    }
}
