//! One replica: a thread that owns a `Raft`, gathers what has come, steps it and carries out what
//! it wants, as a node's driver does.

use super::super::harness::mailbox::Mailbox;
use super::held::Held;
use bytes::Bytes;
use muslin_core::base::{Index, Machine, NodeId, Now, Outputs, PersistId, Sum64};
use muslin_core::raft::{
    Entry, Input, Message, Options, Output, Payload, Raft, Recovered, Snapshot, Write,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A snapshot after so many entries: the log in memory stays small.
const SNAPSHOT_EVERY: u64 = 100_000;

/// No election by accident: a machine that is busy with something else starves followers.
const ELECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// What a replica finds in its mailbox.
pub(super) enum Mail {
    /// From the proposers, for the leader.
    Proposals(Vec<Bytes>),
    /// What a peer said, in order.
    Messages(NodeId, Vec<Message>),
    /// From the log thread: this write and all before it.
    Durable(PersistId),
    /// From the log thread: the snapshot that ends here is saved.
    Saved(Index),
    /// Become the leader.
    Campaign,
    /// The run is over.
    Stop,
}

/// How writes become durable.
pub(super) enum Durability {
    /// At once: the log is in memory.
    Pretended,
    /// By a log thread.
    Real(Arc<Mailbox<Job>>),
}

/// What a log thread is asked to do.
pub(super) enum Job {
    /// Make this durable, in order.
    Write(PersistId, Write),
    /// Replace the snapshot; entries before `keep_from` are not needed then.
    Save { snapshot: Snapshot, keep_from: Index },
    /// The run is over.
    Stop,
}

/// One replica, and everything it acts on.
pub(super) struct Replica {
    raft: Raft,
    durability: Durability,
    held: Arc<Held>,
    inboxes: Vec<Arc<Mailbox<Mail>>>,
    /// Where to tell commits to, on the leader.
    committed: Option<Arc<Mailbox<usize>>>,
    start: Instant,
    out: Outputs<Output>,
    /// Last write issued, and last one durable.
    issued: PersistId,
    durable: PersistId,
    /// Messages of this turn, by peer.
    letters: Vec<Vec<Message>>,
    /// Commands committed in this turn.
    through: usize,
    snapshot_due: Index,
    /// A snapshot whose saving was pretended.
    saved: Option<Index>,
}

impl Replica {
    /// The replica of this number, which starts as it would from an empty disk.
    pub(super) fn new(
        id: NodeId,
        recovered: Recovered,
        (durability, held): (Durability, Arc<Held>),
        inboxes: &[Arc<Mailbox<Mail>>],
        committed: Option<Arc<Mailbox<usize>>>,
    ) -> Replica {
        let options = Options {
            election_timeout_min: ELECTION_TIMEOUT,
            election_timeout_max: ELECTION_TIMEOUT * 2,
            ..Options::default()
        };
        Replica {
            raft: Raft::new(id, options, recovered, id.0, Now::START),
            durability,
            held,
            inboxes: inboxes.to_vec(),
            committed,
            start: Instant::now(),
            out: Outputs::new(),
            issued: PersistId::ZERO,
            durable: PersistId::ZERO,
            letters: inboxes.iter().map(|_| Vec::new()).collect(),
            through: 0,
            snapshot_due: Index(SNAPSHOT_EVERY),
            saved: None,
        }
    }

    /// Steps until told to stop.
    pub(super) fn run(mut self) {
        let mut mail = Vec::new();
        let inbox = Arc::clone(&self.inboxes[place_of(self.raft.id())]);
        let mut proposals = Vec::new();
        loop {
            let deadline = self.raft.deadline().map(|(due, _)| due);
            let until = deadline.map(|due| self.start + Duration::from_nanos(due.0));
            inbox.take(&mut mail, until);
            let now = self.now();
            if deadline.is_some_and(|due| due <= now) {
                self.step(now, Input::Tick);
            }
            for piece in mail.drain(..) {
                match piece {
                    Mail::Proposals(more) if proposals.is_empty() => proposals = more,
                    Mail::Proposals(more) => proposals.extend(more),
                    Mail::Messages(from, messages) => {
                        for message in messages {
                            self.step(now, Input::Message { from, message });
                        }
                    }
                    Mail::Durable(id) => self.on_durable(now, id),
                    Mail::Saved(index) => self.step(now, Input::Saved(index)),
                    Mail::Campaign => self.step(now, Input::Campaign),
                    Mail::Stop => return self.stop(),
                }
            }
            // Last, so that what was committed in this turn is proposed anew in one batch.
            if self.raft.accepts_proposals() && !proposals.is_empty() {
                self.step(now, Input::Propose(std::mem::take(&mut proposals)));
            }
            self.carry_out(now);
        }
    }

    fn now(&self) -> Now {
        Now(self.start.elapsed().as_nanos() as u64)
    }

    fn step(&mut self, now: Now, input: Input) {
        self.raft.handle(now, input, &mut self.out);
    }

    fn stop(self) {
        if let Durability::Real(jobs) = self.durability {
            jobs.push(Job::Stop);
        }
    }

    fn on_durable(&mut self, now: Now, id: PersistId) {
        self.durable = id;
        self.step(now, Input::Persisted(id));
    }

    /// Carries out what the replica wants, and what follows from that, then sends the turn's
    /// letters.
    fn carry_out(&mut self, now: Now) {
        loop {
            self.step(now, Input::Flush);
            let mut out = std::mem::take(&mut self.out);
            for output in out.drain() {
                self.obey(output);
            }
            // Kept for its allocation.
            let unfinished = std::mem::replace(&mut self.out, out);
            debug_assert!(unfinished.is_empty(), "obeying steps nothing");
            if matches!(self.durability, Durability::Pretended) && self.issued > self.durable {
                self.held.release(self.issued);
                self.on_durable(now, self.issued);
            } else if let Some(index) = self.saved.take() {
                self.step(now, Input::Saved(index));
            } else if self.raft.applied() >= self.snapshot_due {
                self.snapshot(now);
            } else {
                break;
            }
        }
        let from = self.raft.id();
        for (letter, inbox) in self.letters.iter_mut().zip(&self.inboxes) {
            if !letter.is_empty() {
                inbox.push(Mail::Messages(from, std::mem::take(letter)));
            }
        }
        let through = std::mem::take(&mut self.through);
        if let Some(committed) = self.committed.as_ref().filter(|_| through > 0) {
            committed.push(through);
        }
    }

    fn obey(&mut self, output: Output) {
        match output {
            Output::Persist { id, write } => {
                self.issued = id;
                if let Durability::Real(jobs) = &self.durability {
                    jobs.push(Job::Write(id, write));
                }
            }
            Output::Send { to, after, message } => {
                let to = place_of(to);
                let after = after.filter(|after| *after > self.durable);
                let left = match after {
                    Some(after) => self.held.keep(after, to, message),
                    None => Some(message),
                };
                self.letters[to].extend(left);
            }
            Output::Save { snapshot, keep_from } => match &self.durability {
                Durability::Pretended => self.saved = Some(snapshot.meta.last.index),
                Durability::Real(jobs) => jobs.push(Job::Save { snapshot, keep_from }),
            },
            Output::Commit(entries) => {
                let is_command = |entry: &&Entry| matches!(entry.payload, Payload::Command(_));
                self.through += entries.iter().filter(is_command).count();
            }
            // Three replicas of an empty state machine, none of which ever lags by a snapshot.
            Output::Install(_)
            | Output::SnapshotNeeded
            | Output::ReadReady { .. }
            | Output::ReadFailed { .. }
            | Output::Report(_) => {}
        }
    }

    /// The state machine is empty; what counts is that the log does not grow for ever.
    fn snapshot(&mut self, now: Now) {
        let snapshot = Snapshot { meta: self.raft.snapshot_meta(), data: Bytes::new() };
        self.snapshot_due = Index(snapshot.meta.last.index.0 + SNAPSHOT_EVERY);
        let checksum = Sum64::of(&snapshot.data);
        self.step(now, Input::Snapshot { snapshot, checksum, save: true });
    }
}

fn place_of(id: NodeId) -> usize {
    usize::try_from(id.0 - 1).expect("replicas are numbered from 1")
}
