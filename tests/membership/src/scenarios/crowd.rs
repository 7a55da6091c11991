//! Many that join at once.

use crate::scene::{Node, Plan, Scene, ensure, files, until};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const CONTROL: usize = 3;

/// From how many members on nodes follow a slice, and how large it is.
const SLICE_ABOVE: usize = 10;

/// A slice, the voters, and the node itself.
const VIEW_MAX: usize = SLICE_ABOVE + CONTROL + 1;

/// Memory is read when nothing has happened for so long.
const QUIET: Duration = Duration::from_secs(5);

pub(super) fn run(plan: &Plan) -> Result<(), String> {
    let mut scene = Scene::build(plan, (CONTROL + plan.crowd) as u8)?;
    for node in &mut scene.nodes {
        node.flags = vec!["--slice-above".to_string(), SLICE_ABOVE.to_string()];
    }
    scene.found(CONTROL, 0)?;
    let workers = plan.crowd;
    let uses = workers.to_string();
    let create = ["token", "create", "--name", "crowd", "--roles", "worker", "--uses", &uses];
    let token = scene.nodes[0].run_json(&create)?;
    let token = token["token"].as_str().ok_or("no token")?.to_string();
    let joined = join_all(&scene, &token)?;
    println!(
        "  {workers} joins through {CONTROL} nodes in {:.2} s: {:.1} joins/s",
        joined.as_secs_f64(),
        workers as f64 / joined.as_secs_f64()
    );
    let began = Instant::now();
    for node in &mut scene.nodes[CONTROL..] {
        node.up()?;
    }
    admitted(&scene)?;
    nothing_leaks(&scene)?;
    views(&scene)?;
    println!(
        "  all run and are seen {:.1} s after they were started",
        began.elapsed().as_secs_f64()
    );
    std::thread::sleep(QUIET);
    memory(&scene.nodes)
}

/// All at once; how long until the last was admitted.
fn join_all(scene: &Scene, token: &str) -> Result<Duration, String> {
    let began = Instant::now();
    std::thread::scope(|scope| {
        let mut joins = Vec::new();
        for (number, node) in scene.nodes[CONTROL..].iter().enumerate() {
            let through = scene.nodes[number % CONTROL].address();
            joins.push(scope.spawn(move || {
                let said = node.join(&through, &["--token", token, "--roles", "worker"])?;
                said.ok().map_err(|why| format!("{}: {why}", node.name()))
            }));
        }
        let ended =
            joins.into_iter().map(|one| one.join().map_err(|_| "a thread died".to_string())?);
        let all: Result<Vec<String>, String> = ended.collect();
        all.map(|_| began.elapsed())
    })
}

/// Every control node has all in its record, and no name or id twice.
fn admitted(scene: &Scene) -> Result<(), String> {
    let all = scene.nodes.len();
    for node in &scene.nodes[..CONTROL] {
        let rows = until(&format!("{} has all {all} members", node.name()), || {
            let nodes = node.get("/v1/nodes").ok()?;
            let rows: Vec<Value> = nodes["items"].as_array()?.clone();
            let admitted = rows.iter().filter(|row| row["standing"] == "admitted").count();
            (admitted == all).then_some(rows)
        })?;
        let distinct = |name: &str| {
            rows.iter().filter_map(|row| row[name].as_str()).collect::<BTreeSet<_>>().len()
        };
        let (names, ids) = (distinct("name"), distinct("id"));
        println!("  {} knows {} members: {names} names, {ids} ids", node.name(), rows.len());
        ensure(rows.len() == all && names == all && ids == all, "not each of them once")?;
    }
    Ok(())
}

fn nothing_leaks(scene: &Scene) -> Result<(), String> {
    let first = &scene.nodes[0];
    // Two hundred programs that start on two cores take the leader its time, for a while.
    let cluster =
        until("a quorum answers", || first.get("/v1/cluster?consistency=linearizable").ok())?;
    let voters = cluster["voters"].as_array().map_or(0, Vec::len);
    let token = first.get("/v1/tokens/crowd")?;
    let left: usize = scene
        .nodes
        .iter()
        .map(|node| {
            let leftover = |path: &std::path::PathBuf| path.ends_with("identity/joining.json");
            files(&node.place).iter().filter(|path| leftover(path)).count()
        })
        .sum();
    println!(
        "  voters {voters}, joins that wait {}, token used {} times and {}, \
         files of joins left {left}",
        cluster["joins_waiting"], token["used"], token["state"]
    );
    ensure(voters == 3, "the voters changed")?;
    ensure(cluster["joins_waiting"] == 0, "joins wait")?;
    ensure(
        token["used"] == scene.nodes.len() - CONTROL && token["state"] == "spent",
        "the token is not used up",
    )?;
    ensure(left == 0, "files are left")
}

/// Each worker follows a slice, and sees it alive.
fn views(scene: &Scene) -> Result<(), String> {
    let view_of = |node: &Node| {
        let nodes = node.get("/v1/nodes").ok()?;
        let rows = nodes["items"].as_array()?;
        Some(rows.iter().filter(|row| row["state"] != "unknown").count())
    };
    let alive = |node: &Node| node.metric("muslin_swim_alive ").ok().map(|count| count as usize);
    for node in &scene.nodes[CONTROL..] {
        let settled = until("", || {
            let (view, alive) = (view_of(node)?, alive(node)?);
            (view <= VIEW_MAX && alive == view && alive > CONTROL).then_some(())
        });
        settled.map_err(|_| {
            let (view, alive) = (view_of(node), alive(node));
            format!("{} holds {view:?}, {alive:?} of them alive; at most {VIEW_MAX}", node.name())
        })?;
    }
    let mut sizes: Vec<usize> = scene.nodes[CONTROL..].iter().filter_map(alive).collect();
    sizes.sort_unstable();
    let (least, most) = (sizes[0], sizes[sizes.len() - 1]);
    println!("  views of workers hold {least} to {most} nodes (at most {VIEW_MAX}), all alive");
    Ok(())
}

fn memory(nodes: &[Node]) -> Result<(), String> {
    let of = |nodes: &[Node]| -> Result<Vec<f64>, String> {
        let mut sizes: Vec<f64> =
            nodes.iter().map(Node::resident_mb).collect::<Result<_, String>>()?;
        sizes.sort_by(f64::total_cmp);
        Ok(sizes)
    };
    let (control, workers) = (of(&nodes[..CONTROL])?, of(&nodes[CONTROL..])?);
    println!(
        "  memory: a worker {:.1} MB (median; at most {:.1}), a control node at most {:.1} MB",
        workers[workers.len() / 2],
        workers[workers.len() - 1],
        control[control.len() - 1]
    );
    Ok(())
}
