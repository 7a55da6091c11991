//! A cluster in memory: replicas, disks that lose what is not synced, a network that does what it
//! is told, and virtual time.

use super::describe;
use super::ledger::Ledger;
use crate::base::{ClusterId, Index, LogId, Machine, NodeId, Now, Outputs, PersistId, Prng, Sum64};
use crate::raft::{
    Bound, Configuration, Drive, Entry, HardState, Input, Message, Options, Output, Payload, Raft,
    ReadId, Recovered, Role, Snapshot, SnapshotMeta, Unbound, Write,
};
use bytes::Bytes;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::format;
use std::string::String;
use std::vec::Vec;

/// How the world treats messages and writes.
#[derive(Clone)]
pub(super) struct Weather {
    pub(super) delay: (Duration, Duration),
    pub(super) sync: (Duration, Duration),
    /// Per million.
    pub(super) loss: u64,
    /// Per million.
    pub(super) duplicates: u64,
}

impl Weather {
    /// A millisecond for everything, nothing lost.
    pub(super) fn calm() -> Weather {
        let millisecond = Duration::from_millis(1);
        let always = (millisecond, millisecond);
        Weather { delay: always, sync: always, loss: 0, duplicates: 0 }
    }
}

/// What happens to pieces of snapshots on their way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoil {
    Nothing,
    Bytes,
    Cluster,
}

/// What survives a crash.
#[derive(Clone, Default)]
struct Disk {
    hard_state: HardState,
    entries: Vec<Entry>,
    snapshot: Saved,
}

/// A saved snapshot.
#[derive(Clone, Default)]
struct Saved {
    meta: SnapshotMeta,
    data: Bytes,
}

impl Disk {
    fn write(&mut self, write: &Write) {
        match write {
            Write::Log { hard_state, entries } => {
                self.hard_state = hard_state.unwrap_or(self.hard_state);
                if let Some(first) = entries.first() {
                    self.entries.retain(|entry| entry.id.index < first.id.index);
                    // A snapshot may have been saved that ends beyond what was durable.
                    let end = self.entries.last().map(|entry| entry.id.index.next());
                    self.entries.retain(|_| end == Some(first.id.index));
                    self.entries.extend(entries.iter().cloned());
                }
            }
            Write::Snapshot { snapshot, keep_from, discard_log } => {
                self.snapshot = Saved { meta: snapshot.meta.clone(), data: snapshot.data.clone() };
                self.entries.retain(|entry| !discard_log && entry.id.index >= *keep_from);
            }
        }
    }

    fn has(&self, id: LogId) -> bool {
        self.snapshot.meta.last.index >= id.index || self.entries.iter().any(|entry| entry.id == id)
    }

    fn recovered(&self) -> Recovered {
        Recovered {
            hard_state: self.hard_state,
            snapshot: self.snapshot.meta.clone(),
            entries: self.entries.clone(),
        }
    }
}

struct Node {
    raft: Option<Raft>,
    starts: u64,
    disk: Disk,
    /// What the disk had before it was damaged: acknowledgements of it may have been counted.
    ghost: BTreeSet<LogId>,
    /// Writes not yet durable.
    writes: VecDeque<(PersistId, Write)>,
    /// Messages behind writes.
    held: VecDeque<(PersistId, NodeId, Message)>,
    durable: PersistId,
    is_disk_held: bool,
    /// The commands applied, each followed by a semicolon.
    state: Vec<u8>,
    is_snapshot_needed: bool,
}

enum Arrival {
    Message { from: NodeId, to: NodeId, message: Message },
    Synced { node: NodeId, start: u64, id: PersistId },
    Saved { node: NodeId, start: u64, snapshot: Snapshot, keep_from: Index },
}

pub(super) struct Cluster {
    pub(super) now: Now,
    pub(super) options: Options,
    pub(super) weather: Weather,
    pub(super) prng: Prng,
    pub(super) ledger: Ledger,
    /// Links that carry nothing, by sender and receiver.
    pub(super) cut: BTreeSet<(NodeId, NodeId)>,
    /// Kinds of messages lost.
    pub(super) lose: BTreeSet<String>,
    /// Whether messages and writes are told.
    pub(super) is_traced: bool,
    pub(super) transcript: String,
    /// Whether the transcript is printed as it grows, with the time.
    pub(super) is_loud: bool,
    founding: Configuration,
    nodes: BTreeMap<NodeId, Node>,
    arrivals: BTreeMap<(Now, u64), Arrival>,
    sequence: u64,
    /// What each read must at least see (R7).
    reads: BTreeMap<(NodeId, ReadId), Index>,
    next_read: u64,
    pub(super) reads_answered: u64,
    /// Some disk has lost data.
    pub(super) is_damaged: bool,
    /// How much faster than the world's a node's clock runs, in parts per million.
    pub(super) drift: BTreeMap<NodeId, i64>,
    /// Pieces of snapshots arrive damaged, or from another cluster.
    pub(super) spoil: Spoil,
}

impl Cluster {
    pub(super) fn founded(founding: Configuration, options: Options, seed: u64) -> Cluster {
        options.validate().expect("tests use settings that work");
        let mut cluster = Cluster {
            now: Now::from_millis(1_000),
            options,
            weather: Weather::calm(),
            prng: Prng::seeded(seed),
            ledger: Ledger::default(),
            cut: BTreeSet::new(),
            lose: BTreeSet::new(),
            is_traced: false,
            transcript: String::new(),
            is_loud: false,
            founding,
            nodes: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            sequence: 0,
            reads: BTreeMap::new(),
            next_read: 0,
            reads_answered: 0,
            is_damaged: false,
            drift: BTreeMap::new(),
            spoil: Spoil::Nothing,
        };
        for id in cluster.founding.members() {
            cluster.add(id, cluster.founding.clone());
        }
        cluster
    }

    /// A node with an empty disk, started.
    pub(super) fn add(&mut self, id: NodeId, configuration: Configuration) {
        let meta = SnapshotMeta { last: LogId::ZERO, configuration };
        let disk = Disk { snapshot: Saved { meta, data: Bytes::new() }, ..Disk::default() };
        let starts = self.nodes.get(&id).map_or(0, |node| node.starts);
        let node = Node {
            raft: None,
            starts,
            disk,
            ghost: BTreeSet::new(),
            writes: VecDeque::new(),
            held: VecDeque::new(),
            durable: PersistId::ZERO,
            is_disk_held: false,
            state: Vec::new(),
            is_snapshot_needed: false,
        };
        self.nodes.insert(id, node);
        self.ledger.forget(id);
        self.start(id);
    }

    /// The disk is replaced by an empty one, the name kept.
    pub(super) fn wipe(&mut self, id: NodeId) {
        self.add(id, self.founding.clone());
    }

    /// A crash, after which the disk has nothing after `keep`; before 1, not even its snapshot.
    /// What the store of a damaged disk vouches for, unless nobody `notices`.
    pub(super) fn damage(&mut self, id: NodeId, keep: Index, notices: bool) {
        self.crash(id);
        let founding = self.founding.clone();
        self.is_damaged = true;
        self.ledger.forget(id);
        let node = self.nodes.get_mut(&id).expect("the node exists");
        let disk = &mut node.disk;
        node.ghost.extend(disk.entries.iter().map(|entry| entry.id));
        let lost = disk.snapshot.meta.last.index;
        node.ghost.extend((1..=lost.0).map(|index| self.ledger.name_of(Index(index))));
        disk.entries.retain(|entry| entry.id.index <= keep);
        if keep == Index::ZERO {
            let meta = SnapshotMeta { last: LogId::ZERO, configuration: founding };
            disk.snapshot = Saved { meta, data: Bytes::new() };
        }
        let saved = disk.snapshot.meta.last;
        let last = disk.entries.last().map_or(saved, |entry| entry.id);
        let last = if last.index > saved.index { last } else { saved };
        disk.entries.retain(|_| last != saved);
        let HardState { term, vote, commit, rebuilding, leased } = disk.hard_state;
        let commit = commit.min(last.index);
        disk.hard_state = match notices {
            true => HardState { term: last.term, vote: None, commit, rebuilding: true, leased },
            false => HardState { term, vote, commit, rebuilding, leased },
        };
        self.tell(format!("{id:?} has lost what follows {keep}"));
    }

    /// Whether any disk lost data and its replica has not yet rebuilt.
    pub(super) fn is_rebuilding(&self) -> bool {
        self.nodes.values().any(|node| {
            let is_marked = node.disk.hard_state.rebuilding;
            node.raft.as_ref().map_or(is_marked, Raft::is_rebuilding)
        })
    }

    pub(super) fn crash(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).expect("the node exists");
        node.raft = None;
        node.writes.clear();
        node.held.clear();
        self.tell(format!("{id:?} crashes"));
        self.reads.retain(|(reader, _), _| *reader != id);
    }

    pub(super) fn start(&mut self, id: NodeId) {
        let seed = self.prng.draw();
        let local = self.local(id);
        let mut options = self.options.clone();
        // Where all keep leases, only the odd ones use them.
        options.lease_reads &= !options.keeps_leases || id.0 % 2 == 1;
        let node = self.nodes.get_mut(&id).expect("the node exists");
        node.starts += 1;
        node.durable = PersistId::ZERO;
        node.is_disk_held = false;
        node.state = node.disk.snapshot.data.to_vec();
        let recovered = node.disk.recovered();
        node.raft = Some(Raft::new(id, options, recovered, seed, local));
        self.tell(format!("{id:?} starts"));
    }

    pub(super) fn raft(&self, id: NodeId) -> Option<&Raft> {
        self.nodes.get(&id).and_then(|node| node.raft.as_ref())
    }

    pub(super) fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    pub(super) fn running(&self) -> Vec<NodeId> {
        self.ids().into_iter().filter(|id| self.raft(*id).is_some()).collect()
    }

    /// The leader of the latest term, among those that run.
    pub(super) fn leader(&self) -> Option<NodeId> {
        let leads = |id: &NodeId| self.raft(*id).is_some_and(|raft| raft.role() == Role::Leader);
        let leaders = self.ids().into_iter().filter(leads);
        leaders.max_by_key(|id| self.raft(*id).map(Raft::term))
    }

    pub(super) fn state(&self, id: NodeId) -> &[u8] {
        &self.nodes[&id].state
    }

    pub(super) fn hold_disk(&mut self, id: NodeId, is_held: bool) {
        let node = self.nodes.get_mut(&id).expect("the node exists");
        node.is_disk_held = is_held;
        let start = node.starts;
        if let Some((last, _)) = node.writes.back().filter(|_| !is_held) {
            let id_of_write = *last;
            self.arrive(self.now, Arrival::Synced { node: id, start, id: id_of_write });
        }
    }

    pub(super) fn isolate(&mut self, id: NodeId) {
        for other in self.ids() {
            self.cut.extend([(id, other), (other, id)]);
        }
    }

    pub(super) fn propose(&mut self, id: NodeId, commands: &[&str]) -> bool {
        let is_willing = self.raft(id).is_some_and(Raft::accepts_proposals);
        if is_willing {
            let proposals = commands.iter().map(|command| Bytes::from(command.as_bytes().to_vec()));
            self.input(id, Input::Propose(proposals.collect()));
        }
        is_willing
    }

    pub(super) fn read(&mut self, id: NodeId, lease: bool) {
        if self.raft(id).is_none() {
            return;
        }
        self.next_read += 1;
        let read = ReadId(self.next_read);
        self.reads.insert((id, read), self.ledger.highest());
        self.input(id, if lease { Input::LeaseRead(read) } else { Input::Read(read) });
    }

    pub(super) fn drive_all(&mut self, drive: Drive) {
        self.options.drive = drive;
        for id in self.running() {
            self.input(id, Input::Drive(drive));
        }
    }

    /// Tells all who runs that a node is alive, or not.
    pub(super) fn spread_word(&mut self, of: NodeId, is_alive: bool) {
        for id in self.running().into_iter().filter(|id| *id != of) {
            self.input(id, Input::Peer { id: of, is_alive });
        }
    }

    fn spoiled(&self, mut message: Message) -> Message {
        if let Message::Unbound(Unbound::SnapshotChunk { cluster, data, .. }) = &mut message {
            match self.spoil {
                Spoil::Nothing => {}
                Spoil::Bytes => *data = Bytes::from(std::vec![b'?'; data.len()]),
                Spoil::Cluster => *cluster = ClusterId(cluster.0 + 1),
            }
        }
        message
    }

    /// A snapshot of the present state.
    pub(super) fn snapshot(&mut self, id: NodeId, save: bool) {
        let node = &self.nodes[&id];
        let Some(raft) = &node.raft else { return };
        let snapshot =
            Snapshot { meta: raft.snapshot_meta(), data: Bytes::from(node.state.clone()) };
        let checksum = Sum64::of(&snapshot.data);
        self.input(id, Input::Snapshot { snapshot, checksum, save });
    }

    pub(super) fn input(&mut self, id: NodeId, input: Input) {
        let mut out = Outputs::new();
        let local = self.local(id);
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let Some(raft) = &mut node.raft else { return };
        raft.handle(local, input, &mut out);
        raft.handle(local, Input::Flush, &mut out);
        for output in out.drain() {
            self.carry_out(id, output);
        }
        let node = self.nodes.get_mut(&id).expect("nodes stay");
        if core::mem::take(&mut node.is_snapshot_needed) {
            self.snapshot(id, false);
        }
    }

    fn carry_out(&mut self, id: NodeId, output: Output) {
        match output {
            Output::Persist { id: write_id, write } => self.persist(id, write_id, write),
            Output::Send { to, after, message } => {
                let is_bound = matches!(message, Message::Bound(_));
                assert_eq!(is_bound, after.is_some(), "R9: promises alone wait for writes");
                let node = self.nodes.get_mut(&id).expect("nodes stay");
                match after {
                    Some(write) if write > node.durable => {
                        node.held.push_back((write, to, message));
                    }
                    _ => self.send(id, to, message),
                }
            }
            Output::Save { snapshot, keep_from } => {
                let delay = self.weather.sync;
                let due = self.now + self.prng.duration(delay.0, delay.1);
                let start = self.nodes[&id].starts;
                self.arrive(due, Arrival::Saved { node: id, start, snapshot, keep_from });
            }
            Output::Commit(entries) => self.apply(id, &entries),
            Output::Install(snapshot) => {
                let node = self.nodes.get_mut(&id).expect("nodes stay");
                node.state = snapshot.data.to_vec();
                self.check_state(id);
            }
            Output::SnapshotNeeded => {
                self.nodes.get_mut(&id).expect("nodes stay").is_snapshot_needed = true;
            }
            Output::ReadReady { id: read, index } => {
                let least = self.reads.remove(&(id, read)).expect("R7: a read is answered once");
                assert!(index >= least, "R7: {id:?} reads at {index}, {least} was acknowledged");
                self.reads_answered += 1;
                self.tell(format!("{id:?} reads at {index}"));
            }
            Output::ReadFailed { id: read } => {
                self.reads.remove(&(id, read)).expect("R7: a read is answered once");
                self.tell(format!("{id:?} cannot read"));
            }
            Output::Report(event) => {
                self.tell(format!("{id:?} {}", describe::event(&event)));
                let raft = self.nodes[&id].raft.as_ref().expect("it just spoke");
                self.ledger.reported(id, raft, &event);
            }
        }
    }

    fn persist(&mut self, id: NodeId, write_id: PersistId, write: Write) {
        if self.is_traced {
            self.tell(format!("{id:?} writes {write_id:?} {}", describe::write(&write)));
        }
        let delay = self.weather.sync;
        let due = self.now + self.prng.duration(delay.0, delay.1);
        let node = self.nodes.get_mut(&id).expect("nodes stay");
        node.writes.push_back((write_id, write));
        let start = node.starts;
        if !node.is_disk_held {
            self.arrive(due, Arrival::Synced { node: id, start, id: write_id });
        }
    }

    fn apply(&mut self, id: NodeId, entries: &[Entry]) {
        self.tell(format!("{id:?} applies {}", describe::list(entries)));
        let has = |node: NodeId, entry: LogId| {
            let node = self.nodes.get(&node);
            node.is_some_and(|node| node.disk.has(entry) || node.ghost.contains(&entry))
        };
        let raft = self.nodes[&id].raft.as_ref().expect("it just spoke");
        self.ledger.handed_out(raft, entries, has);
        let node = self.nodes.get_mut(&id).expect("nodes stay");
        for entry in entries {
            if let Payload::Command(command) = &entry.payload {
                node.state.extend_from_slice(command);
                node.state.push(b';');
            }
        }
    }

    /// R6: the state is what the committed commands make it.
    pub(super) fn check_state(&self, id: NodeId) {
        let Some(raft) = self.raft(id) else { return };
        let mut wanted = Vec::new();
        for payload in self.ledger.commands_upto(raft.applied()) {
            if let Payload::Command(command) = payload {
                wanted.extend_from_slice(command);
                wanted.push(b';');
            }
        }
        assert!(self.state(id) == wanted, "R6: {id:?} has another state at {}", raft.applied());
    }

    /// R9: what a message promises is on the sender's disk when it leaves.
    fn check_promise(&self, from: NodeId, to: NodeId, message: &Message) {
        let disk = &self.nodes[&from].disk;
        match message {
            Message::Bound(Bound::VoteReply { term, granted: true }) => {
                let HardState { term: written, vote, .. } = disk.hard_state;
                let is_kept = written > *term || (written == *term && vote == Some(to));
                assert!(is_kept, "R5, R9: {from:?} gives a vote it would forget");
            }
            Message::Bound(Bound::Vote { term, .. }) => {
                let HardState { term: written, vote, .. } = disk.hard_state;
                let is_kept = written > *term || (written == *term && vote == Some(from));
                assert!(is_kept, "R5, R9: {from:?} asks with a vote it would forget");
            }
            _ => {}
        }
    }

    fn send(&mut self, from: NodeId, to: NodeId, message: Message) {
        self.check_promise(from, to, &message);
        let is_lost = self.cut.contains(&(from, to))
            || self.lose.contains(&describe::kind(&message))
            || self.prng.chance(self.weather.loss);
        if self.is_traced {
            let lost = if is_lost { " (lost)" } else { "" };
            self.tell(format!("{from:?} -> {to:?} {}{lost}", describe::message(&message)));
        }
        if is_lost {
            return;
        }
        let message = self.spoiled(message);
        let copies = if self.prng.chance(self.weather.duplicates) { 2 } else { 1 };
        for _ in 0..copies {
            let due = self.now + self.prng.duration(self.weather.delay.0, self.weather.delay.1);
            self.arrive(due, Arrival::Message { from, to, message: message.clone() });
        }
    }

    fn arrive(&mut self, due: Now, arrival: Arrival) {
        self.sequence += 1;
        self.arrivals.insert((due, self.sequence), arrival);
    }

    pub(super) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(due) = self.next_due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.step();
        }
        self.now = end;
    }

    fn next_due(&self) -> Option<Now> {
        let arrival = self.arrivals.first_key_value().map(|((due, _), _)| *due);
        let wake = self.nodes.keys().filter_map(|id| self.deadline(*id)).min();
        [arrival, wake].into_iter().flatten().min()
    }

    /// What a node's own clock says.
    fn local(&self, id: NodeId) -> Now {
        let rate = 1_000_000 + self.drift.get(&id).copied().unwrap_or(0);
        Now((i128::from(self.now.0) * i128::from(rate) / 1_000_000) as u64)
    }

    /// When a node wants to be woken, by the world's clock.
    fn deadline(&self, id: NodeId) -> Option<Now> {
        let (due, _) = self.raft(id).and_then(Machine::deadline)?;
        let rate = 1_000_000 + self.drift.get(&id).copied().unwrap_or(0);
        // Rounded up: at that moment the node's clock says no less.
        let due = (i128::from(due.0) * 1_000_000 + i128::from(rate) - 1) / i128::from(rate);
        Some(Now(due as u64))
    }

    fn step(&mut self) {
        if let Some(entry) = self.arrivals.first_entry()
            && entry.key().0 <= self.now
        {
            return match entry.remove() {
                Arrival::Message { from, to, message } => {
                    if !self.cut.contains(&(from, to)) {
                        self.input(to, Input::Message { from, message });
                    }
                }
                Arrival::Synced { node, start, id } => self.synced(node, start, id),
                Arrival::Saved { node, start, snapshot, keep_from } => {
                    self.saved(node, start, snapshot, keep_from);
                }
            };
        }
        for id in self.running() {
            if self.deadline(id).is_some_and(|due| due <= self.now) {
                return self.input(id, Input::Tick);
            }
        }
    }

    fn synced(&mut self, id: NodeId, start: u64, write_id: PersistId) {
        let node = self.nodes.get_mut(&id).expect("nodes stay");
        if node.starts != start || node.raft.is_none() || node.is_disk_held {
            return;
        }
        while let Some((next, write)) = node.writes.front().filter(|(next, _)| *next <= write_id) {
            node.durable = *next;
            node.disk.write(write);
            if let Write::Log { hard_state: Some(hard_state), .. } = write {
                self.ledger.persisted(id, *hard_state);
            }
            node.writes.pop_front();
        }
        let durable = node.durable;
        let mut ready = Vec::new();
        node.held.retain(|(write, to, message)| {
            if *write <= durable {
                ready.push((*to, message.clone()));
            }
            *write > durable
        });
        for (to, message) in ready {
            self.send(id, to, message);
        }
        self.input(id, Input::Persisted(write_id));
    }

    /// A snapshot is saved off the path of the writes, unless one that ends later was installed.
    fn saved(&mut self, id: NodeId, start: u64, snapshot: Snapshot, keep_from: Index) {
        let node = self.nodes.get_mut(&id).expect("nodes stay");
        if node.starts != start || node.raft.is_none() {
            return;
        }
        let index = snapshot.meta.last.index;
        if index > node.disk.snapshot.meta.last.index {
            node.disk.write(&Write::Snapshot { snapshot, keep_from, discard_log: false });
        }
        self.input(id, Input::Saved(index));
    }

    /// Delivers a message nobody sent.
    pub(super) fn forge(&mut self, from: NodeId, to: NodeId, message: Message) {
        self.input(to, Input::Message { from, message });
    }

    pub(super) fn tell(&mut self, line: String) {
        if self.is_loud {
            std::println!("{:?} {line}", self.now);
        }
        self.transcript += &line;
        self.transcript.push('\n');
    }

    /// Every entry both disks hold at an index and term is the same (R2).
    pub(super) fn check_logs(&self) {
        let mut seen: BTreeMap<LogId, &Entry> = BTreeMap::new();
        for entry in self.nodes.values().flat_map(|node| &node.disk.entries) {
            let known = *seen.entry(entry.id).or_insert(entry);
            assert_eq!(known, entry, "R2: two entries of one name");
        }
    }
}
