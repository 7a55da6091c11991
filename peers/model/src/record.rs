//! The control group's side: its record as the committed decisions, and who decides.
//!
//! The table is the product's own [`State`], the decisions are those of its own [`Placement`]. How
//! the control group agrees on a decision is left out: it is decided, and later it is committed, in
//! any order or never.

use crate::fingerprint::Fingerprint;
use crate::nodes::id;
use bytes::Bytes;
use muslin_core::base::{GroupId, Index, NodeId, Now};
use muslin_core::groups::Claim;
use muslin_core::node::{Placement, Seen, Vitals};
use muslin_core::state::{
    AssignStep, Command, CommandKind, Founding, GroupAssign, GroupCreate, GroupNews, GroupRecord,
    Member, Proposal, State,
};
use prost::Message as _;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// Between two decisions: a node that was there at both is steady, and what was decided before is
/// taken for lost.
const DECISION: Duration = Duration::from_secs(6);

/// What the decider takes to be wrong with one node, rightly or not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Sight {
    AllFit,
    Down(usize),
    Full(usize),
    Rebuilding(usize),
}

/// Why a leader was named.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Why {
    /// Nobody was.
    First,
    /// The one before was not fit.
    Unfit,
    /// The one before had more than its share.
    Balance,
    /// It leads.
    Claim,
    /// The one before cannot.
    Decline,
}

/// A decision on its way through the log.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Decision {
    /// Each with the assignment it was decided upon.
    steps: Vec<(AssignStep, u64, Why)>,
}

/// One committed assignment.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct News {
    pub(crate) record: GroupRecord,
    pub(crate) why: Why,
}

/// The record and its decider.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    state: Arc<State>,
    index: Index,
    pub(crate) founding: Arc<Vec<GroupRecord>>,
    pub(crate) news: Vec<News>,
    pub(crate) deciding: Vec<Decision>,
    decider: Arc<Placement>,
    clock: Now,
    pub(crate) broken: Option<&'static str>,
}

impl Sight {
    fn vitals(self, at: usize) -> Vitals {
        let mut vitals = Vitals { is_heard: Some(true), ..Vitals::default() };
        match self {
            Sight::Down(of) if of == at => vitals.is_heard = Some(false),
            Sight::Full(of) if of == at => vitals.is_full = true,
            Sight::Rebuilding(of) if of == at => vitals.is_rebuilding = true,
            _ => {}
        }
        vitals
    }

    fn of(self) -> Option<NodeId> {
        match self {
            Sight::AllFit => None,
            Sight::Down(of) | Sight::Full(of) | Sight::Rebuilding(of) => Some(id(of)),
        }
    }
}

impl Record {
    /// Groups that nobody leads, each with its replicas.
    pub(crate) fn founded(nodes: usize, groups: &[&[u64]]) -> Record {
        let member =
            |at| Member { id: id(at).0, name: format!("n{}", id(at).0), ..Member::default() };
        let members = (0..nodes).map(member).collect();
        let founding = Founding { members, ..Founding::default() };
        let mut record = Record {
            state: Arc::new(State::founded(&founding)),
            index: Index::ZERO,
            founding: Arc::default(),
            news: Vec::new(),
            deciding: Vec::new(),
            decider: Arc::default(),
            clock: Now::START,
            broken: None,
        };
        for replicas in groups {
            let create =
                GroupCreate { id: 0, kind: "register".into(), replicas: replicas.to_vec() };
            record.apply(CommandKind::GroupCreate(create));
        }
        record.founding = Arc::new(record.state.groups().values().cloned().collect());
        record
    }

    fn apply(&mut self, kind: CommandKind) -> Vec<GroupNews> {
        self.index = self.index.next();
        let sequence = self.index.0;
        let command = Some(Command::of(kind));
        let settled_below = sequence;
        let proposal =
            Proposal { origin: 1, boot: 1, sequence, settled_below, command, asker: None };
        let bytes = Bytes::from(proposal.encode_to_vec());
        Arc::make_mut(&mut self.state).apply(self.index, bytes).groups
    }

    /// Each group as it stands.
    pub(crate) fn groups(&self) -> &BTreeMap<GroupId, GroupRecord> {
        self.state.groups()
    }

    /// The groups as one who has heard so many news knows them.
    pub(crate) fn known(&self, news: usize) -> Vec<GroupRecord> {
        let mut known = (*self.founding).clone();
        for News { record, .. } in &self.news[..news] {
            let slot = known.iter_mut().find(|one| one.id == record.id);
            *slot.expect("groups are there from the start") = record.clone();
        }
        known
    }

    /// Another leader of the control group: it remembers nothing.
    pub(crate) fn depose(&mut self) {
        self.decider = Arc::default();
    }

    /// The planner is asked.
    pub(crate) fn decide(&mut self, nodes: usize, sight: Sight) -> bool {
        self.clock = self.clock + DECISION;
        let seen = seen(&self.state, nodes, sight);
        let steps = Arc::make_mut(&mut self.decider).choose(self.clock, seen);
        self.take(
            steps,
            |record| match record.leader.map(NodeId) {
                None => Why::First,
                Some(leader) if Some(leader) == sight.of() => Why::Unfit,
                Some(_) => Why::Balance,
            },
            nodes,
            sight,
        )
    }

    /// A claim arrives.
    pub(crate) fn hear(&mut self, from: NodeId, claim: Claim, nodes: usize, sight: Sight) -> bool {
        self.clock = self.clock + DECISION;
        let seen = seen(&self.state, nodes, sight);
        let decider = Arc::make_mut(&mut self.decider);
        let steps = decider.on_claims(self.clock, from, &[claim], &seen);
        let why = if claim.declines { Why::Decline } else { Why::Claim };
        let before = self.deciding.len();
        let is_taken = self.take(steps, |_| why, nodes, sight);
        for (_, upon, _) in self.deciding[before..].iter_mut().flat_map(|one| &mut one.steps) {
            *upon = claim.assignment;
        }
        is_taken
    }

    fn take(
        &mut self,
        steps: Vec<AssignStep>,
        why: impl Fn(&GroupRecord) -> Why,
        nodes: usize,
        sight: Sight,
    ) -> bool {
        if steps.is_empty() {
            return false;
        }
        Arc::make_mut(&mut self.decider).begun(self.clock, &steps);
        let mut decided = Vec::new();
        for step in steps {
            let record = &self.state.groups()[&GroupId(step.group)];
            let is_fit = |node: &u64| Some(NodeId(*node)) != sight.of();
            if !is_fit(&step.leader) && record.replicas.iter().any(is_fit) && nodes > 1 {
                self.broken.get_or_insert("a node is named that is not fit, and another is");
            }
            decided.push((step, record.assignment, why(record)));
        }
        self.deciding.push(Decision { steps: decided });
        true
    }

    /// A decision is committed, whatever was committed since it was made.
    pub(crate) fn commit(&mut self, which: usize) {
        let Decision { steps } = self.deciding.remove(which);
        let before = self.state.groups().clone();
        let assign = GroupAssign { steps: steps.iter().map(|(step, _, _)| *step).collect() };
        for news in self.apply(CommandKind::GroupAssign(assign)) {
            let GroupNews::Assigned(record) = news else { continue };
            let id = GroupId(record.id);
            Arc::make_mut(&mut self.decider).arrived(id);
            let step = steps.iter().find(|(step, _, _)| step.group == record.id);
            let (_, upon, why) = *step.expect("only what was decided is assigned");
            if before[&id].assignment != upon {
                self.broken.get_or_insert("a stale decision takes a newer one back");
            }
            self.news.push(News { record, why });
        }
    }
}

fn seen(state: &State, nodes: usize, sight: Sight) -> Seen<'_> {
    let fit: BTreeSet<NodeId> =
        (0..nodes).filter(|at| sight.vitals(*at).is_fit()).map(id).collect();
    Seen { records: state.groups(), changed_at: state.groups_changed_at(), fit }
}

impl Hash for Record {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for News { record, why } in &self.news {
            (record.id, record.leader, record.assignment, why).hash(state);
        }
        for Decision { steps } in &self.deciding {
            for (step, upon, why) in steps {
                (step.group, step.leader, step.assignment, upon, why).hash(state);
            }
        }
        // What is compared with the last look: indexes count decisions that were refused, too.
        self.state.groups_changed_at().hash(state);
        Fingerprint::of(&*self.decider, DefaultHasher::new()).hash(state);
        self.broken.hash(state);
    }
}
