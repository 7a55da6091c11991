//! What an implementation must be able to do to be run here.

use muslin_core::base::Now;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

/// One machine, by number from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Seat(pub u32);

/// The address of seat 0 is one above this.
const NET: u32 = u32::from_be_bytes([10, 0, 0, 0]);

const PORT: u16 = 7400;

impl Seat {
    /// Where it is reached.
    pub fn address(self) -> SocketAddr {
        SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::from_bits(NET + self.0 + 1), PORT))
    }

    /// Who is reached there.
    pub fn at(address: SocketAddr) -> Option<Seat> {
        let SocketAddr::V4(address) = address else { return None };
        address.ip().to_bits().checked_sub(NET + 1).map(Seat)
    }

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// How a cluster is set up: the same for all its nodes.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How many nodes there are going to be.
    pub nodes: usize,
    /// Each follows so many neighbours only, not all.
    pub slice: Option<usize>,
    /// A network of one rack: all periods are short.
    pub is_fast: bool,
}

/// With what a node begins.
#[derive(Debug)]
pub struct Birth<'a> {
    /// Who it is.
    pub seat: Seat,
    /// How its cluster is set up.
    pub setup: &'a Setup,
    /// Who is there, as it knows from before; of a slice, all of it. It may be among them.
    pub known: &'a [Seat],
    /// Where it asks for the others.
    pub contacts: &'a [Seat],
    /// Of its random numbers.
    pub seed: u64,
    /// What its clock shows.
    pub now: Now,
}

/// What happens to a node.
#[derive(Debug)]
pub enum Happening<P: Peer> {
    /// The deadline has come.
    Tick,
    /// What was to come after a while ([`Effect::Wake`]).
    Timer(P::Timer),
    /// A datagram came.
    Packet {
        /// From whom.
        from: Seat,
        /// What.
        packet: P::Packet,
    },
    /// Something came on a stream.
    Stream {
        /// From whom.
        from: Seat,
        /// What.
        packet: P::Packet,
    },
}

/// What a node wants done, or has come to believe.
#[derive(Debug)]
pub enum Effect<P: Peer> {
    /// Send a datagram.
    Send {
        /// Where.
        to: Seat,
        /// What.
        packet: P::Packet,
        /// Its length, without headers.
        bytes: usize,
    },
    /// Call back.
    Wake {
        /// When.
        after: Duration,
        /// With this.
        timer: P::Timer,
    },
    /// Send on a stream, which is opened first where there is none.
    Stream {
        /// Where.
        to: Seat,
        /// What.
        packet: P::Packet,
        /// It asks whether the other lives.
        is_question: bool,
    },
    /// An opinion has changed.
    Saw {
        /// About whom.
        of: Seat,
        /// What.
        sight: Sight,
    },
}

/// One change of opinion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sight {
    /// It lives.
    Alive {
        /// Its incarnation.
        life: u64,
    },
    /// It does not answer.
    Suspect {
        /// Its incarnation.
        life: u64,
        /// Who probed it in vain.
        by: Seat,
    },
    /// It is gone.
    Down {
        /// Its incarnation.
        life: u64,
    },
    /// It has said good-bye.
    Left,
    /// The node itself was made to join anew, though it lived.
    Renewed,
}

/// What one node believes of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Belief {
    /// It takes part, suspected or not.
    Live,
    /// It does not.
    Gone,
}

/// An implementation of failure detection and membership, as a value that is stepped.
pub trait Peer: Sized + Send {
    /// One datagram.
    type Packet: Clone + Send;
    /// What comes back after a while. An implementation that tells its deadline needs none.
    type Timer: Send;

    /// What it is called in tables.
    const NAME: &'static str;
    /// No datagram may be longer, without headers.
    const PACKET_BYTES_MAX: usize;
    /// What sealing adds to each datagram, where the product seals.
    const SEAL_BYTES: usize;
    /// It promises the invariants M1 and M2 of `muslin_core::swim`.
    const IS_JUDGED: bool;

    /// A node begins.
    fn begin(birth: Birth<'_>, out: &mut Vec<Effect<Self>>) -> Self;

    /// Something happens to it.
    fn handle(&mut self, now: Now, what: Happening<Self>, out: &mut Vec<Effect<Self>>);

    /// The order in which slices are cut, each node following those behind it, around.
    fn ring(seats: &[Seat]) -> Vec<Seat>;

    /// When it must be told of the time.
    fn deadline(&self) -> Option<Now>;

    /// Its own incarnation.
    fn life(&self) -> u64;

    /// What it believes of another; `None` when it does not follow that one.
    fn belief(&self, of: Seat) -> Option<Belief>;

    /// How many others it believes to take part.
    fn live(&self) -> usize;

    /// How many others it remembers, whatever it believes of them.
    fn view_len(&self) -> usize;
}
