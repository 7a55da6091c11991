//! The nodes as they are, and then each change of one, once.
//!
//! One [`Board`] per process follows what the node reports, compares the rows with those before and
//! keeps the last changes; every watch is a place in that list, so that a reader who is slow costs
//! nobody anything. A place names the process: one of another node, or of before a restart, cannot
//! be gone on from, and neither can one that fell out of the list. Then the watch says `resync` and
//! begins with the nodes as they are.

use super::lines::{Answered, Following, Gone, Lines};
use super::params::Params;
use super::views::known;
use crate::api::desk::Desk;
use crate::api::problem::Problem;
use crate::api::status::{NodeRow, node_rows};
use crate::api::story::{self, Names};
use crate::driver::EventRecord;
use axum::body::Body;
use hyper::Request;
use muslin_core::base::NodeId;
use muslin_core::node::Event;
use muslin_core::raft;
use muslin_core::swim;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::{Instant, interval_at, sleep};

/// Changes kept: what a cluster of a thousand nodes brings in some restarts.
const CHANGES_KEPT: usize = 4_096;

/// What happens within this time is looked at together: a node that comes is told of many times.
const GATHER: Duration = Duration::from_millis(20);

/// A watch with nothing to tell says so this often.
const PROGRESS_PERIOD: Duration = Duration::from_secs(10);

/// A change of one node.
#[derive(Clone)]
struct Change {
    number: u64,
    cause: String,
    id: String,
    /// As it is then; `None` when it is gone.
    row: Option<NodeRow>,
}

/// The nodes, and how they came to be so.
struct Board {
    process: String,
    kept: Mutex<Kept>,
    /// The number of the last change.
    last: watch::Sender<u64>,
}

#[derive(Default)]
struct Kept {
    rows: BTreeMap<String, NodeRow>,
    changes: VecDeque<Change>,
    last: u64,
}

/// Made by the first who watches.
#[derive(Default)]
pub(in crate::api) struct NodeBoard {
    board: tokio::sync::OnceCell<Arc<Board>>,
}

impl NodeBoard {
    async fn board(&self, desk: &Arc<Desk>) -> Result<Arc<Board>, Problem> {
        let begin = || async {
            // Followed before the nodes are looked at, so that nothing falls between the two.
            let events = desk.handle.events();
            let rows = rows(desk).await?;
            let kept = Kept { rows, ..Kept::default() };
            let board = Arc::new(Board {
                process: process_of(desk),
                kept: Mutex::new(kept),
                last: watch::Sender::new(0),
            });
            tokio::spawn(keep_up(desk.clone(), board.clone(), events));
            Ok(board)
        };
        self.board.get_or_try_init(begin).await.cloned()
    }
}

/// Names this process of this node: places count within it.
pub(super) fn process_of(desk: &Desk) -> String {
    format!("{}-{:x}", desk.id, desk.began)
}

/// A place in what a process tells.
pub(super) fn place(process: &str, number: u64) -> String {
    format!("{process}-{number}")
}

/// The number of a place, if it is of this process.
pub(super) fn number_of(process: &str, place: &str) -> Option<u64> {
    place.strip_prefix(process)?.strip_prefix('-')?.parse().ok()
}

/// What changes all the time, and is no change of the node.
fn steady(row: NodeRow) -> NodeRow {
    NodeRow { heard_ms: None, since_ms: None, matched: None, fed_by: None, load: None, ..row }
}

async fn rows(desk: &Desk) -> Result<BTreeMap<String, NodeRow>, Problem> {
    let rows = node_rows(&known(desk).await?);
    Ok(rows.into_iter().map(|row| (row.id.clone(), steady(row))).collect())
}

/// Follows the node until it stops.
async fn keep_up(
    desk: Arc<Desk>,
    board: Arc<Board>,
    mut events: tokio::sync::broadcast::Receiver<Arc<EventRecord>>,
) {
    loop {
        let first = tokio::select! {
            event = events.recv() => event,
            () = desk.stopping() => return,
        };
        let mut causes = BTreeMap::new();
        let mut names = Names::default();
        if let Ok(status) = desk.handle.status().await {
            names.learn(&status);
        }
        match first {
            Ok(record) if is_about_nodes(&record.event) => {
                note(&desk, &names, &record, &mut causes)
            }
            Ok(_) => continue,
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
        sleep(GATHER).await;
        while let Ok(record) = events.try_recv() {
            note(&desk, &names, &record, &mut causes);
        }
        let Ok(rows) = rows(&desk).await else { return };
        board.take(rows, &causes);
    }
}

/// Whether a row may differ after it.
fn is_about_nodes(event: &Event) -> bool {
    match event {
        Event::Members { .. } => true,
        Event::Swim(event) => {
            !matches!(event, swim::Event::ObservedAddress { .. } | swim::Event::Dropped { .. })
        }
        Event::Raft { event, .. } => matches!(
            event,
            raft::Event::RoleChanged { .. } | raft::Event::ConfigurationChanged { .. }
        ),
        _ => false,
    }
}

fn note(
    desk: &Desk,
    names: &Names,
    record: &EventRecord,
    causes: &mut BTreeMap<Option<NodeId>, String>,
) {
    if is_about_nodes(&record.event) {
        let story = story::of_record(record, desk.id, names);
        causes.insert(story.node, story.text);
    }
}

impl Board {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("no holder of this lock panics")
    }

    /// What differs becomes a change.
    fn take(&self, rows: BTreeMap<String, NodeRow>, causes: &BTreeMap<Option<NodeId>, String>) {
        let mut kept = self.kept();
        let before = std::mem::replace(&mut kept.rows, rows.clone());
        let mut changes: Vec<(String, Option<NodeRow>)> = Vec::new();
        for (id, row) in &rows {
            if before.get(id) != Some(row) {
                changes.push((id.clone(), Some(row.clone())));
            }
        }
        let gone = before.keys().filter(|id| !rows.contains_key(*id));
        changes.extend(gone.map(|id| (id.clone(), None)));
        for (id, row) in changes {
            let cause = causes.get(&NodeId::parse(&id)).or_else(|| causes.get(&None));
            let cause = cause.or_else(|| causes.values().next()).cloned().unwrap_or_default();
            kept.last += 1;
            let number = kept.last;
            if kept.changes.len() == CHANGES_KEPT {
                kept.changes.pop_front();
            }
            kept.changes.push_back(Change { number, cause, id, row });
        }
        let last = kept.last;
        drop(kept);
        self.last.send_replace(last);
    }

    /// The changes behind a place; `None` when some of them are kept no more, or it is not of here.
    fn behind(&self, number: u64) -> Option<Vec<Change>> {
        let kept = self.kept();
        let first = kept.last + 1 - kept.changes.len() as u64;
        if number > kept.last || number + 1 < first {
            return None;
        }
        Some(kept.changes.iter().filter(|change| change.number > number).cloned().collect())
    }
}

/// One line of a watch.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Line {
    /// A node that is there.
    Item(Box<NodeRow>),
    /// All nodes of this place have been told.
    Sync { index: String },
    /// A node is new, or another.
    Put {
        index: String,
        cause: String,
        #[serde(flatten)]
        row: Box<NodeRow>,
    },
    /// A node is gone.
    Delete { index: String, cause: String, id: String },
    /// All changes up to here have been told.
    Progress { index: String },
    /// The watch cannot go on from where it was: everything follows anew.
    Resync { index: String },
    /// The watch cannot go on.
    Error { problem: Problem },
}

/// Answers whoever follows.
pub(super) fn answer(
    desk: Arc<Desk>,
    request: &Request<Body>,
    (following, mut params): (Following, Params),
) -> Result<Answered, Problem> {
    let from = params.text("from")?.or_else(|| following.behind.clone());
    params.finish()?;
    let (lines, answered) = Lines::following(&desk, request, &following);
    tokio::spawn(async move {
        tokio::select! {
            _ = follow(&desk, from, &lines) => {}
            () = lines.closed() => {}
            () = desk.stopping() => {}
        }
    });
    Ok(answered)
}

async fn follow(desk: &Arc<Desk>, from: Option<String>, lines: &Lines) -> Result<(), Gone> {
    let board = match desk.nodes.board(desk).await {
        Ok(board) => board,
        Err(problem) => return lines.write(&Line::Error { problem }).await,
    };
    let mut last = board.last.subscribe();
    let process = board.process.clone();
    let at = |number: u64| place(&process, number);
    let mut told = match &from {
        None => begin(&board, lines).await?,
        Some(from) => match number_of(&process, from).filter(|n| board.behind(*n).is_some()) {
            Some(number) => {
                lines.write_at(&Line::Sync { index: at(number) }, at(number)).await?;
                number
            }
            None => again(&board, lines).await?,
        },
    };
    let mut period = interval_at(Instant::now() + PROGRESS_PERIOD, PROGRESS_PERIOD);
    loop {
        match board.behind(told) {
            None => told = again(&board, lines).await?,
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
                lines.write_at(&Line::Progress { index: at(told) }, at(told)).await?;
            }
        }
    }
}

async fn again(board: &Board, lines: &Lines) -> Result<u64, Gone> {
    let last = board.kept().last;
    lines.write(&Line::Resync { index: place(&board.process, last) }).await?;
    begin(board, lines).await
}

/// All nodes as they are; the place that is of.
async fn begin(board: &Board, lines: &Lines) -> Result<u64, Gone> {
    let (rows, last) = {
        let kept = board.kept();
        (kept.rows.clone(), kept.last)
    };
    for row in rows.into_values() {
        lines.write(&Line::Item(Box::new(row))).await?;
    }
    let place = place(&board.process, last);
    lines.write_at(&Line::Sync { index: place.clone() }, place).await?;
    Ok(last)
}
