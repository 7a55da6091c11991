//! What watchers report of members, and what the leader of the control group makes of it.
//!
//! A watcher repeats what it sees for as long as the record says otherwise, so that nothing is lost
//! with a message or a leader. What is not repeated is forgotten. The leader declares a member
//! down, or that it left, when more than half of its watchers that live themselves say so; and that
//! it is back when anyone sees it in a later life, since only a node itself can begin one (M2).
//!
//! A watcher that started after a death hears nothing of the dead one: nobody gossips about it. It
//! says that it looks in vain, which confirms what others saw. By itself that counts only after a
//! longer while: after a power cut nobody has seen the death of those that do not come back, but a
//! member may also have been admitted and not have started yet.

use crate::base::mutant::{self, Mutant};
use crate::base::{Incarnation, NodeId, Now};
use crate::state::{
    DeclaredDown, Down, Life, Member, MembershipChange, Standing, WITNESSES_MAX, Witness,
};
use crate::swim::Liveness;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

/// How often a watcher repeats what the record does not say.
pub(super) const REPORT_EVERY: Duration = Duration::from_millis(250);

/// Most reports in one message: a rack that goes down. The rest follows when these are settled.
pub(super) const REPORTS_MAX: usize = 64;

/// A report that is not repeated for so long is over.
const REPORT_LIFE: Duration = Duration::from_secs(2);

/// Members that nobody has heard of since all who watch them started are down after so long: long
/// enough for machines that start together, and for whoever starts a node after its `join`.
const UNHEARD_MAX: Duration = Duration::from_secs(30);

/// A declaration that has not come back from the log for so long was lost.
const DECLARE_AGAIN: Duration = Duration::from_secs(1);

/// What one watcher sees of one member, in conflict with the record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// The member.
    pub node: NodeId,
    /// Down, left, or alive.
    pub state: Liveness,
    /// In which life.
    pub incarnation: Incarnation,
    /// Who probed it in vain, as the watcher knows.
    pub probed_by: NodeId,
    /// For how long the watcher had not heard it, in milliseconds.
    pub silent_ms: u64,
    /// The watcher has not heard of it at all since it started, and so knows of no life.
    pub is_unheard: bool,
}

/// What a member is by the record, against which its watchers look at it: `None` while it takes
/// part, otherwise the life that ended.
pub(super) fn ended_life(member: &Member) -> Option<u64> {
    match &member.standing {
        None => None,
        Some(Standing::Down(down)) => Some(down.incarnation),
        Some(Standing::Left(left)) => Some(left.incarnation),
    }
}

/// Whether what a watcher sees is news to the record.
pub(super) fn is_news(member: &Member, state: Liveness, incarnation: Incarnation) -> bool {
    match (ended_life(member), state) {
        (None, Liveness::Down | Liveness::Left) => incarnation.0 >= member.life,
        (Some(ended), Liveness::Alive) => incarnation.0 > ended,
        _ => false,
    }
}

/// The leader's table of reports, by member and watcher.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Reports {
    table: BTreeMap<NodeId, BTreeMap<NodeId, (Now, Report)>>,
    /// On their way through the log: by when to expect them.
    declared: BTreeMap<NodeId, Now>,
}

impl Reports {
    /// A watcher says what it sees.
    pub(super) fn take(&mut self, now: Now, from: NodeId, reports: &[Report]) {
        for report in reports.iter().take(REPORTS_MAX).filter(|report| report.node != from) {
            self.table.entry(report.node).or_default().insert(from, (now, *report));
        }
    }

    /// What follows from the reports. `watchers` says who watches a member and lives itself.
    pub(super) fn verdicts(
        &mut self,
        now: Now,
        members: &BTreeMap<NodeId, Member>,
        watchers: impl Fn(NodeId) -> BTreeSet<NodeId>,
    ) -> Vec<MembershipChange> {
        self.declared.retain(|_, until| now < *until);
        for reports in self.table.values_mut() {
            reports.retain(|_, (at, _)| now < *at + REPORT_LIFE);
        }
        self.table.retain(|node, reports| !reports.is_empty() && members.contains_key(node));
        let mut changes = Vec::new();
        for (node, reports) in &self.table {
            if self.declared.contains_key(node) {
                continue;
            }
            let member = &members[node];
            let news: BTreeMap<NodeId, Report> = (reports.iter())
                .map(|(from, (_, report))| (*from, *report))
                .filter(|(_, report)| is_news(member, report.state, report.incarnation))
                .collect();
            if let Some(change) = verdict(*node, &news, &watchers) {
                changes.push(change);
                self.declared.insert(*node, now + DECLARE_AGAIN);
            }
        }
        changes
    }
}

fn verdict(
    node: NodeId,
    news: &BTreeMap<NodeId, Report>,
    watchers: impl Fn(NodeId) -> BTreeSet<NodeId>,
) -> Option<MembershipChange> {
    let life = |report: &Report| report.incarnation.0;
    let alive = news.values().filter(|report| report.state == Liveness::Alive).map(life).max();
    if let Some(incarnation) = alive {
        return Some(MembershipChange::Up(Life { id: node.0, incarnation }));
    }
    // Of the latest life alone: whoever speaks of an earlier one has not heard of this one.
    let last_seen = news.values().filter(|report| !report.is_unheard).map(life).max();
    let is_long = |report: &Report| u128::from(report.silent_ms) >= UNHEARD_MAX.as_millis();
    let counts = |report: &Report| match last_seen {
        Some(seen) => report.is_unheard || life(report) == seen,
        None => is_long(report),
    };
    let last_known = news.values().filter(|report| counts(report)).map(life).max();
    let incarnation = last_seen.or(last_known)?;
    let watchers = watchers(node);
    let confirming: Vec<(NodeId, Report)> = (news.iter())
        .filter(|(from, report)| counts(report) && watchers.contains(from))
        .map(|(from, report)| (*from, *report))
        .collect();
    let is_majority = confirming.len() * 2 > watchers.len()
        || (!confirming.is_empty() && mutant::is_active(Mutant::WatcherMajorityIgnored));
    if !is_majority {
        return None;
    }
    let mut seen = confirming.iter().filter(|(_, report)| !report.is_unheard).peekable();
    if seen.peek().is_some() && seen.all(|(_, report)| report.state == Liveness::Left) {
        return Some(MembershipChange::Leave(Life { id: node.0, incarnation }));
    }
    let witness = |(from, report): &(NodeId, Report)| Witness {
        node: from.0,
        probed_by: report.probed_by.0,
        silent_ms: report.silent_ms,
    };
    let declared = DeclaredDown {
        incarnation,
        witnesses: confirming.iter().take(WITNESSES_MAX).map(witness).collect(),
        watchers: watchers.len() as u32,
        confirmed: confirming.len() as u32,
        unix_ms: 0,
    };
    Some(MembershipChange::Down(Down { id: node.0, declared }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::DeclaredLeft;

    fn report(state: Liveness, incarnation: u64) -> Report {
        let (node, incarnation) = (NodeId(9), Incarnation(incarnation));
        let probed_by = NodeId(1);
        Report { node, state, incarnation, probed_by, silent_ms: 5, is_unheard: false }
    }

    /// Of a watcher that started after the death.
    fn unheard() -> Report {
        Report { is_unheard: true, ..report(Liveness::Down, 2) }
    }

    /// What the leader makes of reports about node 9, which nodes 1 to 4 watch.
    fn made_of(standing: Option<Standing>, reports: &[(u64, Report)]) -> Vec<MembershipChange> {
        let member = Member { id: 9, life: 2, standing, ..Member::default() };
        let members = BTreeMap::from([(NodeId(9), member)]);
        let mut table = Reports::default();
        for (from, report) in reports {
            table.take(Now::START, NodeId(*from), &[*report]);
        }
        let watchers = |_| (1..=4).map(NodeId).collect();
        let changes = table.verdicts(Now::START, &members, watchers);
        assert!(table.verdicts(Now::START, &members, watchers).is_empty(), "once");
        let later = table.verdicts(Now::START + REPORT_LIFE, &members, watchers);
        assert!(later.is_empty(), "what is not repeated is over");
        changes
    }

    fn down_by(from: &[u64]) -> Vec<MembershipChange> {
        let reports: Vec<(u64, Report)> =
            from.iter().map(|from| (*from, report(Liveness::Down, 3))).collect();
        made_of(None, &reports)
    }

    #[test]
    fn more_than_half_of_the_living_watchers_make_a_death() {
        assert!(down_by(&[1, 2]).is_empty(), "half is not enough");
        assert!(down_by(&[1, 2, 7, 8, 9]).is_empty(), "strangers and itself do not count");
        let made = down_by(&[1, 2, 4]);
        let [MembershipChange::Down(down)] = &made[..] else { panic!("{made:?}") };
        assert_eq!((down.id, down.declared.incarnation), (9, 3));
        assert_eq!((down.declared.confirmed, down.declared.watchers), (3, 4));
    }

    #[test]
    fn an_earlier_life_is_not_counted_with_a_later_one() {
        let old = report(Liveness::Down, 2);
        let new = report(Liveness::Down, 3);
        assert!(made_of(None, &[(1, old), (2, new), (3, new)]).is_empty());
        let over = report(Liveness::Down, 1);
        let all = [(1, over), (2, over), (3, over), (4, over)];
        assert!(made_of(None, &all).is_empty(), "it has been back since");
    }

    #[test]
    fn whoever_looks_in_vain_since_its_start_confirms_and_begins_nothing_for_long() {
        let all = [1, 2, 3, 4].map(|from| (from, unheard()));
        assert!(made_of(None, &all).is_empty(), "it may not have started yet");
        // All who watch it started after it died, and not just now.
        let long = |from: u64| (from, Report { silent_ms: 30_000, ..unheard() });
        let made = made_of(None, &[long(1), long(2), long(3), (4, unheard())]);
        let [MembershipChange::Down(down)] = &made[..] else { panic!("{made:?}") };
        assert_eq!((down.declared.incarnation, down.declared.confirmed), (2, 3));
        assert!(
            made_of(None, &[long(1), long(2), (3, unheard())]).is_empty(),
            "half is not enough"
        );
        let seen = report(Liveness::Down, 3);
        let made = made_of(None, &[(1, seen), (2, unheard()), (3, unheard())]);
        let [MembershipChange::Down(down)] = &made[..] else { panic!("{made:?}") };
        assert_eq!((down.declared.incarnation, down.declared.confirmed), (3, 3));
        assert!(made_of(None, &[(1, seen), (2, unheard())]).is_empty(), "half is not enough");
        let left = report(Liveness::Left, 3);
        let made = made_of(None, &[(1, left), (2, unheard()), (3, unheard())]);
        assert_eq!(made, [MembershipChange::Leave(Life { id: 9, incarnation: 3 })]);
    }

    #[test]
    fn a_good_bye_is_told_from_a_death() {
        let left = report(Liveness::Left, 3);
        let made = made_of(None, &[(1, left), (2, left), (3, left)]);
        assert_eq!(made, [MembershipChange::Leave(Life { id: 9, incarnation: 3 })]);
    }

    #[test]
    fn one_that_sees_a_later_life_is_enough() {
        let left = Some(Standing::Left(DeclaredLeft { incarnation: 3, unix_ms: 0 }));
        assert!(made_of(left.clone(), &[(1, report(Liveness::Alive, 3))]).is_empty());
        let made = made_of(left, &[(1, report(Liveness::Alive, 4))]);
        assert_eq!(made, [MembershipChange::Up(Life { id: 9, incarnation: 4 })]);
    }
}
