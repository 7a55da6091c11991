//! What goes into a group and what comes out of it.

use super::Drive;
use super::{
    Bound, Change, Configuration, Entries, Entry, Fed, Message, SnapshotMeta, Standing, Unbound,
};
use crate::base::{Index, LogId, NodeId, PersistId, Term};
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// Names one read of this replica; never reused by it within a process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ReadId(pub u64);

/// What must never go back (R5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HardState {
    /// The highest term seen.
    pub term: Term,
    /// Who got this replica's vote in that term.
    pub vote: Option<NodeId>,
    /// A commit index known when this was written. Only a lower bound: it tells a torn tail
    /// (beyond it) from damage (below it).
    pub commit: Index,
    /// The disk has lost what it promised: no vote, no counted acknowledgement until a committed
    /// configuration does without this replica (R11).
    pub rebuilding: bool,
    /// The leader heard last counts on a lease that this replica's answers extend: started again,
    /// it gives no vote while that may last.
    pub leased: bool,
}

/// A state with all it stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// Where it stands.
    pub meta: SnapshotMeta,
    /// The state, opaque here.
    pub data: Bytes,
}

/// What a replica finds on its disk when it starts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recovered {
    /// Last written hard state.
    pub hard_state: HardState,
    /// What the saved snapshot stands for; a founding member has one at index 0 with the first
    /// voters.
    pub snapshot: SnapshotMeta,
    /// The log. Consecutive; may begin before the snapshot's end, never after it plus one.
    pub entries: Vec<Entry>,
}

/// One write to stable storage. Writes of a group become durable in the order of issue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    /// Appends to the log. An entry at an index that exists replaces it and drops all after it.
    Log {
        /// Written when it changed.
        hard_state: Option<HardState>,
        /// Consecutive.
        entries: Entries,
    },
    /// Replaces the saved snapshot, atomically.
    Snapshot {
        /// The new one.
        snapshot: Snapshot,
        /// Log entries below this are not needed any more.
        keep_from: Index,
        /// The log does not agree with the snapshot: all of it goes, whatever its indexes.
        discard_log: bool,
    },
}

/// What can happen to a replica.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// The deadline has come.
    Tick,
    /// All that had come was given: commits what can be, and sends what is due. Whoever steps a
    /// replica gives it this before it waits for more; without it, nothing commits, unless
    /// [`Options::appends_gather_bytes`](super::Options::appends_gather_bytes) is zero.
    Flush,
    /// A peer said something.
    Message {
        /// Which peer, authenticated.
        from: NodeId,
        /// What it said.
        message: Message,
    },
    /// This write, and every one before it, is on stable storage.
    Persisted(PersistId),
    /// Append these, in order. For the leader only: the caller checks [`Role::Leader`] first.
    Propose(Vec<Bytes>),
    /// Change the group's members. Leader only; refused by [`Event::ChangeRefused`].
    Change(Vec<Change>),
    /// Ask for a linearizable read index; any role. Answered once, by `ReadReady` or `ReadFailed`.
    Read(ReadId),
    /// The state as of the last committed entry, asked for by [`Output::SnapshotNeeded`] to be sent
    /// to a peer, or given unasked to be saved so that the log can be compacted.
    Snapshot {
        /// The state; its `meta` must be what the replica's `snapshot_meta()` said when it had
        /// been handed out this much. It may have been handed out more since.
        snapshot: Snapshot,
        /// [`Sum64`](crate::base::Sum64) of the state's bytes.
        checksum: u64,
        /// Save it here and compact, besides sending it to whoever waits for it.
        save: bool,
    },
    /// Hand leadership to this voter.
    Transfer(NodeId),
    /// Ask for votes now.
    Campaign,
    /// The snapshot of [`Output::Save`] that ends at this entry is on stable storage.
    Saved(Index),
    /// The disk is full, or has room again.
    Disk(DiskRoom),
    /// Whether the group keeps time by itself.
    Drive(Drive),
    /// Whether the node of a peer is alive, by what nodes know of each other.
    Peer {
        /// Which peer.
        id: NodeId,
        /// Whether it is alive.
        is_alive: bool,
    },
    /// As [`Input::Read`], answered at once while the leader's lease holds
    /// ([`Options::lease_reads`](super::Options::lease_reads)).
    LeaseRead(ReadId),
    /// Another replica tells what is committed, to one that the leader may not know.
    Fed(Fed),
    /// The same, as a state.
    FedSnapshot {
        /// The whole of it, verified.
        snapshot: Snapshot,
        /// How the teller stands.
        standing: Standing,
        /// So long a leader that is told of counts as known.
        patience: Duration,
    },
    /// The process is about to stop: give no more votes, hand leadership over if held.
    Shutdown,
}

/// Whether there is room for more entries on the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DiskRoom {
    /// There is.
    #[default]
    Room,
    /// What was issued still fits, more entries do not. Hard states always do.
    Full,
}

/// What a replica wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Write, then answer with [`Input::Persisted`].
    Persist {
        /// Its number.
        id: PersistId,
        /// What to write.
        write: Write,
    },
    /// Send, when `after` is durable.
    Send {
        /// To whom.
        to: NodeId,
        /// Not before this write is on stable storage.
        after: Option<PersistId>,
        /// What.
        message: Message,
    },
    /// Save this snapshot of the present state off the path of the writes, whenever there is time,
    /// then answer with [`Input::Saved`]. Not before all that was issued earlier is durable: a log
    /// that contradicts its snapshot is dropped at the next start, with all that was written behind
    /// it since. Nothing waits for it. A snapshot that ends later, installed meanwhile by a
    /// [`Write::Snapshot`], stays.
    Save {
        /// What to save.
        snapshot: Snapshot,
        /// When it is saved, log entries below this are not needed any more.
        keep_from: Index,
    },
    /// Apply these committed entries, in order, exactly once.
    Commit(Entries),
    /// Replace the state machine's state by this one.
    Install(Snapshot),
    /// Build a snapshot of the present state and give it to [`Input::Snapshot`].
    SnapshotNeeded,
    /// A read of state at or after `index` is linearizable.
    ReadReady {
        /// As asked.
        id: ReadId,
        /// Apply at least up to here first.
        index: Index,
    },
    /// It cannot be told now (no leader, or it changed): ask again with a fresh id.
    ReadFailed {
        /// As asked.
        id: ReadId,
    },
    /// Something worth telling.
    Report(Event),
}

impl Output {
    /// A message that promises nothing.
    pub fn send(to: NodeId, message: Unbound) -> Output {
        Output::Send { to, after: None, message: Message::Unbound(message) }
    }

    /// A promise, behind the write that makes it true. `PersistId::ZERO` is durable from the start.
    pub fn send_behind(write: PersistId, to: NodeId, message: Bound) -> Output {
        Output::Send { to, after: Some(write), message: Message::Bound(message) }
    }
}

/// A replica's part in its group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Takes the leader's log.
    Follower,
    /// Asks whether it would be elected.
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Appends.
    Leader,
}

/// What a replica reports instead of logging.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The role, the term or the known leader changed.
    RoleChanged {
        /// The new role.
        role: Role,
        /// The new term.
        term: Term,
        /// The leader of that term, if known.
        leader: Option<NodeId>,
        /// Why, in a few words.
        why: &'static str,
    },
    /// The configuration in force changed.
    ConfigurationChanged {
        /// Where it stands in the log.
        index: Index,
        /// The new one.
        configuration: Configuration,
    },
    /// A wish about members was refused; nothing changed.
    ChangeRefused {
        /// Why, and what to do.
        why: &'static str,
    },
    /// Uncommitted entries were replaced by a leader's.
    Truncated {
        /// From here on.
        from: Index,
    },
    /// A snapshot was installed from the leader.
    SnapshotInstalled {
        /// What it stands for.
        last: LogId,
    },
    /// A snapshot began to be sent.
    SnapshotSent {
        /// To whom.
        to: NodeId,
        /// What it stands for.
        last: LogId,
    },
    /// This replica's disk has lost entries that it had acknowledged as durable: its vote no longer
    /// stands for what it promised, so it rebuilds (R11).
    DataLost {
        /// The leader counts on at least this one.
        acknowledged: Index,
        /// The last one that is there.
        lost_after: Index,
    },
    /// This replica neither votes nor counts until a committed configuration does without it (R11).
    RebuildBegun {
        /// Why.
        why: &'static str,
    },
    /// A committed configuration does without this replica's vote: it takes part again, as what the
    /// configuration makes it (R11).
    Rebuilt {
        /// How far it has come.
        commit: Index,
    },
    /// This replica rebuilds, votes alone by all it knows, and no leader speaks to it: nobody can
    /// take its vote away, so the process must stop and say why.
    RebuildImpossible,
    /// The leader's log is another than what is committed here: some disk of the group was set back
    /// to an earlier time and nobody noticed, or R3 is broken. Nothing here can be believed, nor
    /// thrown away by a program: the process must stop and say why.
    Diverged {
        /// The first entry that differs.
        at: Index,
    },
    /// A peer began to rebuild, as its leader hears.
    PeerRebuilds {
        /// Which.
        peer: NodeId,
    },
    /// The disk is full, or has room again: of this replica, or of a peer as its leader hears.
    DiskRoomChanged {
        /// Whose.
        of: NodeId,
        /// What it is.
        room: DiskRoom,
    },
    /// This leader hands over of its own accord.
    LeadershipShed {
        /// To whom.
        to: NodeId,
        /// Why.
        why: &'static str,
    },
    /// A snapshot from the leader was refused.
    SnapshotRefused {
        /// From whom.
        from: NodeId,
        /// Why.
        why: &'static str,
    },
    /// The log up to here was dropped.
    Compacted {
        /// The last one dropped.
        upto: Index,
    },
}
