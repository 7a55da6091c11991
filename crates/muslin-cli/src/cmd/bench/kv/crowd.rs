//! Many watches on one stream, all of the same keys: each must be told every write, once and in
//! order.
//!
//! Nobody but the load writes while they watch, so revisions follow one another without a gap: each
//! watch knows what its next event must be. Events that are the same bytes as those another watch
//! of the stream was told just before were looked at already, and are only compared with those.

use super::actor::{Actor, Next, Part, Phase};
use super::call::{Op, Values};
use super::seen::Seen;
use super::watcher::Total;
use super::wire::fields::Fields;
use std::time::{Duration, Instant};

/// How often a crowd looks whether it has everything.
const LOOK: Duration = Duration::from_millis(50);

/// One stream.
pub(super) struct Crowd {
    values: Values,
    base: Instant,
    /// The revision of the last write, once it is known.
    last: Total,
    wanted: usize,
    asked: usize,
    /// The last revision each was told, by watch id; none before it was created.
    told: Vec<Option<u64>>,
    created: usize,
    run: Run,
    /// Events of all its watches.
    pub(super) events: u64,
    /// Messages they came in.
    pub(super) messages: u64,
    /// Events that should have been told and were not.
    pub(super) lost: u64,
    /// Events told again, or behind later ones.
    pub(super) disordered: u64,
    /// What it saw; a time is that of the oldest event of a message on its way.
    pub(super) seen: Seen,
}

/// Events as they were told last.
#[derive(Default)]
struct Run {
    bytes: Vec<u8>,
    read: Read,
}

/// What events say.
#[derive(Clone, Copy, Default)]
struct Read {
    first: u64,
    last: u64,
    count: u64,
    /// Not in order, or with a gap.
    flaws: (u64, u64),
    /// When the first was written.
    sent: Option<u64>,
}

impl Crowd {
    pub(super) fn new(wanted: usize, values: Values, base: Instant, last: Total) -> Crowd {
        Crowd {
            values,
            base,
            last,
            wanted,
            asked: 0,
            told: vec![None; wanted],
            created: 0,
            run: Run::default(),
            events: 0,
            messages: 0,
            lost: 0,
            disordered: 0,
            seen: Seen::default(),
        }
    }

    /// Watches that have begun.
    pub(super) fn created(&self) -> usize {
        self.created
    }

    /// Events that the last write says there must be, and that did not come.
    pub(super) fn missing(&self, last: u64) -> u64 {
        let missing = |told: &Option<u64>| last.saturating_sub(told.unwrap_or(0));
        self.told.iter().map(missing).sum()
    }

    fn is_through(&self) -> bool {
        self.told.iter().all(|told| self.last.is_reached(told.unwrap_or(0)))
    }

    fn on_events(&mut self, id: usize, events: &[u8], now: Instant) {
        if self.run.bytes != events {
            self.run.read = read(events, self.values);
            self.run.bytes.clear();
            self.run.bytes.extend(events);
        }
        let read = self.run.read;
        let Some(Some(told)) = self.told.get_mut(id) else {
            return self.seen.wrong("events of a watch that nobody asked for".to_string());
        };
        self.messages += 1;
        self.events += read.count;
        self.disordered += read.flaws.0;
        self.lost += read.flaws.1;
        match read.first.checked_sub(*told + 1) {
            Some(gap) => self.lost += gap,
            None => self.disordered += 1,
        }
        *told = read.last.max(*told);
        match read.sent {
            Some(sent) => {
                let sent = self.base + Duration::from_nanos(sent);
                self.seen.record(now.saturating_duration_since(sent));
            }
            None => self.seen.wrong("an event with a value that nobody wrote".to_string()),
        }
    }
}

/// Reads the events of a message, which are its last fields.
fn read(events: &[u8], values: Values) -> Read {
    let mut read = Read::default();
    for (_, event) in Fields::of(events) {
        let (revision, value) = pair(event.bytes());
        if read.count == 0 {
            read.first = revision;
            read.sent = values.read(value).map(|written| written.sent);
        } else if revision <= read.last {
            read.flaws.0 += 1;
        } else {
            read.flaws.1 += revision - read.last - 1;
        }
        read.last = read.last.max(revision);
        read.count += 1;
    }
    read
}

/// The revision and the value of an event.
pub(super) fn pair(event: &[u8]) -> (u64, &[u8]) {
    let kv = Fields::of(event).find(|(tag, _)| *tag == 2).map_or(&[][..], |(_, kv)| kv.bytes());
    let (mut revision, mut value) = (0, &[][..]);
    for (tag, content) in Fields::of(kv) {
        match tag {
            3 => revision = content.number(),
            5 => value = content.bytes(),
            _ => {}
        }
    }
    (revision, value)
}

/// An answer to a watch: its events stand behind all else.
#[derive(Default)]
pub(super) struct Answer<'a> {
    pub(super) id: usize,
    pub(super) is_created: bool,
    pub(super) is_canceled: bool,
    pub(super) reason: &'a [u8],
    pub(super) revision: u64,
    pub(super) events: &'a [u8],
}

impl<'a> Answer<'a> {
    pub(super) fn of(message: &'a [u8]) -> Answer<'a> {
        let mut answer = Answer::default();
        let mut fields = Fields::of(message);
        loop {
            let rest = fields.rest();
            let Some((tag, content)) = fields.next() else { return answer };
            match tag {
                1 => {
                    let revision = Fields::of(content.bytes()).find(|(tag, _)| *tag == 3);
                    answer.revision = revision.map_or(0, |(_, revision)| revision.number());
                }
                2 => answer.id = content.number() as usize,
                3 => answer.is_created = content.number() != 0,
                4 => answer.is_canceled = content.number() != 0,
                6 => answer.reason = content.bytes(),
                11 => {
                    answer.events = rest;
                    return answer;
                }
                _ => {}
            }
        }
    }
}

impl Actor for Crowd {
    fn next(&mut self, phase: &Phase, now: Instant) -> Next {
        if now >= phase.until {
            return Next::Done;
        }
        if self.asked < self.wanted {
            self.asked += 1;
            return Next::Call(Op::Watch);
        }
        let is_over = match phase.part {
            Part::Ready => self.created == self.wanted,
            _ => self.is_through(),
        };
        if is_over { Next::Done } else { Next::At(now + LOOK) }
    }

    fn since(&self) -> Option<Instant> {
        None
    }

    fn message(&mut self, message: &[u8], _: &Phase, now: Instant) {
        let answer = Answer::of(message);
        if answer.is_canceled {
            let why = String::from_utf8_lossy(answer.reason);
            self.seen.failed(format!("a watch was canceled ({why})"));
        } else if answer.is_created {
            if let Some(told) = self.told.get_mut(answer.id) {
                *told = Some(answer.revision);
                self.created += 1;
            }
        } else if !answer.events.is_empty() {
            self.on_events(answer.id, answer.events, now);
        }
    }

    fn end(&mut self, end: Result<(), String>, _: &Phase, _: Instant) {
        // What is missing then is counted as lost.
        let why = end.err().unwrap_or_else(|| "the server ended a stream of watches".to_string());
        self.seen.failed(why);
        self.wanted = self.asked;
    }
}

#[cfg(test)]
mod tests {
    use super::super::call::Written;
    use super::super::wire::fields;
    use super::*;

    const VALUES: Values = Values { mark: 5, bytes: 40 };

    fn event(revision: u64) -> Vec<u8> {
        let (mut value, mut kv, mut event) = (Vec::new(), Vec::new(), Vec::new());
        VALUES.write(&mut value, Written { key: 1, count: 1, sent: 0 });
        fields::bytes(&mut kv, 1, b"key");
        fields::number(&mut kv, 3, revision);
        fields::bytes(&mut kv, 5, &value);
        fields::bytes(&mut event, 2, &kv);
        event
    }

    fn answer(id: u64, revision: u64, is_created: bool, events: &[u64]) -> Vec<u8> {
        let (mut header, mut answer) = (Vec::new(), Vec::new());
        fields::number(&mut header, 3, revision);
        fields::bytes(&mut answer, 1, &header);
        fields::number(&mut answer, 2, id);
        fields::number(&mut answer, 3, u64::from(is_created));
        events.iter().for_each(|revision| fields::bytes(&mut answer, 11, &event(*revision)));
        answer
    }

    #[test]
    fn what_is_lost_told_twice_or_out_of_order_is_counted() {
        let until = Instant::now() + Duration::from_secs(60);
        let phase = Phase { part: Part::Load, is_measured: true, until };
        let mut crowd = Crowd::new(2, VALUES, Instant::now(), Total::unknown());
        let mut take = |message: &[u8]| {
            crowd.message(message, &phase, Instant::now());
            (crowd.events, crowd.lost, crowd.disordered)
        };
        take(&answer(0, 7, true, &[]));
        take(&answer(1, 8, true, &[]));
        assert_eq!(take(&answer(0, 9, false, &[8, 9])), (2, 0, 0));
        assert_eq!(take(&answer(1, 9, false, &[9])), (3, 0, 0));
        assert_eq!(take(&answer(0, 12, false, &[10, 12])), (5, 1, 0));
        assert_eq!(take(&answer(1, 12, false, &[11, 12])), (7, 2, 0));
        assert_eq!(take(&answer(1, 12, false, &[12])), (8, 2, 1));
        assert_eq!(take(&answer(0, 12, false, &[14, 13])), (10, 3, 2));
        assert_eq!(crowd.missing(15), 1 + 3);
        assert_eq!((crowd.messages, crowd.seen.wrong), (6, 0));
    }
}
