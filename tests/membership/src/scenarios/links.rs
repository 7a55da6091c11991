//! Links that carry nothing, or no gossip.

use crate::follow::Events;
use crate::scene::{Plan, Scene, ensure};
use chaos::stage::Rule;
use std::time::{Duration, Instant};

const NODES: usize = 5;

/// A suspicion becomes a death in a second or two.
const HELD: Duration = Duration::from_secs(60);

/// A link that is whole again is known to be by then: each member was probed several times.
const HEALED: Duration = Duration::from_secs(6);

fn both_ways(one: usize, other: usize, rule: fn(u8, u8) -> Rule) -> [Rule; 2] {
    let (one, other) = (one as u8, other as u8);
    [rule(one, other), rule(other, one)]
}

/// Two that do not lead; all of their link, and then its datagrams alone.
pub(super) fn cut(plan: &Plan) -> Result<(), String> {
    let mut scene = Scene::build(plan, NODES as u8)?;
    scene.found(NODES, 0)?;
    let followers = scene.followers()?;
    let [one, other, ..] = followers[..] else { return Err("no two followers".to_string()) };
    let cut: fn(u8, u8) -> Rule = |from, to| Rule::Cut { from, to };
    let gossip: fn(u8, u8) -> Rule = |from, to| Rule::CutGossip { from, to };
    for (what, rule) in [("everything", cut), ("all gossip", gossip)] {
        let names = [one, other].map(|number| scene.nodes[number].name());
        println!("  {what} between {} and {} is lost for {} s", names[0], names[1], HELD.as_secs());
        let found = hold(&scene, &both_ways(one, other, rule))?;
        for (by, about) in [(one, other), (other, one)] {
            let (by, about) = (by as u8, scene.nodes[about].name());
            let reached = found.about("node-reached", &about);
            let first = reached.iter().find(|told| told.by == by);
            let words = first.map_or("never needed a detour", |told| told.text.as_str());
            println!("    n{}: {words}", by + 1);
            ensure(first.is_some(), "no detour was told: was the link cut?")?;
        }
        std::thread::sleep(HEALED);
    }
    scene.wait_whole(NODES, 3)
}

/// A voter that does not lead, to and from everybody. QUIC runs over UDP too: only datagrams that
/// begin as sealed gossip does are lost.
pub(super) fn no_gossip(plan: &Plan) -> Result<(), String> {
    let mut scene = Scene::build(plan, NODES as u8)?;
    scene.found(NODES, 0)?;
    let victim = *scene.followers()?.first().ok_or("no follower")?;
    let name = scene.nodes[victim].name();
    let others = (0..NODES).filter(|number| *number != victim);
    let rules: Vec<Rule> = others
        .flat_map(|other| both_ways(victim, other, |from, to| Rule::CutGossip { from, to }))
        .collect();
    println!("  all gossip to and from {name} is lost for {} s", HELD.as_secs());
    let found = hold(&scene, &rules)?;
    let reached = found.about("node-reached", &name);
    let by_stream = reached.iter().filter(|told| told.text.contains("on a stream"));
    for told in by_stream.clone() {
        println!("    n{}: {}", told.by + 1, told.text);
    }
    ensure(by_stream.count() > 0, "nobody reached it on a stream")?;
    scene.wait_whole(NODES, 3)
}

/// Holds the faults and looks that nobody is taken for dead; what happened.
fn hold(scene: &Scene, rules: &[Rule]) -> Result<Events, String> {
    let events = Events::follow(scene)?;
    scene.network.set(rules)?;
    let until = Instant::now() + HELD;
    while Instant::now() < until && events.deaths().is_empty() {
        std::thread::sleep(Duration::from_millis(100));
    }
    let deaths = events.deaths();
    let suspicions = events.all().iter().filter(|told| told.kind == "node-suspect").count();
    scene.network.set(&[])?;
    println!("    {suspicions} suspicions, {} deaths, in the eyes of all five", deaths.len());
    ensure(deaths.is_empty(), format!("taken for dead: {}", deaths.join("; ")))?;
    Ok(events)
}
