//! Reading the log back, and telling a torn tail from damage. Changes nothing: what is to be done
//! about it is decided in [`recover`](super::recover).

use super::super::{Damage, StoreError};
use super::disk;
use super::log::Home;
use super::record::{self, Content, GroupState, Place};
use super::segment::{self, HEADER_BYTES, Segment, damaged};
use super::snapshot::{self, Saved};
use muslin_core::base::{GroupId, Index};
use muslin_core::raft::Entry;
use std::collections::BTreeMap;

/// Everything that is there.
pub(super) struct Picture {
    pub(super) snapshots: BTreeMap<GroupId, Saved>,
    pub(super) groups: BTreeMap<GroupId, Found>,
    /// Every segment, with the highest entry that counts of each group in it.
    pub(super) segments: BTreeMap<u64, BTreeMap<GroupId, Index>>,
    /// Closed segments, and the checksum of the closing seal of each.
    pub(super) closed: BTreeMap<u64, u32>,
    /// No segment below this one is needed.
    pub(super) oldest: u64,
    /// The highest number of a segment that is there.
    pub(super) highest: u64,
    /// Where the log ends; `None` only when it is damaged.
    pub(super) tail: Option<Tail>,
    /// In the log, which is of all groups.
    pub(super) log_damage: Option<Damage>,
    /// In the snapshots of these groups.
    pub(super) snapshot_damages: BTreeMap<GroupId, Damage>,
}

/// A group as far as it was read.
#[derive(Default)]
pub(super) struct Found {
    pub(super) state: GroupState,
    pub(super) state_segment: u64,
    pub(super) entries: Vec<Entry>,
}

/// The segment that the log ends in.
pub(super) struct Tail {
    pub(super) segment: Segment,
    /// Behind the last whole write or seal.
    pub(super) offset: u64,
    /// Checksum of the record before `offset`.
    pub(super) chain: u32,
    /// Just behind the last byte that is not zero.
    pub(super) used_end: u64,
    /// Just behind the last byte that may be of a write to this segment.
    pub(super) torn_end: u64,
    /// A segment was made behind it, and never used.
    pub(super) follower: Option<u64>,
}

impl Tail {
    /// Bytes that were never acknowledged.
    pub(super) fn torn_bytes(&self) -> u64 {
        self.torn_end - self.offset + self.segment.beyond
    }
}

/// Reads it. Only what makes reading pointless is an error: another's files, a later format, a
/// system that refuses.
pub(super) fn read(home: &Home) -> Result<Picture, StoreError> {
    let (snapshots, snapshot_damages) = snapshot::load_all(&home.snapshots, home.owner)?;
    let groups = snapshots.keys().map(|group| (*group, Found::default())).collect();
    let numbers = segment::list(&home.log)?;
    let mut picture = Picture {
        snapshots,
        groups,
        segments: BTreeMap::new(),
        closed: BTreeMap::new(),
        oldest: 0,
        highest: numbers.last().copied().unwrap_or(0),
        tail: None,
        log_damage: None,
        snapshot_damages,
    };
    let mut reader = Reader { home, picture: &mut picture, numbers: &numbers, chain: 0 };
    let read = reader.log();
    picture.note(read)?;
    let checked = picture.check(home);
    picture.note(checked)?;
    Ok(picture)
}

impl Picture {
    /// What is wrong, unless all that was acknowledged is there.
    pub(super) fn first_damage(&self) -> Option<&Damage> {
        self.log_damage.iter().chain(self.snapshot_damages.values()).next()
    }

    /// Takes note of the first damage of the log.
    fn note(&mut self, result: Result<(), StoreError>) -> Result<(), StoreError> {
        match result {
            Err(StoreError::Damaged { path, offset, what }) => {
                self.log_damage.get_or_insert(Damage { path, offset, what });
                Ok(())
            }
            result => result,
        }
    }

    /// Whether each group is whole.
    fn check(&mut self, home: &Home) -> Result<(), StoreError> {
        let Some(tail) = &self.tail else { return Ok(()) };
        let first = self.segments.keys().next().copied().unwrap_or(0);
        if first > self.oldest {
            return Err(missing(home, self.oldest));
        }
        let end = Place { segment: tail.segment.header.number, offset: tail.offset };
        for (id, found) in &self.groups {
            let saved = self.snapshots.get(id);
            if self.snapshot_damages.contains_key(id) {
                continue;
            }
            match check_group(found, saved, end) {
                Ok(()) => {}
                Err(Lack::Snapshot(index)) => {
                    let path = snapshot::path(&home.snapshots, *id);
                    let what = format!("the snapshot up to entry {index} is missing");
                    self.snapshot_damages.insert(*id, Damage { path, offset: 0, what });
                }
                Err(Lack::Log(what)) => {
                    let what = format!("{id}: {what}");
                    return Err(damaged(&tail.segment.path, tail.offset, what));
                }
            }
        }
        Ok(())
    }
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

struct Reader<'a> {
    home: &'a Home,
    picture: &'a mut Picture,
    /// The segments that are there.
    numbers: &'a [u64],
    chain: u32,
}

impl Reader<'_> {
    /// Follows the log to its end. Where it is damaged, the states behind are read all the same:
    /// what a replica once promised it must not forget if it can be helped.
    fn log(&mut self) -> Result<(), StoreError> {
        let first = *self.numbers.first().ok_or_else(|| missing(self.home, 1))?;
        for (at, number) in self.numbers.iter().enumerate() {
            let expected = first + at as u64;
            let followed = match *number {
                number if number == expected => self.segment(at),
                _ => Err(missing(self.home, expected)),
            };
            match followed {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => {
                    self.numbers[at..].iter().for_each(|number| self.skim(*number));
                    return Err(error);
                }
            }
        }
        Err(missing(self.home, first + self.numbers.len() as u64))
    }

    /// Follows one segment. Whether the log goes on in the next.
    fn segment(&mut self, at: usize) -> Result<bool, StoreError> {
        let segment = Segment::open(&self.home.log, self.numbers[at], self.home.owner)?;
        let end = self.records(&segment, at == 0)?;
        if matches!(end.stop, Stop::Closed) {
            return Ok(true);
        }
        let next = self.numbers.get(at + 1).copied();
        if let Some(next) = next {
            self.must_be_unused(next, &segment, &end)?;
        }
        let used_end = judge(&segment, &end)?;
        let torn_end = match end.stop {
            // What an earlier segment left behind and what was torn look alike.
            Stop::Open { at, .. } if segment.header.is_reused => at,
            _ => used_end,
        };
        let (offset, chain, follower) = (end.offset, end.chain, next);
        let tail = Tail { segment, offset, chain, used_end, torn_end, follower };
        self.picture.tail = Some(tail);
        Ok(false)
    }

    /// A segment that ends without a closing seal may be followed by one that was made just before
    /// the crash, and never used: the log does not go on there. Anything else behind it means
    /// damage.
    fn must_be_unused(&self, next: u64, segment: &Segment, end: &End) -> Result<(), StoreError> {
        let is_last = self.numbers.last() == Some(&next);
        let follower = Segment::open(&self.home.log, next, self.home.owner)?;
        if is_last && follower.is_unused() {
            return Ok(());
        }
        let why = match end.stop {
            Stop::Open { why: Some(why), .. } => why,
            Stop::Open { why: None, .. } | Stop::Closed => "it ends before its closing seal",
        };
        Err(damaged(&segment.path, end.offset, why))
    }

    /// Follows the records of one segment.
    fn records(&mut self, segment: &Segment, is_first: bool) -> Result<End, StoreError> {
        let header = segment.header;
        if !is_first && header.seed != self.chain {
            let what = "it does not follow the segment before it";
            return Err(damaged(&segment.path, 64, what));
        }
        self.picture.oldest = self.picture.oldest.max(header.oldest);
        self.picture.segments.insert(header.number, BTreeMap::new());
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
                self.picture.closed.insert(header.number, chain);
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
        let picture = &mut *self.picture;
        match content {
            Content::Seal { oldest, .. } => picture.oldest = picture.oldest.max(oldest),
            Content::State { group, state } => {
                let found = picture.groups.entry(group).or_default();
                found.state = state;
                found.state_segment = place.segment;
            }
            Content::Entry { group, entry } => {
                let saved = picture.snapshots.get(&group);
                if saved.is_some_and(|saved| place < saved.effect.void_before) {
                    return Ok(());
                }
                let covered = saved.map_or(Index::ZERO, |saved| saved.snapshot.meta.last.index);
                let highest = picture.segments.entry(place.segment).or_default();
                let highest = highest.entry(group).or_default();
                *highest = entry.id.index.max(*highest);
                let entries = &mut picture.groups.entry(group).or_default().entries;
                if !put(entries, entry, covered) {
                    let what = format!("entries of {group} are missing before it");
                    return Err(damaged(&segment.path, place.offset, what));
                }
            }
        }
        Ok(())
    }

    /// Reads the states of a segment that cannot be followed. Terms only go up, so that the order
    /// does not matter.
    fn skim(&mut self, number: u64) {
        for (group, state) in record::states(&segment::salvage(&self.home.log, number), number) {
            let found = &mut self.picture.groups.entry(group).or_default().state.hard_state;
            let seen = state.hard_state;
            if seen.term > found.term || seen.term == found.term && found.vote.is_none() {
                (found.term, found.vote) = (seen.term, seen.vote);
            }
            found.rebuilding |= seen.rebuilding;
        }
    }
}

impl End {
    /// Ended where no record could be read.
    fn opened(self, segment: &Segment, at: Place, why: &'static str) -> End {
        let is_clean = segment.used_end(at.offset as usize) as u64 == at.offset;
        End { stop: Stop::Open { at: at.offset, why: (!is_clean).then_some(why) }, ..self }
    }
}

/// Whether what stands behind the last whole write may be cut, and up to where it reaches.
fn judge(segment: &Segment, end: &End) -> Result<u64, StoreError> {
    let Stop::Open { at, why } = end.stop else { return Ok(end.offset) };
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
    Ok(segment.used_end(end.offset as usize) as u64)
}

/// Clears what stands behind the end of the log, durably.
pub(super) fn clear(tail: &Tail) -> Result<(), StoreError> {
    let Segment { file, path, header, bytes, beyond } = &tail.segment;
    let (size, there) = (header.size, bytes.len() as u64);
    if there != size || *beyond > 0 {
        disk::set_length(file, path, size)?;
    }
    disk::fill(file, path, tail.offset, tail.used_end)?;
    disk::fill(file, path, there, size)?;
    disk::sync(file, path)
}

/// Puts an entry at its place and drops what stood there and behind. `false` if there is a gap that
/// the snapshot does not cover: one that was saved while the log was behind it may.
fn put(entries: &mut Vec<Entry>, entry: Entry, covered: Index) -> bool {
    if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
        if entry.id.index > last.id.index.next() {
            if entry.id.index > covered.next() {
                return false;
            }
            entries.clear();
        } else {
            let kept = entry.id.index.0.saturating_sub(first.id.index.0);
            entries.truncate(kept as usize);
        }
    }
    entries.push(entry);
    true
}

/// What a group of a damaged disk lacks.
enum Lack {
    /// The one that ends here.
    Snapshot(Index),
    Log(String),
}

/// What is wrong with a group of a log that ends here, if anything is.
fn check_group(found: &Found, saved: Option<&Saved>, log_end: Place) -> Result<(), Lack> {
    if saved.is_some_and(|saved| saved.effect.void_before > log_end) {
        let what = "the log ends before the place that its snapshot names";
        return Err(Lack::Log(what.to_owned()));
    }
    let last = saved.map(|saved| saved.snapshot.meta.last.index);
    if found.state.snapshot > last {
        return Err(Lack::Snapshot(found.state.snapshot.unwrap_or_default()));
    }
    let snapshot = last.unwrap_or_default();
    let first = found.entries.first().map_or(snapshot.next(), |entry| entry.id.index);
    if first > snapshot.next() {
        let what = format!("its entries from {} to {first} are missing", snapshot.next());
        return Err(Lack::Log(what));
    }
    let end = found.entries.last().map_or(snapshot, |entry| entry.id.index.max(snapshot));
    let commit = found.state.hard_state.commit;
    if end < commit {
        return Err(Lack::Log(format!("it ends at entry {end}, but {commit} was committed")));
    }
    Ok(())
}
