//! Many keys: a page of them, or all and then each change.
//!
//! A watch tells the items, `sync`, then every change once (K2). When it cannot go on because
//! history was compacted away, it says `resync` and begins again with the items: what it told
//! before is void.
//!
//! What maps, queues and receipts are made of stands below [`HIDDEN`]: it is left out, unless
//! somebody asks for `all`, or for a prefix within it.

use super::kv::{Item, KeyField, ValueField, ask, stamp, unexpected};
use super::lines::{Following, Gone, Lines};
use super::numbers;
use super::params::Params;
use super::views::Wish;
use crate::api::desk::Desk;
use crate::api::problem::Problem;
use crate::coordination::collections::HIDDEN;
use crate::driver::WatchItem;
use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::Request;
use muslin_core::base::Revision;
use muslin_core::node::{Consistency, Failure};
use muslin_core::state::{
    self, KeyRange, KeyValue, KvEvent, KvEventKind, Query, Range, Refusal, WatchSpec,
};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, interval_at};

/// Items of a page whose size is not said.
const LIMIT_DEFAULT: u64 = 1_000;

/// Most items of a page.
const LIMIT_MAX: u64 = 10_000;

/// A page ends early once its values have this size.
const PAGE_BYTES_MAX: usize = 8 << 20;

/// A watch with nothing to tell says so this often, so that both ends notice when the other has
/// gone.
const PROGRESS_PERIOD: Duration = Duration::from_secs(10);

/// Which keys, and how they are read.
#[derive(Clone)]
struct Page {
    prefix: Bytes,
    after: Option<Bytes>,
    limit: u64,
    revision: u64,
    consistency: Consistency,
    /// What is hidden is told too.
    all: bool,
}

impl Page {
    /// Whether what is hidden would be among its keys, and is to be left out.
    fn hides(&self) -> bool {
        !self.all && self.prefix.len() < HIDDEN.len() && HIDDEN.starts_with(&self.prefix)
    }

    /// Its keys that are not hidden: those before, and those behind, of which the former are few
    /// or none. Both begin behind `after`.
    fn ranges(&self) -> (Option<KeyRange>, KeyRange) {
        let mut range = KeyRange::of_prefix(self.prefix.clone());
        if let Some(after) = self.after.as_ref().filter(|after| **after >= range.key) {
            // The first key behind `after` is `after` and a zero byte.
            range.key = [after.as_ref(), &[0]].concat().into();
        }
        if !self.hides() {
            return (None, range);
        }
        let hidden = KeyRange::of_prefix(HIDDEN);
        let before = KeyRange { key: range.key.clone(), range_end: hidden.key };
        let before = (before.key < before.range_end).then_some(before);
        range.key = range.key.max(hidden.range_end);
        (before, range)
    }
}

/// The answer of a listing.
#[derive(Serialize)]
struct Listed {
    #[serde(serialize_with = "numbers::tell")]
    revision: u64,
    #[serde(serialize_with = "numbers::tell")]
    count: u64,
    more: bool,
    items: Vec<Item>,
}

pub(super) async fn list_or_watch(
    desk: Arc<Desk>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let following = Following::of(&request, &mut params)?;
    let watch = following.is_some();
    let from = match &following {
        None => None,
        Some(Following { behind: Some(behind), .. }) => Some(behind_revision(behind)?),
        Some(_) => params.number("from")?,
    };
    let wish = Wish::of_keys(&mut params)?;
    let page = Page {
        prefix: params.bytes("prefix").unwrap_or_default(),
        after: if watch { None } else { params.bytes("after") },
        limit: if watch { None } else { params.number("limit")? }.unwrap_or(LIMIT_DEFAULT),
        revision: if watch { None } else { params.number("revision")? }.unwrap_or(0),
        consistency: wish.consistency,
        all: params.switch("all")?,
    };
    params.finish()?;
    wish.check(&desk)?;
    if page.limit == 0 || page.limit > LIMIT_MAX {
        return Err(Problem::bad_request(format!("limit is between 1 and {LIMIT_MAX}")));
    }
    if let Some(following) = following {
        let (lines, answered) = Lines::following(&desk, &request, &following);
        let following = follow(desk.clone(), page, from, lines);
        desk.gallery.spawn(following);
        return answered.response().await;
    }
    let (listed, _) = read_page(&desk, &page).await?;
    let headers = stamp(&desk, Revision(listed.revision), page.consistency);
    Ok((headers, Json(listed)).into_response())
}

/// The first revision behind a place.
fn behind_revision(place: &str) -> Result<u64, Problem> {
    let revision = place.parse::<u64>().ok().and_then(|at| at.checked_add(1));
    revision.ok_or_else(|| Problem::bad_request(format!("index is a revision, not {place}")))
}

/// One page, and the last key of it.
async fn read_page(desk: &Desk, page: &Page) -> Result<(Listed, Option<Bytes>), Problem> {
    desk.metrics.kv_reads.increment(1);
    let (before, range) = page.ranges();
    let read = async |range, revision, consistency| {
        let range = Range { range, limit: page.limit, revision, ..Range::default() };
        match ask(desk, Query::Range(range), consistency).await? {
            (state::Response::Range { kvs, more, count }, at) => Ok((kvs, more, count, at)),
            _ => Err(unexpected()),
        }
    };
    // How many there are at present costs nothing to tell, so these are asked for first.
    let (mut kvs, mut more, mut count, revision) =
        read(range, page.revision, page.consistency).await?;
    if let Some(before) = before {
        let at = if page.revision == 0 { revision.0 } else { page.revision };
        let (first, more_first, count_first, _) = read(before, at, Consistency::Local).await?;
        kvs.splice(..0, first);
        more |= more_first;
        count += count_first;
    }
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let fits = fitting(&kvs).min(limit);
    more |= fits < kvs.len();
    kvs.truncate(fits);
    let last = kvs.last().map(|kv| Bytes::from(&kv.key));
    let items = kvs.iter().map(Item::of).collect();
    Ok((Listed { revision: revision.0, count, more, items }, last))
}

/// How many of them fit a page: one at least.
fn fitting(kvs: &[KeyValue]) -> usize {
    let mut bytes = 0;
    let size = |kv: &KeyValue| kv.key.len() + kv.value.len();
    let over = kvs.iter().position(|kv| {
        bytes += size(kv);
        bytes > PAGE_BYTES_MAX
    });
    over.map_or(kvs.len(), |position| position.max(1))
}

/// One line of a watch.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Line {
    /// A pair that is there.
    Item(Item),
    /// All items of this revision have been told.
    Sync {
        #[serde(serialize_with = "numbers::tell")]
        index: u64,
    },
    /// A key was set.
    Put(Changed),
    /// A key was deleted.
    Delete(Changed),
    /// All changes up to here have been told.
    Progress {
        #[serde(serialize_with = "numbers::tell")]
        index: u64,
    },
    /// History from here back is gone: everything follows anew.
    Resync {
        #[serde(serialize_with = "numbers::tell")]
        index: u64,
    },
    /// The watch cannot go on.
    Error { problem: Problem },
}

#[derive(Serialize)]
pub(super) struct Changed {
    #[serde(flatten)]
    key: KeyField,
    #[serde(flatten)]
    value: Option<ValueField>,
    #[serde(serialize_with = "numbers::tell")]
    revision: u64,
    #[serde(skip_serializing_if = "is_zero", serialize_with = "numbers::tell")]
    create_revision: u64,
    #[serde(skip_serializing_if = "is_zero", serialize_with = "numbers::tell")]
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<String>,
    /// `client`, or `expired`: a lease ran out.
    cause: &'static str,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Why following ended.
enum End {
    Gone,
    /// History is gone up to here.
    Compacted(Revision),
    Failed(Problem),
}

impl From<Gone> for End {
    fn from(_: Gone) -> End {
        End::Gone
    }
}

impl From<Problem> for End {
    fn from(problem: Problem) -> End {
        End::Failed(problem)
    }
}

async fn follow(desk: Arc<Desk>, page: Page, mut from: Option<u64>, lines: Lines) {
    loop {
        let end = tokio::select! {
            end = tell(&desk, &page, from, &lines) => end,
            () = lines.closed() => return,
            () = desk.stopping() => return,
        };
        let (line, goes_on) = match end {
            End::Gone => return,
            End::Compacted(revision) => (Line::Resync { index: revision.0 }, true),
            End::Failed(problem) => (Line::Error { problem }, false),
        };
        if lines.write(&line).await.is_err() || !goes_on {
            return;
        }
        from = None;
    }
}

/// Tells the items unless `from` is given, then all changes.
async fn tell(desk: &Desk, page: &Page, from: Option<u64>, lines: &Lines) -> End {
    match try_tell(desk, page, from, lines).await {
        Ok(never) => match never {},
        Err(end) => end,
    }
}

async fn try_tell(
    desk: &Desk,
    page: &Page,
    from: Option<u64>,
    lines: &Lines,
) -> Result<std::convert::Infallible, End> {
    let start = match from {
        Some(from) => from.max(1),
        None => tell_items(desk, page, lines).await?.0 + 1,
    };
    let spec = WatchSpec {
        range: KeyRange::of_prefix(page.prefix.clone()),
        start_revision: start,
        ..WatchSpec::default()
    };
    let stopping = |failure| End::Failed(Problem::of_failure(failure, true));
    let mut watch = desk.handle.watch(spec).await.map_err(stopping)?;
    let mut period = interval_at(Instant::now() + PROGRESS_PERIOD, PROGRESS_PERIOD);
    loop {
        tokio::select! {
            Some(item) = watch.next() => tell_item(item, (page.hides(), from), lines).await?,
            _ = period.tick() => watch.request_progress(),
        }
    }
}

/// All items as of one revision, page by page, then `sync`.
async fn tell_items(desk: &Desk, page: &Page, lines: &Lines) -> Result<Revision, End> {
    let mut page = page.clone();
    loop {
        let (listed, last) = match read_page(desk, &page).await {
            // Compacted while it was read.
            Err(problem) if problem.code == "compacted" => {
                return Err(End::Compacted(Revision(page.revision)));
            }
            other => other?,
        };
        if page.revision == 0 {
            page.revision = listed.revision;
        }
        let more = listed.more;
        // They stand in memory until they are told.
        let mut charge = lines.charge(listed.items.iter().map(Item::bytes).sum());
        for item in listed.items {
            let bytes = item.bytes();
            lines.write(&Line::Item(item)).await?;
            // The reader takes lines: the time of the rest begins anew.
            drop(charge.as_mut().map(|charge| charge.part(bytes)));
        }
        if !more {
            lines.write_at(&Line::Sync { index: page.revision }, page.revision).await?;
            return Ok(Revision(page.revision));
        }
        page.after = last;
    }
}

async fn tell_item(
    item: WatchItem,
    (hides, from): (bool, Option<u64>),
    lines: &Lines,
) -> Result<(), End> {
    match item {
        WatchItem::Started { revision, .. } => {
            // Without `from`, the items are told and synchronized already.
            if let Some(from) = from {
                let index = revision.0.min(from.saturating_sub(1));
                lines.write_at(&Line::Sync { index }, index).await?;
            }
        }
        WatchItem::Events { events, .. } => {
            // They stand in memory until they are told: as many as are read at once.
            let mut charge = lines.charge(events.iter().map(held).sum());
            let is_told = |event: &KvEvent| !hides || !event.kv.key.starts_with(HIDDEN);
            let mut events = events.into_iter().filter(is_told).peekable();
            while let Some(event) = events.next() {
                // A revision is a place once all of it has been told.
                let at = event.kv.mod_revision;
                let goes_on = events.peek().is_some_and(|next| next.kv.mod_revision == at);
                match goes_on {
                    true => lines.write(&change(&event)).await?,
                    false => lines.write_at(&change(&event), at).await?,
                }
                // The reader takes lines: the time of the rest begins anew.
                drop(charge.as_mut().map(|charge| charge.part(held(&event))));
            }
        }
        WatchItem::Progress { revision } => {
            lines.write_at(&Line::Progress { index: revision.0 }, revision.0).await?;
        }
        WatchItem::Compacted { compacted } => return Err(End::Compacted(compacted)),
        WatchItem::Denied { why } => return Err(Problem::of_refusal(&Refusal::Auth(why)).into()),
        WatchItem::Cancelled { .. } => {
            return Err(Problem::of_failure(Failure::Stopping, true).into());
        }
    }
    Ok(())
}

/// What an event takes in memory, about.
fn held(event: &KvEvent) -> usize {
    let bytes = |kv: &KeyValue| kv.key.len() + kv.value.len();
    size_of::<KvEvent>() + bytes(&event.kv) + event.prev.as_ref().map_or(0, bytes)
}

pub(super) fn change(event: &KvEvent) -> Line {
    let Item { key, value, create_revision, mod_revision, version, lease } = Item::of(&event.kv);
    let cause = if event.kind == KvEventKind::Expired { "expired" } else { "client" };
    let is_put = event.kind == KvEventKind::Put;
    let value = is_put.then_some(value);
    let changed =
        Changed { key, value, revision: mod_revision, create_revision, version, lease, cause };
    if is_put { Line::Put(changed) } else { Line::Delete(changed) }
}
