//! Steps, one by one and all the way.

use super::view::CAUGHT_UP_ENTRIES;
use super::{VoterPlan, VoterReason, VoterStep, VoterView, voters};
use crate::base::{Index, NodeId};
use alloc::collections::BTreeSet;
use proptest::prelude::*;
use std::string::String;
use std::vec;
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
        alive: control.clone(),
        members: control.clone(),
        matched: control.iter().map(|id| (*id, LAST)).collect(),
        control,
        last: LAST,
        ..VoterView::default()
    }
}

fn without(mut view: VoterView, dead: &[u64]) -> VoterView {
    view.alive = view.alive.difference(&ids(dead)).copied().collect();
    view
}

fn check(view: &VoterView, expected: Option<VoterStep>) {
    assert_eq!(voters(view).step, expected, "{view:?}");
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
    check(&view(&[1, 2, 3], &[], &control), Some(VoterStep::AddLearner(NodeId(4))));
    check(&view(&[1, 2, 3], &[4], &control), None);
}

#[test]
fn one_stands_by_and_the_others_are_fed() {
    let control = [1, 2, 3, 4, 5, 6];
    let mut view = view(&[1, 2, 3], &[4, 5, 6], &control);
    assert_eq!(settle(&mut view), [6, 5].map(|id| VoterStep::Remove(NodeId(id))));
    assert_eq!(view.learners, ids(&[4]));
    // While a voter does not answer, nobody is sent away.
    check(&without(self::view(&[1, 2, 3], &[4, 5, 6], &control), &[3]), None);
}

#[test]
fn seven_control_members_have_five_voters() {
    let control = [1, 2, 3, 4, 5, 6, 7];
    check(&view(&[1, 2, 3], &[], &control), Some(VoterStep::AddLearner(NodeId(4))));
    check(&view(&[1, 2, 3, 4], &[5], &control), Some(VoterStep::Promote(NodeId(5))));
    check(&view(&[1, 2, 3, 4, 5], &[6, 7], &control), Some(VoterStep::Remove(NodeId(7))));
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
fn a_member_without_the_control_role_neither_votes_nor_learns() {
    let mut view = view(&[1], &[], &[1]);
    view.members.insert(NodeId(2));
    view.alive.insert(NodeId(2));
    view.matched.insert(NodeId(2), LAST);
    check(&view, None);
    view.learners.insert(NodeId(2));
    check(&view, Some(VoterStep::Remove(NodeId(2))));
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

/// Which node of each zone, by number.
fn zoned(mut view: VoterView, zones: &[(&str, &[u64])]) -> VoterView {
    for (zone, nodes) in zones {
        view.zones.extend(ids(nodes).into_iter().map(|id| (id, String::from(*zone))));
    }
    view
}

/// All steps until there are none.
fn settle(view: &mut VoterView) -> Vec<VoterStep> {
    let mut steps = Vec::new();
    while let Some(step) = voters(view).step {
        carry_out(view, step);
        steps.push(step);
        assert!(steps.len() <= 40, "no rest: {steps:?}");
    }
    steps
}

#[test]
fn a_spare_takes_the_seat_of_one_that_is_down_for_long() {
    let mut view = without(view(&[1, 2, 3], &[4], &[1, 2, 3, 4]), &[3]);
    check(&view, None);
    view.overdue = ids(&[3]);
    assert_eq!(settle(&mut view), [VoterStep::Promote(NodeId(4)), VoterStep::Demote(NodeId(3))]);
    // Without a spare it keeps its seat: it may come back.
    view = without(self::view(&[1, 2, 3], &[], &[1, 2, 3]), &[3]);
    view.overdue = ids(&[3]);
    let plan = voters(&view);
    assert_eq!((plan.step, plan.reason), (None, VoterReason::AwaitsSpare(NodeId(3))));
    assert_eq!(
        std::format!("{plan}"),
        "2 of 3 voters answer, 3 are to vote; a spare is to take the seat of n3 first"
    );
}

#[test]
fn one_that_is_drained_waits_for_a_spare_if_there_is_one() {
    let mut view = view(&[1, 2, 3], &[], &[1, 2, 3, 4]);
    view.unwanted = ids(&[2]);
    assert_eq!(
        settle(&mut view),
        [
            VoterStep::AddLearner(NodeId(4)),
            VoterStep::Promote(NodeId(4)),
            VoterStep::Demote(NodeId(2)),
            VoterStep::Remove(NodeId(2)),
        ]
    );
    let mut alone = self::view(&[1, 2, 3], &[], &[1, 2, 3]);
    alone.unwanted = ids(&[1]);
    let steps = [VoterStep::Demote(NodeId(1)), VoterStep::Remove(NodeId(1))];
    assert_eq!(settle(&mut alone), steps);
}

#[test]
fn what_would_leave_no_majority_is_not_done_and_says_so() {
    let mut view = without(view(&[1, 2, 3], &[], &[1, 2, 3]), &[3]);
    view.unwanted = ids(&[2]);
    let plan = voters(&view);
    assert_eq!((plan.step, plan.reason), (None, VoterReason::KeepsMajority(NodeId(2))));
    assert_eq!(
        std::format!("{plan}"),
        "2 of 3 voters answer, 2 are to vote; removing n2 would leave no majority"
    );
}

#[test]
fn one_that_is_promoted_takes_the_seat_of_another() {
    let mut view = view(&[1, 2, 3], &[4, 5], &[1, 2, 3, 4, 5]);
    view.promoted = ids(&[3, 5]);
    assert_eq!(
        settle(&mut view),
        [VoterStep::Promote(NodeId(5)), VoterStep::Demote(NodeId(2)), VoterStep::Remove(NodeId(4)),]
    );
    view.promoted = ids(&[1, 2, 3, 4, 5]);
    settle(&mut view);
    assert_eq!(view.voters, ids(&[1, 2, 3, 4, 5]));
}

#[test]
fn surplus_voters_go_down_to_the_target() {
    let mut view = view(&[1, 2, 3, 4, 5], &[], &[1, 2, 3, 4, 5, 6]);
    settle(&mut view);
    assert_eq!(view.voters, ids(&[1, 2, 3]));
    view.wanted_voters = 5;
    settle(&mut view);
    assert_eq!(view.voters.len(), 5);
}

#[test]
fn seats_are_spread_over_zones() {
    let control = [1, 2, 3, 4, 5];
    let zones: [(&str, &[u64]); 3] = [("a", &[1, 2, 3]), ("b", &[4]), ("c", &[5])];
    let mut one = zoned(view(&[1], &[2, 3, 4, 5], &control), &zones);
    settle(&mut one);
    assert_eq!(one.voters, ids(&[1, 4, 5]));
    let mut other = zoned(view(&[1, 2, 3], &[4, 5], &control), &zones);
    settle(&mut other);
    assert_eq!(other.voters, ids(&[1, 4, 5]));
    // While one does not answer, nothing is moved for the sake of zones.
    let late = zoned(without(view(&[1, 2, 3], &[4, 5], &control), &[2]), &zones);
    check(&late, None);
}

fn subset(of: u64) -> impl Strategy<Value = BTreeSet<NodeId>> {
    prop::collection::btree_set((1..=of).prop_map(NodeId), 0..=of as usize)
}

prop_compose! {
    fn any_view()(
        voters in subset(9), learners in subset(9), control in subset(9), alive in subset(9),
        rebuilding in subset(3), unwanted in subset(5), promoted in subset(9), overdue in subset(9),
        strangers in subset(2), leader in 1..=9u64, wanted_voters in 0..=5usize,
        zones in prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 9),
        matched in prop::collection::vec(0..=LAST.0, 9),
    ) -> VoterView {
        let learners = learners.difference(&voters).copied().collect();
        let matched = (1..).map(NodeId).zip(matched.into_iter().map(Index)).collect();
        let zones = (1..).map(NodeId).zip(zones.into_iter().map(String::from)).collect();
        let leader = NodeId(leader);
        let mut rebuilding: BTreeSet<NodeId> = rebuilding;
        rebuilding.remove(&leader);
        let members: BTreeSet<NodeId> =
            (1..=9).map(NodeId).filter(|id| !strangers.contains(id)).collect();
        let control = control.intersection(&members).copied().collect();
        VoterView {
            leader, voters, learners, changing: false, members, control, alive, rebuilding,
            unwanted, promoted, overdue, zones, matched, last: LAST, wanted_voters,
        }
    }
}

fn spare(view: &VoterView) -> Option<usize> {
    view.tally(&view.voters).spare()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn a_plan_comes_to_rest_and_never_lowers_what_is_survived(mut view in any_view()) {
        let mut steps = Vec::new();
        loop {
            let plan = voters(&view);
            prop_assert_eq!(voters(&view), plan);
            let VoterPlan { step: Some(step), reason, before, after, .. } = plan else { break };
            let floor = view.floor();
            let spares = view.control.difference(&view.voters).copied();
            let has_spare = spares.filter(|id| view.may_vote(*id)).any(|id| view.is_alive(id));
            let seated = view.voters.iter().filter(|id| view.is_seated(**id)).count();
            let floor = if seated < plan.target { before.spare() } else { Some(floor) };
            carry_out(&mut view, step);
            prop_assert_eq!(after, view.tally(&view.voters), "as foretold: {:?}", step);
            prop_assert!(spare(&view).is_some(), "the majority is lost by {:?}", step);
            let least = match reason {
                VoterReason::LostData(_) => Some(0),
                VoterReason::Unwanted(_) | VoterReason::NoMember(_) if !has_spare => Some(0),
                VoterReason::Surplus(_) | VoterReason::Unwanted(_) | VoterReason::NoMember(_) => {
                    before.spare().min(floor)
                }
                _ => before.spare(),
            };
            prop_assert!(spare(&view) >= least, "{:?} for {:?}", step, reason);
            steps.push(step);
            prop_assert!(steps.len() <= 40, "no rest: {:?}", steps);
        }
    }

    #[test]
    fn with_everyone_alive_the_target_is_reached(mut view in any_view()) {
        view.control.insert(view.leader);
        view.members.insert(view.leader);
        view.voters.insert(view.leader);
        view.unwanted.remove(&view.leader);
        view.learners.remove(&view.leader);
        view.rebuilding.clear();
        view.alive = (1..=9).map(NodeId).collect();
        view.matched.values_mut().for_each(|matched| *matched = LAST);
        view.control = view.control.intersection(&view.members).copied().collect();
        let quorum = spare(&view).is_some();
        settle(&mut view);
        if quorum {
            prop_assert!(view.voters.iter().all(|id| view.may_vote(*id)), "{:?}", view);
            prop_assert_eq!(view.voters.len(), view.target(), "{:?}", view);
        }
    }
}
