//! Reading the log back, and telling a torn tail from damage.

use super::super::{RecoveredGroup, StoreError};
use super::beside::Beside;
use super::disk;
use super::log::{Group, Home, Live, Log, Parts};
use super::record::{self, Content, GroupState, Place};
use super::segment::{self, HEADER_BYTES, Segment, damaged};
use super::snapshot::{self, Effect, Saved};
use muslin_core::base::{GroupId, Index};
use muslin_core::raft::{Entry, Recovered, SnapshotMeta};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The log, ready for writes, and what the groups find in it.
type Recovery = (Log, BTreeMap<GroupId, RecoveredGroup>);

/// Reads everything; on success the log is ready for writes and all that was found is durable.
pub(super) fn recover(home: &Home, beside: &Arc<Beside>) -> Result<Recovery, StoreError> {
    let snapshots = snapshot::load_all(&home.snapshots, home.owner)?;
    disk::sync_dir(&home.snapshots)?;
    let numbers = listed(home)?;
    let mut replay = Replay::new(snapshots);
    let (mut live, mut torn) = (None, 0);
    for (at, number) in numbers.iter().enumerate() {
        let segment = Segment::open(&home.log, *number, home.owner)?;
        let end = replay.segment(&segment, at == 0)?;
        let next = numbers.get(at + 1);
        match end.stop {
            Stop::Closed if next.is_some() => {
                // The closing seal may be known to the page cache alone. The next segment is used
                // on the strength of it.
                disk::sync(&segment.file, &segment.path)?;
                continue;
            }
            Stop::Closed => return Err(missing(home, number + 1)),
            Stop::Open { .. } => {}
        }
        let follower = next.map(|next| unused(home, *next, &segment, &end)).transpose()?;
        torn = cut(&segment, &end)?;
        if let Some(follower) = follower {
            // Should its name come back, it is found unused again.
            disk::remove(&follower.path)?;
        }
        live = Some(end.into_live(segment));
        // If there was a next one it was empty, and thus the last.
        break;
    }
    let live = live.expect("there is a segment, and only the last one can be open");
    let first = numbers[0];
    if first > replay.oldest {
        return Err(missing(home, replay.oldest));
    }
    replay.finish(home, beside, live, torn)
}

/// The segments that are there: at least one, without a gap.
fn listed(home: &Home) -> Result<Vec<u64>, StoreError> {
    let numbers = segment::list(&home.log)?;
    let first = *numbers.first().ok_or_else(|| missing(home, 1))?;
    for (expected, number) in (first..).zip(&numbers) {
        if *number != expected {
            return Err(missing(home, expected));
        }
    }
    Ok(numbers)
}

fn missing(home: &Home, number: u64) -> StoreError {
    damaged(&segment::path(&home.log, number), 0, "this segment of the log is missing")
}

/// How far a segment could be followed.
struct End {
    stop: Stop,
    /// Behind the last whole write or seal.
    offset: u64,
    /// Checksum of the record before `offset`.
    chain: u32,
}

enum Stop {
    /// By a closing seal: the log goes on in the next segment.
    Closed,
    /// Here no record could be read. `why` is `None` where nothing but zeros follow.
    Open { at: u64, why: Option<&'static str> },
}

impl End {
    fn into_live(self, segment: Segment) -> Live {
        Live {
            path: segment.path,
            file: segment.file,
            number: segment.header.number,
            size: segment.header.size,
            end: self.offset,
            chain: self.chain,
        }
    }
}

/// A segment that ends without a closing seal may be followed by one that was made just before the
/// crash, and never used: the log does not go on there. Anything else behind it means damage.
fn unused(home: &Home, next: u64, segment: &Segment, end: &End) -> Result<Segment, StoreError> {
    let follower = Segment::open(&home.log, next, home.owner)?;
    let is_last = !segment::path(&home.log, next + 1).exists();
    if is_last && follower.is_unused() {
        return Ok(follower);
    }
    let why = match end.stop {
        Stop::Open { why: Some(why), .. } => why,
        Stop::Open { why: None, .. } | Stop::Closed => "it ends before its closing seal",
    };
    Err(damaged(&segment.path, end.offset, why))
}

/// Clears what stands behind the last whole write, unless it was acknowledged. Returns its length.
fn cut(segment: &Segment, end: &End) -> Result<u64, StoreError> {
    let Stop::Open { at, why } = end.stop else { return Ok(0) };
    let place = Place { segment: segment.header.number, offset: at };
    if let Some(why) = why
        && record::has_seal_behind(&segment.bytes, place)
    {
        return Err(damaged(&segment.path, at, format!("{why}, and later ones are there")));
    }
    let size = segment.header.size;
    let is_short = (segment.bytes.len() as u64) < size;
    // Files get their full length before use. A short one lost its end; only a visible end of the
    // records shows that nothing was in it.
    if is_short && (why.is_some() || at + 4 > segment.bytes.len() as u64) {
        let there = segment.bytes.len() as u64;
        return Err(damaged(&segment.path, there, format!("it is cut short, of {size} bytes")));
    }
    let used_end = segment.used_end(end.offset as usize) as u64;
    clear(segment, end.offset, used_end)?;
    Ok(used_end - end.offset + segment.beyond)
}

/// Gives the file its length, with zeros from the end of the log on, durably.
fn clear(segment: &Segment, from: u64, used_end: u64) -> Result<(), StoreError> {
    let Segment { file, path, .. } = segment;
    let (size, there) = (segment.header.size, segment.bytes.len() as u64);
    if there != size || segment.beyond > 0 {
        disk::set_length(file, path, size)?;
    }
    disk::fill(file, path, from, used_end)?;
    disk::fill(file, path, there, size)?;
    disk::sync(file, path)
}

/// A group as far as it was read.
#[derive(Default)]
struct Found {
    state: GroupState,
    state_segment: u64,
    entries: Vec<Entry>,
}

struct Replay {
    snapshots: BTreeMap<GroupId, Saved>,
    groups: BTreeMap<GroupId, Found>,
    segments: BTreeMap<u64, BTreeMap<GroupId, Index>>,
    /// Closed segments, and the checksum of the closing seal of each.
    closed: BTreeMap<u64, u32>,
    oldest: u64,
    chain: u32,
}

impl Replay {
    fn new(snapshots: BTreeMap<GroupId, Saved>) -> Replay {
        let groups = snapshots.keys().map(|group| (*group, Found::default())).collect();
        let (segments, closed) = (BTreeMap::new(), BTreeMap::new());
        Replay { snapshots, groups, segments, closed, oldest: 0, chain: 0 }
    }

    /// Follows the records of one segment.
    fn segment(&mut self, segment: &Segment, is_first: bool) -> Result<End, StoreError> {
        let header = segment.header;
        if !is_first && header.seed != self.chain {
            let what = "it does not follow the segment before it";
            return Err(damaged(&segment.path, 64, what));
        }
        self.oldest = self.oldest.max(header.oldest);
        self.segments.insert(header.number, BTreeMap::new());
        let mut at = Place { segment: header.number, offset: HEADER_BYTES as u64 };
        let mut end = End { stop: Stop::Closed, offset: at.offset, chain: header.seed };
        let mut chain = header.seed;
        // Records of a write whose last one was not yet seen.
        let mut pending = Vec::new();
        loop {
            let record = match record::read(&segment.bytes, at) {
                Ok(record) if record.previous == chain => record,
                Ok(_) => return Ok(end.opened(segment, at, "a record follows the wrong one")),
                Err(why) => return Ok(end.opened(segment, at, why)),
            };
            let closes = matches!(record.content, Content::Seal { closing: true, .. });
            pending.push((at, record.content));
            at.offset += record.length;
            chain = record.crc;
            if record.is_last {
                for (place, content) in pending.drain(..) {
                    self.apply(segment, place, content)?;
                }
                end = End { stop: Stop::Closed, offset: at.offset, chain };
            }
            if closes {
                self.closed.insert(header.number, chain);
                self.chain = chain;
                return Ok(end);
            }
        }
    }

    fn apply(
        &mut self,
        segment: &Segment,
        place: Place,
        content: Content,
    ) -> Result<(), StoreError> {
        match content {
            Content::Seal { oldest, .. } => self.oldest = self.oldest.max(oldest),
            Content::State { group, state } => {
                let found = self.groups.entry(group).or_default();
                found.state = state;
                found.state_segment = place.segment;
            }
            Content::Entry { group, entry } => {
                let void_before = self.snapshots.get(&group).map(|saved| saved.effect.void_before);
                if void_before.is_some_and(|void_before| place < void_before) {
                    return Ok(());
                }
                let highest = self.segments.entry(place.segment).or_default();
                let highest = highest.entry(group).or_default();
                *highest = entry.id.index.max(*highest);
                let entries = &mut self.groups.entry(group).or_default().entries;
                if !put(entries, entry) {
                    let what = format!("entries of {group} are missing before it");
                    return Err(damaged(&segment.path, place.offset, what));
                }
            }
        }
        Ok(())
    }

    /// Checks that each group is whole, and makes the log ready.
    fn finish(
        mut self,
        home: &Home,
        beside: &Arc<Beside>,
        live: Live,
        torn: u64,
    ) -> Result<Recovery, StoreError> {
        let published = self.snapshots.iter();
        let published = published
            .map(|(id, saved)| (*id, (saved.snapshot.meta.last.index, saved.effect)))
            .collect();
        let mut groups = BTreeMap::new();
        let mut recovered = BTreeMap::new();
        let mut torn = Some(torn);
        for (id, found) in self.groups {
            let saved = self.snapshots.remove(&id);
            let end = Place { segment: live.number, offset: live.end };
            check(&found, saved.as_ref(), end)
                .map_err(|what| damaged(&live.path, live.end, format!("{id}: {what}")))?;
            let (group, mut whole) = join(found, saved);
            whole.torn_bytes = torn.take().unwrap_or(0);
            groups.insert(id, group);
            recovered.insert(id, whole);
        }
        beside.found(published, self.closed);
        let parts = Parts { live, oldest: self.oldest, segments: self.segments, groups };
        let mut log = Log::new(home.clone(), beside.clone(), parts);
        log.seal()?;
        Ok((log, recovered))
    }
}

impl End {
    /// Ended where no record could be read.
    fn opened(self, segment: &Segment, at: Place, why: &'static str) -> End {
        let is_clean = segment.used_end(at.offset as usize) as u64 == at.offset;
        End { stop: Stop::Open { at: at.offset, why: (!is_clean).then_some(why) }, ..self }
    }
}

/// Puts an entry at its place and drops what stood there and behind. `false` if there is a gap.
fn put(entries: &mut Vec<Entry>, entry: Entry) -> bool {
    if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
        if entry.id.index > last.id.index.next() {
            return false;
        }
        let kept = entry.id.index.0.saturating_sub(first.id.index.0);
        entries.truncate(kept as usize);
    }
    entries.push(entry);
    true
}

/// What is wrong with a group of a log that ends here, if anything is.
fn check(found: &Found, saved: Option<&Saved>, log_end: Place) -> Result<(), String> {
    if saved.is_some_and(|saved| saved.effect.void_before > log_end) {
        return Err("the log ends before the place that its snapshot names".to_owned());
    }
    let last = saved.map(|saved| saved.snapshot.meta.last.index);
    if found.state.snapshot > last {
        let expected = found.state.snapshot.unwrap_or_default();
        return Err(format!("its snapshot up to entry {expected} is missing"));
    }
    let snapshot = last.unwrap_or_default();
    let first = found.entries.first().map_or(snapshot.next(), |entry| entry.id.index);
    if first > snapshot.next() {
        return Err(format!("its entries from {} to {first} are missing", snapshot.next()));
    }
    let end = found.entries.last().map_or(snapshot, |entry| entry.id.index.max(snapshot));
    let commit = found.state.hard_state.commit;
    if end < commit {
        return Err(format!("it ends at entry {end}, but {commit} was committed"));
    }
    Ok(())
}

/// What the log has to know of a group, and what its replica gets.
fn join(found: Found, saved: Option<Saved>) -> (Group, RecoveredGroup) {
    let keep_from = saved.as_ref().map_or(Effect::default(), |saved| saved.effect).keep_from;
    let snapshot = saved.map(|saved| saved.snapshot);
    let meta = snapshot.as_ref().map_or(SnapshotMeta::default(), |saved| saved.meta.clone());
    let mut entries = found.entries;
    entries.retain(|entry| entry.id.index >= keep_from);
    let last = entries.last().map_or(meta.last.index, |entry| entry.id.index);
    let mut state = found.state;
    state.snapshot = snapshot.as_ref().map(|snapshot| snapshot.meta.last.index);
    let held = entries.iter().cloned().collect();
    let state_segment = found.state_segment;
    let group = Group { state, state_segment, last, keep_from, entries: held };
    let hard_state = state.hard_state;
    let raft = Recovered { hard_state, snapshot: meta, entries };
    (group, RecoveredGroup { raft, snapshot, ..RecoveredGroup::default() })
}
