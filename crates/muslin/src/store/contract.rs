//! What every [`Store`] must obey. Give [`check_all`] a way to make disks and to open stores on
//! them.
//!
//! Each check panics with what it missed. Between two openings a store is only dropped, never
//! closed: what it acknowledged must be there, as after a crash.

use super::{RecoveredGroup, Store};
use bytes::Bytes;
use muslin_core::base::{GroupId, Index, LogId, NodeId, Prng, Term};
use muslin_core::raft::{
    Configuration, Entries, Entry, HardState, Payload, Recovered, Snapshot, SnapshotMeta, Write,
};
use std::collections::BTreeMap;

/// Makes what is to be checked.
pub trait Subject {
    /// What survives a store.
    type Disk;
    /// The store.
    type Store: Store;

    /// An empty disk.
    fn disk(&self) -> Self::Disk;

    /// A store on it. One at a time.
    fn open(&self, disk: &Self::Disk) -> Self::Store;
}

/// Everything below.
pub fn check_all(subject: &impl Subject) {
    an_empty_disk_holds_no_group(subject);
    entries_come_back_in_every_kind(subject);
    a_rewritten_index_drops_all_behind_it(subject);
    hard_states_are_the_last_written(subject);
    a_snapshot_keeps_the_tail_it_is_told_to(subject);
    a_discarded_log_stays_away(subject);
    a_batch_takes_effect_in_its_order(subject);
    groups_do_not_mix(subject);
    large_things_come_back(subject);
    any_history_survives_reopening(subject);
}

/// A fresh disk.
pub fn an_empty_disk_holds_no_group(subject: &impl Subject) {
    let disk = subject.disk();
    assert_eq!(groups(subject, &disk), BTreeMap::new());
    assert_eq!(groups(subject, &disk), BTreeMap::new(), "and still when opened again");
}

/// Append and recover.
pub fn entries_come_back_in_every_kind(subject: &impl Subject) {
    let configuration = Configuration {
        voters: [NodeId(1), NodeId(u64::MAX)].into(),
        outgoing: [NodeId(2)].into(),
        learners: [NodeId(0), NodeId(9)].into(),
    };
    let payloads = [
        Payload::Empty,
        Payload::Command(Bytes::new()),
        Payload::Command(Bytes::from_static(b"x")),
        Payload::Command(Bytes::from(vec![0; 100])),
        Payload::Configuration(configuration),
        Payload::Configuration(Configuration::default()),
    ];
    let entries = (1..).zip(payloads).map(|(index, payload)| Entry { id: id(1, index), payload });
    let entries: Vec<Entry> = entries.collect();
    let mut model = Model::default();
    check(subject, &mut model, &[(GroupId::CONTROL, log(entries))]);
}

/// Truncation by overwriting.
pub fn a_rewritten_index_drops_all_behind_it(subject: &impl Subject) {
    let g = GroupId(3);
    let mut model = Model::default();
    check(
        subject,
        &mut model,
        &[
            (g, log(run(1, 1..=9))),
            (g, log(run(2, 5..=5))),
            (g, log(run(3, 6..=7))),
            (g, log(run(4, 7..=7))),
            (g, log(run(5, 1..=2))),
        ],
    );
}

/// Terms, votes and commit marks.
pub fn hard_states_are_the_last_written(subject: &impl Subject) {
    let g = GroupId::CONTROL;
    let mut model = Model::default();
    let hard = |term, vote: Option<u64>, commit| HardState {
        term: Term(term),
        vote: vote.map(NodeId),
        commit: Index(commit),
        rebuilding: false,
        leased: commit > 0,
    };
    let states = [
        hard(1, None, 0),
        hard(1, Some(0), 0),
        hard(2, None, 0),
        hard(2, Some(u64::MAX), 0),
        hard(2, Some(u64::MAX), 3),
        hard(9, None, 4),
    ];
    let mut writes = vec![(g, log(run(1, 1..=4)))];
    for state in states {
        writes.push((g, Write::Log { hard_state: Some(state), entries: Entries::new() }));
    }
    writes.push((g, Write::Log { hard_state: None, entries: run(9, 5..=5).into() }));
    // Entries and the commit mark that refers to them are one write.
    let last = Write::Log { hard_state: Some(hard(9, Some(7), 8)), entries: run(9, 6..=8).into() };
    writes.push((g, last));
    check(subject, &mut model, &writes);
}

/// Compaction.
pub fn a_snapshot_keeps_the_tail_it_is_told_to(subject: &impl Subject) {
    let g = GroupId::CONTROL;
    let mut model = Model::default();
    check(
        subject,
        &mut model,
        &[
            (g, snapshot(0, 0, 1, false)),
            (g, log(run(1, 1..=10))),
            (g, snapshot(1, 8, 5, false)),
            (g, log(run(1, 11..=12))),
            (g, snapshot(1, 12, 13, false)),
            (g, log(run(2, 13..=14))),
            (g, snapshot(1, 12, 14, false)),
            (g, log(run(3, 14..=16))),
        ],
    );
}

/// A snapshot that the log does not agree with, or does not reach.
pub fn a_discarded_log_stays_away(subject: &impl Subject) {
    let g = GroupId(1);
    let mut model = Model::default();
    check(
        subject,
        &mut model,
        &[
            (g, log(run(1, 1..=10))),
            (g, snapshot(2, 5, 1, true)),
            (g, log(run(3, 6..=7))),
            (g, snapshot(2, 5, 6, false)),
            (g, snapshot(4, 20, 1, false)),
            (g, log(run(4, 21..=22))),
            (g, snapshot(4, 22, 22, false)),
            (g, snapshot(5, 30, 31, true)),
        ],
    );
}

/// Writes before and behind a snapshot in one batch.
pub fn a_batch_takes_effect_in_its_order(subject: &impl Subject) {
    let g = GroupId::CONTROL;
    let disk = subject.disk();
    let mut model = Model::default();
    let batch = [
        (g, log(run(1, 1..=10))),
        (GroupId(1), log(run(1, 1..=3))),
        (g, snapshot(2, 20, 21, true)),
        (g, log(run(2, 21..=23))),
        (GroupId(1), snapshot(1, 2, 3, false)),
        (g, snapshot(2, 22, 22, false)),
        (g, log(run(3, 23..=30))),
    ];
    write(&mut opened(subject, &disk), &mut model, &batch);
    assert_eq!(groups(subject, &disk), model.groups);
    write(&mut opened(subject, &disk), &mut model, &[]);
    assert_eq!(groups(subject, &disk), model.groups, "an empty batch changes nothing");
}

/// Many groups, interleaved.
pub fn groups_do_not_mix(subject: &impl Subject) {
    let disk = subject.disk();
    let mut model = Model::default();
    let mut store = opened(subject, &disk);
    for round in 0..4 {
        let batch: Vec<_> = (0..40)
            .map(|g| (GroupId(g * g), log(run(round + 1, round * g + 1..=(round + 1) * g))))
            .collect();
        write(&mut store, &mut model, &batch);
    }
    drop(store);
    assert_eq!(groups(subject, &disk), model.groups);
}

/// Megabytes, in one entry and in one snapshot.
pub fn large_things_come_back(subject: &impl Subject) {
    let g = GroupId::CONTROL;
    let bytes = |length: u32| Bytes::from_iter((0..length).map(|at| (at % 251) as u8));
    let large = Entry { id: id(1, 1), payload: Payload::Command(bytes(1_536 << 10)) };
    let meta = SnapshotMeta { last: id(1, 1), configuration: Configuration::default() };
    let snapshot = Snapshot { meta, data: bytes(5 << 20) };
    let writes = [
        (g, log(vec![large])),
        (g, Write::Snapshot { snapshot, keep_from: Index(1), discard_log: false }),
        (g, log(run(1, 2..=3))),
    ];
    check(subject, &mut Model::default(), &writes);
}

/// Histories drawn at random, reopened again and again.
pub fn any_history_survives_reopening(subject: &impl Subject) {
    for seed in 0..HISTORIES {
        let mut history = History::new(seed);
        let disk = subject.disk();
        for life in 0..LIVES {
            let mut store = subject.open(&disk);
            let found = strip(store.recover().expect("a store that was only dropped recovers"));
            assert_eq!(found, history.model.groups, "seed {seed}, life {life}");
            for _ in 0..BATCHES {
                let batch = history.batch();
                store.write(&batch).expect("a healthy disk takes writes");
            }
        }
    }
}

/// Histories tried, how often each is reopened, and batches written in between.
const HISTORIES: u64 = 8;
const LIVES: u64 = 8;
const BATCHES: u64 = 12;

/// Writes that a replica could issue, drawn from a seed, and what they amount to.
pub struct History {
    prng: Prng,
    model: Model,
}

impl History {
    /// The history of a seed.
    pub fn new(seed: u64) -> History {
        History { prng: Prng::seeded(seed), model: Model::default() }
    }

    /// The next batch, already part of [`History::groups`].
    pub fn batch(&mut self) -> Vec<(GroupId, Write)> {
        self.batch_by_write(&mut Vec::new())
    }

    /// The next batch; adds what a store holds after each write of it.
    pub fn batch_by_write(
        &mut self,
        states: &mut Vec<BTreeMap<GroupId, RecoveredGroup>>,
    ) -> Vec<(GroupId, Write)> {
        let count = 1 + self.prng.below(4);
        let mut batch = Vec::new();
        for _ in 0..count {
            let group = GroupId(self.prng.below(3));
            let write = self.draw(group);
            self.model.carry_out(group, &write);
            states.push(self.model.groups.clone());
            batch.push((group, write));
        }
        batch
    }

    /// What a store that carried out all batches recovers.
    pub fn groups(&self) -> &BTreeMap<GroupId, RecoveredGroup> {
        &self.model.groups
    }

    fn draw(&mut self, id: GroupId) -> Write {
        let group = self.model.groups.get(&id).cloned().unwrap_or_default();
        let (hard_state, last) = (group.raft.hard_state, last_of(&group));
        let commit = hard_state.commit.max(group.raft.snapshot.last.index);
        let term = hard_state.term.0.max(1);
        match self.prng.below(12) {
            0 => {
                let upto = commit.0 + self.prng.below(last.0 - commit.0 + 1);
                let keep_from = upto.saturating_sub(self.prng.below(4)) + 1;
                let term = term_at(&group, upto);
                snapshot(term, upto, keep_from, false)
            }
            1 => snapshot(term, last.0 + self.prng.below(3), last.0, true),
            _ => {
                let from = commit.0 + 1 + self.prng.below(last.0 - commit.0 + 1);
                let entries = run(term, from..=from + self.prng.below(4));
                let end = from + entries.len() as u64 - 1;
                let commit = Index(commit.0 + self.prng.below(end - commit.0 + 1));
                let term = Term(term + self.prng.below(2));
                let hard_state = (self.prng.below(2) == 0).then_some({
                    let vote = hard_state.vote.filter(|_| hard_state.term == term);
                    let vote = vote.or(Some(NodeId(self.prng.below(4))));
                    HardState { term, vote, commit, ..HardState::default() }
                });
                Write::Log { hard_state, entries: entries.into() }
            }
        }
    }
}

fn term_at(group: &RecoveredGroup, index: u64) -> u64 {
    let mut entries = group.raft.entries.iter();
    let found = entries.find(|entry| entry.id.index.0 == index);
    found.map_or(group.raft.snapshot.last.term.0, |entry| entry.id.term.0)
}

/// What a store must hold, done the slow and obvious way.
#[derive(Default)]
struct Model {
    groups: BTreeMap<GroupId, RecoveredGroup>,
}

impl Model {
    fn carry_out(&mut self, id: GroupId, write: &Write) {
        if matches!(write, Write::Log { hard_state: None, entries } if entries.is_empty()) {
            return;
        }
        let group = self.groups.entry(id).or_default();
        match write {
            Write::Log { hard_state, entries } => {
                for entry in entries {
                    group.raft.entries.retain(|kept| kept.id.index < entry.id.index);
                    group.raft.entries.push(entry.clone());
                }
                group.raft.hard_state = hard_state.unwrap_or(group.raft.hard_state);
            }
            Write::Snapshot { snapshot, keep_from, discard_log } => {
                let last = snapshot.meta.last.index;
                if *discard_log || last_of(group) < last {
                    group.raft.entries.clear();
                }
                let keep_from = (*keep_from).min(last.next());
                group.raft.entries.retain(|kept| kept.id.index >= keep_from);
                group.raft.snapshot = snapshot.meta.clone();
                group.snapshot = Some(snapshot.clone());
            }
        }
    }
}

/// Carries the writes out one by one, and looks from a second opening after each.
fn check(subject: &impl Subject, model: &mut Model, writes: &[(GroupId, Write)]) {
    let disk = subject.disk();
    for (at, one) in writes.iter().enumerate() {
        write(&mut opened(subject, &disk), model, std::slice::from_ref(one));
        assert_eq!(groups(subject, &disk), model.groups, "after write {at}");
    }
    // The same without reopening in between.
    let disk = subject.disk();
    let mut store = opened(subject, &disk);
    for one in writes {
        store.write(std::slice::from_ref(one)).expect("a healthy disk takes writes");
    }
    drop(store);
    assert_eq!(groups(subject, &disk), model.groups, "written without reopening");
}

fn write<S: Store>(store: &mut S, model: &mut Model, batch: &[(GroupId, Write)]) {
    store.write(batch).expect("a healthy disk takes writes");
    for (group, write) in batch {
        model.carry_out(*group, write);
    }
}

fn opened<S: Subject>(subject: &S, disk: &S::Disk) -> S::Store {
    let mut store = subject.open(disk);
    store.recover().expect("a store that was only dropped recovers");
    store
}

fn groups<S: Subject>(subject: &S, disk: &S::Disk) -> BTreeMap<GroupId, RecoveredGroup> {
    let recovered = subject.open(disk).recover();
    strip(recovered.expect("a store that was only dropped recovers"))
}

/// Nothing acknowledged may be torn; a seal that was never synced may be.
fn strip(mut groups: BTreeMap<GroupId, RecoveredGroup>) -> BTreeMap<GroupId, RecoveredGroup> {
    for group in groups.values_mut() {
        group.torn_bytes = 0;
    }
    groups
}

fn last_of(group: &RecoveredGroup) -> Index {
    let Recovered { snapshot, entries, .. } = &group.raft;
    entries.last().map_or(snapshot.last.index, |entry| entry.id.index)
}

fn id(term: u64, index: u64) -> LogId {
    LogId::new(Term(term), Index(index))
}

/// Entries of one term, each saying where it stands.
fn run(term: u64, indexes: impl IntoIterator<Item = u64>) -> Vec<Entry> {
    let entry = |index| {
        let text = format!("{index}@{term}");
        Entry { id: id(term, index), payload: Payload::Command(Bytes::from(text)) }
    };
    indexes.into_iter().map(entry).collect()
}

fn log(entries: Vec<Entry>) -> Write {
    Write::Log { hard_state: None, entries: entries.into() }
}

fn snapshot(term: u64, index: u64, keep_from: u64, discard_log: bool) -> Write {
    let configuration = Configuration::of_voters([NodeId(index), NodeId(7)]);
    let meta = SnapshotMeta { last: id(term, index), configuration };
    let data = Bytes::from(format!("state at {index}"));
    Write::Snapshot { snapshot: Snapshot { meta, data }, keep_from: Index(keep_from), discard_log }
}
