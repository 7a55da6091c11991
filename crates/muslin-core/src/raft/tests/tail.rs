//! What stays of the log in memory.

use crate::base::{Index, LogId, Machine, NodeId, Now, Outputs};
use crate::raft::{Configuration, Input, Kept, Options, Output, Raft, Recovered, SnapshotMeta};
use bytes::Bytes;
use std::vec;
use std::vec::Vec;

const TAIL: u64 = 80;

/// A replica alone, that leads.
fn sole(options: Options) -> Raft {
    let configuration = Configuration::of_voters([NodeId(1)]);
    let snapshot = SnapshotMeta { last: LogId::ZERO, configuration };
    let recovered = Recovered { snapshot, ..Recovered::default() };
    let mut raft = Raft::new(NodeId(1), options, recovered, 7, Now::START);
    step(&mut raft, Input::Tick, true);
    raft
}

fn options() -> Options {
    Options { log_tail_entries: TAIL, ..Options::default() }
}

/// Gives it an input, and has its disk do what it asks, or not.
fn step(raft: &mut Raft, input: Input, is_written: bool) {
    let mut inputs = vec![input];
    while !inputs.is_empty() {
        let mut out = Outputs::new();
        for input in inputs.drain(..).chain([Input::Flush]) {
            raft.handle(Now::START, input, &mut out);
        }
        let written = out.drain().filter_map(|output| match output {
            Output::Persist { id, .. } if is_written => Some(Input::Persisted(id)),
            _ => None,
        });
        inputs.extend(written.collect::<Vec<_>>());
    }
}

fn propose(raft: &mut Raft, count: usize) {
    for _ in 0..count {
        step(raft, Input::Propose(vec![Bytes::from_static(b"0123456789")]), true);
    }
}

/// How many entries are in memory.
fn held(raft: &Raft) -> u64 {
    raft.last().index.next().0 - raft.first_index().0
}

#[test]
fn what_is_applied_is_let_go_of_but_for_a_tail() {
    let mut raft = sole(options());
    propose(&mut raft, 200);
    assert_eq!(raft.applied(), raft.last().index);
    raft.shorten_log(Kept::default());
    assert_eq!(held(&raft), TAIL);
    propose(&mut raft, 20);
    raft.shorten_log(Kept::default());
    assert_eq!(held(&raft), TAIL + 20, "not at every entry");
    propose(&mut raft, 1);
    raft.shorten_log(Kept::default());
    assert_eq!(held(&raft), TAIL);
}

#[test]
fn a_long_log_is_let_go_of_little_by_little() {
    let mut raft = sole(options());
    propose(&mut raft, 2_500);
    let last = raft.last().index;
    let mut held_then = Vec::new();
    for _ in 0..4 {
        raft.shorten_log(Kept::default());
        held_then.push(held(&raft));
    }
    assert_eq!(held_then, [last.0 - 1_024, last.0 - 2_048, TAIL, TAIL]);
}

#[test]
fn what_is_not_on_the_disk_is_held() {
    let mut raft = sole(options());
    propose(&mut raft, 150);
    let applied = raft.applied();
    for _ in 0..30 {
        step(&mut raft, Input::Propose(vec![Bytes::new()]), false);
    }
    raft.shorten_log(Kept::default());
    assert_eq!(raft.applied(), applied);
    assert_eq!(raft.first_index(), Index(applied.0 - TAIL + 1));
}

#[test]
fn more_is_held_where_a_snapshot_costs_more() {
    let mut raft = sole(options());
    propose(&mut raft, 200);
    raft.shorten_log(Kept { bytes: 10 * 150, snapshot: None });
    assert_eq!(held(&raft), 150);
}

#[test]
fn what_follows_a_snapshot_that_is_being_made_is_held() {
    let mut raft = sole(options());
    propose(&mut raft, 200);
    raft.shorten_log(Kept { bytes: 0, snapshot: Some(Index(50)) });
    assert_eq!(raft.first_index(), Index(51));
}

#[test]
fn a_few_are_held_whatever_the_tail() {
    let mut raft = sole(Options { log_tail_entries: 0, ..options() });
    propose(&mut raft, 200);
    raft.shorten_log(Kept::default());
    assert_eq!(held(&raft), 64);
}

#[test]
fn large_entries_are_let_go_of_by_their_weight() {
    let mut raft = sole(Options { log_tail_bytes: 100, ..options() });
    propose(&mut raft, 5);
    step(&mut raft, Input::Propose(vec![Bytes::from(vec![0; 200])]), true);
    raft.shorten_log(Kept::default());
    assert_eq!(held(&raft), 0);
}
