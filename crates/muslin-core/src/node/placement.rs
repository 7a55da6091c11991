//! What the leader of the control group remembers of its decisions about who is to lead groups, and
//! the decisions: upon what it observes, and upon what the groups' replicas claim.
//!
//! It changes nothing itself: each decision is a step for the log, and takes effect when it comes
//! back from there. Another leader of the control group starts afresh, from the record.

use crate::base::mutant::{self, Mutant};
use crate::base::{GroupId, Index, NodeId, Now};
use crate::groups::Claim;
use crate::plan::{self, GroupView, LeaderView};
use crate::state::{AssignStep, GroupRecord};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

/// A node that came back must have lived this long before it is given groups to lead for balance: a
/// node that comes and goes would interrupt them each time.
const STEADY_AFTER: Duration = Duration::from_secs(5);

/// A group whose assigned leader could not lead stays where it is for this long.
const REST_AFTER_CLAIM: Duration = Duration::from_secs(60);

/// An assignment that has not come back from the log for this long was lost, and is decided anew.
const ASSIGN_AGAIN: Duration = Duration::from_secs(1);

/// What the leader of the control group remembers of its decisions.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    /// Since when each node lives, as this leader sees it.
    live_since: BTreeMap<NodeId, Now>,
    /// What was looked at when the planner was asked last.
    looked_at: Option<LookedAt>,
    /// Decided, and on its way through the log: by when to expect it, at the latest.
    pending: BTreeMap<GroupId, Now>,
    /// Moved in vain: until when they rest.
    resting: BTreeMap<GroupId, Now>,
}

/// All that a plan rests on.
#[derive(Clone, PartialEq, Eq, Debug)]
struct LookedAt {
    record: Index,
    live: BTreeSet<NodeId>,
    steady: BTreeSet<NodeId>,
    resting: BTreeSet<GroupId>,
}

/// The record, and who is fit to lead, at the moment of a decision.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// Every group.
    pub records: &'a BTreeMap<GroupId, GroupRecord>,
    /// The last entry that changed any of them.
    pub changed_at: Index,
    /// Who could lead a group ([`Vitals::is_fit`]).
    pub fit: BTreeSet<NodeId>,
}

/// What the leader of the control group knows of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Vitals {
    /// It is this node itself.
    pub is_here: bool,
    /// Its disk, which all of its groups share, is full.
    pub is_full: bool,
    /// Its disk lost what it promised.
    pub is_rebuilding: bool,
    /// The view has it down, or it left.
    pub is_gone: bool,
    /// Whether this node's own groups hear it; `None` when they share none with it.
    pub is_heard: Option<bool>,
    /// It does not answer the control group.
    pub is_silent: bool,
}

impl Vitals {
    /// Whether it could lead a group: it answers, by the word of the groups that are shared with it
    /// if there are any, and its disk has room and everything it promised.
    pub fn is_fit(&self) -> bool {
        let is_full = self.is_full && !mutant::is_active(Mutant::FullNodeNamed);
        if is_full || self.is_rebuilding {
            return false;
        }
        self.is_here || (!self.is_gone && self.is_heard.unwrap_or(!self.is_silent))
    }
}

impl Placement {
    /// Lets the planner say who is to lead, if anything differs from when it was asked last.
    pub fn choose(&mut self, now: Now, seen: Seen<'_>) -> Vec<AssignStep> {
        let before = self.pending.len() + self.resting.len();
        self.pending.retain(|_, until| now < *until);
        self.resting.retain(|_, until| now < *until);
        if self.pending.len() + self.resting.len() < before {
            self.looked_at = None;
        }
        let looked_at = self.look(now, &seen);
        if self.looked_at.as_ref() == Some(&looked_at) {
            return Vec::new();
        }
        let steps = (plan::leaders(&leader_view(seen.records, &looked_at)).into_iter())
            .filter(|(id, _)| !self.pending.contains_key(id))
            .filter_map(|(id, leader)| assign_step(seen.records, id, leader))
            .collect();
        self.looked_at = Some(looked_at);
        steps
    }

    /// A replica leads although another is named: the record comes to say so, if it is fit to. Or
    /// the one that is named cannot lead: another is named.
    pub fn on_claims(
        &mut self,
        now: Now,
        from: NodeId,
        claims: &[Claim],
        seen: &Seen<'_>,
    ) -> Vec<AssignStep> {
        let mut steps = Vec::new();
        for claim in claims {
            let Some(record) = seen.records.get(&claim.group) else { continue };
            let is_news = record.assignment == claim.assignment
                && claim.declines == (record.leader == Some(from.0))
                && record.replicas.contains(&from.0)
                && !self.pending.contains_key(&claim.group);
            if !is_news {
                continue;
            }
            let leader = match claim.declines {
                true => next_in_line(record, from, &seen.fit),
                // Whoever is not fit is not named while another is: it would be replaced at once,
                // and begin to hand over anew each time.
                false => {
                    let is_better = next_in_line(record, from, &seen.fit).is_some();
                    (seen.fit.contains(&from) || !is_better).then_some(from)
                }
            };
            if let Some(leader) = leader {
                steps.extend(assign_step(seen.records, claim.group, leader));
                self.resting.insert(claim.group, now + REST_AFTER_CLAIM);
            }
        }
        steps
    }

    /// These are on their way through the log.
    pub fn begun(&mut self, now: Now, steps: &[AssignStep]) {
        let groups = steps.iter().map(|step| GroupId(step.group));
        self.pending.extend(groups.map(|id| (id, now + ASSIGN_AGAIN)));
    }

    /// The log does not take them at present: the next look decides anew.
    pub fn refused(&mut self) {
        self.looked_at = None;
    }

    /// An assignment of this group came back from the log.
    pub fn arrived(&mut self, group: GroupId) {
        self.pending.remove(&group);
    }

    fn look(&mut self, now: Now, seen: &Seen<'_>) -> LookedAt {
        let live = seen.fit.clone();
        let since = &mut self.live_since;
        since.retain(|node, _| live.contains(node));
        for node in &live {
            since.entry(*node).or_insert(now);
        }
        let steady = since.iter().filter(|(_, since)| **since + STEADY_AFTER <= now);
        LookedAt {
            record: seen.changed_at,
            steady: steady.map(|(node, _)| *node).collect(),
            resting: self.resting.keys().copied().collect(),
            live,
        }
    }
}

fn assign_step(
    records: &BTreeMap<GroupId, GroupRecord>,
    id: GroupId,
    leader: NodeId,
) -> Option<AssignStep> {
    let record = records.get(&id)?;
    Some(AssignStep { group: id.0, leader: leader.0, assignment: record.assignment + 1 })
}

/// The fit replica that stands next to one that cannot lead: each gets its turn.
fn next_in_line(record: &GroupRecord, after: NodeId, fit: &BTreeSet<NodeId>) -> Option<NodeId> {
    let replicas = || record.replicas.iter().map(|id| NodeId(*id));
    let place = replicas().position(|replica| replica == after)?;
    let mut others = replicas().skip(place + 1).chain(replicas().take(place));
    others.find(|replica| fit.contains(replica))
}

fn leader_view(records: &BTreeMap<GroupId, GroupRecord>, looked_at: &LookedAt) -> LeaderView {
    let group = |record: &GroupRecord| GroupView {
        replicas: record.replicas.iter().map(|id| NodeId(*id)).collect(),
        leader: record.leader.map(NodeId),
    };
    LeaderView {
        groups: records.iter().map(|(id, record)| (*id, group(record))).collect(),
        live: looked_at.live.clone(),
        steady: looked_at.steady.clone(),
        resting: looked_at.resting.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(leader: u64) -> BTreeMap<GroupId, GroupRecord> {
        let record = GroupRecord {
            id: 1,
            kind: "register".into(),
            replicas: alloc::vec![1, 2, 3],
            leader: Some(leader),
            assignment: 7,
            created_at: 1,
        };
        BTreeMap::from([(GroupId(1), record)])
    }

    fn named(from: u64, declines: bool, assignment: u64, fit: &[u64]) -> Option<u64> {
        let records = records(2);
        let fit = fit.iter().copied().map(NodeId).collect();
        let seen = Seen { records: &records, changed_at: Index(9), fit };
        let claim = Claim { group: GroupId(1), assignment, declines };
        let steps = Placement::default().on_claims(Now::START, NodeId(from), &[claim], &seen);
        steps.first().map(|step| step.leader)
    }

    #[test]
    fn a_leader_that_is_not_named_comes_to_be_named() {
        assert_eq!(named(1, false, 7, &[1, 2, 3]), Some(1));
        assert_eq!(named(1, false, 6, &[1, 2, 3]), None, "of an assignment that is over");
        assert_eq!(named(2, false, 7, &[1, 2, 3]), None, "it is named already");
    }

    #[test]
    fn a_leader_that_is_not_fit_is_not_named_while_another_is() {
        assert_eq!(named(1, false, 7, &[2, 3]), None);
        assert_eq!(named(1, false, 7, &[]), Some(1), "nobody is any better");
    }

    #[test]
    fn one_that_cannot_lead_makes_room_for_the_next_that_is_fit() {
        assert_eq!(named(2, true, 7, &[1, 2, 3]), Some(3));
        assert_eq!(named(2, true, 7, &[1, 2]), Some(1));
        assert_eq!(named(2, true, 7, &[2]), None);
    }

    #[test]
    fn fit_is_who_answers_and_whose_disk_can_take_what_leading_takes() {
        let fit = Vitals::default();
        assert!(fit.is_fit());
        let unfit = [
            Vitals { is_full: true, is_here: true, ..fit },
            Vitals { is_rebuilding: true, is_heard: Some(true), ..fit },
            Vitals { is_gone: true, is_heard: Some(true), ..fit },
            Vitals { is_heard: Some(false), ..fit },
            Vitals { is_silent: true, ..fit },
        ];
        assert!(unfit.iter().all(|vitals| !vitals.is_fit()));
        assert!(Vitals { is_silent: true, is_heard: Some(true), ..fit }.is_fit());
    }
}
