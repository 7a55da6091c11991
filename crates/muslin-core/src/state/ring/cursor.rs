//! Where whoever follows some keys has come to.

use super::{RightsAt, Ring, Segment};
use crate::base::mutant::{self, Mutant};
use crate::base::{Index, Revision};
use crate::state::{Asker, AuthRefusal, Compacted, KvEvent, KvEventKind, View, WatchSpec};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

/// Changes of history read at once; whole revisions, so there may be more.
const PIECE_EVENTS: usize = 1_000;

/// Changes of the ring looked at in one read, whole segments aside: a reader who wants few of many
/// holds up nobody for long.
const LOOKS_MAX: usize = 10_000;

/// A place among the changes of some keys.
#[derive(Clone, Debug)]
pub struct Cursor {
    /// On whose behalf: checked again whenever rights change.
    asker: Asker,
    spec: WatchSpec,
    /// The first revision not told, or not told in full.
    next: Revision,
    /// How many wanted changes of that revision were told.
    parts: usize,
    /// The entry up to which rights were looked at.
    checked: Index,
    /// It read from the ring last, not from history.
    is_live: bool,
}

/// How much is read at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// No further change is read once there is so much.
    pub bytes: usize,
    /// A revision may be cut, and goes on in the next passage.
    pub splits: bool,
    /// Of the ring, what was pushed behind this is left for later: those who read up to the same
    /// place read the same.
    pub upto: Revision,
}

impl Room {
    /// All that there is, about a mebibyte at a time, in whole revisions.
    pub const WHOLE: Room = Room { bytes: 1 << 20, splits: false, upto: Revision(u64::MAX) };
}

/// What a cursor reads.
#[derive(Debug)]
pub enum Told {
    /// Changes, or that there are none.
    Passage(Passage),
    /// What it has not told is older than the ring: it is in the history, or gone.
    Behind,
    /// Its asker may not follow this any more.
    Denied(AuthRefusal),
}

/// Changes in order. Shares what it is of; nothing is copied before it is written.
#[derive(Debug)]
pub struct Passage {
    runs: Vec<(Arc<Segment>, Range<usize>)>,
    prev_kv: bool,
    /// All changes up to here have been told; of a part, all before and some of this one.
    pub through: Revision,
    /// The last revision goes on in the next passage.
    pub is_part: bool,
    /// There may be more at once.
    pub has_more: bool,
    bytes: usize,
}

impl Cursor {
    /// One that tells `from` and later; the asker's right was looked at after entry `checked`.
    pub fn new(asker: &Asker, spec: WatchSpec, (from, checked): (Revision, Index)) -> Cursor {
        // It was let begin: what is looked at from here on is whether the right is still there.
        let asker = asker.lasting();
        Cursor { asker, spec, next: from, parts: 0, checked, is_live: false }
    }

    /// What it follows.
    pub fn spec(&self) -> &WatchSpec {
        &self.spec
    }

    /// On whose behalf.
    pub fn asker(&self) -> &Asker {
        &self.asker
    }

    /// All before this revision was told.
    pub fn next(&self) -> Revision {
        self.next
    }

    /// Whether it stands within a revision.
    pub fn is_within_revision(&self) -> bool {
        self.parts > 0
    }

    /// Goes on from here, if it has not come so far: there is nothing for it in between.
    pub fn skip_to(&mut self, revision: Revision) {
        if revision > self.next {
            (self.next, self.parts) = (revision, 0);
        }
    }

    /// Reads on in the ring.
    pub fn read(&mut self, ring: &Ring, room: Room) -> Told {
        if self.next <= ring.after {
            return Told::Behind;
        }
        if mutant::is_active(Mutant::CursorSkipsAfterHistory) && !self.is_live {
            self.skip_to(ring.through.next());
        }
        self.is_live = true;
        let behind = Revision(self.next.0.saturating_sub(1));
        let through = ring.through.min(room.upto);
        let segments = ring.behind(behind).take_while(|segment| segment.through() <= through);
        match self.walk(segments, through, room) {
            // A change of rights that the ring has dropped.
            Told::Passage(passage)
                if !passage.has_more && passage.is_empty() && through == ring.through =>
            {
                match self.check(ring.rights.as_ref()) {
                    Ok(()) => Told::Passage(passage),
                    Err(refusal) => Told::Denied(refusal),
                }
            }
            told => told,
        }
    }

    /// Reads on in the history of a view, which is of the entry `at`.
    pub fn read_history(
        &mut self,
        (at, view): (Index, &View),
        room: Room,
    ) -> Result<Told, Compacted> {
        if let Err(refusal) = self.check(Some(&view.rights_at(at))) {
            return Ok(Told::Denied(refusal));
        }
        let fell = core::mem::replace(&mut self.is_live, false);
        if fell && mutant::is_active(Mutant::InstallRepeatsEvents) {
            self.next = Revision(self.next.0.saturating_sub(1));
        }
        let piece = view.events_since(self.next, &self.spec.range, PIECE_EVENTS)?;
        let through = piece.through;
        let segment = Arc::new(Segment::of(&piece.events, through, None));
        let mut told = self.walk(core::iter::once(&segment), through, room);
        if let Told::Passage(passage) = &mut told {
            passage.has_more |= through < view.revision();
        }
        Ok(told)
    }

    fn check(&mut self, rights: Option<&RightsAt>) -> Result<(), AuthRefusal> {
        let Some(rights) = rights.filter(|rights| rights.at > self.checked) else { return Ok(()) };
        if !mutant::is_active(Mutant::WatchOutlivesRight) {
            rights.check(&self.asker, &self.spec.range)?;
        }
        self.checked = rights.at;
        Ok(())
    }

    /// Reads segments that follow one another and end with `through`, as far as there is room.
    fn walk<'a>(
        &mut self,
        segments: impl Iterator<Item = &'a Arc<Segment>>,
        through: Revision,
        room: Room,
    ) -> Told {
        let (runs, prev_kv, bytes) = (Vec::new(), self.spec.prev_kv, 0);
        let mut passage =
            Passage { runs, prev_kv, through, is_part: false, has_more: false, bytes };
        let mut looks = 0;
        for segment in segments {
            if self.take(segment, &mut passage, room) == Taken::Some {
                return Told::Passage(passage);
            }
            self.skip_to(segment.through().next());
            if let Err(refusal) = self.check(segment.rights.as_ref()) {
                // What was done before is told by the rights of before.
                return match passage.is_empty() {
                    true => Told::Denied(refusal),
                    false => Told::Passage(passage.so_far(segment.through())),
                };
            }
            looks += 1 + segment.len();
            if looks > LOOKS_MAX {
                return Told::Passage(passage.so_far(segment.through()));
            }
        }
        self.skip_to(through.next());
        Told::Passage(passage)
    }

    /// Takes what is wanted of a segment.
    fn take(&mut self, segment: &Arc<Segment>, passage: &mut Passage, room: Room) -> Taken {
        let lines = segment.lines();
        let first = lines.partition_point(|line| line.revision < self.next);
        let all = first..lines.len();
        let is_plain = !self.spec.no_put && !self.spec.no_delete && self.parts == 0;
        if is_plain && segment.is_within(&self.spec.range) {
            let bytes = segment.size(all.clone(), self.spec.prev_kv);
            if passage.bytes + bytes <= room.bytes {
                passage.bytes += bytes;
                passage.add(segment, all);
                return Taken::All;
            }
        }
        let mut told = (Revision::ZERO, 0);
        for (place, line) in (first..).zip(&lines[first..]) {
            if !self.wants(line.kind) || !self.spec.range.contains(segment.key(line)) {
                continue;
            }
            if told.0 != line.revision {
                told = (line.revision, 0);
            }
            told.1 += 1;
            if line.revision == self.next && told.1 <= self.parts {
                continue;
            }
            let goes_on = told.1 > 1;
            if passage.bytes >= room.bytes && (room.splits || !goes_on) {
                self.skip_to(line.revision);
                self.parts = told.1 - 1;
                (passage.is_part, passage.has_more) = (goes_on, true);
                let back = u64::from(!goes_on);
                passage.through = Revision(line.revision.0.saturating_sub(back));
                return Taken::Some;
            }
            passage.bytes += line.size(self.spec.prev_kv);
            passage.add(segment, place..place + 1);
        }
        Taken::All
    }

    fn wants(&self, kind: KvEventKind) -> bool {
        let is_put = kind == KvEventKind::Put;
        if is_put { !self.spec.no_put } else { !self.spec.no_delete }
    }
}

#[derive(PartialEq, Eq)]
enum Taken {
    All,
    Some,
}

impl Passage {
    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.runs.iter().all(|(_, lines)| lines.is_empty())
    }

    /// About what it takes when it is written.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds the changes, as the events of an answer to a watch of etcd's.
    pub fn write(&self, to: &mut Vec<u8>) {
        for (segment, lines) in &self.runs {
            segment.write(lines.clone(), self.prev_kv, to);
        }
    }

    /// The changes.
    pub fn events(&self) -> Vec<KvEvent> {
        let events = |(segment, lines): &(Arc<Segment>, Range<usize>)| -> Vec<KvEvent> {
            segment.events(lines.clone(), self.prev_kv).collect()
        };
        self.runs.iter().flat_map(events).collect()
    }

    /// The part of it that ends here; more follows.
    fn so_far(self, through: Revision) -> Passage {
        Passage { through, has_more: true, ..self }
    }

    fn add(&mut self, segment: &Arc<Segment>, lines: Range<usize>) {
        if lines.is_empty() {
            return;
        }
        match self.runs.last_mut() {
            Some((last, run)) if Arc::ptr_eq(last, segment) && run.end == lines.start => {
                run.end = lines.end;
            }
            _ => self.runs.push((segment.clone(), lines)),
        }
    }
}
