//! A run of changes, encoded.

use super::{RightsAt, encoding};
use crate::base::Revision;
use crate::state::{KeyRange, KvEvent, KvEventKind};
use alloc::vec::Vec;
use bytes::Bytes;
use core::ops::Range;

/// Changes that follow one another, each encoded once. Never changes.
#[derive(Debug)]
pub struct Segment {
    through: Revision,
    /// The events, framed, without the pairs before.
    bytes: Bytes,
    /// The pairs before.
    prevs: Bytes,
    lines: Vec<Line>,
    /// The first key and the last in the order of keys, as lines.
    span: (usize, usize),
    /// Who may do what has changed after it.
    pub(super) rights: Option<RightsAt>,
}

/// Where one event stands.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) revision: Revision,
    pub(super) kind: KvEventKind,
    /// Its frame begins where the one before it ends.
    start: usize,
    /// Behind its frame.
    body: usize,
    end: usize,
    key: usize,
    key_len: usize,
    prev: Range<usize>,
}

impl Line {
    /// What it takes in an answer.
    pub(super) fn size(&self, prev_kv: bool) -> usize {
        let prev = if prev_kv { self.prev.len() } else { 0 };
        self.end - self.start + prev
    }
}

impl Segment {
    /// The changes in segments of about `most` bytes, whole revisions each, so that the last ends
    /// with `through`. At least one if rights have changed.
    pub(super) fn all_of(
        events: &[KvEvent],
        through: Revision,
        rights: Option<RightsAt>,
        most: usize,
    ) -> Vec<Segment> {
        let mut all = Vec::new();
        let mut rest = events;
        while !rest.is_empty() {
            let mut bytes = 0;
            let is_over = |pair: &[KvEvent]| {
                bytes += encoding::event_len(&pair[0]);
                bytes >= most && pair[0].kv.mod_revision < pair[1].kv.mod_revision
            };
            let cut = rest.windows(2).position(is_over).map_or(rest.len(), |place| place + 1);
            let (piece, left) = rest.split_at(cut);
            let is_last = left.is_empty();
            let end = piece.last().map_or(through, |event| Revision(event.kv.mod_revision));
            let (end, rights) = if is_last { (through, rights.clone()) } else { (end, None) };
            all.push(Segment::of(piece, end, rights));
            rest = left;
        }
        if events.is_empty() && rights.is_some() {
            all.push(Segment::of(&[], through, rights));
        }
        all
    }

    /// One of these changes.
    pub(super) fn of(events: &[KvEvent], through: Revision, rights: Option<RightsAt>) -> Segment {
        let sizes = events.iter().map(encoding::event_len);
        let mut bytes = Vec::with_capacity(sizes.map(|len| len + encoding::frame_len(len)).sum());
        let mut prevs = Vec::new();
        let mut lines = Vec::with_capacity(events.len());
        for event in events {
            let (start, prev) = (bytes.len(), prevs.len());
            encoding::frame(encoding::event_len(event), &mut bytes);
            let body = bytes.len();
            let key = encoding::event(event, &mut bytes);
            if let Some(kv) = &event.prev {
                encoding::prev(kv, &mut prevs);
            }
            lines.push(Line {
                revision: Revision(event.kv.mod_revision),
                kind: event.kind,
                start,
                body,
                end: bytes.len(),
                key,
                key_len: event.kv.key.len(),
                prev: prev..prevs.len(),
            });
        }
        let keyed = || events.iter().enumerate();
        let first = keyed().min_by_key(|(_, event)| &event.kv.key).map_or(0, |(place, _)| place);
        let last = keyed().max_by_key(|(_, event)| &event.kv.key).map_or(0, |(place, _)| place);
        let (bytes, prevs) = (Bytes::from(bytes), Bytes::from(prevs));
        Segment { through, bytes, prevs, lines, span: (first, last), rights }
    }

    /// All changes up to here, from where the one before it ended.
    pub fn through(&self) -> Revision {
        self.through
    }

    /// How many changes.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether who may do what has changed after it.
    pub fn changes_rights(&self) -> bool {
        self.rights.is_some()
    }

    /// Which keys changed when, in order.
    pub fn changed(&self) -> impl Iterator<Item = (Revision, &[u8])> {
        self.lines.iter().map(|line| (line.revision, self.key(line)))
    }

    /// What it takes in memory.
    pub(super) fn weight(&self) -> usize {
        size_of::<Segment>()
            + self.bytes.len()
            + self.prevs.len()
            + self.lines.capacity() * size_of::<Line>()
    }

    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    pub(super) fn key(&self, line: &Line) -> &[u8] {
        &self.bytes[line.key..line.key + line.key_len]
    }

    /// Whether all its keys are in the range.
    pub(super) fn is_within(&self, range: &KeyRange) -> bool {
        let (first, last) = self.span;
        let is_in = |line: &Line| range.contains(self.key(line));
        self.lines.get(first).is_some_and(is_in) && self.lines.get(last).is_some_and(is_in)
    }

    /// What these events take in an answer.
    pub(super) fn size(&self, lines: Range<usize>, prev_kv: bool) -> usize {
        self.lines[lines].iter().map(|line| line.size(prev_kv)).sum()
    }

    /// Adds these events to an answer.
    pub(super) fn write(&self, lines: Range<usize>, prev_kv: bool, to: &mut Vec<u8>) {
        let lines = &self.lines[lines];
        let (Some(first), Some(last)) = (lines.first(), lines.last()) else { return };
        if !prev_kv {
            to.extend(&self.bytes[first.start..last.end]);
            return;
        }
        for line in lines {
            encoding::frame(line.end - line.body + line.prev.len(), to);
            to.extend(&self.bytes[line.body..line.end]);
            to.extend(&self.prevs[line.prev.clone()]);
        }
    }

    /// These events as they were told.
    pub(super) fn events(
        &self,
        lines: Range<usize>,
        prev_kv: bool,
    ) -> impl Iterator<Item = KvEvent> {
        self.lines[lines].iter().map(move |line| {
            let prev = if prev_kv { self.prevs.slice(line.prev.clone()) } else { Bytes::new() };
            encoding::read(line.kind, self.bytes.slice(line.body..line.end), prev)
        })
    }
}
