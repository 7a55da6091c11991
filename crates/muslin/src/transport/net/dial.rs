//! Writing to a peer: the task that dials it and empties its outbox.

use super::greeting::{Hello, WELCOME_BYTES};
use super::peer::{Orders, Peer, Phase, Registry};
use super::record::Seals;
use super::transport::EPOCH;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// How long connecting and greeting may take: a few round trips around the world.
const DIAL_MAX: Duration = Duration::from_secs(3);

/// Between dials that fail: doubled from the first to the second.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A peer that is silent so long is asked by the system whether it is there, and again so often.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(5);

/// A connection on which nothing is said for so long ends; the next message opens another.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Writes to one peer until it is gone.
pub(super) async fn write_to(registry: Arc<Registry>, peer: Arc<Peer>) {
    let mut orders = peer.orders();
    let mut pause = PAUSE_MIN;
    loop {
        let current = *orders.borrow_and_update();
        let address = match (current.phase, current.route) {
            (Phase::Gone, _) => break,
            (Phase::Finishing, _) if peer.outbox.is_empty() => break,
            (_, Some(address)) if !peer.outbox.is_empty() => address,
            _ => {
                tokio::select! {
                    () = peer.wake.notified() => {}
                    _ = orders.changed() => {}
                }
                continue;
            }
        };
        registry.counters.dials.raise();
        let dialled = tokio::time::timeout(DIAL_MAX, dial(&registry, &peer, address)).await;
        match dialled.unwrap_or_else(|late| Err(late.into())) {
            Ok(link) => {
                pause = PAUSE_MIN;
                registry.counters.connections_opened.raise();
                registry.counters.connections.raise();
                peer.set_linked(true);
                link.carry(&registry, &peer, (current, &mut orders)).await;
                peer.set_linked(false);
                registry.counters.connections.lower();
            }
            Err(error) => {
                tracing::debug!(node = %peer.id, %address, %error, "cannot connect");
                registry.counters.dials_failed.raise();
                registry.counters.frames_lost.add(peer.outbox.clear());
                // Another route, or word from the peer, ends the pause.
                let _ = tokio::time::timeout(pause, orders.changed()).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
    registry.counters.frames_lost.add(peer.outbox.clear());
}

/// A connection that was answered.
struct Link {
    stream: TcpStream,
    seals: Seals,
    /// Which start of the peer answered.
    boot: u64,
}

async fn dial(registry: &Registry, peer: &Peer, address: SocketAddr) -> io::Result<Link> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let keep_alive = socket2::TcpKeepalive::new();
    let keep_alive = keep_alive.with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE_EVERY);
    socket2::SockRef::from(&stream).set_tcp_keepalive(&keep_alive)?;
    let hello = Hello {
        epoch: EPOCH,
        node: registry.node,
        target: peer.id,
        boot: registry.boot,
        dial: registry.dials.fetch_add(1, Ordering::Relaxed),
        port: registry.port,
    };
    let (bytes, greeted) = hello.write(registry.cluster, registry.sealer.keyring().sealing());
    stream.write_all(&bytes).await?;
    let mut answer = [0; WELCOME_BYTES];
    stream.read_exact(&mut answer).await?;
    let welcomed = greeted.welcomed(&answer);
    let (boot, key) = welcomed.ok_or(io::Error::other("a wrong answer to the greeting"))?;
    let (mut seals, mut first) = (Seals::new(key), Vec::new());
    seals.seal(&[], &mut first);
    stream.write_all(&first).await?;
    Ok(Link { stream, seals, boot })
}

impl Link {
    /// Writes until the connection ends, on either side.
    async fn carry(
        mut self,
        registry: &Registry,
        peer: &Peer,
        (since, orders): (Orders, &mut watch::Receiver<Orders>),
    ) {
        loop {
            let current = *orders.borrow_and_update();
            if is_stale(self.boot, &since, &current) {
                return;
            }
            let batch = peer.outbox.take();
            if batch.frames == 0 {
                if current.phase == Phase::Finishing {
                    // What was written arrives though nobody waits for it here.
                    let _ = self.stream.shutdown().await;
                    return;
                }
                tokio::select! {
                    () = peer.wake.notified() => {}
                    _ = orders.changed() => {}
                    // A peer says nothing on this connection: it has ended.
                    _ = self.stream.readable() => if self.has_ended() { return },
                    () = tokio::time::sleep(IDLE_MAX) => {
                        let _ = self.stream.shutdown().await;
                        return;
                    }
                }
                continue;
            }
            let mut sealed = Vec::with_capacity(batch.bytes as usize);
            batch.chunks.iter().for_each(|chunk| self.seals.seal(chunk, &mut sealed));
            let is_written = tokio::select! {
                written = self.stream.write_all(&sealed) => written.is_ok(),
                () = stale(self.boot, &since, orders) => false,
            };
            if !is_written {
                registry.counters.frames_lost.add(batch.frames);
                return;
            }
            registry.counters.frames_out.add(batch.frames);
            registry.counters.frame_bytes_out.add(batch.bytes);
        }
    }

    fn has_ended(&self) -> bool {
        let read = self.stream.try_read(&mut [0; 1]);
        !matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// Whether a connection to this start of the peer, made under the orders `since`, is to end.
fn is_stale(boot: u64, since: &Orders, orders: &Orders) -> bool {
    orders.route != since.route || orders.boot > boot || orders.phase == Phase::Gone
}

/// Ends when what is written would go to the wrong process, or to nobody.
async fn stale(boot: u64, since: &Orders, orders: &mut watch::Receiver<Orders>) {
    // The sender lives as long as the peer, which the caller holds.
    let _ = orders.wait_for(|orders| is_stale(boot, since, orders)).await;
}
