//! All clients of a run.

use super::desk::{self, Ask, Burst};
use super::watcher::{self, Roaming};
use super::{Recorder, keeper, locker, probe, web, worker};
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Workers at each node.
const WORKERS: u64 = 2;

/// Keepers of leases at each node.
const KEEPERS: u64 = 2;

/// Those who want locks at each node.
const LOCKERS: u64 = 2;

/// Watchers that roam.
const ROAMERS: u32 = 2;

/// Numbers of watchers that roam begin here, so that nobody takes one for a node's own.
const ROAMER_BASE: u32 = 1_000;

/// Longest wait for an answer across threads, longer than any of theirs for a node.
const ASK_WAIT: Duration = Duration::from_secs(6);

/// Where the clients of a node run.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The file that stands for its network namespace.
    pub netns: PathBuf,
}

/// Clients at work.
pub struct Load {
    recorder: Arc<Recorder>,
    stop_writing: watch::Sender<bool>,
    stop_watching: watch::Sender<bool>,
    asks: Vec<mpsc::Sender<Ask>>,
    writing: Vec<mpsc::Receiver<()>>,
    threads: Vec<JoinHandle<Result<(), String>>>,
}

/// What a machine's thread needs.
struct Post {
    node: u8,
    seed: u64,
    recorder: Arc<Recorder>,
    stop_writing: watch::Receiver<bool>,
    stop_watching: watch::Receiver<bool>,
    asks: mpsc::Receiver<Ask>,
    roaming: (mpsc::Receiver<Roaming>, mpsc::Sender<Roaming>),
    /// Dropped when the last writer has ended.
    writing: mpsc::Sender<()>,
}

impl Load {
    /// Starts clients on every machine.
    pub fn start(machines: &[Machine], recorder: Arc<Recorder>, seed: u64) -> Result<Load, String> {
        let (stop_writing, _) = watch::channel(false);
        let (stop_watching, _) = watch::channel(false);
        let (batons, mut inboxes): (Vec<_>, Vec<_>) =
            machines.iter().map(|_| mpsc::channel(ROAMERS as usize)).unzip();
        for number in 0..ROAMERS {
            let roaming = Roaming { watcher: ROAMER_BASE + number, from: 1 };
            let first = &batons[number as usize % batons.len()];
            first.try_send(roaming).map_err(|_| "no place for a roaming watcher")?;
        }
        let mut load = Load {
            recorder: recorder.clone(),
            stop_writing,
            stop_watching,
            asks: Vec::new(),
            writing: Vec::new(),
            threads: Vec::new(),
        };
        for (node, machine) in machines.iter().enumerate() {
            let (ask, asks) = mpsc::channel(16);
            let (writing, written) = mpsc::channel(1);
            let next = batons[(node + 1) % batons.len()].clone();
            let post = Post {
                node: node as u8,
                seed: seed.wrapping_mul(1_000).wrapping_add(node as u64 * 100),
                recorder: recorder.clone(),
                stop_writing: load.stop_writing.subscribe(),
                stop_watching: load.stop_watching.subscribe(),
                asks,
                roaming: (inboxes.remove(0), next),
                writing,
            };
            load.asks.push(ask);
            load.writing.push(written);
            load.threads.push(post.start(machine)?);
        }
        Ok(load)
    }

    /// Asks a node; `None` when it does not answer.
    pub fn ask<T>(&self, node: u8, ask: impl FnOnce(Sender<Option<T>>) -> Ask) -> Option<T> {
        let (reply, answer) = std::sync::mpsc::channel();
        self.asks[usize::from(node)].blocking_send(ask(reply)).ok()?;
        answer.recv_timeout(ASK_WAIT).ok()?
    }

    /// Has a node's clients write a burst; the answer comes when all of it is settled.
    pub fn burst(&self, node: u8, burst: Burst) -> Receiver<Option<()>> {
        let (reply, answer) = std::sync::mpsc::channel();
        // A thread that is gone tells so by the reply's end.
        let _ = self.asks[usize::from(node)].blocking_send(Ask::Burst(burst, reply));
        answer
    }

    /// Where everything is written down.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// No more writes; returns when all that were asked for are settled or given up.
    pub fn stop_writing(&mut self) {
        let _ = self.stop_writing.send(true);
        for written in &mut self.writing {
            while written.blocking_recv().is_some() {}
        }
    }

    /// Everyone goes home.
    pub fn stop(self) -> Result<(), String> {
        let _ = self.stop_writing.send(true);
        let _ = self.stop_watching.send(true);
        drop(self.asks);
        for thread in self.threads {
            thread.join().map_err(|_| "a client's thread panicked")??;
        }
        Ok(())
    }
}

impl Post {
    fn start(self, machine: &Machine) -> Result<JoinHandle<Result<(), String>>, String> {
        let path = machine.netns.clone();
        let netns = File::open(&path).map_err(|e| format!("cannot open {path:?}: {e}"))?;
        let name = format!("clients-n{}", self.node + 1);
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            // Of this thread only, on which all of its clients run.
            setns(netns, CloneFlags::CLONE_NEWNET)
                .map_err(|e| format!("cannot enter {path:?}: {e}"))?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|e| format!("no runtime: {e}"))?;
            runtime.block_on(self.run());
            Ok(())
        });
        thread.map_err(|e| format!("no thread: {e}"))
    }

    async fn run(self) {
        let Post { node, seed, recorder, stop_writing, stop_watching, asks, roaming, writing } =
            self;
        let mut watching = JoinSet::new();
        watching.spawn(watcher::stay(node, recorder.clone(), stop_watching.clone()));
        watching.spawn(watcher::host(node, recorder.clone(), roaming, stop_watching));
        watching.spawn(desk::run(node, recorder.clone(), asks));
        let mut writers = JoinSet::new();
        writers.spawn(probe::run(node, recorder.clone(), stop_writing.clone()));
        for number in 0..WORKERS {
            let work = worker::run(node, seed + number, recorder.clone(), stop_writing.clone());
            writers.spawn(work);
        }
        for number in 0..KEEPERS {
            let number = seed + WORKERS + number;
            writers.spawn(keeper::run(node, number, recorder.clone(), stop_writing.clone()));
        }
        for number in 0..LOCKERS {
            let number = seed + WORKERS + KEEPERS + number;
            writers.spawn(locker::run(node, number, recorder.clone(), stop_writing.clone()));
        }
        let seed = seed + WORKERS + KEEPERS + LOCKERS;
        writers.spawn(web::push(node, recorder.clone(), stop_writing.clone()));
        writers.spawn(web::take(seed, recorder.clone(), stop_writing.clone()));
        writers.spawn(web::mortal(node, seed + 1, recorder.clone(), stop_writing.clone()));
        while writers.join_next().await.is_some() {}
        drop(writing);
        while watching.join_next().await.is_some() {}
    }
}
