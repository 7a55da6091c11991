//! What must hold of nodes once all is well.

use super::Nodes;
use super::tending::may_vote;
use crate::host::id_of;
use crate::subject::Unsettled;
use muslin_core::base::NodeId;
use muslin_core::node::Node;
use muslin_core::plan::SMALL_VOTERS;
use muslin_core::raft::{Raft, Role};
use muslin_core::swim::Liveness;
use std::collections::BTreeSet;

impl Nodes {
    pub(super) fn open_ends(&mut self) -> Option<Unsettled> {
        let rest = |what: String| Some(Unsettled { what, is_answer: false });
        if !self.is_operated() {
            return rest("a node is not yet admitted, or removed and counted".into());
        }
        if let Some(place) = self.unanswered_probe() {
            let what = format!("{:?} has not answered a write and a read", self.hosts[place].id);
            return Some(Unsettled { what, is_answer: true });
        }
        if !self.is_quiet() || self.crowd.ledger.model().leases().next().is_some() {
            let leases: Vec<u64> = self.crowd.ledger.model().leases().collect();
            return rest(format!("leases live that nobody keeps: {leases:x?}"));
        }
        if let Some(id) = self.gone_by_record() {
            return rest(format!("{id:?} is there, and gone by the record"));
        }
        if let Some(place) = self.find_laggard() {
            return rest(format!("{:?} has not caught up", self.hosts[place].id));
        }
        if let Some((group, place)) = self.lagging_group() {
            return rest(format!("{:?} has not caught up with {group}", self.hosts[place].id));
        }
        if !self.do_vote_as_founded(1) {
            return rest("a replica of a group has no vote".into());
        }
        if !self.is_configured() {
            let voters = self.leader().and_then(|place| self.hosts[place].process.as_ref());
            let voters = voters.map(|process| process.subject.raft().configuration().clone());
            return rest(format!("too few or others vote, or nobody leads: {voters:?}"));
        }
        if !self.are_watchers_complete() {
            return rest("a watch was not told everything".into());
        }
        let (place, of) = self.find_pessimist()?;
        rest(format!("{:?} does not see {:?} alive", self.hosts[place].id, self.hosts[of].id))
    }

    /// A member that the record does not have as living.
    fn gone_by_record(&self) -> Option<NodeId> {
        let is_gone =
            |id: &NodeId| self.crowd.ledger.member(*id).is_some_and(|member| !member.is_living());
        self.members().into_iter().map(id_of).find(is_gone)
    }

    /// A node that has not applied everything, or applied it to another effect.
    fn find_laggard(&self) -> Option<usize> {
        let last = self.committed();
        self.members().into_iter().find(|place| {
            let Some(process) = &self.hosts[*place].process else { return true };
            let raft = process.subject.raft();
            raft.applied() != last
                || raft.last().index != last
                || process.subject.state().digest() != self.crowd.ledger.digest()
        })
    }

    /// A node in whose view another one is not alive, though all of them are.
    fn find_pessimist(&self) -> Option<(usize, usize)> {
        let members = self.members();
        let pairs = members.iter().flat_map(|place| members.iter().map(move |of| (*place, *of)));
        pairs.into_iter().find(|(place, of)| {
            let Some(process) = &self.hosts[*place].process else { return true };
            let entry = process.subject.swim().entry(self.hosts[*of].id);
            place != of && entry.is_none_or(|seen| seen.state != Liveness::Alive)
        })
    }

    /// Whether one node leads and enough vote. The others may learn from the leader or be fed.
    fn is_configured(&self) -> bool {
        let members: BTreeSet<NodeId> = self.members().into_iter().map(id_of).collect();
        let may_vote = |id: &&NodeId| self.crowd.ledger.member(**id).is_some_and(may_vote);
        let control = members.iter().filter(may_vote).count();
        let rafts: Vec<&Raft> = (self.hosts.iter())
            .filter_map(|host| host.process.as_ref().map(|process| process.subject.raft()))
            .collect();
        let leaders = rafts.iter().filter(|raft| raft.role() == Role::Leader).count();
        let is_plain = |raft: &&Raft| {
            let configuration = raft.configuration();
            !configuration.is_joint()
                && configuration.voters.len() >= control.min(SMALL_VOTERS)
                && configuration.members().is_subset(&members)
                && self.are_seats_right(configuration)
        };
        leaders == 1 && rafts.iter().all(is_plain)
    }

    /// How every node stands.
    pub(super) fn standings(&self) -> String {
        let nodes: Vec<String> = (self.hosts.iter())
            .map(|host| match &host.process {
                None => format!("{:?} down", host.id),
                Some(process) => {
                    let raft = process.subject.raft();
                    format!(
                        "{:?} {:?} term {} leader {:?} last {} commit {} applied {} digest {:016x}",
                        host.id,
                        raft.role(),
                        raft.term(),
                        raft.leader(),
                        raft.last(),
                        raft.commit(),
                        raft.applied(),
                        process.subject.state().digest()
                    ) + &standings_of_groups(&process.subject)
                }
            })
            .collect();
        let (last, digest) = (self.committed(), self.crowd.ledger.digest());
        format!("committed {last} digest {digest:016x}; {}", nodes.join("; "))
    }
}

fn standings_of_groups(node: &Node) -> String {
    let groups = node.groups().iter().map(|group| {
        let raft = group.raft();
        format!(
            " [{} {:?} term {} leader {:?} named {:?} last {} commit {} rebuilding {}]",
            group.id(),
            raft.role(),
            raft.term(),
            raft.leader(),
            group.record().leader,
            raft.last(),
            raft.commit(),
            raft.is_rebuilding()
        )
    });
    groups.collect()
}
