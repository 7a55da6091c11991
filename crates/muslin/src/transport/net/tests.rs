use super::greeting::{HELLO_BYTES, Hello, WELCOME_BYTES};
use super::peer::{Peer, Table};
use super::*;
use crate::identity::Keyring;
use crate::transport::contract::{self, Bench, Place};
use crate::transport::{Incoming, IncomingSender, Transport};
use bytes::Bytes;
use muslin_core::base::{ClusterId, Epoch, NodeId};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

struct NetBench(Keyring);

impl Bench for NetBench {
    type Transport = NetTransport;

    async fn start(
        &self,
        place: Place,
        incoming: IncomingSender,
    ) -> (Arc<NetTransport>, SocketAddr) {
        let cluster = ClusterId(if place.is_foreign { 2 } else { 1 });
        let start = Start::new(cluster, place.node, self.0.clone());
        let sockets = Sockets::bind(place.address.unwrap_or(ANYWHERE)).unwrap();
        let transport = NetTransport::start(start, sockets, incoming).unwrap();
        let address = transport.local_address();
        (transport, address)
    }

    async fn crash(&self, transport: Arc<NetTransport>) {
        transport.unplug().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn udp_and_tcp_obey_the_contract() {
    contract::test_all(&NetBench(Keyring::generate())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_they_do_with_the_key_that_everybody_has() {
    contract::test_all(&NetBench(Keyring::public())).await;
}

struct Node {
    id: NodeId,
    transport: Arc<NetTransport>,
    inbox: mpsc::Receiver<Incoming>,
}

fn node(id: u64, keyring: &Keyring) -> Node {
    let (sender, inbox) = mpsc::channel(64);
    let start = Start::new(ClusterId(1), NodeId(id), keyring.clone());
    let sockets = Sockets::bind(ANYWHERE).unwrap();
    let transport = NetTransport::start(start, sockets, sender).unwrap();
    Node { id: NodeId(id), transport, inbox }
}

#[tokio::test]
async fn whoever_has_another_key_is_not_heard_on_either_socket() {
    let (one, mut two) = (node(1, &Keyring::generate()), node(2, &Keyring::generate()));
    one.transport.route(NodeId(2), two.transport.local_address());
    one.transport.send(NodeId(2), Bytes::from_static(b"x"));
    one.transport.datagram(two.transport.local_address(), Bytes::from_static(b"x"));
    let counters = two.transport.counters();
    while counters.handshakes_failed.value() == 0
        || counters.datagrams_forged.value() + counters.datagrams_unknown_key.value() == 0
    {
        tokio::task::yield_now().await;
    }
    assert!(two.inbox.try_recv().is_err());
    assert_eq!(one.transport.counters().frames_out.value(), 0);
}

#[tokio::test]
async fn an_open_cluster_is_sealed_without_a_gap() {
    let (open, sealed) = (Keyring::public(), Keyring::generate());
    let keys = |order: [&Keyring; 2]| {
        Keyring::of(order.map(|keyring| keyring.sealing().clone()).to_vec()).unwrap()
    };
    let (one, mut two) = (node(1, &open), node(2, &open));
    one.transport.route(NodeId(2), two.transport.local_address());
    // Each step is taken by one node after the other, as it is in a real cluster.
    let both = [keys([&open, &sealed]), keys([&sealed, &open]), sealed];
    for keyring in both {
        for node in [&one, &two] {
            node.transport.set_keyring(keyring.clone());
            one.transport.datagram(two.transport.local_address(), Bytes::from_static(b"d"));
            one.transport.send(NodeId(2), Bytes::from_static(b"s"));
        }
        let mut heard = 0;
        while heard < 4 {
            heard += usize::from(two.inbox.recv().await.is_some());
        }
    }
}

impl Node {
    async fn hears(&mut self, from: &Node, words: &'static [u8]) {
        from.transport.send(self.id, Bytes::from_static(words));
        let message = Incoming::Message { from: from.id, bytes: Bytes::from_static(words) };
        assert_eq!(self.inbox.recv().await, Some(message));
    }
}

#[tokio::test]
async fn what_is_no_greeting_gets_no_answer_and_a_played_back_one_changes_nothing() {
    let keyring = Keyring::generate();
    let (one, mut two) = (node(1, &keyring), node(2, &keyring));
    let place = two.transport.local_address();
    one.transport.route(two.id, place);
    two.hears(&one, b"before").await;

    let mut stranger = TcpStream::connect(place).await.unwrap();
    stranger.write_all(&[7; HELLO_BYTES]).await.unwrap();
    let mut answer = Vec::new();
    // Closed with unread bytes, a connection may also be reset.
    let _ = stranger.read_to_end(&mut answer).await;
    assert_eq!(answer, [0; 0]);

    // Of a later start, as it would be heard from the network: the key made it, nobody has it here.
    let (boot, dial, port) = (u64::MAX, 0, 1);
    let hello = Hello { epoch: Epoch(1), node: one.id, target: two.id, boot, dial, port };
    let (played, _) = hello.write(ClusterId(1), keyring.sealing());
    let mut replay = TcpStream::connect(place).await.unwrap();
    replay.write_all(&played).await.unwrap();
    replay.read_exact(&mut [0; WELCOME_BYTES]).await.unwrap();
    replay.write_all(&[0, 0, 0, 16, 1, 2, 3]).await.unwrap();
    replay.write_all(&[0; 13]).await.unwrap();
    let _ = replay.read_to_end(&mut answer).await;
    two.hears(&one, b"after").await;
    assert_eq!(one.transport.counters().connections_opened.value(), 1);
}

#[test]
fn a_full_table_forgets_one_that_is_idle_and_none_that_is_not() {
    let mut table = Table::default();
    for id in 0..PEERS_MAX as u64 {
        assert!(table.make_room());
        let peer = Arc::new(Peer::new(NodeId(id)));
        peer.set_linked(id != 7);
        table.peers.insert(NodeId(id), peer);
    }
    assert!(table.make_room());
    assert!(!table.peers.contains_key(&NodeId(7)));
    table.peers.insert(NodeId(7), table.peers[&NodeId(8)].clone());
    assert!(!table.make_room());
}
