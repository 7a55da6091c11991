//! What waits: its numbers, its limits, and when it goes again.

use super::*;
use crate::base::{Index, NodeId, Now, RequestId, Term};
use crate::raft::ReadId;
use crate::state::{self, Command, CommandKind, Put};
use bytes::Bytes;
use core::time::Duration;
use prost::Message as _;
use std::vec::Vec;

fn at(millis: u64) -> Now {
    Now::from_millis(millis)
}

fn proposals(limit: usize) -> Proposals {
    Proposals::new(NodeId(1), 1, limit)
}

fn sequences(sent: Vec<Bytes>) -> Vec<u64> {
    sent.into_iter().map(|bytes| Proposal::decode(bytes).unwrap().sequence).collect()
}

#[test]
fn a_proposal_is_read_by_the_state_as_it_was_asked() {
    let put = Put { key: "a".into(), value: "b".into(), ..Put::default() };
    let command = Command::of(CommandKind::Put(put));
    let mut proposals = Proposals::new(NodeId(7), 3, 1);
    proposals.add(Now::START, None, Bytes::from(command.encode_to_vec())).unwrap();
    let sent = proposals.take_unsent(Now::START, 1, None).remove(0);
    let command = Some(command);
    let read =
        state::Proposal { origin: 7, boot: 3, sequence: 1, settled_below: 1, command, asker: None };
    assert_eq!(state::Proposal::decode(sent), Ok(read));
}

#[test]
fn a_refused_proposal_pauses_before_it_goes_again() {
    let mut proposals = proposals(1);
    proposals.add(Now::START, None, Bytes::new()).unwrap();
    let mut sent_at = |millis: u64| {
        proposals.requeue_silent(at(millis));
        let sent = proposals.take_unsent(at(millis), 10, None).len();
        // Whoever is asked refuses, twice: the network doubles.
        proposals.refused(at(millis), &[1]);
        proposals.refused(at(millis), &[1]);
        sent
    };
    assert_eq!([0, 0, 1, 19, 20, 21, 39, 40].map(&mut sent_at), [1, 0, 0, 0, 1, 0, 0, 1]);
}

/// Adds one and sees whether it leaves for a leader that speaks to this node.
fn leaves(proposals: &mut Proposals, millis: u64) -> bool {
    proposals.add(at(millis), None, Bytes::new()).unwrap();
    !proposals.take_messages(at(millis), true).is_empty()
}

#[test]
fn a_message_that_is_never_answered_holds_others_back_for_as_long_as_until_it_goes_again() {
    let mut proposals = proposals(10);
    assert!(leaves(&mut proposals, 0));
    assert_eq!([1, 500, 999].map(|millis| leaves(&mut proposals, millis)), [false; 3]);
    assert_eq!(proposals.take_messages(at(1_000), true).len(), 1, "a passive leader is silent");
}

#[test]
fn what_was_given_up_holds_nothing_back() {
    let timeout = Duration::from_millis(600);
    let mut proposals = proposals(10);
    assert!(leaves(&mut proposals, 0));
    assert!(!leaves(&mut proposals, 100));
    proposals.expire(at(700), timeout);
    assert!(proposals.is_empty());
    assert!(proposals.take_messages(at(700), true).is_empty(), "both were given up");
    assert!(leaves(&mut proposals, 701), "nothing is under way");
}

#[test]
fn a_full_queue_says_to_come_when_half_of_it_has_gone() {
    let mut proposals = proposals(2);
    for millis in [0, 100] {
        proposals.add(at(millis), None, Bytes::new()).unwrap();
    }
    let mut hint = |millis: u64| {
        let Err(Failure::Busy { retry_after }) = proposals.add(at(millis), None, Bytes::new())
        else {
            panic!("it is full");
        };
        retry_after.as_millis() as u64
    };
    // At once: the least. Later: half the age of the oldest. When nothing moves: the most.
    assert_eq!([100, 101, 400, 4_900].map(&mut hint), [50, 50, 200, 2_000]);
    proposals.settle(1, 1);
    assert_eq!(proposals.add(at(500), None, Bytes::new()), Ok(()), "one went, one comes");
}

#[test]
fn full_reads_say_so_as_well_and_count_those_of_all_rounds() {
    let mut reads: Reads<u64> = Reads::new(3);
    reads.add(Ask { asked: at(0), what: 1 }).unwrap();
    let first = reads.start_round(at(0));
    reads.add_for_lease(Ask { asked: at(10), what: 2 }).unwrap();
    reads.add(Ask { asked: at(300), what: 3 }).unwrap();
    let busy = Err(Failure::Busy { retry_after: Duration::from_millis(150) });
    assert_eq!(reads.add(Ask { asked: at(300), what: 4 }), busy);
    assert_eq!(reads.add_for_lease(Ask { asked: at(300), what: 4 }), busy);
    reads.confirm(first, Index(5));
    assert_eq!(reads.take_answerable(Index(4)).len(), 0);
    assert_eq!(reads.take_answerable(Index(5)).len(), 1);
    assert_eq!(reads.add(Ask { asked: at(301), what: 4 }), Ok(()));
    assert_ne!(reads.start_round(at(301)), first, "an id is used once");
    assert_eq!(reads.start_lease_round(at(301)), ReadId(3));
}

#[test]
fn a_command_above_the_limit_is_refused_and_one_at_the_limit_is_not() {
    let mut proposals = proposals(2);
    let of = |bytes: usize| Bytes::from(std::vec![0; bytes]);
    let refused = proposals.add(Now::START, None, of(COMMAND_BYTES_MAX + 1));
    assert_eq!(refused, Err(Failure::TooLarge));
    assert_eq!(proposals.add(Now::START, None, of(COMMAND_BYTES_MAX)), Ok(()));
}

#[test]
fn messages_are_cut_where_they_would_be_too_large() {
    let mut proposals = proposals(8);
    for bytes in [10, 600 << 10, 600 << 10, 1_400 << 10, 20, 20] {
        proposals.add(Now::START, None, Bytes::from(std::vec![0; bytes])).unwrap();
    }
    let messages = proposals.take_messages(Now::START, true);
    let messages: Vec<_> = messages.into_iter().map(sequences).collect();
    assert_eq!(messages, [&[1, 2][..], &[3], &[4], &[5, 6]]);
}

#[test]
fn a_leaders_own_decision_ends_with_its_term() {
    let mut proposals = proposals(8);
    proposals.add_as_leader(Now::START, Term(2), Bytes::new()).unwrap();
    proposals.add(Now::START, Some(RequestId(1)), Bytes::new()).unwrap();
    assert_eq!(sequences(proposals.take_unsent(Now::START, 8, Some(Term(2)))), [1, 2]);
    proposals.requeue_all();
    assert_eq!(sequences(proposals.take_unsent(Now::START, 8, Some(Term(3)))), [2]);
    assert_eq!(proposals.settle(1, 2), Some(RequestId(1)));
    assert!(proposals.is_empty());
}

#[test]
fn whoever_is_told_of_a_full_disk_waits_for_one_that_went_nowhere_else() {
    let mut proposals = proposals(8);
    for request in 1..=2 {
        proposals.add(Now::START, Some(RequestId(request)), Bytes::new()).unwrap();
    }
    proposals.take_unsent(Now::START, 8, None);
    assert_eq!(proposals.refused_for_space(at(1), &[1]), [RequestId(1)]);
    proposals.requeue_all();
    proposals.take_unsent(at(2), 8, None);
    assert_eq!(proposals.refused_for_space(at(3), &[2]), [], "an earlier copy may be in a log");
    assert_eq!(proposals.abandon(), [RequestId(2)]);
}

#[test]
fn what_peers_sent_is_taken_in_order_and_the_rest_refused_by_sender() {
    let of = |sequence| Bytes::from(Proposal { sequence, ..Proposal::default() }.encode_to_vec());
    let mut relayed = Relayed::default();
    relayed.add(NodeId(2), [of(1), of(2)].into());
    relayed.add(NodeId(3), [of(1), Bytes::from_static(b"\xff"), of(2)].into());
    relayed.add(NodeId(2), [of(3)].into());
    assert_eq!(sequences(relayed.take(2)), [1, 2]);
    let refused = relayed.refuse();
    assert_eq!(
        refused.into_iter().collect::<Vec<_>>(),
        [(NodeId(2), std::vec![3]), (NodeId(3), std::vec![1, 2])]
    );
    assert!(relayed.is_empty());
}

#[test]
fn with_a_message_under_way_little_waits_for_the_leader_to_speak() {
    let mut proposals = proposals(10);
    let add = |proposals: &mut Proposals, length: usize| {
        proposals.add(Now::START, None, Bytes::from(std::vec![0; length])).unwrap();
    };
    let sent = |proposals: &mut Proposals| -> Vec<u64> {
        proposals.take_messages(at(1), true).into_iter().flat_map(sequences).collect()
    };
    add(&mut proposals, 1);
    assert_eq!(sent(&mut proposals), [1], "nothing is under way");
    add(&mut proposals, 1);
    add(&mut proposals, 1);
    assert_eq!(sent(&mut proposals), [], "the leader has said nothing since");
    let unspoken = proposals.clone().take_messages(at(1), false);
    assert_eq!(unspoken.concat().len(), 2, "it says nothing to those that others feed");
    proposals.leader_spoke();
    assert_eq!(sent(&mut proposals), [2, 3]);
    add(&mut proposals, 70_000);
    assert_eq!(sent(&mut proposals), [4], "much does not wait");
    add(&mut proposals, 1);
    proposals.requeue_all();
    assert_eq!(sent(&mut proposals), [1, 2, 3, 4, 5], "another leads");
    add(&mut proposals, 1);
    proposals.requeue_silent(at(2_000));
    assert_eq!(sent(&mut proposals), [1, 2, 3, 4, 5, 6], "a connection was lost");
}
