//! The directory of a node that does not run, and how it is written anew in one step.
//!
//! What is written anew is a copy, made in a directory inside the node's own, and the original
//! stays as it is, to the byte, until the copy is whole and durable. The copy's `node.json` is
//! written last: without it what is there is nothing, and goes at the next try; from then on it is
//! decided, and the original is moved aside and the copy into its place, by whoever comes next.

use super::config::{NodeConfig, Refusal, Stored};
use super::dir::{check_has_node, owner_of, refuse, unusable};
use super::lock::Lock;
use crate::store::file::{FileStore, Options, make_dir, remove_tree, rename, replace, sync_dir};
use crate::store::{RecoveredGroup, StoreError};
use muslin_core::base::{Epoch, GroupId, NodeId};
use muslin_core::state::Founding;
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where the copy is made.
const PLACE: &str = "rewritten";

/// Names, in the copy, the directory into which the original is moved.
const ASIDE: &str = "aside";

const NODE: &str = "node.json";

/// What a store has in the place of its log, if the repair of damage was cut short.
const REPAIRED: &str = "log.new";

/// What is put in the place of the original's. The last one is what makes it a node.
const PARTS: [&str; 4] = [REPAIRED, "log", "snapshot", NODE];

/// A node that was admitted again, and waits for the next start to take the place of this one.
const AFRESH: &str = "afresh/node.json";

/// So many directories may be kept of one epoch: more is somebody's mistake in a loop.
const KEPT_MAX: u32 = 100;

/// A stopped node's directory, which this process has until it is dropped. Nothing in it has been
/// changed but the number in its lock.
pub struct Stopped {
    path: PathBuf,
    stored: Stored,
    _lock: Lock,
}

impl Stopped {
    /// Takes it. What an earlier [`Rewrite`] had decided is done first.
    ///
    /// # Errors
    /// Also when the node runs.
    pub fn open(path: &Path) -> Result<Stopped, StoreError> {
        check_has_node(path)?;
        let lock = Lock::take(path).map_err(|error| error.explain(path))?;
        put_in_place(path)?;
        if path.join(AFRESH).exists() {
            let why = "its cluster has admitted the node again, with nothing in it, so there is a \
                       quorum somewhere: start it with `muslin up`, or restore it from a backup";
            return Err(refuse(path, why));
        }
        let stored = read(&path.join(NODE))?;
        Ok(Stopped { path: path.to_owned(), stored, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who the node is.
    pub fn config(&self) -> &NodeConfig {
        &self.stored.config
    }

    /// What the cluster started from.
    pub fn founding(&self) -> &Founding {
        &self.stored.founding
    }

    /// The start counter of whatever comes next.
    pub fn next_boot(&self) -> u64 {
        self.stored.boot + 1
    }

    /// Where members were last seen; empty if that was never saved.
    pub fn peers(&self) -> Result<BTreeMap<NodeId, SocketAddr>, StoreError> {
        super::dir::peers(&self.path)
    }

    /// What the groups would find on a start.
    pub fn look(&self) -> Result<BTreeMap<GroupId, RecoveredGroup>, StoreError> {
        FileStore::look(&self.path, owner_of(&self.stored.config))
    }

    /// Makes a copy to be changed. Refuses when the disk has not the room.
    pub fn rewrite(&self) -> Result<Rewrite<'_>, StoreError> {
        let place = self.path.join(PLACE);
        remove_tree(&place)?;
        make_dir(&place)?;
        let copied = FileStore::copy(&self.path, &place);
        let rewrite = Rewrite { original: self, place };
        // Dropped with an error, it leaves nothing.
        copied.map(|()| rewrite)
    }
}

/// A copy of a stopped node's directory that is being changed. Dropped, it is gone.
pub struct Rewrite<'a> {
    original: &'a Stopped,
    place: PathBuf,
}

impl Rewrite<'_> {
    /// The start counter of the copy: a later one than the original ever had.
    pub fn boot(&self) -> u64 {
        self.original.next_boot()
    }

    /// The copy's log and snapshots.
    pub fn store(&self) -> FileStore {
        let options = Options { is_alone: true, ..Options::default() };
        FileStore::open(&self.place, owner_of(&self.original.stored.config), options)
    }

    /// What the copy's groups would find on a start.
    pub fn look(&self) -> Result<BTreeMap<GroupId, RecoveredGroup>, StoreError> {
        FileStore::look(&self.place, owner_of(&self.original.stored.config))
    }

    /// Puts the copy, of this epoch, in the place of the original; where the original is kept.
    pub fn commit(self, epoch: Epoch) -> Result<PathBuf, StoreError> {
        let path = &self.original.path;
        let aside = free_name(path, epoch)?;
        replace(&self.place.join(ASIDE), &[aside.as_bytes()])?;
        let mut stored = self.original.stored.clone();
        stored.boot = self.boot();
        stored.config.epoch = epoch;
        sync_dir(path)?;
        // From here on it is decided.
        replace(&self.place.join(NODE), &[&stored.to_json()])?;
        put_in_place(path)?;
        Ok(path.join(aside))
    }
}

impl Drop for Rewrite<'_> {
    fn drop(&mut self) {
        if !self.place.join(NODE).exists() {
            // What is left goes at the next try.
            let _ = remove_tree(&self.place);
        }
    }
}

/// Does what was decided; nothing where nothing was. Before a start, when nobody has the directory.
pub fn finish_rewrite(path: &Path) -> Result<(), StoreError> {
    if !path.join(PLACE).join(NODE).exists() {
        return Ok(());
    }
    let _lock = Lock::take(path).map_err(|error| error.explain(path))?;
    put_in_place(path)
}

fn put_in_place(path: &Path) -> Result<(), StoreError> {
    let place = path.join(PLACE);
    if !place.join(NODE).exists() {
        return Ok(());
    }
    let named = place.join(ASIDE);
    let aside = fs::read_to_string(&named).map_err(|error| unusable("read", &named, error))?;
    let aside = path.join(aside);
    make_dir(&aside)?;
    for part in PARTS {
        let (new, present, kept) = (place.join(part), path.join(part), aside.join(part));
        // Whatever is new has yet to come, so what is there is the original's. The copy's log is
        // repaired.
        if (new.exists() || part == REPAIRED) && present.exists() {
            keep(part, &present, &kept)?;
        }
        if new.exists() {
            sync_dir(&aside)?;
            rename(&new, &present)?;
            sync_dir(path)?;
        }
    }
    remove_tree(&place)?;
    sync_dir(path)
}

/// Keeps a part of the original. `node.json` is copied, so that the directory always has one.
fn keep(part: &str, present: &Path, kept: &Path) -> Result<(), StoreError> {
    if part != NODE {
        return rename(present, kept);
    }
    let bytes = fs::read(present).map_err(|error| unusable("read", present, error))?;
    replace(kept, &[&bytes])
}

/// A name in the directory for what is kept, which nothing has.
fn free_name(path: &Path, epoch: Epoch) -> Result<String, StoreError> {
    let names = (1..=KEPT_MAX).map(|number| match number {
        1 => format!("before-epoch-{epoch}"),
        number => format!("before-epoch-{epoch}-{number}"),
    });
    let free = names.into_iter().find(|name| !path.join(name).exists());
    free.ok_or_else(|| refuse(path, "too many directories are kept in it: move them elsewhere"))
}

fn read(node: &Path) -> Result<Stored, StoreError> {
    let bytes = fs::read(node).map_err(|error| unusable("read", node, error))?;
    Stored::from_json(&bytes).map_err(|refusal: Refusal| refusal.explain(node))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{config, founding};
    use super::super::{Addresses, DataDir};
    use super::*;
    use crate::store::Store;
    use muslin_core::base::Term;
    use muslin_core::raft::{HardState, Write};

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    const FILES: [&str; 3] = ["log/1.log", "snapshot/1", NODE];

    /// The original, and a copy that was decided on.
    fn old_and_new(path: &Path) {
        for (root, text) in [(path.to_owned(), "old"), (path.join(PLACE), "new")] {
            FILES.iter().for_each(|file| write(&root.join(file), text));
        }
        write(&path.join(PLACE).join(ASIDE), "before");
    }

    #[test]
    fn what_was_decided_is_done_whenever_it_was_cut_short_and_the_original_is_kept() {
        // Of each part the original is moved first, then the copy; cut short after so many moves.
        for cut in 0..2 * FILES.len() {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path();
            old_and_new(path);
            let (place, aside) = (path.join(PLACE), path.join("before"));
            fs::create_dir(&aside).unwrap();
            let moves = ["log", "snapshot", NODE].into_iter().flat_map(|part| {
                [(path.join(part), aside.join(part)), (place.join(part), path.join(part))]
            });
            for (from, to) in moves.take(cut) {
                match from.is_file() && to.starts_with(&aside) {
                    true => drop(fs::copy(from, to).unwrap()),
                    false => fs::rename(from, to).unwrap(),
                }
            }
            finish_rewrite(path).unwrap();
            for file in FILES {
                assert_eq!(fs::read_to_string(path.join(file)).unwrap(), "new", "{file}, {cut}");
                assert_eq!(fs::read_to_string(aside.join(file)).unwrap(), "old", "{file}, {cut}");
            }
            assert!(!place.exists());
        }
    }

    #[test]
    fn what_was_not_decided_is_nothing() {
        let directory = tempfile::tempdir().unwrap();
        old_and_new(directory.path());
        fs::remove_file(directory.path().join(PLACE).join(NODE)).unwrap();
        finish_rewrite(directory.path()).unwrap();
        for file in FILES {
            assert_eq!(fs::read_to_string(directory.path().join(file)).unwrap(), "old", "{file}");
        }
    }

    fn term_of(groups: &BTreeMap<GroupId, RecoveredGroup>) -> Option<u64> {
        groups.get(&GroupId::CONTROL).map(|group| group.raft.hard_state.term.0)
    }

    fn bytes_of(path: &Path) -> Vec<Vec<u8>> {
        let log = fs::read_dir(path.join("log")).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = log.chain([path.join(NODE)]).collect();
        files.sort();
        files.into_iter().map(|file| fs::read(file).unwrap()).collect()
    }

    #[test]
    fn a_copy_takes_the_place_of_the_original_or_leaves_it_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        drop(DataDir::create(path, config(), founding()).unwrap());
        let set = |store: &mut FileStore, term| {
            store.recover().unwrap();
            let hard_state = HardState { term, ..HardState::default() };
            let write = Write::Log { hard_state: Some(hard_state), entries: Vec::new().into() };
            store.write(&[(GroupId::CONTROL, write)]).unwrap();
            store.rest().unwrap();
        };
        let stopped = Stopped::open(path).unwrap();
        assert!(DataDir::open(path).is_err(), "nobody else has it");
        let before = bytes_of(path);
        let rewrite = stopped.rewrite().unwrap();
        assert_eq!(rewrite.boot(), 2);
        set(&mut rewrite.store(), Term(7));
        assert_eq!(
            (term_of(&rewrite.look().unwrap()), term_of(&stopped.look().unwrap())),
            (Some(7), None)
        );
        drop(rewrite);
        assert!(bytes_of(path) == before && !path.join(PLACE).exists());
        let rewrite = stopped.rewrite().unwrap();
        set(&mut rewrite.store(), Term(8));
        let kept = rewrite.commit(Epoch(9)).unwrap();
        assert!(bytes_of(&kept) == before);
        assert_eq!(term_of(&stopped.look().unwrap()), Some(8));
        drop(stopped);
        let opened = DataDir::open(path).unwrap();
        assert_eq!((opened.boot(), opened.config().epoch), (3, Epoch(9)));
        let Addresses { listen, .. } = config().addresses;
        assert_eq!(opened.config().addresses.listen, listen);
        drop(opened);
        // A second one of the same epoch is kept beside the first.
        let stopped = Stopped::open(path).unwrap();
        let second = stopped.rewrite().unwrap().commit(Epoch(9)).unwrap();
        assert_ne!(second, kept);
    }

    #[test]
    fn a_node_that_was_admitted_again_is_not_taken_for_a_survivor() {
        let directory = tempfile::tempdir().unwrap();
        drop(DataDir::create(directory.path(), config(), founding()).unwrap());
        write(&directory.path().join(AFRESH), "{}");
        let refused = Stopped::open(directory.path()).err().unwrap().to_string();
        assert!(refused.contains("start it with `muslin up`"), "{refused}");
    }
}
