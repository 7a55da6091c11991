//! Packets that come on streams: probes that datagrams failed to bring, and their answers.

use super::machine::Swim;
use super::planted::Bug;
use super::probing::Answer;
use super::spreading::Source;
use super::{Detour, Event, Output, Packet, PacketKind};
use crate::base::{NodeId, Now, Outputs};
use alloc::vec::Vec;

impl Swim {
    /// What comes on a stream is answered on it: datagrams may not get through.
    pub(super) fn on_stream(
        &mut self,
        now: Now,
        from: NodeId,
        packet: Packet,
        out: &mut Outputs<Output>,
    ) {
        let refusal = match packet.from == from {
            true => self.refusal(&packet),
            false => Some("a packet on a stream, in the name of another"),
        };
        if let Some(why) = refusal {
            out.push(Output::Report(Event::Dropped { why }));
            return;
        }
        let source = Source { node: from, is_sync: false };
        let heed = self.heed(now, source, packet.rumors, out);
        if self.members.find(from).is_some() {
            self.members.change(from, &mut self.rng, |member| member.heard = now);
        }
        let first = self.words_for(from, packet.incarnation, heed);
        match packet.kind {
            PacketKind::Ping { number, target } => {
                if target.is_none_or(|target| target == self.id) {
                    let kind = PacketKind::Ack { number, observed: None };
                    self.say_on_stream(from, kind, &first, out);
                }
            }
            PacketKind::Ack { number, .. } if !self.has(Bug::StreamAnswerLost) => {
                let detour = Some(Detour::Stream);
                self.settle_probe(Answer { number, from, detour }, out);
                self.say_if_needed(from, &first, out);
            }
            _ => self.say_if_needed(from, &first, out),
        }
        if let (true, Some(address)) = (heed.is_back, self.address_of(from)) {
            self.ask_for_all(now, address, out);
        }
    }

    fn say_if_needed(&mut self, to: NodeId, first: &[NodeId], out: &mut Outputs<Output>) {
        if !first.is_empty() {
            self.say_on_stream(to, PacketKind::Gossip, first, out);
        }
    }

    fn say_on_stream(
        &mut self,
        to: NodeId,
        kind: PacketKind,
        first: &[NodeId],
        out: &mut Outputs<Output>,
    ) {
        let first: Vec<NodeId> = first.to_vec();
        let packet = self.compose(kind, &first);
        out.push(Output::Stream { to, packet });
    }
}
