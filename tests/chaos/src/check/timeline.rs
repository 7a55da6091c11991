//! The history by revision, as the watches told it.

use super::Findings;
use crate::history::{Change, History, Key, Nanos, Value, Watch};
use std::collections::BTreeMap;

/// The revision of a store that nobody has written to.
pub(super) const EMPTY_REVISION: u64 = 1;

/// What happened at one revision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Step {
    pub(super) changes: Vec<(Key, Option<Value>)>,
    /// When a watcher was told first.
    pub(super) seen: Nanos,
}

/// All revisions.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    steps: BTreeMap<u64, Step>,
}

impl Timeline {
    /// Puts together what all watches told, and checks each by itself and against the others.
    pub(super) fn of(history: &History, findings: &mut Findings) -> Timeline {
        let mut timeline = Timeline::default();
        for watch in &history.watches {
            timeline.add(watch, findings);
        }
        timeline.check_gaps(findings);
        check_resumption(history, findings);
        timeline
    }

    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }

    /// The last revision anyone was told of.
    pub(super) fn last(&self) -> u64 {
        self.steps.last_key_value().map_or(EMPTY_REVISION, |(revision, _)| *revision)
    }

    pub(super) fn at(&self, revision: u64) -> Option<&Step> {
        self.steps.get(&revision)
    }

    pub(super) fn steps(&self) -> impl Iterator<Item = (u64, &Step)> {
        self.steps.iter().map(|(revision, step)| (*revision, step))
    }

    fn add(&mut self, watch: &Watch, findings: &mut Findings) {
        let mut due = watch.from.max(EMPTY_REVISION + 1);
        for told in watch.changes.chunk_by(|a, b| a.revision == b.revision) {
            let revision = told[0].revision;
            let place = format!("watcher {} at n{}", watch.watcher, watch.node + 1);
            if revision < due {
                let sentence = format!("{place} was told of {revision} when {due} was due");
                findings.add("watch-order", sentence);
            } else if revision > due {
                let sentence = format!("{place} was told of {revision} when {due} was due");
                findings.add("watch-gap", sentence);
            }
            due = due.max(revision + 1);
            self.merge(revision, told, &place, findings);
        }
    }

    fn merge(&mut self, revision: u64, told: &[Change], place: &str, findings: &mut Findings) {
        let changes: Vec<_> = told.iter().map(|change| (change.key, change.value)).collect();
        let seen = told[0].seen;
        let step = self.steps.entry(revision);
        let step = step.or_insert_with(|| Step { changes: changes.clone(), seen });
        step.seen = step.seen.min(seen);
        if step.changes != changes {
            let (one, other) = (&step.changes, &changes);
            let sentence = format!("revision {revision}: {place} was told {other:?}, not {one:?}");
            findings.add("split-revision", sentence);
        }
    }

    /// Every revision changed something, so each must have been told by somebody.
    fn check_gaps(&self, findings: &mut Findings) {
        let mut due = EMPTY_REVISION + 1;
        for revision in self.steps.keys() {
            if *revision != due {
                let sentence = format!("no watch told of {due} to {}", revision - 1);
                findings.add("watch-gap", sentence);
            }
            due = revision + 1;
        }
    }
}

/// A watcher goes on where it was, or behind what was compacted away.
fn check_resumption(history: &History, findings: &mut Findings) {
    let mut due: BTreeMap<u32, u64> = BTreeMap::new();
    for watch in &history.watches {
        let due = due.entry(watch.watcher).or_insert(0);
        if *due != 0 && watch.from > *due {
            let (watcher, from) = (watch.watcher, watch.from);
            let sentence = format!("watcher {watcher} went on at {from}, not {due}");
            findings.add("watch-gap", sentence);
        }
        let told = watch.changes.last().map_or(watch.from, |change| change.revision + 1);
        let passed = watch.compacted.map_or(0, |compacted| compacted + 1);
        *due = (*due).max(told).max(passed);
    }
}
