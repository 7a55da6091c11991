//! Readers of watches that do not read.

use super::faults::Nodes;
use crate::driver::{Handle, Watch, WatchItem};
use bytes::Bytes;
use muslin_core::base::Revision;
use muslin_core::state::{Command, CommandKind, Compact, KeyRange, Put, WatchSpec};
use std::time::Duration;

/// One of the largest values that clients may put.
const LARGE: usize = 1 << 20;

/// What the changes of all may take, and one that goes over it.
const RING_BYTES_MAX: usize = (64 << 20) + 3 * LARGE;

async fn put(handle: &Handle, number: u64) {
    let value = Bytes::from(vec![number as u8; LARGE]);
    let put = Put { key: Bytes::from_static(b"a"), value, ..Put::default() };
    handle.write(Command::of(CommandKind::Put(put))).await.unwrap();
}

async fn watch(handle: &Handle, from: Revision) -> Watch {
    let range = KeyRange::of_prefix(Bytes::new());
    let spec = WatchSpec { range, start_revision: from.0, ..WatchSpec::default() };
    handle.watch(spec).await.unwrap()
}

/// Reads until everything up to here was told.
async fn read(mut watch: Watch, upto: Revision) -> Vec<u64> {
    let mut told = Vec::new();
    while told.last().is_none_or(|last| *last < upto.0) {
        match watch.next().await.unwrap() {
            WatchItem::Events { events, .. } => {
                told.extend(events.iter().map(|event| event.kv.mod_revision));
            }
            WatchItem::Started { .. } | WatchItem::Progress { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_that_nobody_reads_hold_nothing_and_miss_nothing() {
    let nodes = Nodes::start(1).await;
    let handle = nodes.handle(1);
    let mut asleep = Vec::new();
    for _ in 0..16 {
        asleep.push(watch(handle, Revision::ZERO).await);
    }
    let awake = tokio::spawn(read(watch(handle, Revision::ZERO).await, Revision(41)));
    for number in 0..40 {
        put(handle, number).await;
        assert!(handle.watch_ring_bytes() <= RING_BYTES_MAX, "{}", handle.watch_ring_bytes());
    }
    let all: Vec<u64> = (2..=41).collect();
    assert_eq!(awake.await.unwrap(), all);
    for watch in asleep {
        assert_eq!(read(watch, Revision(41)).await, all);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_kept_for_watches_when_there_are_none() {
    let nodes = Nodes::start(1).await;
    let handle = nodes.handle(1);
    let one = watch(handle, Revision::ZERO).await;
    put(handle, 1).await;
    assert!(handle.watch_ring_bytes() > LARGE);
    drop(one);
    while handle.watch_ring_bytes() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    put(handle, 2).await;
    assert_eq!(handle.watch_ring_bytes(), 0);
    assert_eq!(read(watch(handle, Revision(2)).await, Revision(3)).await, [2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_whose_next_change_is_compacted_away_is_told_so() {
    let nodes = Nodes::start(1).await;
    let handle = nodes.handle(1);
    let mut late = watch(handle, Revision::ZERO).await;
    assert!(matches!(late.next().await, Some(WatchItem::Started { .. })));
    for number in 0..40 {
        put(handle, number).await;
    }
    let compact = CommandKind::Compact(Compact { revision: 41 });
    handle.write(Command::of(compact)).await.unwrap();
    assert_eq!(late.next().await, Some(WatchItem::Compacted { compacted: Revision(41) }));
    assert_eq!(late.next().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_is_told_behind_all_that_was_answered_before() {
    let nodes = Nodes::start(1).await;
    let handle = nodes.handle(1);
    let mut watch = watch(handle, Revision::ZERO).await;
    for number in 2..12 {
        put(handle, number).await;
        watch.request_progress();
        let mut told = 0;
        loop {
            match watch.next().await.unwrap() {
                WatchItem::Progress { revision } => break assert_eq!(revision, Revision(number)),
                WatchItem::Events { events, .. } => told += events.len(),
                _ => {}
            }
        }
        assert_eq!(told, 1);
    }
}
