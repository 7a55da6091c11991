//! What happened since a revision, for watches that begin in the past.

use super::kv::{Change, Kv};
use super::{KeyRange, KvEvent, KvEventKind, State, WatchSpec};
use crate::base::Revision;
use crate::base::mutant::{self, Mutant};
use alloc::vec::Vec;
use core::fmt;

/// Most lines of history looked at in one call, whole revisions aside: one lagging watch may hold
/// up the rest for about a millisecond.
const SCAN_MAX: usize = 10_000;

/// A piece of history.
#[derive(Clone, PartialEq, Debug)]
pub struct History {
    /// Changes in the range, oldest first, whole revisions only, each with the pair before it
    /// (unless compaction has dropped that).
    pub events: Vec<KvEvent>,
    /// Everything up to here was looked at. When it is less than the state's revision, ask again
    /// from the revision after it, also if `events` is empty.
    pub through: Revision,
}

/// History before this revision is compacted away; from it on, it can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Compacted(pub Revision);

impl fmt::Display for Compacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "history before revision {} is compacted; read anew and watch from there", self.0)
    }
}

impl core::error::Error for Compacted {}

impl State {
    /// Changes of keys in the range at `start` and later (K2). Stops at the end of the revision in
    /// which `limit` events were reached.
    pub fn events_since(
        &self,
        start: Revision,
        range: &KeyRange,
        limit: usize,
    ) -> Result<History, Compacted> {
        if start < self.kv.compacted && !mutant::is_active(Mutant::WatchSkipsCompacted) {
            return Err(Compacted(self.kv.compacted));
        }
        let late = u64::from(mutant::is_active(Mutant::WatchOffByOne));
        let start = Revision(start.0.saturating_add(late));
        let first = self.kv.history.partition_point(|change| change.revision < start);
        let mut events = Vec::new();
        let mut through = None;
        for (scanned, change) in self.kv.history.range(first..).enumerate() {
            let is_enough = events.len() >= limit || scanned >= SCAN_MAX;
            if let Some(through) = through.filter(|through| is_enough && *through < change.revision)
            {
                return Ok(History { events, through });
            }
            if range.contains(&change.key) {
                events.push(event(&self.kv, change));
            }
            through = Some(change.revision);
        }
        Ok(History { events, through: self.kv.revision })
    }
}

fn event(kv: &Kv, change: &Change) -> KvEvent {
    let history = kv.keys.get(&change.key).expect("history names keys that have versions");
    let (version, before) =
        history.changed_at(change.revision).expect("history names versions that are kept");
    // What was before the compacted revision is not to be seen, whether or not it is dropped yet.
    let before = before.filter(|_| change.revision > kv.compacted);
    version.event(&change.key, before.and_then(|before| before.pair(&change.key)))
}

impl WatchSpec {
    /// The event as this watcher wants it; `None` if it does not.
    pub fn view(&self, event: &KvEvent) -> Option<KvEvent> {
        let is_put = event.kind == KvEventKind::Put;
        let is_filtered = if is_put { self.no_put } else { self.no_delete };
        if is_filtered || !self.range.contains(&event.kv.key) {
            return None;
        }
        let prev = if self.prev_kv { event.prev.clone() } else { None };
        Some(KvEvent { kind: event.kind, kv: event.kv.clone(), prev })
    }
}
