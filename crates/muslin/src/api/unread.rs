//! What streams hold for readers who do not read, of all connections together.
//!
//! How much one stream holds is bounded beside its handler. Of all streams it is counted here, from
//! the moment a piece is made until the socket has taken it. Over the bound, the connection whose
//! piece has waited longest is cut, unless it has waited for a moment only: whoever reads is never
//! that one. Its reader comes again, and goes on behind the last revision it has read.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Bytes of all streams together: some ninety readers that have each left one of the largest values
/// unread.
const UNREAD_BYTES_MAX: u64 = 128 << 20;

/// A piece that has waited this long waits for a reader who does not read. Those who do may all be
/// told a large value at once, and need a moment.
const UNREAD_TIME: Duration = Duration::from_secs(2);

/// A piece below this is not counted: the number of pieces per stream bounds them well enough, and
/// counting costs.
const COUNTED_BYTES_MIN: usize = 4 << 10;

/// Counts what streams hold.
#[derive(Clone, Default)]
pub(super) struct Unread {
    pieces: Arc<Mutex<Pieces>>,
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
        Reader { unread: self.clone(), cut: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Pieces> {
        // What is behind it is whole whenever it is let go.
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pieces {
    /// Takes one more; the connections that have to go for it.
    fn add(&mut self, piece: Piece) -> Vec<Arc<Notify>> {
        let now = piece.since;
        self.bytes += piece.bytes;
        self.held.insert(self.made, piece);
        self.made += 1;
        let mut late = Vec::new();
        while self.bytes > UNREAD_BYTES_MAX
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

    fn remove(&mut self, number: u64) {
        self.bytes -= self.held.remove(&number).map_or(0, |piece| piece.bytes);
    }
}

/// Who reads what one connection carries.
#[derive(Clone)]
pub(super) struct Reader {
    unread: Unread,
    cut: Arc<Notify>,
}

impl Reader {
    /// Counts so many bytes until the charge is dropped.
    pub(super) fn charge(&self, bytes: usize) -> Charge {
        self.charge_at(Instant::now(), bytes)
    }

    fn charge_at(&self, since: Instant, bytes: usize) -> Charge {
        if bytes < COUNTED_BYTES_MIN {
            return Charge(None);
        }
        let mut pieces = self.unread.lock();
        let number = pieces.made;
        let late = pieces.add(Piece { since, bytes: bytes as u64, cut: self.cut.clone() });
        drop(pieces);
        late.iter().for_each(|cut| cut.notify_one());
        Charge(Some((self.unread.clone(), number)))
    }

    /// The same bytes, counted until the last copy is dropped.
    pub(super) fn hold(&self, bytes: Bytes) -> Bytes {
        if bytes.len() < COUNTED_BYTES_MIN {
            return bytes;
        }
        let charge = self.charge(bytes.len());
        Bytes::from_owner(Held { bytes, _charge: charge })
    }

    /// Returns when the connection has to go.
    pub(super) async fn cut(&self) {
        self.cut.notified().await;
    }
}

/// Counted as long as it is there.
pub(super) struct Charge(Option<(Unread, u64)>);

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some((unread, number)) = &self.0 {
            unread.lock().remove(*number);
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
        assert!(unread.lock().bytes <= UNREAD_BYTES_MAX);
        drop((first, second, last));
        assert_eq!(unread.lock().bytes, 0, "what was cut is counted out once");
    }

    #[test]
    fn readers_who_are_told_much_at_once_have_a_moment() {
        let unread = Unread::default();
        let readers = [(); 12].map(|()| unread.reader());
        let start = Instant::now();
        let told: Vec<Charge> = readers.iter().map(|one| one.charge_at(start, QUARTER)).collect();
        assert!(!readers.iter().any(is_cut));
        drop(told);
        assert_eq!(unread.lock().bytes, 0);
    }

    #[test]
    fn a_piece_counts_until_its_last_copy_is_dropped() {
        let unread = Unread::default();
        let piece = unread.reader().hold(Bytes::from(vec![7; QUARTER]));
        let copy = piece.slice(1..2);
        drop(piece);
        assert_eq!(unread.lock().bytes, QUARTER as u64);
        drop(copy);
        assert_eq!(unread.lock().bytes, 0);
    }
}
