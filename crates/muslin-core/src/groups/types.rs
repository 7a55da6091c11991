//! What goes into the groups of a node and what comes out of them.

use crate::base::{GroupId, Index, NodeId, PersistId, RequestId, Term};
use crate::raft::{self, Configuration, DiskRoom, Role, Snapshot};
use crate::state::{Digest, GroupRecord};
use crate::waiting::Failure;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;
use core::ops::{Deref, DerefMut};
use core::time::Duration;

/// What a group replicates. The same commands in the same order must give the same state and the
/// same answers on every replica: no clock, no chance, no hash order.
pub trait GroupMachine: Send {
    /// Carries a committed command out. Cannot fail: a command that makes no sense is answered so.
    fn apply(&mut self, index: Index, command: Bytes) -> Bytes;

    /// Answers a question; changes nothing.
    fn query(&self, query: &[u8]) -> Bytes;

    /// The whole state.
    fn snapshot(&self) -> Bytes;

    /// Becomes the state a snapshot was made of.
    fn restore(&mut self, snapshot: Bytes) -> Result<(), NotASnapshot>;

    /// Equal states have equal digests (R6). Asked for often by tests: a machine with much state
    /// keeps one up to date.
    fn digest(&self) -> u64 {
        Digest::new().bytes(&self.snapshot()).finish()
    }
}

/// The bytes are not what [`GroupMachine::snapshot`] makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotASnapshot;

impl fmt::Display for NotASnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes are no snapshot of this kind of group")
    }
}

impl core::error::Error for NotASnapshot {}

type Make = Arc<dyn Fn(GroupId) -> Box<dyn GroupMachine> + Send + Sync>;

/// The state machines a node can run, by name.
#[derive(Clone)]
pub struct Machines {
    by_name: BTreeMap<String, Make>,
}

impl Default for Machines {
    /// [`Register`](super::Register) as `register` and [`Journal`](super::Journal) as `journal`.
    fn default() -> Machines {
        Machines { by_name: BTreeMap::new() }
            .with("register", |_| Box::new(super::Register::default()))
            .with("journal", |_| Box::new(super::Journal::default()))
    }
}

impl Machines {
    /// And this one. Every node that keeps replicas of such groups must have it under this name.
    #[must_use]
    pub fn with(
        mut self,
        name: &str,
        make: impl Fn(GroupId) -> Box<dyn GroupMachine> + Send + Sync + 'static,
    ) -> Machines {
        self.by_name.insert(name.to_string(), Arc::new(make));
        self
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    pub(super) fn make(&self, name: &str, group: GroupId) -> Option<Kept> {
        let make = Arc::clone(self.by_name.get(name)?);
        Some(Kept { machine: make(group), make, group })
    }
}

/// A state machine, with what makes another like it.
pub(super) struct Kept {
    machine: Box<dyn GroupMachine>,
    make: Make,
    group: GroupId,
}

impl Clone for Kept {
    fn clone(&self) -> Kept {
        let mut machine = (self.make)(self.group);
        let restored = machine.restore(self.machine.snapshot());
        restored.expect("R6: a machine takes its own snapshot");
        Kept { machine, make: Arc::clone(&self.make), group: self.group }
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kept").field(&self.machine.digest()).finish()
    }
}

impl Deref for Kept {
    type Target = dyn GroupMachine;

    fn deref(&self) -> &(dyn GroupMachine + 'static) {
        &*self.machine
    }
}

impl DerefMut for Kept {
    fn deref_mut(&mut self) -> &mut (dyn GroupMachine + 'static) {
        &mut *self.machine
    }
}

impl fmt::Debug for Machines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

/// How the groups of a node behave.
#[derive(Clone, Debug)]
pub struct Options {
    /// The state machines this node can run.
    pub machines: Machines,
    /// Settings of each group. The same on all nodes.
    pub raft: raft::Options,
    /// How often two nodes that share a group say that they are alive.
    pub alive_every: Duration,
    /// A node not heard for this long is taken for dead.
    pub alive_timeout: Duration,
    /// When the control group has had no leader for this long, groups keep time by themselves.
    pub fallback_after: Duration,
    /// Entries applied since the last snapshot that make the next one.
    pub snapshot_entries: u64,
    /// The same by the bytes of their commands, or twice the last snapshot if that is more.
    pub snapshot_bytes: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            machines: Machines::default(),
            // An idle group's last entries would keep old segments of the shared log for ever.
            raft: raft::Options { log_tail_entries: 0, ..raft::Options::default() },
            alive_every: Duration::from_millis(200),
            alive_timeout: Duration::from_millis(700),
            fallback_after: Duration::from_secs(10),
            snapshot_entries: 10_000,
            // Half a segment of the log: hundreds of groups share it.
            snapshot_bytes: 8 << 20,
        }
    }
}

/// What a group finds on the disk of its node.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Recovered {
    /// Its log and hard state.
    pub raft: raft::Recovered,
    /// The saved state the log continues from, if one was ever saved.
    pub snapshot: Option<Bytes>,
}

impl Recovered {
    /// Whether the group was taken out of the record: its last write was an empty snapshot. No
    /// state is saved as nothing, the first byte of each is its format.
    pub fn was_removed(&self) -> bool {
        self.snapshot.as_ref().is_some_and(Bytes::is_empty)
    }
}

/// What can happen to the groups of a node.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// The deadline has come.
    Tick,
    /// All that waited was handed over: propose and send what has gathered.
    Flush,
    /// The record has this group; `rebuilding`: this node may have kept it before, and cannot know
    /// what it promised (R11).
    Open {
        /// As it stands in the record.
        record: GroupRecord,
        /// See above.
        rebuilding: bool,
    },
    /// The record says who is to lead.
    Assigned(GroupRecord),
    /// The record has this group no more.
    Close(GroupId),
    /// A peer said something about groups.
    Message {
        /// Who, authenticated.
        from: NodeId,
        /// What.
        message: Message,
    },
    /// This write, and all before it of that group, is on stable storage.
    Persisted {
        /// Of which group.
        group: GroupId,
        /// Which write.
        id: PersistId,
    },
    /// The snapshot of [`Output::Save`] that ends at this entry is on stable storage.
    Saved {
        /// Of which group.
        group: GroupId,
        /// Up to here.
        index: Index,
    },
    /// The saved snapshot was found damaged: another is to take its place.
    SnapshotLost(GroupId),
    /// The disk is full, or has room again.
    Disk(DiskRoom),
    /// Whether the control group has a leader, as this node knows.
    ControlLed(bool),
    /// A local client asks.
    Ask {
        /// Names the answer.
        id: RequestId,
        /// Which group.
        group: GroupId,
        /// What.
        ask: Ask,
    },
    /// A local client asks a group of which this node keeps no replica.
    AskAfar {
        /// Names the answer.
        id: RequestId,
        /// The group, as it stands in the record.
        record: GroupRecord,
        /// What.
        ask: Ask,
    },
    /// The process is about to stop: hand leadership over, give no more votes.
    Shutdown,
}

/// What is asked of a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// Carry a command out.
    Propose(Bytes),
    /// Answer a question, from a state that has every command answered before it was asked.
    Query(Bytes),
    /// Answer a question from whatever the replica has applied.
    QueryLocal(Bytes),
}

/// What nodes say to each other about groups, besides consensus.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Consensus of one group.
    Raft {
        /// Which group.
        group: GroupId,
        /// What.
        message: raft::Message,
    },
    /// The sender is alive. Whoever hears another `boot` than before knows that it started anew.
    Alive {
        /// Start counter of the sender's data directory.
        boot: u64,
        /// The sender has not heard the receiver lately.
        is_deaf: bool,
    },
    /// Encoded proposals of the sender, for the group's leader to append. Without any, the sender
    /// asks whether the receiver leads: whoever does sends it an append.
    Propose {
        /// Which group.
        group: GroupId,
        /// In order. None: the sender asks to be told who leads.
        proposals: Vec<Bytes>,
    },
    /// These proposals of the receiver, by sequence, were not appended.
    ProposeRefused {
        /// Which group.
        group: GroupId,
        /// Which.
        sequences: Vec<u64>,
        /// The disks that would have to take them are full.
        full: bool,
        /// Who leads, as the sender knows; itself, if it has no room for more at once.
        leader: Option<NodeId>,
    },
    /// A client of the sender, which keeps no replica, asks: the receiver answers.
    Question {
        /// Which group.
        group: GroupId,
        /// Start counter of the sender's data directory.
        boot: u64,
        /// The sender's own number for the answer, within that start and group.
        number: u64,
        /// What is asked.
        query: Bytes,
        /// Whatever the receiver has applied will do.
        is_local: bool,
    },
    /// What came of a command or a question of the receiver, which keeps no replica.
    Answered {
        /// Which group.
        group: GroupId,
        /// In which start of the receiver it was asked.
        boot: u64,
        /// What was asked.
        matter: Matter,
        /// What came of it.
        answer: Answer,
    },
    /// The sender leads these groups although the record names another, or is named and cannot
    /// lead: for the leader of the control group.
    Claims(Vec<Claim>),
}

/// What a node that keeps no replica asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Matter {
    /// The command of this sequence.
    Command(u64),
    /// The question of this number.
    Question(u64),
}

/// What a replica answers to a node that keeps none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// What its state machine said.
    Said(Bytes),
    /// The command was carried out, once; what was answered is not known any more.
    Gone,
    /// As much as may wait there waits already; nothing happened.
    Busy {
        /// When there should be room.
        retry_after: Duration,
    },
    /// This replica cannot answer: another may.
    Elsewhere,
    /// What the state machine said is larger than [`AFAR_ANSWER_BYTES_MAX`].
    TooLong,
    /// The group's only replica has lost what it promised.
    Lost,
}

/// Longest answer to a node that keeps no replica: half of what a message may have.
pub const AFAR_ANSWER_BYTES_MAX: usize = 8 << 20;

impl Answer {
    /// Of what a question came to at a replica.
    pub(super) fn of_question(result: Result<Bytes, Failure>) -> Answer {
        match result {
            Ok(bytes) if bytes.len() > AFAR_ANSWER_BYTES_MAX => Answer::TooLong,
            Ok(bytes) => Answer::Said(bytes),
            Err(Failure::Busy { retry_after }) => Answer::Busy { retry_after },
            Err(Failure::Lost) => Answer::Lost,
            Err(_) => Answer::Elsewhere,
        }
    }
}

/// One group that is led by another than the record names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// Which group.
    pub group: GroupId,
    /// The assignment that turned out otherwise.
    pub assignment: u64,
    /// The sender is named and may not ask for votes; otherwise it leads.
    pub declines: bool,
}

/// What the groups of a node want done, in order.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// Write, then answer with [`Input::Persisted`].
    Persist {
        /// Of which group.
        group: GroupId,
        /// Its number within the group.
        id: PersistId,
        /// What.
        write: raft::Write,
    },
    /// Save a snapshot whenever there is time, then answer with [`Input::Saved`].
    Save {
        /// Of which group.
        group: GroupId,
        /// What.
        snapshot: Snapshot,
        /// When it is saved, log entries below this are not needed any more.
        keep_from: Index,
    },
    /// Send to a peer, when `after` is durable.
    Send {
        /// To whom.
        to: NodeId,
        /// Not before this write is on stable storage.
        after: Option<(GroupId, PersistId)>,
        /// What.
        message: Message,
    },
    /// Tell the leader of the control group.
    Claim(Vec<Claim>),
    /// Answer a local client.
    Reply {
        /// Which request.
        id: RequestId,
        /// How.
        result: Result<Bytes, Failure>,
    },
    /// Something worth telling.
    Report(Event),
}

/// What the groups of a node report.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// From one group's consensus.
    Raft {
        /// Which group.
        group: GroupId,
        /// What.
        event: raft::Event,
    },
    /// A node that shares groups with this one fell silent, or is heard again.
    PeerAlive {
        /// Who.
        node: NodeId,
        /// Which of the two.
        is_alive: bool,
    },
    /// All groups of this node keep time by themselves from here on, or no longer do.
    Driven {
        /// Which of the two.
        drive: raft::Drive,
    },
    /// The disk has lost what this replica promised, and the group has one other voter, which is no
    /// quorum that could take the vote of this one away: the group waits for an operator.
    CannotRebuild {
        /// Which group.
        group: GroupId,
        /// Who votes besides this replica.
        other: NodeId,
    },
    /// The record has a group of a kind this node cannot run: it keeps no replica.
    UnknownKind {
        /// Which group.
        group: GroupId,
    },
}

impl Event {
    /// Whether it is of no interest but to a test: of hundreds of groups, every small thing would
    /// drown what people look for.
    pub fn is_detail(&self) -> bool {
        use raft::Event as E;
        match self {
            Event::Raft { event, .. } => !matches!(
                event,
                E::RoleChanged { role: Role::Leader, .. }
                    | E::DataLost { .. }
                    | E::RebuildBegun { .. }
                    | E::Rebuilt { .. }
                    | E::RebuildImpossible
                    | E::Diverged { .. }
                    | E::PeerRebuilds { .. }
            ),
            Event::PeerAlive { .. }
            | Event::Driven { .. }
            | Event::CannotRebuild { .. }
            | Event::UnknownKind { .. } => false,
        }
    }
}

/// What a node knows of one of its groups.
#[derive(Clone, PartialEq, Debug)]
pub struct GroupStatus {
    /// As it stands in the record.
    pub record: GroupRecord,
    /// The replica here.
    pub role: Role,
    /// Its term.
    pub term: Term,
    /// Who leads, as this replica knows.
    pub leader: Option<NodeId>,
    /// Last entry of its log.
    pub last_index: Index,
    /// Known to be committed.
    pub commit: Index,
    /// Applied here.
    pub applied: Index,
    /// Who votes.
    pub configuration: Configuration,
    /// Digest of the state here.
    pub digest: u64,
}
