//! What every transport must do, as a suite that any implementation can be run through.
//!
//! Implement [`Bench`] and call [`test_all`] in a test. It panics with the promise that was broken.

use super::{FRAME_BYTES_MAX, Incoming, IncomingSender, Transport};
use bytes::{Bytes, BytesMut};
use muslin_core::base::NodeId;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long something that must happen may take: far more than it does, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long something that must not happen is waited for.
const SILENCE: Duration = Duration::from_millis(300);

/// Between repetitions of what may be lost.
const AGAIN: Duration = Duration::from_millis(10);

const ONE: NodeId = NodeId(11);
const TWO: NodeId = NodeId(22);
const THREE: NodeId = NodeId(33);

/// Which node to start.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its id.
    pub node: NodeId,
    /// Where; anywhere if `None`.
    pub address: Option<SocketAddr>,
    /// Of another cluster than the rest.
    pub is_foreign: bool,
}

/// Starts and stops the transports under test.
pub trait Bench: Sync {
    /// What is tested.
    type Transport: Transport;

    /// Starts a node; a later start of the same node must be told apart as later.
    fn start(
        &self,
        place: Place,
        incoming: IncomingSender,
    ) -> impl Future<Output = (Arc<Self::Transport>, SocketAddr)> + Send;

    /// Stops a node as a crash does: without a word to anybody. Its address is free afterwards.
    fn crash(&self, transport: Arc<Self::Transport>) -> impl Future<Output = ()> + Send;
}

/// Runs the whole suite.
pub async fn test_all(bench: &impl Bench) {
    messages_arrive_in_order_both_ways(bench).await;
    a_message_without_a_route_is_dropped(bench).await;
    a_node_without_a_route_can_answer(bench).await;
    the_largest_message_arrives_and_a_larger_one_is_dropped(bench).await;
    a_slow_reader_loses_nothing(bench).await;
    a_peer_that_crashed_is_reached_again_at_its_address(bench).await;
    a_peer_that_moved_is_reached_at_its_new_address(bench).await;
    a_removed_peer_is_refused(bench).await;
    datagrams_arrive(bench).await;
    a_node_of_another_cluster_is_refused(bench).await;
    closing_writes_what_waits(bench).await;
}

struct Node<T> {
    transport: Arc<T>,
    address: SocketAddr,
    inbox: mpsc::Receiver<Incoming>,
}

impl<T: Transport> Node<T> {
    async fn start<B: Bench<Transport = T>>(bench: &B, node: NodeId) -> Node<T> {
        Node::place(bench, Place { node, address: None, is_foreign: false }, 100_000).await
    }

    async fn place<B: Bench<Transport = T>>(bench: &B, place: Place, room: usize) -> Node<T> {
        let (sender, inbox) = mpsc::channel(room);
        let (transport, address) = bench.start(place, sender).await;
        Node { transport, address, inbox }
    }

    async fn next(&mut self) -> Incoming {
        let next = tokio::time::timeout(PATIENCE, self.inbox.recv()).await;
        next.expect("something must arrive in time").expect("the transport keeps its channel")
    }

    async fn next_message(&mut self) -> (NodeId, Bytes) {
        loop {
            if let Incoming::Message { from, bytes } = self.next().await {
                return (from, bytes);
            }
        }
    }

    async fn expect_silence(&mut self, promise: &str) {
        let heard = tokio::time::timeout(SILENCE, self.inbox.recv()).await;
        assert!(heard.is_err(), "{promise}, but {heard:?} arrived");
    }
}

/// A message that says its number, of a length that depends on it.
fn numbered(number: u64) -> Bytes {
    let length = (number * 37 % 3_000) as usize;
    let mut bytes = BytesMut::zeroed(8 + length);
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes.freeze()
}

fn number_of(bytes: &Bytes) -> u64 {
    let head = bytes.first_chunk().expect("a numbered message has a number");
    let number = u64::from_be_bytes(*head);
    assert_eq!(*bytes, numbered(number), "a message arrives whole");
    number
}

/// Both sides begin to talk at once: whatever that does to connections, nothing is lost or
/// reordered.
pub async fn messages_arrive_in_order_both_ways(bench: &impl Bench) {
    const COUNT: u64 = 3_000;
    let mut one = Node::start(bench, ONE).await;
    let mut two = Node::start(bench, TWO).await;
    one.transport.route(TWO, two.address);
    two.transport.route(ONE, one.address);
    for number in 0..COUNT {
        one.transport.send(TWO, numbered(number));
        two.transport.send(ONE, numbered(number));
    }
    for (node, from) in [(&mut one, TWO), (&mut two, ONE)] {
        for number in 0..COUNT {
            let (who, bytes) = node.next_message().await;
            assert_eq!((who, number_of(&bytes)), (from, number), "messages arrive in order");
        }
    }
}

/// No route and no connection: dropped, and no harm done.
pub async fn a_message_without_a_route_is_dropped(bench: &impl Bench) {
    let one = Node::start(bench, ONE).await;
    let mut two = Node::start(bench, TWO).await;
    one.transport.send(TWO, numbered(1));
    two.expect_silence("a message without a route is dropped").await;
    one.transport.route(TWO, two.address);
    one.transport.send(TWO, numbered(2));
    assert_eq!(number_of(&two.next_message().await.1), 2, "it is dropped, not kept");
}

/// Whoever was reached can answer, though it knows no address.
pub async fn a_node_without_a_route_can_answer(bench: &impl Bench) {
    let mut one = Node::start(bench, ONE).await;
    let mut two = Node::start(bench, TWO).await;
    one.transport.route(TWO, two.address);
    one.transport.send(TWO, numbered(1));
    two.next_message().await;
    two.transport.send(ONE, numbered(2));
    let (from, bytes) = one.next_message().await;
    assert_eq!((from, number_of(&bytes)), (TWO, 2), "an answer needs no route");
}

/// Up to the limit, and not beyond.
pub async fn the_largest_message_arrives_and_a_larger_one_is_dropped(bench: &impl Bench) {
    let one = Node::start(bench, ONE).await;
    let mut two = Node::start(bench, TWO).await;
    one.transport.route(TWO, two.address);
    let largest = Bytes::from(vec![7; FRAME_BYTES_MAX]);
    one.transport.send(TWO, largest.clone());
    one.transport.send(TWO, Bytes::from(vec![8; FRAME_BYTES_MAX + 1]));
    one.transport.send(TWO, Bytes::new());
    assert!(two.next_message().await.1 == largest, "the largest message arrives whole");
    assert!(two.next_message().await.1.is_empty(), "a larger one is dropped, an empty one is not");
}

/// More than any buffer between holds, to a reader with room for one: nothing is lost or reordered.
pub async fn a_slow_reader_loses_nothing(bench: &impl Bench) {
    const COUNT: u64 = 2_000;
    let body = |number: u64| {
        let mut bytes = BytesMut::zeroed(8 << 10);
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        bytes.freeze()
    };
    let one = Node::start(bench, ONE).await;
    let place = Place { node: TWO, address: None, is_foreign: false };
    let mut two = Node::place(bench, place, 1).await;
    one.transport.route(TWO, two.address);
    (0..COUNT).for_each(|number| one.transport.send(TWO, body(number)));
    tokio::time::sleep(SILENCE).await;
    for number in 0..COUNT {
        assert!(two.next_message().await.1 == body(number), "message {number} is next");
    }
}

/// Sends numbered messages, from 1 on, until one arrives; then all after it must, in order.
async fn reach<T: Transport>(one: &Node<T>, two: &mut Node<T>, promise: &str) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut number = 1;
    let first = loop {
        assert!(tokio::time::Instant::now() < deadline, "{promise}");
        one.transport.send(TWO, numbered(number));
        number += 1;
        if let Ok(Some(Incoming::Message { bytes, .. })) =
            tokio::time::timeout(AGAIN, two.inbox.recv()).await
        {
            break number_of(&bytes);
        }
    };
    one.transport.send(TWO, numbered(number));
    for expected in first + 1..=number {
        assert_eq!(number_of(&two.next_message().await.1), expected, "order holds after {promise}");
    }
}

/// A crash says nothing; the next process at the address is found all the same.
pub async fn a_peer_that_crashed_is_reached_again_at_its_address(bench: &impl Bench) {
    let one = Node::start(bench, ONE).await;
    let mut two = Node::start(bench, TWO).await;
    one.transport.route(TWO, two.address);
    reach(&one, &mut two, "a peer is reached").await;
    for _ in 0..2 {
        let address = two.address;
        bench.crash(two.transport).await;
        one.transport.send(TWO, numbered(0));
        let place = Place { node: TWO, address: Some(address), is_foreign: false };
        two = Node::place(bench, place, 100_000).await;
        reach(&one, &mut two, "a peer that crashed is reached again").await;
    }
}

/// A peer that comes back elsewhere is reached there once its route says so.
pub async fn a_peer_that_moved_is_reached_at_its_new_address(bench: &impl Bench) {
    let one = Node::start(bench, ONE).await;
    let mut two = Node::start(bench, TWO).await;
    one.transport.route(TWO, two.address);
    reach(&one, &mut two, "a peer is reached").await;
    bench.crash(two.transport).await;
    two = Node::start(bench, TWO).await;
    one.transport.route(TWO, two.address);
    reach(&one, &mut two, "a peer that moved is reached").await;
}

/// Removed is removed: nothing gets in from it, nothing out to it.
pub async fn a_removed_peer_is_refused(bench: &impl Bench) {
    let mut one = Node::start(bench, ONE).await;
    let mut two = Node::start(bench, TWO).await;
    let three = Node::start(bench, THREE).await;
    for (node, to, address) in [(&one, TWO, two.address), (&two, ONE, one.address)] {
        node.transport.route(to, address);
    }
    three.transport.route(ONE, one.address);
    one.transport.send(TWO, numbered(1));
    two.next_message().await;
    one.transport.unroute(TWO);
    one.transport.send(TWO, numbered(2));
    two.expect_silence("nothing is sent to a removed peer").await;
    for _ in 0..3 {
        two.transport.send(ONE, numbered(3));
        two.transport.datagram(one.address, numbered(3));
        one.expect_silence("nothing of a removed peer arrives").await;
    }
    three.transport.send(ONE, numbered(4));
    assert_eq!(one.next_message().await.0, THREE, "others are still heard");
}

/// A datagram may be lost, but not all of them.
pub async fn datagrams_arrive(bench: &impl Bench) {
    let one = Node::start(bench, ONE).await;
    let mut two = Node::start(bench, TWO).await;
    let sent = Bytes::from(vec![5; muslin_core::swim::PACKET_BYTES_MAX]);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let heard = loop {
        assert!(tokio::time::Instant::now() < deadline, "a datagram arrives");
        one.transport.datagram(two.address, sent.clone());
        if let Ok(Some(heard)) = tokio::time::timeout(AGAIN, two.inbox.recv()).await {
            break heard;
        }
    };
    assert_eq!(heard, Incoming::Datagram { from: one.address, bytes: sent });
}

/// Two clusters never mix (M4), though they use each other's addresses and ids.
pub async fn a_node_of_another_cluster_is_refused(bench: &impl Bench) {
    let mut one = Node::start(bench, ONE).await;
    let place = Place { node: TWO, address: None, is_foreign: true };
    let mut foreign = Node::place(bench, place, 100).await;
    let three = Node::start(bench, THREE).await;
    one.transport.route(TWO, foreign.address);
    foreign.transport.route(ONE, one.address);
    three.transport.route(ONE, one.address);
    for number in 0..3 {
        one.transport.send(TWO, numbered(number));
        foreign.transport.send(ONE, numbered(number));
        one.transport.datagram(foreign.address, numbered(number));
        foreign.transport.datagram(one.address, numbered(number));
        one.expect_silence("nothing of another cluster arrives").await;
        foreign.expect_silence("nothing goes to another cluster").await;
    }
    three.transport.send(ONE, numbered(9));
    assert_eq!(one.next_message().await.0, THREE, "one's own cluster is still heard");
}

/// What was sent just before closing arrives.
pub async fn closing_writes_what_waits(bench: &impl Bench) {
    let one = Node::start(bench, ONE).await;
    let mut two = Node::start(bench, TWO).await;
    one.transport.route(TWO, two.address);
    reach(&one, &mut two, "a peer is reached").await;
    (0..500).for_each(|number| one.transport.send(TWO, numbered(number)));
    one.transport.close().await;
    for number in 0..500 {
        assert_eq!(number_of(&two.next_message().await.1), number, "what waited arrives");
    }
}
