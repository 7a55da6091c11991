//! What happened lately: as a list, or followed.

use super::board::{number_of, place, process_of};
use super::lines::{Following, Gone, Lines};
use super::params::Params;
use super::views::{known, named};
use crate::api::desk::Desk;
use crate::api::problem::Problem;
use crate::api::story::{self, Names};
use crate::driver::EventRecord;
use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::Request;
use jiff::Timestamp;
use muslin_core::base::NodeId;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, interval_at};

/// A watch with nothing to tell says so this often.
const PROGRESS_PERIOD: Duration = Duration::from_secs(10);

/// One event as it is told.
#[derive(Serialize)]
struct Told {
    number: u64,
    /// Its place: a watch goes on behind it with `from`.
    index: String,
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
    /// All that happened up to this place has been told.
    Sync { index: String },
    /// It happens now.
    Event(Told),
    /// Nothing more happened up to this place.
    Progress { index: String },
    /// Events before those that follow are lost to the reader: it was too slow, or its place is of
    /// another process, or too long ago.
    Resync { index: String },
}

pub(super) async fn list_or_watch(
    desk: Arc<Desk>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let following = Following::of(&request, &mut params)?;
    let from = match &following {
        None => None,
        Some(following) => params.text("from")?.or_else(|| following.behind.clone()),
    };
    let about = params.text("node")?;
    params.finish()?;
    let about = match about {
        None => None,
        Some(asked) => NodeId::parse(&named(&known(&desk).await?, &asked)?.id),
    };
    if let Some(following) = following {
        let (lines, answered) = Lines::following(&desk, &request, &following);
        tokio::spawn(async move {
            let mut teller = Teller { desk: &desk, lines: &lines, about, last: 0, names: None };
            tokio::select! {
                _ = teller.follow(from) => {}
                () = lines.closed() => {}
                () = desk.stopping() => {}
            }
        });
        return answered.response().await;
    }
    let mut names = Names::default();
    let mut items = Vec::new();
    for record in desk.handle.recent_events() {
        let (node, told) = told(&desk, &mut names, &record).await;
        if about.is_none() || node == about {
            items.push(told);
        }
    }
    Ok(Json(Events { items }).into_response())
}

/// Tells one reader.
struct Teller<'a> {
    desk: &'a Desk,
    lines: &'a Lines,
    about: Option<NodeId>,
    /// The number of the last event that was passed.
    last: u64,
    names: Option<Names>,
}

impl Teller<'_> {
    async fn follow(&mut self, from: Option<String>) -> Result<(), Gone> {
        // Followed before the past is read: what happens between the two is in both, and told once.
        let mut events = self.desk.handle.events();
        let past = self.desk.handle.recent_events();
        let first = past.first().map_or(1, |record| record.number);
        let process = process_of(self.desk);
        let last = past.last().map_or(0, |record| record.number);
        let is_kept = |at: &u64| *at <= last && *at + 1 >= first;
        let known = |place: &String| number_of(&process, place).filter(is_kept);
        let from = match from.as_ref().map(known) {
            Some(Some(number)) => Some(number),
            Some(None) => {
                self.resync().await?;
                None
            }
            None => None,
        };
        if let Some(number) = from {
            self.last = number;
            self.lines.write_at(&Line::Sync { index: self.place() }, self.place()).await?;
        }
        for record in past {
            let line = if from.is_some() { Line::Event } else { Line::Item };
            self.tell(&record, line).await?;
        }
        if from.is_none() {
            self.lines.write_at(&Line::Sync { index: self.place() }, self.place()).await?;
        }
        let mut period = interval_at(Instant::now() + PROGRESS_PERIOD, PROGRESS_PERIOD);
        loop {
            let fresh = tokio::select! {
                event = events.recv() => match event {
                    Ok(record) => vec![record],
                    Err(RecvError::Lagged(_)) => {
                        self.resync().await?;
                        self.desk.handle.recent_events()
                    }
                    Err(RecvError::Closed) => return Ok(()),
                },
                _ = period.tick() => {
                    let place = self.place();
                    self.lines.write_at(&Line::Progress { index: place.clone() }, place).await?;
                    Vec::new()
                }
            };
            for record in &fresh {
                self.tell(record, Line::Event).await?;
            }
        }
    }

    fn place(&self) -> String {
        place(&process_of(self.desk), self.last)
    }

    async fn resync(&mut self) -> Result<(), Gone> {
        self.lines.write(&Line::Resync { index: self.place() }).await
    }

    /// Tells it unless it was told before, or is about others than asked for.
    async fn tell(&mut self, record: &EventRecord, line: fn(Told) -> Line) -> Result<(), Gone> {
        if record.number <= self.last {
            return Ok(());
        }
        let (node, told) = told(self.desk, self.names.get_or_insert_default(), record).await;
        self.last = record.number;
        match self.about.is_none() || node == self.about {
            true => self.lines.write_at(&line(told), self.place()).await,
            false => Ok(()),
        }
    }
}

async fn told(desk: &Desk, names: &mut Names, record: &EventRecord) -> (Option<NodeId>, Told) {
    if !names.knows(&record.event) {
        // A node that stops keeps the names it has told.
        if let Ok(status) = desk.handle.status().await {
            names.learn(&status);
        }
    }
    let story = story::of_record(record, desk.id, names);
    let told = Told {
        number: record.number,
        index: place(&process_of(desk), record.number),
        time: Timestamp::try_from(record.time).unwrap_or(Timestamp::UNIX_EPOCH).to_string(),
        kind: story.kind,
        text: story.text,
        node: story.node.map(|node| node.to_string()),
        term: story.term,
    };
    (story.node, told)
}
