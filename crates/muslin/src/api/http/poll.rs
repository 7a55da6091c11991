//! Following by polling: one document, when there is something to tell or the time is up.
//!
//! Without `index` it is the items, at once. With it, it is the changes behind it: as many as come
//! together. In both the document says the `index` to poll with next; `resync` says that what was
//! behind the index is gone, and that the items are there instead.

use super::lines::{Told, kind};
use super::numbers;
use crate::api::problem::Problem;
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// Once there is something to tell, what comes within this time is told too.
const GATHER: Duration = Duration::from_millis(10);

/// A document ends once its lines have this size; items must all fit.
const DOCUMENT_BYTES_MAX: usize = 8 << 20;

/// Lines that are to become a document.
pub(super) struct Polled {
    pub(super) waiting: mpsc::Receiver<Told>,
    pub(super) wait: Duration,
    /// The reader has polled before.
    pub(super) is_from: bool,
}

/// What has come.
#[derive(Default)]
struct Document {
    items: Vec<Told>,
    changes: Vec<Told>,
    bytes: usize,
    index: Option<String>,
    /// All items, or none, are there.
    is_synced: bool,
    resync: bool,
    /// A line that says why it cannot go on.
    error: Option<Vec<u8>>,
}

impl Document {
    fn take(&mut self, told: Told) {
        self.bytes += told.json.len();
        if told.place.is_some() {
            self.index.clone_from(&told.place);
        }
        match kind(&told.json) {
            Some(b"item") => self.items.push(told),
            Some(b"sync") => self.is_synced = true,
            Some(b"progress") => {}
            Some(b"resync") => {
                *self = Document { index: self.index.take(), resync: true, ..Document::default() };
            }
            Some(b"error") => self.error = Some(told.json),
            _ => self.changes.push(told),
        }
    }

    fn text(self) -> Vec<u8> {
        let list = |lines: &[Told]| {
            let lines: Vec<&[u8]> = lines.iter().map(|told| &told.json[..]).collect();
            [b"[", &lines.join(&b","[..])[..], b"]"].concat()
        };
        let index = self.index.as_deref().unwrap_or_default();
        let index = numbers::index(index);
        let head = format!("{{\"index\":{index},\"resync\":{},\"items\":", self.resync);
        let (items, changes) = (list(&self.items), list(&self.changes));
        [head.as_bytes(), &items, b",\"changes\":", &changes, b"}"].concat()
    }
}

pub(super) async fn answer(polled: Polled) -> Result<Response, Problem> {
    let Polled { mut waiting, wait, is_from } = polled;
    let mut document = Document::default();
    // Whoever asks for the items has them, however long that takes.
    let is_waiting =
        |document: &Document| is_from && !document.resync && document.changes.is_empty();
    let end = Instant::now() + wait;
    loop {
        let until = match is_waiting(&document) {
            true => end,
            false => Instant::now() + if document.is_synced { GATHER } else { wait.max(GATHER) },
        };
        match timeout_at(until, waiting.recv()).await {
            Ok(Some(told)) => document.take(told),
            Ok(None) | Err(_) => break,
        }
        let has_items = (!is_from || document.resync) && document.is_synced;
        if document.error.is_some() || has_items || document.bytes > DOCUMENT_BYTES_MAX {
            break;
        }
    }
    if let Some(line) = &document.error {
        return Err(told_problem(line));
    }
    if !document.is_synced && (!is_from || document.resync) {
        let detail = "the items are too many, or too slow to come, for one document";
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-items", detail);
        return Err(problem.hint("list them in pages, and poll behind the index of the first page"));
    }
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
    Ok((headers, document.text()).into_response())
}

/// The problem in a line of a watch.
fn told_problem(line: &[u8]) -> Problem {
    let line: serde_json::Value = serde_json::from_slice(line).unwrap_or_default();
    let detail = line["problem"]["detail"].as_str().unwrap_or("it cannot be followed");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-followed", detail.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(json: &str, place: Option<&str>) -> Told {
        Told { json: json.into(), place: place.map(String::from), charge: None }
    }

    async fn document(lines: Vec<Told>, is_from: bool) -> serde_json::Value {
        let (sender, waiting) = mpsc::channel(16);
        for line in lines {
            sender.send(line).await.ok().unwrap();
        }
        let wait = Duration::from_millis(50);
        let response = answer(Polled { waiting, wait, is_from }).await.ok().unwrap();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    #[tokio::test]
    async fn items_come_with_the_index_to_poll_behind() {
        let lines = vec![
            told("{\"type\":\"item\",\"key\":\"a\"}", None),
            told("{\"type\":\"sync\"}", Some("7")),
            told("{\"type\":\"put\"}", Some("8")),
        ];
        let told = document(lines, false).await;
        assert_eq!((&told["index"], told["items"].as_array().unwrap().len()), (&7.into(), 1));
        assert_eq!(told["changes"].as_array().unwrap().len(), 0);
    }

    #[tokio::test]
    async fn changes_come_as_they_are_and_an_index_though_nothing_happens() {
        let lines = vec![
            told("{\"type\":\"sync\"}", Some("7")),
            told("{\"type\":\"put\"}", None),
            told("{\"type\":\"put\"}", Some("8")),
        ];
        let changed = document(lines, true).await;
        assert_eq!(
            (&changed["index"], changed["changes"].as_array().unwrap().len()),
            (&8.into(), 2)
        );
        let idle = document(vec![told("{\"type\":\"sync\"}", Some("n1-7"))], true).await;
        assert_eq!((&idle["index"], &idle["resync"]), (&"n1-7".into(), &false.into()));
    }

    #[tokio::test]
    async fn what_is_gone_is_made_good_by_items() {
        let lines = vec![
            told("{\"type\":\"resync\"}", Some("9")),
            told("{\"type\":\"item\"}", None),
            told("{\"type\":\"sync\"}", Some("9")),
        ];
        let told = document(lines, true).await;
        assert_eq!((&told["resync"], told["items"].as_array().unwrap().len()), (&true.into(), 1));
    }
}
