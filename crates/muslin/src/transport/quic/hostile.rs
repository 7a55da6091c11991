//! A million datagrams of an attacker, against a node on a real socket. Run by hand, in release:
//! `cargo test --release -p muslin --lib million -- --ignored --nocapture`

use super::tests::{PATIENCE, QuicBench};
use crate::transport::Incoming;
use crate::transport::contract::{Bench, Place};
use crate::transport::seal::Sealer;
use bytes::Bytes;
use muslin_core::base::{Epoch, NodeId, Prng};
use std::net::UdpSocket;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const DATAGRAMS: u64 = 1_000_000;

/// Sent before the node is given time to read: about half of what its socket holds.
const BURST: u64 = 500;

/// What an attacker may do with datagrams that it has recorded.
const TRICKS: [&str; 8] = [
    "replayed",
    "truncated",
    "oversized",
    "a bit flipped",
    "another sender",
    "another key",
    "another cluster",
    "random bytes",
];

fn trick(kind: usize, recorded: &[u8], prng: &mut Prng) -> Vec<u8> {
    let mut forged = recorded.to_vec();
    match kind {
        0 => {}
        1 => forged.truncate(1 + prng.below(recorded.len() as u64 - 1) as usize),
        2 => forged.resize(1_201 + prng.below(8_000) as usize, 7),
        3 => forged[1 + prng.below(recorded.len() as u64 - 1) as usize] ^= 1 << prng.below(8),
        4 => forged[17] ^= 1 + prng.below(255) as u8,
        5 => forged[1] = forged[1].wrapping_add(1 + prng.below(255) as u8),
        6 => forged[5] ^= 1 + prng.below(255) as u8,
        // It looks like gossip to the socket: noise for QUIC is another test's.
        _ => {
            (1..forged.len()).for_each(|at| forged[at] = prng.below(256) as u8);
            forged[0] = 4 + prng.below(12) as u8;
        }
    }
    forged
}

#[test]
#[ignore = "a minute in release; prints counts"]
fn a_million_hostile_datagrams_change_nothing_and_are_not_answered() {
    let bench = QuicBench::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (sender, mut inbox) = mpsc::channel(16);
    let place = Place { node: NodeId(2), address: None, is_foreign: false };
    let (node, address) = runtime.block_on(bench.start(place, sender));
    let honest = bench.identity(NodeId(1), false, Epoch(1));
    let sealer = Sealer::new(honest.cluster, NodeId(1), 1, honest.keyring.clone());
    let wire = UdpSocket::bind("127.0.0.1:0").unwrap();
    let recorded = sealer.seal(Epoch(1), b"an honest word").unwrap();
    wire.send_to(&recorded, address).unwrap();
    let heard = runtime
        .block_on(async { tokio::time::timeout(PATIENCE, inbox.recv()).await.unwrap().unwrap() });
    let from = wire.local_addr().unwrap();
    assert_eq!(heard, Incoming::Datagram { from, bytes: Bytes::from_static(b"an honest word") });
    let counters = node.counters();
    let memory = node.senders();
    let (mut prng, begun) = (Prng::seeded(1), Instant::now());
    let taken = || {
        let dropped = counters.rows().into_iter().filter(|row| is_drop(row.name));
        dropped.map(|row| row.value).sum::<u64>()
    };
    let mut sent = [0u64; TRICKS.len()];
    for number in 0..DATAGRAMS {
        let kind = number as usize % TRICKS.len();
        wire.send_to(&trick(kind, &recorded, &mut prng), address).unwrap();
        sent[kind] += 1;
        if number % BURST == BURST - 1 {
            let deadline = Instant::now() + Duration::from_secs(5);
            while taken() <= number && Instant::now() < deadline {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    }
    let took = begun.elapsed();
    for (name, sent) in TRICKS.iter().zip(sent) {
        println!("sent {sent:>7} {name}");
    }
    for row in counters.rows().into_iter().filter(|row| row.value > 0) {
        println!("{:>7} {} {}", row.value, row.name, row.reason);
    }
    println!("{DATAGRAMS} in {took:?}, {} taken in by the node", taken());
    assert_eq!(taken(), DATAGRAMS, "every one was looked at, counted and dropped");
    assert!(inbox.try_recv().is_err(), "nothing of it was handed up");
    assert_eq!(node.senders(), memory, "nothing of it is remembered");
    wire.set_nonblocking(true).unwrap();
    assert!(wire.recv(&mut [0; 2_000]).is_err(), "nothing was answered");
    let next = sealer.seal(Epoch(1), b"the next one").unwrap();
    wire.send_to(&next, address).unwrap();
    let heard = runtime
        .block_on(async { tokio::time::timeout(PATIENCE, inbox.recv()).await.unwrap().unwrap() });
    assert_eq!(heard, Incoming::Datagram { from, bytes: Bytes::from_static(b"the next one") });
}

fn is_drop(name: &str) -> bool {
    name == "transport_datagrams_dropped_total"
}
