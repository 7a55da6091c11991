//! A transport of one's own: channels within one process. First the suite that every transport
//! must pass, then membership over it.
//!
//! `cargo run -p muslin --no-default-features --example own_transport`

use bytes::Bytes;
use muslin::core::base::NodeId;
use muslin::membership::{Event, Membership, Profile};
use muslin::transport::contract::{self, Bench, Place};
use muslin::transport::{FRAME_BYTES_MAX, Incoming, IncomingSender, Transport};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(60);

/// Messages that may wait for one peer.
const QUEUE_MAX: usize = 4_096;

/// How long closing waits for what was sent.
const FLUSH_MAX: Duration = Duration::from_millis(500);

/// Who is plugged in where.
#[derive(Clone, Default)]
struct Switchboard(Arc<Mutex<BTreeMap<SocketAddr, Socket>>>);

/// What others see of a member.
#[derive(Clone)]
struct Socket {
    node: NodeId,
    is_foreign: bool,
    incoming: IncomingSender,
    /// Wakes up when the member is unplugged: what is written to it is lost then.
    plug: Arc<tokio::sync::Notify>,
    table: Arc<Mutex<Table>>,
}

#[derive(Default)]
struct Table {
    routes: BTreeMap<NodeId, SocketAddr>,
    removed: BTreeSet<NodeId>,
}

/// One member's end.
struct Channels {
    board: Switchboard,
    own: Socket,
    address: SocketAddr,
    lines: Mutex<BTreeMap<NodeId, Line>>,
}

/// Messages on their way to one peer, and the task that carries them.
struct Line {
    sender: mpsc::Sender<Bytes>,
    task: JoinHandle<()>,
}

impl Switchboard {
    fn sockets(&self) -> MutexGuard<'_, BTreeMap<SocketAddr, Socket>> {
        self.0.lock().expect("no holder of this lock panics")
    }

    fn plug_in(&self, place: Place, incoming: IncomingSender) -> Arc<Channels> {
        let mut sockets = self.sockets();
        let free = || SocketAddr::from(([127, 0, 0, 1], 1 + sockets.len() as u16));
        let address = place.address.unwrap_or_else(free);
        let Place { node, is_foreign, .. } = place;
        let (plug, table) = (Arc::default(), Arc::default());
        let own = Socket { node, is_foreign, incoming, plug, table };
        sockets.insert(address, own.clone());
        let (board, lines) = (self.clone(), Mutex::default());
        Arc::new(Channels { board, own, address, lines })
    }

    /// Whoever is at an address, if it hears this one.
    fn reach(&self, to: SocketAddr, from: &Socket) -> Option<Socket> {
        let found = self.sockets().get(&to).cloned()?;
        let is_heard = found.is_foreign == from.is_foreign && !found.incoming.is_closed();
        let is_removed = found.table().removed.contains(&from.node);
        (is_heard && !is_removed).then_some(found)
    }
}

impl Socket {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("no holder of this lock panics")
    }
}

impl Channels {
    fn lines(&self) -> MutexGuard<'_, BTreeMap<NodeId, Line>> {
        self.lines.lock().expect("no holder of this lock panics")
    }

    fn unplug(&self) {
        self.own.plug.notify_waiters();
        self.lines().values().for_each(|line| line.task.abort());
        let mut sockets = self.board.sockets();
        let is_own = |socket: &Socket| Arc::ptr_eq(&socket.table, &self.own.table);
        // The place stays taken, so that no other is given this address.
        if let Some(socket) = sockets.get_mut(&self.address).filter(|socket| is_own(socket)) {
            socket.incoming = mpsc::channel(1).0;
        }
    }
}

impl Drop for Channels {
    fn drop(&mut self) {
        self.unplug();
    }
}

impl Transport for Channels {
    fn send(&self, to: NodeId, message: Bytes) {
        if message.len() > FRAME_BYTES_MAX || !self.own.table().routes.contains_key(&to) {
            return;
        }
        let mut lines = self.lines();
        let line = lines.entry(to).or_insert_with(|| {
            let (sender, messages) = mpsc::channel(QUEUE_MAX);
            let carried = carry(self.board.clone(), (self.own.clone(), self.address), to, messages);
            Line { sender, task: tokio::spawn(carried) }
        });
        // A full queue drops the message, as the contract allows.
        let _ = line.sender.try_send(message);
    }

    fn datagram(&self, to: SocketAddr, bytes: Bytes) {
        if let Some(socket) = self.board.reach(to, &self.own) {
            let _ = socket.incoming.try_send(Incoming::Datagram { from: self.address, bytes });
        }
    }

    fn route(&self, node: NodeId, address: SocketAddr) {
        let mut table = self.own.table();
        table.removed.remove(&node);
        table.routes.insert(node, address);
    }

    fn unroute(&self, node: NodeId) {
        let mut table = self.own.table();
        table.routes.remove(&node);
        table.removed.insert(node);
        if let Some(line) = self.lines().remove(&node) {
            line.task.abort();
        }
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let lines = std::mem::take(&mut *self.lines());
        Box::pin(async move {
            for Line { sender, task } in lines.into_values() {
                // Without a sender the task ends when all is carried.
                drop(sender);
                let _ = tokio::time::timeout(FLUSH_MAX, task).await;
            }
            self.unplug();
        })
    }
}

/// Carries one peer's messages, in order, waiting while it is busy.
async fn carry(
    board: Switchboard,
    (own, address): (Socket, SocketAddr),
    to: NodeId,
    mut messages: mpsc::Receiver<Bytes>,
) {
    while let Some(bytes) = messages.recv().await {
        let route = own.table().routes.get(&to).copied();
        let found = route.and_then(|route| board.reach(route, &own));
        let Some(peer) = found.filter(|peer| peer.node == to) else { continue };
        // Whoever was reached can answer.
        peer.table().routes.entry(own.node).or_insert(address);
        let unplugged = peer.plug.notified();
        tokio::select! {
            _ = peer.incoming.send(Incoming::Message { from: own.node, bytes }) => {}
            () = unplugged => {}
        }
    }
}

impl Bench for Switchboard {
    type Transport = Channels;

    async fn start(&self, place: Place, incoming: IncomingSender) -> (Arc<Channels>, SocketAddr) {
        let channels = self.plug_in(place, incoming);
        let address = channels.address;
        (channels, address)
    }

    async fn crash(&self, channels: Arc<Channels>) {
        channels.unplug();
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    contract::test_all(&Switchboard::default()).await;
    println!("the contract holds");
    tokio::time::timeout(PATIENCE, meet(Switchboard::default())).await?
}

async fn meet(board: Switchboard) -> Result<(), Box<dyn Error>> {
    let start = |number: u64, seed: Option<SocketAddr>| {
        let (sender, incoming) = mpsc::channel(1_000);
        let place = Place { node: NodeId(number), address: None, is_foreign: false };
        let channels = board.plug_in(place, sender);
        let builder = Membership::builder().name(format!("n{number}")).id(place.node);
        let builder = builder.profile(Profile::Fast);
        let address = channels.address;
        let builder = builder.transport(channels, address, incoming);
        builder.seeds(seed.map(|seed| seed.to_string()))
    };
    let n1 = start(1, None)?.start().await?;
    let mut events = n1.subscribe();
    let n2 = start(2, Some(n1.myself().address))?.start().await?;
    while let Some(told) = events.next().await {
        match told? {
            Event::Joined(member) => {
                println!("{} joined over channels", member.name);
                n2.clone().leave().await;
            }
            Event::Left(member) => {
                println!("{} left", member.name);
                return Ok(());
            }
            other => println!("{other:?}"),
        }
    }
    Err("the events came to an end".into())
}
