//! What was asked for and what happened.

use super::Findings;
use super::timeline::Timeline;
use crate::history::{Action, Family, History, Key, Nanos, Op, Outcome, Value};
use std::collections::{BTreeMap, HashMap};

/// Checks writes against the timeline; how many of unknown outcome took effect.
pub(super) fn check(history: &History, timeline: &Timeline, findings: &mut Findings) -> usize {
    let mut writers: HashMap<Value, &Op> = HashMap::new();
    for op in &history.ops {
        for (_, value) in op.writes() {
            writers.insert(*value, op);
        }
        check_acknowledged(op, timeline, findings);
    }
    let unknown_done = check_origins(&writers, timeline, findings);
    check_deletes(history, timeline, findings);
    unknown_done
}

/// What was acknowledged happened, at the revision that was told, and nothing else did there.
fn check_acknowledged(op: &Op, timeline: &Timeline, findings: &mut Findings) {
    let (revision, expected) = match (&op.outcome, &op.action) {
        (Outcome::Written(revision), _) => {
            let writes = op.writes().iter().map(|(key, value)| (*key, Some(*value)));
            (*revision, writes.collect())
        }
        (Outcome::Deleted(revision, true), Action::Delete(key)) => (*revision, vec![(*key, None)]),
        _ => return,
    };
    match timeline.at(revision) {
        None => {
            let sentence = format!("{:?} was acknowledged at {revision}: lost", op.action);
            findings.add("lost-write", sentence);
        }
        Some(step) if step.changes != expected => {
            let happened = &step.changes;
            let action = &op.action;
            let sentence =
                format!("{action:?} was acknowledged at {revision}, where {happened:?} happened");
            findings.add("lost-write", sentence);
        }
        Some(_) => {}
    }
}

/// Every value was asked for, took effect once and whole, and was not refused.
fn check_origins(
    writers: &HashMap<Value, &Op>,
    timeline: &Timeline,
    findings: &mut Findings,
) -> usize {
    let mut happened: HashMap<Value, u64> = HashMap::new();
    let mut unknown_done = 0;
    for (revision, step) in timeline.steps() {
        let Some((key, value)) = step.changes.iter().find_map(|(k, v)| v.map(|v| (*k, v))) else {
            continue;
        };
        // Made by the cluster: `fences` and `work` look at these.
        if key.family == Family::Foreign {
            continue;
        }
        let Some(op) = writers.get(&value) else {
            findings.add("unasked", format!("{key} = {value} at {revision}: nobody wrote it"));
            continue;
        };
        if let Some(before) = happened.insert(value, revision) {
            let sentence = format!("{:?} took effect at {before} and {revision}", op.action);
            findings.add("twice", sentence);
        }
        match op.outcome {
            Outcome::Refused => {
                let sentence = format!("{:?} was refused and happened at {revision}", op.action);
                findings.add("refused-yet-done", sentence);
            }
            Outcome::Unknown => {
                unknown_done += 1;
                check_whole(op, revision, &step.changes, findings);
            }
            Outcome::Read(at, _) => {
                let sentence = format!("{:?} did not swap at {at}, but at {revision}", op.action);
                findings.add("refused-yet-done", sentence);
            }
            Outcome::Fenced(at) => {
                let sentence =
                    format!("{:?} was fenced at {at}, but done at {revision}", op.action);
                findings.add("refused-yet-done", sentence);
            }
            // Its revision was compared already.
            Outcome::Written(_) | Outcome::Deleted(..) => {}
        }
        if step.seen < op.start {
            let sentence = format!("{:?} was told of before it was asked for", op.action);
            findings.add("unasked", sentence);
        }
    }
    unknown_done
}

fn check_whole(op: &Op, revision: u64, changes: &[(Key, Option<Value>)], findings: &mut Findings) {
    let expected: Vec<_> = op.writes().iter().map(|(key, value)| (*key, Some(*value))).collect();
    if changes != expected {
        let sentence = format!("{:?} happened at {revision} as {changes:?}", op.action);
        findings.add("torn-write", sentence);
    }
}

/// Every deletion was acknowledged to somebody, or is one of those of unknown outcome, each of
/// which happens once at most. Leases delete their own keys.
fn check_deletes(history: &History, timeline: &Timeline, findings: &mut Findings) {
    let mut acknowledged: HashMap<u64, usize> = HashMap::new();
    let mut unknown: BTreeMap<Key, Vec<Nanos>> = BTreeMap::new();
    for op in &history.ops {
        match (&op.action, &op.outcome) {
            (_, Outcome::Deleted(revision, true)) => {
                *acknowledged.entry(*revision).or_default() += 1;
            }
            (Action::Delete(key), Outcome::Unknown) => {
                unknown.entry(*key).or_default().push(op.start);
            }
            _ => {}
        }
    }
    for (revision, count) in acknowledged.iter().filter(|(_, count)| **count > 1) {
        findings.add("twice", format!("{count} deletions were acknowledged at {revision}"));
    }
    unknown.values_mut().for_each(|starts| starts.sort_unstable_by(|a, b| b.cmp(a)));
    for (revision, step) in timeline.steps() {
        for (key, value) in &step.changes {
            let others = [Family::Leased, Family::Foreign];
            let is_ours = value.is_none() && !others.contains(&key.family);
            if !is_ours || acknowledged.contains_key(&revision) {
                continue;
            }
            // The earliest asked for; revisions are seen in their order.
            let asked = unknown.get_mut(key).and_then(Vec::pop);
            if asked.is_none_or(|start| start > step.seen) {
                findings.add("unasked", format!("{key} deleted at {revision}: nobody asked"));
            }
        }
    }
}
