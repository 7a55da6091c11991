//! Two of three control nodes are gone.

use crate::scene::{Node, PATIENCE, Plan, Scene, ensure, ms, until};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const CONTROL: usize = 3;
const WORKERS: usize = 2;

/// The worker that dies, and the one that wants in.
const VICTIM: usize = 4;
const JOINER: usize = 5;

/// A worker would have been declared down long before.
const DECLARED_BY: Duration = Duration::from_secs(8);

/// From the return of the second control node, until every node that runs has all in its record.
const SETTLED_MAX: Duration = Duration::from_secs(5);

pub(super) fn run(plan: &Plan) -> Result<(), String> {
    let mut scene = Scene::build(plan, (CONTROL + WORKERS + 1) as u8)?;
    let token = scene.found(CONTROL, WORKERS)?;
    let before = scene.nodes[0].local_record()?;
    for number in [1, 2] {
        scene.nodes[number].process.kill();
    }
    println!("  n2 and n3 of three control nodes are killed, and worker n5 after them");
    let since = Instant::now();
    let why = until("n1 says that there is no quorum", || {
        let nodes = scene.nodes[0].get("/v1/nodes").ok()?;
        Some(nodes["degraded"].as_str()?.to_string())
    })?;
    println!("  after {} ms n1 says: {why}", ms(since.elapsed()));
    scene.nodes[VICTIM].process.kill();
    let killed = Instant::now();
    refused(&scene, &token)?;
    views(&scene)?;
    std::thread::sleep(DECLARED_BY.saturating_sub(killed.elapsed()));
    let victim = scene.nodes[VICTIM].row_at(&scene.nodes[0])?;
    println!(
        "  {} s later n5 is {} to n1, and {} by the record",
        killed.elapsed().as_secs(),
        victim["state"],
        victim["standing"]
    );
    ensure(
        victim["state"] == "down" && victim["standing"] == "admitted",
        "n5 is not as it should",
    )?;
    let after = scene.nodes[0].local_record()?;
    ensure(before == after, format!("the record changed:\n{before}\n{after}"))?;
    settle(&mut scene, &token)
}

/// A join says why not, and leaves nothing in the record.
fn refused(scene: &Scene, token: &str) -> Result<(), String> {
    let (joiner, began) = (&scene.nodes[JOINER], Instant::now());
    let said = joiner.join(&scene.nodes[0].address(), &token_of(token))?;
    println!("  a join is refused after {} ms (exit {:?}):", ms(began.elapsed()), said.code);
    println!("    {}", said.words());
    ensure(said.code != Some(0), "it was let in")?;
    let is_told = said.stderr.contains("quorum") || said.stderr.contains("leader");
    ensure(is_told, "the reason is not told")?;
    ensure(began.elapsed() < PATIENCE, "it took too long")?;
    let left: Vec<PathBuf> = crate::scene::files(&joiner.place);
    println!("    files in its directory: {}", left.len());
    let is_only_begun = left.iter().all(|path| path.ends_with("identity/joining.json"));
    ensure(is_only_begun, format!("it left {left:?}"))
}

fn token_of(token: &str) -> [&str; 4] {
    ["--token", token, "--roles", "worker"]
}

/// Local views answer with their age; others say that they cannot.
fn views(scene: &Scene) -> Result<(), String> {
    for node in [&scene.nodes[0], &scene.nodes[3]] {
        for path in ["/v1/nodes", "/v1/cluster", "/v1/status"] {
            let view = node.get(&format!("{path}?consistency=local"))?;
            let (age, degraded) = (&view["staleness_ms"], &view["degraded"]);
            println!("  {} {path} local: {age} ms old", node.name());
            ensure(age.is_u64() && degraded.is_string(), format!("{path} says no age: {view}"))?;
        }
        let began = Instant::now();
        let answer = node.ask("GET", "/v1/nodes?consistency=linearizable", "")?;
        let words: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
        println!(
            "  {} /v1/nodes linearizable: {} {} after {} ms: {}",
            node.name(),
            answer.status,
            words["code"],
            ms(began.elapsed()),
            words["detail"]
        );
        ensure(matches!(answer.status, 503 | 504), "a view without a quorum")?;
        ensure(words["code"].is_string() && words["detail"].is_string(), "no reason is told")?;
    }
    Ok(())
}

/// The two return.
fn settle(scene: &mut Scene, token: &str) -> Result<(), String> {
    scene.nodes[1].up()?;
    scene.nodes[2].up()?;
    let back = Instant::now();
    let first = &scene.nodes[0];
    until("n1 sees a quorum", || {
        let nodes = first.get("/v1/nodes").ok()?;
        nodes["degraded"].is_null().then_some(())
    })?;
    let whole = back.elapsed();
    until("n5 is declared down", || standing(&scene.nodes[VICTIM], first, "down"))?;
    let declared = back.elapsed();
    let said = scene.nodes[JOINER].join(&first.address(), &token_of(token))?;
    let joined = back.elapsed();
    said.ok()?;
    for node in &scene.nodes[..VICTIM] {
        until(&format!("{} has it in its record", node.name()), || {
            standing(&scene.nodes[VICTIM], node, "down")?;
            standing(&scene.nodes[JOINER], node, "admitted")
        })?;
    }
    let everywhere = back.elapsed();
    println!(
        "  n2 and n3 are back: a quorum after {} ms, n5 is down after {} ms, n6 joined after {} \
         ms, all have it in their record after {} ms",
        ms(whole),
        ms(declared),
        ms(joined),
        ms(everywhere)
    );
    let members = first.get("/v1/cluster?consistency=linearizable")?["members"].clone();
    ensure(members == CONTROL + WORKERS + 1, format!("{members} members"))?;
    ensure(everywhere <= SETTLED_MAX, "not settled within 5 s")
}

/// Whether a node is this by the record of another.
fn standing(node: &Node, at: &Node, expected: &str) -> Option<()> {
    let row = node.row_at(at).ok()?;
    (row["standing"] == expected).then_some(())
}
