//! Corruption by the hundred thousand, over stores of several lives: prints what came of it. Run by
//! `cargo xtask damage`.

use super::super::record::{self, Place};
use super::super::segment::{HEADER_BYTES, u64_at};
use super::*;
use muslin_core::base::Prng;
use std::collections::BTreeSet;

const SEGMENT_BYTES: u64 = 2048;

/// Corruptions of one store, before another is made.
const CASES_OF_ONE: u64 = 500;

/// What a store was, and everything that was ever written to it.
struct Lived {
    files: BTreeMap<PathBuf, Vec<u8>>,
    whole: Groups,
    written: BTreeSet<(GroupId, u64, u64)>,
    terms: BTreeMap<GroupId, Term>,
}

#[derive(Default)]
struct Counts {
    tried: u64,
    harmless: u64,
    cut: u64,
    rebuilt: u64,
    refused: u64,
    wrong: u64,
}

/// A history drawn from a seed, in several lives.
fn lived(seed: u64) -> Lived {
    let dir = scratch();
    FileStore::create(dir.path(), OWNER, options(SEGMENT_BYTES)).unwrap();
    let mut history = contract::History::new(seed);
    let mut states = vec![Groups::new()];
    let mut written = BTreeSet::new();
    for _ in 0..3 {
        let (mut store, _) = open(dir.path(), SEGMENT_BYTES).unwrap();
        for _ in 0..10 {
            let batch = history.batch_by_write(&mut states);
            for (id, write) in &batch {
                match write {
                    Write::Log { entries, .. } => {
                        let ids = entries.iter().map(|entry| entry.id);
                        written.extend(ids.map(|entry| (*id, entry.index.0, entry.term.0)));
                    }
                    Write::Snapshot { snapshot, .. } => {
                        let last = snapshot.meta.last;
                        written.insert((*id, last.index.0, last.term.0));
                    }
                }
            }
            store.write(&batch).unwrap();
            store.tend().unwrap();
        }
    }
    let whole = history.groups().clone();
    let term = |group: &RecoveredGroup| {
        let entries = group.raft.entries.iter().map(|entry| entry.id.term);
        entries.chain([group.raft.hard_state.term, group.raft.snapshot.last.term]).max()
    };
    let mut terms = BTreeMap::new();
    for (id, group) in states.iter().flatten() {
        let highest: &mut Term = terms.entry(*id).or_default();
        *highest = term(group).unwrap_or_default().max(*highest);
    }
    Lived { files: files(dir.path()), whole, written, terms }
}

/// Spoils a file, or several, in one of the ways in which disks do.
fn spoil(files: &mut BTreeMap<PathBuf, Vec<u8>>, prng: &mut Prng) -> String {
    let names: Vec<PathBuf> = files.keys().cloned().collect();
    let name = &names[prng.below(names.len() as u64) as usize];
    let other = files[&names[prng.below(names.len() as u64) as usize]].clone();
    let bytes = files.get_mut(name).expect("it is one of them");
    let length = bytes.len() as u64;
    let at = prng.below(length.max(1)) as usize;
    let span = (1 + prng.below(600)).min(length - at as u64) as usize;
    let way = prng.below(9);
    match way {
        // It may have been cut to nothing before.
        0 | 1 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << prng.below(8)),
        2 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = prng.draw() as u8),
        3 => bytes[at..at + span].fill(0),
        4 => bytes[at..at + span].iter_mut().for_each(|byte| *byte = prng.draw() as u8),
        5 => bytes.truncate(at),
        // A block of another file, or of another place of this one.
        6 => {
            let (to, from) = (at & !511, prng.below(4) as usize * 512);
            let block: Vec<u8> = other.iter().skip(from).take(512).copied().collect();
            let end = (to + block.len()).min(bytes.len());
            bytes[to..end].copy_from_slice(&block[..end - to]);
        }
        7 => bytes.extend((0..span).map(|_| prng.draw() as u8)),
        _ => drop(files.remove(name)),
    }
    format!("{name:?}, way {way} at {at}, {span} bytes")
}

/// Whether what a store makes of it is right.
fn judge(
    dir: &Path,
    lived: &Lived,
    spoilt: &BTreeMap<PathBuf, Vec<u8>>,
    counts: &mut Counts,
) -> Result<(), String> {
    let (mut store, mut groups) = match open_any(dir, SEGMENT_BYTES) {
        Ok(opened) => opened,
        Err(StoreError::Format { .. } | StoreError::Foreign { .. }) => {
            counts.refused += 1;
            return Ok(());
        }
        Err(other) => return Err(other.to_string()),
    };
    groups.values_mut().for_each(|group| group.torn_bytes = 0);
    let is_rebuilding = groups.values().any(|group| group.damage.is_some());
    if groups == lived.whole {
        counts.harmless += 1;
    } else if is_rebuilding {
        counts.rebuilt += 1;
        let is_sealed = lived.is_sealed(spoilt);
        groups.iter().try_for_each(|(id, group)| check_group(*id, group, lived, is_sealed))?;
    } else if !lived.is_sealed(spoilt) {
        counts.cut += 1;
        groups.iter().try_for_each(|(id, group)| check_plausible(*id, group, lived))?;
    } else {
        return Err(format!("acknowledged, and gone: {groups:?}"));
    }
    let write = (GroupId(77), log(1, 1..=2));
    store.write(&[write]).map_err(|error| format!("takes no writes: {error}"))?;
    drop(store);
    let (_, mut again) = open_any(dir, SEGMENT_BYTES).map_err(|error| error.to_string())?;
    again.remove(&GroupId(77)).ok_or("forgot a write")?;
    for group in again.values_mut().chain(groups.values_mut()) {
        (group.torn_bytes, group.damage) = (0, None);
    }
    if again == groups { Ok(()) } else { Err("opened again it is another".to_owned()) }
}

impl Lived {
    /// Whether the last seal is where it was: then all before it was acknowledged, and a tail that
    /// is cut was not one. A disk that takes the last batch and its seal with it leaves no trace.
    fn is_sealed(&self, spoilt: &BTreeMap<PathBuf, Vec<u8>>) -> bool {
        let last = self.files.iter().rfind(|(name, _)| name.starts_with("log"));
        let (name, bytes) = last.expect("a store has a log");
        let end = end_of(bytes);
        let spoilt = spoilt.get(name).map(Vec::as_slice).unwrap_or_default();
        spoilt.get(end - 40..end) == bytes.get(end - 40..end)
    }
}

/// Where the records of a sound segment end.
fn end_of(segment: &[u8]) -> usize {
    let mut at = Place { segment: u64_at(segment, 40), offset: HEADER_BYTES as u64 };
    while let Ok(record) = record::read(segment, at) {
        at.offset += record.length;
    }
    at.offset as usize
}

fn check_group(
    id: GroupId,
    group: &RecoveredGroup,
    lived: &Lived,
    is_sealed: bool,
) -> Result<(), String> {
    let fail = |what: &str| Err(format!("{id}: {what}: {group:?}"));
    if group.damage.is_none() {
        let is_whole = lived.whole.get(&id) == Some(group);
        return match (is_whole, is_sealed) {
            (true, _) => Ok(()),
            (false, false) => check_plausible(id, group, lived),
            (false, true) => fail("is not concerned, and not whole"),
        };
    }
    if !group.raft.hard_state.rebuilding {
        return fail("does not say that it rebuilds");
    }
    check_plausible(id, group, lived)
}

/// Nothing is there that was never written, and what is there has no gap.
fn check_plausible(id: GroupId, group: &RecoveredGroup, lived: &Lived) -> Result<(), String> {
    let fail = |what: &str| Err(format!("{id}: {what}: {group:?}"));
    let covered = group.raft.snapshot.last;
    let is_written = |index: u64, term: u64| lived.written.contains(&(id, index, term));
    if group.snapshot.is_some() && !is_written(covered.index.0, covered.term.0) {
        return fail("a snapshot that was never written");
    }
    let mut next = group.raft.entries.first().map_or(covered.index.next(), |entry| entry.id.index);
    if next > covered.index.next() {
        return fail("a gap behind the snapshot");
    }
    for entry in &group.raft.entries {
        let text = format!("{}@{}", entry.id.index.0, entry.id.term.0);
        let is_own = entry.payload == Payload::Command(Bytes::from(text));
        if entry.id.index != next || !is_own || !is_written(next.0, entry.id.term.0) {
            return fail("an entry that was never written, or a gap");
        }
        next = next.next();
    }
    let hard_state = group.raft.hard_state;
    let known = lived.terms.get(&id).copied().unwrap_or_default();
    if hard_state.commit >= next || hard_state.term > known {
        return fail("a commit mark or a term of nobody");
    }
    Ok(())
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Ten thousand by itself; `cargo xtask damage` asks for more.
#[test]
#[ignore = "long; run by `cargo xtask damage`"]
fn a_matrix_of_corruptions() {
    let (cases, seed) = (number("MUSLIN_DAMAGE_CASES", 10_000), number("MUSLIN_DAMAGE_SEED", 1));
    let mut prng = Prng::seeded(seed);
    let mut counts = Counts::default();
    while counts.tried < cases {
        let lived = lived(prng.draw());
        let dir = lay_out(&lived.files);
        for _ in 0..CASES_OF_ONE.min(cases - counts.tried) {
            let mut files = lived.files.clone();
            let mut what = spoil(&mut files, &mut prng);
            if prng.below(4) == 0 && !files.is_empty() {
                what += &format!("; {}", spoil(&mut files, &mut prng));
            }
            restore(dir.path(), &files);
            counts.tried += 1;
            if let Err(why) = judge(dir.path(), &lived, &files, &mut counts) {
                counts.wrong += 1;
                println!("WRONG: {what}: {why}");
            }
        }
    }
    let Counts { tried, harmless, cut, rebuilt, refused, wrong } = counts;
    println!(
        "seed={seed} tried={tried} harmless={harmless} cut-tail={cut} rebuilt={rebuilt} \
         refused={refused} wrong={wrong}"
    );
    assert_eq!(wrong, 0);
}
