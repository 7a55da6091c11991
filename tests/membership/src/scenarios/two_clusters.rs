//! Two clusters on one switch, with one multicast group and the same ports.

use crate::scene::{Plan, Scene, ensure};
use chaos::stage::address;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const EACH: usize = 3;

/// Nodes are restarted one after the other for so long.
const MIXED_FOR: Duration = Duration::from_secs(60);

/// Between two restarts.
const RESTART_EVERY: Duration = Duration::from_secs(6);

pub(super) fn run(plan: &Plan) -> Result<(), String> {
    let mut scene = Scene::build(plan, 2 * EACH as u8)?;
    for number in 0..2 * EACH {
        // The seeds are of the other cluster: whoever follows them must come back empty-handed.
        let other = address(((number + EACH) % (2 * EACH)) as u8);
        let way = format!("multicast:239.1.1.1:7399@{}", address(number as u8));
        let seed = format!("{other}:{}", crate::scene::PORT);
        scene.nodes[number].flags =
            ["--discover", &way, "--seeds", &seed].map(String::from).to_vec();
    }
    for first in [0, EACH] {
        found(&mut scene, first)?;
    }
    let began = Instant::now();
    let mut restarts = 0;
    while began.elapsed() < MIXED_FOR {
        let number = restarts % (2 * EACH);
        scene.nodes[number].process.kill();
        // So that it has only multicast to go by.
        let _ = std::fs::remove_file(scene.nodes[number].place.join("peers.json"));
        scene.nodes[number].up()?;
        restarts += 1;
        std::thread::sleep(RESTART_EVERY);
    }
    println!(
        "  {restarts} restarts in {} s, each without its list of members",
        MIXED_FOR.as_secs()
    );
    for first in [0, EACH] {
        wait_whole(&scene, first)?;
        for node in &scene.nodes[first..first + EACH] {
            let seen = names_seen(&node.get("/v1/nodes")?);
            let dropped =
                node.metric("muslin_transport_datagrams_dropped_total{reason=\"cluster\"}")?;
            println!(
                "  {} sees {seen:?}; datagrams of another cluster dropped: {dropped}",
                node.name()
            );
            let own: BTreeSet<String> =
                scene.nodes[first..first + EACH].iter().map(|node| node.name()).collect();
            ensure(seen == own, format!("{} sees {seen:?}", node.name()))?;
        }
    }
    let ids: BTreeSet<String> = [0, EACH]
        .iter()
        .map(|first| Ok(scene.nodes[*first].get("/v1/cluster")?["id"].to_string()))
        .collect::<Result<_, String>>()?;
    ensure(ids.len() == 2, "they have one id")?;
    for (first, whose) in [(0, "ours"), (EACH, "theirs")] {
        scene.nodes[first].put("whose", whose)?;
    }
    let read = scene.nodes[1].ask("GET", "/v1/kv/whose", "")?.body;
    ensure(read == "ours", format!("n2 reads {read}"))
}

fn found(scene: &mut Scene, first: usize) -> Result<(), String> {
    let token = scene.nodes[first].init()?;
    scene.nodes[first].up()?;
    crate::scene::until("the founder answers", || scene.nodes[first].put("founded", "yes").ok())?;
    for number in first + 1..first + EACH {
        let through = scene.nodes[first].address();
        scene.nodes[number].join(&through, &["--token", &token])?.ok()?;
        scene.nodes[number].up()?;
    }
    wait_whole(scene, first)
}

fn wait_whole(scene: &Scene, first: usize) -> Result<(), String> {
    for node in &scene.nodes[first..first + EACH] {
        crate::scene::until(&format!("{} sees three voters", node.name()), || {
            let status = node.get("/v1/status").ok()?;
            let is_whole = status["voters"]["total"] == EACH && status["health"] == "healthy";
            is_whole.then_some(())
        })?;
    }
    Ok(())
}

fn names_seen(nodes: &Value) -> BTreeSet<String> {
    let rows = nodes["items"].as_array().into_iter().flatten();
    rows.filter_map(|row| row["name"].as_str()).map(String::from).collect()
}
