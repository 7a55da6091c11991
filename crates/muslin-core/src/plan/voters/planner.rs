//! From a view to the next step.

use super::reason::{VoterPlan, VoterReason, VoterStep};
use super::view::VoterView;
use crate::base::NodeId;
use crate::base::mutant::{self, Mutant};
use alloc::collections::BTreeSet;

/// Learners that stand by for a seat: with one, a lost voter is replaced without a snapshot's wait,
/// and each costs the leader a copy of everything.
const SPARES: usize = 1;

/// Learners in the configuration, at most: beyond it those that do not answer go. They cost next to
/// nothing, and with static membership the leader learns by them alone who does not answer.
const LEARNERS_MAX: usize = 8;

/// Plans the next step towards [`VoterView::target`] voters; none when there is nothing to do, or
/// nothing that is safe at present.
pub fn voters(view: &VoterView) -> VoterPlan {
    let before = view.tally(&view.voters);
    let wait =
        |reason| VoterPlan { step: None, reason, target: view.target(), before, after: before };
    if view.changing {
        return wait(VoterReason::Changing);
    }
    if before.spare().is_none() {
        return wait(VoterReason::NoQuorum);
    }
    let planner = Planner { view };
    let (step, reason) = planner.plan();
    match step {
        Some(step) => {
            VoterPlan { step: Some(step), after: view.tally(&after(view, step)), ..wait(reason) }
        }
        None => {
            let going = match reason {
                VoterReason::KeepsMajority(id) | VoterReason::AwaitsSpare(id) => Some(id),
                _ => None,
            };
            let left = going.map_or_else(|| view.voters.clone(), |id| without(view, id));
            VoterPlan { after: view.tally(&left), ..wait(reason) }
        }
    }
}

/// Who votes once a step is taken.
fn after(view: &VoterView, step: VoterStep) -> BTreeSet<NodeId> {
    match step {
        VoterStep::AddLearner(_) => view.voters.clone(),
        VoterStep::Promote(id) => with(view, id),
        VoterStep::Demote(id) | VoterStep::Remove(id) => without(view, id),
    }
}

fn with(view: &VoterView, id: NodeId) -> BTreeSet<NodeId> {
    view.voters.iter().copied().chain([id]).collect()
}

fn without(view: &VoterView, id: NodeId) -> BTreeSet<NodeId> {
    view.voters.iter().copied().filter(|voter| *voter != id).collect()
}

struct Planner<'a> {
    view: &'a VoterView,
}

type Planned = (Option<VoterStep>, VoterReason);

impl Planner<'_> {
    fn plan(&self) -> Planned {
        let mut held_back = None;
        for planned in [self.demote_damaged(), self.forget_learner(), self.dismiss()] {
            match planned {
                Some((Some(step), reason)) => return (Some(step), reason),
                Some((None, reason)) => held_back = held_back.or(Some(reason)),
                None => {}
            }
        }
        let rest = [Self::seat, Self::thin_out, Self::spread, Self::add_learner, Self::let_go];
        for plan in rest {
            if let Some((step, reason)) = plan(self) {
                return (Some(step), reason);
            }
        }
        (None, held_back.unwrap_or_else(|| self.idle()))
    }

    /// That a majority is left without it was seen to: those that rebuild count as failed.
    fn demote_damaged(&self) -> Option<Planned> {
        let mut in_order = self.view.voters.intersection(&self.view.rebuilding).copied();
        let id = in_order.find(|id| self.spare_without(*id).is_some())?;
        Some((Some(VoterStep::Demote(id)), VoterReason::LostData(id)))
    }

    fn forget_learner(&self) -> Option<Planned> {
        let learner = *self.view.learners.difference(&self.view.members).next()?;
        Some((Some(VoterStep::Remove(learner)), VoterReason::NoMember(learner)))
    }

    /// Takes the vote of one that has to go. The leader goes last: it must lead until the others
    /// are gone.
    fn dismiss(&self) -> Option<Planned> {
        let view = self.view;
        let going: BTreeSet<NodeId> =
            view.voters.iter().copied().filter(|id| !view.is_seated(*id)).collect();
        let others = going.iter().filter(|id| **id != view.leader);
        let itself = going.iter().filter(|id| **id == view.leader);
        let mut held_back = None;
        for id in others.chain(itself).copied() {
            match self.dismissal(id) {
                Ok(step) => return Some((Some(step), self.why_not_seated(id))),
                Err(reason) => held_back = held_back.or(Some((None, reason))),
            }
        }
        held_back
    }

    fn dismissal(&self, id: NodeId) -> Result<VoterStep, VoterReason> {
        let view = self.view;
        let before = view.tally(&view.voters).spare();
        let Some(after) = self.spare_without(id) else {
            return Err(VoterReason::KeepsMajority(id));
        };
        let is_overdue = view.may_vote(id);
        // A spare takes the seat first, if that keeps the number of failures that can be survived.
        // One that is only overdue keeps its seat until then: it may come back.
        let least = if self.lacks_seated() { before } else { before.min(Some(view.floor())) };
        let waits = match is_overdue {
            true => self.lacks_seated(),
            false => Some(after) < least && self.has_spare(),
        };
        if waits && !mutant::is_active(Mutant::DismissedAtOnce) {
            return Err(VoterReason::AwaitsSpare(id));
        }
        let is_member = view.members.contains(&id);
        Ok(if is_member { VoterStep::Demote(id) } else { VoterStep::Remove(id) })
    }

    fn why_not_seated(&self, id: NodeId) -> VoterReason {
        if !self.view.members.contains(&id) {
            VoterReason::NoMember(id)
        } else if self.view.may_vote(id) {
            VoterReason::Overdue(id)
        } else {
            VoterReason::Unwanted(id)
        }
    }

    /// Gives a seat to a learner that has caught up.
    fn seat(&self) -> Option<(VoterStep, VoterReason)> {
        let view = self.view;
        let is_free = self.lacks_seated();
        let is_wanted = |id: &NodeId| is_free || view.promoted.contains(id);
        let candidates = self.candidates().filter(is_wanted);
        let id = candidates.min_by_key(|id| self.preference(*id))?;
        let is_asked = view.promoted.contains(&id);
        let reason = if is_asked { VoterReason::Promoted(id) } else { VoterReason::Seat(id) };
        Some((VoterStep::Promote(id), reason))
    }

    /// Learners that may vote, answer, have caught up, and whose vote would not lower how many may
    /// fail.
    fn candidates(&self) -> impl Iterator<Item = NodeId> + '_ {
        let view = self.view;
        let before = view.tally(&view.voters).spare();
        let is_ready = move |id: &NodeId| {
            let is_harmless = view.tally(&with(view, *id)).spare() >= before
                || mutant::is_active(Mutant::PromotionLowersSurvival);
            let is_there = view.is_alive(*id) && view.has_caught_up(*id)
                || mutant::is_active(Mutant::PromotionLowersSurvival);
            view.may_vote(*id) && is_there && is_harmless
        };
        view.learners.iter().copied().filter(is_ready)
    }

    /// Those that were promoted first, then those in zones with few voters.
    fn preference(&self, id: NodeId) -> (bool, usize, NodeId) {
        (!self.view.promoted.contains(&id), self.view.crowd_of(id), id)
    }

    /// Takes the vote of one too many: of the fullest zone, not of whoever was promoted, and of the
    /// leader only if there is no other.
    fn thin_out(&self) -> Option<(VoterStep, VoterReason)> {
        let view = self.view;
        let seated = view.voters.iter().filter(|id| view.is_seated(**id)).count();
        if seated <= view.target() || mutant::is_active(Mutant::SurplusStays) {
            return None;
        }
        let least = view.tally(&view.voters).spare().unwrap_or(0).min(view.floor());
        let is_safe = |id: &NodeId| {
            view.is_seated(*id)
                && !view.promoted.contains(id)
                && self.spare_without(*id).is_some_and(|spare| spare >= least)
        };
        let in_order = view.voters.iter().copied().filter(is_safe);
        let order =
            |id: &NodeId| (*id != view.leader, !view.is_alive(*id), view.crowd_of(*id), *id);
        let id = in_order.max_by_key(order)?;
        Some((VoterStep::Demote(id), VoterReason::Surplus(id)))
    }

    /// Gives a vote to one whose zone has fewer voters than another by two or more: the other has
    /// one too many then.
    fn spread(&self) -> Option<(VoterStep, VoterReason)> {
        let view = self.view;
        let crowd = self.crowded()?;
        let candidates = self.candidates().filter(|id| view.crowd_of(*id) < crowd);
        let id = candidates.min_by_key(|id| self.preference(*id))?;
        Some((VoterStep::Promote(id), VoterReason::Spread(id)))
    }

    /// While some do not, it is no time for improvements.
    fn do_all_answer(&self) -> bool {
        let view = self.view;
        view.voters.iter().all(|id| view.is_alive(*id) && view.is_seated(*id))
    }

    /// How many voters stand beside the one that could be moved from the fullest zone, if anything
    /// is to be moved.
    fn crowded(&self) -> Option<usize> {
        let view = self.view;
        if !self.do_all_answer() {
            return None;
        }
        let is_movable = |id: &&NodeId| **id != view.leader && !view.promoted.contains(id);
        view.voters.iter().filter(is_movable).map(|id| view.crowd_of(*id)).max()
    }

    /// Lets somebody learn who is to have a seat, or to stand by for one.
    fn add_learner(&self) -> Option<(VoterStep, VoterReason)> {
        let view = self.view;
        // One at a time: each is sent a snapshot. One that is down is not waited for.
        let is_on_its_way = |id: &NodeId| view.is_alive(*id) && !view.has_caught_up(*id);
        if view.learners.iter().any(is_on_its_way) {
            return None;
        }
        let is_outside = |id: &NodeId| {
            let is_in = view.voters.contains(id) || view.learners.contains(id);
            !is_in && view.may_vote(*id) && view.is_alive(*id)
        };
        let outside = view.control.iter().copied().filter(is_outside);
        let id = outside.min_by_key(|id| self.preference(*id))?;
        let is_wanted = self.standing_by().count() < SPARES
            || view.promoted.contains(&id)
            || self.would_spread(id);
        is_wanted.then_some((VoterStep::AddLearner(id), VoterReason::Receives(id)))
    }

    /// Learners that could take a seat.
    fn standing_by(&self) -> impl Iterator<Item = NodeId> + '_ {
        let view = self.view;
        let is_fit = move |id: &NodeId| view.may_vote(*id) && view.is_alive(*id);
        view.learners.iter().copied().filter(is_fit)
    }

    /// Whether its zone has fewer voters than the one that would be thinned out for it, and than
    /// those of all that stand by.
    fn would_spread(&self, id: NodeId) -> bool {
        let crowd = self.view.crowd_of(id);
        self.crowded().is_some_and(|most| crowd < most)
            && self.standing_by().all(|other| crowd < self.view.crowd_of(other))
    }

    /// Takes a learner out of the configuration that is not to vote, or one too many: it is fed as
    /// the other members are. One whose disk lost data stays until it has rebuilt.
    fn let_go(&self) -> Option<(VoterStep, VoterReason)> {
        let view = self.view;
        let mut whole = view.learners.difference(&view.rebuilding).copied();
        if let Some(id) = whole.find(|id| !view.may_vote(*id)) {
            return Some((VoterStep::Remove(id), VoterReason::NoCandidate(id)));
        }
        if view.learners.len() > LEARNERS_MAX {
            let gone = view.learners.iter().copied().find(|id| !view.is_alive(*id));
            if let Some(id) = gone.filter(|id| !view.rebuilding.contains(id)) {
                return Some((VoterStep::Remove(id), VoterReason::SpareTooMany(id)));
            }
        }
        let is_needed = self.lacks_seated() || !self.do_all_answer();
        if is_needed || self.standing_by().count() <= SPARES {
            return None;
        }
        let is_settled = |id: &NodeId| view.has_caught_up(*id) && !view.promoted.contains(id);
        let id = self.standing_by().filter(is_settled).max_by_key(|id| self.preference(*id))?;
        Some((VoterStep::Remove(id), VoterReason::SpareTooMany(id)))
    }

    /// Why nothing is to be done.
    fn idle(&self) -> VoterReason {
        let view = self.view;
        let is_late = |id: &&NodeId| view.is_alive(**id) && !view.has_caught_up(**id);
        if let Some(id) = view.learners.iter().find(is_late) {
            return VoterReason::CatchesUp(*id);
        }
        if self.lacks_seated() { VoterReason::NoSpare } else { VoterReason::AtTarget }
    }

    /// Whether a seat is free: those of voters that have to go are.
    fn lacks_seated(&self) -> bool {
        let seated = self.view.voters.iter().filter(|id| self.view.is_seated(**id)).count();
        seated < self.view.target()
    }

    /// Whether somebody who answers may vote and does not.
    fn has_spare(&self) -> bool {
        let view = self.view;
        let mut others = view.control.difference(&view.voters).copied();
        others.any(|id| view.may_vote(id) && view.is_alive(id))
    }

    fn spare_without(&self, id: NodeId) -> Option<usize> {
        self.view.tally(&without(self.view, id)).spare()
    }
}
