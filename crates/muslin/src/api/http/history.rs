//! What became of one key, as far back as history goes.

use super::kv::{KeyField, ask, stamp, unexpected};
use super::kv_watch::{Line, change};
use super::{leases, numbers};
use crate::api::desk::Desk;
use crate::api::problem::Problem;
use crate::driver::WatchItem;
use axum::Json;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use muslin_core::base::Revision;
use muslin_core::node::{Consistency, Failure};
use muslin_core::state::{self, KeyRange, KeyValue, KvEvent, KvEventKind, Query, Range, WatchSpec};
use serde_json::json;
use std::collections::VecDeque;

/// Changes that are told when nothing is said.
const LIMIT_DEFAULT: usize = 100;

/// Most changes that are told.
const LIMIT_MAX: usize = 10_000;

/// Bytes of values told: the oldest are left out beyond.
const BYTES_MAX: usize = 8 << 20;

/// The last changes of a key.
struct Lately {
    changes: VecDeque<KvEvent>,
    bytes: usize,
    limit: usize,
    /// Older ones were left out.
    more: bool,
}

impl Lately {
    fn push(&mut self, event: KvEvent) {
        self.bytes += event.kv.value.len();
        self.changes.push_back(event);
        while self.changes.len() > self.limit || self.bytes > BYTES_MAX && self.changes.len() > 1 {
            let oldest = self.changes.pop_front().expect("there is more than one");
            self.bytes -= oldest.kv.value.len();
            self.more = true;
        }
    }
}

/// Tells the changes of a key, the last first.
pub(super) async fn answer(
    desk: &Desk,
    key: Bytes,
    limit: Option<usize>,
) -> Result<Response, Problem> {
    let limit = limit.unwrap_or(LIMIT_DEFAULT);
    if limit == 0 || limit > LIMIT_MAX {
        return Err(Problem::bad_request(format!("limit is between 1 and {LIMIT_MAX}")));
    }
    desk.metrics.kv_reads.increment(1);
    let (_, revision) = ask(desk, Query::Revision, Consistency::Linearizable).await?;
    let (lately, since) = gathered(desk, &key, limit, revision).await?;
    if lately.changes.is_empty() {
        let detail = format!("there is no history of {}", String::from_utf8_lossy(&key));
        return Err(Problem::not_found(detail).hint("`muslin kv ls` lists the keys"));
    }
    let changes: Vec<Line> = lately.changes.iter().rev().map(change).collect();
    let body = json!({
        "key": KeyField::of(&key),
        "revision": numbers::json(revision.0),
        "since": numbers::json(since.0),
        "more": lately.more,
        "changes": changes,
    });
    Ok((stamp(desk, revision, Consistency::Linearizable), Json(body)).into_response())
}

/// All changes from where history begins up to a revision, and where that is.
async fn gathered(
    desk: &Desk,
    key: &Bytes,
    limit: usize,
    to: Revision,
) -> Result<(Lately, Revision), Problem> {
    let mut since = Revision(1);
    'anew: loop {
        let mut lately = Lately { changes: VecDeque::new(), bytes: 0, limit, more: false };
        if since > Revision(1)
            && let Some(kv) = as_of(desk, key, since).await?
        {
            lately.push(KvEvent { kind: KvEventKind::Put, kv, prev: None });
        }
        let before = lately.changes.back().map_or(0, |event| event.kv.mod_revision);
        let range = KeyRange::of_key(key.clone());
        let spec = WatchSpec { range, start_revision: since.0, ..WatchSpec::default() };
        let failed = |failure| Problem::of_failure(failure, leases::is_led(desk));
        let mut watch = desk.handle.watch(spec).await.map_err(failed)?;
        watch.request_progress();
        loop {
            match watch.next().await {
                Some(WatchItem::Started { .. }) => {}
                Some(WatchItem::Events { events, .. }) => {
                    let wanted = events
                        .into_iter()
                        .filter(|event| (before + 1..=to.0).contains(&event.kv.mod_revision));
                    wanted.for_each(|event| lately.push(event));
                }
                // All that was read of was applied here when the watch began.
                Some(WatchItem::Progress { .. }) => return Ok((lately, since)),
                Some(WatchItem::Compacted { compacted }) => {
                    since = compacted;
                    continue 'anew;
                }
                Some(WatchItem::Denied { why }) => return Err(Problem::of_auth(why)),
                Some(WatchItem::Cancelled { .. }) | None => {
                    return Err(failed(Failure::Stopping));
                }
            }
        }
    }
}

/// A key as it was where history begins; `None` also when that is gone meanwhile.
async fn as_of(desk: &Desk, key: &Bytes, at: Revision) -> Result<Option<KeyValue>, Problem> {
    let range = KeyRange::of_key(key.clone());
    let range = Range { range, revision: at.0, ..Range::default() };
    match ask(desk, Query::Range(range), Consistency::Linearizable).await {
        Ok((state::Response::Range { kvs, .. }, _)) => Ok(kvs.into_iter().next()),
        Ok(_) => Err(unexpected()),
        Err(problem) if problem.code == "compacted" => Ok(None),
        Err(problem) => Err(problem),
    }
}
