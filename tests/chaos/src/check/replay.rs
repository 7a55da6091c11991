//! The sequence replayed: what was read must be what it gives.

use super::Findings;
use super::timeline::{EMPTY_REVISION, Step, Timeline};
use crate::history::{Action, Dump, Family, History, Item, Key, Op, Outcome};
use std::collections::BTreeMap;

/// The store at a revision.
#[derive(Default)]
struct State {
    items: BTreeMap<Key, Item>,
}

/// Checks every answer and every node's last state.
pub(super) fn check(history: &History, timeline: &Timeline, findings: &mut Findings) {
    let mut before: BTreeMap<u64, Vec<&Op>> = BTreeMap::new();
    let mut after: BTreeMap<u64, Vec<&Op>> = BTreeMap::new();
    for op in &history.ops {
        match &op.outcome {
            Outcome::Written(revision) => before.entry(*revision).or_default().push(op),
            Outcome::Deleted(revision, true) => before.entry(*revision).or_default().push(op),
            Outcome::Deleted(revision, false) | Outcome::Read(revision, _) => {
                after.entry(*revision).or_default().push(op);
            }
            Outcome::Unknown | Outcome::Refused | Outcome::Fenced(_) => {}
        }
    }
    let mut state = State::default();
    check_at(&state, EMPTY_REVISION, after.remove(&EMPTY_REVISION), findings);
    for (revision, step) in timeline.steps() {
        for op in before.remove(&revision).into_iter().flatten() {
            state.check_before(op, findings);
        }
        state.apply(revision, step);
        check_at(&state, revision, after.remove(&revision), findings);
    }
    for (revision, ops) in after {
        let sentence = format!("{:?} saw {revision}, which nobody made", ops[0].action);
        findings.add("read-of-the-future", sentence);
    }
    for dump in &history.dumps {
        state.check_dump(dump, timeline.last(), findings);
    }
}

fn check_at(state: &State, revision: u64, ops: Option<Vec<&Op>>, findings: &mut Findings) {
    for op in ops.into_iter().flatten() {
        state.check_after(op, revision, findings);
    }
}

impl State {
    fn apply(&mut self, revision: u64, step: &Step) {
        for (key, value) in &step.changes {
            let Some(value) = *value else {
                self.items.remove(key);
                continue;
            };
            let (create_revision, version) = match self.items.get(key) {
                Some(item) => (item.create_revision, item.version + 1),
                None => (revision, 1),
            };
            let item = Item { key: *key, value, create_revision, mod_revision: revision, version };
            self.items.insert(*key, item);
        }
    }

    /// What a write must have found.
    fn check_before(&self, op: &Op, findings: &mut Findings) {
        let wrong = match &op.action {
            Action::Swap((key, _), expected) => {
                let found = self.items.get(key).map_or(0, |item| item.mod_revision);
                (found != *expected).then(|| format!("{key} was at {found}"))
            }
            Action::Delete(key) => {
                (!self.items.contains_key(key)).then(|| format!("{key} was not there"))
            }
            _ => None,
        };
        if let Some(wrong) = wrong {
            findings.add("wrong-compare", format!("{:?} succeeded: {wrong}", op.action));
        }
    }

    /// What a read must have seen.
    fn check_after(&self, op: &Op, revision: u64, findings: &mut Findings) {
        let expected = match &op.action {
            Action::Get(key, _) | Action::Delete(key) => self.one(*key),
            Action::List(family, _) => self.family(*family),
            Action::Swap((key, _), expected) => {
                let found = self.items.get(key).map_or(0, |item| item.mod_revision);
                if found == *expected {
                    let sentence = format!("{:?} failed, though it held", op.action);
                    findings.add("wrong-compare", sentence);
                }
                self.one(*key)
            }
            Action::Put(_) | Action::Multi(_) | Action::Guarded(..) => return,
        };
        let seen: &[Item] = match &op.outcome {
            Outcome::Read(_, items) => items,
            _ => &[],
        };
        if seen != expected {
            let sentence = format!(
                "{:?} at n{} saw at {revision} {seen:?}, not {expected:?}",
                op.action,
                op.node + 1
            );
            findings.add("wrong-read", sentence);
        }
    }

    fn one(&self, key: Key) -> Vec<Item> {
        self.items.get(&key).copied().into_iter().collect()
    }

    fn family(&self, family: Family) -> Vec<Item> {
        let range = Key::new(family, 0)..=Key::new(family, u32::MAX);
        self.items.range(range).map(|(_, item)| *item).collect()
    }

    fn check_dump(&self, dump: &Dump, last: u64, findings: &mut Findings) {
        let node = dump.node + 1;
        if dump.revision != last {
            let sentence = format!("n{node} ended at {}, not {last}", dump.revision);
            findings.add("states-differ", sentence);
        }
        let expected: BTreeMap<Key, Item> = self.items.clone();
        let held: BTreeMap<Key, Item> = dump.items.iter().map(|item| (item.key, *item)).collect();
        for key in expected.keys().chain(held.keys().filter(|key| !expected.contains_key(key))) {
            let (held, expected) = (held.get(key), expected.get(key));
            if held != expected {
                let sentence = format!("n{node} holds {key} as {held:?}, not {expected:?}");
                findings.add("states-differ", sentence);
            }
        }
    }
}
