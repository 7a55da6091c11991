//! Who votes, in every order of elections, partial replication, changes and lost disks.

use crate::replicas::{Kind, Replicas, id};
use muslin_core::raft::{Change, Drive, Input};
use stateright::{Model, Property};
use std::hash::{Hash, Hasher};

/// How much may happen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Who votes at first: all replicas that there are.
    pub(crate) voters: usize,
    /// Elections after the first.
    pub(crate) elections: u8,
    /// Changes that somebody wishes for.
    pub(crate) changes: u8,
    /// Whether two voters may be removed at once.
    pub(crate) pairs: bool,
    /// Disks that are lost.
    pub(crate) losses: u8,
}

/// A group whose members change.
pub(crate) struct Changing(pub(crate) Bounds);

#[derive(Clone, Debug)]
pub(crate) struct State {
    group: Replicas,
    left: Bounds,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Action {
    /// A replica is elected by just these.
    Elect { by: u32, candidate: usize },
    /// A leader brings one other up to date.
    Replicate { leader: usize, to: usize },
    /// A leader appends a change.
    Change { leader: usize, changes: Vec<Change> },
    /// A replica loses its disk.
    Lose(usize),
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for fingerprint in self.group.fingerprints() {
            state.write_u64(fingerprint);
        }
        self.group.broken.hash(state);
        self.group.committed().hash(state);
        (self.left.elections, self.left.changes, self.left.losses).hash(state);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &State) -> bool {
        self.group.fingerprints().eq(other.group.fingerprints())
    }
}

impl Changing {
    fn elections(&self, state: &State, actions: &mut Vec<Action>) {
        let all = state.group.len();
        if state.left.elections == 0 {
            return;
        }
        for candidate in 0..all {
            if state.group.is_leader(candidate) {
                continue;
            }
            let others = (1..1_u32 << all).filter(|by| by & 1 << candidate == 0);
            // More voters than it takes, or fewer, make no other leader.
            let enough = others.filter(|by| by.count_ones() as usize <= all / 2);
            actions.extend(enough.map(|by| Action::Elect { by, candidate }));
        }
    }

    fn changes(&self, state: &State, leader: usize, actions: &mut Vec<Action>) {
        let raft = state.group.raft(leader);
        let voters = &raft.configuration().voters;
        let mut add = |changes| actions.push(Action::Change { leader, changes });
        for rebuilding in raft.rebuilding() {
            if voters.contains(&rebuilding) {
                add(vec![Change::Demote(rebuilding)]);
            }
        }
        if state.left.changes == 0 {
            return;
        }
        for place in 0..state.group.len() {
            match voters.contains(&id(place)) {
                true => add(vec![Change::Remove(id(place))]),
                false => add(vec![Change::AddVoter(id(place))]),
            }
        }
        for (one, other) in [(0, 1), (1, 2), (2, 3)] {
            if self.0.pairs && voters.contains(&id(one)) && voters.contains(&id(other)) {
                add(vec![Change::Remove(id(one)), Change::Remove(id(other))]);
            }
        }
    }
}

impl Model for Changing {
    type State = State;
    type Action = Action;

    /// The first replica leads, and the others have its first entry.
    fn init_states(&self) -> Vec<State> {
        let mut group = Replicas::founded(self.0.voters, self.0.voters, Drive::Ticking);
        let everybody = (1 << self.0.voters) - 1;
        group.step(0, Input::Campaign, everybody, Kind::All);
        assert!(group.is_leader(0) && group.broken.is_none(), "the first replica is elected");
        vec![State { group, left: self.0 }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.group.broken.is_some() {
            return;
        }
        for place in 0..state.group.len() {
            if state.group.is_leader(place) {
                let others = (0..state.group.len()).filter(|to| *to != place);
                actions.extend(others.map(|to| Action::Replicate { leader: place, to }));
                self.changes(state, place, actions);
            }
            if state.left.losses > 0 {
                actions.push(Action::Lose(place));
            }
        }
        self.elections(state, actions);
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        let group = &mut state.group;
        match action {
            Action::Elect { by, candidate } => {
                state.left.elections -= 1;
                group.step(candidate, Input::Campaign, by, Kind::Election);
                if !group.is_leader(candidate) {
                    return None;
                }
            }
            Action::Replicate { leader, to } => {
                group.step(leader, Input::Tick, 1 << to, Kind::Replication);
            }
            Action::Change { leader, changes } => {
                // What a rebuilding replica needs is not counted.
                let is_forced = matches!(changes[..], [Change::Demote(_)]);
                state.left.changes -= u8::from(!is_forced);
                let last = group.raft(leader).last();
                group.step(leader, Input::Change(changes), 0, Kind::Replication);
                if group.raft(leader).last() == last {
                    return None;
                }
            }
            Action::Lose(place) => {
                state.left.losses -= 1;
                group.lose_disk(place);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Changing>> {
        let mut all = vec![
            Property::<Changing>::always("R1 one leader per term", |_, state| {
                !state.group.broken.is_some_and(|broken| broken.starts_with("R1"))
            }),
            Property::<Changing>::always("R3 what is committed stays", |_, state| {
                !state.group.broken.is_some_and(|broken| broken.starts_with("R3"))
            }),
            Property::<Changing>::sometimes("voters change", |_, state| {
                state.group.voters.len() > 1
            }),
        ];
        if self.0.changes > 1 {
            all.push(Property::<Changing>::sometimes("voters change twice", |_, state| {
                state.group.voters.len() > 2
            }));
        }
        if self.0.losses > 0 {
            all.push(Property::<Changing>::sometimes("a lost disk is rebuilt", |_, state| {
                let is_back = |place| {
                    let raft = state.group.raft(place);
                    !raft.is_rebuilding() && raft.commit().0 > 1
                };
                state.left.losses == 0
                    && (0..state.group.len()).all(is_back)
                    && state.group.voters.len() > 1
            }));
        }
        all
    }
}
