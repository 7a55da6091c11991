//! One replica of a group, of any implementation: what [`Group`](crate::Group) steps.

use crate::trace::WordHash;
use bytes::Bytes;
use muslin_core::base::{Index, LogId, NodeId, Now, Outputs, PersistId, Term};
use muslin_core::raft::{
    self, Change, Configuration, Entries, ReadId, Recovered, Role, Snapshot, Write,
};
use std::fmt;

/// Who a replica is, and its settings.
#[derive(Clone, Debug)]
pub struct Seat {
    /// Which replica.
    pub id: NodeId,
    /// Who votes before the first entry.
    pub founding: Configuration,
    /// Settings, in the words of [`muslin_core::raft`].
    pub options: raft::Options,
    /// For whatever it draws.
    pub seed: u64,
}

/// A replica of a group: decides, and leaves clocks, disks and network to the world.
///
/// The vocabulary (entries, writes, snapshots, configurations) is that of [`muslin_core::raft`];
/// messages are the implementation's own. Its own part of the contract:
/// - `Persist` writes become durable in the order of issue, each answered by [`Input::Persisted`].
/// - An output of [`Output::Commit`] hands out committed entries in order, each once.
/// - [`Replica::promise`] names what a message promises, so that the world can hold the sender's
///   disk against it.
pub trait Replica: Sized {
    /// What replicas say to each other.
    type Message: Clone + fmt::Debug;

    /// A replica as it starts, from what its disk has.
    fn start(seat: Seat, found: Recovered, now: Now) -> Self;
    /// Takes one input, and appends what is to be done.
    fn handle(
        &mut self,
        now: Now,
        input: Input<Self::Message>,
        out: &mut Outputs<Output<Self::Message>>,
    );
    /// When it wants an [`Input::Tick`].
    fn deadline(&self) -> Option<Now>;
    /// How it looks from outside.
    fn view(&self) -> View;
    /// Whether [`Input::Propose`] may be given.
    fn accepts_proposals(&self) -> bool;
    /// What a snapshot of the state as of the last entry handed out stands for.
    fn snapshot_meta(&self) -> raft::SnapshotMeta;
    /// Who votes: by the last configuration in the log, and by the last committed one.
    fn configurations(&self) -> [Configuration; 2];
    /// Peers whose disks have lost what they promised, as the leader knows: the operator takes
    /// their vote away.
    fn rebuilding(&self) -> Vec<NodeId> {
        Vec::new()
    }
    /// Whether it can come back from a disk that has lost what it promised. Worlds of replicas that
    /// cannot have no such disks.
    fn survives_damage() -> bool {
        false
    }
    /// Whether a configuration is in force once a replica has applied it, rather than as soon as it
    /// is in its log (Raft 6).
    fn configures_when_applied() -> bool {
        false
    }
    /// What a message promises about its sender's disk.
    fn promise(message: &Self::Message) -> Option<Promise>;
    /// What a leader of another cluster, whose voters these are, would say to a replica that looks
    /// like this: to be refused. Worlds of replicas that have nothing against it do without.
    fn of_another_cluster(_: &View, _voters: Configuration) -> Option<Self::Message> {
        None
    }
    /// Adds what a message says to the hash of the run.
    fn fold(message: &Self::Message, fold: &mut dyn FnMut(u64));
    /// A message through its encoding and back, where there is one.
    fn encoded(message: Self::Message) -> Result<Self::Message, String> {
        Ok(message)
    }
}

/// How a replica looks from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct View {
    /// Its part in the group.
    pub role: Role,
    /// The highest term it has seen.
    pub term: Term,
    /// Known to be committed.
    pub commit: Index,
    /// Handed out.
    pub applied: Index,
    /// The last entry of its log.
    pub last: LogId,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeId>,
}

impl View {
    /// Of a replica that knows nothing yet.
    pub(crate) fn unknown() -> View {
        let (role, term, leader) = (Role::Follower, Term::ZERO, None);
        let (commit, applied, last) = (Index::ZERO, Index::ZERO, LogId::ZERO);
        View { role, term, commit, applied, last, leader }
    }
}

/// What a message promises about its sender's disk when it leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Promise {
    /// It asks for a vote: it has voted for itself.
    Candidacy {
        /// In this term.
        term: Term,
    },
    /// It votes for whom it is sent to.
    Vote {
        /// In this term.
        term: Term,
    },
    /// It has the leader's log up to here.
    Accepted {
        /// In this term.
        term: Term,
        /// The last one.
        matched: Index,
    },
    /// It has installed a snapshot.
    Installed {
        /// In this term.
        term: Term,
        /// The last entry under it.
        last: LogId,
    },
    /// It has entered this term.
    Entered {
        /// The term.
        term: Term,
    },
}

/// What can happen to a replica.
#[derive(Clone, PartialEq, Debug)]
pub enum Input<M> {
    /// The deadline has come.
    Tick,
    /// A peer said something.
    Message {
        /// Who.
        from: NodeId,
        /// What.
        message: M,
    },
    /// This write, and every one before it, is durable.
    Persisted(PersistId),
    /// Append these; given only while it accepts proposals.
    Propose(Vec<Bytes>),
    /// Ask for a linearizable read index.
    Read(ReadId),
    /// As `Read`, answered at once while the leader's lease holds; a replica without leases treats
    /// it as `Read`.
    LeaseRead(ReadId),
    /// The snapshot of [`Output::Save`] that ends at this entry is saved.
    Saved(Index),
    /// The disk is full, or has room again. A replica that knows nothing of it may ignore it.
    Disk(raft::DiskRoom),
    /// Change the members.
    Change(Vec<Change>),
    /// Hand leadership to this voter.
    Transfer(NodeId),
    /// The state as of the last entry handed out.
    Snapshot {
        /// The state.
        snapshot: Snapshot,
        /// Save it and compact the log, besides sending it to whoever waits for it.
        save: bool,
    },
    /// The process is about to stop.
    Shutdown,
}

/// What a replica wants done, in order.
#[derive(Clone, PartialEq, Debug)]
pub enum Output<M> {
    /// Write.
    Persist {
        /// Its number, rising.
        id: PersistId,
        /// What.
        write: Write,
    },
    /// Send, not before a write is durable.
    Send {
        /// To whom.
        to: NodeId,
        /// Behind which write.
        after: Option<PersistId>,
        /// What.
        message: M,
    },
    /// Save this snapshot off the path of the writes, then answer with [`Input::Saved`].
    Save {
        /// What.
        snapshot: Snapshot,
        /// When it is saved, log entries below this are not needed any more.
        keep_from: Index,
    },
    /// Apply these committed entries.
    Commit(Entries),
    /// Replace the state.
    Install(Snapshot),
    /// Answer with [`Input::Snapshot`].
    SnapshotNeeded,
    /// A read at or after this index is linearizable.
    ReadReady {
        /// As asked.
        id: ReadId,
        /// Apply at least up to here first.
        index: Index,
    },
    /// Ask again.
    ReadFailed {
        /// As asked.
        id: ReadId,
    },
    /// Something worth telling; no part of the protocol.
    Report(Box<raft::Event>),
}

/// Adds a peer's message to the hash of a run.
pub(crate) fn fold_message<R: Replica>(hash: &mut WordHash, message: &R::Message) {
    R::fold(message, &mut |word| hash.word(word));
}
