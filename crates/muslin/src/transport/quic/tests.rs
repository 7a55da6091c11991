use super::*;
use crate::identity::Identity;
use crate::transport::contract::{self, Bench, Place};
use crate::transport::{Incoming, IncomingSender, Transport};
use bytes::Bytes;
use muslin_core::base::{Epoch, NodeId, Prng};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// Every transport gets a runtime of its own, which ends as a process does when it is killed.
pub(super) struct QuicBench {
    ours: Identity,
    theirs: Identity,
    /// Certificates are made once per node and epoch: a restarted node has the key it had.
    made: Mutex<BTreeMap<(NodeId, bool, Epoch), Identity>>,
    runtimes: Mutex<BTreeMap<SocketAddr, Runtime>>,
    boot: AtomicU64,
}

impl QuicBench {
    pub(super) fn new() -> QuicBench {
        let found = || Identity::found("test", NodeId(1), &[]).unwrap();
        QuicBench {
            ours: found(),
            theirs: found(),
            made: Mutex::default(),
            runtimes: Mutex::default(),
            boot: AtomicU64::new(1),
        }
    }

    pub(super) fn identity(&self, node: NodeId, is_foreign: bool, epoch: Epoch) -> Identity {
        let cluster = if is_foreign { &self.theirs } else { &self.ours };
        let mut made = self.made.lock().unwrap();
        let make = || {
            let sibling = cluster.sibling(node, &[]).unwrap();
            sibling.reissued(("", &[]), epoch, &[]).unwrap()
        };
        made.entry((node, is_foreign, epoch)).or_insert_with(make).clone()
    }

    fn start_epoch(
        &self,
        place: Place,
        epoch: Epoch,
        incoming: IncomingSender,
    ) -> (Arc<QuicTransport>, SocketAddr) {
        let address = place.address.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let socket = UdpSocket::bind(address).unwrap();
        let address = socket.local_addr().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(1).enable_all().build().unwrap();
        let identity = self.identity(place.node, place.is_foreign, epoch);
        let start = Start { epoch, boot: self.boot.fetch_add(1, Ordering::Relaxed) };
        let entered = runtime.enter();
        let transport = QuicTransport::start(&identity, start, socket, incoming).unwrap();
        drop(entered);
        // A transport that is gone has left its port, and the system may have given it out again.
        if let Some(before) = self.runtimes.lock().unwrap().insert(address, runtime) {
            before.shutdown_background();
        }
        (transport, address)
    }
}

impl Drop for QuicBench {
    fn drop(&mut self) {
        for (_, runtime) in std::mem::take(&mut *self.runtimes.lock().unwrap()) {
            runtime.shutdown_background();
        }
    }
}

impl Bench for QuicBench {
    type Transport = QuicTransport;

    async fn start(
        &self,
        place: Place,
        incoming: IncomingSender,
    ) -> (Arc<QuicTransport>, SocketAddr) {
        self.start_epoch(place, Epoch(1), incoming)
    }

    async fn crash(&self, transport: Arc<QuicTransport>) {
        let address = transport.local_address();
        let runtime = self.runtimes.lock().unwrap().remove(&address).unwrap();
        runtime.shutdown_background();
        drop(transport);
        // The socket is free when the last task of the runtime is gone.
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if UdpSocket::bind(address).is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("the socket of a crashed transport stays bound");
    }
}

pub(super) struct Node {
    pub(super) transport: Arc<QuicTransport>,
    pub(super) address: SocketAddr,
    pub(super) inbox: mpsc::Receiver<Incoming>,
}

pub(super) fn start(bench: &QuicBench, node: u64, epoch: u64) -> Node {
    let (sender, inbox) = mpsc::channel(10_000);
    let place = Place { node: NodeId(node), address: None, is_foreign: false };
    let (transport, address) = bench.start_epoch(place, Epoch(epoch), sender);
    Node { transport, address, inbox }
}

impl Node {
    async fn next(&mut self) -> Incoming {
        tokio::time::timeout(PATIENCE, self.inbox.recv()).await.unwrap().unwrap()
    }

    /// Until the other hears it; nothing of it is under way any more then.
    async fn talks_to(&self, other: &mut Node, id: u64) {
        self.transport.route(NodeId(id), other.address);
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            self.transport.send(NodeId(id), Bytes::from_static(b"hello"));
            let heard = tokio::time::timeout(Duration::from_millis(10), other.inbox.recv()).await;
            if matches!(heard, Ok(Some(Incoming::Message { bytes, .. })) if bytes == "hello") {
                self.transport.send(NodeId(id), Bytes::from_static(b"over"));
                while !matches!(
                    other.next().await,
                    Incoming::Message { bytes, .. } if bytes == "over"
                ) {}
                return;
            }
        }
        panic!("node {id} is never reached");
    }
}

async fn until(condition: impl Fn() -> bool, what: &str) {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("{what}");
}

macro_rules! obeys {
    ($($promise:ident),+ $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $promise() {
            contract::$promise(&QuicBench::new()).await;
        }
    )+};
}

obeys! {
    messages_arrive_in_order_both_ways,
    a_message_without_a_route_is_dropped,
    a_node_without_a_route_can_answer,
    the_largest_message_arrives_and_a_larger_one_is_dropped,
    a_slow_reader_loses_nothing,
    a_peer_that_crashed_is_reached_again_at_its_address,
    a_peer_that_moved_is_reached_at_its_new_address,
    a_removed_peer_is_refused,
    datagrams_arrive,
    a_node_of_another_cluster_is_refused,
    closing_writes_what_waits,
}

/// Datagrams that come in are put on the wire again, by someone who only listens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replayed_datagram_is_dropped() {
    let bench = QuicBench::new();
    let one = start(&bench, 1, 1);
    let mut two = start(&bench, 2, 1);
    let wire = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    wire.set_read_timeout(Some(PATIENCE)).unwrap();
    one.transport.datagram(wire.local_addr().unwrap(), Bytes::from_static(b"ping"));
    let mut sealed = [0; 2_000];
    let length = wire.recv(&mut sealed).unwrap();
    for _ in 0..10 {
        wire.send_to(&sealed[..length], two.address).unwrap();
    }
    let from = wire.local_addr().unwrap();
    assert_eq!(two.next().await, Incoming::Datagram { from, bytes: Bytes::from_static(b"ping") });
    let counters = two.transport.counters();
    until(|| counters.datagrams_replayed.value() == 9, "nine replays are counted").await;
    assert!(two.inbox.try_recv().is_err());
    // Nor does a node take its own datagrams from someone else.
    wire.send_to(&sealed[..length], one.address).unwrap();
    let counters = one.transport.counters();
    until(|| counters.datagrams_removed.value() == 1, "one's own datagram is dropped").await;
}

/// A hundred thousand datagrams of noise, of every first byte and length, and pieces of true ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_changes_nothing() {
    let bench = QuicBench::new();
    let mut one = start(&bench, 1, 1);
    let mut two = start(&bench, 2, 1);
    one.talks_to(&mut two, 2).await;
    let wire = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    wire.set_read_timeout(Some(PATIENCE)).unwrap();
    one.transport.datagram(wire.local_addr().unwrap(), Bytes::from_static(b"ping"));
    let mut sealed = vec![0; 2_000];
    let length = wire.recv(&mut sealed).unwrap();
    let mut prng = Prng::seeded(1);
    let counters = two.transport.counters();
    let dropped = [&counters.datagrams_forged, &counters.datagrams_short, &counters.datagrams_long];
    let until = Instant::now() + PATIENCE;
    for round in 0.. {
        let has_read = dropped.iter().all(|counter| counter.value() > 1_000);
        if round >= 100_000 && has_read {
            break;
        }
        assert!(Instant::now() < until, "it is read: {:?}", counters.rows());
        let mut noise = sealed[..length].to_vec();
        match round % 4 {
            0 => noise = (0..prng.below(1_500)).map(|_| prng.draw() as u8).collect(),
            1 => noise.truncate(prng.below(length as u64) as usize),
            2 => noise.resize(length + 1 + prng.below(9_000) as usize, 7),
            _ => {
                let bit = prng.below(length as u64 * 8) as usize;
                noise[bit / 8] ^= 1 << (bit % 8);
            }
        }
        // A full socket buffer may refuse some; the rest is enough.
        let _ = wire.send_to(&noise, two.address);
    }
    one.talks_to(&mut two, 2).await;
    two.talks_to(&mut one, 1).await;
    assert_eq!(counters.connections.value(), 1, "the connection has outlived the noise");
    assert_eq!(counters.datagrams_in.value(), 0, "nothing of it was taken for gossip");
    // Whatever was answered (QUIC refuses versions it does not know) is less than what was sent.
    wire.set_nonblocking(true).unwrap();
    let mut answered = 0;
    while let Ok(bytes) = wire.recv(&mut sealed) {
        answered += bytes;
    }
    assert!(answered < 1_000_000, "{answered} bytes of answers to 150 MB of noise or more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_an_older_epoch_is_refused_until_its_papers_are_renewed() {
    let bench = QuicBench::new();
    let mut old = start(&bench, 1, 3);
    let mut new = start(&bench, 2, 4);
    old.transport.route(NodeId(2), new.address);
    old.transport.send(NodeId(2), Bytes::from_static(b"hello"));
    old.transport.datagram(new.address, Bytes::from_static(b"ping"));
    let counters = new.transport.counters();
    until(|| counters.handshakes_epoch.value() > 0, "the older is refused").await;
    until(|| counters.datagrams_old_epoch.value() == 1, "its gossip is dropped").await;
    assert!(new.inbox.try_recv().is_err());
    old.transport.roster().raise(Epoch(4));
    old.transport.renew(&bench.identity(NodeId(1), false, Epoch(4))).unwrap();
    old.talks_to(&mut new, 2).await;
    new.talks_to(&mut old, 1).await;
}

/// Over a rise of the epoch members keep their connections, may make others while they renew, and
/// one that is removed is out at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rise_of_the_epoch_cuts_nobody_off_but_the_removed() {
    let bench = QuicBench::new();
    let (mut one, mut two) = (start(&bench, 1, 1), start(&bench, 2, 1));
    one.transport.route(NodeId(2), two.address);
    one.talks_to(&mut two, 2).await;
    let counters = two.transport.counters();
    let lived = crate::transport::Standing { is_current: true, votes: false };
    let members = || [(NodeId(1), lived), (NodeId(2), lived)].into();
    two.transport.roster().set(Epoch(2), members());
    one.talks_to(&mut two, 2).await;
    two.talks_to(&mut one, 1).await;
    one.transport.datagram(two.address, Bytes::from_static(b"ping"));
    let from = one.address;
    assert_eq!(two.next().await, Incoming::Datagram { from, bytes: Bytes::from_static(b"ping") });
    // Renewed, it talks on over the connection that there is.
    one.transport.roster().set(Epoch(2), members());
    one.transport.renew(&bench.identity(NodeId(1), false, Epoch(2))).unwrap();
    one.talks_to(&mut two, 2).await;
    assert_eq!(counters.connections_opened.value(), 1, "the connection was not cut");
    two.transport.unroute(NodeId(1));
    one.transport.send(NodeId(2), Bytes::from_static(b"hello"));
    one.transport.datagram(two.address, Bytes::from_static(b"ping"));
    until(|| counters.datagrams_removed.value() == 1, "its gossip is dropped").await;
    until(
        || {
            one.transport.send(NodeId(2), Bytes::from_static(b"hello"));
            counters.handshakes_removed.value() > 0
        },
        "its certificate is refused",
    )
    .await;
    assert!(two.inbox.try_recv().is_err(), "nothing of it arrives");
}

/// A dial to another node than meant fails by its name, though both are of the cluster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_at_anothers_address_gets_none_of_its_messages() {
    let bench = QuicBench::new();
    let one = start(&bench, 1, 1);
    let mut three = start(&bench, 3, 1);
    one.transport.route(NodeId(2), three.address);
    one.transport.send(NodeId(2), Bytes::from_static(b"secret"));
    let counters = one.transport.counters();
    until(|| counters.dials_failed.value() > 0, "the dial fails").await;
    one.talks_to(&mut three, 3).await;
}

/// Whichever side dials first, there is one connection when all is quiet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_dial_each_other_end_with_one_connection() {
    let bench = QuicBench::new();
    for round in 0..20 {
        let (low, high) = (100 + round * 2, 101 + round * 2);
        let (mut one, mut two) = (start(&bench, low, 1), start(&bench, high, 1));
        one.transport.route(NodeId(high), two.address);
        two.transport.route(NodeId(low), one.address);
        one.transport.send(NodeId(high), Bytes::from_static(b"a"));
        two.transport.send(NodeId(low), Bytes::from_static(b"b"));
        one.next().await;
        two.next().await;
        for node in [&one, &two] {
            let counters = node.transport.counters();
            until(|| counters.connections.value() == 1, "one connection is left").await;
            assert_eq!(counters.frames_lost.value(), 0);
        }
    }
}

/// A peer that broke the framing is cut off, and only it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oversized_frame_ends_the_connection() {
    let bench = QuicBench::new();
    let mut one = start(&bench, 1, 1);
    let mut two = start(&bench, 2, 1);
    let identity = bench.identity(NodeId(3), false, Epoch(1));
    let configs = tuning::Configs::of(&identity, 10).unwrap();
    let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let name = crate::identity::node_dns_name(identity.cluster, NodeId(1));
    let dialled = endpoint.connect_with(configs.client, one.address, &name).unwrap();
    let connection = dialled.await.unwrap();
    let (mut stream, _receive) = connection.open_bi().await.unwrap();
    let (cluster, epoch, node, boot) = (identity.cluster, Epoch(1), NodeId(3), 1);
    let hello =
        hello::Hello::of(hello::Greeter { cluster, epoch, node, boot, session: 1 }, 0).framed();
    stream.write_all(&hello).await.unwrap();
    stream.write_all(&[0, 0, 0, 2, b'o', b'k']).await.unwrap();
    let expected = Incoming::Message { from: NodeId(3), bytes: Bytes::from_static(b"ok") };
    assert_eq!(one.next().await, expected);
    stream.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
    let closed = tokio::time::timeout(PATIENCE, connection.closed()).await.unwrap();
    assert!(closed.to_string().contains("closed by peer"), "{closed}");
    assert_eq!(one.transport.counters().streams_broken.value(), 1);
    two.talks_to(&mut one, 1).await;
    one.talks_to(&mut two, 2).await;
}

/// Not by waiting for silence to be noticed: the next process answers for the one before. (On a
/// machine so busy that it comes up only after the silence was noticed, it is tried again.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_process_of_a_crashed_peer_disowns_its_connections() {
    let bench = QuicBench::new();
    let one = start(&bench, 1, 1);
    let counters = one.transport.counters();
    let mut two = start(&bench, 2, 1);
    for _ in 0..10 {
        one.talks_to(&mut two, 2).await;
        let address = two.address;
        bench.crash(two.transport).await;
        let (sender, inbox) = mpsc::channel(1_000);
        let place = Place { node: NodeId(2), address: Some(address), is_foreign: false };
        let (transport, address) = bench.start(place, sender).await;
        two = Node { transport, address, inbox };
        one.transport.send(NodeId(2), Bytes::from_static(b"hello"));
        let has_ended =
            || counters.connections.value() == 0 || counters.connections_reset.value() > 0;
        until(has_ended, "the connection ends").await;
        if counters.connections_reset.value() > 0 {
            return;
        }
    }
    panic!("no connection is ever disowned: {:?}", counters.rows());
}

/// Gossip of a later start ends the connection to the earlier one, and the wait between dials.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_heard_by_gossip_in_a_later_start_is_dialled_anew() {
    let bench = QuicBench::new();
    let one = start(&bench, 1, 1);
    let mut two = start(&bench, 2, 1);
    one.talks_to(&mut two, 2).await;
    let address = two.address;
    bench.crash(two.transport).await;
    let (sender, mut inbox) = mpsc::channel(10);
    let place = Place { node: NodeId(2), address: Some(address), is_foreign: false };
    let (again, _) = bench.start(place, sender).await;
    again.datagram(one.address, Bytes::from_static(b"here again"));
    let counters = one.transport.counters();
    until(|| counters.connections.value() == 0, "the old connection is given up").await;
    one.transport.send(NodeId(2), Bytes::from_static(b"hello"));
    let heard = tokio::time::timeout(PATIENCE, inbox.recv()).await.unwrap().unwrap();
    assert_eq!(heard, Incoming::Message { from: NodeId(1), bytes: Bytes::from_static(b"hello") });
    assert_eq!(counters.frames_lost.value(), 0);
}

/// Strangers that shake hands by the hundred are held to their places, and others still get in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_handshakes_is_bounded() {
    let bench = QuicBench::new();
    let one = start(&bench, 1, 1);
    let mut two = start(&bench, 2, 1);
    let stranger = bench.identity(NodeId(9), true, Epoch(1));
    let name = crate::identity::node_dns_name(bench.ours.cluster, NodeId(2));
    let mut flood = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        for _ in 0..100 {
            let client = tuning::Configs::of(&stranger, 10).unwrap().client;
            let dialled = endpoint.connect_with(client, two.address, &name).unwrap();
            flood.spawn(async move { dialled.await.is_ok() });
        }
    }
    one.talks_to(&mut two, 2).await;
    while let Some(joined) = flood.join_next().await {
        assert!(!joined.unwrap(), "a stranger got in");
    }
    let counters = two.transport.counters();
    let held = counters.handshakes_busy.value() + counters.handshakes_retried.value();
    assert!(held > 0 && counters.connections.value() == 1, "{:?}", counters.rows());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dual_stack_socket_speaks_with_peers_on_ipv4() {
    let bench = QuicBench::new();
    let mut one = start(&bench, 1, 1);
    let (sender, mut inbox) = mpsc::channel(10);
    let Ok(socket) = UdpSocket::bind("[::]:0") else { return };
    let port = socket.local_addr().unwrap().port();
    let identity = bench.identity(NodeId(2), false, Epoch(1));
    let two = QuicTransport::start(&identity, Epoch(1), socket, sender).unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    two.route(NodeId(1), one.address);
    two.send(NodeId(1), Bytes::from_static(b"hello"));
    two.datagram(one.address, Bytes::from_static(b"ping"));
    let mut heard = [one.next().await, one.next().await];
    heard.sort_by_key(|heard| matches!(heard, Incoming::Message { .. }));
    assert_eq!(heard[0], Incoming::Datagram { from: address, bytes: Bytes::from_static(b"ping") });
    one.transport.datagram(address, Bytes::from_static(b"pong"));
    let from = one.address;
    assert_eq!(
        inbox.recv().await,
        Some(Incoming::Datagram { from, bytes: Bytes::from_static(b"pong") })
    );
}

/// Says something until it is refused as another process of its node.
async fn is_refused_as_a_copy(node: &Node) {
    for _ in 0..2_000 {
        node.transport.send(NodeId(1), Bytes::from_static(b"hello"));
        if node.transport.counters().dials_copied.value() > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it is never told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_processes_of_one_node_one_is_heard_and_the_other_is_told() {
    // The one that is heard first, and the other, by their starts.
    for (first, second) in [(1, 2), (2, 1), (3, 3)] {
        let bench = QuicBench::new();
        let mut peer = start(&bench, 1, 1);
        let run = |boot| {
            bench.boot.store(boot, Ordering::Relaxed);
            start(&bench, 2, 1)
        };
        let (one, two) = (run(first), run(second));
        one.talks_to(&mut peer, 1).await;
        two.transport.route(NodeId(1), peer.address);
        let (heard, other) = match second > first {
            true => {
                two.talks_to(&mut peer, 1).await;
                (&two, &one)
            }
            false => (&one, &two),
        };
        is_refused_as_a_copy(other).await;
        assert_eq!(heard.transport.counters().dials_copied.value(), 0);
        let seen = peer.transport.roster().take_copied();
        assert_eq!(seen, [(NodeId(2), [heard.address, other.address])], "{first}, {second}");
        assert!(peer.transport.counters().handshakes_copied.value() > 0);
    }
}
