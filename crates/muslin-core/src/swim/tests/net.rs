//! A network of detectors in virtual time, from one seed. Every packet goes through its bytes.

use crate::base::{Epoch, Incarnation, Machine, NodeId, Now, Outputs, Prng};
use crate::swim::{
    Event, Input, Liveness, Metadata, Options, Output, PACKET_BYTES_MAX, Packet, Swim,
};
use crate::wire;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use alloc::{format, vec};
use core::net::SocketAddr;
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
}

/// One process.
pub(super) struct Host {
    pub(super) swim: Swim,
    pub(super) address: SocketAddr,
    pub(super) power: Power,
    /// Packets that wait while the process is paused.
    backlog: Vec<(SocketAddr, Packet)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Power {
    Running,
    Paused,
    Dead,
}

struct Flight {
    from: SocketAddr,
    to: SocketAddr,
    packet: Packet,
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
        let swim =
            Swim::new(NodeId(node), Epoch(1), place, metadata(node), options, seed, self.now);
        let host = Host { swim, address: place, power: Power::Running, backlog: Vec::new() };
        if let Some(before) = self.nodes.insert(node, host) {
            self.places.remove(&before.address);
        }
        self.places.insert(place, node);
        self.input(node, Input::Contacts(contacts.to_vec()));
    }

    pub(super) fn input(&mut self, node: u64, input: Input) {
        let host = self.nodes.get_mut(&node).expect("the node was started");
        let mut out = Outputs::new();
        host.swim.handle(self.now, input, &mut out);
        let from = host.address;
        self.rewake(node);
        for output in out.drain().collect::<Vec<_>>() {
            match output {
                Output::Report(event) => self.reports.push((self.now, node, event)),
                Output::Send { to, packet } => self.send(from, to, &packet),
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
        let bytes = wire::encode_packet(packet);
        assert!(bytes.len() <= PACKET_BYTES_MAX, "{} bytes: {packet:?}", bytes.len());
        self.bytes_sent += bytes.len() as u64 + 28;
        if self.rng.chance(self.loss_per_million) {
            return;
        }
        let packet = wire::decode_packet(bytes).expect("what was encoded is decoded");
        let at = self.now + self.rng.duration(DELAY_MIN, DELAY_MAX);
        self.last_flight += 1;
        self.flying.insert((at, self.last_flight), Flight { from, to, packet });
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
        let (_, Flight { from, to, packet }) = self.flying.pop_first().expect("one is due");
        let Some(node) = self.node_at(to) else { return };
        if self.node_at(from).is_some_and(|sender| self.cuts.contains(&(sender, node))) {
            return;
        }
        if self.keeps_packets {
            self.packets.push((self.now, packet.from.0, node, packet.clone()));
        }
        let host = self.nodes.get_mut(&node).expect("found by address");
        match host.power {
            Power::Running => self.input(node, Input::Packet { from, packet }),
            Power::Paused => host.backlog.push((from, packet)),
            Power::Dead => {}
        }
    }

    pub(super) fn power(&mut self, node: u64, power: Power) {
        let host = self.nodes.get_mut(&node).expect("the node was started");
        host.power = power;
        let backlog = core::mem::take(&mut host.backlog);
        self.rewake(node);
        if power == Power::Running {
            for (from, packet) in backlog {
                self.input(node, Input::Packet { from, packet });
            }
        }
    }

    /// Nothing passes between one side and the other.
    pub(super) fn partition(&mut self, side: &[u64]) {
        let others: Vec<u64> =
            self.nodes.keys().copied().filter(|node| !side.contains(node)).collect();
        for one in side {
            for other in &others {
                self.cuts.insert((*one, *other));
                self.cuts.insert((*other, *one));
            }
        }
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
