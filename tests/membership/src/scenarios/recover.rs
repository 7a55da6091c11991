//! Two of three voters are lost for good.

use crate::scene::{Node, Plan, Scene, ensure, ms, until};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const CONTROL: usize = 3;
const WORKERS: usize = 1;

/// The one that is left, the worker, and the machines that take the places of the lost.
const SURVIVOR: usize = 0;
const WORKER: usize = 3;
const PLACES: [usize; 2] = [4, 5];

/// Written before the loss, through all nodes.
const WRITES: usize = 300;

/// Written while two voters are cut off from the survivor: it has none of them.
const LATE: usize = 20;

/// A survivor that others have cut off has lost its followers by then.
const CUT_FOR: Duration = Duration::from_secs(2);

pub(super) fn run(plan: &Plan) -> Result<(), String> {
    let mut scene = Scene::build(plan, (CONTROL + WORKERS + PLACES.len()) as u8)?;
    scene.found(CONTROL, WORKERS)?;
    let before = scene.nodes[SURVIVOR].get("/v1/cluster?consistency=linearizable")?;
    let id = scene.nodes[SURVIVOR].row_at(&scene.nodes[SURVIVOR])?["id"].clone();
    write(&scene)?;
    lose(&mut scene)?;
    let kept = held_by(&scene.nodes[SURVIVOR])?;
    println!("  the survivor has {} of {} acknowledged writes", kept.len(), WRITES + LATE);
    ensure(kept.len() >= WRITES, "it should have all that came before the cut")?;
    recover(&mut scene)?;
    refill(&mut scene)?;
    let whole: Vec<&Node> = [SURVIVOR, PLACES[0], PLACES[1]].map(|at| &scene.nodes[at]).into();
    for node in &whole {
        ensure(held_by(node)? == kept, format!("{} has other keys than were left", node.name()))?;
    }
    println!("  each of the three has exactly these, and takes more");
    for node in &whole {
        node.put("after", &node.name())?;
    }
    let after = scene.nodes[PLACES[0]].get("/v1/cluster?consistency=linearizable")?;
    ensure(after["id"] == before["id"], "it is another cluster")?;
    let row = scene.nodes[SURVIVOR].row_at(&scene.nodes[PLACES[1]])?;
    ensure(row["id"] == id, "the survivor is another node")
}

fn key(number: usize) -> String {
    format!("w{number:03}")
}

/// Through all three; and some that the survivor never gets, since it is cut off before.
fn write(scene: &Scene) -> Result<(), String> {
    for number in 0..WRITES {
        scene.nodes[number % CONTROL].put(&key(number), &key(number))?;
    }
    let last = key(WRITES - 1);
    until("the survivor has the last of them", || {
        let path = format!("/v1/kv/{last}?consistency=local");
        let answer = scene.nodes[SURVIVOR].ask("GET", &path, "").ok()?;
        (answer.status == 200).then_some(())
    })?;
    let cut = |other: u8| {
        let own = SURVIVOR as u8;
        [
            chaos::stage::Rule::Cut { from: own, to: other },
            chaos::stage::Rule::Cut { from: other, to: own },
        ]
    };
    scene.network.set(&[cut(1), cut(2)].concat())?;
    std::thread::sleep(CUT_FOR);
    for number in WRITES..WRITES + LATE {
        until("the other two take writes", || scene.nodes[1].put(&key(number), &key(number)).ok())?;
    }
    Ok(())
}

/// Both die, and their disks with them.
fn lose(scene: &mut Scene) -> Result<(), String> {
    for number in 1..CONTROL {
        let node = &mut scene.nodes[number];
        node.process.kill();
        std::fs::remove_dir_all(&node.place).map_err(|e| format!("cannot remove: {e}"))?;
    }
    scene.network.set(&[])?;
    println!("  n2 and n3 are gone, with their disks");
    let refused = scene.nodes[SURVIVOR].put("alone", "no");
    ensure(refused.is_err(), "one of three takes writes")
}

/// Which of the keys a node has, each with its value.
fn held_by(node: &Node) -> Result<BTreeSet<String>, String> {
    let mut held = BTreeSet::new();
    for number in 0..WRITES + LATE {
        let path = format!("/v1/kv/{}?consistency=local", key(number));
        let answer = node.ask("GET", &path, "")?;
        ensure(matches!(answer.status, 200 | 404), format!("{path}: {answer:?}"))?;
        if answer.status == 200 {
            ensure(answer.body == key(number), format!("{path}: {answer:?}"))?;
            held.insert(key(number));
        }
    }
    Ok(held)
}

fn recover(scene: &mut Scene) -> Result<(), String> {
    let node = &mut scene.nodes[SURVIVOR];
    node.process.kill();
    let place = chaos::stage::word(&node.place).to_string();
    let line = ["cluster", "recover", "--data-dir", &place];
    let plan = node.run_json(&[&line[..], &["--dry-run"]].concat())?;
    println!("  `cluster recover --dry-run`: left out {}", plan["left_out"]["voters"]);
    let done = node.run_json(&[&line[..], &["--yes"]].concat())?;
    println!("  `cluster recover`: {} goes on in epoch {}", done["taken"], done["epoch"]);
    ensure(done["recovered"] == true && done["epoch"] == 2, format!("{done}"))?;
    node.up()?;
    let began = Instant::now();
    until("it takes writes", || node.put("alone", "yes").ok())?;
    println!("  it takes writes {} ms after its start", ms(began.elapsed()));
    Ok(())
}

/// Two join in the places of the lost; the worker comes back by itself.
fn refill(scene: &mut Scene) -> Result<(), String> {
    let began = Instant::now();
    let made = scene.nodes[SURVIVOR]
        .run_json(&["token", "create", "--roles", "control", "--uses", "2"])?;
    let token = made["token"].as_str().ok_or("no token")?.to_string();
    let through = scene.nodes[SURVIVOR].address();
    for number in PLACES {
        let node = &mut scene.nodes[number];
        node.join(&through, &["--token", &token, "--roles", "control"])?.ok()?;
        node.up()?;
    }
    for number in [SURVIVOR, PLACES[0], PLACES[1], WORKER] {
        let node = &scene.nodes[number];
        until(&format!("{} sees three voters that answer", node.name()), || {
            let status = node.get("/v1/status").ok()?;
            is_whole(&status).then_some(())
        })?;
    }
    println!("  three voters answer after {} ms, two of them joined", ms(began.elapsed()));
    let row = scene.nodes[WORKER].row_at(&scene.nodes[SURVIVOR])?;
    println!("  the worker is {} and of epoch {}", row["state"], row["epoch"]);
    ensure(row["state"] == "alive" && row["standing"] == "admitted", format!("{row}"))
}

fn is_whole(status: &Value) -> bool {
    let voters = &status["voters"];
    status["health"] == "healthy" && voters["total"] == 3 && voters["answering"] == 3
}
