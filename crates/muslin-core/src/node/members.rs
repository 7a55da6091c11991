//! What the view and the record say of the members: routes, this node's own entry, who votes.

use super::requests::encoded;
use super::{CONTROL_ROLE, Event, Node, Output};
use crate::base::{Index, NodeId, Now, Outputs};
use crate::plan::{self, VoterStep, VoterView};
use crate::raft::{self, Change};
use crate::state::{Command, CommandKind, Member, MemberNews, UpdateMember, VoteWish};
use crate::swim;
use alloc::collections::BTreeSet;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

/// How often this node tells the record its addresses while the record says others.
const DESCRIBE_EVERY: Duration = Duration::from_secs(2);

impl Node {
    /// Where the peers are, by what is known at the start.
    pub(super) fn route_members(&mut self, out: &mut Outputs<Output>) {
        let members: Vec<Member> = self.state.members().values().cloned().collect();
        for member in members {
            self.route_member(&member, out);
        }
    }

    /// A committed change of the member list.
    pub(super) fn on_member_news(
        &mut self,
        now: Now,
        index: Index,
        news: MemberNews,
        out: &mut Outputs<Output>,
    ) {
        self.is_scope_stale = true;
        match &news {
            MemberNews::Admitted(member) | MemberNews::Updated(member) => {
                self.route_member(member, out);
            }
            MemberNews::EpochRaised { .. } => self.follow_epoch(now, out),
            MemberNews::Removed(node) => {
                self.leaving.insert(*node);
                self.part_from_removed(now, out);
            }
            _ => {}
        }
        out.push(Output::Report(Event::Members { index, change: news }));
    }

    /// Closes the door on removed nodes, once the group can do without them: as long as a committed
    /// configuration or a later one names a node, its vote may be the one that is missing (R8).
    pub(super) fn part_from_removed(&mut self, now: Now, out: &mut Outputs<Output>) {
        let (last, committed) = (self.raft.configuration(), self.raft.committed_configuration());
        let (last, committed) = (last.members(), committed.members());
        let is_done = |node: &NodeId| !last.contains(node) && !committed.contains(node);
        let done: Vec<NodeId> = self.leaving.iter().copied().filter(is_done).collect();
        for node in done {
            self.leaving.remove(&node);
            out.push(Output::Unroute(node));
            self.handle_swim(now, swim::Input::Forget(node), out);
        }
    }

    /// The view is fresher than the record: an address it holds for an alive peer is kept.
    fn route_member(&mut self, member: &Member, out: &mut Outputs<Output>) {
        let node = NodeId(member.id);
        if node == self.options.id || self.swim.address_of(node).is_some() {
            return;
        }
        if let Some(address) = self.place_of(member) {
            out.push(Output::Route { node, address });
        }
    }

    /// What the view reports: routes follow it.
    pub(super) fn on_view_event(&mut self, event: swim::Event, out: &mut Outputs<Output>) {
        match &event {
            swim::Event::Alive { node, address, .. } | swim::Event::Changed { node, address }
                if *node != self.options.id =>
            {
                out.push(Output::Route { node: *node, address: *address });
            }
            _ => {}
        }
        out.push(Output::Report(Event::Swim(event)));
    }

    /// Tells the record this node's addresses when it says others.
    pub(super) fn describe_self(&mut self, now: Now) {
        let Some(member) = self.state.members().get(&self.options.id) else { return };
        let address = self.options.address.to_string();
        let etcd_address = &self.options.metadata.etcd_address;
        let is_told = member.address == address && member.etcd_address == *etcd_address;
        let is_early = self.described.is_some_and(|at| now < at + DESCRIBE_EVERY);
        if is_told || is_early || self.raft.leader().is_none() {
            return;
        }
        let etcd_address = etcd_address.clone();
        let update = UpdateMember { id: self.options.id.0, address, etcd_address };
        let command = Command::of(CommandKind::UpdateMember(update));
        // Busy is no loss: it is tried again.
        if self.proposals.add(now, None, encoded(&command)).is_ok() {
            self.described = Some(now);
        }
    }

    /// The leader lets the planner choose who votes.
    pub(super) fn choose_voters(&mut self, now: Now, out: &mut Outputs<Output>) {
        if !self.may_assign() {
            return self.retire_steward();
        }
        let overdue = self.overdue_voters(now);
        let plan = plan::voters(&self.voter_view(now, overdue));
        self.voter_plan = Some(plan);
        let Some(step) = plan.step else { return };
        let change = match step {
            VoterStep::AddLearner(node) => Change::AddLearner(node),
            VoterStep::Promote(node) => Change::AddVoter(node),
            VoterStep::Demote(node) => Change::Demote(node),
            VoterStep::Remove(node) => Change::Remove(node),
        };
        self.handle_raft(now, raft::Input::Change(alloc::vec![change]), out);
    }

    fn voter_view(&self, now: Now, overdue: BTreeSet<NodeId>) -> VoterView {
        let members = self.state.members();
        let those = |holds: fn(&Member) -> bool| {
            members.values().filter(|one| holds(one)).map(Member::node).collect()
        };
        let configuration = self.raft.configuration();
        let is_alive = |node: &NodeId| self.is_believed_alive(now, *node);
        VoterView {
            leader: self.options.id,
            voters: configuration.voters.clone(),
            learners: configuration.learners.clone(),
            changing: self.raft.is_changing(),
            members: members.keys().copied().collect(),
            control: those(|one| one.performs(CONTROL_ROLE)),
            unwanted: those(|one| one.is_draining || one.vote_wish() == VoteWish::Never),
            promoted: those(|one| one.vote_wish() == VoteWish::Votes),
            overdue,
            zones: (members.values().filter(|one| !one.zone.is_empty()))
                .map(|one| (one.node(), one.zone.clone()))
                .collect(),
            wanted_voters: self.state.settings().voters_target as usize,
            alive: configuration
                .members()
                .iter()
                .chain(members.keys())
                .copied()
                .filter(is_alive)
                .collect(),
            rebuilding: self.raft.rebuilding().into_iter().collect(),
            matched: self.raft.progress().into_iter().collect(),
            last: self.raft.last().index,
        }
    }
}
