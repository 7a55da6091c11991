//! The order by revision against real time (R7).
//!
//! One sweep over all beginnings and ends. What has been answered, or told to a watcher, is a fact
//! from then on: whatever begins later must come after it. For a write that means a higher
//! revision; for a read, none lower.

use super::Findings;
use super::timeline::{EMPTY_REVISION, Timeline};
use crate::history::{Action, Consistency, History, Nanos, Op, Outcome, Value};
use std::collections::{BTreeMap, HashMap};

/// Where an op stands in the order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// It made the revision.
    Made(u64),
    /// It saw the revision.
    Saw(u64),
    /// It saw the revision on its node, which need not be the newest.
    SawLocally(u64),
}

/// One moment of the sweep. Beginnings come before what is known at the same moment, since what
/// happens at once is in no order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Moment {
    Begin { op: usize },
    Known { revision: u64 },
}

/// Checks all ops.
pub(super) fn check(history: &History, timeline: &Timeline, findings: &mut Findings) {
    let places = places(history, timeline);
    let mut moments: Vec<(Nanos, Moment)> = Vec::with_capacity(history.ops.len() * 3);
    for (op, place) in places.iter().enumerate() {
        let Some(place) = place else { continue };
        let Op { start, end, outcome, .. } = &history.ops[op];
        moments.push((*start, Moment::Begin { op }));
        if *outcome != Outcome::Unknown {
            let (Place::Made(revision) | Place::Saw(revision) | Place::SawLocally(revision)) =
                *place;
            moments.push((*end, Moment::Known { revision }));
        }
    }
    moments
        .extend(timeline.steps().map(|(revision, step)| (step.seen, Moment::Known { revision })));
    moments.sort_unstable();
    let mut known = EMPTY_REVISION;
    for (_, moment) in moments {
        match moment {
            Moment::Known { revision } => known = known.max(revision),
            Moment::Begin { op } => {
                let place = places[op].expect("only ops with a place are swept");
                check_one(&history.ops[op], place, known, findings);
            }
        }
    }
    check_sessions(history, &places, findings);
}

fn check_one(op: &Op, place: Place, known: u64, findings: &mut Findings) {
    let node = op.node + 1;
    match place {
        Place::Made(revision) if revision <= known => {
            let sentence = format!(
                "{:?} at n{node} made {revision}, but {known} was known before it began",
                op.action
            );
            findings.add("write-in-the-past", sentence);
        }
        Place::Saw(revision) if revision < known => {
            let sentence = format!(
                "{:?} at n{node} saw {revision}, but {known} was known before it began",
                op.action
            );
            findings.add("stale-read", sentence);
        }
        _ => {}
    }
}

fn places(history: &History, timeline: &Timeline) -> Vec<Option<Place>> {
    let mut made: HashMap<Value, u64> = HashMap::new();
    for (revision, step) in timeline.steps() {
        let values = step.changes.iter().filter_map(|(_, value)| *value);
        made.extend(values.map(|value| (value, revision)));
    }
    let place = |op: &Op| match op.outcome {
        Outcome::Written(revision) | Outcome::Deleted(revision, true) => {
            Some(Place::Made(revision))
        }
        Outcome::Deleted(revision, false) => Some(Place::Saw(revision)),
        Outcome::Read(revision, _) => match op.action {
            Action::Get(_, Consistency::Local) | Action::List(_, Consistency::Local) => {
                Some(Place::SawLocally(revision))
            }
            _ => Some(Place::Saw(revision)),
        },
        Outcome::Fenced(revision) => Some(Place::Saw(revision)),
        Outcome::Refused => None,
        Outcome::Unknown => {
            let (_, value) = op.writes().first()?;
            made.get(value).map(|revision| Place::Made(*revision))
        }
    };
    history.ops.iter().map(place).collect()
}

/// What a node has answered it does not take back while it lives.
fn check_sessions(history: &History, places: &[Option<Place>], findings: &mut Findings) {
    let mut sessions: BTreeMap<(u8, u32), Vec<(Nanos, Moment)>> = BTreeMap::new();
    for (op, place) in places.iter().enumerate() {
        let Op { node, life: Some(life), start, end, outcome, .. } = &history.ops[op] else {
            continue;
        };
        let Some(Place::Made(revision) | Place::Saw(revision) | Place::SawLocally(revision)) =
            *place
        else {
            continue;
        };
        let session = sessions.entry((*node, *life)).or_default();
        session.push((*start, Moment::Begin { op }));
        if *outcome != Outcome::Unknown {
            session.push((*end, Moment::Known { revision }));
        }
    }
    for ((node, _), mut moments) in sessions {
        moments.sort_unstable();
        let mut known = EMPTY_REVISION;
        for (_, moment) in moments {
            match moment {
                Moment::Known { revision } => known = known.max(revision),
                Moment::Begin { op } => {
                    if let Some(Place::SawLocally(revision)) = places[op]
                        && revision < known
                    {
                        let node = node + 1;
                        let sentence =
                            format!("n{node} answered locally {revision}, after {known}");
                        findings.add("local-read-went-back", sentence);
                    }
                }
            }
        }
    }
}
