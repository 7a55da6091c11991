//! The nodes as they are, and then each change of one, once.
//!
//! One [`Board`] per process follows what the node reports.

use super::board::{Board, process_of, tell_problem};
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
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::sleep;

/// What happens within this time is looked at together: a node that comes is told of many times.
const GATHER: Duration = Duration::from_millis(20);

/// Made by the first who watches.
#[derive(Default)]
pub(in crate::api) struct NodeBoard {
    board: tokio::sync::OnceCell<Arc<Board<NodeRow>>>,
}

impl NodeBoard {
    async fn board(&self, desk: &Arc<Desk>) -> Result<Arc<Board<NodeRow>>, Problem> {
        let begin = || async {
            // Followed before the nodes are looked at, so that nothing falls between the two.
            let events = desk.handle.events();
            let board = Arc::new(Board::of(process_of(desk), rows(desk).await?));
            tokio::spawn(keep_up(desk.clone(), board.clone(), events));
            Ok(board)
        };
        self.board.get_or_try_init(begin).await.cloned()
    }
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
    board: Arc<Board<NodeRow>>,
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
        board.take(rows, |id| {
            let cause = causes.get(&NodeId::parse(id)).or_else(|| causes.get(&None));
            cause.or_else(|| causes.values().next()).cloned().unwrap_or_default()
        });
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
    match desk.nodes.board(desk).await {
        Ok(board) => board.follow(from, lines).await,
        Err(problem) => tell_problem(lines, problem).await,
    }
}
