//! The commands of the golden scripts.

use super::net::{Doorkeeper, Net, Power, address};
use crate::base::{Epoch, Incarnation, NodeId};
use crate::swim::{Detour, Event, Input, Liveness, Options, Packet, PacketKind, Rumor, Transition};
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt::Write;
use core::sync::atomic::Ordering;
use core::time::Duration;
use goldenscript::{ArgumentConsumer, Command, Context};
use std::error::Error;

type Result<T> = core::result::Result<T, Box<dyn Error>>;

/// One script's cluster. Times are printed in milliseconds from the meeting of the nodes;
/// what was before is at 0.
pub(super) struct Script {
    net: Net,
    start_ms: u64,
}

impl Script {
    pub(super) fn new() -> Script {
        Script { net: Net::new(Options::fast(), 1), start_ms: 0 }
    }

    fn ms(&self, at: crate::base::Now) -> u64 {
        (at.0 / 1_000_000).saturating_sub(self.start_ms)
    }

    fn cluster(&mut self, args: &mut ArgumentConsumer<'_>) -> Result<String> {
        let count = number(args, "nodes")?;
        let options = match args.take_key("profile") {
            Some("lan") => Options::lan(),
            _ => Options::fast(),
        };
        self.net = Net::cluster(options, count, 1);
        self.net.keeps_packets = true;
        self.net.packets.clear();
        self.start_ms = self.net.now.0 / 1_000_000;
        Ok(String::new())
    }

    /// `run ms=N [of=NODE] [packets=KIND]`: what was reported, by one node only if one is given.
    fn run_for(&mut self, args: &mut ArgumentConsumer<'_>) -> Result<String> {
        let millis = number(args, "ms")?;
        let of: Option<u64> = args.take_key("of").map(str::parse).transpose()?;
        let kind = args.take_key("packets").unwrap_or("none");
        self.net.run(Duration::from_millis(millis));
        let mut lines: Vec<(u64, String)> = Vec::new();
        for (at, node, event) in core::mem::take(&mut self.net.reports) {
            if of.is_none_or(|of| of == node) {
                lines.push((self.ms(at), alloc::format!("n{node} {}", describe(&event))));
            }
        }
        for (at, from, to, packet) in core::mem::take(&mut self.net.packets) {
            let text = alloc::format!("{:?}", packet.kind);
            if text.starts_with(kind) {
                let what = words(&packet);
                lines.push((self.ms(at), alloc::format!("n{from} -> n{to} {what}")));
            }
        }
        lines.sort_by_key(|(at, _)| *at);
        let mut text = String::new();
        for (at, line) in lines {
            writeln!(text, "{at:>5} {line}")?;
        }
        Ok(text)
    }

    /// `forge from=A to=B about=C state=S incarnation=I`: a rumor in a packet of A that A never
    /// sent.
    fn forge(&mut self, args: &mut ArgumentConsumer<'_>) -> Result<String> {
        let (from, to) = (number(args, "from")?, number(args, "to")?);
        let about = number(args, "about")?;
        let state = match args.take_key("state") {
            Some("alive") => Liveness::Alive,
            Some("suspect") => Liveness::Suspect,
            Some("down") => Liveness::Down,
            _ => Liveness::Left,
        };
        let rumor = Rumor {
            node: NodeId(about),
            state,
            incarnation: Incarnation(number(args, "incarnation")?),
            address: None,
            metadata: None,
            by: NodeId(from),
            ticket: Bytes::new(),
            gone_s: 0,
        };
        let packet = Packet {
            from: NodeId(from),
            incarnation: self.net.nodes[&from].swim.incarnation(),
            epoch: Epoch(args.take_key("epoch").map_or(Ok(1), str::parse)?),
            kind: PacketKind::Gossip,
            rumors: vec![rumor],
        };
        self.net.send(address(from, 7400), self.net.nodes[&to].address, &packet);
        Ok(String::new())
    }

    /// `gated nodes=N`: all of these have a good ticket, and ask for one.
    fn gated(&mut self, args: &mut ArgumentConsumer<'_>) -> Result<String> {
        let count = number(args, "nodes")?;
        self.net = Net::new(Options::fast(), 1);
        self.net.gate = Some(Doorkeeper::default());
        for node in 1..=count {
            self.net.start(node, 7400, &[address(1, 7400)]);
            self.net.input(node, Input::Ticket(Bytes::from_static(b"good")));
        }
        self.net.run(Duration::from_secs(2));
        self.net.reports.clear();
        self.start_ms = self.net.now.0 / 1_000_000;
        Ok(String::new())
    }

    /// `ticket NODE WORD`: the node shows it from here on.
    fn ticket(&mut self, args: &mut ArgumentConsumer<'_>) -> Result<String> {
        let node = args.next_pos().ok_or("whose ticket?")?.parse()?;
        let words = args.next_pos().ok_or("which ticket?")?.to_string();
        self.net.input(node, Input::Ticket(Bytes::from(words)));
        Ok(String::new())
    }

    /// `evidence AT ABOUT`: why the one holds of the other what it holds.
    fn evidence(&self, args: &mut ArgumentConsumer<'_>) -> Result<String> {
        let nodes = positions(args)?;
        let mut text = String::new();
        for transition in self.net.nodes[&nodes[0]].swim.evidence(NodeId(nodes[1])) {
            let state = alloc::format!("{:?}", transition.state).to_lowercase();
            let Transition { incarnation, by, told_by, .. } = transition;
            let at = self.ms(transition.at);
            write!(text, "{at:>5} {state} incarnation={incarnation} by={by:?} from={told_by:?}")?;
            for accuser in &transition.accusers {
                write!(text, " accuser={:?}@{}", accuser.node, self.ms(accuser.at))?;
            }
            if let Some(trail) = &transition.trail {
                write!(text, " direct@{}", self.ms(trail.direct_at))?;
                if let Some(at) = trail.indirect_at {
                    let (asked, denied) = (&trail.asked, &trail.denied);
                    write!(text, " asked={asked:?}@{} denied={denied:?}", self.ms(at))?;
                }
                if let Some(at) = trail.stream_at {
                    write!(text, " stream@{}", self.ms(at))?;
                }
            }
            writeln!(text)?;
        }
        Ok(text)
    }

    fn view(&self, node: u64) -> Result<String> {
        let mut text = String::new();
        for (other, state, incarnation, place) in self.net.view(node) {
            let state = alloc::format!("{state:?}").to_lowercase();
            writeln!(text, "n{other} {state} incarnation={incarnation} {place}")?;
        }
        Ok(text)
    }

    /// Commands that change the cluster and print nothing.
    fn act(&mut self, name: &str, args: &mut ArgumentConsumer<'_>) -> Result<()> {
        let nodes = positions(args)?;
        let node = nodes.first().copied().unwrap_or_default();
        match name {
            "kill" => self.net.power(node, Power::Dead),
            "pause" => self.net.power(node, Power::Paused),
            "resume" => self.net.power(node, Power::Running),
            "leave" => self.net.input(node, Input::Leave),
            "forget" => self.net.input(number(args, "at")?, Input::Forget(NodeId(node))),
            "heard" => self.net.input(number(args, "at")?, Input::Heard(NodeId(node))),
            "partition" => self.net.partition(&nodes),
            "heal" => self.net.heal(),
            "deaf" => {
                let others: Vec<u64> = self.net.nodes.keys().copied().collect();
                let pairs: Vec<(u64, u64)> =
                    others.into_iter().map(|other| (other, node)).collect();
                self.net.cuts.extend(pairs.clone());
                self.net.stream_cuts.extend(pairs);
            }
            "cut" => {
                let (one, other) = (nodes[0], nodes[1]);
                self.net.cuts.extend([(one, other), (other, one)]);
            }
            "cut_streams" => {
                let (one, other) = (nodes[0], nodes[1]);
                self.net.stream_cuts.extend([(one, other), (other, one)]);
            }
            "rename" => {
                let mut metadata = super::net::metadata(node);
                metadata.name = args.take_key("name").unwrap_or_default().to_string();
                self.net.input(node, Input::Describe(metadata));
            }
            "move" => self.net.move_to(node, number(args, "port")? as u16),
            "answers_all" => self.net.liar = Some((node, number(args, "to")?)),
            "start" => {
                let port = args.take_key("port").map_or(Ok(7400), str::parse)?;
                let contact = args.take_key("contact").map_or(Ok(1), str::parse)?;
                let place = self.net.nodes.get(&contact).map(|host| host.address);
                let place = place.unwrap_or(address(contact, 7400));
                self.net.start(node, port, &[place]);
            }
            unknown => return Err(alloc::format!("no command {unknown}").into()),
        }
        Ok(())
    }
}

impl goldenscript::Runner for Script {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String> {
        let mut args = command.consume_args();
        let text = match command.name.as_str() {
            "cluster" => self.cluster(&mut args)?,
            "run" => self.run_for(&mut args)?,
            "forge" => self.forge(&mut args)?,
            "gated" => self.gated(&mut args)?,
            "ticket" => self.ticket(&mut args)?,
            "evidence" => self.evidence(&mut args)?,
            "view" => self.view(positions(&mut args)?[0])?,
            "health" => {
                let node = positions(&mut args)?[0];
                alloc::format!("{}\n", self.net.nodes[&node].swim.health())
            }
            "asked" => {
                positions(&mut args)?;
                let asked = &self.net.gate.as_ref().ok_or("no gate")?.asked;
                alloc::format!("{}\n", asked.load(Ordering::Relaxed))
            }
            name => {
                self.act(name, &mut args)?;
                String::new()
            }
        };
        args.reject_next()?;
        Ok(text)
    }
}

fn number(args: &mut ArgumentConsumer<'_>, key: &str) -> Result<u64> {
    let text = args.take_key(key).ok_or_else(|| alloc::format!("{key}= is missing"))?;
    Ok(text.parse()?)
}

fn positions(args: &mut ArgumentConsumer<'_>) -> Result<Vec<u64>> {
    let mut all = Vec::new();
    while let Some(text) = args.next_pos() {
        all.push(text.parse()?);
    }
    Ok(all)
}

fn describe(event: &Event) -> String {
    match event {
        Event::Alive { node, incarnation, refuted, .. } => {
            let how = if *refuted { "sees the refutation of" } else { "sees alive" };
            alloc::format!("{how} {node:?} incarnation={incarnation}")
        }
        Event::Suspected { node, by, incarnation, .. } => {
            alloc::format!("suspects {node:?} by={by:?} incarnation={incarnation}")
        }
        Event::Down { node, by, incarnation, .. } => {
            alloc::format!("holds down {node:?} by={by:?} incarnation={incarnation}")
        }
        Event::Left { node } => alloc::format!("sees {node:?} leave"),
        Event::Changed { node, address } => alloc::format!("sees {node:?} changed, at {address}"),
        Event::RefutedSelf { incarnation, by } => {
            alloc::format!("refutes {by:?} incarnation={incarnation}")
        }
        Event::ObservedAddress { address, by } => {
            alloc::format!("is seen at {address} by {by:?}")
        }
        Event::Witnessed(testimony) => {
            let state = alloc::format!("{:?}", testimony.transition.state).to_lowercase();
            alloc::format!("bears witness that {:?} is {state}", testimony.node)
        }
        Event::Reached { node, detour } => alloc::format!("reaches {node:?} {}", way(*detour)),
        Event::Outpaced { epoch } => alloc::format!("hears of epoch {}", epoch.0),
        Event::Dropped { why } => alloc::format!("drops {why}"),
    }
}

fn way(detour: Detour) -> String {
    match detour {
        Detour::Through(node) => alloc::format!("through {node:?}"),
        Detour::Stream => "over a stream".to_string(),
    }
}

fn words(packet: &Packet) -> String {
    let mut text = match &packet.kind {
        PacketKind::Ping { target: Some(target), .. } => alloc::format!("Ping {target:?}"),
        PacketKind::Ping { target: None, .. } => "Ping whoever".to_string(),
        PacketKind::PingRequest { target, .. } => alloc::format!("PingRequest {target:?}"),
        PacketKind::IndirectAck { target, .. } => alloc::format!("IndirectAck {target:?}"),
        PacketKind::Nack { target, .. } => alloc::format!("Nack {target:?}"),
        PacketKind::Ack { .. } => "Ack".to_string(),
        PacketKind::Sync { .. } => "Sync".to_string(),
        PacketKind::SyncReply { .. } => "SyncReply".to_string(),
        other => alloc::format!("{other:?}"),
    };
    for rumor in &packet.rumors {
        let Rumor { node, state, incarnation, by, .. } = rumor;
        let _ = write!(text, " [{node:?} {state:?} {incarnation} by {by:?}]");
    }
    text
}
