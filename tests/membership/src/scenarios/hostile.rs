//! A million datagrams of an attacker, at a node that serves.

use crate::follow::Events;
use crate::scene::{Node, Plan, Scene, ensure, ms};
use crate::wire::{self, Dice, Recorded};
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const NODES: usize = 3;

/// The machine that is not of the cluster.
const ATTACKER: u8 = 3;

const DATAGRAMS: u64 = 1_000_000;

/// Sent before the node is given time to read: what its socket holds, large ones among them.
const BURST: u64 = 250;

/// The node has so long to take a burst in.
const TAKEN_BY: Duration = Duration::from_secs(2);

/// Between two looks whether it has.
const LOOK_EVERY: Duration = Duration::from_micros(200);

/// Growth that says nothing: buffers of the allocator.
const GROWTH_MB_MAX: f64 = 16.0;

/// Between two writes meanwhile.
const WRITE_EVERY: Duration = Duration::from_millis(100);

/// What an attacker does with datagrams that it has recorded.
const TRICKS: [&str; 8] = [
    "replayed",
    "truncated",
    "oversized",
    "a bit flipped",
    "another sender",
    "another key",
    "another cluster",
    "random bytes",
];

/// Where the header says what.
const KEY_AT: usize = 1;
const CLUSTER_AT: usize = 2;
const SENDER_AT: usize = 17;

/// Larger than any that is taken.
const OVERSIZED: (u64, u64) = (1_201, 8_000);

fn trick(kind: usize, recorded: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut forged = recorded.to_vec();
    let length = recorded.len() as u64;
    let other = |dice: &mut Dice| 1 + dice.below(255) as u8;
    match kind {
        0 => {}
        1 => forged.truncate(1 + dice.below(length - 1) as usize),
        2 => forged.resize((OVERSIZED.0 + dice.below(OVERSIZED.1)) as usize, 7),
        3 => forged[1 + dice.below(length - 1) as usize] ^= 1 << dice.below(8),
        4 => forged[SENDER_AT] ^= other(dice),
        5 => forged[KEY_AT] = forged[KEY_AT].wrapping_add(other(dice)),
        6 => forged[CLUSTER_AT] ^= other(dice),
        // It begins as gossip does.
        _ => {
            (1..forged.len()).for_each(|at| forged[at] = dice.below(256) as u8);
            forged[0] = 4 + dice.below(12) as u8;
        }
    }
    forged
}

pub(super) fn run(plan: &Plan) -> Result<(), String> {
    let mut scene = Scene::build(plan, NODES as u8 + 1)?;
    scene.found(NODES, 0)?;
    let recorded = wire::record(0, Duration::from_secs(5))?;
    ensure(recorded.len() > 10, "too little was recorded")?;
    println!("  {} datagrams of gossip to n1 recorded", recorded.len());
    let (node, events) = (&scene.nodes[0], Events::follow(&scene)?);
    let (before, memory) = (node.record()?, node.resident_mb()?);
    let lost_before = wire::overrun(0)?;
    let began = Instant::now();
    let is_over = AtomicBool::new(false);
    let (taken, served) = std::thread::scope(|scope| {
        let served = scope.spawn(|| serve(node, &is_over));
        let taken = attack(node, &recorded);
        is_over.store(true, Ordering::Relaxed);
        let served = served.join().map_err(|_| "a thread died".to_string());
        Ok::<_, String>((taken?, served??))
    })?;
    let took = began.elapsed();
    let lost = wire::overrun(0)? - lost_before;
    println!(
        "  {DATAGRAMS} sent in {:.0} s; the node looked at {taken:.0} and dropped them, the system \
         dropped {lost} at its socket",
        took.as_secs_f64()
    );
    println!("  meanwhile {} writes and reads, slowest {} ms", served.count, ms(served.slowest));
    let after = node.resident_mb()?;
    println!("  memory {memory:.1} MB before, {after:.1} MB after");
    ensure(taken + lost as f64 >= DATAGRAMS as f64, "some were not dropped")?;
    ensure(after - memory <= GROWTH_MB_MAX, "memory grew")?;
    let deaths = events.deaths();
    ensure(deaths.is_empty(), format!("taken for dead: {}", deaths.join("; ")))?;
    ensure(before == node.record()?, "the record changed")?;
    println!("  members, epoch, tokens and joins are as before, on all nodes");
    scene.wait_whole(NODES, NODES)
}

/// Sends them all; how many more the node has dropped.
fn attack(node: &Node, recorded: &[Recorded]) -> Result<f64, String> {
    let dropped = || node.metric("muslin_transport_datagrams_dropped_total");
    let socket: UdpSocket = wire::sender(ATTACKER, &node.address())?;
    let (mut dice, before) = (Dice::seeded(1), dropped()?);
    let mut sent = [0u64; TRICKS.len()];
    let mut queue = wire::Queue::of(node.number)?;
    for number in 0..DATAGRAMS {
        let kind = number as usize % TRICKS.len();
        let one = &recorded[dice.below(recorded.len() as u64) as usize].bytes;
        socket.send(&trick(kind, one, &mut dice)).map_err(|e| format!("cannot send: {e}"))?;
        sent[kind] += 1;
        if number % BURST == BURST - 1 {
            let until = Instant::now() + TAKEN_BY;
            while queue.bytes()? > 0 && Instant::now() < until {
                std::thread::sleep(LOOK_EVERY);
            }
        }
    }
    std::thread::sleep(Duration::from_secs(1));
    for (name, sent) in TRICKS.iter().zip(sent) {
        println!("    sent {sent:>7} {name}");
    }
    for reason in ["short", "long", "kind", "cluster", "epoch", "key", "forged", "replayed"] {
        let label = format!("muslin_transport_datagrams_dropped_total{{reason=\"{reason}\"}}");
        println!("    dropped {:>7} {reason}", node.metric(&label)?);
    }
    Ok(dropped()? - before)
}

/// What clients were given meanwhile.
struct Served {
    count: u32,
    slowest: Duration,
}

/// Writes and reads through the node under attack until told to stop.
fn serve(node: &Node, is_over: &AtomicBool) -> Result<Served, String> {
    let mut served = Served { count: 0, slowest: Duration::ZERO };
    while !is_over.load(Ordering::Relaxed) {
        let (began, value) = (Instant::now(), served.count.to_string());
        node.put("under-attack", &value)?;
        let read = node.ask("GET", "/v1/kv/under-attack", "")?;
        ensure(read.body == value, format!("{value} was written and {:?} read", read.body))?;
        served.count += 1;
        served.slowest = served.slowest.max(began.elapsed());
        std::thread::sleep(WRITE_EVERY);
    }
    Ok(served)
}
