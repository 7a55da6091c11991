//! Where everything is written down.

use crate::history::{
    Action, Family, History, Hold, Key, Lease, Nanos, Op, Outcome, Value, Watch, Work,
};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

/// Shared by all clients of a run.
pub struct Recorder {
    began: Instant,
    nodes: Vec<Node>,
    values: AtomicU64,
    leased: AtomicU32,
    newest: AtomicU64,
    answered: Mutex<Vec<Nanos>>,
    /// Numbers of foreign keys, by their names.
    foreign: Mutex<HashMap<Vec<u8>, u32>>,
    history: Mutex<History>,
}

#[derive(Default)]
struct Node {
    /// Changes whenever its process ends or begins.
    life: AtomicU32,
    /// When it acknowledged a write last.
    answered: AtomicU64,
    /// How far its own watcher has been told.
    watched: AtomicU64,
}

/// A call that has begun.
#[derive(Clone, Copy)]
pub struct Begun {
    node: u8,
    life: u32,
    start: Nanos,
}

impl Begun {
    /// When.
    pub fn at(&self) -> Nanos {
        self.start
    }
}

impl Recorder {
    /// For so many nodes.
    pub fn new(nodes: usize) -> Recorder {
        Recorder {
            began: Instant::now(),
            nodes: (0..nodes).map(|_| Node::default()).collect(),
            values: AtomicU64::new(1),
            leased: AtomicU32::new(0),
            newest: AtomicU64::new(0),
            answered: Mutex::default(),
            foreign: Mutex::default(),
            history: Mutex::default(),
        }
    }

    /// The time.
    pub fn now(&self) -> Nanos {
        self.began.elapsed().as_nanos() as Nanos
    }

    /// A value that nobody has written.
    pub fn fresh_value(&self) -> Value {
        Value(self.values.fetch_add(1, Ordering::Relaxed))
    }

    /// A number for a leased key that nobody has used.
    pub fn fresh_leased(&self) -> u32 {
        self.leased.fetch_add(1, Ordering::Relaxed)
    }

    /// A key that the cluster made.
    pub fn foreign(&self, name: &[u8]) -> Key {
        let mut foreign = lock(&self.foreign);
        let next = foreign.len() as u32;
        let number = *foreign.entry(name.to_vec()).or_insert_with(|| {
            self.history().names.push(name.to_vec());
            next
        });
        Key::new(Family::Foreign, number)
    }

    /// A lock was had.
    pub fn add_hold(&self, hold: Hold) {
        self.history().holds.push(hold);
    }

    /// Something became of an item of the queue.
    pub fn add_work(&self, work: Work) {
        self.history().work.push(work);
    }

    /// The process of a node ended or began.
    pub fn turn_life(&self, node: u8) {
        self.nodes[usize::from(node)].life.fetch_add(1, Ordering::SeqCst);
    }

    /// A call to a node begins.
    pub fn begin(&self, node: u8) -> Begun {
        let life = self.nodes[usize::from(node)].life.load(Ordering::SeqCst);
        Begun { node, life, start: self.now() }
    }

    /// It has ended.
    pub fn finish(&self, begun: Begun, action: Action, outcome: Outcome) {
        let Begun { node, life, start } = begun;
        let end = self.now();
        let place = &self.nodes[usize::from(node)];
        let life = (place.life.load(Ordering::SeqCst) == life).then_some(life);
        if let Outcome::Written(_) | Outcome::Deleted(_, true) = outcome {
            lock(&self.answered).push(end);
            place.answered.store(end, Ordering::Relaxed);
        }
        if let Outcome::Written(revision) | Outcome::Read(revision, _) = &outcome {
            self.newest.fetch_max(*revision, Ordering::Relaxed);
        }
        self.history().ops.push(Op { node, life, start, end, action, outcome });
    }

    /// The highest revision any client was told of.
    pub fn newest(&self) -> u64 {
        self.newest.load(Ordering::Relaxed)
    }

    /// A watcher of a node was told of everything up to here.
    pub fn watched(&self, node: u8, revision: u64) {
        self.nodes[usize::from(node)].watched.fetch_max(revision, Ordering::Relaxed);
    }

    /// How far it is.
    pub fn watched_to(&self, node: u8) -> u64 {
        self.nodes[usize::from(node)].watched.load(Ordering::Relaxed)
    }

    /// When the node acknowledged a write last; 0 when never.
    pub fn answered_by(&self, node: u8) -> Nanos {
        self.nodes[usize::from(node)].answered.load(Ordering::Relaxed)
    }

    /// When writes were acknowledged from a moment on, in order.
    pub fn answered_since(&self, since: Nanos) -> Vec<Nanos> {
        let answered = lock(&self.answered);
        let mut times: Vec<Nanos> =
            answered.iter().rev().take_while(|time| **time >= since).copied().collect();
        times.sort_unstable();
        times
    }

    /// A watch has ended.
    pub fn add_watch(&self, watch: Watch) {
        self.history().watches.push(watch);
    }

    /// A lease has ended or is given up.
    pub fn add_lease(&self, lease: Lease) {
        self.history().leases.push(lease);
    }

    /// A client saw what nobody can have written.
    pub fn add_nonsense(&self, sentence: String) {
        self.history().nonsense.push(sentence);
    }

    /// All of it, for the last time.
    pub fn take(&self) -> History {
        std::mem::take(&mut self.history())
    }

    fn history(&self) -> MutexGuard<'_, History> {
        lock(&self.history)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is inside is only pushed to: whole at every moment.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
