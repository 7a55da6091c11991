//! Readers of watches that do not read.

use super::faults::Nodes;
use crate::driver::{Handle, Watch, WatchItem};
use bytes::Bytes;
use muslin_core::base::Revision;
use muslin_core::state::{Command, CommandKind, KeyRange, Put, WatchSpec};

/// One of the largest values that clients may put.
const LARGE: usize = 1 << 20;

/// What may wait for one reader, and for all, and one value that goes over it.
const WATCH_BYTES_MAX: u64 = (16 << 20) + 2 * LARGE as u64;
const ALL_BYTES_MAX: u64 = (128 << 20) + 2 * LARGE as u64;

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

/// Reads until everything up to here was told, and watches again whenever it is cancelled; how
/// often that was.
async fn read(handle: &Handle, mut watch: Watch, upto: Revision) -> (Vec<u64>, u64) {
    let (mut told, mut cancelled) = (Vec::new(), 0);
    while told.last().is_none_or(|last| *last < upto.0) {
        match watch.next().await.unwrap() {
            WatchItem::Events { events, .. } => {
                told.extend(events.iter().map(|event| event.kv.mod_revision));
            }
            WatchItem::Cancelled { from } => {
                cancelled += 1;
                watch = self::watch(handle, from).await;
            }
            WatchItem::Started { .. } | WatchItem::Progress { .. } => {}
            WatchItem::Compacted { .. } => panic!("nothing was compacted"),
        }
    }
    (told, cancelled)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_nobody_reads_holds_so_many_bytes_and_goes_on_where_its_reader_was() {
    let nodes = Nodes::start(1).await;
    let handle = nodes.handle(1);
    let asleep = watch(handle, Revision::ZERO).await;
    let awake = tokio::spawn({
        let (handle, awake) = (handle.clone(), watch(handle, Revision::ZERO).await);
        async move { read(&handle, awake, Revision(41)).await }
    });
    for number in 0..40 {
        put(handle, number).await;
        assert!(handle.watch_backlog() <= 2 * WATCH_BYTES_MAX);
    }
    let all: Vec<u64> = (2..=41).collect();
    assert_eq!(awake.await.unwrap().0, all);
    assert_eq!(handle.watch_backlog(), 0, "what waited for the one asleep was let go");
    assert_eq!(read(handle, asleep, Revision(41)).await, (all, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_that_nobody_reads_are_bounded_together() {
    let nodes = Nodes::start(1).await;
    let handle = nodes.handle(1);
    let mut asleep = Vec::new();
    for _ in 0..64 {
        asleep.push(watch(handle, Revision::ZERO).await);
    }
    for number in 0..12 {
        put(handle, number).await;
        assert!(handle.watch_backlog() <= ALL_BYTES_MAX, "{} bytes", handle.watch_backlog());
    }
    let all: Vec<u64> = (2..=13).collect();
    for watch in asleep {
        assert_eq!(read(handle, watch, Revision(13)).await.0, all);
    }
    assert_eq!(handle.watch_backlog(), 0);
}
