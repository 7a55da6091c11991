//! The log in memory: what follows the last compaction.

use super::{Entries, Entry, Payload};
use crate::base::{Index, LogId, Term};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Entries after `base`, which itself is known by term and index only.
///
/// They are held in pieces as they came, so that a batch is one list for the log, the disk and
/// every peer.
///
/// Invariants: indexes are consecutive over the pieces, of which none is empty; terms never go
/// down; `runs` holds `base` and then the first entry of every later term, so that looking for a
/// term costs as much as there were elections, not as much as there are entries.
#[derive(Clone, Debug)]
pub(super) struct Log {
    base: LogId,
    pieces: VecDeque<Piece>,
    /// Their weight.
    bytes: usize,
    runs: VecDeque<LogId>,
}

/// Entries in one piece of a log that is read from the disk: what is let go of goes by pieces.
const RECOVERED_PIECE: usize = 256;

/// Entries that came together, or what is left of them.
#[derive(Clone, Debug)]
struct Piece {
    entries: Entries,
    /// Their weight.
    bytes: usize,
}

impl Piece {
    fn new(entries: Entries) -> Piece {
        let bytes = entries.iter().map(weight).sum();
        Piece { entries, bytes }
    }

    fn first(&self) -> Index {
        self.entries.first().expect("no piece is empty").id.index
    }

    fn last(&self) -> LogId {
        self.entries.last().expect("no piece is empty").id
    }

    /// Where an entry that it holds stands in it.
    fn place(&self, index: Index) -> usize {
        usize::try_from(index.0 - self.first().0).expect("the log fits in memory")
    }
}

/// How much one append may carry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portion {
    /// Most entries.
    pub(super) entries: usize,
    /// Most payload bytes; one entry always fits.
    pub(super) bytes: usize,
}

/// Payload bytes of one entry, as flow control counts them.
pub(super) fn weight(entry: &Entry) -> usize {
    match &entry.payload {
        Payload::Empty => 0,
        Payload::Command(bytes) => bytes.len(),
        Payload::Configuration(configuration) => {
            let members = configuration.voters.len()
                + configuration.outgoing.len()
                + configuration.learners.len();
            members * size_of::<u64>()
        }
    }
}

impl Log {
    /// A log that begins after `base`.
    pub(super) fn after(base: LogId) -> Log {
        Log { base, pieces: VecDeque::new(), bytes: 0, runs: VecDeque::from([base]) }
    }

    /// Puts entries at the end as they were found on the disk, in pieces of a moderate size.
    pub(super) fn recover(&mut self, entries: impl Iterator<Item = Entry>) {
        let mut entries = entries.peekable();
        while entries.peek().is_some() {
            let mut piece = Vec::with_capacity(RECOVERED_PIECE);
            piece.extend(entries.by_ref().take(RECOVERED_PIECE));
            self.append(Entries::from(piece));
        }
    }

    /// How many entries are held.
    pub(super) fn len(&self) -> u64 {
        self.last().index.0 - self.base.index.0
    }

    /// Their weight.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes as u64
    }

    /// The entry before the first one held.
    pub(super) fn base(&self) -> LogId {
        self.base
    }

    /// The last entry, or `base` when none is held.
    pub(super) fn last(&self) -> LogId {
        self.pieces.back().map_or(self.base, Piece::last)
    }

    /// The term of the entry at `index`, as far as the log reaches.
    pub(super) fn term_at(&self, index: Index) -> Option<Term> {
        if index < self.base.index || index > self.last().index {
            return None;
        }
        let run = self.runs.iter().rev().find(|run| run.index <= index);
        Some(run.expect("the first run begins at the base").term)
    }

    /// Puts entries at the end.
    pub(super) fn append(&mut self, entries: Entries) {
        let mut last = self.last();
        for entry in &entries {
            assert!(entry.id.index == last.index.next(), "R2: the log has no gaps");
            assert!(entry.id.term >= last.term, "R2: terms in the log never go down");
            if entry.id.term > last.term {
                self.runs.push_back(entry.id);
            }
            last = entry.id;
        }
        if !entries.is_empty() {
            let piece = Piece::new(entries);
            self.bytes += piece.bytes;
            self.pieces.push_back(piece);
        }
    }

    /// Drops the entry at `from` and all after it.
    pub(super) fn truncate(&mut self, from: Index) {
        assert!(from > self.base.index, "R3: what is compacted was committed");
        while let Some(piece) = self.pieces.back()
            && piece.first() >= from
        {
            self.bytes -= piece.bytes;
            self.pieces.pop_back();
        }
        if let Some(piece) = self.pieces.back_mut()
            && piece.last().index >= from
        {
            self.bytes -= piece.bytes;
            *piece = Piece::new(piece.entries.slice(0, piece.place(from)));
            self.bytes += piece.bytes;
        }
        while self.runs.back().is_some_and(|run| run.index >= from) {
            self.runs.pop_back();
        }
        debug_assert!(!self.runs.is_empty(), "base stays");
    }

    /// Drops the entries up to and including `upto`, which the log must hold.
    pub(super) fn compact(&mut self, upto: Index) {
        let term = self.term_at(upto).expect("compaction stays within the log");
        while let Some(piece) = self.pieces.front()
            && piece.last().index <= upto
        {
            self.bytes -= piece.bytes;
            self.pieces.pop_front();
        }
        if let Some(piece) = self.pieces.front_mut()
            && piece.first() <= upto
        {
            let kept = piece.place(upto.next());
            self.bytes -= piece.bytes;
            *piece = Piece::new(piece.entries.slice(kept, piece.entries.len()));
            self.bytes += piece.bytes;
        }
        self.base = LogId::new(term, upto);
        while self.runs.get(1).is_some_and(|run| run.index <= upto) {
            self.runs.pop_front();
        }
        self.runs[0] = self.base;
    }

    /// The last entry at or before `index` whose term is at most `term`; `None` when it would lie
    /// before the base.
    pub(super) fn last_at_most(&self, term: Term, index: Index) -> Option<LogId> {
        let mut end = self.last().index;
        for run in self.runs.iter().rev() {
            if run.term <= term && run.index <= index {
                return Some(LogId::new(run.term, end.min(index)));
            }
            // The run before this one ends just before it; below the base nothing is looked for.
            end = Index(run.index.0.saturating_sub(1));
        }
        None
    }

    /// Consecutive entries from `from` on, as many as the portion allows, and their bytes.
    pub(super) fn gather(&self, from: Index, portion: Portion) -> (Entries, usize) {
        assert!(from > self.base.index, "entries up to the base are gone");
        let place = self.piece_of(from);
        let Some(piece) = self.pieces.get(place) else { return (Entries::new(), 0) };
        let is_whole = piece.first() == from && place + 1 == self.pieces.len();
        if is_whole && piece.entries.len() <= portion.entries && piece.bytes <= portion.bytes {
            return (piece.entries.clone(), piece.bytes);
        }
        let (mut count, mut bytes) = (0, 0);
        for entry in self.onward(place, from).take(portion.entries) {
            let more = weight(entry);
            if count > 0 && bytes + more > portion.bytes {
                break;
            }
            bytes += more;
            count += 1;
        }
        (self.collect(place, from, count), bytes)
    }

    /// Whether the entries from `from` on would fill this portion.
    pub(super) fn fills(&self, from: Index, portion: Portion) -> bool {
        if self.last().index.next().0.saturating_sub(from.0) >= portion.entries as u64 {
            return true;
        }
        let mut bytes = 0;
        for piece in self.pieces.iter().rev() {
            if piece.last().index < from || bytes >= portion.bytes {
                break;
            }
            let skipped = from.0.saturating_sub(piece.first().0);
            bytes += match usize::try_from(skipped).expect("the log fits in memory") {
                0 => piece.bytes,
                skipped => piece.entries.iter().skip(skipped).map(weight).sum(),
            };
        }
        bytes >= portion.bytes
    }

    /// The entry after which the entries up to `last` weigh no more than `bytes`, as far as whole
    /// pieces tell.
    pub(super) fn tail_within(&self, last: Index, bytes: u64) -> Index {
        let mut sum = 0_u64;
        let until_last = self.pieces.iter().rev().skip_while(|piece| piece.first() > last);
        for piece in until_last {
            sum += piece.bytes as u64;
            if sum > bytes {
                return piece.last().index.min(last);
            }
        }
        self.base.index.min(last)
    }

    /// The entries from `first` to `last`, both included and both held.
    pub(super) fn range(&self, first: Index, last: Index) -> Entries {
        assert!(first > self.base.index, "entries up to the base are gone");
        let count = usize::try_from(last.next().0 - first.0).expect("the log fits in memory");
        self.collect(self.piece_of(first), first, count)
    }

    /// Which piece holds an entry; the number of pieces when none does. Most questions are about
    /// the end of the log.
    fn piece_of(&self, index: Index) -> usize {
        let last = self.pieces.len().saturating_sub(1);
        if self
            .pieces
            .back()
            .is_some_and(|piece| (piece.first()..=piece.last().index).contains(&index))
        {
            return last;
        }
        self.pieces.partition_point(|piece| piece.last().index < index)
    }

    /// All entries from `from` on, which stands in the piece at this place.
    fn onward(&self, place: usize, from: Index) -> impl Iterator<Item = &Entry> {
        let skipped = self.pieces.get(place).map_or(0, |piece| piece.place(from));
        self.pieces.range(place..).flat_map(|piece| piece.entries.iter()).skip(skipped)
    }

    /// So many entries, which the log must hold: a part of one piece, or a list of clones.
    fn collect(&self, place: usize, from: Index, count: usize) -> Entries {
        let Some(piece) = self.pieces.get(place) else { return Entries::new() };
        let start = piece.place(from);
        if start + count <= piece.entries.len() {
            return piece.entries.slice(start, start + count);
        }
        let mut all = Vec::with_capacity(count);
        all.extend(self.onward(place, from).take(count).cloned());
        assert!(all.len() == count, "R2: the log has no gaps");
        Entries::from(all)
    }
}
