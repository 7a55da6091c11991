//! Packets in and out.

use super::contacts::First;
use super::machine::Swim;
use super::probing::Answer;
use super::relays::PingFor;
use super::spreading::Source;
use super::{Detour, Event, Output, PACKET_BYTES_MAX, Packet, PacketKind, Rumor};
use crate::base::{Epoch, Incarnation, NodeId, Now, Outputs};
use crate::wire;
use alloc::vec::Vec;
use core::net::SocketAddr;

/// The smallest rumor takes 22 bytes, so that a packet of legal size never has more.
const RUMORS_PER_PACKET_MAX: usize = PACKET_BYTES_MAX / 22;

/// What a packet's rumors made known about its two ends.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heed {
    /// The sender knows an earlier life of this node, or doubted it: tell it our own words.
    pub(super) tell_own: bool,
    /// The sender says something of itself that differs from what it said in the same life: it has
    /// forgotten, and must be told.
    pub(super) tell_sender: bool,
    /// The sender was down, or not known, and is alive.
    pub(super) is_back: bool,
    /// Something about others was news.
    pub(super) has_learned: bool,
}

impl Heed {
    pub(super) fn and(self, other: Heed) -> Heed {
        Heed {
            tell_own: self.tell_own | other.tell_own,
            tell_sender: self.tell_sender | other.tell_sender,
            is_back: self.is_back | other.is_back,
            has_learned: self.has_learned | other.has_learned,
        }
    }
}

impl Swim {
    pub(super) fn on_packet(
        &mut self,
        now: Now,
        address: SocketAddr,
        packet: Packet,
        out: &mut Outputs<Output>,
    ) {
        if let (PacketKind::Ack { number, .. }, true) = (&packet.kind, packet.from == self.id) {
            // A contact that turned out to be this very node.
            self.contacts.answered(*number);
            return;
        }
        self.note_epoch(packet.epoch, out);
        if let Some(why) = self.refusal(&packet) {
            out.push(Output::Report(Event::Dropped { why }));
            return;
        }
        let is_sync = matches!(packet.kind, PacketKind::SyncReply { .. });
        let is_tracked = self.scope.covers(packet.from);
        if !is_tracked {
            self.callers.note(packet.from, address, now);
        }
        let source = Source { node: packet.from, is_sync };
        let heed = self.heed(now, source, packet.rumors, out);
        let is_known = self.members.find(source.node).is_some();
        if is_known {
            self.members.change(source.node, &mut self.rng, |member| member.heard = now);
        }
        let first = self.words_for(source.node, packet.incarnation, heed);
        let sender = Sender { node: source.node, address, first };
        let is_answered = self.on_kind(now, &sender, packet.kind, out);
        if !is_answered && !sender.first.is_empty() {
            self.send(address, PacketKind::Gossip, &sender.first, out);
        }
        if is_sync && heed.has_learned {
            self.compare_again(now);
        }
        if is_tracked && (!is_known || heed.is_back) {
            self.ask_for_all(now, address, out);
        }
    }

    /// The latest epoch in which others were heard, if that is beyond what a rise of this epoch
    /// that has not come here yet explains.
    pub fn left_behind_by(&self) -> Option<Epoch> {
        (self.heard_epoch > self.epoch.next()).then_some(self.heard_epoch)
    }

    fn note_epoch(&mut self, epoch: Epoch, out: &mut Outputs<Output>) {
        if epoch > self.epoch.max(self.heard_epoch) {
            self.heard_epoch = epoch;
            out.push(Output::Report(Event::Outpaced { epoch }));
        }
    }

    /// Why a packet is not looked at.
    pub(super) fn refusal(&self, packet: &Packet) -> Option<&'static str> {
        // One apart is taken from members: the record reaches all of them, but not at one time.
        let is_near = self.epoch.0.abs_diff(packet.epoch.0) <= 1;
        let is_member = self.members.find(packet.from).is_some();
        if packet.epoch != self.epoch && !(is_near && is_member) {
            Some("a gossip packet of another epoch")
        } else if packet.from == self.id {
            Some("a gossip packet in this node's own name: is its data directory used twice?")
        } else if self.removed.contains(packet.from) {
            Some("a gossip packet of a removed member")
        } else if packet.rumors.len() > RUMORS_PER_PACKET_MAX {
            Some("a gossip packet with more rumors than fit in one")
        } else {
            None
        }
    }

    pub(super) fn heed(
        &mut self,
        now: Now,
        source: Source,
        rumors: Vec<Rumor>,
        out: &mut Outputs<Output>,
    ) -> Heed {
        let mut heed = Heed::default();
        for rumor in rumors {
            if rumor.node == self.id {
                heed.tell_own |= self.on_rumor_of_self(rumor, out);
            } else {
                heed = heed.and(self.on_rumor(now, source, rumor, out));
            }
        }
        heed
    }

    /// What the answer to this sender must say first.
    pub(super) fn words_for(&self, sender: NodeId, life: Incarnation, heed: Heed) -> Vec<NodeId> {
        let mut first = Vec::new();
        if let Some(member) = self.members.find(sender) {
            // A sender of an earlier life has been restarted, and must rise above the one known
            // here; from one of a later life its own words are wanted, which it gives when it reads
            // these.
            if life != member.incarnation || heed.tell_sender || self.doubted(sender).is_some() {
                first.push(sender);
            }
        }
        if heed.tell_own {
            first.push(self.id);
        }
        first
    }

    /// Does what the packet is for; whether that sent an answer, with the sender's first words in
    /// it.
    fn on_kind(
        &mut self,
        now: Now,
        sender: &Sender,
        kind: PacketKind,
        out: &mut Outputs<Output>,
    ) -> bool {
        match kind {
            PacketKind::Ping { number, target } => {
                return self.on_ping(sender, Question { number, target }, out);
            }
            PacketKind::Sync { digest } => {
                let asker = (sender.address, sender.first.clone());
                self.answer_sync(now, asker, &digest, out);
                return true;
            }
            PacketKind::SyncReply { wanted } => self.on_wanted(now, sender.address, wanted, out),
            PacketKind::Ack { number, observed } => {
                self.on_ack(now, sender, number, out);
                self.on_observed(sender.node, observed, out);
            }
            PacketKind::PingRequest { number, target, address } => {
                let (asker, asker_address) = (sender.node, sender.address);
                self.relay(now, PingFor { asker, asker_address, number, target, address }, out);
            }
            PacketKind::IndirectAck { number, target } => {
                let detour = Some(Detour::Through(sender.node));
                self.settle_probe(Answer { number, from: target, detour }, out);
            }
            PacketKind::Nack { number, target } => self.on_nack(sender.node, number, target),
            PacketKind::Gossip => {}
        }
        false
    }

    fn on_ping(&mut self, sender: &Sender, question: Question, out: &mut Outputs<Output>) -> bool {
        let Question { number, target } = question;
        if target.is_some_and(|target| target != self.id) {
            // This node has moved to the address of another. To answer would keep that one alive.
            return false;
        }
        let mut first = sender.first.clone();
        // Whoever knows an address only does not know this node.
        if target.is_none() && !first.contains(&self.id) {
            first.push(self.id);
        }
        let kind = PacketKind::Ack { number, observed: Some(sender.address) };
        self.send(sender.address, kind, &first, out);
        true
    }

    fn on_ack(&mut self, now: Now, sender: &Sender, number: u64, out: &mut Outputs<Output>) {
        self.settle_probe(Answer { number, from: sender.node, detour: None }, out);
        if self.contacts.answered(number) == Some(First(true)) {
            self.ask_for_all(now, sender.address, out);
        }
    }

    fn on_observed(&mut self, by: NodeId, address: Option<SocketAddr>, out: &mut Outputs<Output>) {
        let Some(address) = address else { return };
        if address == self.own.address {
            self.observed = None;
        } else if self.observed != Some(address) {
            self.observed = Some(address);
            out.push(Output::Report(Event::ObservedAddress { address, by }));
        }
    }

    /// Sends to members, telling each that is doubted so.
    pub(super) fn send_to_all(
        &mut self,
        targets: &[NodeId],
        kind: PacketKind,
        out: &mut Outputs<Output>,
    ) {
        for target in targets {
            let Some(member) = self.members.find(*target) else { continue };
            let address = member.address;
            let mut first: Vec<NodeId> = self.doubted(*target).into_iter().collect();
            if matches!(kind, PacketKind::Sync { .. }) || self.is_gone() {
                first.push(self.id);
            }
            self.send(address, kind.clone(), &first, out);
        }
    }

    /// Sends one packet.
    pub(super) fn send(
        &mut self,
        to: SocketAddr,
        kind: PacketKind,
        first: &[NodeId],
        out: &mut Outputs<Output>,
    ) {
        let packet = self.compose(kind, first);
        out.push(Output::Send { to, packet });
    }

    /// A packet with `first` before all else, then what the queue has and fits.
    pub(super) fn compose(&mut self, kind: PacketKind, first: &[NodeId]) -> Packet {
        let mut packet = self.packet(kind, Vec::new());
        let mut left = PACKET_BYTES_MAX - wire::packet_len(&packet);
        let limit = self.retransmit_limit();
        for node in first {
            let Some(rumor) = self.rumor(*node, None) else { continue };
            let bytes = wire::rumor_len(&rumor);
            if bytes <= left {
                left -= bytes;
                packet.rumors.push(rumor);
                self.rumors.count_sent(*node, limit);
            }
        }
        for taken in self.rumors.take(left, limit, first) {
            packet.rumors.extend(self.rumor(taken.node, Some(taken.by)));
        }
        debug_assert!(
            wire::packet_len(&packet) <= PACKET_BYTES_MAX,
            "packets fit the smallest MTU"
        );
        packet
    }

    pub(super) fn packet(&self, kind: PacketKind, rumors: Vec<Rumor>) -> Packet {
        Packet { from: self.id, incarnation: self.own.incarnation, epoch: self.epoch, kind, rumors }
    }
}

/// Who sent a packet, from where, and whom an answer must speak of first.
#[derive(Clone, Debug)]
struct Sender {
    node: NodeId,
    address: SocketAddr,
    first: Vec<NodeId>,
}

/// What a ping asks.
#[derive(Clone, Copy, Debug)]
struct Question {
    number: u64,
    target: Option<NodeId>,
}
