//! What has changed, and who is woken for it.
//!
//! The driver puts changes into the ring, and that is all that watches cost it. A pump of its own
//! looks who wants them, marks them, and wakes their readers; after each round it rests the longer
//! the more it has marked, so that wakes and messages are bounded whatever is written. Readers read
//! when they like: see [`Cursor`](muslin_core::state::Cursor).
//!
//! # Invariants
//! 1. A change is in the ring before its writer is answered, and before any mark for it.
//! 2. Whoever is not marked has nothing to read up to where the pump has looked.
//! 3. The ring is filled from before a watch is told that it began until the last one has ended.

use muslin_core::base::{Index, Revision};
use muslin_core::state::{Changes, KeyRange, Ring, RingRoom, Segment};
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// What the ring holds: a reader that is later than this reads history, which costs more. Seconds
/// of what the fastest node takes.
const RING_ROOM: RingRoom = RingRoom { bytes: 64 << 20, events: 500_000 };

/// How long the pump rests for each watch it has marked: about what telling one costs.
const REST_PER_MARK: Duration = Duration::from_micros(10);

/// The least it rests, once it has marked any.
const REST_MIN: Duration = Duration::from_millis(1);

/// The most it rests, so that what is told is never much older than this.
const REST_MAX: Duration = Duration::from_millis(100);

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

    /// Looks who wants what has happened up to now, and tells how far that is. Readers whom the
    /// pump has not woken yet are woken.
    pub(crate) fn look(&self) -> Revision {
        let (revision, _) = self.look_and_mark();
        revision
    }

    /// How far that is, and how many watches were marked.
    fn look_and_mark(&self) -> (Revision, usize) {
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
        let mut marked = 0;
        match news {
            Some(news) if rights <= index.rights => {
                for segment in &news {
                    marked += index.mark(segment);
                }
            }
            _ => marked += index.mark_all(),
        }
        index.looked = index.looked.max(through);
        index.rights = index.rights.max(rights);
        (index.looked, marked)
    }
}

impl Wishes {
    fn mark_all(&mut self) -> usize {
        let from = self.looked.next();
        let all = self.keys.values().chain(self.ranges.values()).flat_map(BTreeMap::values);
        all.filter(|wish| wish.mark(from)).count()
    }

    /// Marks who wants these changes.
    fn mark(&mut self, segment: &Segment) -> usize {
        let mut marked = 0;
        let looked = self.looked;
        if self.spans.is_none() {
            self.spans = Some(reaches(self.ranges.keys()));
        }
        let spans = self.spans.as_deref().unwrap_or_default();
        for (at, key) in segment.changed().filter(|(at, _)| *at > looked) {
            if let Some(wanting) = self.keys.get(key) {
                marked += wanting.values().filter(|wish| wish.mark(at)).count();
            }
            for span in around(spans, key) {
                let wanting = self.ranges.get(span).into_iter().flat_map(BTreeMap::values);
                marked += wanting.filter(|wish| wish.mark(at)).count();
            }
        }
        marked
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

/// The ranges that have a key. Looks at those that begin before it, from the last one back to where
/// none reaches it.
fn around<'a>(spans: &'a [Reach], key: &'a [u8]) -> impl Iterator<Item = &'a Span> {
    let begun = spans.partition_point(|reach| reach.span.0.as_slice() <= key);
    let is_before = move |end: &Option<Vec<u8>>| end.as_ref().is_none_or(|end| key < &end[..]);
    let near = spans[..begun].iter().rev().take_while(move |reach| is_before(&reach.farthest));
    near.filter(move |reach| is_before(&reach.span.1)).map(|reach| &reach.span)
}

impl Wish {
    /// Whether it was not marked before.
    fn mark(&self, from: Revision) -> bool {
        if self.is_marked.swap(true, Ordering::SeqCst) {
            return false;
        }
        let mut marks = locked(&self.inbox.marks);
        let is_first = marks.is_empty();
        marks.push(Mark { number: self.number, from });
        drop(marks);
        if is_first {
            self.inbox.news.notify_one();
        }
        true
    }
}

impl Inbox {
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
        hub.news.notified().await;
        tokio::time::sleep_until(rested).await;
        let (_, marked) = hub.look_and_mark();
        if marked > 0 {
            rested = Instant::now() + rest(marked);
        }
    }
}

fn rest(marked: usize) -> Duration {
    let marked = u32::try_from(marked).unwrap_or(u32::MAX);
    REST_PER_MARK.saturating_mul(marked).clamp(REST_MIN, REST_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
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
            prop_assert_eq!(around(&all, key).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn it_rests_by_how_many_it_has_marked() {
        assert_eq!(rest(1), REST_MIN);
        assert_eq!(rest(2_000), Duration::from_millis(20));
        assert_eq!(rest(10_000_000), REST_MAX);
    }
}
