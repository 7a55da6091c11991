//! One watcher: every event once, in order, and how long each was on its way.

use super::actor::{Actor, Next, Part, Phase};
use super::call::{Op, Values, number};
use super::seen::Seen;
use super::wire::fields::Fields;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often a watcher looks whether it has everything.
const LOOK: Duration = Duration::from_millis(20);

/// How many events there are; unknown while they are still written.
#[derive(Clone)]
pub(super) struct Total(Arc<AtomicU64>);

impl Total {
    pub(super) fn unknown() -> Total {
        Total(Arc::new(AtomicU64::new(u64::MAX)))
    }

    /// So many writes were acknowledged, and no more will be.
    pub(super) fn set(&self, total: u64) {
        self.0.store(total, Ordering::Release);
    }

    pub(super) fn is_reached(&self, seen: u64) -> bool {
        seen >= self.0.load(Ordering::Acquire)
    }
}

/// A watcher of all keys.
pub(super) struct Watcher {
    values: Values,
    base: Instant,
    total: Total,
    is_created: bool,
    is_opened: bool,
    opened: Option<Instant>,
    revision: u64,
    /// Events of this run.
    pub(super) events: u64,
    /// What it saw; a time is that of an event's way.
    pub(super) seen: Seen,
}

impl Watcher {
    pub(super) fn new(values: Values, base: Instant, total: Total) -> Watcher {
        Watcher {
            values,
            base,
            total,
            is_created: false,
            is_opened: false,
            opened: None,
            revision: 0,
            events: 0,
            seen: Seen::default(),
        }
    }

    fn on_event(&mut self, event: &[u8], now: Instant) {
        let kv = Fields::of(event).find(|(tag, _)| *tag == 2).map_or(&[][..], |(_, kv)| kv.bytes());
        let (mut revision, mut value) = (0, &[][..]);
        for (tag, content) in Fields::of(kv) {
            match tag {
                3 => revision = content.number(),
                5 => value = content.bytes(),
                _ => {}
            }
        }
        let Some(written) = self.values.read(value) else {
            return self.seen.wrong("an event with a value that nobody wrote".to_string());
        };
        if revision <= self.revision {
            let last = self.revision;
            self.seen.wrong(format!("an event behind a later one ({revision} behind {last})"));
        }
        self.revision = revision;
        self.events += 1;
        let sent = self.base + Duration::from_nanos(written.sent);
        self.seen.record(now.saturating_duration_since(sent));
    }
}

impl Actor for Watcher {
    fn next(&mut self, phase: &Phase, now: Instant) -> Next {
        let is_over = match phase.part {
            Part::Ready => self.is_created,
            _ => self.total.is_reached(self.events),
        };
        match (is_over || now >= phase.until, self.is_opened) {
            (true, _) => Next::Done,
            (false, true) => Next::At(now + LOOK),
            (false, false) => {
                self.is_opened = true;
                self.opened = Some(now);
                Next::Call(Op::Watch)
            }
        }
    }

    fn since(&self) -> Option<Instant> {
        self.opened
    }

    fn message(&mut self, message: &[u8], _: &Phase, now: Instant) {
        for (tag, content) in Fields::of(message) {
            match (tag, content.number()) {
                (3, 1) => (self.is_created, self.opened) = (true, None),
                (4, 1) => {
                    let text = Fields::of(message).find(|(tag, _)| *tag == 6);
                    let why = text.map_or(&[][..], |(_, text)| text.bytes());
                    let why = String::from_utf8_lossy(why);
                    self.seen.failed(format!(
                        "a watch was canceled ({why}, compacted {})",
                        number(message, 5)
                    ));
                }
                (11, _) => self.on_event(content.bytes(), now),
                _ => {}
            }
        }
    }

    fn end(&mut self, end: Result<(), String>, _: &Phase, _: Instant) {
        // It stays closed: what is missing then is counted as lost.
        self.opened = None;
        self.is_created = true;
        let why = end.err().unwrap_or_else(|| "the server ended a watch".to_string());
        self.seen.failed(why);
    }
}

#[cfg(test)]
mod tests {
    use super::super::call::Op;
    use super::super::wire::connection::PREFIX;
    use super::super::wire::fields;
    use super::*;

    const VALUES: Values = Values { mark: 7, bytes: 40 };

    /// A WatchResponse with one event, a put of the run with this mark.
    fn event(mark: u64, revision: u64) -> Vec<u8> {
        let mut put = Vec::new();
        Op::Put { key: 1, count: 0, sent: 500 }.encode(&mut put, Values { mark, ..VALUES });
        let value = Fields::of(&put[PREFIX..]).find(|(tag, _)| *tag == 2).unwrap().1.bytes();
        let (mut kv, mut event, mut response) = (Vec::new(), Vec::new(), Vec::new());
        fields::number(&mut kv, 3, revision);
        fields::bytes(&mut kv, 5, value);
        fields::bytes(&mut event, 2, &kv);
        fields::bytes(&mut response, 11, &event);
        response
    }

    fn phase(part: Part, base: Instant) -> Phase {
        Phase { part, is_measured: true, until: base + Duration::from_secs(1) }
    }

    #[test]
    fn a_watcher_waits_for_every_event_and_for_no_more() {
        let (base, total) = (Instant::now(), Total::unknown());
        let mut watcher = Watcher::new(VALUES, base, total.clone());
        let (ready, load) = (phase(Part::Ready, base), phase(Part::Load, base));
        assert_eq!(watcher.next(&ready, base), Next::Call(Op::Watch));
        assert!(watcher.since().is_some());
        watcher.message(&[3 << 3, 1], &ready, base);
        assert_eq!((watcher.next(&ready, base), watcher.since()), (Next::Done, None));
        watcher.message(&event(7, 10), &load, base + Duration::from_nanos(1_500));
        assert_eq!(watcher.next(&load, base), Next::At(base + LOOK));
        total.set(2);
        assert_eq!(watcher.next(&load, base), Next::At(base + LOOK));
        watcher.message(&event(7, 11), &load, base);
        assert_eq!(watcher.next(&load, base), Next::Done);
        assert_eq!(watcher.seen.longest, Duration::from_micros(1));
        assert_eq!((watcher.events, watcher.seen.wrong, watcher.seen.failed), (2, 0, 0));
    }

    #[test]
    fn events_out_of_order_twice_or_of_nobody_are_wrong() {
        let base = Instant::now();
        let mut watcher = Watcher::new(VALUES, base, Total::unknown());
        let load = phase(Part::Load, base);
        for (mark, revision, wrong) in [(7, 10, 0), (7, 10, 1), (7, 9, 2), (8, 12, 3), (7, 12, 3)] {
            watcher.message(&event(mark, revision), &load, base);
            assert_eq!(watcher.seen.wrong, wrong, "{:?}", watcher.seen.reasons);
        }
        watcher.end(Ok(()), &load, base);
        assert_eq!(watcher.seen.failed, 1);
    }
}
