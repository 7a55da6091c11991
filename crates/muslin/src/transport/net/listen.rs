//! Reading from peers: who dials this node, and what they say.

use super::greeting::{HELLO_BYTES, Hello};
use super::peer::{InLink, PEERS_MAX, Peer, Registry};
use super::record::Opens;
use super::sockets::canonical;
use super::transport::Engine;
use crate::transport::Incoming;
use crate::transport::gate::{Admission, Gate};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::{AbortHandle, JoinSet};

/// How long a greeting may take.
const GREETING_MAX: Duration = Duration::from_secs(5);

/// After the system refused: the process may have too many files, and must not spin.
const AGAIN: Duration = Duration::from_millis(50);

/// Larger than any datagram that opens.
const DATAGRAM_ROOM: usize = 2_048;

/// Takes datagrams in, for ever.
pub(super) async fn hear(registry: Arc<Registry>, socket: UdpSocket) {
    let mut buffer = [0; DATAGRAM_ROOM];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, from)) => {
                let datagram = buffer.get(..length).unwrap_or_default();
                registry.take_datagram(canonical(from), datagram);
            }
            // What the system reports of datagrams sent before is no reason to stop.
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}

/// Takes connections in, for ever. What it started ends with it.
pub(super) async fn accept(engine: Arc<Engine>, listener: TcpListener) {
    let gate = Arc::new(Gate::default());
    let mut readers: JoinSet<()> = JoinSet::new();
    loop {
        while readers.try_join_next().is_some() {}
        let Ok((stream, from)) = listener.accept().await else {
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        // Over TCP a dialler has proven its address.
        let Admission::Go(place) = gate.admit(canonical(from).ip(), true) else {
            engine.registry.counters.handshakes_busy.raise();
            continue;
        };
        let (engine, (give, given)) = (engine.clone(), tokio::sync::oneshot::channel());
        let reader = readers.spawn(async move {
            let Ok(own) = given.await else { return };
            let greeted = greet(&engine.registry, stream);
            let greeted = tokio::time::timeout(GREETING_MAX, greeted).await;
            drop(place);
            match greeted {
                Ok(Ok((hello, opens))) => {
                    read(&engine, (hello, canonical(from)), own, opens).await;
                }
                Ok(Err(error)) => {
                    tracing::debug!(%from, %error, "a greeting failed");
                    engine.registry.counters.handshakes_failed.raise();
                }
                Err(_) => engine.registry.counters.handshakes_failed.raise(),
            }
        });
        let _ = give.send(reader);
    }
}

/// Up to the first record: only then has the dialler shown that it is no replay.
async fn greet(
    registry: &Registry,
    mut stream: TcpStream,
) -> io::Result<(Hello, Opens<TcpStream>)> {
    let mut bytes = [0; HELLO_BYTES];
    stream.read_exact(&mut bytes).await?;
    let read = Hello::read(registry.cluster, &registry.sealer.keyring(), &bytes);
    let (hello, greeted) = read.ok_or(io::Error::other("no key of this cluster made it"))?;
    if hello.target != registry.node || hello.node == registry.node {
        return Err(io::Error::other("it means another node"));
    }
    if registry.roster.check(hello.node, hello.epoch).is_err() {
        registry.counters.handshakes_removed.raise();
        return Err(io::Error::other("it is of a removed node"));
    }
    let (answer, key) = greeted.welcome(registry.boot);
    stream.write_all(&answer).await?;
    let mut opens = Opens::new(stream, key);
    opens.record().await?;
    Ok((hello, opens))
}

/// Hands up what a peer says, when the connection before has ended.
async fn read(
    engine: &Arc<Engine>,
    (hello, from): (Hello, SocketAddr),
    own: AbortHandle,
    mut opens: Opens<TcpStream>,
) {
    let (registry, number) = (&engine.registry, (hello.boot, hello.dial));
    let Some(turn) = take_over(registry, &hello, own) else {
        return registry.counters.handshakes_duplicate.raise();
    };
    if let Some(peer) = engine.peer(hello.node) {
        called(&peer, &hello, from);
    }
    let _turn = turn.lock().await;
    loop {
        let bytes = match opens.message().await {
            Ok(bytes) => bytes,
            Err(error) => {
                if error.kind() == io::ErrorKind::InvalidData {
                    registry.counters.streams_broken.raise();
                }
                break;
            }
        };
        registry.counters.frames_in.raise();
        registry.counters.frame_bytes_in.add(bytes.len() as u64);
        let message = Incoming::Message { from: hello.node, bytes };
        if registry.incoming.send(message).await.is_err() {
            break;
        }
    }
    let mut table = registry.table();
    if table.links.get(&hello.node).is_some_and(|link| link.number == number) {
        table.links.remove(&hello.node);
    }
}

fn called(peer: &Peer, hello: &Hello, from: SocketAddr) {
    peer.called_from(SocketAddr::new(from.ip(), hello.port));
    peer.heard(hello.boot);
}

/// Makes a connection the one that counts; `None` when there is a later one, or no room.
fn take_over(
    registry: &Registry,
    hello: &Hello,
    reader: AbortHandle,
) -> Option<Arc<tokio::sync::Mutex<()>>> {
    let number = (hello.boot, hello.dial);
    let mut table = registry.table();
    let before = table.links.get(&hello.node);
    if before.is_some_and(|before| before.number > number) {
        return None;
    }
    if before.is_none() && table.links.len() >= PEERS_MAX {
        return None;
    }
    // Two readers of one peer never hand up at once: order holds.
    let turn = before.map(|before| before.turn.clone()).unwrap_or_default();
    let link = InLink { number, reader, turn: turn.clone() };
    if let Some(before) = table.links.insert(hello.node, link) {
        before.reader.abort();
    }
    Some(turn)
}
