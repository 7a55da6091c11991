//! What happened since a revision, for watches that begin in the past.

use super::kv::{Key, Kv, Stamp};
use super::{Blob, KeyRange, KeyValue, KvEvent, State};
use crate::base::Revision;
use crate::base::mutant::{self, Mutant};
use alloc::vec::Vec;
use core::fmt;
use core::ops::Bound;

/// Most lines of history looked at in one call, whole revisions aside: one lagging watch may hold
/// up the rest for about a millisecond.
const SCAN_MAX: usize = 10_000;

/// Most bytes of keys and values told in one call, whole revisions aside.
const PIECE_BYTES_MAX: usize = 1 << 20;

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
    /// which `limit` events were reached, or a mebibyte.
    pub fn events_since(
        &self,
        start: Revision,
        range: &KeyRange,
        limit: usize,
    ) -> Result<History, Compacted> {
        self.kv.events_since(start, range, limit)
    }
}

impl Kv {
    /// As [`State::events_since`].
    pub(super) fn events_since(
        &self,
        start: Revision,
        range: &KeyRange,
        limit: usize,
    ) -> Result<History, Compacted> {
        if start < self.compacted && !mutant::is_active(Mutant::WatchSkipsCompacted) {
            return Err(Compacted(self.compacted));
        }
        let late = u64::from(mutant::is_active(Mutant::WatchOffByOne));
        let start = Revision(start.0.saturating_add(late));
        let first = Stamp::before(start);
        let changes = self.history.range(Bound::Included(&first), Bound::Unbounded);
        let (mut events, mut bytes) = (Vec::new(), 0);
        let mut through = None;
        for (scanned, (at, Key(key))) in changes.enumerate() {
            let is_enough =
                events.len() >= limit || scanned >= SCAN_MAX || bytes >= PIECE_BYTES_MAX;
            if let Some(through) = through.filter(|through| is_enough && *through < at.revision) {
                return Ok(History { events, through });
            }
            if range.contains(key) {
                let event = event(self, at.revision, key);
                bytes += weight(&event.kv) + event.prev.as_ref().map_or(0, weight);
                events.push(event);
            }
            through = Some(at.revision);
        }
        Ok(History { events, through: self.revision })
    }
}

fn event(kv: &Kv, at: Revision, key: &Blob) -> KvEvent {
    let (_, history) = kv.keys.get::<[u8]>(key).expect("history names keys that have versions");
    let (version, before) = history.changed_at(at).expect("history names versions that are kept");
    // What was before the compacted revision is not to be seen, whether or not it is dropped yet.
    let before = before.filter(|_| at > kv.compacted);
    version.event(key, before.and_then(|before| before.pair(key)))
}

fn weight(kv: &KeyValue) -> usize {
    kv.key.len() + kv.value.len()
}
