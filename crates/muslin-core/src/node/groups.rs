//! The node and its groups: what the record says of them, what they say to other nodes, and, on the
//! leader of the control group, who is to lead which.

use super::reads::{Ask, Record, What};
use super::requests::{CHORES_BUSY, encoded, fail};
use super::{Event, Failure, Node, Output, PeerMessage, Placement, Reply, Seen, Vitals};
use crate::base::{GroupId, Index, NodeId, Now, Outputs, RequestId};
use crate::groups::{self, Claim, Groups};
use crate::raft::Role;
use crate::state::{
    AssignStep, Command, CommandKind, GROUPS_MAX, GroupAssign, GroupNews, GroupRecord, State,
};
use crate::swim::Liveness;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// Assignments in one command: half a mebibyte.
const ASSIGN_MAX: usize = GROUPS_MAX;

/// What the groups say.
impl Node {
    /// The groups this node keeps besides the control group.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    pub(super) fn handle_groups(
        &mut self,
        now: Now,
        input: groups::Input,
        out: &mut Outputs<Output>,
    ) {
        let mut said = Outputs::new();
        // The machine's order of effects is kept as it is.
        crate::base::Machine::handle(&mut self.groups, now, input, &mut said);
        self.carry_groups(now, said, out);
    }

    /// A peer said something, whatever it was.
    pub(super) fn note_heard(&mut self, now: Now, from: NodeId, out: &mut Outputs<Output>) {
        let mut said = Outputs::new();
        self.groups.on_heard(now, from, &mut said);
        if !said.is_empty() {
            self.carry_groups(now, said, out);
        }
    }

    pub(super) fn abandon_groups(&mut self, out: &mut Outputs<Output>) {
        let mut said = Outputs::new();
        self.groups.abandon(&mut said);
        self.carry_groups(Now::START, said, out);
    }

    pub(super) fn carry_groups(
        &mut self,
        now: Now,
        mut said: Outputs<groups::Output>,
        out: &mut Outputs<Output>,
    ) {
        let mut claims = Vec::new();
        for output in said.drain() {
            match output {
                groups::Output::Persist { group, id, write } => {
                    out.push(Output::Persist { group, id, write });
                }
                groups::Output::Save { group, snapshot, keep_from } => {
                    out.push(Output::Save { group, snapshot, keep_from });
                }
                groups::Output::Send { to, after, message } => {
                    let message = match message {
                        groups::Message::Raft { group, message } => {
                            PeerMessage::Raft { group, message }
                        }
                        message => PeerMessage::Groups(message),
                    };
                    out.push(Output::Send { to, after, message });
                }
                groups::Output::Claim(more) => claims.extend(more),
                groups::Output::Reply { id, result } => {
                    out.push(Output::Reply {
                        id,
                        reply: result.map_or_else(Reply::Failed, Reply::Group),
                    });
                }
                groups::Output::Report(event) => {
                    if let groups::Event::PeerAlive { .. } = &event {
                        self.next_chores = now;
                    }
                    out.push(Output::Report(Event::Groups(event)));
                }
            }
        }
        if !claims.is_empty() {
            self.pass_on(now, claims, out);
        }
    }

    /// To the leader of the control group, which may be this node.
    fn pass_on(&mut self, now: Now, claims: Vec<Claim>, out: &mut Outputs<Output>) {
        match self.raft.leader() {
            Some(leader) if leader == self.options.id => self.on_claims(now, leader, &claims),
            Some(leader) => {
                let message = PeerMessage::Groups(groups::Message::Claims(claims));
                out.push(Output::Send { to: leader, after: None, message });
            }
            // It is said again while it is so.
            None => {}
        }
    }

    /// What is asked of a group that is not known here waits until the record as it now is has been
    /// read: this node may have started, or the group been made, a moment ago.
    pub(super) fn ask_group(
        &mut self,
        now: Now,
        id: RequestId,
        (group, ask): (GroupId, groups::Ask),
        out: &mut Outputs<Output>,
    ) {
        let may_learn = self.record != Record::Read || self.raft.leader().is_some();
        let is_known = self.groups.group(group).is_some() || self.kept_elsewhere(group).is_some();
        if is_known || !may_learn {
            return self.put_to_group(now, id, (group, ask), out);
        }
        let what = What::Group { request: id, group, ask };
        if let Err(failure) = self.reads.add(Ask { asked: now, what }) {
            fail(id, failure, out);
        }
        self.next_chores = self.next_chores.min(now + CHORES_BUSY);
    }

    pub(super) fn put_to_group(
        &mut self,
        now: Now,
        id: RequestId,
        (group, ask): (GroupId, groups::Ask),
        out: &mut Outputs<Output>,
    ) {
        let input = match self.kept_elsewhere(group).cloned() {
            Some(record) => groups::Input::AskAfar { id, record, ask },
            None => groups::Input::Ask { id, group, ask },
        };
        self.handle_groups(now, input, out);
    }

    /// A group that the record has on other nodes.
    fn kept_elsewhere(&self, group: GroupId) -> Option<&GroupRecord> {
        let record = self.state.groups().get(&group)?;
        (!record.replicas.contains(&self.options.id.0)).then_some(record)
    }

    /// A node that has started asks once for the record as it now is.
    pub(super) fn read_record(&mut self, now: Now) {
        let read = Ask { asked: now, what: What::Record };
        if self.record == Record::Unread && self.reads.add(read).is_ok() {
            self.record = Record::Asked;
        }
    }

    pub(super) fn group_status(&self, id: RequestId, group: Option<GroupId>) -> Output {
        let statuses = match group {
            None => self.groups.iter().map(groups::Group::status).collect(),
            Some(group) => match self.groups.group(group) {
                Some(found) => alloc::vec![found.status()],
                None => {
                    let failure = match self.record {
                        Record::Read => Failure::NoGroup,
                        Record::Unread | Record::Asked => Failure::Starting,
                    };
                    return Output::Reply { id, reply: Reply::Failed(failure) };
                }
            },
        };
        Output::Reply { id, reply: Reply::GroupStatus(statuses) }
    }
}

/// What the record says.
impl Node {
    pub(super) fn on_group_news(&mut self, now: Now, news: GroupNews, out: &mut Outputs<Output>) {
        let input = match news {
            GroupNews::Created(record) => self.opening(record),
            GroupNews::Assigned(record) => {
                self.placement.arrived(GroupId(record.id));
                groups::Input::Assigned(record)
            }
            GroupNews::Removed(id) => groups::Input::Close(id),
        };
        self.handle_groups(now, input, out);
        self.next_chores = now;
    }

    /// A disk that lost something of the control group may have lost a group as well, and what this
    /// node promised there (R11), unless the group was made later than that: then nothing was
    /// promised. Control's rebuilding may end with the very batch that names the group.
    fn opening(&self, record: GroupRecord) -> groups::Input {
        let rebuilding = Index(record.created_at) <= self.raft.lost_up_to();
        groups::Input::Open { record, rebuilding }
    }

    /// The groups as the record has them, after a start or a snapshot.
    pub(super) fn follow_record(&mut self, now: Now, out: &mut Outputs<Output>) {
        let records = self.state.groups().clone();
        let gone: Vec<GroupId> = (self.groups.iter().map(groups::Group::id))
            .chain(self.groups.asked_afar())
            .filter(|id| !records.contains_key(id))
            .collect();
        for id in gone {
            self.handle_groups(now, groups::Input::Close(id), out);
        }
        for (id, record) in records {
            let input = match self.groups.group(id) {
                None => self.opening(record),
                Some(group) if *group.record() != record => groups::Input::Assigned(record),
                Some(_) => continue,
            };
            self.handle_groups(now, input, out);
        }
    }

    /// Groups fall back to keeping time by themselves when nobody names leaders for long.
    pub(super) fn follow_control(&mut self, now: Now, out: &mut Outputs<Output>) {
        let is_led = self.raft.leader().is_some();
        if is_led != self.is_control_led {
            self.is_control_led = is_led;
            self.handle_groups(now, groups::Input::ControlLed(is_led), out);
        }
    }
}

/// What the leader of the control group decides.
impl Node {
    /// Lets the planner say who is to lead which group.
    pub(super) fn choose_leaders(&mut self, now: Now) {
        if !self.may_assign() {
            self.placement = Placement::default();
            return;
        }
        if self.state.groups().is_empty() {
            return;
        }
        let fit = self.fit_members(now);
        let steps = self.placement.choose(now, seen(&self.state, fit));
        self.assign(now, steps);
    }

    pub(super) fn on_claims(&mut self, now: Now, from: NodeId, claims: &[Claim]) {
        if !self.may_assign() {
            return;
        }
        let fit = self.fit_members(now);
        let steps = self.placement.on_claims(now, from, claims, &seen(&self.state, fit));
        self.assign(now, steps);
    }

    /// Whether it decides at all: what leaders before it decided is in its record.
    pub(super) fn may_assign(&self) -> bool {
        self.raft.role() == Role::Leader && self.raft.has_committed_in_term()
    }

    fn assign(&mut self, now: Now, steps: Vec<AssignStep>) {
        for steps in steps.chunks(ASSIGN_MAX).filter(|steps| !steps.is_empty()) {
            let assign = GroupAssign { steps: steps.to_vec() };
            let command = Command::of(CommandKind::GroupAssign(assign));
            // Of a leader that was deposed meanwhile nothing is carried out: the next one looks for
            // itself.
            let term = self.raft.term();
            let is_taken = self.proposals.add_as_leader(now, term, encoded(&command)).is_ok();
            if !is_taken {
                return self.placement.refused();
            }
            self.placement.begun(now, steps);
        }
    }

    /// Who could lead a group.
    fn fit_members(&self, now: Now) -> BTreeSet<NodeId> {
        let silent = self.raft.silent(now);
        let (mut full, mut rebuilding) = (self.raft.without_room(), self.raft.rebuilding());
        for fed in self.fed_members(now) {
            full.extend(fed.health.is_full.then_some(fed.node));
            rebuilding.extend(fed.health.is_rebuilding.then_some(fed.node));
        }
        let is_fit = |node: &NodeId| {
            let is_gone = (self.swim.entry(*node))
                .is_some_and(|seen| matches!(seen.state, Liveness::Down | Liveness::Left));
            let vitals = Vitals {
                is_here: *node == self.options.id,
                is_full: full.contains(node),
                is_rebuilding: rebuilding.contains(node),
                is_gone,
                is_heard: self.groups.is_alive(*node),
                is_silent: silent.contains(node),
            };
            vitals.is_fit()
        };
        self.state.members().keys().copied().filter(is_fit).collect()
    }
}

fn seen(state: &State, fit: BTreeSet<NodeId>) -> Seen<'_> {
    Seen { records: state.groups(), changed_at: state.groups_changed_at(), fit }
}
