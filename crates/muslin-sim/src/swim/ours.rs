//! This project's detector in its seat.

use super::{Belief, Birth, Effect, Happening, Peer, Seat, Setup, Sight};
use bytes::Bytes;
use muslin_core::base::{Epoch, Incarnation, Machine, NodeId, Now, Outputs};
use muslin_core::swim::{
    Event, Input, Liveness, Metadata, Options, Output, PACKET_BYTES_MAX, Packet, PacketKind, Rumor,
    Scope, Swim, Tracked, ring,
};
use muslin_core::wire;
use std::collections::BTreeMap;

/// What sealing adds to each datagram: header, and tag of AES-GCM.
const SEAL_BYTES: usize = 54;

/// One node.
#[derive(Debug)]
pub struct Ours {
    swim: Swim,
    out: Outputs<Output>,
}

/// Ids begin at 1.
fn node(seat: Seat) -> NodeId {
    NodeId(u64::from(seat.0) + 1)
}

fn seat(node: NodeId) -> Seat {
    Seat(node.0 as u32 - 1)
}

/// A node without a name: every view holds what each says of itself.
fn metadata() -> Metadata {
    Metadata { protocol: (1, 1), ..Metadata::default() }
}

fn options(setup: &Setup) -> Options {
    if setup.is_fast { Options::fast() } else { Options::lan() }
}

/// A prime larger than any cluster, so that steps of it meet everybody once.
const STRIDE: usize = 1_000_003;

/// All of them in an order without order: trees that grow in order stay half empty, and millions of
/// entries have to fit the memory.
fn strewn(seats: &[Seat]) -> impl Iterator<Item = Seat> {
    (0..seats.len()).map(|step| seats[step * STRIDE % seats.len()])
}

/// What was known of another before.
fn remembered(other: Seat) -> Rumor {
    Rumor {
        node: node(other),
        state: Liveness::Alive,
        incarnation: Incarnation::ZERO,
        address: Some(other.address()),
        metadata: Some(metadata()),
        by: node(other),
        ticket: Bytes::new(),
        gone_s: 0,
    }
}

/// The first of those known follow on the ring; the others are needed.
fn scope(own: Seat, known: &[Seat], slice: usize) -> Scope {
    let mut tracked = BTreeMap::new();
    for (place, other) in known.iter().enumerate().filter(|(_, other)| **other != own) {
        let one = Tracked { address: other.address(), is_watched: place < slice };
        tracked.entry(node(*other)).or_insert(one);
    }
    Scope::Slice(tracked)
}

impl Ours {
    fn flush(&mut self, effects: &mut Vec<Effect<Ours>>) {
        for output in self.out.drain() {
            effects.extend(match output {
                Output::Send { to, packet } => sent(to, packet),
                Output::Stream { to, packet } => {
                    let is_question = matches!(packet.kind, PacketKind::Ping { .. });
                    Some(Effect::Stream { to: seat(to), packet, is_question })
                }
                Output::Report(event) => sight(&event).map(|(of, sight)| Effect::Saw { of, sight }),
            });
        }
    }

    fn input(&mut self, now: Now, input: Input, effects: &mut Vec<Effect<Ours>>) {
        self.swim.handle(now, input, &mut self.out);
        self.flush(effects);
    }
}

fn sent(to: std::net::SocketAddr, packet: Packet) -> Option<Effect<Ours>> {
    let bytes = wire::packet_len(&packet);
    Some(Effect::Send { to: Seat::at(to)?, packet, bytes })
}

fn sight(event: &Event) -> Option<(Seat, Sight)> {
    match event {
        Event::Alive { node, incarnation, .. } => {
            Some((seat(*node), Sight::Alive { life: incarnation.0 }))
        }
        Event::Suspected { node, by, incarnation, .. } => {
            Some((seat(*node), Sight::Suspect { life: incarnation.0, by: seat(*by) }))
        }
        Event::Down { node, incarnation, .. } => {
            Some((seat(*node), Sight::Down { life: incarnation.0 }))
        }
        Event::Left { node } => Some((seat(*node), Sight::Left)),
        Event::Changed { .. }
        | Event::Witnessed(_)
        | Event::Reached { .. }
        | Event::RefutedSelf { .. }
        | Event::ObservedAddress { .. }
        | Event::Outpaced { .. }
        | Event::Dropped { .. } => None,
    }
}

impl Peer for Ours {
    type Packet = Packet;
    type Timer = ();

    const NAME: &'static str = "muslin";
    const PACKET_BYTES_MAX: usize = PACKET_BYTES_MAX;
    const SEAL_BYTES: usize = SEAL_BYTES;
    const IS_JUDGED: bool = true;

    fn begin(birth: Birth<'_>, out: &mut Vec<Effect<Ours>>) -> Ours {
        let Birth { seat, setup, known, contacts, seed, now } = birth;
        let swim =
            Swim::new(node(seat), Epoch(1), seat.address(), metadata(), options(setup), seed, now);
        let swim = swim.recalling(strewn(known).map(remembered), now);
        let mut ours = Ours { swim, out: Outputs::new() };
        if let Some(slice) = setup.slice {
            ours.input(now, Input::Track(scope(seat, known, slice)), out);
        }
        let contacts = contacts.iter().map(|contact| contact.address()).collect();
        ours.input(now, Input::Contacts(contacts), out);
        ours
    }

    fn handle(&mut self, now: Now, what: Happening<Ours>, out: &mut Vec<Effect<Ours>>) {
        let input = match what {
            Happening::Tick | Happening::Timer(()) => Input::Tick,
            Happening::Packet { from, packet } => Input::Packet { from: from.address(), packet },
            Happening::Stream { from, packet } => Input::Stream { from: node(from), packet },
        };
        self.input(now, input, out);
    }

    fn ring(seats: &[Seat]) -> Vec<Seat> {
        let Some(first) = seats.first() else { return Vec::new() };
        let members = seats.iter().map(|seat| node(*seat));
        let rest = ring::successors(node(*first), members, seats.len());
        [*first].into_iter().chain(rest.into_iter().map(seat)).collect()
    }

    fn deadline(&self) -> Option<Now> {
        self.swim.deadline().map(|(at, _)| at)
    }

    fn life(&self) -> u64 {
        self.swim.incarnation().0
    }

    fn belief(&self, of: Seat) -> Option<Belief> {
        match self.swim.entry(node(of))?.state {
            Liveness::Alive | Liveness::Suspect => Some(Belief::Live),
            Liveness::Down | Liveness::Left => Some(Belief::Gone),
        }
    }

    fn live(&self) -> usize {
        self.swim.alive().count() - 1
    }

    fn view_len(&self) -> usize {
        self.swim.known()
    }
}
