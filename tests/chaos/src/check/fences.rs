//! Locks and their fences against the sequence.

use super::Findings;
use super::timeline::Timeline;
use crate::history::{Action, Family, Fence, History, Key, Outcome, Value};
use std::collections::{BTreeMap, HashMap};

/// What the names of places begin with.
const PLACES: &[u8] = b"lock/";

/// What there is to say of locks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Locks {
    /// How often one was had.
    pub had: usize,
    /// Writes with a fence that were done while it held.
    pub written: usize,
    /// Writes with a fence that was not held any more: refused ..
    pub refused: usize,
    /// .. and done all the same.
    pub broken: usize,
}

/// The queues at a revision.
#[derive(Default)]
struct Queues {
    /// Of each lock the places that are there, by what made them.
    places: BTreeMap<Vec<u8>, BTreeMap<u64, Key>>,
    made: BTreeMap<Key, u64>,
}

/// What was told of a revision.
#[derive(Clone, Copy)]
enum Told {
    Had(Fence),
    Written(Fence),
    Refused(Fence),
}

/// Checks everything that was told of locks.
pub(super) fn check(history: &History, timeline: &Timeline, findings: &mut Findings) -> Locks {
    let mut all = told(history, timeline);
    all.sort_by_key(|(revision, _)| *revision);
    let mut steps = timeline.steps().peekable();
    let (mut queues, mut locks) = (Queues::default(), Locks::default());
    for (revision, told) in all {
        while let Some((made, step)) = steps.next_if(|(made, _)| *made <= revision) {
            for (key, value) in &step.changes {
                queues.apply(made, (*key, *value), &history.names);
            }
        }
        queues.check(revision, told, (&history.names, &mut locks), findings);
    }
    locks
}

fn told(history: &History, timeline: &Timeline) -> Vec<(u64, Told)> {
    let mut made: HashMap<Value, u64> = HashMap::new();
    for (revision, step) in timeline.steps() {
        made.extend(step.changes.iter().filter_map(|(_, value)| value.map(|v| (v, revision))));
    }
    let of_op = |op: &crate::history::Op| {
        let Action::Guarded((_, value), fence) = op.action else { return None };
        match op.outcome {
            Outcome::Written(revision) => Some((revision, Told::Written(fence))),
            Outcome::Fenced(revision) => Some((revision, Told::Refused(fence))),
            // Where it stands in the sequence, if it does.
            _ => made.get(&value).map(|revision| (*revision, Told::Written(fence))),
        }
    };
    let holds = history.holds.iter().map(|hold| (hold.revision, Told::Had(hold.fence)));
    history.ops.iter().filter_map(of_op).chain(holds).collect()
}

/// The lock of a place: what stands before the last slash of its name.
fn lock_of(key: Key, names: &[Vec<u8>]) -> Option<&[u8]> {
    let name = names.get(key.number as usize).filter(|_| key.family == Family::Foreign)?;
    let slash = name.iter().rposition(|byte| *byte == b'/')?;
    name.starts_with(PLACES).then_some(&name[..slash])
}

impl Queues {
    fn apply(&mut self, revision: u64, (key, value): (Key, Option<Value>), names: &[Vec<u8>]) {
        let Some(lock) = lock_of(key, names) else { return };
        let queue = self.places.entry(lock.to_vec()).or_default();
        match (value, self.made.get(&key)) {
            (Some(_), None) => {
                queue.insert(revision, key);
                self.made.insert(key, revision);
            }
            (None, Some(made)) => {
                queue.remove(made);
                self.made.remove(&key);
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    fn check(
        &self,
        revision: u64,
        told: Told,
        (names, locks): (&[Vec<u8>], &mut Locks),
        findings: &mut Findings,
    ) {
        let (Told::Had(fence) | Told::Written(fence) | Told::Refused(fence)) = told;
        let is_there = self.made.get(&fence.place) == Some(&fence.revision);
        let queue = lock_of(fence.place, names).and_then(|lock| self.places.get(lock));
        let first = queue.and_then(|queue| queue.values().next());
        let is_first = is_there && first == Some(&fence.place);
        let say = |what: &str| format!("{fence:?} at {revision}: {what}, and {first:?} is first");
        match told {
            Told::Had(_) => {
                locks.had += 1;
                if !is_first {
                    findings.add("two-holders", say("it was told that it has the lock"));
                }
            }
            Told::Written(_) if !is_there => {
                locks.broken += 1;
                findings.add("broken-fence", say("it wrote, and its place was gone"));
            }
            Told::Written(_) => {
                locks.written += 1;
                if !is_first {
                    findings.add("two-holders", say("it wrote"));
                }
            }
            Told::Refused(_) if is_there => {
                findings.add("refused-holder", say("its write was refused"));
            }
            Told::Refused(_) => locks.refused += 1,
        }
    }
}
