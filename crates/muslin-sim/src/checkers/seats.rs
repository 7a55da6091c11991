//! What a leader of the control group does about votes: whoever is given one answers and has what
//! the others have, and that lowers nothing; whoever loses one because it is gone was gone for as
//! long as the settings say.

use super::Broken;
use crate::time::Time;
use muslin_core::base::{Index, NodeId, Term};
use muslin_core::plan::{CAUGHT_UP_ENTRIES, VoterPlan, VoterReason, VoterStep};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Clocks are fast by a tenth at most.
const FAST_TENTHS: u32 = 11;

/// What was seen of votes.
#[derive(Default)]
pub(crate) struct Seats {
    /// By leader: its term, and who votes by the end of its log.
    seen: BTreeMap<NodeId, (Term, BTreeSet<NodeId>)>,
    /// Members that do not take part, by the record, and since when.
    gone: BTreeMap<NodeId, Time>,
}

/// A leader after a batch.
pub(crate) struct Led<'a> {
    pub(crate) node: NodeId,
    pub(crate) term: Term,
    /// Who votes by the end of its log.
    pub(crate) voters: &'a BTreeSet<NodeId>,
    /// The last entry of its log.
    pub(crate) last: Index,
    /// What it planned last.
    pub(crate) plan: Option<&'a VoterPlan>,
}

impl Seats {
    /// A member does not take part from here on, by the record, or takes part again.
    pub(crate) fn on_standing(&mut self, node: NodeId, at: Time, is_living: bool) {
        if is_living {
            self.gone.remove(&node);
        } else {
            self.gone.entry(node).or_insert(at);
        }
    }

    /// Who votes by a leader's log, if it is not what was seen of that leader last: before it.
    pub(crate) fn changed(&mut self, led: &Led<'_>) -> Option<BTreeSet<NodeId>> {
        let seen = self.seen.get_mut(&led.node);
        if let Some((term, voters)) = seen
            && *term == led.term
        {
            let is_same = voters == led.voters;
            return (!is_same).then(|| std::mem::replace(voters, led.voters.clone()));
        }
        self.seen.insert(led.node, (led.term, led.voters.clone()));
        None
    }

    /// Whoever is given a vote is there: `on_disk` is the last entry that it has written.
    pub(crate) fn check_given(
        &self,
        led: &Led<'_>,
        id: NodeId,
        on_disk: Index,
    ) -> Result<(), Broken> {
        let is_lowering = led.plan.is_some_and(|plan| {
            matches!(plan.step, Some(VoterStep::Promote(_)))
                && plan.after.spare() < plan.before.spare()
        });
        // The change itself, and what is proposed in the same batch, is on its way.
        let is_behind = on_disk == Index::ZERO || on_disk.0 + 2 * CAUGHT_UP_ENTRIES < led.last.0;
        if !is_lowering && !is_behind {
            return Ok(());
        }
        let facts = format!(
            "{:?} lets {id:?} vote, which has {on_disk} of {}: {:?}",
            led.node, led.last, led.plan
        );
        Err(Broken::new("seats", facts))
    }

    /// Whoever loses its vote for being gone was gone for so long.
    pub(crate) fn check_taken(
        &self,
        led: &Led<'_>,
        id: NodeId,
        (at, grace): (Time, Duration),
    ) -> Result<(), Broken> {
        if !led.plan.is_some_and(|plan| plan.reason == VoterReason::Overdue(id)) {
            return Ok(());
        }
        let gone_for = self.gone.get(&id).map(|since| at.since(*since));
        if gone_for.is_some_and(|gone_for| gone_for * FAST_TENTHS >= grace * 10) {
            return Ok(());
        }
        let facts = format!(
            "{:?} takes the vote of {id:?}, which is gone for {gone_for:?} of {grace:?}",
            led.node
        );
        Err(Broken::new("seats", facts))
    }
}
