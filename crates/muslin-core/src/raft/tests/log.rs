//! The log's arithmetic, against a plain list.

use crate::base::{Index, LogId, Prng, Term};
use crate::raft::log::{Log, Portion};
use crate::raft::{Entry, Payload};
use bytes::Bytes;
use std::vec::Vec;

fn id(term: u64, index: u64) -> LogId {
    LogId::new(Term(term), Index(index))
}

fn empty(id: LogId) -> Entry {
    Entry { id, payload: Payload::Empty }
}

#[test]
fn the_log_agrees_with_a_plain_list() {
    for seed in 0..50 {
        let mut prng = Prng::seeded(seed);
        let mut log = Log::after(LogId::ZERO);
        let mut list: Vec<LogId> = std::vec![LogId::ZERO];
        for _ in 0..200 {
            step(&mut prng, &mut log, &mut list);
            check(&mut prng, &log, &list);
        }
    }
}

fn step(prng: &mut Prng, log: &mut Log, list: &mut Vec<LogId>) {
    let last = *list.last().expect("the base stays");
    match prng.below(8) {
        0 if list.len() > 1 => {
            let place = 1 + prng.below(list.len() as u64 - 1) as usize;
            log.truncate(list[place].index);
            list.truncate(place);
        }
        1 => {
            let place = prng.below(list.len() as u64) as usize;
            log.compact(list[place].index);
            list.drain(..place);
        }
        _ => {
            let mut term = last.term.0.max(1);
            let together = (1..=prng.below(5)).map(|ahead| {
                term += prng.below(4) / 3;
                id(term, last.index.0 + ahead)
            });
            let together: Vec<LogId> = together.collect();
            log.append(together.iter().copied().map(empty).collect());
            list.extend(together);
        }
    }
}

fn check(prng: &mut Prng, log: &Log, list: &[LogId]) {
    assert_eq!((log.base(), log.last()), (list[0], list[list.len() - 1]));
    for known in list {
        assert_eq!(log.term_at(known.index), Some(known.term));
    }
    assert_eq!(log.term_at(log.last().index.next()), None);
    let (term, index) = (Term(prng.below(30)), Index(prng.below(250)));
    let wanted = list.iter().rev().find(|known| known.term <= term && known.index <= index);
    assert_eq!(log.last_at_most(term, index), wanted.copied(), "{term} {index} in {list:?}");
    let from = 1 + prng.below(list.len() as u64) as usize;
    let to = from + prng.below(list.len() as u64 - from as u64 + 1) as usize;
    let wanted: Vec<Entry> = list[from..to].iter().copied().map(empty).collect();
    let first = list[0].index.0 + from as u64;
    let portion = Portion { entries: to - from, bytes: 0 };
    assert_eq!(log.gather(Index(first), portion).0.as_slice(), wanted, "{from}..{to} of {list:?}");
    if from < to {
        let last = list[to - 1].index;
        assert_eq!(log.range(Index(first), last).as_slice(), wanted, "{from}..{to} of {list:?}");
    }
}

#[test]
fn a_portion_ends_at_its_limits_and_is_never_empty() {
    let mut log = Log::after(LogId::ZERO);
    for index in 1..=5 {
        let payload = Payload::Command(Bytes::from_static(b"0123456789"));
        log.append([Entry { id: id(1, index), payload }].into_iter().collect());
    }
    let sizes = |entries, bytes| {
        let (gathered, weight) = log.gather(Index(2), Portion { entries, bytes });
        (gathered.len(), weight)
    };
    assert_eq!(sizes(2, 100), (2, 20));
    assert_eq!(sizes(9, 30), (3, 30));
    assert_eq!(sizes(9, 29), (2, 20));
    assert_eq!(sizes(9, 1), (1, 10));
    assert_eq!(sizes(9, 100), (4, 40));
}
