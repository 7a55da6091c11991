//! Many nodes under faults drawn from a seed.

use super::net::{Net, Power, address};
use crate::base::{NodeId, Prng};
use crate::swim::{Event, Input, Liveness, Options};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;
use std::eprintln;

const MINUTE: Duration = Duration::from_secs(60);

/// Live nodes that somebody declared down.
fn false_downs(net: &Net, dead: &BTreeSet<u64>) -> Vec<(u64, u64)> {
    let downs = net.reports.iter().filter_map(|(_, at, event)| match event {
        Event::Down { node, .. } if !dead.contains(&node.0) => Some((*at, node.0)),
        _ => None,
    });
    downs.collect()
}

fn holds_down(net: &Net, observer: u64, node: u64) -> bool {
    let entry = net.nodes[&observer].swim.entry(NodeId(node));
    entry.is_some_and(|entry| entry.state == Liveness::Down)
}

/// Ten minutes at 10 % loss: nobody who lives is declared down, and everybody who dies is,
/// everywhere.
fn check_deaths_and_nothing_else(options: Options, count: u64, seed: u64) {
    let mut net = Net::cluster(options, count, seed);
    assert!(net.disagreements().is_empty(), "all have met: {:?}", net.disagreements());
    net.loss_per_million = 100_000;
    let mut rng = Prng::seeded(seed);
    let mut dead = BTreeSet::new();
    let periods = MINUTE.as_nanos() / net.options.probe_period.as_nanos();
    for _ in 0..10 {
        net.run(MINUTE);
        assert_eq!(false_downs(&net, &dead), [], "seed {seed}, {count} nodes");
        for gone in &dead {
            let missed: Vec<u64> =
                net.running().into_iter().filter(|n| !holds_down(&net, *n, *gone)).collect();
            assert_eq!(missed, [], "{periods} periods after n{gone} died: who has not noticed");
        }
        let running = net.running();
        if running.len() > count as usize / 2
            && let Some(victim) = rng.pick(&running)
        {
            net.power(*victim, Power::Dead);
            dead.insert(*victim);
        }
    }
    assert!(!dead.is_empty(), "somebody died");
}

#[test]
fn ten_nodes_on_a_lossy_network_see_every_death_and_no_other() {
    (1..=2).for_each(|seed| check_deaths_and_nothing_else(Options::fast(), 10, seed));
}

#[test]
fn fifty_nodes_on_a_lossy_network_see_every_death_and_no_other() {
    check_deaths_and_nothing_else(Options::lan(), 50, 6);
}

#[test]
fn three_nodes_on_a_lossy_network_see_every_death_and_no_other() {
    (1..=3).for_each(|seed| check_deaths_and_nothing_else(Options::fast(), 3, seed));
}

/// Faults a run may have.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Faults {
    /// Partitions and pauses: nobody forgets anything.
    OfTheNetwork,
    /// Deaths and restarts at other addresses, too.
    All,
}

/// Faults of up to half of the nodes at a time: when they stop, all agree.
fn check_views_converge(count: u64, seed: u64, faults: Faults) {
    let mut net = Net::cluster(Options::fast(), count, seed);
    let mut rng = Prng::seeded(seed);
    net.loss_per_million = 50_000;
    for round in 0..12 {
        let mut nodes: Vec<u64> = net.nodes.keys().copied().collect();
        rng.shuffle(&mut nodes);
        let some = 1 + rng.below(count / 2) as usize;
        match rng.below(if faults == Faults::All { 4 } else { 2 }) {
            0 => net.partition(&nodes[..some]),
            1 => nodes[..some].iter().for_each(|node| net.power(*node, Power::Paused)),
            2 => nodes[..some].iter().for_each(|node| {
                let port = 7500 + round;
                net.start(*node, port, &[net.nodes[&nodes[count as usize - 1]].address]);
            }),
            _ => nodes[..some].iter().for_each(|node| net.power(*node, Power::Dead)),
        }
        net.run(rng.duration(Duration::from_millis(500), Duration::from_secs(20)));
        net.heal();
        for node in 1..=count {
            match net.nodes[&node].power {
                Power::Running => {}
                Power::Paused => net.power(node, Power::Running),
                // The last one to be seen anywhere is a contact that lives.
                Power::Dead => {
                    let contact = net.nodes[&net.running()[0]].address;
                    net.start(node, 7400, &[contact]);
                }
            }
        }
    }
    net.loss_per_million = 0;
    if faults == Faults::All {
        // All may have moved at once, so that nobody is where anybody remembers: one contact is
        // enough.
        let contact = net.nodes[&1].address;
        (2..=count).for_each(|node| net.input(node, Input::Contacts([contact].into())));
    }
    net.run(Duration::from_secs(30));
    let disagreements = net.disagreements();
    assert_eq!(disagreements.len(), 0, "seed {seed}, {count} nodes: {}", disagreements[0]);
    let alive = net.view(1).iter().filter(|row| row.1 == Liveness::Alive).count();
    assert_eq!(alive, count as usize, "seed {seed}: all are alive in the one view");
}

#[test]
fn when_faults_stop_all_views_agree() {
    for seed in 1..=5 {
        for faults in [Faults::OfTheNetwork, Faults::All] {
            check_views_converge(2 + seed % 4, seed, faults);
            check_views_converge(20, 100 + seed, faults);
        }
    }
}

#[test]
fn two_halves_that_never_met_become_one_by_one_contact() {
    let mut net = Net::new(Options::fast(), 7);
    for node in 1..=20 {
        net.start(node, 7400, &[address(if node <= 10 { 1 } else { 11 }, 7400)]);
    }
    net.run(Duration::from_secs(5));
    assert_eq!(net.view(1).len(), 10);
    net.input(3, Input::Contacts([address(15, 7400)].into()));
    net.run(Duration::from_secs(5));
    assert_eq!(net.disagreements().len(), 0);
    assert_eq!(net.view(1).len(), 20);
}

#[test]
fn all_restarted_at_other_addresses_find_each_other_by_any_contact() {
    let mut net = Net::cluster(Options::fast(), 5, 8);
    for node in 1..=5 {
        net.start(node, 7500, &[address(node % 5 + 1, 7500)]);
    }
    net.run(Duration::from_secs(5));
    assert_eq!(net.disagreements().len(), 0);
    assert!(net.view(1).iter().all(|row| row.1 == Liveness::Alive && row.3.port() == 7500));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let mut net = Net::cluster(Options::fast(), 8, 3);
        net.loss_per_million = 200_000;
        net.partition(&[1, 2, 3]);
        net.run(Duration::from_secs(20));
        net.heal();
        net.run(Duration::from_secs(20));
        (net.reports, net.bytes_sent)
    };
    assert_eq!(run(), run());
}

#[test]
fn a_death_among_three_to_seven_is_seen_soon() {
    for count in 3..=7 {
        let mut times = Vec::new();
        for seed in 0..10 {
            let mut net = Net::cluster(Options::fast(), count, seed);
            let killed = net.now;
            net.power(count, Power::Dead);
            net.run(Duration::from_secs(10));
            let first = net.reports.iter().find(|(_, _, e)| matches!(e, Event::Down { .. }));
            times.push(first.expect("the death is seen").0.since(killed));
        }
        times.sort_unstable();
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        eprintln!("nodes={count} first detection: median {median:?}, worst {worst:?}");
        assert!(worst < Duration::from_millis(2_000), "{worst:?}");
    }
}

#[test]
#[ignore = "the same with more seeds; takes a minute"]
fn many_seeds() {
    for seed in 100..130 {
        check_deaths_and_nothing_else(Options::fast(), 3 + seed % 8, seed);
        check_views_converge(2 + seed % 20, seed, Faults::OfTheNetwork);
        check_views_converge(2 + seed % 20, seed, Faults::All);
    }
    check_deaths_and_nothing_else(Options::fast(), 50, 1);
}

/// Figures for the design page: `cargo test -p muslin-core swim -- --ignored --nocapture`.
#[test]
#[ignore = "prints figures; takes minutes"]
fn figures() {
    for (count, loss) in [(3, 0), (100, 0), (100, 100_000), (1_000, 0)] {
        let mut net = Net::cluster(Options::lan(), count, 1);
        net.run(MINUTE);
        net.loss_per_million = loss;
        let (sent, quiet) = (net.bytes_sent, MINUTE * 5);
        net.run(quiet);
        let rate = (net.bytes_sent - sent) / quiet.as_secs() / count;
        let suspicions =
            net.reports.iter().filter(|(_, _, e)| matches!(e, Event::RefutedSelf { .. })).count();
        let down = false_downs(&net, &BTreeSet::new()).len();
        net.reports.clear();
        let killed = net.now;
        net.power(count, Power::Dead);
        net.run(MINUTE);
        let seen: Vec<Duration> = net
            .reports
            .iter()
            .filter(|(_, _, e)| matches!(e, Event::Down { .. }))
            .map(|(at, _, _)| at.since(killed))
            .collect();
        eprintln!(
            "nodes={count} loss={} quiet_B_per_s={rate} refuted={suspicions} false_downs={down} \
             first={:?} last={:?} seen_by={}",
            loss as f64 / 1e6,
            seen.first(),
            seen.last(),
            seen.len()
        );
    }
}
