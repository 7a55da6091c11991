//! Probes: one member a period, directly, through others (SWIM 3.1) and over a stream; and the
//! asking of those believed to be gone.

use super::evidence::{Detour, Trail};
use super::machine::Swim;
use super::members::Standing;
use super::planted::Bug;
use super::{Event, Liveness, Output, PacketKind};
use crate::base::{Incarnation, NodeId, Now, Outputs};
use alloc::vec::Vec;
use core::net::SocketAddr;

/// Down members asked in one rejoin period, in turn.
const DOWN_ASKED_PER_PERIOD: usize = 16;

/// Members this node accused, asked again at the start of each of its periods.
const ACCUSED_ASKED_PER_PERIOD: usize = 8;

/// The probe that runs. It ends when answered or at the end of the period.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    pub(super) target: NodeId,
    /// The target's life when it was asked.
    incarnation: Incarnation,
    number: u64,
    step: Step,
    /// The target was suspect already: a failure says nothing about this node's own health.
    was_suspect: bool,
    /// What was tried so far.
    trail: Trail,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// Asked directly; others are asked at this time.
    Direct { indirect_at: Now },
    /// Others were asked; a stream is tried at this time.
    Indirect { stream_at: Now },
    /// All was tried.
    Last,
}

impl Probe {
    /// When the next way is tried.
    pub(super) fn next_step_at(&self) -> Option<Now> {
        match self.step {
            Step::Direct { indirect_at } => Some(indirect_at),
            Step::Indirect { stream_at } => Some(stream_at),
            Step::Last => None,
        }
    }

    /// How many of those asked did not even say that they had no answer: what is on the way back to
    /// this node is lost, or this node does not read it.
    fn missing_denials(&self) -> usize {
        self.trail.asked.len() - self.trail.denied.len()
    }
}

impl Swim {
    /// What of the probe cycle is due.
    pub(super) fn go_on_probing(&mut self, now: Now, out: &mut Outputs<Output>) {
        if self.next_probe <= now {
            self.end_probe(now, out);
            self.next_probe = now + self.health.stretch(self.options.probe_period);
            self.ask_the_accused(out);
            self.start_probe(now, out);
            return;
        }
        let Some(probe) = &self.probe else { return };
        match probe.step {
            Step::Direct { indirect_at } if indirect_at <= now => {
                self.probe_through_others(now, out);
            }
            Step::Indirect { stream_at } if stream_at <= now => self.probe_by_stream(now, out),
            _ => {}
        }
    }

    fn start_probe(&mut self, now: Now, out: &mut Outputs<Output>) {
        assert!(self.probe.is_none(), "one probe runs at a time");
        let Some(target) = self.members.next_of_round(&mut self.rng) else { return };
        let member = self.members.find(target).expect("a round gives known members only");
        let incarnation = member.incarnation;
        let was_suspect = member.standing.liveness() == Liveness::Suspect;
        let indirect_at = now + self.health.stretch(self.options.probe_timeout);
        let number = self.next_number();
        let step = Step::Direct { indirect_at };
        let trail = Trail { direct_at: now, ..Trail::default() };
        self.probe = Some(Probe { target, incarnation, number, step, was_suspect, trail });
        self.ping(target, number, out);
    }

    fn probe_through_others(&mut self, now: Now, out: &mut Outputs<Output>) {
        let Some(probe) = self.probe.as_mut() else { return };
        let (target, number) = (probe.target, probe.number);
        // A stream is the dearest way: the others get half of the time that is left.
        probe.step = match self.options.stream_probe {
            true => Step::Indirect { stream_at: now + self.next_probe.since(now) / 2 },
            false => Step::Last,
        };
        let is_alive = |standing: &Standing| standing.liveness() == Liveness::Alive;
        let askable = |node: NodeId, standing: &Standing| node != target && is_alive(standing);
        let count = self.options.indirect_probes;
        let asked = self.members.sample(count, &mut self.rng, |node, m| askable(node, &m.standing));
        probe.trail.indirect_at = Some(now);
        probe.trail.asked.clone_from(&asked);
        // Directly again, too: with few members there may be nobody to ask, and a lost datagram is
        // likelier than a death.
        self.ping(target, number, out);
        let Some(member) = self.members.find(target) else { return };
        let kind = PacketKind::PingRequest { number, target, address: member.address };
        self.send_to_all(&asked, kind, out);
    }

    /// The last way: the datagrams of a live member may all be lost, or dropped by what lies
    /// between (memberlist's fallback). A stream repeats what is lost by itself.
    fn probe_by_stream(&mut self, now: Now, out: &mut Outputs<Output>) {
        let Some(probe) = self.probe.as_mut() else { return };
        probe.step = Step::Last;
        probe.trail.stream_at = Some(now);
        let (to, number) = (probe.target, probe.number);
        let about = self.doubted(to);
        let kind = PacketKind::Ping { number, target: Some(to) };
        let packet = self.compose(kind, about.as_slice());
        out.push(Output::Stream { to, packet });
        // Once more directly: a stream that has to be opened first may lose its handshake, which is
        // sent again after a second only.
        self.ping(to, number, out);
    }

    /// The period is over: a probe that still runs has failed.
    fn end_probe(&mut self, now: Now, out: &mut Outputs<Output>) {
        let Some(mut probe) = self.probe.take() else { return };
        // M1: silence before a refutation says nothing against the life that began with it.
        let is_of_this_life =
            |id| self.members.find(id).is_some_and(|m| m.incarnation == probe.incarnation);
        if !is_of_this_life(probe.target) {
            return;
        }
        if !probe.trail.asked.is_empty() {
            self.health.worsen(probe.missing_denials());
        } else if !probe.was_suspect {
            // Nobody was there to say whose fault it is.
            self.health.worsen(1);
        }
        probe.trail.ended_at = now;
        self.accuse(now, probe.target, probe.trail, out);
    }

    /// Whoever accuses keeps asking: a suspect that lives answers with its refutation.
    fn ask_the_accused(&mut self, out: &mut Outputs<Output>) {
        let members = &self.members;
        let is_suspect = |node: NodeId| {
            let member = members.find(node);
            member.is_some_and(|member| member.standing.liveness() == Liveness::Suspect)
        };
        self.accused.retain(|node| is_suspect(*node));
        let asked: Vec<NodeId> =
            self.accused.iter().copied().take(ACCUSED_ASKED_PER_PERIOD).collect();
        for target in asked {
            let number = self.next_number();
            self.ping(target, number, out);
        }
    }

    /// A ping to a suspect or down member carries what is said of it, so that it can refute
    /// (Lifeguard's buddy system, section IV-C).
    pub(super) fn ping(&mut self, target: NodeId, number: u64, out: &mut Outputs<Output>) {
        self.send_to_all(&[target], PacketKind::Ping { number, target: Some(target) }, out);
    }

    pub(super) fn ping_down_members(&mut self, out: &mut Outputs<Output>) {
        let is_down = |standing: &Standing| standing.liveness() == Liveness::Down;
        let start = NodeId(self.rng.draw());
        let all = self.members.iter_from(start).filter(|(_, member)| is_down(&member.standing));
        let down: Vec<NodeId> = all.map(|(node, _)| node).take(DOWN_ASKED_PER_PERIOD).collect();
        for target in down {
            let number = self.next_number();
            self.ping(target, number, out);
        }
    }

    pub(super) fn ping_contact(&mut self, address: SocketAddr, out: &mut Outputs<Output>) {
        let number = self.next_number();
        self.contacts.asked(number, address);
        let kind = PacketKind::Ping { number, target: None };
        self.send(address, kind, &[self.id], out);
    }

    /// `answer.from` acknowledged a number: of the running probe, or of one done for another.
    pub(super) fn settle_probe(&mut self, answer: Answer, out: &mut Outputs<Output>) {
        let Answer { number, from, detour } = answer;
        // The target must be the one that was asked: a late answer of another proves nothing.
        let is_target = |target: NodeId| target == from || self.has(Bug::AnyAckSettles);
        if self.probe.as_ref().is_some_and(|p| p.number == number && is_target(p.target)) {
            self.probe = None;
            self.health.improve();
            self.note_detour(from, detour, out);
        }
        if detour.is_none()
            && let Some(asked) = self.relays.settle(number, from)
        {
            let kind = PacketKind::IndirectAck { number: asked.number, target: from };
            let about = self.doubted(asked.asker);
            self.send(asked.asker_address, kind, about.as_slice(), out);
        }
    }

    /// A link that has gone bad is reported once, until it is good again.
    fn note_detour(&mut self, node: NodeId, detour: Option<Detour>, out: &mut Outputs<Output>) {
        let Some(member) = self.members.find(node) else { return };
        if let (Some(detour), false) = (detour, member.is_detoured) {
            out.push(Output::Report(Event::Reached { node, detour }));
        }
        self.members.change(node, &mut self.rng, |member| member.is_detoured = detour.is_some());
    }

    /// One that was asked has no answer either: it is well, and so is the way to it and back.
    pub(super) fn on_nack(&mut self, by: NodeId, number: u64, target: NodeId) {
        let Some(probe) = &mut self.probe else { return };
        let trail = &mut probe.trail;
        let is_of_it = probe.number == number && probe.target == target;
        if is_of_it && trail.asked.contains(&by) && !trail.denied.contains(&by) {
            trail.denied.push(by);
        }
        if is_of_it && self.has(Bug::NackIsAck) {
            self.probe = None;
        }
    }

    /// A peer was heard on a stream.
    pub(super) fn on_heard(&mut self, now: Now, node: NodeId) {
        if self.members.find(node).is_none() {
            return;
        }
        self.members.change(node, &mut self.rng, |member| member.heard = now);
        if self.probe.as_ref().is_some_and(|probe| probe.target == node) {
            self.probe = None;
            self.health.improve();
        }
    }

    /// The node itself when it is held to be anything but alive: it must be told, to refute.
    pub(super) fn doubted(&self, node: NodeId) -> Option<NodeId> {
        if self.has(Bug::SuspectNotTold) {
            return None;
        }
        let member = self.members.find(node)?;
        (member.standing != Standing::Alive).then_some(node)
    }
}

/// An acknowledgement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) number: u64,
    /// Who is there.
    pub(super) from: NodeId,
    /// How it was reached, if not directly.
    pub(super) detour: Option<Detour>,
}
