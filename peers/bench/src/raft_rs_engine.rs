//! raft-rs 0.7: one thread per replica that owns a `RawNode`, as TiKV does, with its asynchronous
//! readies, so that a leader's appends leave before its own write. All proposals of a turn go in by
//! one message, which is the cheapest way in.

use crate::harness::figures::Figures;
use crate::harness::mailbox::Mailbox;
use crate::harness::proposers::Load;
use crate::log_file::{LogFile, encode};
use bytes::Bytes;
use raft::prelude::*;
use raft::{GetEntriesContext, StorageError, util};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// As `cargo tree` knows it.
pub(crate) const NAME: &str = "raft-rs 0.7.0";

const REPLICAS: u64 = 3;

/// The one that campaigns at the start.
const LEADER: u64 = 1;

/// A tick of the protocol's clock.
const TICK: Duration = Duration::from_millis(100);

/// Entries applied between two compactions, and kept behind each.
const COMPACT_EVERY: u64 = 100_000;
const KEPT: u64 = 10_000;

/// Bytes in one append at most, as ours.
const APPEND_BYTES_MAX: u64 = 1 << 20;

enum Mail {
    Proposals(Vec<Bytes>),
    Messages(Vec<Message>),
    /// The ready of this number is on the disk.
    Durable(u64),
    Stop,
}

/// Runs the load.
pub(crate) fn run(load: Load, dir: Option<&Path>) -> Result<Figures, String> {
    let inboxes: Vec<Arc<Mailbox<Mail>>> = (0..REPLICAS).map(|_| Arc::default()).collect();
    let committed: Arc<Mailbox<usize>> = Arc::default();
    let mut cluster = Cluster { inboxes, threads: Vec::new() };
    for id in 1..=REPLICAS {
        let log = match dir {
            None => None,
            Some(dir) => {
                let log = LogFile::start(&dir.join(format!("raft-rs-{id}")));
                Some(log.map_err(|error| error.to_string())?)
            }
        };
        let tell = (id == LEADER).then(|| Arc::clone(&committed));
        let replica = Replica::new(id, &cluster.inboxes, tell, log)?;
        cluster.threads.push(std::thread::spawn(move || replica.run()));
    }
    let leader = Arc::clone(&cluster.inboxes[0]);
    load.run(NAME, &committed, |proposals| leader.push(Mail::Proposals(proposals)), None)
}

struct Cluster {
    inboxes: Vec<Arc<Mailbox<Mail>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.inboxes.iter().for_each(|inbox| inbox.push(Mail::Stop));
        for thread in self.threads.drain(..) {
            // Its panic has been printed.
            let _ = thread.join();
        }
    }
}

/// A ready that is not durable yet, and what may be said when it is.
struct Held {
    number: u64,
    is_written: bool,
    promised: Vec<Message>,
}

struct Replica {
    id: u64,
    node: RawNode<Log>,
    inboxes: Vec<Arc<Mailbox<Mail>>>,
    committed: Option<Arc<Mailbox<usize>>>,
    log: Option<LogFile>,
    held: VecDeque<Held>,
    letters: Vec<Vec<Message>>,
    through: usize,
    applied: u64,
    compact_due: u64,
}

impl Replica {
    fn new(
        id: u64,
        inboxes: &[Arc<Mailbox<Mail>>],
        committed: Option<Arc<Mailbox<usize>>>,
        log: Option<LogFile>,
    ) -> Result<Replica, String> {
        let config = Config {
            id,
            election_tick: 50,
            heartbeat_tick: 2,
            max_size_per_msg: APPEND_BYTES_MAX,
            max_inflight_msgs: 256,
            check_quorum: true,
            pre_vote: true,
            batch_append: true,
            ..Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let mut node = RawNode::new(&config, Log::default(), &logger).map_err(|e| e.to_string())?;
        if id == LEADER {
            node.campaign().map_err(|e| e.to_string())?;
        }
        Ok(Replica {
            id,
            node,
            inboxes: inboxes.to_vec(),
            committed,
            log,
            held: VecDeque::new(),
            letters: inboxes.iter().map(|_| Vec::new()).collect(),
            through: 0,
            applied: 0,
            compact_due: COMPACT_EVERY,
        })
    }

    fn run(mut self) {
        let inbox = Arc::clone(&self.inboxes[self.id as usize - 1]);
        let (mut mail, mut proposals) = (Vec::new(), Vec::new());
        let mut tick_due = Instant::now() + TICK;
        loop {
            self.carry_out();
            inbox.take(&mut mail, Some(tick_due));
            if Instant::now() >= tick_due {
                self.node.tick();
                tick_due += TICK;
            }
            for piece in mail.drain(..) {
                match piece {
                    Mail::Proposals(more) => proposals.extend(more),
                    Mail::Messages(messages) => {
                        for message in messages {
                            // Refusals of messages of an old term, which mean nothing here.
                            let _ = self.node.step(message);
                        }
                    }
                    Mail::Durable(number) => self.on_durable(number),
                    Mail::Stop => return,
                }
            }
            if self.node.raft.state == raft::StateRole::Leader && !proposals.is_empty() {
                self.propose(&mut proposals);
            }
        }
    }

    fn propose(&mut self, proposals: &mut Vec<Bytes>) {
        let entry = |data: Bytes| Entry { data: data.into(), ..Entry::default() };
        let entries: Vec<Entry> = proposals.drain(..).map(entry).collect();
        let mut message = Message { from: self.id, entries, ..Message::default() };
        message.set_msg_type(MessageType::MsgPropose);
        self.node.step(message).expect("a leader with room takes proposals");
    }

    /// What was not written is durable as soon as all before it is.
    fn on_durable(&mut self, durable: u64) {
        let mut last = None;
        while let Some(held) = self.held.front()
            && (held.number <= durable || !held.is_written)
        {
            let held = self.held.pop_front().expect("there is a first one");
            last = Some(held.number);
            self.post(held.promised);
        }
        if let Some(number) = last {
            self.node.on_persist_ready(number);
        }
    }

    /// Carries out readies until there is none, then sends the turn's letters.
    fn carry_out(&mut self) {
        while self.node.has_ready() {
            self.carry_out_one();
        }
        for (letter, inbox) in self.letters.iter_mut().zip(&self.inboxes) {
            if !letter.is_empty() {
                inbox.push(Mail::Messages(std::mem::take(letter)));
            }
        }
        let through = std::mem::take(&mut self.through);
        if let Some(committed) = self.committed.as_ref().filter(|_| through > 0) {
            committed.push(through);
        }
        if self.applied >= self.compact_due {
            self.compact_due = self.applied + COMPACT_EVERY;
            self.node.mut_store().compact(self.applied - KEPT);
        }
    }

    fn carry_out_one(&mut self) {
        let mut ready = self.node.ready();
        self.post(ready.take_messages());
        self.apply(&ready.take_committed_entries());
        let number = ready.number();
        let promised = ready.take_persisted_messages();
        let entries = ready.take_entries();
        let is_written = !entries.is_empty() || ready.must_sync();
        if let Some(log) = self.log.as_ref().filter(|_| is_written) {
            let mut records = Vec::new();
            entries.iter().for_each(|entry| encode(&mut records, &entry.data));
            if entries.is_empty() {
                encode(&mut records, &[]);
            }
            let inbox = Arc::clone(&self.inboxes[self.id as usize - 1]);
            log.append(records, Box::new(move || inbox.push(Mail::Durable(number))));
        }
        if let Some(hard_state) = ready.hs() {
            self.node.mut_store().hard_state = hard_state.clone();
        }
        self.node.mut_store().append(entries);
        self.node.advance_append_async(ready);
        let is_written = is_written && self.log.is_some();
        self.held.push_back(Held { number, is_written, promised });
        self.on_durable(0);
    }

    fn apply(&mut self, entries: &[Entry]) {
        let Some(last) = entries.last() else { return };
        self.applied = last.index;
        self.through += entries.iter().filter(|entry| !entry.data.is_empty()).count();
        self.node.advance_apply_to(last.index);
    }

    fn post(&mut self, messages: Vec<Message>) {
        for message in messages {
            self.letters[message.to as usize - 1].push(message);
        }
    }
}

/// The log in memory, from which the engine reads what it sends.
#[derive(Default)]
struct Log {
    hard_state: HardState,
    base: (u64, u64),
    entries: VecDeque<Entry>,
}

impl Log {
    fn append(&mut self, entries: Vec<Entry>) {
        let Some(first) = entries.first() else { return };
        let kept = first.index - self.base.0 - 1;
        self.entries.truncate(kept as usize);
        self.entries.extend(entries);
    }

    fn compact(&mut self, upto: u64) {
        let term = self.term(upto).expect("what is applied is in the log");
        self.entries.drain(..(upto - self.base.0) as usize);
        self.base = (upto, term);
    }
}

impl Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let voters = (1..=REPLICAS).collect::<Vec<u64>>();
        Ok(RaftState::new(self.hard_state.clone(), ConfState::from((voters, vec![]))))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.base.0 {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        let place = |index: u64| (index - self.base.0 - 1) as usize;
        let mut entries: Vec<Entry> =
            self.entries.range(place(low)..place(high)).cloned().collect();
        util::limit_size(&mut entries, max_size.into());
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.base.0 {
            return Ok(self.base.1);
        }
        let place = index.checked_sub(self.base.0 + 1);
        let place = place.ok_or(raft::Error::Store(StorageError::Compacted))?;
        let entry = self.entries.get(place as usize);
        entry.map(|entry| entry.term).ok_or(raft::Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.base.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.base.0 + self.entries.len() as u64)
    }

    fn snapshot(&self, _: u64, _: u64) -> raft::Result<Snapshot> {
        Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}
