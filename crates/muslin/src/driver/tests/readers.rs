//! Readers at the gate: what they are let in to, and that nobody is left before it.

use super::faults::Nodes;
use crate::driver::Handle;
use bytes::Bytes;
use muslin_core::base::Revision;
use muslin_core::node::{Consistency, Failure};
use muslin_core::state::{Command, CommandKind, KeyRange, Put, Query, Range, Response};
use tokio::task::JoinSet;

const ALL: [Consistency; 3] = [Consistency::Local, Consistency::Linearizable, Consistency::Lease];

async fn put(handle: &Handle, number: u64) -> Revision {
    let value = Bytes::from(number.to_string());
    let put = Put { key: Bytes::from_static(b"a"), value, ..Put::default() };
    handle.write(Command::of(CommandKind::Put(put))).await.unwrap().revision
}

/// The revision of the state that was read, and that of the value in it.
async fn read(handle: &Handle, consistency: Consistency) -> (Revision, u64) {
    let range = Range { range: KeyRange::of_key("a"), ..Range::default() };
    let outcome = handle.read(Query::Range(range), consistency).await.unwrap();
    let Ok(Response::Range { kvs, .. }) = outcome.result else { panic!("a range is answered") };
    (outcome.revision, kvs.first().map_or(0, |kv| kv.mod_revision))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_was_answered_is_read_at_its_node_at_once_and_with_a_round_everywhere() {
    let nodes = Nodes::start(3).await;
    let mut others = JoinSet::new();
    for id in 1..=3 {
        let handle = nodes.handle(id).clone();
        others.spawn(async move {
            let mut last = Revision::ZERO;
            for turn in 0..600 {
                let (revision, at) = read(&handle, ALL[turn % 3]).await;
                assert!(revision >= last && at <= revision.0, "a state after the one before");
                last = revision;
            }
        });
    }
    for number in 0..200 {
        let written = put(nodes.handle(1 + number % 3), number).await;
        for consistency in ALL {
            let (revision, at) = read(nodes.handle(1 + number % 3), consistency).await;
            assert!(revision >= written && at >= written.0, "{consistency:?} at the same node");
        }
        for consistency in [Consistency::Linearizable, Consistency::Lease] {
            let (revision, _) = read(nodes.handle(1 + (number + 1) % 3), consistency).await;
            assert!(revision >= written, "{consistency:?} elsewhere");
        }
    }
    while let Some(ended) = others.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_left_before_the_gate_of_a_node_that_has_stopped() {
    let nodes = Nodes::start(1).await;
    let handle = nodes.handle(1).clone();
    put(&handle, 1).await;
    let mut readers = JoinSet::new();
    for turn in 0..60 {
        let handle = handle.clone();
        readers.spawn(async move {
            loop {
                let read = handle.read(Query::Revision, ALL[turn % 3]).await;
                if let Err(failure) = read {
                    return failure;
                }
            }
        });
    }
    handle.shutdown().await;
    while let Some(failure) = readers.join_next().await {
        assert_eq!(failure.unwrap(), Failure::Stopping);
    }
}
