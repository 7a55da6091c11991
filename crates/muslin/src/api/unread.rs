//! What answers hold for readers who do not read, of all connections together.
//!
//! It is counted from the moment a piece is made until the socket has taken it, and so are keys and
//! changes that were read for a watch and wait to be told. Streams and answers to single calls have
//! a budget each.
//!
//! How much one stream holds is bounded beside its handler. Over the budget of all streams, the
//! connection whose piece has waited longest is cut, unless it has waited for a moment only:
//! whoever reads is never that one. Its reader comes again, and goes on behind the last revision it
//! has read.
//!
//! An answer for which there is no room is refused. Before that, connections are cut as above.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Bytes of all streams together: some ninety readers that have each left one of the largest values
/// unread. As many again of all answers: two of the largest, or tens of thousands of ordinary ones.
const UNREAD_BYTES_MAX: u64 = 128 << 20;

/// A piece that has waited this long waits for a reader who does not read. Those who do may all be
/// told a large value at once, and need a moment.
const UNREAD_TIME: Duration = Duration::from_secs(2);

/// A piece below this is not counted: the number of pieces per stream, and of calls per connection,
/// bounds them well enough, and counting costs.
pub(super) const COUNTED_BYTES_MIN: usize = 4 << 10;

/// Counts what is unread.
#[derive(Clone, Default)]
pub(super) struct Unread {
    budgets: Arc<Budgets>,
}

#[derive(Default)]
struct Budgets {
    streams: Mutex<Pieces>,
    answers: Mutex<Pieces>,
}

/// Which of the two.
#[derive(Clone, Copy)]
enum Budget {
    Streams,
    Answers,
}

#[derive(Default)]
struct Pieces {
    bytes: u64,
    /// How many there have been: the name of the next one.
    made: u64,
    /// Oldest first.
    held: BTreeMap<u64, Piece>,
}

struct Piece {
    since: Instant,
    bytes: u64,
    cut: Arc<Notify>,
}

impl Unread {
    /// The far end of one connection.
    pub(super) fn reader(&self) -> Reader {
        Reader { unread: self.clone(), cut: Arc::default(), watches: Arc::default() }
    }

    /// What streams hold.
    #[cfg(test)]
    pub(super) fn streams_bytes(&self) -> u64 {
        self.lock(Budget::Streams).bytes
    }

    /// Since when the piece of a stream that has waited longest waits.
    #[cfg(test)]
    pub(super) fn streams_since(&self) -> Option<Instant> {
        self.lock(Budget::Streams).held.values().map(|piece| piece.since).min()
    }

    fn lock(&self, budget: Budget) -> MutexGuard<'_, Pieces> {
        let pieces = match budget {
            Budget::Streams => &self.budgets.streams,
            Budget::Answers => &self.budgets.answers,
        };
        // What is behind it is whole whenever it is let go.
        pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pieces {
    fn insert(&mut self, piece: Piece) -> u64 {
        let number = self.made;
        self.bytes += piece.bytes;
        self.held.insert(number, piece);
        self.made += 1;
        number
    }

    /// Makes room for so much, as far as readers do not read; the connections that have to go.
    fn make_room(&mut self, bytes: u64, now: Instant) -> Vec<Arc<Notify>> {
        let mut late = Vec::new();
        while self.bytes + bytes > UNREAD_BYTES_MAX
            && let Some(oldest) = self.held.first_entry()
            && now >= oldest.get().since + UNREAD_TIME
        {
            let oldest = oldest.remove();
            // It goes with its connection, which is a moment away.
            self.bytes -= oldest.bytes;
            late.push(oldest.cut);
        }
        late
    }

    fn remove(&mut self, number: u64) -> Option<Piece> {
        let piece = self.held.remove(&number)?;
        self.bytes -= piece.bytes;
        Some(piece)
    }
}

/// Who reads what one connection carries.
#[derive(Clone)]
pub(super) struct Reader {
    unread: Unread,
    cut: Arc<Notify>,
    watches: Arc<Notify>,
}

/// There is no room for an answer.
#[derive(Debug)]
pub(super) struct Full;

impl Reader {
    /// Counts so many bytes of a stream until the charge is dropped.
    pub(super) fn charge(&self, bytes: usize) -> Charge {
        self.charge_at(Instant::now(), bytes)
    }

    fn charge_at(&self, since: Instant, bytes: usize) -> Charge {
        if bytes < COUNTED_BYTES_MIN {
            return Charge(None);
        }
        let mut pieces = self.unread.lock(Budget::Streams);
        let late = pieces.make_room(bytes as u64, since);
        let number = pieces.insert(self.piece(since, bytes));
        drop(pieces);
        late.iter().for_each(|cut| cut.notify_one());
        self.counted(Budget::Streams, number)
    }

    /// Counts so many bytes of an answer, if there is room for them.
    pub(super) fn admit(&self, bytes: usize) -> Result<Charge, Full> {
        // Most answers are small, and cost no look at the clock.
        if bytes < COUNTED_BYTES_MIN {
            return Ok(Charge(None));
        }
        self.admit_at(Instant::now(), bytes)
    }

    fn admit_at(&self, now: Instant, bytes: usize) -> Result<Charge, Full> {
        if bytes as u64 > UNREAD_BYTES_MAX {
            return Err(Full);
        }
        let mut pieces = self.unread.lock(Budget::Answers);
        let late = pieces.make_room(bytes as u64, now);
        let has_room = pieces.bytes + bytes as u64 <= UNREAD_BYTES_MAX;
        let number = has_room.then(|| pieces.insert(self.piece(now, bytes)));
        drop(pieces);
        late.iter().for_each(|cut| cut.notify_one());
        number.map(|number| self.counted(Budget::Answers, number)).ok_or(Full)
    }

    fn piece(&self, since: Instant, bytes: usize) -> Piece {
        Piece { since, bytes: bytes as u64, cut: self.cut.clone() }
    }

    fn counted(&self, budget: Budget, number: u64) -> Charge {
        Charge(Some(Counted { unread: self.unread.clone(), budget, number }))
    }

    /// The same bytes of a stream, counted until the last copy is dropped.
    pub(super) fn hold(&self, bytes: Bytes) -> Bytes {
        self.charge(bytes.len()).hold(bytes)
    }

    /// Something is watched on the connection.
    pub(super) fn watch(&self) {
        self.watches.notify_one();
    }

    /// Returns when something is watched.
    pub(super) async fn watches(&self) {
        self.watches.notified().await;
    }

    /// Returns when the connection has to go.
    pub(super) async fn cut(&self) {
        self.cut.notified().await;
    }
}

/// Counted as long as it is there.
pub(super) struct Charge(Option<Counted>);

struct Counted {
    unread: Unread,
    budget: Budget,
    number: u64,
}

impl Charge {
    /// Puts so much of it into a charge of its own. The reader takes pieces, so its time begins
    /// anew for both.
    pub(super) fn part(&mut self, bytes: usize) -> Charge {
        let Some(counted) = &mut self.0 else { return Charge(None) };
        let mut pieces = counted.unread.lock(counted.budget);
        // One whose connection has to go is counted no more.
        let Some(mut whole) = pieces.remove(counted.number) else { return Charge(None) };
        whole.since = Instant::now();
        let part = whole.bytes.min(bytes as u64);
        whole.bytes -= part;
        let piece = Piece { since: whole.since, bytes: part, cut: whole.cut.clone() };
        counted.number = pieces.insert(whole);
        let number = pieces.insert(piece);
        drop(pieces);
        Charge(Some(Counted { unread: counted.unread.clone(), budget: counted.budget, number }))
    }

    /// The same bytes, counted until the last copy is dropped.
    pub(super) fn hold(self, bytes: Bytes) -> Bytes {
        match self.0 {
            Some(_) => Bytes::from_owner(Held { bytes, _charge: self }),
            None => bytes,
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(Counted { unread, budget, number }) = &self.0 {
            unread.lock(*budget).remove(*number);
        }
    }
}

struct Held {
    bytes: Bytes,
    _charge: Charge,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Waker};

    /// Whether a connection has to go.
    fn is_cut(reader: &Reader) -> bool {
        pin!(reader.cut()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    const QUARTER: usize = (UNREAD_BYTES_MAX / 4) as usize;

    #[test]
    fn the_one_that_waited_longest_is_cut_and_no_other() {
        let unread = Unread::default();
        let [asleep, slow, quick] = [(); 3].map(|()| unread.reader());
        let start = Instant::now();
        let first = asleep.charge_at(start, QUARTER);
        let second = slow.charge_at(start + UNREAD_TIME, 2 * QUARTER);
        for _ in 0..100 {
            drop(quick.charge_at(start + UNREAD_TIME, QUARTER));
        }
        assert!(!is_cut(&asleep), "all of it has room");
        let last = quick.charge_at(start + UNREAD_TIME, 2 * QUARTER);
        assert_eq!([&asleep, &slow, &quick].map(is_cut), [true, false, false]);
        assert!(unread.lock(Budget::Streams).bytes <= UNREAD_BYTES_MAX);
        drop((first, second, last));
        assert_eq!(unread.lock(Budget::Streams).bytes, 0, "what was cut is counted out once");
    }

    #[test]
    fn readers_who_are_told_much_at_once_have_a_moment() {
        let unread = Unread::default();
        let readers = [(); 12].map(|()| unread.reader());
        let start = Instant::now();
        let told: Vec<Charge> = readers.iter().map(|one| one.charge_at(start, QUARTER)).collect();
        assert!(!readers.iter().any(is_cut));
        drop(told);
        assert_eq!(unread.lock(Budget::Streams).bytes, 0);
    }

    #[test]
    fn a_piece_counts_until_its_last_copy_is_dropped() {
        let unread = Unread::default();
        let piece = unread.reader().hold(Bytes::from(vec![7; QUARTER]));
        let copy = piece.slice(1..2);
        drop(piece);
        assert_eq!(unread.lock(Budget::Streams).bytes, QUARTER as u64);
        drop(copy);
        assert_eq!(unread.lock(Budget::Streams).bytes, 0);
    }

    #[test]
    fn an_answer_without_room_is_refused_until_readers_who_do_not_read_are_cut() {
        let unread = Unread::default();
        let [asleep, awake, other] = [(); 3].map(|()| unread.reader());
        let start = Instant::now();
        let stands = asleep.admit_at(start, 2 * QUARTER).unwrap();
        let mut read = awake.admit_at(start, QUARTER).unwrap();
        let _one = other.admit_at(start, QUARTER).unwrap();
        assert!(other.admit_at(start, QUARTER).is_err(), "nobody has had a moment to read");
        let piece = read.part(QUARTER / 2).hold(Bytes::from(vec![7; QUARTER / 2]));
        assert_eq!(unread.lock(Budget::Answers).bytes, 4 * QUARTER as u64, "it is only divided");
        drop(piece);
        assert_eq!(unread.lock(Budget::Answers).bytes, 7 * QUARTER as u64 / 2);
        let later = other.admit_at(start + UNREAD_TIME, QUARTER).unwrap();
        assert_eq!([&asleep, &awake, &other].map(is_cut), [true, false, false]);
        assert!(other.admit_at(start, 5 * QUARTER).is_err(), "it is more than there is");
        drop((stands, read, later));
        assert_eq!(unread.lock(Budget::Answers).bytes, QUARTER as u64);
        assert_eq!(unread.lock(Budget::Streams).bytes, 0, "streams have their own");
    }
}
