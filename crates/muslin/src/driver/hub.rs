//! What has changed, and who is woken for it.
//!
//! The driver puts changes into the ring, and that is all that watches cost it. A pump of its own
//! looks who wants them and marks them. Readers of what is marked stand in line, and the pump wakes
//! a few at a time and rests after each turn, so that wakes and messages are bounded whatever is
//! written, and whoever writes never waits behind all readers at once. Readers read when they like:
//! see [`Cursor`](muslin_core::state::Cursor).
//!
//! # Invariants
//! 1. A change is in the ring before its writer is answered, and before any mark for it.
//! 2. Whoever is not marked has nothing to read up to where the pump has looked.
//! 3. The ring is filled from before a watch is told that it began until the last one has ended.
//! 4. A reader that has marks, and was not woken since the first of them, stands in line.

use muslin_core::base::{Index, Revision};
use muslin_core::state::{Changes, KeyRange, Ring, RingRoom, Segment};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// What the ring holds: a reader that is later than this reads history, which costs more. Seconds
/// of what the fastest node takes.
const RING_ROOM: RingRoom = RingRoom { bytes: 64 << 20, events: 500_000 };

/// Readers are woken until they have so many marks together: what is told for them takes about a
/// millisecond, for which others wait.
const TURN_MARKS: usize = 100;

/// How long the pump rests for each mark of a turn: some times what telling it costs, so that most
/// of the processor is left to those who write.
const REST_PER_MARK: Duration = Duration::from_micros(50);

/// The least it rests behind a turn.
const REST_MIN: Duration = Duration::from_millis(1);

/// The rests of so many marks as there are watches are no longer than this: what is told is never
/// much older.
const CYCLE_MAX: Duration = Duration::from_millis(250);

/// Changes, and who wants them.
#[derive(Debug)]
pub(crate) struct Hub {
    ring: Mutex<Ring>,
    /// Up to here marks are made, or are being made.
    seen: AtomicU64,
    index: Mutex<Wishes>,
    /// Something is in the ring that was not looked at.
    news: Notify,
    /// Watches that are there, or have been asked for.
    watching: AtomicUsize,
    /// The driver tells changes.
    is_filled: AtomicBool,
    is_closed: AtomicBool,
    next: AtomicU64,
}

/// Who wants what.
#[derive(Debug, Default)]
struct Wishes {
    /// Everything up to here was looked at.
    looked: Revision,
    /// The last change of rights of which all were told.
    rights: Index,
    keys: HashMap<Vec<u8>, Wanting>,
    ranges: BTreeMap<Span, Wanting>,
    /// The ranges by where they begin; made anew when it is wanted and they have changed.
    spans: Option<Vec<Reach>>,
    /// Readers that are to be woken, the one that waits longest first.
    line: VecDeque<Arc<Inbox>>,
}

/// Who wants one key or range.
type Wanting = BTreeMap<u64, Arc<Wish>>;

/// Where a range begins, and its end; `None` is that of all keys.
type Span = (Vec<u8>, Option<Vec<u8>>);

/// A range, and how far it and those that begin before it reach.
#[derive(Debug)]
struct Reach {
    span: Span,
    /// `None` reaches to the end of all keys.
    farthest: Option<Vec<u8>>,
}

/// One watch as the pump knows it.
#[derive(Debug)]
struct Wish {
    /// Its number among those of its reader.
    number: u64,
    inbox: Arc<Inbox>,
    /// It is in the inbox.
    is_marked: AtomicBool,
}

/// Where one reader, of any number of watches, finds which of them have something to read.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    marks: Mutex<Vec<Mark>>,
    news: Notify,
    /// It stands in line. Changed under the lock of the line only.
    is_in_line: AtomicBool,
}

/// A watch has something to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mark {
    /// Which.
    pub(crate) number: u64,
    /// There is nothing for it before this.
    pub(crate) from: Revision,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind it is whole whenever it is let go.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Hub {
    fn default() -> Hub {
        Hub {
            ring: Mutex::new(Ring::new(RING_ROOM)),
            seen: AtomicU64::new(0),
            index: Mutex::default(),
            news: Notify::new(),
            watching: AtomicUsize::new(0),
            is_filled: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            next: AtomicU64::new(0),
        }
    }
}

/// For the driver.
impl Hub {
    /// Adds what has changed.
    pub(super) fn push(&self, changes: Changes) {
        locked(&self.ring).push(changes);
        self.is_filled.store(true, Ordering::Release);
        self.news.notify_one();
    }

    /// Whether the last watch has ended since it was asked last. If so the ring is empty, and the
    /// driver need not fill it.
    pub(super) fn is_left(&self) -> bool {
        // One that is asked for from here on finds the driver behind this question.
        let is_left =
            self.is_filled.load(Ordering::Acquire) && self.watching.load(Ordering::Acquire) == 0;
        if is_left {
            self.is_filled.store(false, Ordering::Release);
            locked(&self.ring).clear();
        }
        is_left
    }

    /// Nothing more happens: readers are told.
    fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.news.notify_one();
        let index = locked(&self.index);
        let all = index.keys.values().chain(index.ranges.values()).flat_map(BTreeMap::values);
        all.for_each(|wish| wish.inbox.news.notify_one());
    }
}

/// Ends what a driver told when it ends, however it does.
pub(super) struct Teller(pub(super) Arc<Hub>);

impl Drop for Teller {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// For readers.
impl Hub {
    /// How many ranges, and keys, somebody wants.
    #[cfg(all(test, feature = "api"))]
    pub(crate) fn spans(&self) -> usize {
        let wishes = locked(&self.index);
        wishes.keys.len() + wishes.ranges.len()
    }

    /// Whether nothing more happens.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Who reads this far has read all that it was marked for, if it asks behind its
    /// [`Subscribed::unmark`]: what comes later marks it again.
    #[cfg(feature = "api")]
    pub(crate) fn seen(&self) -> Revision {
        Revision(self.seen.load(Ordering::SeqCst))
    }

    /// What it holds.
    pub(crate) fn bytes(&self) -> usize {
        locked(&self.ring).bytes()
    }

    /// Reads the ring. The driver waits meanwhile.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Ring) -> T) -> T {
        read(&locked(&self.ring))
    }

    /// A watch is about to be asked for: the ring is filled from when the driver hears of it.
    pub(crate) fn expect(self: &Arc<Hub>) -> Expected {
        self.watching.fetch_add(1, Ordering::AcqRel);
        Expected(self.clone())
    }

    /// Looks who wants what has happened up to now, and tells how far that is. Their readers get in
    /// line.
    pub(crate) fn look(&self) -> Revision {
        let mut index = locked(&self.index);
        let (news, through, rights) = {
            let ring = locked(&self.ring);
            // What the ring has dropped unseen may be anybody's.
            let news = (ring.after() <= index.looked)
                .then(|| ring.behind(index.looked).cloned().collect::<Vec<_>>());
            (news, ring.through(), ring.rights_at())
        };
        // Before any mark: one that is not made, since there is one that was not taken yet, is made
        // good by whoever takes that one and reads up to here.
        self.seen.store(index.looked.max(through).0, Ordering::SeqCst);
        match news {
            Some(news) if rights <= index.rights => index.mark(&news),
            _ => index.mark_all(),
        }
        index.looked = index.looked.max(through);
        index.rights = index.rights.max(rights);
        index.looked
    }

    /// Wakes those who have stood in line for longest; how many marks they have.
    fn wake_some(&self) -> usize {
        let mut index = locked(&self.index);
        let mut woken = 0;
        while woken < TURN_MARKS
            && let Some(inbox) = index.line.pop_front()
        {
            inbox.is_in_line.store(false, Ordering::Relaxed);
            woken += inbox.wake();
        }
        woken
    }

    /// Whether somebody stands in line.
    fn has_line(&self) -> bool {
        !locked(&self.index).line.is_empty()
    }
}

impl Wishes {
    fn mark_all(&mut self) {
        let from = self.looked.next();
        let all = self.keys.values().chain(self.ranges.values()).flat_map(BTreeMap::values);
        for wish in all {
            wish.mark(from, &mut self.line);
        }
    }

    /// Marks who wants these changes.
    fn mark(&mut self, news: &[Arc<Segment>]) {
        let looked = self.looked;
        if self.spans.is_none() {
            self.spans = Some(reaches(self.ranges.keys()));
        }
        let Wishes { keys, ranges, line, spans, .. } = self;
        let spans = spans.as_deref().unwrap_or_default();
        // A mark is for all that has happened: whoever wants one change was marked for the next.
        let (mut keys_done, mut is_done) = (BTreeSet::new(), vec![false; spans.len()]);
        let changes = news.iter().flat_map(|segment| segment.changed());
        for (at, key) in changes.filter(|(at, _)| *at > looked) {
            let of_key = keys.get(key).filter(|_| keys_done.insert(key)).into_iter();
            let around = around(spans, key).filter(|place| !is_done[*place]).collect::<Vec<_>>();
            let of_ranges = around.iter().filter_map(|place| ranges.get(&spans[*place].span));
            for wish in of_key.chain(of_ranges).flat_map(BTreeMap::values) {
                wish.mark(at, line);
            }
            around.into_iter().for_each(|place| is_done[place] = true);
        }
    }
}

/// The ranges by where they begin, each with how far it and those before it reach.
fn reaches<'a>(spans: impl Iterator<Item = &'a Span>) -> Vec<Reach> {
    let mut all: Vec<Reach> = Vec::new();
    for span in spans {
        let farthest = match all.last() {
            None => span.1.clone(),
            Some(Reach { farthest: None, .. }) => None,
            Some(Reach { farthest: Some(before), .. }) => {
                span.1.clone().map(|end| end.max(before.clone()))
            }
        };
        all.push(Reach { span: span.clone(), farthest });
    }
    all
}

/// The places of the ranges that have a key. Looks at those that begin before it, from the last one
/// back to where none reaches it.
fn around(spans: &[Reach], key: &[u8]) -> impl Iterator<Item = usize> {
    let begun = spans.partition_point(|reach| reach.span.0.as_slice() <= key);
    let is_before = move |end: &Option<Vec<u8>>| end.as_ref().is_none_or(|end| key < &end[..]);
    let near = spans[..begun].iter().enumerate().rev();
    let near = near.take_while(move |(_, reach)| is_before(&reach.farthest));
    near.filter(move |(_, reach)| is_before(&reach.span.1)).map(|(place, _)| place)
}

impl Wish {
    /// Marks it, if it is not.
    fn mark(&self, from: Revision, line: &mut VecDeque<Arc<Inbox>>) {
        // Looked at first: most are marked while many changes come, and a look costs less.
        if self.is_marked.load(Ordering::SeqCst) || self.is_marked.swap(true, Ordering::SeqCst) {
            return;
        }
        locked(&self.inbox.marks).push(Mark { number: self.number, from });
        if !self.inbox.is_in_line.swap(true, Ordering::Relaxed) {
            line.push_back(self.inbox.clone());
        }
    }
}

impl Inbox {
    /// Wakes its reader, if it has not taken its marks by itself; how many there are.
    fn wake(&self) -> usize {
        let marks = locked(&self.marks).len();
        if marks > 0 {
            self.news.notify_one();
        }
        marks
    }

    /// What was marked since it was asked last. Whoever takes a mark unmarks it, see
    /// [`Subscribed::unmark`], and reads then.
    pub(crate) fn take(&self) -> Vec<Mark> {
        std::mem::take(&mut *locked(&self.marks))
    }

    /// Whether nothing is marked.
    pub(crate) fn is_empty(&self) -> bool {
        locked(&self.marks).is_empty()
    }

    /// Returns when there may be marks, or the hub has closed. Cancel safe.
    pub(crate) async fn wait(&self) {
        self.news.notified().await;
    }
}

/// A watch that was asked for: while it is there, the ring is filled.
#[derive(Debug)]
pub(crate) struct Expected(Arc<Hub>);

impl Drop for Expected {
    fn drop(&mut self) {
        self.0.watching.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Expected {
    /// It has begun: it is marked for what happens to these keys from here on. What has happened
    /// since the driver answered, it has to look at by itself.
    pub(crate) fn subscribe(self, range: &KeyRange, inbox: &Arc<Inbox>, number: u64) -> Subscribed {
        let (inbox, is_marked) = (inbox.clone(), AtomicBool::new(false));
        let wish = Arc::new(Wish { number, inbox, is_marked });
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let place = Place::of(range);
        let mut index = locked(&self.0.index);
        match &place {
            Place::Key(key) => {
                index.keys.entry(key.clone()).or_default().insert(id, wish.clone());
            }
            Place::Span(span) => {
                let wanting = index.ranges.entry(span.clone()).or_default();
                let is_new = wanting.is_empty();
                wanting.insert(id, wish.clone());
                if is_new {
                    index.spans = None;
                }
            }
            Place::Nowhere => {}
        }
        drop(index);
        Subscribed { expected: self, wish, id, place }
    }
}

/// What one watch wants.
#[derive(Debug)]
enum Place {
    Key(Vec<u8>),
    Span(Span),
    /// No key is in it.
    Nowhere,
}

impl Place {
    fn of(range: &KeyRange) -> Place {
        if range.is_point() {
            return Place::Key(range.key.to_vec());
        }
        match range.end() {
            None => Place::Nowhere,
            Some(Bound::Excluded(end)) => Place::Span((range.key.to_vec(), Some(end.to_vec()))),
            Some(_) => Place::Span((range.key.to_vec(), None)),
        }
    }
}

/// A watch that is marked when it has something to read.
#[derive(Debug)]
pub(crate) struct Subscribed {
    expected: Expected,
    wish: Arc<Wish>,
    id: u64,
    place: Place,
}

impl Subscribed {
    /// Its reader has taken its mark, and is going to read.
    pub(crate) fn unmark(&self) {
        self.wish.is_marked.swap(false, Ordering::SeqCst);
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.expected.0
    }
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        let mut index = locked(&self.expected.0.index);
        match &self.place {
            Place::Key(key) => {
                if let Some(wanting) = index.keys.get_mut(key) {
                    wanting.remove(&self.id);
                    if wanting.is_empty() {
                        index.keys.remove(key);
                    }
                }
            }
            Place::Span(span) => {
                if let Some(wanting) = index.ranges.get_mut(span) {
                    wanting.remove(&self.id);
                    if wanting.is_empty() {
                        index.ranges.remove(span);
                        index.spans = None;
                    }
                }
            }
            Place::Nowhere => {}
        }
    }
}

/// Looks at what happens, and wakes who wants it, until the driver ends.
pub(super) async fn pump(hub: Arc<Hub>) {
    let mut rested = Instant::now();
    while !hub.is_closed() {
        if !hub.has_line() {
            hub.news.notified().await;
        }
        tokio::time::sleep_until(rested).await;
        hub.look();
        let woken = hub.wake_some();
        if woken > 0 {
            rested = Instant::now() + rest(woken, hub.watching.load(Ordering::Relaxed));
        }
    }
}

/// Behind a turn in which of so many watches so many were woken for.
fn rest(woken: usize, watching: usize) -> Duration {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let (woken, watching) = (count(woken), count(watching.max(1)));
    let share = CYCLE_MAX.saturating_mul(woken) / watching;
    REST_PER_MARK.saturating_mul(woken).min(share).max(REST_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use muslin_core::state::{KeyValue, KvEvent, KvEventKind};
    use proptest::prelude::*;

    fn any_range() -> impl Strategy<Value = (String, Option<String>)> {
        ("[a-d]{0,3}", prop::option::of("[a-d]{1,3}"))
    }

    proptest! {
        #[test]
        fn the_ranges_around_a_key_are_those_that_have_it(
            ranges in prop::collection::btree_set(any_range(), 0..12),
            key in "[a-d]{0,3}",
        ) {
            let spans: std::collections::BTreeSet<Span> = ranges
                .into_iter()
                .map(|(start, end)| (start.into_bytes(), end.map(String::into_bytes)))
                .collect();
            let key = key.as_bytes();
            let has = |(start, end): &Span| {
                &start[..] <= key && end.as_ref().is_none_or(|end| key < &end[..])
            };
            let expected: Vec<&Span> = spans.iter().rev().filter(|span| has(span)).collect();
            let all = reaches(spans.iter());
            let told: Vec<&Span> = around(&all, key).map(|place| &all[place].span).collect();
            prop_assert_eq!(told, expected);
        }
    }

    #[test]
    fn it_rests_by_how_many_it_has_woken_and_no_longer_than_a_cycle_for_all() {
        assert_eq!(rest(1, 1), REST_MIN);
        assert_eq!(rest(100, 3_000), Duration::from_millis(5));
        assert_eq!(rest(100, 10_000), CYCLE_MAX / 100);
        assert_eq!(rest(10_000, 10_000), CYCLE_MAX, "all on one stream");
        assert_eq!(rest(100, 10_000_000), REST_MIN);
    }

    fn changes(after: u64, key: &str) -> Changes {
        let (kind, prev) = (KvEventKind::Put, None);
        let kv = KeyValue { key: key.into(), mod_revision: after + 1, ..KeyValue::default() };
        let events = vec![KvEvent { kind, kv, prev }];
        let (after, through) = (Revision(after), Revision(after + 1));
        Changes { after, events, through, rights: None }
    }

    /// Readers of so many watches of all keys each.
    fn crowd(hub: &Arc<Hub>, readers: usize, each: u64) -> Vec<(Arc<Inbox>, Vec<Subscribed>)> {
        let all = KeyRange::of_prefix("");
        let reader = |_| {
            let inbox = Arc::<Inbox>::default();
            let watch = |number| hub.expect().subscribe(&all, &inbox, number);
            (inbox.clone(), (0..each).map(watch).collect())
        };
        (0..readers).map(reader).collect()
    }

    #[test]
    fn a_crowd_is_marked_at_once_and_woken_in_turns_each_reader_once() {
        let hub = Arc::new(Hub::default());
        let readers = crowd(&hub, 5, TURN_MARKS as u64 / 2);
        hub.push(changes(0, "a"));
        hub.push(changes(1, "b"));
        assert_eq!(hub.look(), Revision(2));
        assert!(readers.iter().all(|(inbox, all)| locked(&inbox.marks).len() == all.len()));
        let turns: Vec<usize> = (0..4).map(|_| hub.wake_some()).collect();
        assert_eq!(turns, [TURN_MARKS, TURN_MARKS, TURN_MARKS / 2, 0]);
        assert!(!hub.has_line());
    }

    #[test]
    fn who_took_its_marks_before_its_turn_is_not_woken_and_gets_in_line_again() {
        let hub = Arc::new(Hub::default());
        let readers = crowd(&hub, 2, 1);
        hub.push(changes(0, "a"));
        hub.look();
        let (inbox, watches) = &readers[0];
        assert_eq!(inbox.take(), [Mark { number: 0, from: Revision(1) }]);
        watches[0].unmark();
        assert_eq!(hub.wake_some(), 1, "the other");
        hub.push(changes(1, "a"));
        hub.look();
        assert_eq!(hub.wake_some(), 1, "the other was not heard of since");
        assert_eq!(inbox.take(), [Mark { number: 0, from: Revision(2) }]);
    }
}
