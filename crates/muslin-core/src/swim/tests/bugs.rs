//! Each planted bug must make a test go red; without it the same test is green.

use super::net::{Doorkeeper, Net, Power, address};
use crate::base::{Epoch, Incarnation, Machine, NodeId, Now, Outputs};
use crate::swim::planted::Bug;
use crate::swim::timing::suspicion_time;
use crate::swim::{Event, Input, Liveness, Options, Output, Packet, PacketKind, Rumor, Swim};
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};

const SECOND: Duration = Duration::from_secs(1);

/// A cluster of nodes that have this bug.
fn cluster(bug: Option<Bug>, count: u64, seed: u64) -> Net {
    let mut net = Net::new(Options::fast(), seed);
    net.planted = bug;
    for node in 1..=count {
        net.start(node, 7400, &[address(1, 7400)]);
    }
    net.run(SECOND * 5);
    net.reports.clear();
    net
}

fn state(net: &Net, observer: u64, node: u64) -> Option<Liveness> {
    net.nodes[&observer].swim.entry(NodeId(node)).map(|entry| entry.state)
}

fn count(net: &Net, is_meant: impl Fn(&Event) -> bool) -> usize {
    net.reports.iter().filter(|(_, _, event)| is_meant(event)).count()
}

/// Nobody of those that run is held to be anything but alive by another.
fn all_are_alive(net: &Net) {
    let running = net.running();
    for one in &running {
        for other in running.iter().filter(|other| *other != one) {
            assert_eq!(state(net, *one, *other), Some(Liveness::Alive), "n{one} of n{other}");
        }
    }
}

fn a_death_is_seen_by_all(bug: Option<Bug>) {
    for seed in 1..=3 {
        let mut net = cluster(bug, 6, seed);
        net.power(6, Power::Dead);
        net.run(SECOND * 8);
        for node in 1..=5 {
            assert_eq!(state(&net, node, 6), Some(Liveness::Down), "n{node}");
        }
    }
}

/// A node that has known of 2 to 40 from before, `missing` excepted.
fn knowing(bug: Option<Bug>, id: u64, missing: Option<u64>) -> Swim {
    let rumor = |node: u64| Rumor {
        node: NodeId(node),
        state: Liveness::Alive,
        incarnation: Incarnation(1),
        address: Some(address(node, 7400)),
        metadata: Some(super::net::metadata(node)),
        ticket: Bytes::new(),
        by: NodeId(node),
        gone_s: 0,
    };
    let (options, now) = (Options::fast(), Now::START);
    let (place, metadata) = (address(id, 7400), super::net::metadata(id));
    let swim = Swim::new(NodeId(id), Epoch(1), place, metadata, options, 1, now);
    let others = (2..=40).filter(|node| Some(*node) != missing).map(rumor);
    let mut swim = swim.recalling(others, now);
    swim.planted = bug;
    swim
}

fn packet(from: u64, kind: PacketKind, rumors: Vec<Rumor>) -> Packet {
    let (from, incarnation, epoch) = (NodeId(from), Incarnation(1), Epoch(1));
    Packet { from, incarnation, epoch, kind, rumors }
}

fn said(node: u64, state: Liveness, by: u64) -> Rumor {
    let (node, by, incarnation) = (NodeId(node), NodeId(by), Incarnation(1));
    let (address, metadata, ticket, gone_s) = (None, None, Bytes::new(), 0);
    Rumor { node, state, incarnation, address, metadata, ticket, by, gone_s }
}

/// Whoever has heard of a suspicion ends it by itself: the accuser may be dead by then.
fn a_suspicion_ends_without_its_accuser(bug: Option<Bug>) {
    let mut swim = knowing(bug, 1, None);
    let rumors = alloc::vec![said(3, Liveness::Suspect, 2)];
    let packet = packet(2, PacketKind::Gossip, rumors);
    let now = Now::from_millis(1);
    let from = address(2, 7400);
    swim.handle(now, Input::Packet { from, packet }, &mut Outputs::new());
    let (ends, node) = swim.members.next_timer().expect("a suspicion runs");
    let longest = suspicion_time(&Options::fast(), 40, 0);
    assert!(node == NodeId(3) && ends <= now + longest, "{ends:?}");
}

fn an_old_rumor_of_death_kills_nobody(bug: Option<Bug>) {
    let mut net = cluster(bug, 4, 1);
    for name in ["one", "two", "three"] {
        let mut metadata = super::net::metadata(4);
        metadata.name = name.into();
        net.input(4, Input::Describe(metadata));
    }
    net.run(SECOND);
    net.reports.clear();
    let old = packet(2, PacketKind::Gossip, alloc::vec![said(4, Liveness::Down, 2)]);
    net.send(address(2, 7400), address(1, 7400), &old);
    net.run(SECOND);
    assert_eq!(count(&net, |event| matches!(event, Event::Down { node: NodeId(4), .. })), 0);
    all_are_alive(&net);
}

fn a_lying_neighbour_keeps_no_dead_node_alive(bug: Option<Bug>) {
    let mut net = cluster(bug, 2, 1);
    net.start(3, 7400, &[address(1, 7400)]);
    net.run(SECOND);
    net.power(3, Power::Dead);
    net.power(2, Power::Dead);
    net.liar = Some((2, 1));
    net.run(SECOND * 10);
    assert_eq!(state(&net, 1, 3), Some(Liveness::Down));
}

fn a_suspect_hears_of_it_and_refutes(bug: Option<Bug>) {
    let mut net = cluster(bug, 2, 1);
    net.cuts.extend([(1, 2), (2, 1)]);
    net.stream_cuts.extend([(1, 2), (2, 1)]);
    net.run(Duration::from_millis(600));
    assert!(count(&net, |event| matches!(event, Event::Suspected { .. })) > 0);
    net.heal();
    net.run(SECOND * 3);
    assert_eq!(count(&net, |event| matches!(event, Event::Down { .. })), 0);
    all_are_alive(&net);
}

fn streams_alone_keep_two_nodes_together(bug: Option<Bug>) {
    let mut net = cluster(bug, 2, 1);
    net.cuts.extend([(1, 2), (2, 1)]);
    net.run(SECOND * 60);
    assert_eq!(count(&net, |event| matches!(event, Event::Suspected { .. })), 0);
}

/// One of two does not know of a member: comparing finds it, whoever it is.
fn a_comparison_finds_each_difference(bug: Option<Bug>) {
    for missing in 2..=40 {
        let mut asked = knowing(bug, 1, None);
        let asker = knowing(bug, 2, Some(missing));
        let kind = PacketKind::Sync { digest: asker.digest() };
        let (from, packet) = (address(2, 7400), packet(2, kind, Vec::new()));
        let mut out = Outputs::new();
        asked.handle(Now::from_millis(1), Input::Packet { from, packet }, &mut out);
        let tells = |output: &Output| match output {
            Output::Send { packet, .. } => {
                packet.rumors.iter().any(|rumor| rumor.node == NodeId(missing))
            }
            _ => false,
        };
        // The asker knows of itself, and so differs in nothing when it is the one.
        assert!(missing == 2 || out.as_slice().iter().any(tells), "n{missing} is not told of");
    }
}

fn a_node_that_was_stopped_judges_nobody(bug: Option<Bug>) {
    for seed in 1..=10 {
        let mut net = cluster(bug, 5, seed);
        // It asks, and is stopped before the answer comes; the answer is lost.
        net.partition(&[1]);
        net.run(Duration::from_millis(240));
        net.power(1, Power::Dead);
        net.run(SECOND);
        net.heal();
        net.power(1, Power::Running);
        net.run(Duration::from_millis(20));
        let suspected = |event: &Event| matches!(event, Event::Suspected { by: NodeId(1), .. });
        assert_eq!(count(&net, suspected), 0, "seed {seed}");
    }
}

fn an_invalid_ticket_changes_nothing(bug: Option<Bug>) {
    let mut net = Net::new(Options::fast(), 1);
    (net.planted, net.gate) = (bug, Some(Doorkeeper::default()));
    for node in 1..=3 {
        net.start(node, 7400, &[address(1, 7400)]);
        net.input(node, Input::Ticket(Bytes::from_static(b"good")));
    }
    net.run(SECOND * 3);
    let life = net.nodes[&1].swim.entry(NodeId(3)).expect("it was let in").incarnation;
    net.input(3, Input::Ticket(Bytes::from_static(b"bad")));
    net.run(SECOND * 3);
    let entry = net.nodes[&1].swim.entry(NodeId(3)).expect("it is known");
    assert_eq!(entry.incarnation, life, "M3: a life without a valid ticket was believed in");
}

fn a_slice_stays_a_slice(bug: Option<Bug>) {
    super::slices::check_slices(bug, 12, 1);
}

/// Runs a check twice: sound it is green, with the bug it is red.
fn goes_red(bug: Bug, check: fn(Option<Bug>)) {
    check(None);
    let red = catch_unwind(AssertUnwindSafe(|| check(Some(bug))));
    assert!(red.is_err(), "{bug:?} is not seen");
}

macro_rules! bugs {
    ($($name:ident: $bug:ident is seen by $check:ident;)+) => {
        $(#[test]
        fn $name() {
            goes_red(Bug::$bug, $check);
        })+
    };
}

bugs! {
    down_that_beats_any_life: DownBeatsAnyLife is seen by an_old_rumor_of_death_kills_nobody;
    any_ack_settles: AnyAckSettles is seen by a_lying_neighbour_keeps_no_dead_node_alive;
    only_the_accuser_times: OnlyAccuserTimes is seen by a_suspicion_ends_without_its_accuser;
    a_nack_is_no_ack: NackIsAck is seen by a_death_is_seen_by_all;
    a_bucket_is_ignored: BucketIgnored is seen by a_comparison_finds_each_difference;
    a_suspect_is_not_told: SuspectNotTold is seen by a_suspect_hears_of_it_and_refutes;
    a_stream_answer_is_lost: StreamAnswerLost is seen by streams_alone_keep_two_nodes_together;
    a_ticket_is_checked_once: TicketCheckedOncePerNode is seen by an_invalid_ticket_changes_nothing;
    any_ticket_opens: TicketOfAnyCluster is seen by an_invalid_ticket_changes_nothing;
    a_stopped_node_judges: StoppedNodeJudges is seen by a_node_that_was_stopped_judges_nobody;
    a_refutation_in_the_same_life: RefutesInSameLife is seen by a_suspect_hears_of_it_and_refutes;
    a_slice_without_bound: SliceNotBounded is seen by a_slice_stays_a_slice;
}
