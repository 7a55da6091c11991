//! A network of detectors in virtual time, from one seed. Every packet goes through its bytes.

use super::laws::Laws;
use crate::base::{Epoch, Incarnation, Machine, NodeId, Now, Outputs, Prng};
use crate::swim::planted::Bug;
use crate::swim::{
    Event, Gate, Input, Liveness, Metadata, Options, Output, PACKET_BYTES_MAX, Packet, PacketKind,
    Swim,
};
use crate::wire;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use alloc::{format, vec};
use core::net::SocketAddr;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;

const DELAY_MIN: Duration = Duration::from_micros(200);
const DELAY_MAX: Duration = Duration::from_millis(1);

/// The network, its nodes and what they reported.
pub(super) struct Net {
    pub(super) now: Now,
    pub(super) options: Options,
    pub(super) nodes: BTreeMap<u64, Host>,
    /// When running nodes want to be woken, and where nodes are: found without asking each of
    /// them.
    wakes: BTreeSet<(Now, u64)>,
    places: BTreeMap<SocketAddr, u64>,
    /// Packets under way, by arrival.
    flying: BTreeMap<(Now, u64), Flight>,
    last_flight: u64,
    /// Pairs (from, to) between which nothing passes.
    pub(super) cuts: BTreeSet<(u64, u64)>,
    pub(super) loss_per_million: u64,
    rng: Prng,
    /// Everything reported, in order.
    pub(super) reports: Vec<(Now, u64, Event)>,
    /// Every packet that was sent and arrived.
    pub(super) packets: Vec<(Now, u64, u64, Packet)>,
    pub(super) keeps_packets: bool,
    /// Sent by all so far, with headers of IPv4 and UDP.
    pub(super) bytes_sent: u64,
    /// Packets on streams so far; these are not lost, and pass where `stream_cuts` lets them.
    pub(super) streams_sent: u64,
    pub(super) stream_cuts: BTreeSet<(u64, u64)>,
    /// Asks nodes that are started for tickets, if set.
    pub(super) gate: Option<Doorkeeper>,
    /// Acknowledges whatever comes from the second, as the first.
    pub(super) liar: Option<(u64, u64)>,
    /// Bug of nodes that are started.
    pub(super) planted: Option<Bug>,
    pub(super) laws: Laws,
}

/// Lets in who shows `good`, and counts how often it was asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Doorkeeper {
    pub(super) asked: Arc<AtomicUsize>,
}

impl Gate for Doorkeeper {
    fn admits(&mut self, _: NodeId, ticket: &bytes::Bytes) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed);
        ticket.as_ref() == b"good"
    }

    fn boxed(&self) -> Box<dyn Gate> {
        Box::new(self.clone())
    }
}

/// One process.
pub(super) struct Host {
    pub(super) swim: Swim,
    pub(super) address: SocketAddr,
    pub(super) power: Power,
    /// Packets that wait while the process is paused.
    backlog: Vec<Input>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Power {
    Running,
    Paused,
    Dead,
}

struct Flight {
    way: Way,
    packet: Packet,
}

enum Way {
    Datagram { from: SocketAddr, to: SocketAddr },
    Stream { from: u64, to: u64 },
}

pub(super) fn address(node: u64, port: u16) -> SocketAddr {
    SocketAddr::new([10, 0, (node >> 8) as u8, node as u8].into(), port)
}

pub(super) fn metadata(node: u64) -> Metadata {
    Metadata { name: format!("n{node}"), protocol: (1, 1), ..Metadata::default() }
}

impl Net {
    pub(super) fn new(options: Options, seed: u64) -> Net {
        Net {
            now: Now::from_millis(1_000),
            options,
            nodes: BTreeMap::new(),
            wakes: BTreeSet::new(),
            places: BTreeMap::new(),
            flying: BTreeMap::new(),
            last_flight: 0,
            cuts: BTreeSet::new(),
            loss_per_million: 0,
            rng: Prng::seeded(seed),
            reports: Vec::new(),
            packets: Vec::new(),
            keeps_packets: false,
            bytes_sent: 0,
            streams_sent: 0,
            stream_cuts: BTreeSet::new(),
            gate: None,
            liar: None,
            planted: None,
            laws: Laws::default(),
        }
    }

    /// Nodes 1..=count, all with node 1 as their seed, and time enough to meet.
    pub(super) fn cluster(options: Options, count: u64, seed: u64) -> Net {
        let mut net = Net::new(options, seed);
        for node in 1..=count {
            net.start(node, 7400, &[address(1, 7400)]);
        }
        net.run(net.options.probe_period * 20);
        net.reports.clear();
        net
    }

    pub(super) fn start(&mut self, node: u64, port: u16, contacts: &[SocketAddr]) {
        let place = address(node, port);
        let (seed, options) = (self.rng.draw(), self.options.clone());
        let mut swim =
            Swim::new(NodeId(node), Epoch(1), place, metadata(node), options, seed, self.now);
        if let Some(gate) = &self.gate {
            swim = swim.behind(gate.boxed());
        }
        swim.planted = self.planted;
        self.laws.on_start(node);
        let host = Host { swim, address: place, power: Power::Running, backlog: Vec::new() };
        if let Some(before) = self.nodes.insert(node, host) {
            self.places.remove(&before.address);
        }
        self.places.insert(place, node);
        self.input(node, Input::Contacts(contacts.to_vec()));
    }

    /// The running node is reached at another port from here on, and knows.
    pub(super) fn move_to(&mut self, node: u64, port: u16) {
        let place = address(node, port);
        let host = self.nodes.get_mut(&node).expect("the node was started");
        self.places.remove(&host.address);
        host.address = place;
        self.places.insert(place, node);
        self.input(node, Input::Reside(place));
    }

    pub(super) fn input(&mut self, node: u64, input: Input) {
        let host = self.nodes.get_mut(&node).expect("the node was started");
        let mut out = Outputs::new();
        self.laws.before(node, &input);
        host.swim.handle(self.now, input, &mut out);
        self.laws.after(node, &host.swim, out.as_slice());
        let from = host.address;
        self.rewake(node);
        for output in out.drain().collect::<Vec<_>>() {
            match output {
                Output::Report(event) => self.reports.push((self.now, node, event)),
                Output::Send { to, packet } => self.send(from, to, &packet),
                Output::Stream { to, packet } => self.stream(node, to.0, &packet),
            }
        }
    }

    fn rewake(&mut self, node: u64) {
        self.wakes.retain(|(_, other)| *other != node);
        let host = &self.nodes[&node];
        if host.power == Power::Running {
            self.wakes.extend(host.swim.deadline().map(|(at, _)| (at, node)));
        }
    }

    /// Sends a packet as if from `from`.
    pub(super) fn send(&mut self, from: SocketAddr, to: SocketAddr, packet: &Packet) {
        if let (Some((liar, asker)), PacketKind::Ping { number, .. }) = (self.liar, &packet.kind)
            && packet.from.0 == asker
        {
            let kind = PacketKind::Ack { number: *number, observed: None };
            let lie = Packet { from: NodeId(liar), kind, rumors: vec![], ..packet.clone() };
            self.send(self.nodes[&liar].address, from, &lie);
        }
        let bytes = wire::encode_packet(packet);
        assert!(bytes.len() <= PACKET_BYTES_MAX, "{} bytes: {packet:?}", bytes.len());
        self.bytes_sent += bytes.len() as u64 + 28;
        if self.rng.chance(self.loss_per_million) {
            return;
        }
        self.launch(Way::Datagram { from, to }, bytes);
    }

    /// Sends a packet on the stream between two nodes.
    pub(super) fn stream(&mut self, from: u64, to: u64, packet: &Packet) {
        self.streams_sent += 1;
        self.launch(Way::Stream { from, to }, wire::encode_packet(packet));
    }

    fn launch(&mut self, way: Way, bytes: bytes::Bytes) {
        let packet = wire::decode_packet(bytes).expect("what was encoded is decoded");
        let at = self.now + self.rng.duration(DELAY_MIN, DELAY_MAX);
        self.last_flight += 1;
        self.flying.insert((at, self.last_flight), Flight { way, packet });
    }

    fn node_at(&self, place: SocketAddr) -> Option<u64> {
        self.places.get(&place).copied()
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let flight = self.flying.first_key_value().map(|((at, _), _)| *at);
            let wake = self.wakes.first().copied();
            // What has arrived is handed over before timers fire.
            let is_flight = flight.is_some_and(|at| wake.is_none_or(|(wake, _)| at <= wake));
            let next = if is_flight { flight } else { wake.map(|(at, _)| at) };
            let Some(next) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            match wake {
                Some((_, node)) if !is_flight => self.input(node, Input::Tick),
                _ => self.arrive(),
            }
        }
        self.now = end;
    }

    fn arrive(&mut self) {
        let (_, Flight { way, packet }) = self.flying.pop_first().expect("one is due");
        let sender = packet.from.0;
        let (node, input) = match way {
            Way::Datagram { from, to } => {
                let Some(node) = self.node_at(to) else { return };
                let cut = self.node_at(from).map(|sender| (sender, node));
                if cut.is_some_and(|cut| self.cuts.contains(&cut)) {
                    return;
                }
                if self.keeps_packets {
                    self.packets.push((self.now, sender, node, packet.clone()));
                }
                (node, Input::Packet { from, packet })
            }
            Way::Stream { from, to } => {
                if self.stream_cuts.contains(&(from, to)) || !self.nodes.contains_key(&to) {
                    return;
                }
                (to, Input::Stream { from: NodeId(from), packet })
            }
        };
        let host = self.nodes.get_mut(&node).expect("found above");
        match host.power {
            Power::Running => self.input(node, input),
            Power::Paused => host.backlog.push(input),
            Power::Dead => {}
        }
    }

    pub(super) fn power(&mut self, node: u64, power: Power) {
        let host = self.nodes.get_mut(&node).expect("the node was started");
        host.power = power;
        let backlog = core::mem::take(&mut host.backlog);
        self.rewake(node);
        if power == Power::Running {
            backlog.into_iter().for_each(|input| self.input(node, input));
        }
    }

    /// Nothing passes between one side and the other.
    pub(super) fn partition(&mut self, side: &[u64]) {
        let others: Vec<u64> =
            self.nodes.keys().copied().filter(|node| !side.contains(node)).collect();
        for one in side {
            for other in &others {
                self.cuts.extend([(*one, *other), (*other, *one)]);
                self.stream_cuts.extend([(*one, *other), (*other, *one)]);
            }
        }
    }

    /// Everything passes again.
    pub(super) fn heal(&mut self) {
        self.cuts.clear();
        self.stream_cuts.clear();
    }

    pub(super) fn running(&self) -> Vec<u64> {
        let running = self.nodes.iter().filter(|(_, host)| host.power == Power::Running);
        running.map(|(node, _)| *node).collect()
    }

    /// One node's view in short: states and lives.
    pub(super) fn view(&self, node: u64) -> Vec<(u64, Liveness, Incarnation, SocketAddr)> {
        let view = self.nodes[&node].swim.view(self.now);
        view.into_iter().map(|e| (e.node.0, e.state, e.incarnation, e.address)).collect()
    }

    /// What differs among the views of running nodes: empty when all agree.
    pub(super) fn disagreements(&self) -> Vec<alloc::string::String> {
        let running = self.running();
        let Some((first, rest)) = running.split_first() else { return vec![] };
        let model = self.view(*first);
        let different = rest.iter().filter(|node| self.view(**node) != model);
        different.map(|n| format!("n{n}: {:?}\nn{first}: {model:?}", self.view(*n))).collect()
    }
}
