//! Rows as they are, and then each change of one, once: how nodes and operations are followed.
//!
//! A [`Board`] compares the rows it is shown with those before and keeps the last changes; every
//! watch is a place in that list, so that a reader who is slow costs nobody anything. A place names
//! the process: one of another node, or of before a restart, cannot be gone on from, and neither
//! can one that fell out of the list. Then the watch says `resync` and begins with the rows as they
//! are.

use super::lines::{Gone, Lines};
use crate::api::desk::Office;
use crate::api::problem::Problem;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, interval_at};

/// Changes kept: what a cluster of a thousand nodes brings in some restarts.
const CHANGES_KEPT: usize = 4_096;

/// A watch with nothing to tell says so this often.
const PROGRESS_PERIOD: Duration = Duration::from_secs(10);

/// A change of one row.
#[derive(Clone)]
struct Change<R> {
    number: u64,
    cause: String,
    id: String,
    /// As it is then; `None` when it is gone.
    row: Option<R>,
}

/// Rows by their ids, and how they came to be so.
pub(in crate::api) struct Board<R> {
    process: String,
    kept: Mutex<Kept<R>>,
    /// The number of the last change.
    last: watch::Sender<u64>,
}

struct Kept<R> {
    rows: BTreeMap<String, R>,
    changes: VecDeque<Change<R>>,
    last: u64,
}

/// Names this process of this node: places count within it.
pub(super) fn process_of(office: &Office) -> String {
    format!("{}-{:x}", office.id, office.began)
}

/// A place in what a process tells.
pub(super) fn place(process: &str, number: u64) -> String {
    format!("{process}-{number}")
}

/// The number of a place, if it is of this process.
pub(super) fn number_of(process: &str, place: &str) -> Option<u64> {
    place.strip_prefix(process)?.strip_prefix('-')?.parse().ok()
}

/// One line of a watch.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Line<R> {
    /// A row that is there.
    Item(Box<R>),
    /// All rows of this place have been told.
    Sync { index: String },
    /// A row is new, or another.
    Put {
        index: String,
        cause: String,
        #[serde(flatten)]
        row: Box<R>,
    },
    /// A row is gone.
    Delete { index: String, cause: String, id: String },
    /// All changes up to here have been told.
    Progress { index: String },
    /// The watch cannot go on from where it was: everything follows anew.
    Resync { index: String },
    /// The watch cannot go on.
    Error { problem: Problem },
}

/// Says why nothing can be followed.
pub(super) async fn tell_problem(lines: &Lines, problem: Problem) -> Result<(), Gone> {
    lines.write(&Line::<()>::Error { problem }).await
}

impl<R: Clone + PartialEq + Serialize> Board<R> {
    /// One that shows these, of a process.
    pub(super) fn of(process: String, rows: BTreeMap<String, R>) -> Board<R> {
        let kept = Kept { rows, changes: VecDeque::new(), last: 0 };
        Board { process, kept: Mutex::new(kept), last: watch::Sender::new(0) }
    }

    fn kept(&self) -> MutexGuard<'_, Kept<R>> {
        self.kept.lock().expect("no holder of this lock panics")
    }

    /// What is shown, and of which place that is.
    pub(super) fn shown(&self) -> (BTreeMap<String, R>, String) {
        let kept = self.kept();
        (kept.rows.clone(), place(&self.process, kept.last))
    }

    /// What differs becomes a change, with what is said of why this row did.
    pub(super) fn take(&self, rows: BTreeMap<String, R>, cause: impl Fn(&str) -> String) {
        let mut kept = self.kept();
        let before = std::mem::replace(&mut kept.rows, rows.clone());
        let mut changes: Vec<(String, Option<R>)> = Vec::new();
        for (id, row) in &rows {
            if before.get(id) != Some(row) {
                changes.push((id.clone(), Some(row.clone())));
            }
        }
        let gone = before.keys().filter(|id| !rows.contains_key(*id));
        changes.extend(gone.map(|id| (id.clone(), None)));
        if changes.is_empty() {
            return;
        }
        for (id, row) in changes {
            kept.last += 1;
            let number = kept.last;
            if kept.changes.len() == CHANGES_KEPT {
                kept.changes.pop_front();
            }
            kept.changes.push_back(Change { number, cause: cause(&id), id, row });
        }
        let last = kept.last;
        drop(kept);
        self.last.send_replace(last);
    }

    /// The changes behind a place; `None` when some of them are kept no more, or it is not of here.
    fn behind(&self, number: u64) -> Option<Vec<Change<R>>> {
        let kept = self.kept();
        let first = kept.last + 1 - kept.changes.len() as u64;
        if number > kept.last || number + 1 < first {
            return None;
        }
        Some(kept.changes.iter().filter(|change| change.number > number).cloned().collect())
    }

    /// Tells the rows unless `from` is a place of here, and then each change, until the reader
    /// goes.
    pub(super) async fn follow(&self, from: Option<String>, lines: &Lines) -> Result<(), Gone> {
        let mut last = self.last.subscribe();
        let at = |number: u64| place(&self.process, number);
        let known = |from: &String| {
            number_of(&self.process, from).filter(|number| self.behind(*number).is_some())
        };
        let mut told = match from.as_ref().map(known) {
            None => self.begin(lines).await?,
            Some(Some(number)) => {
                lines.write_at(&Line::<R>::Sync { index: at(number) }, at(number)).await?;
                number
            }
            Some(None) => self.again(lines).await?,
        };
        let mut period = interval_at(Instant::now() + PROGRESS_PERIOD, PROGRESS_PERIOD);
        loop {
            match self.behind(told) {
                None => told = self.again(lines).await?,
                Some(changes) => {
                    for Change { number, cause, id, row } in changes {
                        let index = at(number);
                        let line = match row {
                            Some(row) => Line::Put { index, cause, row: Box::new(row) },
                            None => Line::Delete { index, cause, id },
                        };
                        lines.write_at(&line, at(number)).await?;
                        told = number;
                    }
                }
            }
            tokio::select! {
                more = last.changed() => if more.is_err() { return Ok(()) },
                _ = period.tick() => {
                    lines.write_at(&Line::<R>::Progress { index: at(told) }, at(told)).await?;
                }
            }
        }
    }

    async fn again(&self, lines: &Lines) -> Result<u64, Gone> {
        let last = self.kept().last;
        lines.write(&Line::<R>::Resync { index: place(&self.process, last) }).await?;
        self.begin(lines).await
    }

    /// All rows as they are; the place that is of.
    async fn begin(&self, lines: &Lines) -> Result<u64, Gone> {
        let (rows, last) = {
            let kept = self.kept();
            (kept.rows.clone(), kept.last)
        };
        for row in rows.into_values() {
            lines.write(&Line::Item(Box::new(row))).await?;
        }
        let place = place(&self.process, last);
        lines.write_at(&Line::<R>::Sync { index: place.clone() }, place).await?;
        Ok(last)
    }
}
