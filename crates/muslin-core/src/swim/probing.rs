//! Probes: one member a period, directly and through others (SWIM 3.1), and the asking of those
//! believed to be gone.

use super::machine::Swim;
use super::members::Standing;
use super::{Liveness, Output, PacketKind};
use crate::base::{Incarnation, NodeId, Now, Outputs};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;

/// Probes done for others at one time; more are not answered, as if lost.
const RELAYS_MAX: usize = 256;

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
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// Asked directly; others are asked at this time.
    Direct { indirect_at: Now },
    /// Others were asked.
    Indirect,
}

impl Probe {
    pub(super) fn indirect_at(&self) -> Option<Now> {
        match self.step {
            Step::Direct { indirect_at } => Some(indirect_at),
            Step::Indirect => None,
        }
    }
}

/// Probes done for others, by this node's own number.
#[derive(Debug, Default)]
pub(super) struct Relays {
    by_number: BTreeMap<u64, Relay>,
}

/// One probe done for another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relay {
    pub(super) asker: NodeId,
    pub(super) asker_address: SocketAddr,
    /// The asker's number.
    pub(super) number: u64,
    pub(super) target: NodeId,
    ends: Now,
}

impl Relays {
    /// The first to end: numbers grow, and all last equally long.
    pub(super) fn next_end(&self) -> Option<Now> {
        self.by_number.first_key_value().map(|(_, relay)| relay.ends)
    }

    pub(super) fn end(&mut self, now: Now) {
        while let Some(first) = self.by_number.first_entry()
            && first.get().ends <= now
        {
            first.remove();
        }
    }

    fn insert(&mut self, number: u64, relay: Relay) {
        assert!(self.by_number.len() < RELAYS_MAX, "the caller checks that there is room");
        self.by_number.insert(number, relay);
    }

    /// The relay this acknowledgement is for.
    fn settle(&mut self, number: u64, target: NodeId) -> Option<Relay> {
        let relay = self.by_number.get(&number).copied()?;
        if relay.target != target {
            return None;
        }
        self.by_number.remove(&number);
        Some(relay)
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
        } else if self.probe.as_ref().and_then(Probe::indirect_at).is_some_and(|at| at <= now) {
            self.probe_through_others(out);
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
        self.probe = Some(Probe { target, incarnation, number, step, was_suspect });
        self.ping(target, number, out);
    }

    fn probe_through_others(&mut self, out: &mut Outputs<Output>) {
        let Some(probe) = self.probe.as_mut() else { return };
        probe.step = Step::Indirect;
        let (target, number) = (probe.target, probe.number);
        // Directly again, too: with few members there may be nobody to ask, and a lost datagram is
        // likelier than a death.
        self.ping(target, number, out);
        let Some(member) = self.members.find(target) else { return };
        let address = member.address;
        let fits = |node: NodeId| node != target;
        let is_alive = |standing: &Standing| standing.liveness() == Liveness::Alive;
        let helpers =
            self.members.sample(self.options.indirect_probes, &mut self.rng, |node, m| {
                fits(node) && is_alive(&m.standing)
            });
        let kind = PacketKind::PingRequest { number, target, address };
        self.send_to_all(&helpers, kind, out);
    }

    /// The period is over: a probe that still runs has failed.
    fn end_probe(&mut self, now: Now, out: &mut Outputs<Output>) {
        let Some(probe) = self.probe.take() else { return };
        // M1: silence before a refutation says nothing against the life that began with it.
        let is_of_this_life =
            |id| self.members.find(id).is_some_and(|m| m.incarnation == probe.incarnation);
        if !is_of_this_life(probe.target) {
            return;
        }
        if !probe.was_suspect {
            self.health.worsen();
        }
        self.accuse(now, probe.target, out);
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
    /// (Lifeguard's buddy system).
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

    /// Probes for another.
    pub(super) fn relay(&mut self, now: Now, asked: PingFor, out: &mut Outputs<Output>) {
        if self.relays.by_number.len() == RELAYS_MAX {
            return;
        }
        let PingFor { asker, asker_address, number, target, address } = asked;
        let ends = now + self.options.probe_period * 2;
        let own_number = self.next_number();
        self.relays.insert(own_number, Relay { asker, asker_address, number, target, ends });
        let kind = PacketKind::Ping { number: own_number, target: Some(target) };
        let about = self.doubted(target);
        self.send(address, kind, about.as_slice(), out);
    }

    /// `from` acknowledged `number`: of the running probe, or of one done for another.
    pub(super) fn settle_probe(&mut self, number: u64, from: NodeId, out: &mut Outputs<Output>) {
        if self.probe.as_ref().is_some_and(|p| p.number == number && p.target == from) {
            self.probe = None;
            self.health.improve();
        }
        if let Some(relay) = self.relays.settle(number, from) {
            let kind = PacketKind::IndirectAck { number: relay.number, target: from };
            let about = self.doubted(relay.asker);
            self.send(relay.asker_address, kind, about.as_slice(), out);
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
        let member = self.members.find(node)?;
        (member.standing != Standing::Alive).then_some(node)
    }
}

/// What a ping request asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct PingFor {
    pub(super) asker: NodeId,
    pub(super) asker_address: SocketAddr,
    pub(super) number: u64,
    pub(super) target: NodeId,
    pub(super) address: SocketAddr,
}
