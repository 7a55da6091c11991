//! Figures, printed on request:
//! `cargo test --release -p muslin --lib -- --ignored --nocapture figure`.

use super::tests::{Node, QuicBench, start};
use crate::transport::contract::{Bench, Place};
use crate::transport::{Incoming, Transport};
use bytes::{Bytes, BytesMut};
use muslin_core::base::NodeId;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const WINDOW: usize = 64;
const RUN: Duration = Duration::from_secs(2);

fn take(inbox: &mut mpsc::Receiver<Incoming>) -> Option<Bytes> {
    match inbox.blocking_recv()? {
        Incoming::Message { bytes, .. } | Incoming::Datagram { bytes, .. } => Some(bytes),
    }
}

/// Sends every message back.
fn echo(mut node: Node, to: NodeId) {
    std::thread::spawn(move || {
        while let Some(bytes) = take(&mut node.inbox) {
            node.transport.send(to, bytes);
        }
    });
}

#[test]
#[ignore = "a figure, not a test"]
fn figure_echo_per_second() {
    for (length, window) in [(128, 1), (128, WINDOW), (1_024, WINDOW)] {
        let bench = QuicBench::new();
        let (mut one, two) = (start(&bench, 1, 1), start(&bench, 2, 1));
        one.transport.route(NodeId(2), two.address);
        echo(two, NodeId(1));
        let message = Bytes::from(vec![7; length]);
        one.transport.send(NodeId(2), message.clone());
        take(&mut one.inbox);
        (0..window).for_each(|_| one.transport.send(NodeId(2), message.clone()));
        let (begun, mut count) = (Instant::now(), 0u64);
        while begun.elapsed() < RUN {
            take(&mut one.inbox);
            one.transport.send(NodeId(2), message.clone());
            count += 1;
        }
        let rate = count as f64 / begun.elapsed().as_secs_f64();
        println!("echo: {length} bytes, window {window}: {rate:.0}/s");
    }
}

#[test]
#[ignore = "a figure, not a test"]
fn figure_bulk_per_second() {
    const COUNT: u64 = 1_024;
    let bench = QuicBench::new();
    let (mut one, two) = (start(&bench, 1, 1), start(&bench, 2, 1));
    two.transport.route(NodeId(1), one.address);
    let chunk = Bytes::from(vec![7; 256 << 10]);
    let begun = Instant::now();
    // As a snapshot is sent: the next piece when the one before is there.
    for _ in 0..COUNT {
        two.transport.send(NodeId(1), chunk.clone());
        take(&mut one.inbox);
    }
    let rate = COUNT as f64 / 4.0 / begun.elapsed().as_secs_f64();
    println!("bulk: 256 KiB pieces one by one: {rate:.0} MiB/s");
}

/// How long after a crashed peer's socket is back it is reached by a sender that says something
/// every 20 ms.
#[test]
#[ignore = "a figure, not a test"]
fn figure_reconnect_after_crash() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut took = Vec::new();
    for away in [0, 200, 1_000, 4_000] {
        for gossips in [false, true] {
            let away = Duration::from_millis(away);
            took.push((away, gossips, runtime.block_on(reconnect(away, gossips))));
        }
    }
    for (away, gossips, took) in took {
        println!("reconnect: away {away:?}, gossips {gossips}: {took:?}");
    }
}

async fn reconnect(away: Duration, gossips: bool) -> Duration {
    let bench = QuicBench::new();
    let one = start(&bench, 1, 1);
    let mut two = start(&bench, 2, 1);
    one.transport.route(NodeId(2), two.address);
    one.transport.send(NodeId(2), Bytes::from_static(b"a"));
    two.inbox.recv().await;
    let transport = one.transport.clone();
    let talker = tokio::spawn(async move {
        loop {
            transport.send(NodeId(2), BytesMut::zeroed(100).freeze());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let address = two.address;
    bench.crash(two.transport).await;
    tokio::time::sleep(away).await;
    let (sender, mut inbox) = mpsc::channel(100);
    let place = Place { node: NodeId(2), address: Some(address), is_foreign: false };
    let (again, _) = bench.start(place, sender).await;
    let begun = Instant::now();
    if gossips {
        again.datagram(one.address, Bytes::from_static(b"here again"));
    }
    inbox.recv().await;
    let took = begun.elapsed();
    talker.abort();
    took
}
