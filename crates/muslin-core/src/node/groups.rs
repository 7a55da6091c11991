//! The node and its groups: what the record says of them, what they say to other nodes, and, on the
//! leader of the control group, who is to lead which.

use super::{Event, Failure, Node, Output, PeerMessage, Reply};
use crate::base::{GroupId, Index, NodeId, Now, Outputs, RequestId};
use crate::groups::{self, Claim, Groups};
use crate::plan::{self, GroupView, LeaderView};
use crate::raft::Role;
use crate::state::{
    AssignStep, Command, CommandKind, GROUPS_MAX, GroupAssign, GroupNews, GroupRecord,
};
use crate::swim::Liveness;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

/// A node that came back must have lived this long before it is given groups to lead for balance: a
/// node that comes and goes would interrupt them each time.
const STEADY_AFTER: Duration = Duration::from_secs(5);

/// A group whose assigned leader could not lead stays where it is for this long.
const REST_AFTER_CLAIM: Duration = Duration::from_secs(60);

/// An assignment that has not come back from the log for this long was lost, and is decided anew.
const ASSIGN_AGAIN: Duration = Duration::from_secs(1);

/// Assignments in one command: half a mebibyte.
const ASSIGN_MAX: usize = GROUPS_MAX;

/// What the leader of the control group remembers of its decisions. Another leader starts afresh.
#[derive(Debug, Default)]
pub(super) struct Placement {
    /// Since when each node lives, as this leader sees it.
    live_since: BTreeMap<NodeId, Now>,
    /// What was looked at when the planner was asked last.
    looked_at: Option<LookedAt>,
    /// Decided, and on its way through the log: by when to expect it, at the latest.
    pending: BTreeMap<GroupId, Now>,
    /// Moved in vain: until when they rest.
    resting: BTreeMap<GroupId, Now>,
}

/// All that a plan rests on.
#[derive(Clone, PartialEq, Eq, Debug)]
struct LookedAt {
    record: Index,
    live: BTreeSet<NodeId>,
    steady: BTreeSet<NodeId>,
    resting: BTreeSet<GroupId>,
}

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
                    out.push(Output::Reply { id, reply: reply_of(result) });
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

    pub(super) fn group_status(&self, id: RequestId, group: Option<GroupId>) -> Output {
        let statuses = match group {
            None => self.groups.iter().map(groups::Group::status).collect(),
            Some(group) => match self.groups.group(group) {
                Some(found) => alloc::vec![found.status()],
                None => {
                    return Output::Reply { id, reply: Reply::Failed(Failure::NoGroup) };
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
                self.placement.pending.remove(&GroupId(record.id));
                groups::Input::Assigned(record)
            }
            GroupNews::Removed(id) => groups::Input::Close(id),
        };
        self.handle_groups(now, input, out);
        self.next_chores = now;
    }

    /// While this node's control replica rebuilds, its disk may have lost the group as well, and
    /// what it promised there (R11). A group of which that is not so votes again all the sooner.
    fn opening(&self, record: GroupRecord) -> groups::Input {
        let rebuilding = self.raft.hard_state().rebuilding;
        groups::Input::Open { record, rebuilding }
    }

    /// The groups as the record has them, after a start or a snapshot.
    pub(super) fn follow_record(&mut self, now: Now, out: &mut Outputs<Output>) {
        let records = self.state.groups().clone();
        let gone: Vec<GroupId> = (self.groups.iter().map(groups::Group::id))
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
        if self.raft.role() != Role::Leader || !self.raft.has_committed_in_term() {
            self.placement = Placement::default();
            return;
        }
        if self.state.groups().is_empty() {
            return;
        }
        let placement = &mut self.placement;
        let before = placement.pending.len() + placement.resting.len();
        placement.pending.retain(|_, until| now < *until);
        placement.resting.retain(|_, until| now < *until);
        if placement.pending.len() + placement.resting.len() < before {
            placement.looked_at = None;
        }
        let looked_at = self.look(now);
        if self.placement.looked_at.as_ref() == Some(&looked_at) {
            return;
        }
        let view = self.leader_view(&looked_at);
        let steps = (plan::leaders(&view).into_iter())
            .filter(|(id, _)| !self.placement.pending.contains_key(id))
            .filter_map(|(id, leader)| self.assign_step(id, leader))
            .collect();
        self.placement.looked_at = Some(looked_at);
        self.assign(now, steps);
    }

    fn assign_step(&self, id: GroupId, leader: NodeId) -> Option<AssignStep> {
        let record = self.state.groups().get(&id)?;
        Some(AssignStep { group: id.0, leader: leader.0, assignment: record.assignment + 1 })
    }

    fn assign(&mut self, now: Now, steps: Vec<AssignStep>) {
        for steps in steps.chunks(ASSIGN_MAX).filter(|steps| !steps.is_empty()) {
            let groups: Vec<GroupId> = steps.iter().map(|step| GroupId(step.group)).collect();
            let assign = GroupAssign { steps: steps.to_vec() };
            let command = Command::of(CommandKind::GroupAssign(assign));
            // Of a leader that was deposed meanwhile nothing is carried out: the next one looks for
            // itself.
            let term = self.raft.term();
            let is_taken = self.proposals.add_as_leader(now, term, command).is_ok();
            if !is_taken {
                self.placement.looked_at = None;
                return;
            }
            self.placement.pending.extend(groups.into_iter().map(|id| (id, now + ASSIGN_AGAIN)));
        }
    }

    /// A replica leads although another is named: the record comes to say so. Or the one that is
    /// named cannot lead: another is named.
    pub(super) fn on_claims(&mut self, now: Now, from: NodeId, claims: &[Claim]) {
        if self.raft.role() != Role::Leader || !self.raft.has_committed_in_term() {
            return;
        }
        let mut steps = Vec::new();
        for claim in claims {
            let Some(record) = self.state.groups().get(&claim.group) else { continue };
            let is_news = record.assignment == claim.assignment
                && claim.declines == (record.leader == Some(from.0))
                && record.replicas.contains(&from.0)
                && !self.placement.pending.contains_key(&claim.group);
            if !is_news {
                continue;
            }
            let leader = match claim.declines {
                true => self.next_in_line(now, record, from),
                false => Some(from),
            };
            if let Some(leader) = leader {
                steps.extend(self.assign_step(claim.group, leader));
                self.placement.resting.insert(claim.group, now + REST_AFTER_CLAIM);
            }
        }
        self.assign(now, steps);
    }

    /// The live replica that stands next to one that cannot lead: each gets its turn.
    fn next_in_line(&self, now: Now, record: &GroupRecord, after: NodeId) -> Option<NodeId> {
        let live = self.fit_members(now);
        let replicas = || record.replicas.iter().map(|id| NodeId(*id));
        let place = replicas().position(|replica| replica == after)?;
        let others = replicas().skip(place + 1).chain(replicas().take(place));
        others.into_iter().find(|replica| live.contains(replica))
    }

    fn look(&mut self, now: Now) -> LookedAt {
        let live = self.fit_members(now);
        let since = &mut self.placement.live_since;
        since.retain(|node, _| live.contains(node));
        for node in &live {
            since.entry(*node).or_insert(now);
        }
        let steady = since.iter().filter(|(_, since)| **since + STEADY_AFTER <= now);
        LookedAt {
            record: self.state.groups_changed_at(),
            steady: steady.map(|(node, _)| *node).collect(),
            resting: self.placement.resting.keys().copied().collect(),
            live,
        }
    }

    fn leader_view(&self, looked_at: &LookedAt) -> LeaderView {
        let group = |record: &GroupRecord| GroupView {
            replicas: record.replicas.iter().map(|id| NodeId(*id)).collect(),
            leader: record.leader.map(NodeId),
        };
        LeaderView {
            groups: self.state.groups().iter().map(|(id, one)| (*id, group(one))).collect(),
            live: looked_at.live.clone(),
            steady: looked_at.steady.clone(),
            resting: looked_at.resting.clone(),
        }
    }

    /// Who could lead a group. They answer: by this node's own groups' word where they share any,
    /// otherwise by what the control group and the view say. And their disks, which all groups of a
    /// node share, have room and everything they promised.
    fn fit_members(&self, now: Now) -> BTreeSet<NodeId> {
        let silent = self.raft.silent(now);
        let (full, rebuilding) = (self.raft.without_room(), self.raft.rebuilding());
        let is_live = |node: &NodeId| {
            if full.contains(node) || rebuilding.contains(node) {
                return false;
            }
            if *node == self.options.id {
                return true;
            }
            let is_gone = (self.swim.entry(*node))
                .is_some_and(|seen| matches!(seen.state, Liveness::Down | Liveness::Left));
            let is_alive = self.groups.is_alive(*node);
            !is_gone && is_alive.unwrap_or_else(|| !silent.contains(node))
        };
        self.state.members().keys().copied().filter(is_live).collect()
    }
}

fn reply_of(result: Result<bytes::Bytes, groups::Refusal>) -> Reply {
    match result {
        Ok(answer) => Reply::Group(answer),
        Err(refusal) => Reply::Failed(match refusal {
            groups::Refusal::TimedOut => Failure::TimedOut,
            groups::Refusal::Busy => Failure::Busy,
            groups::Refusal::TooLarge => Failure::TooLarge,
            groups::Refusal::NoGroup => Failure::NoGroup,
            groups::Refusal::NoSpace => Failure::NoSpace,
            groups::Refusal::Stopping => Failure::TimedOut,
        }),
    }
}
