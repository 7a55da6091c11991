//! Another epoch begins.

use crate::follow::Events;
use crate::scene::{PATIENCE, Plan, Scene, ensure, ms, until, within};
use crate::stranger::{self, Outcome, Question, Shows};
use crate::wire;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const CONTROL: usize = 3;
const WORKERS: usize = 2;

/// The worker that is away, and the one that is removed.
const AWAY: usize = 3;
const REMOVED: usize = 4;

/// Gossip of the one that is removed is recorded for so long.
const RECORDED: Duration = Duration::from_secs(4);

/// What it says afterwards would have been heard by then.
const HEARD_BY: Duration = Duration::from_secs(8);

/// A removal is everywhere by then, and the groups do without the removed.
const BARRED_BY: Duration = Duration::from_secs(3);

/// gRPC's code for a caller who is nobody.
const UNAUTHENTICATED: u16 = 16;

/// Times that each datagram of a removed node is sent again.
const AGAIN: usize = 20;

pub(super) fn run(plan: &Plan) -> Result<(), String> {
    let mut scene = Scene::build(plan, (CONTROL + WORKERS) as u8)?;
    scene.found(CONTROL, WORKERS)?;
    let recorded = wire::record(0, RECORDED)?;
    let from = REMOVED as u8 + 1;
    let gossip: Vec<Vec<u8>> =
        recorded.into_iter().filter(|one| one.from == from).map(|one| one.bytes).collect();
    ensure(!gossip.is_empty(), "nothing of n5 was recorded")?;
    let old_id = scene.nodes[AWAY].row_at(&scene.nodes[0])?["id"].clone();
    remove(&mut scene)?;
    useless_papers(&scene, "before the epoch rises")?;
    bump(&mut scene)?;
    come_back(&mut scene, &old_id)?;
    useless_papers(&scene, "in the next epoch")?;
    useless_gossip(&scene, &gossip)?;
    useless_restart(&mut scene)
}

/// The one that is removed keeps a copy of its files as they were.
fn kept(place: &Path) -> PathBuf {
    place.with_extension("kept")
}

fn remove(scene: &mut Scene) -> Result<(), String> {
    let node = &mut scene.nodes[REMOVED];
    node.process.kill();
    copy(&node.place, &kept(&node.place)).map_err(|e| format!("cannot copy: {e}"))?;
    let name = node.name();
    scene.nodes[0].run(&["node", "rm", &name, "--force", "--yes"])?.ok()?;
    let cluster = scene.nodes[0].get("/v1/cluster?consistency=linearizable")?;
    println!("  {name} is removed: {} tombstones", cluster["tombstones"]);
    ensure(cluster["tombstones"] == 1, "no tombstone")
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let (path, name) =
            (entry.as_ref().map(|e| e.path()), entry.as_ref().map(|e| e.file_name()));
        let (Ok(path), Ok(name)) = (path, name) else { continue };
        match path.is_dir() {
            true => copy(&path, &to.join(name))?,
            false => std::fs::copy(&path, to.join(name)).map(drop)?,
        }
    }
    Ok(())
}

fn bump(scene: &mut Scene) -> Result<(), String> {
    scene.nodes[AWAY].process.kill();
    let name = scene.nodes[AWAY].name();
    until("the one that is away is declared down", || {
        let row = scene.nodes[AWAY].row_at(&scene.nodes[0]).ok()?;
        (row["standing"] == "down").then_some(())
    })?;
    let said = scene.nodes[1].run_json(&["cluster", "epoch", "bump", "--yes"])?;
    println!(
        "  {name} is away; epoch {} follows {}, {} tombstones went",
        said["epoch"], said["before"], said["collected"]
    );
    ensure(said["epoch"] == 2 && said["collected"] == 1, format!("{said}"))?;
    let cluster = scene.nodes[0].get("/v1/cluster?consistency=linearizable")?;
    ensure(cluster["tombstones"] == 0, "tombstones are left")?;
    let began = Instant::now();
    for number in 0..CONTROL {
        until("who lives has papers of the new epoch", || {
            let papers = scene.nodes[number].get("/v1/certificates").ok()?;
            (papers["epoch"] == 2).then_some(())
        })?;
    }
    println!("  all who live have papers of epoch 2 after {} ms more", ms(began.elapsed()));
    Ok(())
}

fn come_back(scene: &mut Scene, old_id: &serde_json::Value) -> Result<(), String> {
    scene.nodes[AWAY].up()?;
    let began = Instant::now();
    let away = &scene.nodes[AWAY];
    let name = away.name();
    let row = within(PATIENCE, "it is back", || {
        let nodes = scene.nodes[0].get("/v1/nodes").ok()?;
        let rows = nodes["items"].as_array()?;
        let is_back = |row: &&serde_json::Value| {
            row["name"] == *name && row["state"] == "alive" && row["standing"] == "admitted"
        };
        rows.iter().find(is_back).cloned()
    });
    let row = row.map_err(|why| format!("{why}; it says: {}", away.process.last_words(3)))?;
    println!(
        "  {name} comes back after {} ms: id {} after {old_id}, epoch {}",
        ms(began.elapsed()),
        row["id"],
        row["epoch"]
    );
    ensure(row["id"] != *old_id, "it has its old id")?;
    let log = std::fs::read_to_string(away.process.log()).unwrap_or_default();
    let words = log.lines().find(|line| line.contains("admitted again"));
    println!("    {}", words.ok_or("it does not say why")?.trim());
    let value = until("it has what the cluster holds", || {
        let answer = away.ask("GET", "/v1/kv/founded", "").ok()?;
        (answer.status == 200).then_some(answer.body)
    })?;
    ensure(value == "yes", "it reads something else")
}

/// The API refuses the certificate of the removed one.
fn useless_papers(scene: &Scene, when: &str) -> Result<(), String> {
    let old = kept(&scene.nodes[REMOVED].place);
    let shows = Shows::papers_of(&old, &scene.nodes[0].place)?;
    let questions = ["/v1/nodes", "/v1/kv/founded", "/v1/tokens"]
        .map(|path| Question::Http(hyper::Method::GET, path.to_string()));
    let renew = Question::Http(hyper::Method::POST, "/v1/certificates:renew".to_string());
    let questions = [&questions[..], &[renew, Question::Grpc("/etcdserverpb.KV/Put".to_string())]];
    let questions = questions.concat();
    let to = scene.nodes[1].address();
    let began = Instant::now();
    let mut answers = Vec::new();
    let refused = within(BARRED_BY, "", || {
        answers = stranger::ask(REMOVED as u8, &to, &shows, &questions).ok()?;
        let is_refused = |answer: &Outcome| match answer {
            Outcome::Http(status, _) => *status == 403,
            Outcome::Grpc(code) => *code == UNAUTHENTICATED,
            Outcome::Refused(_) => true,
        };
        answers.iter().all(is_refused).then(|| began.elapsed())
    });
    let after = refused.map_err(|_| format!("{when}: {questions:?} got {answers:?}"))?;
    println!(
        "  {when} the removed node's certificate gets {:?} (after {} ms)",
        answers[0],
        ms(after)
    );
    Ok(())
}

/// What the removed one once said is said again, by somebody else and in its place.
fn useless_gossip(scene: &Scene, gossip: &[Vec<u8>]) -> Result<(), String> {
    let node = &scene.nodes[0];
    let (before, events) = (node.record()?, Events::follow(scene)?);
    let dropped = |reason: &str| {
        let label = format!("muslin_transport_datagrams_dropped_total{{reason=\"{reason}\"}}");
        node.metric(&label)
    };
    const REASONS: [&str; 6] = ["removed", "epoch", "replayed", "key", "forged", "cluster"];
    let counts: Vec<f64> = REASONS.iter().map(|r| dropped(r)).collect::<Result<_, String>>()?;
    let socket = wire::sender(REMOVED as u8, &node.address())?;
    for bytes in gossip.iter().cycle().take(gossip.len() * AGAIN) {
        socket.send(bytes).map_err(|e| format!("cannot send: {e}"))?;
        std::thread::sleep(Duration::from_micros(200));
    }
    std::thread::sleep(Duration::from_secs(1));
    let mut more = 0.0;
    for (reason, count) in REASONS.iter().zip(counts) {
        let grown = dropped(reason)? - count;
        if grown > 0.0 {
            println!("  {grown} old datagrams of the removed node dropped: {reason}");
        }
        more += grown;
    }
    ensure(more >= (gossip.len() * AGAIN) as f64, format!("only {more} were dropped"))?;
    ensure(events.about("node-alive", &scene.nodes[REMOVED].name()).is_empty(), "it is alive")?;
    ensure(before == node.record()?, "the record changed")
}

/// It runs again with its old files, and nobody hears it.
fn useless_restart(scene: &mut Scene) -> Result<(), String> {
    let before = scene.nodes[0].record()?;
    let events = Events::follow(scene)?;
    let node = &mut scene.nodes[REMOVED];
    let old = kept(&node.place);
    std::fs::remove_dir_all(&node.place).map_err(|e| format!("cannot remove: {e}"))?;
    std::fs::rename(&old, &node.place).map_err(|e| format!("cannot rename: {e}"))?;
    node.up()?;
    std::thread::sleep(HEARD_BY);
    let ended = node.process.ended();
    let words = node.process.last_words(1);
    let how = ended.map_or("is heard by nobody".to_string(), |status| format!("ends, {status}"));
    println!("  started with its old files it {how}: {}", words.trim());
    let node = &scene.nodes[REMOVED];
    let alive = events.about("node-alive", &node.name());
    ensure(alive.is_empty(), format!("it is alive to others: {alive:?}"))?;
    ensure(before == scene.nodes[0].record()?, "the record changed")?;
    let said = node.run(
        &["status", "--addr", &scene.nodes[1].address(), "--identity"]
            .into_iter()
            .chain([chaos::stage::word(&node.place)])
            .collect::<Vec<_>>(),
    )?;
    println!("  `muslin status` with its files: exit {:?}: {}", said.code, said.words());
    ensure(said.code != Some(0), "it was answered")
}
