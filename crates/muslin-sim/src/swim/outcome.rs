//! What scenes measured.

use super::{Books, Detection};
use std::time::Duration;

/// Measured in one scene, or in the same scene of several seeds.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Seeds in it.
    pub seeds: u64,
    /// Nodes at the beginning.
    pub nodes: usize,
    /// Simulated, all of it.
    pub simulated: Duration,
    /// Simulated while nothing was done to anybody.
    pub quiet: Duration,
    /// Counted while nothing was done to anybody.
    pub quiet_books: Books,
    /// False deaths of other times: beside real ones.
    pub later_books: Books,
    /// How each death became known.
    pub detections: Vec<Detection>,
    /// How long it took each time until all views agreed; `None` when it took too long.
    pub settled: Vec<Option<Duration>>,
    /// The largest view of one node.
    pub view_most: usize,
    /// Steps of machines.
    pub events: u64,
    /// Seconds it took to compute.
    pub took: Duration,
    /// Of all that happened, in all seeds.
    pub hash: u64,
}

impl Outcome {
    /// Adds what another seed came to.
    pub fn add(&mut self, other: Outcome) {
        self.seeds += other.seeds;
        self.nodes = other.nodes;
        self.simulated += other.simulated;
        self.quiet += other.quiet;
        self.quiet_books.add(other.quiet_books);
        self.later_books.add(other.later_books);
        self.detections.extend(other.detections);
        self.settled.extend(other.settled);
        self.view_most = self.view_most.max(other.view_most);
        self.events += other.events;
        self.took += other.took;
        self.hash = self.hash.rotate_left(1) ^ other.hash;
    }

    /// Lives of live nodes taken for dead in an hour.
    pub fn false_downs_per_hour(&self) -> f64 {
        let lives = self.quiet_books.false_downs + self.later_books.false_downs;
        per_hour(lives, self.simulated)
    }

    /// The same, of machines that were not slow.
    pub fn healthy_downs_per_hour(&self) -> f64 {
        let lives = self.quiet_books.healthy_downs + self.later_books.healthy_downs;
        per_hour(lives, self.simulated)
    }

    /// Members that were suspected by their own probers in an hour.
    pub fn suspicions_per_hour(&self) -> f64 {
        per_hour(self.quiet_books.suspicions, self.quiet)
    }

    /// Questions on streams in an hour.
    pub fn questions_per_hour(&self) -> f64 {
        per_hour(self.quiet_books.questions, self.quiet)
    }

    /// Times that live nodes had to join anew in an hour.
    pub fn renewals_per_hour(&self) -> f64 {
        per_hour(self.quiet_books.renewals, self.quiet)
    }

    /// Bytes that one node sends in a second, with headers, each packet so much longer by its seal.
    pub fn bytes_per_second(&self, seal_bytes: usize) -> f64 {
        let sealed = self.quiet_books.bytes + self.quiet_books.packets * seal_bytes as u64;
        self.per_node_second(sealed)
    }

    /// Bytes that the busiest node sends in a second, with headers, without seals.
    pub fn busiest_bytes_per_second(&self) -> f64 {
        let one = self.quiet.as_secs_f64() / self.seeds.max(1) as f64;
        self.quiet_books.busiest_bytes as f64 / one.max(1e-9)
    }

    /// Datagrams that one node sends in a second.
    pub fn packets_per_second(&self) -> f64 {
        self.per_node_second(self.quiet_books.packets)
    }

    /// Steps of machines in a second of one core.
    pub fn events_per_second(&self) -> f64 {
        self.events as f64 / self.took.as_secs_f64().max(1e-9)
    }

    fn per_node_second(&self, number: u64) -> f64 {
        number as f64 / self.quiet.as_secs_f64().max(1e-9) / self.nodes.max(1) as f64
    }
}

const HOUR: f64 = 3_600.0;

fn per_hour(number: u64, time: Duration) -> f64 {
    number as f64 * HOUR / time.as_secs_f64().max(1e-9)
}
