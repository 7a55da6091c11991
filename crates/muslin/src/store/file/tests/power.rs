//! The power is cut between any two steps, and again while recovering from that.
//!
//! A model of a disk that keeps nothing it was not asked to: of a file, any of the 512-byte sectors
//! written since its last sync may be there or not; of a directory, any of the names made, given or
//! removed since its last sync.

use super::super::disk::{Step, keep_steps};
use super::*;
use muslin_core::base::Prng;

const SEGMENT_BYTES: u64 = 1024;

/// Bytes that a disk writes whole or not at all.
const SECTOR: u64 = 512;

/// Histories, and cuts tried at each step of one.
const HISTORIES: u64 = 12;
const CUTS: u64 = 4;

#[derive(Clone, Default)]
struct File {
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Bytes { at: u64, bytes: Vec<u8> },
    Length(u64),
}

/// Names to files, by number.
type Names = BTreeMap<PathBuf, usize>;

#[derive(Clone, Default)]
struct Disk {
    files: Vec<File>,
    /// What the process sees.
    names: Names,
    durable: Names,
    pending: Vec<Naming>,
}

#[derive(Clone)]
enum Naming {
    Give(PathBuf, usize),
    Take(PathBuf),
    Move(PathBuf, PathBuf, usize),
}

impl Disk {
    fn of(files: &BTreeMap<PathBuf, Vec<u8>>) -> Disk {
        let mut disk = Disk::default();
        for (name, bytes) in files {
            disk.names.insert(name.clone(), disk.files.len());
            disk.files.push(File { durable: bytes.clone(), pending: Vec::new() });
        }
        disk.durable = disk.names.clone();
        disk
    }

    fn take(&mut self, root: &Path, step: &Step) {
        let name = |path: &PathBuf| path.strip_prefix(root).unwrap().to_owned();
        match step {
            Step::Create(path) => {
                let file = self.files.len();
                self.files.push(File::default());
                self.names.insert(name(path), file);
                self.pending.push(Naming::Give(name(path), file));
            }
            Step::Write { path, at, bytes } => {
                let change = Change::Bytes { at: *at, bytes: bytes.clone() };
                self.files[self.names[&name(path)]].pending.push(change);
            }
            Step::SetLength { path, length } => {
                self.files[self.names[&name(path)]].pending.push(Change::Length(*length));
            }
            Step::Sync(path) => self.files[self.names[&name(path)]].sync(),
            Step::Rename { from, to } => {
                let file = self.names.remove(&name(from)).unwrap();
                self.names.insert(name(to), file);
                self.pending.push(Naming::Move(name(from), name(to), file));
            }
            Step::Remove(path) => {
                self.names.remove(&name(path));
                self.pending.push(Naming::Take(name(path)));
            }
            Step::SyncDir(path) => {
                let dir = name(path);
                let (here, elsewhere) = std::mem::take(&mut self.pending)
                    .into_iter()
                    .partition(|naming| naming.dir() == dir);
                self.pending = elsewhere;
                let here: Vec<Naming> = here;
                here.iter().for_each(|naming| naming.carry_out(&mut self.durable));
            }
        }
    }

    /// What a process finds when the one before it was killed: nothing is lost, nothing is safe.
    fn seen(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut all = self.clone();
        all.files.iter_mut().for_each(File::sync);
        all.names
            .iter()
            .map(|(name, file)| (name.clone(), all.files[*file].durable.clone()))
            .collect()
    }

    /// What may be found after a power cut.
    fn cut(&self, prng: &mut Prng) -> BTreeMap<PathBuf, Vec<u8>> {
        // All, nothing, or any of what was not synced.
        let odds = [0, 1_000_000, 500_000, 900_000][prng.below(4) as usize];
        let mut names = self.durable.clone();
        for naming in &self.pending {
            if prng.chance(odds) {
                naming.carry_out(&mut names);
            }
        }
        names.iter().map(|(name, file)| (name.clone(), self.files[*file].cut(prng, odds))).collect()
    }
}

impl Naming {
    fn dir(&self) -> PathBuf {
        let (Naming::Give(path, _) | Naming::Take(path) | Naming::Move(path, ..)) = self;
        path.parent().unwrap().to_owned()
    }

    fn carry_out(&self, names: &mut Names) {
        match self {
            Naming::Give(path, file) => drop(names.insert(path.clone(), *file)),
            Naming::Take(path) => drop(names.remove(path)),
            Naming::Move(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
        }
    }
}

impl File {
    fn sync(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        pending.iter().for_each(|change| change.carry_out(&mut self.durable));
    }

    fn cut(&self, prng: &mut Prng, odds: u64) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for change in &self.pending {
            match change {
                Change::Length(_) if !prng.chance(odds) => {}
                Change::Length(_) => change.carry_out(&mut bytes),
                Change::Bytes { at, bytes: written } => {
                    let (mut from, end) = (*at, at + written.len() as u64);
                    while from < end {
                        let to = ((from / SECTOR + 1) * SECTOR).min(end);
                        let sector = written[(from - at) as usize..(to - at) as usize].to_vec();
                        if prng.chance(odds) {
                            Change::Bytes { at: from, bytes: sector }.carry_out(&mut bytes);
                        }
                        from = to;
                    }
                }
            }
        }
        bytes
    }
}

impl Change {
    fn carry_out(&self, file: &mut Vec<u8>) {
        match self {
            Change::Length(length) => file.resize(*length as usize, 0),
            Change::Bytes { at, bytes } => {
                let (at, end) = (*at as usize, *at as usize + bytes.len());
                file.resize(file.len().max(end), 0);
                file[at..end].copy_from_slice(bytes);
            }
        }
    }
}

/// What a store may hold: after each write of the history, whole batches or not.
struct Expected {
    states: Vec<Groups>,
}

impl Expected {
    /// Panics unless the groups are a state from `acknowledged` on.
    fn check(&self, mut groups: Groups, acknowledged: usize, what: &str) -> usize {
        groups.values_mut().for_each(|group| group.torn_bytes = 0);
        let found = (acknowledged..self.states.len()).find(|at| self.states[*at] == groups);
        found.unwrap_or_else(|| panic!("{what}: not a state from {acknowledged} on: {groups:#?}"))
    }
}

/// One history, as the steps it took and what was acknowledged when.
struct Lived {
    before: BTreeMap<PathBuf, Vec<u8>>,
    root: PathBuf,
    steps: Vec<Step>,
    /// Behind which step how many states are safe.
    acknowledged: Vec<(usize, usize)>,
    expected: Expected,
}

fn live(seed: u64) -> Lived {
    let dir = scratch();
    FileStore::create(dir.path(), OWNER, options(SEGMENT_BYTES)).unwrap();
    let before = files(dir.path());
    let mut history = contract::History::new(seed);
    let (mut steps, mut acknowledged) = (Vec::new(), vec![(0, 0)]);
    let mut states = vec![Groups::new()];
    keep_steps();
    let (mut store, _) = open(dir.path(), SEGMENT_BYTES).unwrap();
    for round in 0..14 {
        let batch = history.batch_by_write(&mut states);
        store.write(&batch).unwrap();
        // The seal goes out by itself, or with the next batch.
        if round % 2 == 0 {
            store.rest().unwrap();
            store.tend().unwrap();
        }
        steps.append(&mut keep_steps());
        acknowledged.push((steps.len(), states.len() - 1));
    }
    let root = dir.path().to_owned();
    Lived { before, root, steps, acknowledged, expected: Expected { states } }
}

#[test]
fn whatever_step_the_power_is_cut_at_all_that_was_acknowledged_is_there() {
    let (mut cuts, mut torn, mut ahead) = (0, 0, 0);
    for seed in 0..HISTORIES {
        let lived = live(seed);
        let mut prng = Prng::seeded(seed);
        let mut disk = Disk::of(&lived.before);
        for at in 0..=lived.steps.len() {
            let safe = lived.acknowledged.iter().rfind(|(step, _)| *step <= at).unwrap().1;
            for cut in 0..CUTS {
                let what = format!("seed {seed}, step {at} of {}, cut {cut}", lived.steps.len());
                let image = disk.cut(&mut prng);
                let (found, was_torn) = cut_again(&image, &lived.expected, safe, &mut prng, &what);
                cuts += 2;
                torn += u64::from(was_torn);
                ahead += u64::from(found > safe);
            }
            if let Some(step) = lived.steps.get(at) {
                disk.take(&lived.root, step);
            }
        }
    }
    println!("power cuts: {cuts}; {torn} with a torn tail, {ahead} ahead of what was acknowledged");
    assert!(torn > 30 && ahead > 500, "the cuts must hit something");
}

/// What a process recovered it builds on: it must be on the disk by then, though the process before
/// it was killed and never synced it.
#[test]
fn what_a_process_recovers_from_a_killed_one_survives_a_power_cut() {
    for seed in 0..HISTORIES {
        let lived = live(seed);
        let mut prng = Prng::seeded(seed);
        let mut disk = Disk::of(&lived.before);
        for (at, step) in lived.steps.iter().enumerate() {
            disk.take(&lived.root, step);
            let safe = lived.acknowledged.iter().rfind(|(step, _)| *step <= at + 1).unwrap().1;
            let what = format!("seed {seed}, killed behind step {at}");
            take_over(disk.clone(), &lived.expected, safe, &mut prng, &what);
        }
    }
}

/// Recovers from a killed process, works on, and loses power.
fn take_over(disk: Disk, expected: &Expected, safe: usize, prng: &mut Prng, what: &str) {
    let dir = lay_out(&disk.seen());
    keep_steps();
    let (mut store, groups) = open(dir.path(), SEGMENT_BYTES).unwrap();
    let mut steps = keep_steps();
    let found = expected.check(groups, safe, what);
    let recovered = steps.len();
    for at in 0..4 {
        store.write(&[(GroupId(99), log(1, at * 5 + 1..=at * 5 + 5))]).unwrap();
    }
    steps.append(&mut keep_steps());
    for _ in 0..2 {
        let stop = recovered + prng.below((steps.len() - recovered) as u64 + 1) as usize;
        let mut disk = disk.clone();
        steps[..stop].iter().for_each(|step| disk.take(dir.path(), step));
        let image = lay_out(&disk.cut(prng));
        let what = format!("{what}, power cut at step {stop}, recovered at {recovered}");
        let (_, mut groups) =
            open(image.path(), SEGMENT_BYTES).unwrap_or_else(|e| panic!("{what}: {e}"));
        groups.remove(&GroupId(99));
        assert_eq!(expected.check(groups, found, &what), found, "{what}");
    }
}

/// Recovers, and cuts the power at one step of that too. Then the store must work on.
fn cut_again(
    image: &BTreeMap<PathBuf, Vec<u8>>,
    expected: &Expected,
    safe: usize,
    prng: &mut Prng,
    what: &str,
) -> (usize, bool) {
    let dir = lay_out(image);
    keep_steps();
    let (_, groups) = open(dir.path(), SEGMENT_BYTES).unwrap_or_else(|e| panic!("{what}: {e}"));
    let steps = keep_steps();
    let was_torn = groups.values().any(|group| group.torn_bytes > 0);
    let found = expected.check(groups, safe, what);
    let mut disk = Disk::of(image);
    let stop = prng.below(steps.len() as u64 + 1) as usize;
    steps[..stop].iter().for_each(|step| disk.take(dir.path(), step));
    let again = lay_out(&disk.cut(prng));
    let what = format!("{what}, and recovery at step {stop}");
    let (mut store, groups) =
        open(again.path(), SEGMENT_BYTES).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(expected.check(groups, safe, &what), found, "{what}: recovery is repeatable");
    store.write(&[(GroupId(99), log(1, 1..=20)), (GroupId(99), committed(1, 20))]).unwrap();
    drop(store);
    let (_, mut groups) = open(again.path(), SEGMENT_BYTES).unwrap();
    assert_eq!(groups.remove(&GroupId(99)).unwrap().raft.entries.len(), 20, "{what}");
    expected.check(groups, safe, &what);
    (found, was_torn)
}
