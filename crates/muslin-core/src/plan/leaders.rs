//! Who leads which group.
//!
//! The replicas of a group can elect whom they like, and its terms are the fence. But hundreds of
//! groups that keep electing for themselves are as many sources of idle traffic; so one node, which
//! leads the control group, says for all of them who is to campaign.
//!
//! # Invariants
//! 1. A group whose leader lives keeps it, unless moving it makes the nodes more equal; a group
//!    with a dead leader or none gets a living replica, if its quorum lives.
//! 2. Carried out over and over, with nothing else changing, the plan comes to rest.
//! 3. At rest, no chain of moves within the replicas makes the largest number of groups that one
//!    steady node leads smaller by giving to another that leads two less.
//!
//! # Not here
//! Which replica has the longest log: the groups see to that when they vote. A replica that had to
//! lead in place of the assigned one says so, and the record follows.

use crate::base::{GroupId, NodeId, quorum};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

/// Moves for balance in one plan: each interrupts its group for a round trip or two, and they all
/// do so at the same time.
pub const BALANCE_MOVES_MAX: usize = 64;

/// What the leader of the control group observes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LeaderView {
    /// Every group.
    pub groups: BTreeMap<GroupId, GroupView>,
    /// Nodes that answer.
    pub live: BTreeSet<NodeId>,
    /// Nodes that have answered for a while: a node that comes and goes gets no groups back.
    pub steady: BTreeSet<NodeId>,
    /// Groups that were moved in vain lately: they stay where they are.
    pub resting: BTreeSet<GroupId>,
}

/// One group in the record.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GroupView {
    /// Who keeps it.
    pub replicas: BTreeSet<NodeId>,
    /// Who is to lead it.
    pub leader: Option<NodeId>,
}

/// Plans who is to lead, where that differs from the record: in the order of the groups.
pub fn leaders(observed: &LeaderView) -> Vec<(GroupId, NodeId)> {
    let mut plan = Plan::new(observed);
    plan.replace_dead();
    plan.balance();
    let changed = |(id, leader): (&GroupId, &NodeId)| {
        (observed.groups[id].leader != Some(*leader)).then_some((*id, *leader))
    };
    plan.led.iter().filter_map(changed).collect()
}

struct Plan<'a> {
    observed: &'a LeaderView,
    /// Groups with a living leader, and who that is to be.
    led: BTreeMap<GroupId, NodeId>,
    /// How many each living node leads.
    counts: BTreeMap<NodeId, usize>,
}

impl<'a> Plan<'a> {
    fn new(observed: &'a LeaderView) -> Plan<'a> {
        let mut counts: BTreeMap<NodeId, usize> =
            observed.live.iter().map(|node| (*node, 0)).collect();
        let mut led = BTreeMap::new();
        for (id, group) in &observed.groups {
            if let Some(leader) = group.leader
                && let Some(count) = counts.get_mut(&leader)
            {
                *count += 1;
                led.insert(*id, leader);
            }
        }
        Plan { observed, led, counts }
    }

    /// Every group that can be led gets a leader: of its living replicas, that with the least to
    /// do.
    fn replace_dead(&mut self) {
        for (id, group) in &self.observed.groups {
            let is_live = |node: NodeId| self.observed.live.contains(&node);
            if self.led.contains_key(id) || !quorum::is_majority(&group.replicas, is_live) {
                continue;
            }
            let living = group.replicas.iter().copied().filter(|node| is_live(*node));
            let Some(leader) = living.min_by_key(|node| (self.counts[node], *node)) else {
                continue;
            };
            *self.counts.entry(leader).or_default() += 1;
            self.led.insert(*id, leader);
        }
    }

    /// Moves groups from nodes that lead many to steady ones that lead at least two less, directly
    /// or through others.
    fn balance(&mut self) {
        for _ in 0..BALANCE_MOVES_MAX {
            let mut by_load: Vec<(usize, NodeId)> =
                self.counts.iter().map(|(node, count)| (*count, *node)).collect();
            by_load.sort_unstable_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(&other.1)));
            let chain = by_load.iter().find_map(|(count, node)| self.chain_from(*node, *count));
            let Some(chain) = chain else { return };
            for (group, to) in chain {
                self.shift(group, to);
            }
        }
    }

    fn shift(&mut self, group: GroupId, to: NodeId) {
        let from = self.led.insert(group, to).expect("only what is led is moved");
        *self.counts.entry(from).or_default() -= 1;
        *self.counts.entry(to).or_default() += 1;
    }

    /// The shortest chain of moves that takes one group off `from` and ends at a node that leads at
    /// least two less.
    fn chain_from(&self, from: NodeId, count: usize) -> Option<Vec<(GroupId, NodeId)>> {
        // How each node was reached: which group goes there, and from whom.
        let mut reached: BTreeMap<NodeId, (GroupId, NodeId)> = BTreeMap::new();
        let mut waiting = VecDeque::from([from]);
        while let Some(node) = waiting.pop_front() {
            for (group, to) in self.moves_off(node) {
                if to == from || reached.contains_key(&to) {
                    continue;
                }
                reached.insert(to, (group, node));
                if self.counts[&to] + 2 <= count {
                    return Some(unwound(&reached, from, to));
                }
                waiting.push_back(to);
            }
        }
        None
    }

    /// Every way in which `node` could give a group to a steady replica of it.
    fn moves_off(&self, node: NodeId) -> impl Iterator<Item = (GroupId, NodeId)> + '_ {
        let observed = self.observed;
        let led = self
            .led
            .iter()
            .filter(move |(id, leader)| **leader == node && !observed.resting.contains(id));
        led.flat_map(move |(id, _)| {
            let replicas = observed.groups[id].replicas.iter().copied();
            let steady = replicas.filter(move |to| {
                *to != node && observed.steady.contains(to) && observed.live.contains(to)
            });
            steady.map(move |to| (*id, to))
        })
    }
}

/// The moves of a chain.
fn unwound(
    reached: &BTreeMap<NodeId, (GroupId, NodeId)>,
    from: NodeId,
    to: NodeId,
) -> Vec<(GroupId, NodeId)> {
    let mut moves = Vec::new();
    let mut at = to;
    while at != from {
        let (group, before) = reached[&at];
        moves.push((group, at));
        at = before;
    }
    moves
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids(numbers: &[u64]) -> BTreeSet<NodeId> {
        numbers.iter().copied().map(NodeId).collect()
    }

    /// Groups numbered from 1 with the same replicas, led as given (0 is nobody); all nodes live.
    fn view(replicas: &[u64], leaders: &[u64]) -> LeaderView {
        let group = |leader: &u64| GroupView {
            replicas: ids(replicas),
            leader: (*leader != 0).then_some(NodeId(*leader)),
        };
        LeaderView {
            groups: (1..).map(GroupId).zip(leaders.iter().map(group)).collect(),
            live: ids(replicas),
            steady: ids(replicas),
            resting: BTreeSet::new(),
        }
    }

    fn carry_out(view: &mut LeaderView) -> usize {
        let plan = leaders(view);
        for (id, leader) in &plan {
            view.groups.get_mut(id).expect("a group of the view").leader = Some(*leader);
        }
        plan.len()
    }

    fn counts(view: &LeaderView) -> BTreeMap<NodeId, usize> {
        let mut counts: BTreeMap<NodeId, usize> = view.live.iter().map(|node| (*node, 0)).collect();
        for leader in view.groups.values().filter_map(|group| group.leader) {
            if let Some(count) = counts.get_mut(&leader) {
                *count += 1;
            }
        }
        counts
    }

    #[test]
    fn new_groups_are_spread_evenly() {
        let mut view = view(&[1, 2, 3], &[0; 256]);
        assert_eq!(carry_out(&mut view), 256);
        let mut led: Vec<usize> = counts(&view).into_values().collect();
        led.sort_unstable();
        assert_eq!(led, [85, 85, 86]);
        assert_eq!(leaders(&view), [], "and stay where they are");
    }

    #[test]
    fn the_groups_of_a_dead_node_are_shared_out_and_no_other_moves() {
        let mut view = view(&[1, 2, 3], &[1, 2, 3, 1, 2, 3]);
        view.live.remove(&NodeId(3));
        assert_eq!(leaders(&view), [(GroupId(3), NodeId(1)), (GroupId(6), NodeId(2))]);
    }

    #[test]
    fn a_node_that_came_back_gets_groups_only_when_it_has_been_steady() {
        let mut view = view(&[1, 2, 3], &[1, 2, 1, 1, 2, 2]);
        view.steady.remove(&NodeId(3));
        assert_eq!(leaders(&view), []);
        view.steady.insert(NodeId(3));
        assert_eq!(leaders(&view).len(), 2);
        view.resting = view.groups.keys().copied().collect();
        assert_eq!(leaders(&view), []);
    }

    #[test]
    fn a_group_without_a_quorum_is_left_alone() {
        let mut view = view(&[1, 2, 3], &[3]);
        view.live = ids(&[1]);
        assert_eq!(leaders(&view), []);
    }

    #[test]
    fn balance_goes_through_a_third_node_where_it_must() {
        // 1 and 3 share no group: what 1 has too much goes to 2, which gives 3 what it has.
        let group = |replicas: &[u64], leader| GroupView {
            replicas: ids(replicas),
            leader: Some(NodeId(leader)),
        };
        let of_one = [1, 2, 3].map(|id| (GroupId(id), group(&[1, 2], 1)));
        let of_two = [4, 5].map(|id| (GroupId(id), group(&[2, 3], 2)));
        let mut view = LeaderView {
            groups: of_one.into_iter().chain(of_two).collect(),
            live: ids(&[1, 2, 3]),
            steady: ids(&[1, 2, 3]),
            resting: BTreeSet::new(),
        };
        while carry_out(&mut view) > 0 {}
        assert_eq!(counts(&view).into_values().collect::<Vec<_>>(), [2, 2, 1]);
    }

    fn subset(of: u64) -> impl Strategy<Value = BTreeSet<NodeId>> {
        prop::collection::btree_set((1..=of).prop_map(NodeId), 0..=of as usize)
    }

    fn any_group() -> impl Strategy<Value = GroupView> {
        (subset(6), 0..=6usize).prop_map(|(replicas, place)| {
            let leader = replicas.iter().nth(place).copied();
            GroupView { replicas, leader }
        })
    }

    prop_compose! {
        fn any_view()(
            groups in prop::collection::vec(any_group(), 0..60),
            live in subset(6), steady in subset(6),
            resting in prop::collection::btree_set((1..60u64).prop_map(GroupId), 0..10),
        ) -> LeaderView {
            let groups = (1..).map(GroupId).zip(groups).collect();
            LeaderView { groups, live, steady, resting }
        }
    }

    proptest! {
        #[test]
        fn a_plan_is_possible_comes_to_rest_and_leads_all_that_can_be_led(mut view in any_view()) {
            let start = view.clone();
            let mut rounds = 0;
            while {
                for (id, leader) in leaders(&view) {
                    let group = &view.groups[&id];
                    prop_assert!(group.replicas.contains(&leader), "{:?} is no replica", leader);
                    prop_assert!(view.live.contains(&leader), "{:?} is dead", leader);
                    prop_assert_ne!(group.leader, Some(leader));
                }
                carry_out(&mut view) > 0
            } {
                rounds += 1;
                prop_assert!(rounds <= 20, "no rest");
            }
            for (id, group) in &view.groups {
                let is_led = group.leader.is_some_and(|leader| view.live.contains(&leader));
                let can_be = quorum::is_majority(&group.replicas, |id| view.live.contains(&id));
                prop_assert!(is_led || !can_be, "{} is left without a leader", id);
                let before = start.groups[id].leader;
                if start.resting.contains(id) && before.is_some_and(|id| view.live.contains(&id)) {
                    prop_assert_eq!(group.leader, before, "{} was moved while it rests", id);
                }
            }
        }

        #[test]
        fn groups_on_all_nodes_are_led_evenly(leaders in prop::collection::vec(0..=5u64, 0..80)) {
            let mut view = view(&[1, 2, 3, 4, 5], &leaders);
            let moved_at_least = {
                // Whoever leads more than its share must give some away, and nobody else.
                let share = leaders.len().div_ceil(5);
                let over = counts(&view).into_values().map(|count| count.saturating_sub(share));
                over.sum::<usize>() + leaders.iter().filter(|leader| **leader == 0).count()
            };
            let moved = carry_out(&mut view);
            while carry_out(&mut view) > 0 {}
            let counts: Vec<usize> = counts(&view).into_values().collect();
            let (least, most) = (counts.iter().min(), counts.iter().max());
            prop_assert!(most.unwrap() - least.unwrap() <= 1, "{:?}", counts);
            prop_assert!(moved <= moved_at_least + 5, "{} moves, {} needed", moved, moved_at_least);
        }
    }
}
