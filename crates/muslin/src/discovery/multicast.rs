//! Members call out to a multicast group where they are.
//!
//! For networks without a name server, and only when asked for: many networks carry no multicast,
//! and nothing else rests on it. Every member sends a [beacon](super::beacon) every two seconds,
//! less often in a large cluster, to a group and port that all share; TTL 1 keeps it on its link.
//! Members believe what is signed with the cluster's key, joiners take it for a hint.
//!
//! # Invariants
//! - Nothing is ever sent because of what was received: there is nobody to be flooded by answers.
//! - M4: a beacon of another cluster is dropped by its clear cluster id, and could not be signed.
//! - The receiving socket is bound to the group's address: it takes nothing sent to this host.
//!
//! # Limits
//! [`RECEIVED_MAX`] datagrams are looked at in one try, the system drops what comes beyond its
//! buffer. A member keeps [`CONTACTS_MAX`] senders for [`HEARD_FOR`], a joiner [`HINTS_MAX`]. All
//! members of one cluster together send about four beacons a second, whatever their number.
//!
//! # Not here
//! Replay: a recorded beacon leads to where a node was; that costs a ping. IPv6 groups (addresses
//! of members may be IPv6).

use super::beacon::{BEACON_BYTES, Beacon};
use super::group::Group;
use super::{CONTACTS_MAX, Discovery, is_reachable, tidy};
use crate::identity::Keyring;
use muslin_core::base::{ClusterId, NodeId};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

/// How often a member of a small cluster calls.
const CALL_EVERY: Duration = Duration::from_secs(2);

/// With so many others heard a member calls half as often, with twice as many a third as often.
const CROWD: usize = 8;

/// Datagrams looked at in one try: each costs a hash at most, so this is about a millisecond.
pub const RECEIVED_MAX: usize = 1_024;

/// How long a sender is kept that is not heard again: more than the largest period between two
/// calls of a member that others keep.
pub const HEARD_FOR: Duration = Duration::from_secs(180);

/// Hints that a joiner keeps, the latest: anybody can make them up.
pub const HINTS_MAX: usize = 16;

/// Beacons stay on the link.
const TTL: u32 = 1;

/// Gives the gossip keys in use at this moment.
pub type Keys = Box<dyn Fn() -> Keyring + Send>;

/// Calls, if a member, and listens.
pub struct Multicast {
    group: Group,
    cluster: ClusterId,
    caller: Option<Caller>,
    sockets: Option<Sockets>,
    heard: BTreeMap<NodeId, Heard>,
    is_failing: bool,
    dropped: u64,
}

/// The member that calls.
struct Caller {
    node: NodeId,
    boot: u64,
    address: SocketAddr,
    keys: Keys,
    counter: u64,
    next_at: Instant,
}

struct Sockets {
    /// Bound to the group: receives only.
    listening: UdpSocket,
    /// Of the interface: sends only.
    calling: UdpSocket,
}

struct Heard {
    address: SocketAddr,
    boot: u64,
    counter: u64,
    at: Instant,
}

/// Who a member is, to the others of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its id.
    pub node: NodeId,
    /// Which start of its process; grows.
    pub boot: u64,
    /// Where it is reached.
    pub address: SocketAddr,
}

impl Multicast {
    /// For a member: calls, and believes who holds the cluster's keys. Opens nothing yet.
    pub fn of_member(group: Group, member: Member, keys: Keys) -> Multicast {
        let Member { cluster, node, boot, address } = member;
        let next_at = Instant::now();
        let caller = Caller { node, boot, address, keys, counter: 0, next_at };
        Multicast { caller: Some(caller), ..Multicast::of_joiner(group, cluster) }
    }

    /// For a node that has a token of a cluster: listens, and takes what it hears for hints.
    pub fn of_joiner(group: Group, cluster: ClusterId) -> Multicast {
        let heard = BTreeMap::new();
        let (caller, sockets) = (None, None);
        Multicast { group, cluster, caller, sockets, heard, is_failing: false, dropped: 0 }
    }

    /// Datagrams that were no beacon to be believed.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Listens and calls. An error closes the sockets: an interface may have gone or come.
    fn work(&mut self) -> io::Result<()> {
        let sockets = match self.sockets.take() {
            Some(sockets) => sockets,
            None => Sockets::open(&self.group)?,
        };
        self.listen(&sockets.listening)?;
        self.call(&sockets.calling)?;
        self.sockets = Some(sockets);
        Ok(())
    }

    fn listen(&mut self, socket: &UdpSocket) -> io::Result<()> {
        // One byte more than a beacon has, to see that a datagram is longer.
        let mut buffer = [0; BEACON_BYTES + 1];
        let keyring = self.caller.as_ref().map(|caller| (caller.keys)());
        for _ in 0..RECEIVED_MAX {
            match socket.recv(&mut buffer) {
                Ok(length) => self.on_datagram(&buffer[..length], keyring.as_ref()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.heard.retain(|_, heard| heard.at.elapsed() < HEARD_FOR);
        Ok(())
    }

    /// So many senders are known at this moment.
    pub fn heard(&self) -> usize {
        self.heard.len()
    }

    pub(super) fn on_datagram(&mut self, datagram: &[u8], keyring: Option<&Keyring>) {
        let received = Beacon::read(self.cluster, datagram);
        let believed = received.filter(|one| keyring.is_none_or(|ring| one.is_signed(ring)));
        let Some(beacon) = believed.map(|received| received.beacon) else {
            self.dropped += 1;
            return;
        };
        let is_own = self.caller.as_ref().is_some_and(|caller| caller.node == beacon.node);
        if is_own || !is_reachable(&beacon.address) {
            return;
        }
        let Beacon { node, boot, counter, address, .. } = beacon;
        // Nobody signs hints: an older one may be the true one.
        let is_stale = keyring.is_some()
            && (self.heard.get(&node))
                .is_some_and(|last| (boot, counter) <= (last.boot, last.counter));
        if !is_stale {
            self.heard.insert(node, Heard { address, boot, counter, at: Instant::now() });
            self.forget_oldest();
        }
    }

    /// Makes room when there are too many.
    fn forget_oldest(&mut self) {
        let most = if self.caller.is_some() { CONTACTS_MAX } else { HINTS_MAX };
        if self.heard.len() <= most {
            return;
        }
        let oldest = self.heard.iter().min_by_key(|(_, heard)| heard.at).map(|(node, _)| *node);
        self.heard.remove(&oldest.expect("there is one, as there are too many"));
    }

    fn call(&mut self, socket: &UdpSocket) -> io::Result<()> {
        let (present, others) = (Instant::now(), self.heard.len());
        let Some(caller) = self.caller.as_mut().filter(|caller| caller.next_at <= present) else {
            return Ok(());
        };
        let times = u32::try_from(1 + others / CROWD).expect("few are kept");
        caller.next_at = present + CALL_EVERY * times;
        caller.counter += 1;
        let beacon = Beacon {
            cluster: self.cluster,
            node: caller.node,
            boot: caller.boot,
            counter: caller.counter,
            address: caller.address,
        };
        let bytes = beacon.sign(&(caller.keys)());
        socket.send_to(&bytes, self.group.to()).map(drop)
    }
}

impl Discovery for Multicast {
    fn contacts(&mut self) -> Vec<SocketAddr> {
        let done = self.work();
        let was_failing = std::mem::replace(&mut self.is_failing, done.is_err());
        let group = &self.group;
        match done {
            Ok(()) if was_failing => tracing::info!(%group, "multicast works again"),
            Err(error) if !was_failing => {
                tracing::warn!(
                    %group, %error,
                    "cannot use multicast; trying on (is there such an interface, and does it \
                     carry multicast?)"
                );
            }
            Ok(()) | Err(_) => {}
        }
        tidy(self.heard.values().map(|heard| heard.address))
    }
}

impl Sockets {
    fn open(group: &Group) -> io::Result<Sockets> {
        let (address, interface) = (group.address(), group.interface());
        let udp = || Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP));
        let listening = udp()?;
        // Several nodes of one host listen, each gets every beacon.
        listening.set_reuse_address(true)?;
        listening.bind(&SockAddr::from(SocketAddrV4::new(address, group.port())))?;
        listening.join_multicast_v4(&address, &interface)?;
        listening.set_nonblocking(true)?;
        let calling = udp()?;
        calling.bind(&SockAddr::from(SocketAddrV4::new(interface, 0)))?;
        if interface != Ipv4Addr::UNSPECIFIED {
            calling.set_multicast_if_v4(&interface)?;
        }
        calling.set_multicast_ttl_v4(TTL)?;
        // Other nodes of this host listen, too.
        calling.set_multicast_loop_v4(true)?;
        calling.set_nonblocking(true)?;
        Ok(Sockets { listening: listening.into(), calling: calling.into() })
    }
}
