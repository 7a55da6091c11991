//! The others as one node sees them, and the order in which it probes them.

use super::evidence::History;
use super::{Accuser, Digest, Liveness, Metadata, ViewEntry};
use crate::base::{Incarnation, NodeId, Now, Prng};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use bytes::Bytes;
use core::net::SocketAddr;
use core::time::Duration;

/// Most members kept in a view; rumors about more are dropped. Beyond some thousands a node should
/// track a slice of the cluster only.
pub(super) const MEMBERS_MAX: usize = 20_000;

/// A view up to this size is sampled exactly; a larger one by trial.
const SAMPLE_EXACT_MAX: usize = 64;

/// Opinion with what belongs to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    Alive,
    Suspect(Suspicion),
    Down { forget_at: Now },
    Left { forget_at: Now },
}

/// An accusation that runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Suspicion {
    /// When this node heard of it.
    pub(super) started: Now,
    /// When it ends in `Down`.
    pub(super) expires: Now,
    /// Who probed in vain, the first first.
    pub(super) accusers: Vec<Accuser>,
}

impl Standing {
    pub(super) fn liveness(&self) -> Liveness {
        match self {
            Standing::Alive => Liveness::Alive,
            Standing::Suspect(_) => Liveness::Suspect,
            Standing::Down { .. } => Liveness::Down,
            Standing::Left { .. } => Liveness::Left,
        }
    }

    /// Whether it still takes part: probed, gossiped with, counted in the cluster's size.
    pub(super) fn is_live(&self) -> bool {
        matches!(self, Standing::Alive | Standing::Suspect(_))
    }

    /// How long one that is gone is still to be remembered.
    pub(super) fn remembered(&self, now: Now) -> Option<Duration> {
        match self {
            Standing::Alive | Standing::Suspect(_) => None,
            Standing::Down { forget_at } | Standing::Left { forget_at } => {
                Some(forget_at.since(now))
            }
        }
    }

    fn timer(&self) -> Option<Now> {
        match self {
            Standing::Alive => None,
            Standing::Suspect(suspicion) => Some(suspicion.expires),
            Standing::Down { forget_at } | Standing::Left { forget_at } => Some(*forget_at),
        }
    }
}

/// One other node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Member {
    pub(super) standing: Standing,
    pub(super) incarnation: Incarnation,
    /// The life in which it gave the address and metadata below. A suspicion of a later life may
    /// arrive before that life's own words.
    pub(super) described: Incarnation,
    pub(super) address: SocketAddr,
    pub(super) metadata: Metadata,
    /// What let it in: the gate is asked again only about another.
    pub(super) ticket: Bytes,
    pub(super) since: Now,
    pub(super) heard: Now,
    pub(super) by: NodeId,
    pub(super) history: History,
    /// The last answer to a probe came by a detour.
    pub(super) is_detoured: bool,
}

impl Member {
    /// Gives a suspect more time.
    pub(super) fn postpone(&mut self, by: Duration) {
        if let Standing::Suspect(suspicion) = &mut self.standing {
            suspicion.expires = suspicion.expires + by;
        }
    }

    pub(super) fn view(&self, node: NodeId) -> ViewEntry {
        ViewEntry {
            node,
            state: self.standing.liveness(),
            incarnation: self.incarnation,
            address: self.address,
            metadata: self.metadata.clone(),
            since: self.since,
            heard: self.heard,
            by: self.by,
        }
    }
}

/// All others. Keeps, of each standing that ends by itself, the time in one index; and the round in
/// which live ones are probed.
#[derive(Debug, Default)]
pub(super) struct Members {
    all: BTreeMap<NodeId, Member>,
    timers: BTreeSet<(Now, NodeId)>,
    live: usize,
    down: usize,
    /// Of the live ones.
    digest: Digest,
    /// The present round (SWIM 4.3). May name some that are not live any more.
    round: Vec<NodeId>,
    /// The first of the round not yet probed.
    next: usize,
}

impl Members {
    pub(super) fn find(&self, node: NodeId) -> Option<&Member> {
        self.all.get(&node)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, &Member)> {
        self.all.iter().map(|(node, member)| (*node, member))
    }

    /// From `start` on and around, each once.
    pub(super) fn iter_from(&self, start: NodeId) -> impl Iterator<Item = (NodeId, &Member)> {
        let rest = self.all.range(start..);
        rest.chain(self.all.range(..start)).map(|(node, member)| (*node, member))
    }

    /// Ids from `start` on, up to the last.
    pub(super) fn iter_up_from(&self, start: NodeId) -> impl Iterator<Item = NodeId> {
        self.all.range(start..).map(|(node, _)| *node)
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// How many are alive or suspect.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// How many are down.
    pub(super) fn down(&self) -> usize {
        self.down
    }

    /// What is compared with others.
    pub(super) fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Takes a node into the view.
    pub(super) fn insert(&mut self, node: NodeId, member: Member, rng: &mut Prng) {
        assert!(self.all.len() < MEMBERS_MAX, "the caller checks that there is room");
        assert!(!self.all.contains_key(&node), "a node is taken in once");
        self.count_in(node, member.incarnation, &member.standing);
        if member.standing.is_live() {
            self.enter_round(node, rng);
        }
        self.all.insert(node, member);
    }

    /// Forgets a node.
    pub(super) fn remove(&mut self, node: NodeId) {
        if let Some(member) = self.all.remove(&node) {
            self.count_out(node, member.incarnation, &member.standing);
        }
    }

    /// Changes a node that is known.
    pub(super) fn change(&mut self, node: NodeId, rng: &mut Prng, edit: impl FnOnce(&mut Member)) {
        let member = self.all.get_mut(&node).expect("the caller found the member before");
        let (before, incarnation) = (member.standing.clone(), member.incarnation);
        edit(member);
        assert!(member.incarnation >= incarnation, "M2: an incarnation never goes back");
        assert!(member.described <= member.incarnation, "a description is of a life that was");
        let (after, life) = (member.standing.clone(), member.incarnation);
        if (&before, incarnation) == (&after, life) {
            return;
        }
        self.count_out(node, incarnation, &before);
        self.count_in(node, life, &after);
        if after.is_live() && !before.is_live() {
            self.enter_round(node, rng);
        }
    }

    /// The standing that ends first, and when.
    pub(super) fn next_timer(&self) -> Option<(Now, NodeId)> {
        self.timers.first().copied()
    }

    /// Who is suspected.
    pub(super) fn suspects(&self) -> Vec<NodeId> {
        let suspects = self.all.iter().filter(|(_, m)| matches!(m.standing, Standing::Suspect(_)));
        suspects.map(|(node, _)| *node).collect()
    }

    /// Whom to probe next: each live member once a round, each round in another order (SWIM 4.3),
    /// so that the wait for a probe is bounded.
    pub(super) fn next_of_round(&mut self, rng: &mut Prng) -> Option<NodeId> {
        if self.live == 0 {
            return None;
        }
        loop {
            while self.next < self.round.len() {
                let node = self.round[self.next];
                self.next += 1;
                if self.all.get(&node).is_some_and(|member| member.standing.is_live()) {
                    return Some(node);
                }
            }
            let live = self.all.iter().filter(|(_, member)| member.standing.is_live());
            self.round = live.map(|(node, _)| *node).collect();
            assert!(self.round.len() == self.live, "the count of live members is kept exactly");
            rng.shuffle(&mut self.round);
            self.next = 0;
        }
    }

    /// Probes this one next.
    pub(super) fn probe_next(&mut self, node: NodeId) {
        // A round stays at most twice the view: one place by itself, one by being suspected.
        if self.round.len() < 2 * self.all.len() {
            self.round.insert(self.next, node);
        }
    }

    /// Up to `count` different live members for whom `fits` holds, at random.
    pub(super) fn sample(
        &self,
        count: usize,
        rng: &mut Prng,
        fits: impl Fn(NodeId, &Member) -> bool,
    ) -> Vec<NodeId> {
        let is_fit = |node: NodeId| {
            let member = self.all.get(&node);
            member.is_some_and(|member| member.standing.is_live() && fits(node, member))
        };
        if self.all.len() <= SAMPLE_EXACT_MAX {
            let mut fit: Vec<NodeId> = self.all.keys().copied().filter(|n| is_fit(*n)).collect();
            rng.shuffle(&mut fit);
            fit.truncate(count);
            return fit;
        }
        let mut chosen = Vec::new();
        // Nearly all of a round are live and fit; a few trials more than wanted find enough.
        for _ in 0..4 * count {
            let Some(node) = rng.pick(&self.round).copied() else { break };
            if chosen.len() < count && !chosen.contains(&node) && is_fit(node) {
                chosen.push(node);
            }
        }
        chosen
    }

    /// A place in what is left of the round, at random, so that newcomers are probed soon (SWIM
    /// 4.3).
    fn enter_round(&mut self, node: NodeId, rng: &mut Prng) {
        let left = self.round.len() - self.next;
        let place = self.next + rng.below(left as u64 + 1) as usize;
        if !self.round[self.next..].contains(&node) {
            self.round.insert(place, node);
        }
    }

    fn count_in(&mut self, node: NodeId, life: Incarnation, standing: &Standing) {
        self.live += usize::from(standing.is_live());
        if standing.is_live() {
            self.digest.toggle(node, life);
        }
        self.down += usize::from(matches!(standing, Standing::Down { .. }));
        if let Some(at) = standing.timer() {
            self.timers.insert((at, node));
        }
    }

    fn count_out(&mut self, node: NodeId, life: Incarnation, standing: &Standing) {
        self.live -= usize::from(standing.is_live());
        if standing.is_live() {
            self.digest.toggle(node, life);
        }
        self.down -= usize::from(matches!(standing, Standing::Down { .. }));
        if let Some(at) = standing.timer() {
            let was_there = self.timers.remove(&(at, node));
            assert!(was_there, "each standing that ends has its timer");
        }
    }
}
