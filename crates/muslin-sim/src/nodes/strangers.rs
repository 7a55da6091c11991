//! Machines of another cluster, which gossip to the addresses of this one and hear what it answers.
//!
//! Nothing but a ticket tells one of them from a member: they speak in the epoch of this cluster,
//! whose nodes have them among their contacts, and what seals the packets of real nodes is not
//! played, as if both clusters had the same keys. M4: neither side takes one of the other into its
//! view.

use super::Nodes;
use super::subject::CLUSTER;
use crate::checkers::Broken;
use crate::host::{address_of, id_of};
use crate::profile::Profile;
use bytes::Bytes;
use muslin_core::base::{ClusterId, Epoch, Machine, NodeId, Now, Outputs};
use muslin_core::swim::{Gate, Input, Metadata, Output, Swim};
use muslin_core::wire;
use std::net::SocketAddr;

/// The other cluster.
const OTHER: ClusterId = ClusterId(CLUSTER.0 + 1);

/// No node of this cluster has such a number.
const FIRST_STRANGER: u64 = 1_000_001;

/// Their operator names the machines of this cluster to them so often, in looks at everything: each
/// time they ask all of them anew.
const LOOKS_PER_CALL: u64 = 8;

/// Lets in who shows a ticket of this cluster that is its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doorkeeper(pub(super) ClusterId);

impl Gate for Doorkeeper {
    fn admits(&mut self, node: NodeId, ticket: &Bytes) -> bool {
        *ticket == ticket_of(self.0, node)
    }

    fn boxed(&self) -> Box<dyn Gate> {
        Box::new(*self)
    }
}

/// What a node was admitted with: by whom, and that it is it.
pub(super) fn ticket_of(cluster: ClusterId, node: NodeId) -> Bytes {
    let mut ticket = cluster.0.to_be_bytes().to_vec();
    ticket.extend(node.0.to_be_bytes());
    ticket.into()
}

/// Those that there are, in the places behind those of this cluster.
pub(super) fn strangers(seed: u64, profile: &Profile) -> Vec<Swim> {
    let count = profile.strangers();
    let stranger = |number: usize| {
        let (id, address) = (stranger_id(number), address_of(profile.nodes + number));
        let metadata = Metadata { name: format!("{id:?}"), ..Metadata::default() };
        let (options, seed) = (profile.swim.clone(), seed ^ id.0);
        let swim = Swim::new(id, Epoch::ZERO, address, metadata, options, seed, Now::START);
        swim.behind(Box::new(Doorkeeper(OTHER))).with_ticket(ticket_of(OTHER, id))
    };
    (0..count).map(stranger).collect()
}

fn stranger_id(number: usize) -> NodeId {
    NodeId(FIRST_STRANGER + number as u64)
}

impl Nodes {
    /// A datagram comes to one of them.
    pub(super) fn on_datagram_abroad(
        &mut self,
        from: SocketAddr,
        to: usize,
        bytes: Bytes,
    ) -> Result<(), Broken> {
        let packet = wire::decode_packet(bytes)
            .map_err(|error| Broken::new("wire", format!("gossip is not read: {error:?}")))?;
        self.tell_stranger(to - self.hosts.len(), Input::Packet { from, packet });
        Ok(())
    }

    /// Time passes for them, and both clusters are looked at.
    pub(super) fn look_abroad(&mut self, looks: u64) -> Result<(), Broken> {
        let now = Now(self.time.0);
        let epoch = self.crowd.ledger.epoch();
        for number in 0..self.crowd.strangers.len() {
            self.tell_stranger(number, Input::Epoch(epoch));
            if looks.is_multiple_of(LOOKS_PER_CALL) {
                self.tell_stranger(number, Input::Contacts(Vec::new()));
                let all = (0..self.net.places()).map(|place| self.address(place));
                let all = Input::Contacts(all.collect());
                self.tell_stranger(number, all);
            }
            let swim = &self.crowd.strangers[number];
            if swim.deadline().is_some_and(|(due, _)| due <= now) {
                self.tell_stranger(number, Input::Tick);
            }
            let swim = &self.crowd.strangers[number];
            let is_seen = |id: &NodeId| swim.entry(*id).is_some();
            if let Some(id) = (0..self.hosts.len()).map(id_of).find(is_seen) {
                let facts = format!("{:?} of another cluster sees {id:?}", stranger_id(number));
                return Err(Broken::new("M4", facts));
            }
        }
        Ok(())
    }

    fn tell_stranger(&mut self, number: usize, input: Input) {
        let mut said = Outputs::new();
        self.crowd.strangers[number].handle(Now(self.time.0), input, &mut said);
        let place = self.hosts.len() + number;
        for output in said.drain() {
            // They have no streams; what they think of each other is their own affair.
            if let Output::Send { to, packet } = output {
                self.gossip(place, to, wire::encode_packet(&packet), self.time);
            }
        }
    }

    /// M4: whoever is of another cluster is in no view.
    pub(super) fn check_apart(&self, place: usize) -> Result<(), Broken> {
        let process = self.hosts[place].process.as_ref().expect("it has just worked");
        let is_seen = |id: &NodeId| process.subject.swim().entry(*id).is_some();
        match (0..self.crowd.strangers.len()).map(stranger_id).find(is_seen) {
            None => Ok(()),
            Some(id) => {
                let facts = format!("{:?} sees {id:?} of another cluster", self.hosts[place].id);
                Err(Broken::new("M4", facts))
            }
        }
    }
}
