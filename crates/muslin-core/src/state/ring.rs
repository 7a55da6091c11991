//! What happened lately, encoded once for all who follow it.
//!
//! A [`Ring`] keeps the last changes as they were told, in order, within bounds. Whoever follows
//! some keys has a [`Cursor`]: a place, and nothing that waits. It reads from the ring; behind the
//! ring it reads the history of a [`View`], and what was compacted away it is told to be gone. So
//! whoever does not read costs nothing, and whoever is late is late alone.
//!
//! # Invariants
//! 1. The ring has every change behind `after`, up to `through`, in order. What is pushed and does
//!    not follow what is there makes it begin anew: those who have not read so far read history.
//! 2. A cursor tells every wanted change from where it began, in order, once (K2), however it is
//!    cut into passages; whole revisions, unless its reader takes parts.
//! 3. A cursor tells nothing that its asker had no right to when it happened, and ends at the first
//!    change of rights that takes the right away.

mod cursor;
mod encoding;
mod segment;

pub use cursor::{Cursor, Passage, Room, Told};
pub use segment::Segment;

use super::auth::Auth;
use super::{Asker, AuthRefusal, KeyRange, KvEvent, State, View};
use crate::base::mutant::{self, Mutant};
use crate::base::{Index, Revision};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// A segment is closed when it has this size: what a cursor reads from it is found by halving, and
/// what goes when there is no room goes in pieces of this.
const SEGMENT_BYTES: usize = 256 << 10;

/// Changes as they took effect, for whoever follows them.
#[derive(Clone, PartialEq, Debug)]
pub struct Changes {
    /// They follow this revision.
    pub after: Revision,
    /// All of them, in order, each with the pair before it.
    pub events: Vec<KvEvent>,
    /// The revision they end with; the one they follow if there are none.
    pub through: Revision,
    /// After them, who may do what has changed.
    pub rights: Option<RightsAt>,
}

/// Who may follow what, from some entry of the log on.
#[derive(Clone)]
pub struct RightsAt {
    at: Index,
    auth: Arc<Auth>,
}

impl RightsAt {
    /// From which entry on.
    pub fn at(&self) -> Index {
        self.at
    }

    fn check(&self, asker: &Asker, range: &KeyRange) -> Result<(), AuthRefusal> {
        self.auth.check_watch(asker, range)
    }
}

impl PartialEq for RightsAt {
    fn eq(&self, other: &RightsAt) -> bool {
        self.at == other.at
    }
}

impl fmt::Debug for RightsAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rights at {}", self.at)
    }
}

impl State {
    /// Who may follow what at present, which is after this entry.
    pub fn rights_at(&self, at: Index) -> RightsAt {
        RightsAt { at, auth: self.auth.clone() }
    }
}

impl View {
    /// Who might follow what, if the view is of this entry.
    pub fn rights_at(&self, at: Index) -> RightsAt {
        RightsAt { at, auth: self.auth.clone() }
    }
}

/// How much a ring keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RingRoom {
    /// Bytes of what is encoded, and of what leads to it.
    pub bytes: usize,
    /// Changes, however small.
    pub events: usize,
}

/// The last changes.
#[derive(Debug)]
pub struct Ring {
    room: RingRoom,
    segments: VecDeque<Arc<Segment>>,
    after: Revision,
    through: Revision,
    bytes: usize,
    events: usize,
    /// The rights that changed last.
    rights: Option<RightsAt>,
}

impl Ring {
    /// One that has nothing yet.
    pub fn new(room: RingRoom) -> Ring {
        let (after, through) = (Revision::ZERO, Revision::ZERO);
        let (segments, rights) = (VecDeque::new(), None);
        Ring { room, segments, after, through, bytes: 0, events: 0, rights }
    }

    /// All behind this revision is here.
    pub fn after(&self) -> Revision {
        self.after
    }

    /// All up to this revision is here.
    pub fn through(&self) -> Revision {
        self.through
    }

    /// What it takes in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// After which entry rights changed last.
    pub fn rights_at(&self) -> Index {
        self.rights.as_ref().map_or(Index::ZERO, RightsAt::at)
    }

    /// Adds what happened. Makes room for it by dropping what is oldest.
    pub fn push(&mut self, changes: Changes) {
        let Changes { after, events, through, rights } = changes;
        let is_next = after == self.through || mutant::is_active(Mutant::InstallLosesEvents);
        if !is_next {
            self.begin_at(after);
        }
        if let Some(rights) = &rights {
            self.rights = Some(rights.clone());
        }
        for segment in Segment::all_of(&events, through, rights, SEGMENT_BYTES) {
            self.bytes += segment.weight();
            self.events += segment.len();
            self.segments.push_back(Arc::new(segment));
        }
        self.through = through;
        self.make_room();
    }

    /// Forgets all, as when nobody follows anything.
    pub fn clear(&mut self) {
        self.begin_at(self.through);
    }

    /// What happened behind a revision, as far as it is here; for whoever looks at all of it. Also
    /// what happened at that revision, if rights changed with it.
    pub fn behind(&self, revision: Revision) -> impl Iterator<Item = &Arc<Segment>> {
        let first = self.segments.partition_point(|segment| segment.through() < revision);
        self.segments.range(first..)
    }

    fn begin_at(&mut self, revision: Revision) {
        self.segments.clear();
        (self.bytes, self.events) = (0, 0);
        (self.after, self.through) = (revision, revision);
    }

    fn make_room(&mut self) {
        while self.bytes > self.room.bytes || self.events > self.room.events {
            let Some(oldest) = self.segments.pop_front() else { return };
            self.bytes -= oldest.weight();
            self.events -= oldest.len();
            if !mutant::is_active(Mutant::RingDropsAtWrap) {
                self.after = oldest.through();
            }
        }
    }
}
