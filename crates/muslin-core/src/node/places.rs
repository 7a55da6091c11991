//! Static membership: the record says who the members are, a list from outside says where each of
//! them is, and nobody gossips.
//!
//! For clusters whose members are known beforehand, or by another system. What gossip would tell is
//! not there: no failure detector speaks, so a member is taken to be alive unless this node leads
//! and does not hear it ([`Raft::silent`](crate::raft::Raft::silent)). Groups hear each other
//! themselves, and elections rest on streams alone, so nothing that is promised changes.

use super::{Membership, Node, Output};
use crate::base::{NodeId, Now, Outputs};
use crate::state::{Life, Member, MembershipChange};
use crate::swim::{self, Liveness, ViewEntry};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;

impl Node {
    pub(super) fn is_static(&self) -> bool {
        self.options.membership == Membership::Static
    }

    /// Another list: routes follow it. Without static membership it means nothing.
    pub(super) fn on_places(
        &mut self,
        places: BTreeMap<String, SocketAddr>,
        out: &mut Outputs<Output>,
    ) {
        if self.is_static() && self.places != places {
            self.places = places;
            self.route_members(out);
        }
    }

    /// Where a member is, by the list, or else by the record: who was admitted and is not listed is
    /// where it said when it joined.
    pub(super) fn place_of(&self, member: &Member) -> Option<SocketAddr> {
        let listed = self.places.get(&member.name).copied();
        listed.or_else(|| member.address.parse().ok())
    }

    /// All that is known of the nodes.
    pub(super) fn view(&self, now: Now) -> Vec<ViewEntry> {
        let view = self.swim.view(now);
        match view.iter().find(|entry| entry.node == self.options.id) {
            Some(own) if self.is_static() => self.static_view(own),
            _ => view,
        }
    }

    fn static_view(&self, own: &ViewEntry) -> Vec<ViewEntry> {
        let others = self.state.members().values();
        let others = others.filter(|member| NodeId(member.id) != self.options.id);
        let entry = |member: &Member| {
            let node = NodeId(member.id);
            Some(ViewEntry {
                node,
                state: Liveness::Alive,
                address: self.place_of(member)?,
                metadata: swim::Metadata {
                    name: member.name.clone(),
                    roles: member.roles.clone(),
                    etcd_address: member.etcd_address.clone(),
                    // The rest a node says of itself by gossip.
                    ..swim::Metadata::default()
                },
                heard: self.heard.get(&node).copied().unwrap_or(Now::START),
                ..own.clone()
            })
        };
        let mut view: Vec<ViewEntry> = others.filter_map(entry).collect();
        view.push(own.clone());
        view.sort_by_key(|entry| entry.node);
        view
    }

    /// Whether a member is there to be given a part.
    pub(super) fn is_believed_alive(&self, now: Now, node: NodeId) -> bool {
        if self.is_static() {
            return !self.raft.silent(now).contains(&node);
        }
        self.is_seen_alive(node)
    }

    /// The record says that this node is down or has left, from a time with gossip: nobody watches
    /// it, so that it says itself that it is there.
    pub(super) fn come_back(&mut self, now: Now, ended: u64) {
        if self.raft.leader().is_some() && self.proposals.is_empty() {
            let life = Life { id: self.options.id.0, incarnation: ended.saturating_add(1) };
            self.propose_change(now, MembershipChange::Up(life));
        }
    }
}
