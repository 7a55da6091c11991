//! Who votes in the control group.
//!
//! Few vote, whatever the size of the cluster: each voter costs every write a round. Every member
//! receives the log, as a learner at least, since it answers its own clients from its own copy. One
//! with the role `control` votes once it has caught up, so that it never holds up a commit while it
//! is fed (Raft thesis 4.2.1). One change at a time: each is a joint change of its own (R8).
//!
//! # Invariants
//! 1. No step leaves a configuration without a majority of living voters, or is planned without
//!    one: it could not commit.
//! 2. A promotion never lowers how many more failures the group survives.
//! 3. Who is no member of the record any more is not asked to vote for longer than 1 allows.
//! 4. Whose disk lost data (R11) loses its vote before anything else is planned, and counts as
//!    failed until it has rebuilt.
//!
//! # Departures
//! An even number of voters survives no more than the odd one below it, and is passed through (or
//! stayed in, with two members) all the same: a second copy of the log is worth a second voter.
//!
//! # Not here
//! Spreading over zones. A sound voter is never demoted: a surplus one does no harm.

use crate::base::{Index, NodeId, quorum};
use alloc::collections::{BTreeMap, BTreeSet};

/// Voters of a small cluster: one may fail.
pub const SMALL_VOTERS: usize = 3;

/// Voters of a large cluster: two may fail.
pub const LARGE_VOTERS: usize = 5;

/// A cluster with this many control members is large: two are left as spares.
pub const LARGE_CONTROL_MEMBERS: usize = 7;

/// A learner this close to the end of the log has caught up: a busy leader has about this much on
/// the way to a healthy follower at any time, so that waiting for less might never end.
pub const CAUGHT_UP_ENTRIES: u64 = 1_024;

/// What the leader of the control group observes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VoterView {
    /// The leader, who plans. It counts as alive.
    pub leader: NodeId,
    /// Who votes at present.
    pub voters: BTreeSet<NodeId>,
    /// Who only receives the log.
    pub learners: BTreeSet<NodeId>,
    /// A change of the configuration is not yet committed, or two sets of voters must agree.
    pub changing: bool,
    /// The members in the record.
    pub members: BTreeSet<NodeId>,
    /// Those of them that have the role `control`: they may vote.
    pub control: BTreeSet<NodeId>,
    /// Who is alive in the leader's view.
    pub alive: BTreeSet<NodeId>,
    /// Those that rebuild, since their disks lost data: they do not count until their votes are
    /// taken away.
    pub rebuilding: BTreeSet<NodeId>,
    /// How far each one's log is known to match the leader's.
    pub matched: BTreeMap<NodeId, Index>,
    /// The last entry of the leader's log.
    pub last: Index,
}

/// The next change of the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VoterStep {
    /// Send it the log.
    AddLearner(NodeId),
    /// A learner has caught up: let it vote.
    Promote(NodeId),
    /// Its disk lost what it promised: take its vote, so that it can rebuild.
    Demote(NodeId),
    /// No member of the record any more: neither send it the log nor let it vote.
    Remove(NodeId),
}

/// Plans the next step towards [`SMALL_VOTERS`] or [`LARGE_VOTERS`] voters; `None` when there is
/// nothing to do, or nothing that is safe at present.
pub fn voters(observed: &VoterView) -> Option<VoterStep> {
    if observed.changing || !has_living_majority(&observed.voters, observed) {
        return None;
    }
    if let Some(step) = demote(observed) {
        return Some(step);
    }
    // A voter that is down for long will be replaced here, before others are removed or added, once
    // the view says for how long.
    remove(observed).or_else(|| promote(observed)).or_else(|| add_learner(observed))
}

/// That a majority is left without it was seen to: those that rebuild count as failed.
fn demote(observed: &VoterView) -> Option<VoterStep> {
    let mut in_order = observed.voters.intersection(&observed.rebuilding).copied();
    in_order.find(|id| is_safe_without(*id, observed)).map(VoterStep::Demote)
}

fn remove(observed: &VoterView) -> Option<VoterStep> {
    if let Some(learner) = observed.learners.difference(&observed.members).next() {
        return Some(VoterStep::Remove(*learner));
    }
    let removed: BTreeSet<NodeId> =
        observed.voters.difference(&observed.members).copied().collect();
    // The leader goes last: it must lead until the others are gone.
    let others = removed.iter().filter(|id| **id != observed.leader);
    let itself = removed.iter().filter(|id| **id == observed.leader);
    let mut in_order = others.chain(itself).copied();
    in_order.find(|id| is_safe_without(*id, observed)).map(VoterStep::Remove)
}

fn is_safe_without(id: NodeId, observed: &VoterView) -> bool {
    let mut voters = observed.voters.clone();
    voters.remove(&id);
    has_living_majority(&voters, observed)
}

fn promote(observed: &VoterView) -> Option<VoterStep> {
    if voters_of_record(observed) >= target(observed) {
        return None;
    }
    let before = spare(&observed.voters, observed);
    let is_ready = |id: &NodeId| {
        let mut voters = observed.voters.clone();
        voters.insert(*id);
        observed.control.contains(id)
            && is_alive(*id, observed)
            && has_caught_up(*id, observed)
            && spare(&voters, observed) >= before
    };
    observed.learners.iter().copied().find(is_ready).map(VoterStep::Promote)
}

fn add_learner(observed: &VoterView) -> Option<VoterStep> {
    // One at a time: each is sent a snapshot. One that is down is not waited for.
    let is_on_its_way = |id: &NodeId| is_alive(*id, observed) && !has_caught_up(*id, observed);
    if observed.learners.iter().any(is_on_its_way) {
        return None;
    }
    let is_spare = |id: &NodeId| {
        let is_in = observed.voters.contains(id) || observed.learners.contains(id);
        !is_in && is_alive(*id, observed)
    };
    // Those that may vote come first.
    let mut in_order = observed.control.iter().chain(&observed.members).copied();
    in_order.find(is_spare).map(VoterStep::AddLearner)
}

fn target(observed: &VoterView) -> usize {
    let is_large = observed.control.len() >= LARGE_CONTROL_MEMBERS;
    if is_large { LARGE_VOTERS } else { SMALL_VOTERS }
}

fn voters_of_record(observed: &VoterView) -> usize {
    observed.voters.intersection(&observed.control).count()
}

/// Whether it answers and what it answers counts.
fn is_alive(id: NodeId, observed: &VoterView) -> bool {
    id == observed.leader || (observed.alive.contains(&id) && !observed.rebuilding.contains(&id))
}

/// It has answered at all, and is close enough to the end of the log.
fn has_caught_up(id: NodeId, observed: &VoterView) -> bool {
    let matched = observed.matched.get(&id).copied().unwrap_or(Index::ZERO);
    matched > Index::ZERO && matched.0.saturating_add(CAUGHT_UP_ENTRIES) >= observed.last.0
}

fn has_living_majority(voters: &BTreeSet<NodeId>, observed: &VoterView) -> bool {
    quorum::is_majority(voters, |id| is_alive(id, observed))
}

/// How many more of the living voters may fail while a majority is left; `None` when there is none.
fn spare(voters: &BTreeSet<NodeId>, observed: &VoterView) -> Option<usize> {
    let failed = voters.iter().filter(|id| !is_alive(**id, observed)).count();
    quorum::survives(voters.len()).checked_sub(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const LAST: Index = Index(10_000);

    fn ids(numbers: &[u64]) -> BTreeSet<NodeId> {
        numbers.iter().copied().map(NodeId).collect()
    }

    /// Node 1 leads; all control members are alive, and their logs are complete.
    fn view(voters: &[u64], learners: &[u64], control: &[u64]) -> VoterView {
        let control = ids(control);
        VoterView {
            leader: NodeId(1),
            voters: ids(voters),
            learners: ids(learners),
            changing: false,
            alive: control.clone(),
            rebuilding: BTreeSet::new(),
            members: control.clone(),
            matched: control.iter().map(|id| (*id, LAST)).collect(),
            control,
            last: LAST,
        }
    }

    fn without(mut view: VoterView, dead: &[u64]) -> VoterView {
        view.alive = view.alive.difference(&ids(dead)).copied().collect();
        view
    }

    fn check(view: &VoterView, expected: Option<VoterStep>) {
        assert_eq!(voters(view), expected, "{view:?}");
    }

    fn carry_out(view: &mut VoterView, step: VoterStep) {
        match step {
            VoterStep::AddLearner(id) => {
                assert!(!view.voters.contains(&id) && view.learners.insert(id), "{id} is in");
                view.matched.insert(id, LAST);
            }
            VoterStep::Promote(id) => {
                assert!(view.learners.remove(&id) && view.voters.insert(id), "{id} is no learner");
            }
            VoterStep::Demote(id) => {
                assert!(view.voters.remove(&id) && view.learners.insert(id), "{id} votes not");
            }
            VoterStep::Remove(id) => {
                assert!(view.voters.remove(&id) || view.learners.remove(&id), "{id} is not in");
            }
        }
    }

    #[test]
    fn one_voter_grows_to_three_through_two() {
        check(&view(&[1], &[], &[1]), None);
        check(&view(&[1], &[], &[1, 2]), Some(VoterStep::AddLearner(NodeId(2))));
        check(&view(&[1], &[2], &[1, 2]), Some(VoterStep::Promote(NodeId(2))));
        check(&view(&[1, 2], &[], &[1, 2]), None);
        check(&view(&[1, 2], &[], &[1, 2, 3]), Some(VoterStep::AddLearner(NodeId(3))));
        check(&view(&[1, 2], &[3], &[1, 2, 3]), Some(VoterStep::Promote(NodeId(3))));
        let control = [1, 2, 3, 4, 5, 6];
        check(&view(&[1, 2, 3], &[4], &control), Some(VoterStep::AddLearner(NodeId(5))));
        check(&view(&[1, 2, 3], &[4, 5, 6], &control), None);
    }

    #[test]
    fn seven_control_members_have_five_voters() {
        let control = [1, 2, 3, 4, 5, 6, 7];
        check(&view(&[1, 2, 3], &[], &control), Some(VoterStep::AddLearner(NodeId(4))));
        check(&view(&[1, 2, 3, 4], &[5], &control), Some(VoterStep::Promote(NodeId(5))));
        check(&view(&[1, 2, 3, 4, 5], &[6, 7], &control), None);
    }

    #[test]
    fn a_learner_that_lags_or_is_down_does_not_vote() {
        let mut lagging = view(&[1, 2], &[3], &[1, 2, 3]);
        lagging.matched.insert(NodeId(3), Index(LAST.0 - CAUGHT_UP_ENTRIES - 1));
        check(&lagging, None);
        lagging.matched.insert(NodeId(3), Index(LAST.0 - CAUGHT_UP_ENTRIES));
        check(&lagging, Some(VoterStep::Promote(NodeId(3))));
        lagging.last = Index(7);
        lagging.matched.insert(NodeId(3), Index::ZERO);
        check(&lagging, None);
        check(&without(view(&[1, 2], &[3], &[1, 2, 3]), &[3]), None);
    }

    #[test]
    fn a_member_without_the_control_role_learns_and_never_votes() {
        let mut view = view(&[1], &[], &[1]);
        view.members.insert(NodeId(2));
        view.alive.insert(NodeId(2));
        view.matched.insert(NodeId(2), LAST);
        check(&view, Some(VoterStep::AddLearner(NodeId(2))));
        view.learners.insert(NodeId(2));
        check(&view, None);
    }

    #[test]
    fn a_learner_that_is_down_is_passed_over() {
        let view = without(view(&[1, 2], &[3], &[1, 2, 3, 4]), &[3]);
        check(&view, Some(VoterStep::AddLearner(NodeId(4))));
    }

    #[test]
    fn nothing_is_planned_while_a_change_is_under_way_or_without_a_quorum() {
        let changing = VoterView { changing: true, ..view(&[1], &[], &[1, 2]) };
        check(&changing, None);
        check(&without(view(&[1, 2, 3], &[4], &[1, 2, 3, 4]), &[2, 3]), None);
    }

    #[test]
    fn whoever_rebuilds_loses_its_vote_first_and_has_it_back_when_it_has_caught_up() {
        let mut view = view(&[1, 2, 3], &[], &[1, 2, 3, 4]);
        view.rebuilding = ids(&[3]);
        check(&view, Some(VoterStep::Demote(NodeId(3))));
        // Without 2 nobody can take the vote of 3 away.
        check(&without(view.clone(), &[2]), None);
        carry_out(&mut view, VoterStep::Demote(NodeId(3)));
        check(&view, Some(VoterStep::AddLearner(NodeId(4))));
        let mut without_4 = without(view.clone(), &[4]);
        check(&without_4, None);
        without_4.rebuilding.clear();
        without_4.matched.insert(NodeId(3), Index(1));
        check(&without_4, None);
        without_4.matched.insert(NodeId(3), LAST);
        check(&without_4, Some(VoterStep::Promote(NodeId(3))));
    }

    #[test]
    fn a_removed_member_stops_voting_unless_that_leaves_no_majority() {
        check(&view(&[1, 2, 3], &[], &[1, 2]), Some(VoterStep::Remove(NodeId(3))));
        check(&view(&[1, 2], &[3], &[1, 2]), Some(VoterStep::Remove(NodeId(3))));
        // 3 is removed but answers, 2 is down: of voters 1 and 2, one would not be a majority. A
        // spare is brought in first.
        let mut view = without(view(&[1, 2, 3], &[], &[1, 2, 4]), &[2]);
        view.alive.insert(NodeId(3));
        check(&view, Some(VoterStep::AddLearner(NodeId(4))));
        view.alive.remove(&NodeId(4));
        check(&view, None);
    }

    #[test]
    fn a_removed_leader_goes_last() {
        let view = VoterView { leader: NodeId(3), ..view(&[1, 2, 3, 4], &[], &[1, 2]) };
        check(&VoterView { leader: NodeId(3), ..view.clone() }, Some(VoterStep::Remove(NodeId(4))));
        let alone = VoterView { voters: ids(&[1, 2, 3]), ..view };
        check(&alone, Some(VoterStep::Remove(NodeId(3))));
    }

    fn subset(of: u64) -> impl Strategy<Value = BTreeSet<NodeId>> {
        prop::collection::btree_set((1..=of).prop_map(NodeId), 0..=of as usize)
    }

    prop_compose! {
        fn any_view()(
            voters in subset(9), learners in subset(9), control in subset(9), alive in subset(9),
            rebuilding in subset(9), leader in 1..=9u64,
            matched in prop::collection::vec(0..=LAST.0, 9),
        ) -> VoterView {
            let learners = learners.difference(&voters).copied().collect();
            let matched = (1..).map(NodeId).zip(matched.into_iter().map(Index)).collect();
            let leader = NodeId(leader);
            let mut rebuilding: BTreeSet<NodeId> = rebuilding;
            rebuilding.remove(&leader);
            let members = control.clone();
            VoterView {
                leader, voters, learners, changing: false, members, control, alive, rebuilding,
                matched, last: LAST,
            }
        }
    }

    proptest! {
        #[test]
        fn a_plan_comes_to_rest_and_never_loses_the_majority(mut view in any_view()) {
            let mut steps = Vec::new();
            while let Some(step) = voters(&view) {
                prop_assert_eq!(voters(&view), Some(step));
                prop_assert!(has_living_majority(&view.voters, &view));
                let before = spare(&view.voters, &view);
                carry_out(&mut view, step);
                prop_assert!(has_living_majority(&view.voters, &view), "lost by {:?}", step);
                if matches!(step, VoterStep::Promote(_)) {
                    prop_assert!(spare(&view.voters, &view) >= before);
                }
                steps.push(step);
                prop_assert!(steps.len() <= 30, "no rest: {:?}", steps);
            }
        }

        #[test]
        fn with_everyone_alive_the_target_is_reached(mut view in any_view()) {
            view.control.insert(view.leader);
            view.members = view.control.clone();
            view.voters.insert(view.leader);
            view.learners.remove(&view.leader);
            view.rebuilding.clear();
            view.alive = (1..=9).map(NodeId).collect();
            view.matched.values_mut().for_each(|matched| *matched = LAST);
            while let Some(step) = voters(&view) {
                carry_out(&mut view, step);
            }
            prop_assert!(view.voters.is_subset(&view.members));
            prop_assert!(view.voters.len() >= target(&view).min(view.control.len()));
        }
    }
}
