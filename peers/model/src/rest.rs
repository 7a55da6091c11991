//! A good phase: from here on all that is said arrives, and the record is learned at once.
//!
//! Not a search but one run, the same from the same state: it shows that whatever happened, nothing
//! but time and the network is needed for each group to be led by who is named.

use crate::leadership::State;
use crate::nodes::{Kind, Said, id, place};
use crate::record::Sight;
use muslin_core::base::{GroupId, NodeId};
use muslin_core::groups::{Group, Input};
use muslin_core::state::GroupRecord;

/// Looks of every node until all must be as it should be: what was promised to be given up after
/// two seconds, tried three times and begun anew has its time.
const ROUNDS_MAX: usize = 30;

/// Whether a copy of the state comes to rest, all nodes or all but one taking part.
pub(crate) fn is_possible(state: &State, dead: Option<usize>) -> bool {
    let mut state = state.clone();
    state.nodes.search_ends();
    comes_to_rest(&mut state, dead)
}

/// Whether the state comes to rest.
pub(crate) fn comes_to_rest(state: &mut State, dead: Option<usize>) -> bool {
    let living: Vec<usize> = (0..state.knows.len()).filter(|at| Some(*at) != dead).collect();
    let with = living.iter().fold(0, |with, at| with | 1 << at);
    while !state.record.deciding.is_empty() {
        state.record.commit(0);
    }
    state.record.depose();
    for at in &living {
        state.nodes.control_led(*at, true);
        for of in (0..state.knows.len()).filter(|of| of != at) {
            let said = state.nodes.believe(*at, of, Some(of) != dead, with);
            hear(state, said, dead);
        }
    }
    let mut asked = ask(state, &living);
    for _ in 0..ROUNDS_MAX {
        decide(state, dead);
        for at in &living {
            while state.knows[*at] < state.record.news.len() {
                state.learn(*at);
            }
            let said = state.nodes.step(*at, Input::Flush, with, Kind::All);
            asked -= said.answers;
            let said = state.nodes.look(*at, true, with, Kind::All);
            asked -= said.answers;
            hear(state, said, dead);
        }
        if state.broken().is_some() {
            return false;
        }
        if asked == 0 && is_at_rest(state, &living) {
            return true;
        }
    }
    false
}

/// Every living replica of a group with a quorum is asked for the state as it is, or those alone
/// that know no leader. A passive leader that was deposed unheard does not know it before somebody
/// asks.
fn ask(state: &mut State, living: &[usize]) -> usize {
    let records: Vec<GroupRecord> = state.record.groups().values().cloned().collect();
    let mut asked = 0;
    for record in records {
        let replicas = living_replicas(&record, living);
        if replicas.len() * 2 <= record.replicas.len() {
            continue;
        }
        let follows_nobody =
            |at: &usize| state.nodes.group(*at, GroupId(record.id), |group| group.raft().leader());
        let lost: Vec<usize> =
            replicas.iter().copied().filter(|at| follows_nobody(at) == Some(None)).collect();
        for at in if lost.is_empty() { replicas } else { lost } {
            state.nodes.ask(at, GroupId(record.id));
            asked += 1;
        }
    }
    asked
}

fn living_replicas(record: &GroupRecord, living: &[usize]) -> Vec<usize> {
    let places = record.replicas.iter().map(|node| place(NodeId(*node)));
    places.filter(|at| living.contains(at)).collect()
}

fn sight(dead: Option<usize>) -> Sight {
    dead.map_or(Sight::AllFit, Sight::Down)
}

fn decide(state: &mut State, dead: Option<usize>) {
    if state.record.decide(state.knows.len(), sight(dead)) {
        state.record.commit(0);
    }
}

fn hear(state: &mut State, said: Said, dead: Option<usize>) {
    for (from, claim) in said.claims {
        if state.record.hear(from, claim, state.knows.len(), sight(dead)) {
            state.record.commit(0);
        }
    }
}

/// Each group that has a quorum is led by who is named, its living replicas have all that it has
/// and vote, and nobody has anything to do.
fn is_at_rest(state: &State, living: &[usize]) -> bool {
    let is_living = |node: &u64| living.iter().any(|at| id(*at).0 == *node);
    let knows_all = |at: &usize| state.knows[*at] == state.record.news.len();
    let is_calm = |at: &usize| knows_all(at) && !state.nodes.is_busy(*at);
    living.iter().all(is_calm)
        && state.record.groups().iter().all(|(id, record)| {
            let replicas = living_replicas(record, living);
            if replicas.len() * 2 <= record.replicas.len() {
                return true;
            }
            let Some(named) = record.leader.filter(is_living) else { return false };
            let last = state.nodes.group(named as usize - 1, *id, |group| group.raft().last());
            let is_well = |group: &Group| {
                let raft = group.raft();
                raft.leader() == Some(NodeId(named))
                    && Some(raft.last()) == last
                    && raft.commit() == raft.last().index
                    && !raft.is_rebuilding()
                    && record.replicas.iter().all(|id| raft.configuration().is_voter(NodeId(*id)))
            };
            replicas.iter().all(|at| state.nodes.group(*at, *id, is_well) == Some(true))
        })
}
