//! Clusters too large to be tracked whole: here of a few dozens.

use super::net::{Net, Power, address};
use crate::base::NodeId;
use crate::swim::planted::Bug;
use crate::swim::{Event, Input, Liveness, Options, Scope, ring};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn options() -> Options {
    Options { slice_above: 10, slice: 4, ..Options::fast() }
}

/// The record says who is in the cluster, and where; n1 is needed by all.
fn tell_record(net: &mut Net, members: &BTreeSet<NodeId>) {
    let keep = BTreeSet::from([NodeId(1)]);
    for node in members {
        let place = |other: NodeId| net.nodes.get(&other.0).map(|host| host.address);
        let scope = ring::scope(*node, &options(), members, &keep, place);
        if net.nodes[&node.0].power == Power::Running {
            net.input(node.0, Input::Track(scope));
        }
    }
}

fn sliced(bug: Option<Bug>, count: u64, seed: u64) -> (Net, BTreeSet<NodeId>) {
    let mut net = Net::new(options(), seed);
    net.planted = bug;
    for node in 1..=count {
        net.start(node, 7400, &[address(1, 7400)]);
    }
    let members: BTreeSet<NodeId> = (1..=count).map(NodeId).collect();
    tell_record(&mut net, &members);
    net.run(SECOND * 10);
    net.reports.clear();
    (net, members)
}

fn watchers(members: &BTreeSet<NodeId>, node: NodeId) -> Vec<NodeId> {
    ring::watchers(node, members.iter().copied(), options().slice)
}

/// Each node tracks its slice and no more, and its watchers see a death.
pub(super) fn check_slices(bug: Option<Bug>, count: u64, seed: u64) {
    let (mut net, members) = sliced(bug, count, seed);
    for host in net.nodes.values() {
        assert!(host.swim.tracked() <= options().slice + 2, "{} tracked", host.swim.tracked());
        assert!(host.swim.tracked() >= options().slice, "{} tracked", host.swim.tracked());
    }
    let victim = NodeId(count / 2);
    net.power(victim.0, Power::Dead);
    net.run(SECOND * 15);
    for watcher in watchers(&members, victim) {
        let entry = net.nodes[&watcher.0].swim.entry(victim).expect("a watcher tracks it");
        assert_eq!(entry.state, Liveness::Down, "{watcher}");
    }
    let bears_witness = |event: &Event| matches!(event, Event::Witnessed(it) if it.node == victim);
    let witnesses: BTreeSet<NodeId> = net
        .reports
        .iter()
        .filter(|(_, _, event)| bears_witness(event))
        .map(|(_, at, _)| NodeId(*at))
        .collect();
    assert_eq!(witnesses, watchers(&members, victim).into_iter().collect());
}

#[test]
fn a_death_is_witnessed_by_those_that_come_before_it_on_the_ring() {
    for (count, seed) in [(11, 1), (30, 2), (60, 3)] {
        check_slices(None, count, seed);
    }
}

#[test]
fn a_leaver_tells_its_watchers() {
    let (mut net, members) = sliced(None, 30, 1);
    net.input(7, Input::Leave);
    net.power(7, Power::Dead);
    net.run(SECOND);
    for watcher in watchers(&members, NodeId(7)) {
        let entry = net.nodes[&watcher.0].swim.entry(NodeId(7)).expect("a watcher tracks it");
        assert_eq!(entry.state, Liveness::Left, "{watcher}");
    }
}

#[test]
fn one_that_comes_back_elsewhere_is_found_by_the_record() {
    let (mut net, members) = sliced(None, 30, 1);
    net.power(7, Power::Dead);
    net.run(SECOND * 15);
    net.start(7, 7500, &[address(1, 7400)]);
    tell_record(&mut net, &members);
    net.run(SECOND * 10);
    for watcher in watchers(&members, NodeId(7)) {
        let entry = net.nodes[&watcher.0].swim.entry(NodeId(7)).expect("a watcher tracks it");
        assert_eq!((entry.state, entry.address), (Liveness::Alive, address(7, 7500)));
    }
}

#[test]
fn nobody_is_accused_on_a_lossy_network_of_slices() {
    let (mut net, _) = sliced(None, 40, 4);
    net.loss_per_million = 100_000;
    net.run(SECOND * 300);
    let downs = net.reports.iter().filter(|(_, _, event)| matches!(event, Event::Down { .. }));
    assert_eq!(downs.count(), 0);
}

#[test]
fn a_cluster_that_shrinks_is_tracked_whole_again() {
    let (mut net, _) = sliced(None, 11, 1);
    net.input(11, Input::Leave);
    net.power(11, Power::Dead);
    for node in 1..=10 {
        net.input(node, Input::Forget(NodeId(11)));
        net.input(node, Input::Track(Scope::All));
    }
    net.run(SECOND * 20);
    for node in 1..=10 {
        assert_eq!(net.nodes[&node].swim.tracked(), 10, "n{node}");
    }
}
