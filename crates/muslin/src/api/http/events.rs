//! What happened lately: as a list, or followed.

use super::lines::{Gone, Lines};
use super::params::Params;
use crate::api::desk::Desk;
use crate::api::problem::Problem;
use crate::api::story::{self, Names};
use crate::driver::EventRecord;
use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::Request;
use jiff::Timestamp;
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::broadcast::error::RecvError;

/// One event as it is told.
#[derive(Serialize)]
struct Told {
    number: u64,
    /// RFC 3339.
    time: String,
    kind: &'static str,
    text: String,
    /// Whom it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    term: Option<u64>,
}

/// The answer of a list.
#[derive(Serialize)]
struct Events {
    items: Vec<Told>,
}

/// One line of a watch.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Line {
    /// It happened before the watch began.
    Item(Told),
    /// All that happened up to this number has been told.
    Sync { index: u64 },
    /// It happens now.
    Event(Told),
    /// The reader was too slow, and the events after this number that are not kept any more are
    /// lost to it; those that are follow.
    Resync { index: u64 },
}

pub(super) async fn list_or_watch(
    desk: Arc<Desk>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let watch = params.switch("watch")?;
    params.finish()?;
    if watch {
        let (lines, response) = Lines::new(&request);
        tokio::spawn(async move {
            tokio::select! {
                _ = follow(&desk, &lines) => {}
                () = lines.closed() => {}
                () = desk.stopping() => {}
            }
        });
        return Ok(response);
    }
    let mut names = Names::default();
    let mut items = Vec::new();
    for record in desk.handle.recent_events() {
        items.push(told(&desk, &mut names, &record).await);
    }
    Ok(Json(Events { items }).into_response())
}

async fn follow(desk: &Desk, lines: &Lines) -> Result<(), Gone> {
    let mut names = Names::default();
    let mut last = 0;
    // Followed before the past is read: what happens between the two is in both, and told once.
    let mut events = desk.handle.events();
    for record in desk.handle.recent_events() {
        last = record.number;
        lines.write(&Line::Item(told(desk, &mut names, &record).await)).await?;
    }
    lines.write(&Line::Sync { index: last }).await?;
    loop {
        let fresh = match events.recv().await {
            Ok(record) => vec![record],
            Err(RecvError::Lagged(_)) => {
                lines.write(&Line::Resync { index: last }).await?;
                desk.handle.recent_events()
            }
            Err(RecvError::Closed) => return Ok(()),
        };
        for record in
            fresh.iter().filter(|record| record.number > last).cloned().collect::<Vec<_>>()
        {
            last = record.number;
            lines.write(&Line::Event(told(desk, &mut names, &record).await)).await?;
        }
    }
}

async fn told(desk: &Desk, names: &mut Names, record: &EventRecord) -> Told {
    if !names.knows(&record.event) {
        // A node that stops keeps the names it has told.
        if let Ok(status) = desk.handle.status().await {
            names.learn(&status);
        }
    }
    let story = story::of_record(record, desk.id, names);
    Told {
        number: record.number,
        time: Timestamp::try_from(record.time).unwrap_or(Timestamp::UNIX_EPOCH).to_string(),
        kind: story.kind,
        text: story.text,
        node: story.node.map(|node| node.to_string()),
        term: story.term,
    }
}
