//! Whom of a large cluster this node's failure detector tracks. The record knows everybody, and is
//! asked about those the detector does not see.

use super::{Node, Output};
use crate::base::{NodeId, Now, Outputs};
use crate::state::MemberState;
use crate::swim::{self, Liveness, ring};
use alloc::collections::BTreeSet;

/// Members tracked because this node requires what they perform: a few of each role are enough to
/// find one that lives.
const NEEDED_MAX: usize = 32;

impl Node {
    /// Tells the detector whom to track when the record says so, or when other nodes vote.
    pub(super) fn follow_scope(&mut self, now: Now, out: &mut Outputs<Output>) {
        let members = self.state.members();
        let is_sliced = *self.swim.scope() != swim::Scope::All;
        if members.len() <= self.options.swim.slice_above && !is_sliced {
            return;
        }
        let keep = self.needed();
        if !self.is_scope_stale && self.kept == keep {
            return;
        }
        let ids: BTreeSet<NodeId> = members.keys().copied().collect();
        let locate = |node: NodeId| members.get(&node)?.address.parse().ok();
        let scope = ring::scope(self.options.id, &self.options.swim, &ids, &keep, locate);
        (self.kept, self.is_scope_stale) = (keep, false);
        if scope != *self.swim.scope() {
            self.handle_swim(now, swim::Input::Track(scope), out);
        }
    }

    /// Those this node talks to, wherever they stand on the ring: voters, and some that perform
    /// what it requires.
    fn needed(&self) -> BTreeSet<NodeId> {
        let configuration = self.raft.configuration();
        // Learners are found by the record: with each worker one, nobody's view would be small.
        let mut needed: BTreeSet<NodeId> =
            configuration.voters.iter().chain(&configuration.outgoing).copied().collect();
        let members = self.state.members();
        if let Some(own) = members.get(&self.options.id) {
            let is_required = |role: &alloc::string::String| own.requires.contains(role);
            let required = members.values().filter(|one| one.roles.iter().any(is_required));
            needed.extend(required.map(|one| NodeId(one.id)).take(NEEDED_MAX));
        }
        needed
    }

    /// Whether a node lives, as far as this one knows: by its own eyes, and by the record about
    /// those it does not track.
    pub(super) fn is_seen_alive(&self, node: NodeId) -> bool {
        if let Some(seen) = self.swim.entry(node) {
            return seen.state == Liveness::Alive;
        }
        let is_tracked = match self.swim.scope() {
            swim::Scope::All => true,
            swim::Scope::Slice(slice) => slice.contains_key(&node),
        };
        let member = self.state.members().get(&node);
        !is_tracked && member.is_some_and(|member| member.state() == MemberState::Admitted)
    }
}
