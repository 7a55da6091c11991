//! Who votes in the control group, in every order of deaths, returns, drains and promotions.
//!
//! The planner is the product's; what it promises is written here a second time, over sets of bits.
//! A step of it is carried out whole or, where no majority answers, not at all: how changes are
//! committed is the business of the models of voters. From every state in which a majority answers
//! the plans must come to an end, with as many voters as are to be.

use muslin_core::base::{Index, NodeId};
use muslin_core::plan::{SMALL_VOTERS, VoterReason, VoterStep, VoterView, voters};
use stateright::{Model, Property};

/// The end of the leader's log.
const LAST: Index = Index(10_000);

/// More steps than any way to rest takes: each node comes and goes once, and is learned from.
const STEPS_MAX: usize = 24;

/// How much may be so at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Control nodes, 5 at most: the first half of them in one zone, the others in another.
    pub(crate) nodes: u8,
    /// Those that do not answer.
    pub(crate) dead: u32,
    /// Those that are drained.
    pub(crate) drained: u32,
    /// Those that an operator wants to vote.
    pub(crate) promoted: u32,
}

/// Control nodes of which some vote.
pub(crate) struct Seating(pub(crate) Bounds);

/// Nodes as bits.
type Nodes = u8;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct State {
    alive: Nodes,
    /// Down for longer than the grace time.
    overdue: Nodes,
    drained: Nodes,
    promoted: Nodes,
    voters: Nodes,
    learners: Nodes,
    /// Learners that have what the leader has.
    ready: Nodes,
    leader: Option<u8>,
    broken: Option<&'static str>,
    /// A spare has taken the seat of one that was gone for too long.
    was_replaced: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Action {
    Die(u8),
    /// It is down for longer than the grace time.
    Expire(u8),
    Return(u8),
    Drain(u8),
    Resume(u8),
    Promote(u8),
    /// What an operator wished is taken back.
    Auto(u8),
    Elect(u8),
    /// A learner receives all.
    CatchUp(u8),
    /// The leader takes the next step of its plan.
    Plan,
}

fn bit(node: u8) -> Nodes {
    1 << node
}

fn members_of(nodes: Nodes) -> impl Iterator<Item = u8> {
    (0..8).filter(move |node| nodes & bit(*node) != 0)
}

fn id(node: u8) -> NodeId {
    NodeId(u64::from(node) + 1)
}

fn set<C: FromIterator<NodeId>>(nodes: Nodes) -> C {
    members_of(nodes).map(id).collect()
}

fn node_of(id: NodeId) -> u8 {
    u8::try_from(id.0 - 1).expect("there are few")
}

/// How many more of these may fail; `None` when no majority answers.
fn spare(voters: Nodes, alive: Nodes) -> Option<u32> {
    let needed = voters.count_ones() / 2 + 1;
    (voters & alive).count_ones().checked_sub(needed)
}

impl Bounds {
    fn all(self) -> Nodes {
        bit(self.nodes) - 1
    }

    fn zone(self, node: u8) -> &'static str {
        if node < self.nodes.div_ceil(2) { "a" } else { "b" }
    }

    fn wanted(self, state: &State) -> Nodes {
        self.all() & !state.drained
    }

    fn target(self, state: &State) -> u32 {
        let promoted = (state.promoted & self.wanted(state)).count_ones();
        (SMALL_VOTERS as u32).max(promoted).min(self.wanted(state).count_ones())
    }

    /// Voters whose seat is their own.
    fn seated(self, state: &State) -> Nodes {
        state.voters & self.wanted(state) & !(state.overdue & !state.alive)
    }

    fn view(self, state: &State) -> VoterView {
        let matched = |node| match state.voters & bit(node) != 0 || state.ready & bit(node) != 0 {
            true => LAST,
            false => Index::ZERO,
        };
        VoterView {
            leader: id(state.leader.expect("asked of one")),
            voters: set(state.voters),
            learners: set(state.learners),
            changing: false,
            members: set(self.all()),
            control: set(self.all()),
            unwanted: set(state.drained),
            promoted: set(state.promoted),
            alive: set(state.alive),
            overdue: set(state.overdue),
            zones: members_of(self.all()).map(|it| (id(it), self.zone(it).to_string())).collect(),
            matched: members_of(self.all()).map(|it| (id(it), matched(it))).collect(),
            last: LAST,
            ..VoterView::default()
        }
    }

    /// Carries the next step out; `false` when there is none.
    fn plan(self, state: &mut State) -> bool {
        let plan = voters(&self.view(state));
        let Some(step) = plan.step else { return false };
        let before = state.clone();
        match step {
            VoterStep::AddLearner(id) => state.learners |= bit(node_of(id)),
            VoterStep::Promote(id) => {
                state.learners &= !bit(node_of(id));
                state.voters |= bit(node_of(id));
            }
            VoterStep::Demote(id) => {
                state.voters &= !bit(node_of(id));
                state.learners |= bit(node_of(id));
                state.ready |= bit(node_of(id));
            }
            VoterStep::Remove(id) => {
                state.voters &= !bit(node_of(id));
                state.learners &= !bit(node_of(id));
            }
        }
        state.ready &= state.learners;
        state.was_replaced |= matches!(plan.reason, VoterReason::Overdue(_));
        state.broken = state.broken.or_else(|| self.judge(&before, state, step));
        if state.leader.is_some_and(|leader| state.voters & bit(leader) == 0) {
            state.leader = None;
        }
        true
    }

    /// What the planner has promised and not kept.
    fn judge(self, before: &State, after: &State, step: VoterStep) -> Option<&'static str> {
        let (had, has) = (spare(before.voters, before.alive), spare(after.voters, after.alive));
        if before.voters != after.voters && (had.is_none() || has.is_none()) {
            return Some("a step keeps a majority of living voters");
        }
        match step {
            VoterStep::Promote(id) => {
                let node = bit(node_of(id));
                let is_fit = before.learners & before.ready & before.alive & node != 0
                    && self.wanted(before) & node != 0;
                let is_full = self.seated(after).count_ones() > self.target(before) + 1;
                match () {
                    () if !is_fit => Some("whoever is promoted is wanted, answers and has all"),
                    () if has < had => Some("a promotion lowers nothing"),
                    () if is_full => Some("one more than the target votes, at most"),
                    () => None,
                }
            }
            VoterStep::Demote(id) | VoterStep::Remove(id) if before.voters != after.voters => {
                self.judge_dismissal(before, after, bit(node_of(id)))
            }
            _ => None,
        }
    }

    fn judge_dismissal(self, before: &State, after: &State, node: Nodes) -> Option<&'static str> {
        let (had, has) = (spare(before.voters, before.alive), spare(after.voters, after.alive));
        let target = self.target(before);
        let is_surplus = before.voters.count_ones() > target;
        let floor = target.saturating_sub(target / 2 + 1);
        let is_unwanted = self.wanted(before) & node == 0;
        let spares = self.wanted(before) & before.alive & !before.voters;
        let may_lower = is_surplus && has >= Some(floor) || is_unwanted && spares == 0;
        if has < had && !may_lower {
            return Some("a dismissal lowers nothing without need");
        }
        let is_patient = is_unwanted || before.overdue & node != 0 || is_surplus;
        (!is_patient).then_some("who is down has its grace time")
    }

    /// Whether plans come to an end when nothing else happens, and as they are to.
    fn comes_to_rest(self, state: &State) -> bool {
        let mut state = state.clone();
        for _ in 0..STEPS_MAX {
            let able = members_of(state.voters & state.alive).next();
            if spare(state.voters, state.alive).is_none() {
                return true;
            }
            state.leader = state.leader.or(able);
            state.ready |= state.learners & state.alive;
            if !self.plan(&mut state) {
                return state.broken.is_none() && self.is_at_rest(&state);
            }
        }
        false
    }

    fn is_at_rest(self, state: &State) -> bool {
        let (wanted, target) = (self.wanted(state), self.target(state));
        let seated = self.seated(state);
        let there = (wanted & state.alive | seated).count_ones();
        if seated.count_ones() != target.min(there) {
            return false;
        }
        // Who is not wanted keeps the vote while nobody is there for the seat.
        if there < target || target == 0 || state.voters & !state.alive != 0 {
            return true;
        }
        let in_zone =
            |nodes: Nodes, zone| members_of(nodes).filter(|node| self.zone(*node) == zone).count();
        let free = wanted & state.alive & !state.voters;
        let is_lopsided = |one, other| {
            in_zone(state.voters, one) > in_zone(state.voters, other) + 1
                && in_zone(free, other) > 0
        };
        let is_bound = state.promoted != 0;
        state.voters & !wanted == 0
            && (is_bound || !is_lopsided("a", "b") && !is_lopsided("b", "a"))
    }
}

impl Model for Seating {
    type State = State;
    type Action = Action;

    /// One founder, and all of them.
    fn init_states(&self) -> Vec<State> {
        let founded = |voters| State {
            alive: self.0.all(),
            overdue: 0,
            drained: 0,
            promoted: 0,
            voters,
            learners: 0,
            ready: 0,
            leader: Some(0),
            broken: None,
            was_replaced: false,
        };
        vec![founded(1), founded(self.0.all())]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_some() {
            return;
        }
        let all = self.0.all();
        let can_lead = spare(state.voters, state.alive).is_some();
        if (all & !state.alive).count_ones() < self.0.dead {
            actions.extend(members_of(state.alive).map(Action::Die));
        }
        actions.extend(members_of(all & !state.alive & !state.overdue).map(Action::Expire));
        actions.extend(members_of(all & !state.alive).map(Action::Return));
        if state.drained.count_ones() < self.0.drained {
            actions.extend(members_of(all & !state.drained).map(Action::Drain));
        }
        actions.extend(members_of(state.drained).map(Action::Resume));
        if state.promoted.count_ones() < self.0.promoted {
            actions.extend(members_of(all & !state.promoted).map(Action::Promote));
        }
        actions.extend(members_of(state.promoted).map(Action::Auto));
        actions
            .extend(members_of(state.learners & state.alive & !state.ready).map(Action::CatchUp));
        if can_lead {
            let leader = state.leader.map_or(0, bit);
            actions.extend(members_of(state.voters & state.alive & !leader).map(Action::Elect));
            actions.extend(state.leader.map(|_| Action::Plan));
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Die(node) => {
                state.alive &= !bit(node);
                state.leader = state.leader.filter(|leader| *leader != node);
            }
            Action::Expire(node) => state.overdue |= bit(node),
            Action::Return(node) => {
                state.alive |= bit(node);
                state.overdue &= !bit(node);
            }
            Action::Drain(node) => state.drained |= bit(node),
            Action::Resume(node) => state.drained &= !bit(node),
            Action::Promote(node) => state.promoted |= bit(node),
            Action::Auto(node) => state.promoted &= !bit(node),
            Action::Elect(node) => state.leader = Some(node),
            Action::CatchUp(node) => state.ready |= bit(node),
            Action::Plan => {
                if !self.0.plan(&mut state) {
                    return None;
                }
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Seating>> {
        let mut all = vec![
            Property::<Seating>::always("the planner keeps its promises", |_, state| {
                state.broken.is_none()
            }),
            Property::<Seating>::always("plans come to rest at the target", |model, state| {
                state.broken.is_some() || model.0.comes_to_rest(state)
            }),
        ];
        if self.0.nodes > SMALL_VOTERS as u8 {
            all.push(Property::<Seating>::sometimes("a spare takes a seat", |_, state| {
                state.was_replaced
            }));
        }
        all
    }
}
