//! Probes done for others.

use super::machine::Swim;
use super::{Output, PacketKind};
use crate::base::{NodeId, Now, Outputs};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;

/// Probes done for others at one time; more are not done, as if the request was lost.
const RELAYS_MAX: usize = 256;

/// What part of the probe time-out a target has to answer whoever probes it for another: the rest
/// is left for the NACK to get back within the asker's period.
const NACK_AFTER_PERCENT: u32 = 80;

/// Probes done for others, by this node's own number.
#[derive(Debug, Default)]
pub(super) struct Relays {
    by_number: BTreeMap<u64, Relay>,
    /// All up to this number were answered with a NACK, or settled.
    denied: u64,
}

/// One probe done for another.
#[derive(Clone, Copy, Debug)]
struct Relay {
    asked: PingFor,
    /// When the asker is told that there is no answer.
    deny_at: Now,
    /// When an answer would come too late to be of use.
    ends: Now,
}

/// What a ping request asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct PingFor {
    pub(super) asker: NodeId,
    pub(super) asker_address: SocketAddr,
    /// The asker's number.
    pub(super) number: u64,
    pub(super) target: NodeId,
    pub(super) address: SocketAddr,
}

impl Relays {
    /// When something of this is due. Numbers grow, and all wait equally long: the first is due
    /// first.
    pub(super) fn deadline(&self) -> Option<Now> {
        let ends = self.by_number.first_key_value().map(|(_, relay)| relay.ends);
        let denial = self.by_number.range(self.denied + 1..).next();
        ends.into_iter().chain(denial.map(|(_, relay)| relay.deny_at)).min()
    }

    /// Those to be answered with a NACK.
    fn take_denied(&mut self, now: Now) -> Vec<PingFor> {
        let mut denied = Vec::new();
        while let Some((number, relay)) = self.by_number.range(self.denied + 1..).next()
            && relay.deny_at <= now
        {
            self.denied = *number;
            denied.push(relay.asked);
        }
        denied
    }

    fn end(&mut self, now: Now) {
        while let Some(first) = self.by_number.first_entry()
            && first.get().ends <= now
        {
            first.remove();
        }
    }

    /// The relay this acknowledgement is for: of the number, and by the one that was asked.
    pub(super) fn settle(&mut self, number: u64, target: NodeId) -> Option<PingFor> {
        let asked = self.by_number.get(&number)?.asked;
        if asked.target != target {
            return None;
        }
        self.by_number.remove(&number);
        Some(asked)
    }
}

impl Swim {
    /// Probes for another.
    pub(super) fn relay(&mut self, now: Now, asked: PingFor, out: &mut Outputs<Output>) {
        if self.relays.by_number.len() == RELAYS_MAX {
            return;
        }
        let deny_at = now + self.options.probe_timeout * NACK_AFTER_PERCENT / 100;
        let ends = now + self.options.probe_period * 2;
        let own_number = self.next_number();
        self.relays.by_number.insert(own_number, Relay { asked, deny_at, ends });
        let kind = PacketKind::Ping { number: own_number, target: Some(asked.target) };
        let about = self.doubted(asked.target);
        self.send(asked.address, kind, about.as_slice(), out);
    }

    /// What is due: a NACK says that this node, which was asked, is well, and that the fault is not
    /// the asker's (Lifeguard, section IV-A).
    pub(super) fn end_relays(&mut self, now: Now, out: &mut Outputs<Output>) {
        for asked in self.relays.take_denied(now) {
            let kind = PacketKind::Nack { number: asked.number, target: asked.target };
            let about = self.doubted(asked.asker);
            self.send(asked.asker_address, kind, about.as_slice(), out);
        }
        self.relays.end(now);
    }
}
