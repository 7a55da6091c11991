//! Datagrams, recorded and sent.

use crate::ask::on;
use crate::scene::PORT;
use socket2::{Domain, Protocol, Socket, Type};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::UdpSocket;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// First bytes of sealed gossip; QUIC on the same port begins with 0x40 or more.
const GOSSIP: std::ops::RangeInclusive<u8> = 4..=15;

/// Asks the system for frames of every kind.
const EVERY_PROTOCOL: u16 = 3;

/// Where things lie in a frame: Ethernet, then IPv4, then UDP.
const ETHERNET_BYTES: usize = 14;
const UDP_BYTES: usize = 8;
const PROTOCOL_UDP: u8 = 17;

/// One datagram of gossip, as it passed the cable.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    /// Last part of the sender's address: 1 for `n1`.
    pub(crate) from: u8,
    /// What stood in it.
    pub(crate) bytes: Vec<u8>,
}

/// Records the gossip that reaches a machine, for a time.
pub(crate) fn record(machine: u8, time: Duration) -> Result<Vec<Recorded>, String> {
    let all = Protocol::from(i32::from(EVERY_PROTOCOL.to_be()));
    let open = || Socket::new(Domain::PACKET, Type::RAW, Some(all));
    let opened = on(machine, open)?.map_err(|e| format!("cannot listen to a cable: {e}"))?;
    let frames = read(opened);
    let until = Instant::now() + time;
    let mut recorded = Vec::new();
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        if let Ok(frame) = frames.recv_timeout(left) {
            recorded.extend(gossip_in(&frame).filter(|one| one.from != machine + 1));
        }
    }
    Ok(recorded)
}

/// Frames, until nobody wants them any more.
fn read(mut socket: Socket) -> Receiver<Vec<u8>> {
    let (sender, frames) = channel();
    std::thread::spawn(move || {
        let mut frame = [0; 2_048];
        while let Ok(length) = socket.read(&mut frame) {
            if sender.send(frame[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    frames
}

fn gossip_in(frame: &[u8]) -> Option<Recorded> {
    let packet = frame.get(ETHERNET_BYTES..)?;
    let header = usize::from(packet.first()? & 0x0f) * 4;
    if packet.first()? >> 4 != 4 || *packet.get(9)? != PROTOCOL_UDP {
        return None;
    }
    let from = *packet.get(15)?;
    let udp = packet.get(header..)?;
    let port = u16::from_be_bytes([*udp.get(2)?, *udp.get(3)?]);
    let bytes = udp.get(UDP_BYTES..)?;
    let is_gossip = port == PORT && GOSSIP.contains(bytes.first()?);
    is_gossip.then(|| Recorded { from, bytes: bytes.to_vec() })
}

/// A socket on a machine, to the node at an address.
pub(crate) fn sender(machine: u8, to: &str) -> Result<UdpSocket, String> {
    let made = on(machine, || {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(to)?;
        Ok(socket)
    })?;
    made.map_err(|e: std::io::Error| format!("cannot send: {e}"))
}

/// Datagrams that the system of a machine dropped since nobody read them in time.
pub(crate) fn overrun(machine: u8) -> Result<u64, String> {
    // The file of a process tells of its network; a thread has its own.
    let text = on(machine, || std::fs::read_to_string("/proc/thread-self/net/snmp"))?;
    let text = text.map_err(|e| format!("no counters: {e}"))?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, values) = lines.next().zip(lines.next()).ok_or("no counters of UDP")?;
    let pairs = names.split(' ').zip(values.split(' '));
    let found =
        pairs.filter(|(name, _)| *name == "RcvbufErrors").map(|(_, value)| value.parse::<u64>());
    Ok(found.flatten().sum())
}

/// What waits at the socket of the node of a machine.
pub(crate) struct Queue(File);

impl Queue {
    /// Opens the list of sockets there: it is of the network in which it was opened.
    pub(crate) fn of(machine: u8) -> Result<Queue, String> {
        let file = on(machine, || File::open("/proc/thread-self/net/udp"))?;
        Ok(Queue(file.map_err(|e| format!("no list of sockets: {e}"))?))
    }

    /// Its bytes at present.
    pub(crate) fn bytes(&mut self) -> Result<u64, String> {
        let mut text = String::new();
        self.0.seek(SeekFrom::Start(0)).map_err(|e| e.to_string())?;
        self.0.read_to_string(&mut text).map_err(|e| e.to_string())?;
        let port = format!(":{PORT:04X}");
        let of_line = |line: &str| {
            let mut words = line.split_whitespace().skip(1);
            words.next().filter(|local| local.ends_with(&port))?;
            let (_, waiting) = words.nth(2)?.split_once(':')?;
            u64::from_str_radix(waiting, 16).ok()
        };
        Ok(text.lines().filter_map(of_line).sum())
    }
}

/// Numbers that are the same in each run.
pub(crate) struct Dice(u64);

impl Dice {
    /// From a seed.
    pub(crate) fn seeded(seed: u64) -> Dice {
        Dice(seed)
    }

    /// Below a bound (SplitMix64).
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % bound
    }
}
