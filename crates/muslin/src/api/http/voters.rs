//! Why these vote and no others: what the planner makes of it, with its numbers.

use super::explain::{Explanation, tally};
use super::views::Look;
use crate::api::desk::Desk;
use crate::api::status::name_of;
use muslin_core::base::NodeId;
use muslin_core::plan::{VoterPlan, VoterReason, VoterStep};

/// Who votes, what the next step is, or why there is none.
pub(super) fn explain(desk: &Desk, look: &Look) -> Explanation {
    let status = &look.status;
    let name = |id: &NodeId| name_of(status, *id);
    let named = |ids: &mut dyn Iterator<Item = &NodeId>| ids.map(name).collect::<Vec<_>>();
    let configuration = &status.configuration;
    let voters = named(&mut configuration.voters.iter());
    let verb = if voters.len() == 1 { "votes" } else { "vote" };
    let mut explanation = Explanation::new(format!("{} {verb}", voters.join(", ")));
    let votes = tally(look);
    explanation = explanation.because(format!("{votes}, {} are needed", votes.needed()));
    let learners = named(&mut configuration.learners.iter());
    if !learners.is_empty() {
        explanation = explanation.because(format!("{} keep a copy", learners.join(", ")));
    }
    if !configuration.outgoing.is_empty() {
        let outgoing = named(&mut configuration.outgoing.iter()).join(", ");
        explanation = explanation.because(format!("until a change is through, so do {outgoing}"));
    }
    let settings = &look.record.settings;
    explanation = explanation.because(match settings.voters_target {
        0 => "3 are to vote, 5 from 7 control nodes on (setting voters_target)".to_string(),
        set => format!("{set} are to vote (setting voters_target)"),
    });
    match (&status.voter_plan, status.leader) {
        (Some(plan), _) => planned(explanation, plan, &name),
        (None, Some(leader)) if leader != status.id => {
            let leader = name(&leader);
            explanation
                .because(format!("the next step is planned by {leader}, which leads"))
                .advice(format!("ask it: `muslin explain voters --addr` and where {leader} is"))
        }
        (None, Some(_)) => explanation.because("nothing is planned yet: it has just begun to lead"),
        (None, None) => explanation
            .because(format!("{} knows nobody who leads, so nothing is planned", desk.facts.name))
            .advice("`muslin explain leader`"),
    }
}

/// The step or the reason, the arithmetic, and what a person may do.
fn planned(
    explanation: Explanation,
    plan: &VoterPlan,
    name: &dyn Fn(&NodeId) -> String,
) -> Explanation {
    let why = reason(&plan.reason, name);
    let explanation = match &plan.step {
        Some(one) => {
            let (before, after) = (plan.before.spare(), plan.after.spare());
            let [before, after] = [before, after].map(|spare| spare.unwrap_or(0));
            explanation
                .because(format!("next: {}: {why}", step(one, name)))
                .because(format!("{before} more could fail before that, {after} after it"))
        }
        None => explanation.because(format!("next: nothing: {why}")),
    };
    match advice(&plan.reason, name) {
        Some(advice) => explanation.advice(advice),
        None => explanation,
    }
}

fn step(step: &VoterStep, name: &dyn Fn(&NodeId) -> String) -> String {
    match step {
        VoterStep::AddLearner(id) => format!("send {} the log", name(id)),
        VoterStep::Promote(id) => format!("let {} vote", name(id)),
        VoterStep::Demote(id) => format!("take the vote of {}", name(id)),
        VoterStep::Remove(id) => format!("take {} out of the group", name(id)),
    }
}

fn reason(reason: &VoterReason, name: &dyn Fn(&NodeId) -> String) -> String {
    match reason {
        VoterReason::LostData(id) => format!("the disk of {} lost data", name(id)),
        VoterReason::NoMember(id) => format!("{} is no member of the record any more", name(id)),
        VoterReason::Unwanted(id) => {
            format!("{} is drained or demoted, or has not the role control", name(id))
        }
        VoterReason::Overdue(id) => format!("{} is gone for too long", name(id)),
        VoterReason::Seat(id) => format!("there is a seat, and {} has caught up", name(id)),
        VoterReason::Promoted(id) => format!("an operator promoted {}", name(id)),
        VoterReason::Spread(id) => format!("the zone of {} has fewer voters", name(id)),
        VoterReason::Receives(id) => format!("{} is to stand by for a seat", name(id)),
        VoterReason::NoCandidate(id) => format!("{} is not to vote; voters feed it", name(id)),
        VoterReason::SpareTooMany(id) => {
            format!("enough stand by for a seat without {}; voters feed it", name(id))
        }
        VoterReason::CatchesUp(id) => format!("{} has not caught up yet", name(id)),
        VoterReason::KeepsMajority(id) => {
            format!("{} is to go, and no majority would be left", name(id))
        }
        VoterReason::AwaitsSpare(id) => {
            format!("a spare is to take the seat of {} first, and there is none ready", name(id))
        }
        VoterReason::AtTarget
        | VoterReason::Changing
        | VoterReason::NoQuorum
        | VoterReason::Surplus(_)
        | VoterReason::NoSpare => reason.to_string(),
    }
}

fn advice(reason: &VoterReason, name: &dyn Fn(&NodeId) -> String) -> Option<String> {
    match reason {
        VoterReason::NoQuorum => Some(String::from(
            "start the voters that are missing; are they lost for good? `muslin cluster recover`",
        )),
        VoterReason::NoSpare => Some(String::from(
            "join another node with the role control, or give one the role: `muslin node role add`",
        )),
        VoterReason::KeepsMajority(id) | VoterReason::AwaitsSpare(id) => {
            Some(format!("join another node with the role control, or start {}", name(id)))
        }
        _ => None,
    }
}
