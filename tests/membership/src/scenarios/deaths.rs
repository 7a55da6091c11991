//! Nodes that die, stand still, or say good-bye.

use crate::follow::Events;
use crate::scene::{Plan, Scene, ensure, ms, until};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::time::{Duration, Instant};

const NODES: usize = 5;

/// From the kill to the record.
const DECLARED_MAX: Duration = Duration::from_secs(3);

/// How long a process stands still.
const PAUSE: Duration = Duration::from_secs(1);

/// After that a suspicion would have become a death long ago.
const AFTER_PAUSE: Duration = Duration::from_secs(5);

/// From the signal to the record.
const LEFT_MAX: Duration = Duration::from_secs(1);

/// Long after it should have happened.
const WAIT: Duration = Duration::from_secs(15);

fn five(plan: &Plan) -> Result<Scene, String> {
    let mut scene = Scene::build(plan, NODES as u8)?;
    scene.found(NODES, 0)?;
    Ok(scene)
}

/// Each of the five once, the leader among them.
pub(super) fn killed(plan: &Plan) -> Result<(), String> {
    let mut scene = five(plan)?;
    let mut times = Vec::new();
    for victim in (0..NODES).rev() {
        let events = Events::follow(&scene)?;
        let leader = scene.leader()?;
        let name = scene.nodes[victim].name();
        let killed = Instant::now();
        scene.nodes[victim].process.kill();
        // The record changes everywhere; the leader, or whoever leads by then, applies it first.
        let told = events.wait("member-down", &name, killed, WAIT)?;
        let took = told.at - killed;
        let what = if victim == leader { " (the leader)" } else { "" };
        println!("  {name}{what} killed, declared down after {} ms", ms(took));
        println!("    {}", told.text);
        explain(&scene, &name)?;
        times.push(took);
        scene.nodes[victim].up()?;
        scene.wait_whole(NODES, 3)?;
    }
    times.sort();
    println!(
        "  median {} ms, longest {} ms",
        ms(times[times.len() / 2]),
        ms(times[times.len() - 1])
    );
    ensure(times.iter().all(|took| *took <= DECLARED_MAX), "not declared down within 3 s")
}

/// `explain` names probers and watchers.
fn explain(scene: &Scene, name: &str) -> Result<(), String> {
    let asked = &scene.nodes[scene.leader()?];
    let subject = format!("node/{name}");
    let told = until("the death is explained", || {
        let told = asked.run_json(&["explain", &subject]).ok()?;
        (told["answer"] == format!("{name} is down")).then_some(told)
    })?;
    let because: Vec<&str> =
        told["because"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let confirmed: Vec<&&str> = because.iter().filter(|l| l.contains(" confirmed it: ")).collect();
    for line in &confirmed {
        println!("    explain: {line}");
    }
    let is_named = |line: &&str| line.contains("probed it in vain") && line.contains("n");
    ensure(
        !confirmed.is_empty() && because.iter().any(is_named),
        format!("explained by {because:?}"),
    )
}

/// Followers and the leader, one after the other.
pub(super) fn paused(plan: &Plan) -> Result<(), String> {
    let scene = five(plan)?;
    let events = Events::follow(&scene)?;
    for victim in 0..NODES {
        let leader = scene.leader()?;
        let (node, began) = (&scene.nodes[victim], Instant::now());
        node.process.signal(Signal::SIGSTOP)?;
        std::thread::sleep(PAUSE);
        node.process.signal(Signal::SIGCONT)?;
        let stood = began.elapsed();
        std::thread::sleep(AFTER_PAUSE);
        let since = |kind: &str| {
            let about = events.about(kind, &node.name());
            about.into_iter().filter(|one| one.at >= began).count()
        };
        let what = if victim == leader { " (the leader)" } else { "" };
        println!(
            "  {}{what} stood still for {} ms: suspected by {}, refuted for {}, down for {}",
            node.name(),
            ms(stood),
            since("node-suspect"),
            since("node-alive"),
            since("node-down")
        );
    }
    let deaths = events.deaths();
    ensure(deaths.is_empty(), format!("somebody was taken for dead: {}", deaths.join("; ")))?;
    scene.wait_whole(NODES, 3)
}

/// A node that does not vote, one that does, and the leader.
pub(super) fn stopped(plan: &Plan) -> Result<(), String> {
    let mut scene = five(plan)?;
    for wanted in ["spare", "voter", "leader"] {
        let mut all = 0..NODES;
        // A spare follows the log as a learner, or is told by a voter.
        let fits = |part: &str| part == wanted || (wanted == "spare" && part == "none");
        let is_it = |number: &usize| {
            role(&scene, *number).is_ok_and(|part| fits(part.replace("learner", "none").as_str()))
        };
        let victim = all.find(is_it).ok_or(format!("there is no {wanted}"))?;
        let (name, role) = (scene.nodes[victim].name(), role(&scene, victim)?);
        let events = Events::follow(&scene)?;
        let signalled = Instant::now();
        scene.nodes[victim].process.signal(Signal::SIGTERM)?;
        let seen = events.wait("node-left", &name, signalled, WAIT)?;
        let told = events.wait("member-left", &name, signalled, WAIT)?;
        let (seen, told) = (seen.at - signalled, told.at - signalled);
        let status = scene.nodes[victim].process.wait_for_end()?;
        println!(
            "  {name} ({role}) was told to stop: seen to leave after {} ms, left by the record \
             after {} ms, ended after {} ms",
            ms(seen),
            ms(told),
            ms(signalled.elapsed())
        );
        ensure(status.success(), format!("{name} ended with {status}"))?;
        ensure(told <= LEFT_MAX, format!("left after {} ms only", ms(told)))?;
        let deaths = events.deaths();
        ensure(deaths.is_empty(), format!("taken for dead: {}", deaths.join("; ")))?;
        scene.nodes[victim].up()?;
        scene.wait_whole(NODES, 3)?;
    }
    Ok(())
}

/// Its part in the control group.
fn role(scene: &Scene, number: usize) -> Result<String, String> {
    let node = &scene.nodes[number];
    Ok(node.row_at(node)?["role"].as_str().unwrap_or_default().to_string())
}
