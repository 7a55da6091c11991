//! How long nobody can write when the leader's process is killed.

use crate::cluster::Cluster;
use crate::http;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Kills measured.
pub(crate) const KILLS: usize = 10;

/// A client waits so long for one answer, then asks another node.
const ATTEMPT: Duration = Duration::from_millis(500);

/// The cluster gets so long to be whole again before the next kill, and writes go on meanwhile.
const REST: Duration = Duration::from_millis(1_500);

/// After this nobody leads any more.
const GIVE_UP: Duration = Duration::from_secs(30);

/// Milliseconds between the last write answered before each kill and the first after it.
pub(crate) fn gaps_ms(binary: &Path) -> Result<Vec<f64>, String> {
    let mut cluster = Cluster::start(binary, "failover")?;
    let writer = Writer::start(cluster.nodes.clone());
    let mut kills = Vec::new();
    for _ in 0..KILLS {
        std::thread::sleep(REST);
        let leader = leader(&cluster.nodes)?;
        kills.push(Instant::now());
        cluster.order(&format!("kill {leader}"), "exited")?;
        std::thread::sleep(REST);
        cluster.order(&format!("start {leader}"), "started")?;
    }
    std::thread::sleep(REST);
    let answered = writer.stop()?;
    kills.iter().map(|kill| gap_ms(&answered, *kill)).collect()
}

/// The longest time without an answered write that a kill falls into or that follows it at once.
fn gap_ms(answered: &[Instant], kill: Instant) -> Result<f64, String> {
    let window = answered.windows(2).filter(|pair| pair[1] > kill && pair[0] < kill + REST);
    let gaps = window.map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1e3);
    gaps.max_by(f64::total_cmp).ok_or("no write was answered after a kill".to_string())
}

/// The node that says it leads.
fn leader(nodes: &[String]) -> Result<String, String> {
    let deadline = Instant::now() + GIVE_UP;
    while Instant::now() < deadline {
        for (number, node) in (1..).zip(nodes) {
            let status = http::get(node, "/v1/status", ATTEMPT).unwrap_or_default();
            let own = status.split_once("\"node\":{").map_or("", |(_, rest)| rest);
            if own.split('}').next().is_some_and(|own| own.contains("\"role\":\"leader\"")) {
                return Ok(format!("n{number}"));
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err("nobody leads".to_string())
}

/// A loop of puts that goes to the next node when one does not answer.
struct Writer {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Instant>>,
}

impl Writer {
    fn start(nodes: Vec<String>) -> Writer {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = is_over.clone();
        let thread = std::thread::spawn(move || {
            let (mut answered, mut at) = (Vec::new(), 0);
            while !over.load(Ordering::Relaxed) {
                match http::put(&nodes[at % nodes.len()], "failover", ATTEMPT) {
                    true => answered.push(Instant::now()),
                    false => at += 1,
                }
            }
            answered
        });
        Writer { is_over, thread }
    }

    /// When each answered write was answered.
    fn stop(self) -> Result<Vec<Instant>, String> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the writer died".to_string())
    }
}
