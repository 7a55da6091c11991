//! Who leads passive groups, in every order of decisions, of learning them, and of looking at them.

use crate::fingerprint::Fingerprint;
use crate::nodes::{Class, Kind, Letter, Nodes, Said, id, place};
use crate::record::{Record, Sight, Why};
use crate::rest;
use muslin_core::base::{GroupId, NodeId};
use muslin_core::groups::{Claim, Input};
use stateright::{Model, Property};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Claims and decisions on their way.
const WAITING_MAX: usize = 2;

/// How much may happen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The replicas of each group: node ids from 1.
    pub(crate) groups: &'static [&'static [u64]],
    pub(crate) nodes: usize,
    /// Decisions of the control group after the first.
    pub(crate) decisions: u8,
    /// Times that the control group gets another leader.
    pub(crate) depositions: u8,
    /// Times that a node comes to believe something else of another.
    pub(crate) beliefs: u8,
    /// Commands of clients.
    pub(crate) commands: u8,
    /// Nodes that start again.
    pub(crate) restarts: u8,
    /// Disks that are lost.
    pub(crate) losses: u8,
    /// Messages that come late.
    pub(crate) late: u8,
    /// Nodes that fall back to keeping time.
    pub(crate) fallbacks: u8,
    /// No term is above this one: the first leader's is 1.
    pub(crate) terms: u64,
}

/// Groups whose leaders the control group names.
pub(crate) struct Leading(pub(crate) Bounds);

#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) nodes: Nodes,
    pub(crate) record: Record,
    /// How many of the record's news each node has heard.
    pub(crate) knows: Vec<usize>,
    /// On their way to the leader of the control group.
    claims: Vec<(NodeId, Claim)>,
    late: Option<Letter>,
    left: Bounds,
    panicked: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Action {
    /// The planner is asked, by a leader of the control group that sees the nodes so.
    Decide(Sight),
    /// A decision is committed.
    Commit(usize),
    /// The control group gets another leader.
    Depose,
    /// A claim arrives.
    Hear { claim: usize, sight: Sight },
    /// A node hears of the next assignment.
    Learn(usize),
    /// A node looks at what is under way.
    Look { at: usize, is_patient: bool, with: u32, kind: Kind, late: Option<Class> },
    /// The late message arrives.
    Arrive { with: u32 },
    /// A node comes to believe that another lives, or not.
    Believe { at: usize, of: usize, is_alive: bool, with: u32 },
    /// A client asks a leader.
    Propose { at: usize, group: u64, with: u32 },
    /// A node starts again, and knows the record as of its founding, or as before.
    Restart { at: usize, is_record_old: bool },
    /// A node starts again with an empty disk.
    Lose(usize),
    /// A node hears nothing of the control group for long, or hears of it again.
    Control { at: usize, is_led: bool },
}

impl State {
    pub(crate) fn broken(&self) -> Option<&'static str> {
        let panicked = self.panicked.then_some("R0: an assertion of the core");
        self.nodes.broken.or(self.record.broken).or(panicked)
    }

    fn take(&mut self, said: Said, late: Option<Class>) -> bool {
        for claim in said.claims {
            if !self.claims.contains(&claim) && self.claims.len() < WAITING_MAX {
                self.claims.push(claim);
            }
        }
        let Some(class) = late else { return true };
        self.left.late -= 1;
        self.late = said.lost.into_iter().find(|letter| class.has(letter));
        self.late.is_some()
    }

    /// The next of the record's news reaches a node.
    pub(crate) fn learn(&mut self, at: usize) {
        let record = self.record.news[self.knows[at]].record.clone();
        self.knows[at] += 1;
        self.nodes.step(at, Input::Assigned(record), 0, Kind::All);
    }

    /// Some group is led by another than a node has heard the record name.
    fn is_disputed(&self, at: usize) -> bool {
        self.nodes.groups(at).iter().any(|group| {
            let leads = group.raft().leader() == Some(id(at));
            leads != (group.record().leader == Some(id(at).0))
        })
    }

    fn is_led_as_named(&self, group: GroupId) -> bool {
        let leader = self.record.groups()[&group].leader.map(NodeId);
        leader.is_some_and(|leader| self.nodes.is_leader(place(leader), group))
    }

    fn has_moved(&self, why: Why) -> bool {
        self.record.news.iter().any(|news| {
            news.why == why
                && self.record.groups()[&GroupId(news.record.id)] == news.record
                && self.is_led_as_named(GroupId(news.record.id))
        })
    }

    /// Some group has been with another, and is led again by who led it first.
    fn has_come_back(&self) -> bool {
        self.record.groups().iter().any(|(id, record)| {
            let mut named = self.record.news.iter().filter(|news| news.record.id == id.0);
            let first = named.next().and_then(|news| news.record.leader);
            first == record.leader
                && named.any(|news| news.record.leader != first)
                && self.is_led_as_named(*id)
        })
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for fingerprint in self.nodes.fingerprints() {
            state.write_u64(fingerprint);
        }
        self.record.hash(state);
        (&self.knows, self.nodes.committed(), self.broken()).hash(state);
        for (from, claim) in &self.claims {
            (from, claim.group, claim.assignment, claim.declines).hash(state);
        }
        Fingerprint::of(&self.late, DefaultHasher::new()).hash(state);
        let left = &self.left;
        (left.decisions, left.depositions, left.beliefs, left.commands).hash(state);
        (left.restarts, left.losses, left.late, left.fallbacks).hash(state);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &State) -> bool {
        self.nodes.fingerprints().eq(other.nodes.fingerprints()) && self.knows == other.knows
    }
}

impl Leading {
    fn sights(&self) -> impl Iterator<Item = Sight> {
        let of_one = |at| [Sight::Down(at), Sight::Full(at), Sight::Rebuilding(at)];
        std::iter::once(Sight::AllFit).chain((0..self.0.nodes).flat_map(of_one))
    }

    /// Which others take part: of the two or one that there are, any.
    fn company(&self, state: &State, at: usize) -> impl Iterator<Item = u32> {
        let others = state.nodes.others(at);
        (0..=others).filter(move |with| with & !others == 0)
    }

    fn control(&self, state: &State, actions: &mut Vec<Action>) {
        if state.left.decisions > 0 && state.record.deciding.len() < WAITING_MAX {
            actions.extend(self.sights().map(Action::Decide));
            for claim in 0..state.claims.len() {
                let sights = self.sights();
                actions.extend(sights.map(|sight| Action::Hear { claim, sight }));
            }
        }
        actions.extend((0..state.record.deciding.len()).map(Action::Commit));
        if state.left.depositions > 0 {
            actions.push(Action::Depose);
        }
    }

    fn looks(&self, state: &State, at: usize, actions: &mut Vec<Action>) {
        if !state.nodes.is_busy(at) {
            return;
        }
        let hurries = state.is_disputed(at) && !state.nodes.is_ticking(at);
        for is_patient in [true, false] {
            if !is_patient && !hurries {
                continue;
            }
            for with in self.company(state, at) {
                let mut look = |kind, late| {
                    actions.push(Action::Look { at, is_patient, with, kind, late });
                };
                look(Kind::All, None);
                if with != 0 {
                    look(Kind::Votes, None);
                }
                if state.left.late > 0 && state.late.is_none() {
                    Class::ALL.into_iter().for_each(|class| look(Kind::All, Some(class)));
                }
            }
        }
    }

    fn faults(&self, state: &State, at: usize, actions: &mut Vec<Action>) {
        let left = &state.left;
        if left.restarts > 0 {
            actions.push(Action::Restart { at, is_record_old: false });
            actions.push(Action::Restart { at, is_record_old: true });
        }
        if left.losses > 0 {
            actions.push(Action::Lose(at));
        }
        let is_led = state.nodes.is_ticking(at);
        if left.fallbacks > 0 || is_led {
            actions.push(Action::Control { at, is_led });
        }
        for of in (0..self.0.nodes).filter(|of| *of != at) {
            let is_alive = state.nodes.groups(at).is_alive(id(of)) == Some(false);
            if left.beliefs > 0 || is_alive {
                for with in self.company(state, at) {
                    actions.push(Action::Believe { at, of, is_alive, with });
                }
            }
        }
    }

    fn proposals(&self, state: &State, at: usize, actions: &mut Vec<Action>) {
        if state.left.commands == 0 {
            return;
        }
        for group in 1..=self.0.groups.len() as u64 {
            if state.nodes.is_leader(at, GroupId(group)) {
                let with = self.company(state, at);
                actions.extend(with.map(|with| Action::Propose { at, group, with }));
            }
        }
    }

    fn carry_out(&self, state: &mut State, action: &Action) -> bool {
        let nodes = self.0.nodes;
        match action.clone() {
            Action::Decide(sight) => {
                state.left.decisions -= 1;
                state.record.decide(nodes, sight);
            }
            Action::Hear { claim, sight } => {
                let (from, claim) = state.claims.remove(claim);
                let is_taken = state.record.hear(from, claim, nodes, sight);
                state.left.decisions -= u8::from(is_taken);
            }
            Action::Commit(which) => state.record.commit(which),
            Action::Depose => {
                state.left.depositions -= 1;
                state.record.depose();
            }
            Action::Learn(at) => state.learn(at),
            Action::Look { at, is_patient, with, kind, late } => {
                let said = state.nodes.look(at, is_patient, with, kind);
                return state.take(said, late);
            }
            Action::Arrive { with } => {
                let letter = state.late.take().expect("it is there");
                let said = state.nodes.deliver(letter, with);
                return state.take(said, None);
            }
            Action::Believe { at, of, is_alive, with } => {
                state.left.beliefs -= u8::from(!is_alive);
                let said = state.nodes.believe(at, of, is_alive, with);
                return state.take(said, None);
            }
            Action::Propose { at, group, with } => {
                state.left.commands -= 1;
                let said = state.nodes.propose(at, GroupId(group), with);
                return state.take(said, None);
            }
            Action::Restart { at, is_record_old } => {
                state.left.restarts -= 1;
                state.restart(at, is_record_old, false);
            }
            Action::Lose(at) => {
                state.left.losses -= 1;
                state.restart(at, true, true);
            }
            Action::Control { at, is_led } => {
                state.left.fallbacks -= u8::from(!is_led);
                state.nodes.control_led(at, is_led);
            }
        }
        true
    }
}

impl State {
    fn restart(&mut self, at: usize, is_record_old: bool, is_disk_lost: bool) {
        if is_record_old {
            self.knows[at] = 0;
        }
        let records = self.record.known(self.knows[at]);
        self.nodes.restart(at, &records, is_disk_lost);
    }

    /// All nodes know the record, and each group is led by who is named.
    fn founded(bounds: Bounds) -> State {
        let record = Record::founded(bounds.nodes, bounds.groups);
        let mut nodes = Nodes::started(bounds.nodes);
        for at in 0..bounds.nodes {
            nodes.open(at, &record.founding, false);
        }
        let knows = vec![0; bounds.nodes];
        let (claims, late) = (Vec::new(), None);
        State { nodes, record, knows, claims, late, left: bounds, panicked: false }
    }
}

impl Model for Leading {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut state = State::founded(self.0);
        // Where a planted bug prevents it, the first state shows it.
        rest::comes_to_rest(&mut state, None);
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken().is_some() {
            return;
        }
        self.control(state, actions);
        if let Some(letter) = &state.late {
            let with = self.company(state, letter.to);
            actions.extend(with.map(|with| Action::Arrive { with }));
        }
        for at in 0..self.0.nodes {
            if state.knows[at] < state.record.news.len() {
                actions.push(Action::Learn(at));
            }
            self.looks(state, at, actions);
            self.proposals(state, at, actions);
            self.faults(state, at, actions);
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        let carried_out = catch_unwind(AssertUnwindSafe(|| self.carry_out(&mut state, &action)));
        match carried_out {
            Ok(true) => Some(state),
            Ok(false) => None,
            Err(_) => Some(State { panicked: true, ..before.clone() }),
        }
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.nodes.highest_term().0 <= self.0.terms
    }

    fn properties(&self) -> Vec<Property<Leading>> {
        let mut all = vec![
            Property::<Leading>::always("nothing is broken", |_, state| state.broken().is_none()),
            Property::<Leading>::always("all comes to rest", |_, state| {
                state.broken().is_some() || rest::is_possible(state, None)
            }),
            Property::<Leading>::sometimes(
                "leadership moves when a leader is not fit",
                |_, state| state.has_moved(Why::Unfit),
            ),
        ];
        if self.0.decisions > 1 {
            all.push(Property::<Leading>::sometimes("leadership comes back", |_, state| {
                state.has_come_back()
            }));
        }
        if self.0.losses == 0 {
            all.push(Property::<Leading>::always(
                "others lead when one falls silent",
                |_, state| {
                    state.broken().is_some()
                        || (0..state.knows.len()).all(|dead| rest::is_possible(state, Some(dead)))
                },
            ));
        }
        if self.0.groups.len() > 1 {
            all.push(Property::<Leading>::sometimes("balance moves leadership", |_, state| {
                state.has_moved(Why::Balance)
            }));
        }
        all
    }
}
