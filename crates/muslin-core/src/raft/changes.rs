//! Changing who votes: joint consensus (Raft 6, thesis 4.3), and the history that undoes it.

use super::progress::Peer;
use super::replica::Part;
use super::{Change, Configuration, Entry, Event, Output, Payload, Raft, Unbound};
use crate::base::mutant::{self, Mutant};
use crate::base::{Index, NodeId, Outputs};
use alloc::vec;
use alloc::vec::Vec;

/// The configurations in the log, oldest first. The last is in force, committed or not; the others
/// are kept for as long as a truncation may bring them back.
#[derive(Clone, Debug)]
pub(super) struct Configurations {
    history: Vec<(Index, Configuration)>,
}

impl Configurations {
    /// The one a snapshot, or the founding, begins with.
    pub(super) fn starting(index: Index, configuration: Configuration) -> Configurations {
        Configurations { history: vec![(index, configuration)] }
    }

    /// The one in force.
    pub(super) fn in_force(&self) -> &Configuration {
        &self.history.last().expect("the first one stays").1
    }

    /// The first of those that are kept.
    pub(super) fn oldest(&self) -> &Configuration {
        &self.history.first().expect("the first one stays").1
    }

    /// Where the one in force stands.
    pub(super) fn index(&self) -> Index {
        self.history.last().expect("the first one stays").0
    }

    /// The one in force as of an entry that is not older than the last compaction.
    pub(super) fn as_of(&self, index: Index) -> &Configuration {
        let place = self.history.partition_point(|(at, _)| *at <= index);
        &self.history[place.checked_sub(1).expect("the oldest one precedes every question")].1
    }

    /// Takes over the configuration in an entry, if it has one.
    pub(super) fn note(&mut self, entry: &Entry) {
        if let Payload::Configuration(configuration) = &entry.payload {
            assert!(entry.id.index > self.index(), "R8: configurations follow one another");
            self.history.push((entry.id.index, configuration.clone()));
        }
    }

    /// The log was truncated at `from`. Whether another configuration is in force because of it.
    pub(super) fn roll_back(&mut self, from: Index) -> bool {
        let before = self.history.len();
        self.history.retain(|(at, _)| *at < from);
        assert!(!self.history.is_empty(), "R8: a committed configuration is never undone");
        self.history.len() < before
    }

    /// Nobody will ask about anything older than `index`.
    pub(super) fn forget_before(&mut self, index: Index) {
        let place = self.history.partition_point(|(at, _)| *at <= index);
        self.history.drain(..place.saturating_sub(1));
    }
}

impl Raft {
    /// One change at a time, and none before an entry of the present term is committed: otherwise
    /// two leaders could each change a configuration the other never saw (R8; the erratum of 2015).
    pub(super) fn on_change(&mut self, changes: &[Change], out: &mut Outputs<Output>) {
        match self.plan_change(changes) {
            Ok(next) => self.append_own([Payload::Configuration(next)], out),
            Err(why) => out.push(Output::Report(Event::ChangeRefused { why })),
        }
    }

    /// Whether a change of the members is not yet committed, or two sets of voters must agree.
    pub fn is_changing(&self) -> bool {
        let is_under_way =
            self.configuration().is_joint() || self.configurations.index() > self.commit;
        is_under_way && !mutant::is_active(Mutant::TwoChangesAtOnce)
    }

    fn plan_change(&self, changes: &[Change]) -> Result<Configuration, &'static str> {
        let Part::Leader(leader) = &self.part else {
            return Err("not the leader; ask the leader");
        };
        let present = self.configuration();
        if leader.transfer.is_some() || self.stopping {
            return Err("leadership is being handed over; ask the next leader");
        }
        if !self.has_committed_in_term() && !mutant::is_active(Mutant::ChangeBeforeOwnTerm) {
            return Err("the leader has not committed in its term yet; try again");
        }
        if self.is_changing() {
            return Err("another change is under way; try again when it is done");
        }
        let mut next = present.clone();
        for change in changes {
            apply(*change, &mut next)?;
        }
        if next.voters.is_empty() {
            return Err("no voter would be left; add one first");
        }
        if next == *present {
            return Err("nothing would change");
        }
        let is_single =
            mutant::is_active(Mutant::NoJoint) || mutant::is_active(Mutant::ChangeBeforeOwnTerm);
        if next.voters != present.voters && !is_single {
            next.outgoing = present.voters.clone();
        }
        Ok(next)
    }

    /// A committed joint configuration is left at once: the final one is appended, and sent along
    /// with the commit index.
    pub(super) fn leave_joint(&mut self, out: &mut Outputs<Output>) {
        let present = self.configuration();
        if !present.is_joint() || self.configurations.index() > self.commit {
            return;
        }
        let voters = present.voters.clone();
        let learners = present.learners.clone();
        let last = Configuration { voters, learners, ..Configuration::default() };
        self.append_own([Payload::Configuration(last)], out);
    }

    /// A leader that the committed configuration leaves out goes (Raft 6). The peers were told of
    /// the commit; the one that has most need not wait for a time-out.
    pub(super) fn retire_if_removed(&mut self, out: &mut Outputs<Output>) {
        let is_settled = self.configurations.index() <= self.commit;
        if !is_settled || self.configuration().is_voter(self.id) {
            return;
        }
        let term = self.term;
        if let Some(heir) = self.best_heir() {
            out.push(Output::send(heir, Unbound::TimeoutNow { term }));
        }
        self.step_down("votes no more", out);
    }

    /// R10: replication to whoever is added begins under a session of its own; whoever is gone is
    /// forgotten, so that it begins anew if it comes back.
    pub(super) fn meet_members(&mut self) {
        let members = self.configuration().members();
        let last = self.log.last().index;
        let absent: Vec<NodeId> = match &mut self.part {
            Part::Leader(leader) => {
                leader.peers.retain(|id, _| members.contains(id));
                let is_absent = |id: &&NodeId| **id != self.id && !leader.peers.contains_key(*id);
                members.iter().filter(is_absent).copied().collect()
            }
            _ => return,
        };
        for id in absent {
            let peer = Peer::unknown(self.draw_session(), last, self.now);
            if let Part::Leader(leader) = &mut self.part {
                leader.peers.insert(id, peer);
            }
        }
    }

    pub(super) fn report_configuration(&mut self, out: &mut Outputs<Output>) {
        let index = self.configurations.index();
        let configuration = self.configurations.in_force().clone();
        out.push(Output::Report(Event::ConfigurationChanged { index, configuration }));
    }
}

fn apply(change: Change, next: &mut Configuration) -> Result<(), &'static str> {
    match change {
        Change::AddLearner(id) => {
            if next.voters.contains(&id) {
                return Err("it votes already; demote it to make it a learner");
            }
            next.learners.insert(id);
        }
        Change::AddVoter(id) => {
            next.learners.remove(&id);
            next.voters.insert(id);
        }
        Change::Demote(id) => {
            if !next.voters.remove(&id) {
                return Err("it does not vote; nothing to demote");
            }
            next.learners.insert(id);
        }
        Change::Remove(id) => {
            let is_known = next.voters.remove(&id) | next.learners.remove(&id);
            if !is_known {
                return Err("it is not a member; nothing to remove");
            }
        }
    }
    Ok(())
}
