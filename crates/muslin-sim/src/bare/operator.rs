//! The operator of a bare group: changes who votes, whatever state the others are in.

use super::seated::{Arrival, Bare};
use crate::host::{Standing, id_of};
use crate::replica::{Input, Replica};
use crate::world::World;
use muslin_core::raft::{Change, Configuration};
use std::time::Duration;

/// Voters that are left at least.
const VOTERS_LEFT: usize = 2;

/// Between two changes, at most.
const REST_MOST: Duration = Duration::from_secs(2);

impl<R: Replica> World<Bare<R>> {
    pub(super) fn operate_turn(&mut self, client: usize) {
        let rest = self.draws.client.duration(Duration::from_millis(20), REST_MOST);
        self.plan_turn(client, rest);
        if self.healed.is_some() {
            return;
        }
        let Some(leader) = self.leader() else { return };
        let Some(configuration) = self.configurations_of(leader).map(|[it, _]| it) else { return };
        let first = self.draw_change(&configuration);
        let mut changes: Vec<Change> = first.into_iter().collect();
        if self.draws.client.chance(300_000) {
            changes.extend(self.draw_change(&configuration));
        }
        if changes.len() == 2 && subject(changes[0]) == subject(changes[1]) {
            changes.pop();
        }
        let removed = |change: &&Change| matches!(change, Change::Remove(_) | Change::Demote(_));
        let gone = changes.iter().filter(removed).count();
        // A voter more where disks may lose what they promised: two cannot spare one.
        let is_damaged = self.profile.faults.rot || self.profile.faults.wipe;
        let left = VOTERS_LEFT + usize::from(is_damaged);
        let is_too_few = gone > 0 && configuration.voters.len() < left + gone;
        if changes.is_empty() || is_too_few {
            return;
        }
        self.arrive(leader, Arrival::Replica(Input::Change(changes)));
        self.rouse_soon(leader);
    }

    /// Takes the vote of replicas away whose disks have lost what they promised, and gives it back
    /// to whoever merely receives, where nobody else changes who votes.
    pub(super) fn keep_voters(&mut self) {
        let Some(leader) = self.leader() else { return };
        let Some(process) = &self.hosts[leader].process else { return };
        let replica = &process.subject.replica;
        let ([in_force, committed], rebuilding) = (replica.configurations(), replica.rebuilding());
        if in_force != committed || in_force.is_joint() {
            return;
        }
        let lost = rebuilding.iter().copied().find(|id| in_force.is_voter(*id));
        let is_fixed = self.profile.founders == self.profile.nodes;
        let ready = |id: &muslin_core::base::NodeId| !rebuilding.contains(id);
        let learner = in_force.learners.iter().copied().find(ready).filter(|_| is_fixed);
        let change = match (lost, learner) {
            (Some(id), _) => Change::Demote(id),
            (None, Some(id)) => Change::AddVoter(id),
            (None, None) => return,
        };
        self.arrive(leader, Arrival::Replica(Input::Change(vec![change])));
        self.rouse_soon(leader);
    }

    fn draw_change(&mut self, configuration: &Configuration) -> Option<Change> {
        let place = self.draws.client.below(self.hosts.len() as u64) as usize;
        let id = id_of(place);
        let draw = self.draws.client.below(3);
        Some(match (configuration.is_voter(id), configuration.learners.contains(&id)) {
            (true, _) if draw == 0 => Change::Demote(id),
            (true, _) => Change::Remove(id),
            (false, true) if draw == 0 => Change::Remove(id),
            (false, true) => Change::AddVoter(id),
            (false, false) if draw == 0 => Change::AddVoter(id),
            (false, false) => Change::AddLearner(id),
        })
    }

    fn configurations_of(&self, place: usize) -> Option<[Configuration; 2]> {
        use crate::subject::Subject as _;
        self.hosts[place].process.as_ref().map(|process| process.subject.configurations())
    }

    /// Machines run while the group counts on them. Never switched off before: that would be
    /// taking a machine away from a quorum that needs it.
    pub(super) fn switch_off_removed(&mut self) {
        if self.profile.founders == self.profile.nodes {
            return;
        }
        let leader = self.leader().and_then(|place| self.configurations_of(place));
        // While nobody leads, whoever is counted on by anybody is needed.
        let opinions: Vec<[Configuration; 2]> = match &leader {
            Some(configurations) => vec![configurations.clone()],
            None => (0..self.hosts.len()).filter_map(|it| self.configurations_of(it)).collect(),
        };
        let is_joint =
            leader.is_none_or(|configurations| configurations.iter().any(Configuration::is_joint));
        self.crowd.members.resize(self.hosts.len(), false);
        for place in 0..self.hosts.len() {
            let counts = |it: &Configuration| it.members().contains(&id_of(place));
            let is_member = opinions.iter().flatten().any(counts);
            self.crowd.members[place] = is_member;
            let standing = self.hosts[place].standing;
            if is_member && standing == Standing::Outside {
                self.hosts[place].standing = Standing::Member;
                self.start(place);
            } else if !is_member && !is_joint && standing == Standing::Member {
                self.hosts[place].standing = Standing::Outside;
                self.crowd.retire_probe(place);
                self.crash(place);
            }
        }
    }
}

fn subject(change: Change) -> muslin_core::base::NodeId {
    match change {
        Change::AddLearner(id) | Change::AddVoter(id) | Change::Demote(id) | Change::Remove(id) => {
            id
        }
    }
}
