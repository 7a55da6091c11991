//! Real replicas between which a message is delivered at once or never.
//!
//! A step gives one replica something to do and lets messages of one kind run among some of them
//! until nobody has more to say; all else is lost. Between two steps more time passes than any
//! time-out, so that nobody is held back by a leader it has heard; no leader steps down because of
//! it either. Disks are done at once. What this leaves out, messages that come late and disks that
//! forget, is the simulator's.

use crate::fingerprint::Fingerprint;
use muslin_core::base::{Index, Machine as _, NodeId, Now, Outputs, PersistId, Sum64, Term};
use muslin_core::raft::{
    Bound, Configuration, Drive, Entry, HardState, Input, Message, Options, Output, Payload, Raft,
    Recovered, Role, Snapshot, SnapshotMeta, Unbound,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::DefaultHasher;
use std::sync::Arc;
use std::time::Duration;

/// Time that passes with each step.
const STEP: Duration = Duration::from_secs(1);

/// A leader that is not heard for longer steps down: no run of the model is that long.
const FOR_EVER: Duration = Duration::from_secs(1 << 30);

/// More messages than any step can need: beyond it they beget each other.
const MESSAGES_MAX: usize = 10_000;

/// Which messages run in a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Election,
    Replication,
    All,
}

/// A group of replicas, and what must hold of it.
#[derive(Clone, Debug)]
pub(crate) struct Replicas {
    time: Now,
    options: Arc<Options>,
    founders: Configuration,
    /// By place; n1 is the first. With the fingerprint of each.
    replicas: Vec<(Arc<Raft>, u64)>,
    /// How often each was started.
    lives: Vec<u64>,
    /// Who led in each term.
    leaders: BTreeMap<Term, NodeId>,
    /// The term of each committed entry, from index 1.
    committed: Vec<Term>,
    /// Voters of committed configurations that are not joint, in their order.
    pub(crate) voters: Vec<BTreeSet<NodeId>>,
    /// The invariant that was broken first.
    pub(crate) broken: Option<&'static str>,
}

pub(crate) fn id(place: usize) -> NodeId {
    NodeId(place as u64 + 1)
}

fn place(id: NodeId) -> usize {
    id.0 as usize - 1
}

impl Replicas {
    /// `all` replicas, of which the first `founders` vote.
    pub(crate) fn founded(all: usize, founders: usize, drive: Drive) -> Replicas {
        let options = Options {
            election_timeout_min: Duration::from_millis(2),
            election_timeout_max: FOR_EVER,
            heartbeat_interval: Duration::from_millis(1),
            log_tail_entries: 1_000,
            // Each step is a turn of its own, with nothing to gather.
            appends_gather_bytes: 0,
            drive,
            ..Options::default()
        };
        let founders = Configuration::of_voters((0..founders).map(id));
        let mut group = Replicas {
            time: Now::START,
            options: Arc::new(options),
            replicas: Vec::new(),
            lives: vec![0; all],
            leaders: BTreeMap::new(),
            committed: Vec::new(),
            voters: vec![founders.voters.clone()],
            founders,
            broken: None,
        };
        for place in 0..all {
            let raft = group.start(place, HardState::default());
            group.replicas.push((Arc::new(raft), 0));
        }
        group
    }

    fn start(&self, place: usize, hard_state: HardState) -> Raft {
        let configuration = self.founders.clone();
        let snapshot = SnapshotMeta { configuration, ..SnapshotMeta::default() };
        let recovered = Recovered { hard_state, snapshot, entries: Vec::new() };
        let seed = id(place).0 * 1_000 + self.lives[place];
        Raft::new(id(place), (*self.options).clone(), recovered, seed, self.time)
    }

    pub(crate) fn len(&self) -> usize {
        self.replicas.len()
    }

    pub(crate) fn raft(&self, place: usize) -> &Raft {
        &self.replicas[place].0
    }

    pub(crate) fn is_leader(&self, place: usize) -> bool {
        self.raft(place).role() == Role::Leader
    }

    /// Of all that matters.
    pub(crate) fn fingerprints(&self) -> impl Iterator<Item = u64> + '_ {
        self.replicas.iter().map(|(_, fingerprint)| *fingerprint)
    }

    pub(crate) fn committed(&self) -> &[Term] {
        &self.committed
    }

    /// A replica loses its disk, and knows it.
    pub(crate) fn lose_disk(&mut self, place: usize) {
        self.lives[place] += 1;
        let lost = HardState { rebuilding: true, ..HardState::default() };
        let raft = self.start(place, lost);
        self.put(place, Arc::new(raft));
    }

    /// Gives one replica something to do; messages run among it and `others`, a bit for each place.
    pub(crate) fn step(&mut self, at: usize, input: Input, others: u32, kind: Kind) {
        self.time = self.time + STEP;
        let present = others | 1 << at;
        let mut waiting = VecDeque::from([(at, input)]);
        let mut touched = BTreeSet::new();
        let mut handled = 0;
        while let Some((at, input)) = waiting.pop_front() {
            handled += 1;
            assert!(handled < MESSAGES_MAX, "messages beget messages");
            touched.insert(at);
            for (to, message) in self.handle(at, input) {
                let is_heard = present & 1 << place(to) != 0 && kind.has(&message);
                if is_heard {
                    let from = id(at);
                    waiting.push_back((place(to), Input::Message { from, message }));
                }
            }
            if self.broken.is_some() {
                return;
            }
        }
        for at in touched {
            let raft = Arc::clone(&self.replicas[at].0);
            self.put(at, raft);
        }
    }

    fn put(&mut self, place: usize, raft: Arc<Raft>) {
        let fingerprint = Fingerprint::of(&*raft, DefaultHasher::new());
        self.replicas[place] = (raft, fingerprint);
    }

    /// What a replica wants sent; its writes are done at once.
    fn handle(&mut self, at: usize, input: Input) -> Vec<(NodeId, Message)> {
        let mut sent = Vec::new();
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut out = Outputs::new();
            let raft = Arc::make_mut(&mut self.replicas[at].0);
            let before = (raft.role(), raft.term());
            raft.handle(self.time, input, &mut out);
            let after = (raft.role(), raft.term());
            if after.0 == Role::Leader && before != after {
                self.check_leader(at);
            }
            let mut written = PersistId::ZERO;
            for output in out.drain() {
                match output {
                    Output::Persist { id, .. } => written = id,
                    Output::Send { to, message, .. } => sent.push((to, message)),
                    Output::Commit(entries) => self.check_committed(&entries),
                    Output::Install(snapshot) => self.check_installed(&snapshot.meta),
                    Output::SnapshotNeeded => inputs.push_back(self.snapshot(at)),
                    _ => {}
                }
            }
            if written > PersistId::ZERO {
                inputs.push_front(Input::Persisted(written));
            }
        }
        sent
    }

    fn snapshot(&self, at: usize) -> Input {
        let meta = self.raft(at).snapshot_meta();
        let snapshot = Snapshot { meta, data: b"state".as_slice().into() };
        let checksum = Sum64::of(&snapshot.data);
        Input::Snapshot { snapshot, checksum, save: false }
    }

    fn fail(&mut self, invariant: &'static str) {
        self.broken.get_or_insert(invariant);
    }

    /// R1, and R3: a leader has all that was committed.
    fn check_leader(&mut self, at: usize) {
        let (raft, term) = (self.raft(at), self.raft(at).term());
        let last = Index(self.committed.len() as u64);
        let has_all = match self.committed.last() {
            Some(term) => raft.term_at(last) == Some(*term) || raft.first_index() > last,
            None => true,
        };
        if !has_all {
            self.fail("R3: a leader lacks what was committed");
        }
        if *self.leaders.entry(term).or_insert(id(at)) != id(at) {
            self.fail("R1: two leaders in one term");
        }
    }

    /// R3: what is committed at an index stays what it is.
    fn check_committed(&mut self, entries: &[Entry]) {
        for entry in entries {
            let slot = entry.id.index.0 as usize - 1;
            match self.committed.get(slot) {
                Some(term) if *term != entry.id.term => {
                    self.fail("R3: two entries are committed at one index");
                }
                Some(_) => {}
                None => self.note_committed(entry),
            }
        }
    }

    fn note_committed(&mut self, entry: &Entry) {
        self.committed.push(entry.id.term);
        if let Payload::Configuration(configuration) = &entry.payload
            && !configuration.is_joint()
        {
            self.voters.push(configuration.voters.clone());
        }
    }

    fn check_installed(&mut self, meta: &SnapshotMeta) {
        let slot = meta.last.index.0 as usize - 1;
        if self.committed.get(slot) != Some(&meta.last.term) {
            self.fail("R3: a snapshot of what was not committed is installed");
        }
    }
}

impl Kind {
    fn has(self, message: &Message) -> bool {
        let is_election = matches!(
            message,
            Message::Unbound(Unbound::PreVote { .. } | Unbound::PreVoteReply { .. })
                | Message::Bound(Bound::Vote { .. } | Bound::VoteReply { .. })
        );
        match self {
            Kind::Election => is_election,
            Kind::Replication => !is_election,
            Kind::All => true,
        }
    }
}
