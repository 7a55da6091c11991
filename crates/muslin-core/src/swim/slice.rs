//! Tracking a part of a large cluster, and saying what one sees of it.

use super::machine::Swim;
use super::ring;
use super::{Liveness, Output, PacketKind, Scope, Transition};
use crate::base::{NodeId, Outputs};
use alloc::vec::Vec;
use core::net::SocketAddr;

/// Members of the slice that are not in the view, asked in one rejoin period.
const SOUGHT_PER_PERIOD: usize = 16;

impl Swim {
    /// Whom to track has changed.
    pub(super) fn on_track(&mut self, scope: Scope, out: &mut Outputs<Output>) {
        self.scope = scope;
        if !self.scope.is_slice() {
            self.callers.clear();
        }
        let outside = self.members.iter().map(|(node, _)| node);
        let outside: Vec<NodeId> = outside.filter(|node| !self.scope.covers(*node)).collect();
        for node in outside {
            self.drop_member(node);
        }
        self.seek_tracked(out);
    }

    /// Asks those of the slice that are not seen where the record says they are: they are new, or
    /// have moved.
    pub(super) fn seek_tracked(&mut self, out: &mut Outputs<Output>) {
        let mut sought = self.sought();
        self.is_seeking = !sought.is_empty();
        self.rng.shuffle(&mut sought);
        for address in sought.into_iter().take(SOUGHT_PER_PERIOD) {
            self.ping_contact(address, out);
        }
    }

    /// Asks whoever is at these addresses who it is. Nobody has to answer: who asks, counts.
    pub(super) fn on_seek(&mut self, addresses: Vec<SocketAddr>, out: &mut Outputs<Output>) {
        for address in addresses {
            let number = self.next_number();
            self.send(address, PacketKind::Ping { number, target: None }, &[self.id], out);
        }
    }

    fn sought(&self) -> Vec<SocketAddr> {
        let Scope::Slice(slice) = &self.scope else { return Vec::new() };
        let is_missing = |node: NodeId, place: SocketAddr| match self.members.find(node) {
            None => true,
            // One that is down where it was is asked there anyway.
            Some(member) => member.standing.liveness() == Liveness::Down && member.address != place,
        };
        let missing = slice.iter().filter(|(node, one)| is_missing(**node, one.address));
        missing.map(|(_, one)| one.address).collect()
    }

    /// Takes a member out of the view, with all that hangs on it.
    pub(super) fn drop_member(&mut self, node: NodeId) {
        self.members.remove(node);
        self.rumors.remove(node);
        self.accused.remove(&node);
        if self.probe.as_ref().is_some_and(|probe| probe.target == node) {
            self.probe = None;
        }
    }

    /// Whom this node tracks.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Whether this node is one of the watchers of another: everybody is in a small cluster, and in
    /// a larger one those that come before it on the ring.
    pub fn watches(&self, node: NodeId) -> bool {
        match &self.scope {
            Scope::Slice(slice) => slice.get(&node).is_some_and(|one| one.is_watched),
            Scope::All if self.members.len() <= self.options.slice => true,
            Scope::All => {
                let members = self.members.iter().map(|(node, _)| node).chain([self.id]);
                ring::watchers(node, members, self.options.slice).contains(&self.id)
            }
        }
    }

    /// The last transitions of a member, the latest last, and why each was made.
    pub fn evidence(&self, node: NodeId) -> impl Iterator<Item = &Transition> {
        self.members.find(node).into_iter().flat_map(|member| member.history.iter())
    }

    /// Where others see this node's packets come from, if that is not where it says it is.
    pub fn observed(&self) -> Option<SocketAddr> {
        self.observed
    }

    /// How much this node doubts itself, from 0 to 8.
    pub fn health(&self) -> u32 {
        self.health.score()
    }

    /// How many live members it tracks, itself included.
    pub fn tracked(&self) -> usize {
        self.size()
    }
}
