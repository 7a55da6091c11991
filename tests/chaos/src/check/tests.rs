//! Histories that no store that keeps its promises can have: each must be found out, and a good one
//! must not.

use super::check;
use crate::history::{
    Action, Change, Consistency, Dump, Family, Fence, History, Hold, Item, Key, Lease, Nanos, Op,
    Outcome, Value, Watch, Work,
};

const A: Key = Key { family: Family::Register, number: 1 };
const B: Key = Key { family: Family::Register, number: 2 };
const LEASED: Key = Key { family: Family::Leased, number: 1 };

fn op(node: u8, (start, end): (Nanos, Nanos), action: Action, outcome: Outcome) -> Op {
    Op { node, life: Some(1), start, end, action, outcome }
}

fn put(key: Key, value: u64, times: (Nanos, Nanos), revision: u64) -> Op {
    op(0, times, Action::Put((key, Value(value))), Outcome::Written(revision))
}

fn get(times: (Nanos, Nanos), revision: u64, items: &[Item]) -> Op {
    let action = Action::Get(A, Consistency::Linearizable);
    op(1, times, action, Outcome::Read(revision, items.into()))
}

fn item(key: Key, value: u64, (create, changed, version): (u64, u64, u64)) -> Item {
    let value = Value(value);
    Item { key, value, create_revision: create, mod_revision: changed, version }
}

fn change(revision: u64, key: Key, value: Option<u64>, seen: Nanos) -> Change {
    Change { revision, key, value: value.map(Value), seen }
}

/// A: 10 at revision 2, 11 at 3; B: 12 at 4; A deleted at 5; C leased at 6, gone at 7.
fn good() -> History {
    let changes = vec![
        change(2, A, Some(10), 16),
        change(3, A, Some(11), 36),
        change(4, B, Some(12), 56),
        change(5, A, None, 76),
        change(6, LEASED, Some(13), 86),
        change(7, LEASED, None, 500),
    ];
    let watch = |watcher| Watch { watcher, from: 1, changes: changes.clone(), ..Watch::default() };
    let left = vec![item(B, 12, (4, 4, 1))];
    let dump = |node| Dump { node, revision: 7, items: left.clone() };
    History {
        ops: vec![
            put(A, 10, (10, 15), 2),
            get((20, 25), 2, &[item(A, 10, (2, 2, 1))]),
            put(A, 11, (30, 35), 3),
            get((40, 45), 3, &[item(A, 11, (2, 3, 2))]),
            op(0, (50, 1_000), Action::Put((B, Value(12))), Outcome::Unknown),
            get((60, 65), 4, &[item(A, 11, (2, 3, 2))]),
            op(2, (70, 75), Action::Delete(A), Outcome::Deleted(5, true)),
            get((77, 79), 5, &[]),
            put(LEASED, 13, (80, 85), 6),
        ],
        watches: vec![watch(0), watch(1)],
        leases: vec![Lease { key: LEASED, ttl: 300, kept: 90, ended: None }],
        dumps: vec![dump(0), dump(1)],
        ..History::default()
    }
}

/// Changes the good history in one way; what is found.
fn spoilt(spoil: impl FnOnce(&mut History)) -> Vec<&'static str> {
    let mut history = good();
    spoil(&mut history);
    check(&history).findings.kinds()
}

#[test]
fn a_good_history_is_not_blamed() {
    let verdict = check(&good());
    assert_eq!(verdict.findings.to_string(), "");
    assert_eq!((verdict.ops, verdict.unknown, verdict.unknown_done), (9, 1, 1));
}

#[test]
fn a_stale_read_is_found() {
    let stale = |h: &mut History| h.ops[3] = get((40, 45), 2, &[item(A, 10, (2, 2, 1))]);
    assert_eq!(spoilt(stale), ["stale-read"]);
}

#[test]
fn a_read_that_began_before_the_write_was_answered_may_miss_it() {
    let early = |h: &mut History| h.ops[3] = get((34, 45), 2, &[item(A, 10, (2, 2, 1))]);
    assert!(spoilt(early).is_empty());
}

#[test]
fn a_read_older_than_what_a_watcher_was_told_is_found() {
    // The put of B was never answered, but it was told of at 56.
    let stale = |h: &mut History| h.ops[5] = get((60, 65), 3, &[item(A, 11, (2, 3, 2))]);
    assert_eq!(spoilt(stale), ["stale-read"]);
}

#[test]
fn a_read_of_another_value_is_found() {
    let wrong = |h: &mut History| h.ops[3] = get((40, 45), 3, &[item(A, 10, (2, 3, 2))]);
    assert_eq!(spoilt(wrong), ["wrong-read"]);
}

#[test]
fn a_read_of_a_revision_nobody_made_is_found() {
    let future = |h: &mut History| h.ops[7] = get((77, 79), 8, &[]);
    assert!(spoilt(future).contains(&"read-of-the-future"));
}

#[test]
fn a_lost_write_is_found() {
    let lost = |h: &mut History| h.ops.push(put(A, 14, (600, 605), 8));
    assert_eq!(spoilt(lost), ["lost-write"]);
}

#[test]
fn a_write_acknowledged_at_anothers_revision_is_found() {
    let lost = |h: &mut History| h.ops.push(put(A, 14, (10, 11), 2));
    assert!(spoilt(lost).contains(&"lost-write"));
}

#[test]
fn a_write_in_the_past_is_found() {
    // Asked for after revision 4 was told of, and given revision 3.
    let past = |h: &mut History| (h.ops[2].start, h.ops[2].end) = (58, 59);
    assert!(spoilt(past).contains(&"write-in-the-past"));
}

#[test]
fn a_write_that_takes_effect_twice_is_found() {
    let twice = |h: &mut History| {
        for watch in &mut h.watches {
            watch.changes.push(change(8, B, Some(12), 510));
        }
    };
    assert!(spoilt(twice).contains(&"twice"));
}

#[test]
fn what_nobody_asked_for_is_found() {
    let unasked = |value| {
        move |h: &mut History| {
            for watch in &mut h.watches {
                watch.changes.push(change(8, B, value, 510));
            }
        }
    };
    assert!(spoilt(unasked(Some(99))).contains(&"unasked"));
    assert!(spoilt(unasked(None)).contains(&"unasked"));
}

#[test]
fn a_refused_write_that_happened_is_found() {
    let refused = |h: &mut History| h.ops[4].outcome = Outcome::Refused;
    assert_eq!(spoilt(refused), ["refused-yet-done"]);
}

#[test]
fn a_transaction_that_happened_in_part_is_found() {
    let torn = |h: &mut History| {
        h.ops[4].action = Action::Multi([(B, Value(12)), (A, Value(15))].into());
    };
    assert_eq!(spoilt(torn), ["torn-write"]);
}

#[test]
fn a_watch_out_of_order_is_found() {
    let order = |h: &mut History| h.watches[1].changes.swap(0, 1);
    assert!(spoilt(order).contains(&"watch-order"));
}

#[test]
fn a_change_told_twice_is_found() {
    let twice = |h: &mut History| {
        let again = h.watches[1].changes[1];
        h.watches[1].changes.insert(2, again);
    };
    assert!(spoilt(twice).contains(&"split-revision"));
    let later = |h: &mut History| {
        let again = h.watches[1].changes[0];
        h.watches[1].changes.insert(2, again);
    };
    assert!(spoilt(later).contains(&"watch-order"));
}

#[test]
fn a_gap_in_a_watch_is_found() {
    let gap = |h: &mut History| {
        h.watches[1].changes.remove(2);
    };
    assert_eq!(spoilt(gap), ["watch-gap"]);
}

#[test]
fn a_revision_told_by_no_watch_is_found() {
    let gap = |h: &mut History| {
        for watch in &mut h.watches {
            watch.changes.remove(2);
        }
    };
    assert!(spoilt(gap).contains(&"watch-gap"));
}

#[test]
fn a_watch_that_goes_on_too_late_is_found() {
    let resumed = |from| {
        move |h: &mut History| {
            let at = h.watches[1].changes.iter().position(|c| c.revision >= from).unwrap();
            h.watches[1].changes.truncate(2);
            let changes = h.watches[0].changes[at..].to_vec();
            h.watches.push(Watch { watcher: 1, from, changes, ..Watch::default() });
        }
    };
    assert!(spoilt(resumed(4)).is_empty());
    assert_eq!(spoilt(resumed(5)), ["watch-gap"]);
}

#[test]
fn one_revision_with_two_contents_is_found() {
    let split = |h: &mut History| h.watches[1].changes[2].value = Some(Value(10));
    assert!(spoilt(split).contains(&"split-revision"));
}

#[test]
fn a_compare_that_did_not_hold_is_found() {
    let compare =
        |expected| move |h: &mut History| h.ops[2].action = Action::Swap((A, Value(11)), expected);
    assert!(spoilt(compare(2)).is_empty());
    assert_eq!(spoilt(compare(0)), ["wrong-compare"]);
}

#[test]
fn a_compare_that_held_and_was_refused_is_found() {
    let refused = |h: &mut History| {
        let seen = Outcome::Read(3, [item(A, 11, (2, 3, 2))].into());
        h.ops.push(op(1, (40, 45), Action::Swap((A, Value(20)), 3), seen));
    };
    assert_eq!(spoilt(refused), ["wrong-compare"]);
}

#[test]
fn a_node_that_goes_back_locally_is_found() {
    let local = |times, revision, items: &[Item]| {
        let action = Action::Get(A, Consistency::Local);
        op(2, times, action, Outcome::Read(revision, items.into()))
    };
    let back = |life| {
        move |h: &mut History| {
            h.ops.push(local((40, 41), 3, &[item(A, 11, (2, 3, 2))]));
            h.ops.push(Op { life, ..local((42, 43), 2, &[item(A, 10, (2, 2, 1))]) });
        }
    };
    assert_eq!(spoilt(back(Some(1))), ["local-read-went-back"]);
    // It was restarted in between: it may have to be told again what is committed.
    assert!(spoilt(back(Some(2))).is_empty());
}

#[test]
fn an_early_lease_is_found() {
    let early = |h: &mut History| h.leases[0].kept = 300;
    assert_eq!(spoilt(early), ["early-lease"]);
    let told = |h: &mut History| h.leases[0].ended = Some(200);
    assert_eq!(spoilt(told), ["early-lease"]);
}

#[test]
fn nodes_that_differ_in_the_end_are_found() {
    let differ = |h: &mut History| h.dumps[1].items.clear();
    assert_eq!(spoilt(differ), ["states-differ"]);
    let behind = |h: &mut History| h.dumps[1].revision = 6;
    assert_eq!(spoilt(behind), ["states-differ"]);
}

/// Two want a lock: one at revision 2, another at 3. The first writes at 4, its place is gone at 5,
/// the second writes at 6; what the first tries then is refused. An item is pushed at 7 and done
/// at 8, another is pushed at 9 and there in the end.
fn locked() -> History {
    const GUARDED: Key = Key { family: Family::Fenced, number: 0 };
    let foreign = |number| Key::new(Family::Foreign, number);
    let fence = |number, revision| Fence { place: foreign(number), revision };
    let (first, second) = (fence(0, 2), fence(1, 3));
    let work = |item: u64| Value::foreign(item.to_string().as_bytes());
    let of = |revision, key, value: Option<Value>| Change {
        revision,
        key,
        value,
        seen: revision * 10 + 6,
    };
    let changes = vec![
        of(2, foreign(0), Some(Value::foreign(b""))),
        of(3, foreign(1), Some(Value::foreign(b""))),
        of(4, GUARDED, Some(Value(20))),
        of(5, foreign(0), None),
        of(6, GUARDED, Some(Value(21))),
        of(7, foreign(2), Some(work(77))),
        of(8, foreign(2), None),
        of(9, foreign(3), Some(work(78))),
    ];
    let guarded = |value, fence, (start, end), outcome| {
        op(0, (start, end), Action::Guarded((GUARDED, Value(value)), fence), outcome)
    };
    let there = |key, value, revision| Item {
        key,
        value,
        create_revision: revision,
        mod_revision: revision,
        version: 1,
    };
    let mut left = vec![item(GUARDED, 21, (4, 6, 2))];
    left.extend([there(foreign(1), Value::foreign(b""), 3), there(foreign(3), work(78), 9)]);
    History {
        ops: vec![
            guarded(20, first, (40, 45), Outcome::Written(4)),
            guarded(21, second, (60, 65), Outcome::Written(6)),
            guarded(22, first, (62, 66), Outcome::Fenced(6)),
        ],
        watches: vec![Watch { watcher: 0, from: 1, changes, ..Watch::default() }],
        holds: vec![Hold { fence: first, revision: 3 }, Hold { fence: second, revision: 5 }],
        work: vec![Work::Pushed(77), Work::Taken(77), Work::Done(77), Work::Pushed(78)],
        names: [&b"lock/0/a"[..], b"lock/0/b", b"\0m/queue/jobs/i/1", b"\0m/queue/jobs/i/2"]
            .map(|name| name.to_vec())
            .to_vec(),
        dumps: vec![Dump { node: 0, revision: 9, items: left }],
        ..History::default()
    }
}

/// Changes the history of locks and work in one way; what is found.
fn unlocked(spoil: impl FnOnce(&mut History)) -> Vec<&'static str> {
    let mut history = locked();
    spoil(&mut history);
    check(&history).findings.kinds()
}

#[test]
fn locks_and_work_that_are_good_are_not_blamed() {
    let verdict = check(&locked());
    assert_eq!(verdict.findings.to_string(), "");
    let locks = verdict.locks;
    assert_eq!((locks.had, locks.written, locks.refused, locks.broken), (2, 2, 1, 0));
    assert_eq!(verdict.done, 1);
}

#[test]
fn a_write_behind_a_lost_fence_is_found() {
    // What the second wrote, the first did.
    let late = |outcome: Outcome| {
        move |h: &mut History| {
            let Action::Guarded(write, _) = h.ops[1].action else { panic!() };
            let Action::Guarded(_, first) = h.ops[0].action else { panic!() };
            h.ops[1].action = Action::Guarded(write, first);
            h.ops[1].outcome = outcome;
        }
    };
    assert_eq!(unlocked(late(Outcome::Written(6))), ["broken-fence"]);
    // Nobody was told that it was done, and it was.
    assert_eq!(unlocked(late(Outcome::Unknown)), ["broken-fence"]);
}

#[test]
fn a_holder_that_is_refused_is_found() {
    let refused = |h: &mut History| {
        let Action::Guarded(_, second) = h.ops[1].action else { panic!() };
        let Action::Guarded(write, _) = h.ops[2].action else { panic!() };
        h.ops[2].action = Action::Guarded(write, second);
    };
    assert_eq!(unlocked(refused), ["refused-holder"]);
}

#[test]
fn two_holders_of_one_lock_are_found() {
    assert_eq!(unlocked(|h| h.holds[1].revision = 4), ["two-holders"]);
    assert_eq!(unlocked(|h| h.holds[0].revision = 1), ["two-holders"]);
    let queued = |h: &mut History| {
        let Action::Guarded(_, second) = h.ops[1].action else { panic!() };
        let Action::Guarded(write, _) = h.ops[0].action else { panic!() };
        h.ops[0].action = Action::Guarded(write, second);
    };
    assert_eq!(unlocked(queued), ["two-holders"]);
}

#[test]
fn an_item_that_is_done_twice_or_lost_is_found() {
    assert_eq!(unlocked(|h| h.work.push(Work::Done(77))), ["item-twice"]);
    assert_eq!(unlocked(|h| h.work.push(Work::Done(78))), ["item-twice"]);
    assert_eq!(unlocked(|h| h.work[2] = Work::Late(77)), ["item-lost"]);
    assert!(unlocked(|h| h.work[2] = Work::PerhapsDone(77)).is_empty());
    assert_eq!(unlocked(|h| h.work.push(Work::Taken(79))), ["item-of-nobody"]);
    assert_eq!(unlocked(|h| h.work.truncate(3)), ["item-of-nobody"]);
}
