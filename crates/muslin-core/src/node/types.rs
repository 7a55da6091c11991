//! What goes into a node and what comes out of it.

use super::feed::{FedBy, FedMember, Feed, FeedRefusal};
use crate::base::{ClusterId, Epoch, GroupId, Index, NodeId, PersistId, RequestId, Revision, Term};
use crate::groups::{self, GroupCounts, GroupStatus};
use crate::plan::VoterPlan;
use crate::raft::{self, Configuration, Role};
use crate::state::{
    Asker, Changes, Command, Founding, Frozen, Member, NodeLoad, Outcome, Query, Settings,
    WatchSpec,
};
use crate::swim::{self, ViewEntry};
use crate::waiting::Failure;

pub use crate::state::MemberNews as MemberChange;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::net::SocketAddr;
use core::time::Duration;

/// Who this node is and how it behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// This node.
    pub id: NodeId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// The cluster's membership history as this node knows it.
    pub epoch: Epoch,
    /// Start counter of this data directory: raised and made durable before the node starts.
    pub boot: u64,
    /// Where peers reach this node.
    pub address: SocketAddr,
    /// What it says about itself.
    pub metadata: swim::Metadata,
    /// What it was admitted with, for the gates of the others; empty when there are none.
    pub ticket: Bytes,
    /// Who is believed to be a member (M3).
    pub gate: Box<dyn swim::Gate>,
    /// The members the cluster was founded with (needed only while the log starts at its
    /// beginning).
    pub founding: Founding,
    /// Control group settings.
    pub raft: raft::Options,
    /// The other groups.
    pub groups: groups::Options,
    /// Failure detector settings.
    pub swim: swim::Options,
    /// Whether there is a failure detector.
    pub membership: Membership,
    /// A request not settled this long is answered [`Failure::TimedOut`].
    pub request_timeout: Duration,
    /// Bytes of the commands applied since the last snapshot that make the next one, or as many as
    /// that snapshot has if those are more: a state is not written more often than it changes.
    pub snapshot_bytes: u64,
    /// Entries that make the next one however small their commands are: until then they are kept
    /// in memory, at about 200 bytes each.
    pub snapshot_entries: u64,
    /// Bytes of a snapshot that are written at a time: about half a millisecond's work.
    pub snapshot_piece_bytes: usize,
}

impl Options {
    /// Defaults for all but the identities.
    pub fn new(id: NodeId, cluster: ClusterId, address: SocketAddr) -> Options {
        Options {
            id,
            cluster,
            epoch: Epoch(1),
            boot: 1,
            address,
            metadata: swim::Metadata::default(),
            ticket: Bytes::new(),
            gate: Box::new(swim::OpenGate),
            founding: Founding::default(),
            raft: raft::Options::default(),
            groups: groups::Options::default(),
            swim: swim::Options::fast(),
            membership: Membership::default(),
            request_timeout: Duration::from_secs(5),
            snapshot_bytes: 16 << 20,
            snapshot_entries: 500_000,
            snapshot_piece_bytes: 256 << 10,
        }
    }
}

/// How a node knows where the others are and whether they live. The same on all nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Membership {
    /// By gossip.
    #[default]
    Gossip,
    /// The record says who they are, [`Input::Places`] where; nobody gossips.
    Static,
}

/// What a node finds on its disk.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Recovered {
    /// The control group's log and hard state.
    pub raft: raft::Recovered,
    /// The saved state the log continues from; `None` at the founding.
    pub snapshot: Option<Bytes>,
    /// What the other groups have on it.
    pub groups: BTreeMap<GroupId, groups::Recovered>,
}

/// What can happen to a node. A driver hands over all that waits, then one [`Input::Flush`].
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// The deadline has come.
    Tick,
    /// All that waited was handed over: propose and send what has gathered.
    Flush,
    /// A gossip datagram, opened and authenticated.
    Datagram {
        /// From where.
        from: SocketAddr,
        /// Encoded [`swim::Packet`].
        bytes: Bytes,
    },
    /// A message on an authenticated stream.
    Peer {
        /// From whom.
        from: NodeId,
        /// What.
        message: PeerMessage,
    },
    /// A write, and all before it of that group, is on stable storage.
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
        /// Where it ends.
        index: Index,
    },
    /// The saved snapshot of this group was found damaged, or the log needs one to let go of what
    /// stands in its way: another is to be saved.
    SnapshotLost(GroupId),
    /// The disk, which all groups share, is full, or has room again.
    Disk(raft::DiskRoom),
    /// A local client asks.
    Request {
        /// Names the answer.
        id: RequestId,
        /// On whose behalf.
        asker: Asker,
        /// What.
        request: Request,
    },
    /// The client has gone: forget the request. A write may still happen.
    Cancel(RequestId),
    /// Nobody watches any more: changes need not be told.
    Unwatched,
    /// Addresses where members may be. Mean nothing to a node with [`Membership::Static`].
    Contacts(Vec<SocketAddr>),
    /// This node was given another ticket.
    Ticket(Bytes),
    /// This node was given papers of an epoch: it speaks in it, though its record may not have it
    /// yet.
    Epoch(Epoch),
    /// What the wall clock says, Unix milliseconds: at the start, and from time to time. What the
    /// control group decides by the day rests on it; without it no member is removed by policy.
    Clock(u64),
    /// Where members are, by name: replaces the last list. Means something to a node with
    /// [`Membership::Static`] only.
    Places(BTreeMap<String, SocketAddr>),
    /// Leave the view and give no more votes: the process is about to stop.
    Shutdown,
}

/// What peers say on streams. Encoded by [`crate::wire`].
#[derive(Clone, PartialEq, Debug)]
pub enum PeerMessage {
    /// Consensus of one group.
    Raft {
        /// Which group.
        group: GroupId,
        /// What.
        message: raft::Message,
    },
    /// Encoded proposals of the sender, for the leader to append.
    Propose(Vec<Bytes>),
    /// These proposals of the receiver, by sequence, were not appended: the sender does not lead.
    ProposeRefused {
        /// Which.
        sequences: Vec<u64>,
        /// Who leads, as the sender knows.
        leader: Option<NodeId>,
        /// The leader has too many waiting: try later.
        busy: bool,
        /// The disks that would have to take them are full.
        full: bool,
    },
    /// Keep leases alive; the leader answers.
    KeepAlive {
        /// The sender's own number for the answer.
        number: u64,
        /// Which lease.
        lease: u64,
    },
    /// Answer to a keep-alive.
    KeepAliveReply {
        /// As asked.
        number: u64,
        /// What became of it.
        answer: KeepAliveAnswer,
    },
    /// Ask the leader how long a lease has left.
    TimeToLive {
        /// The sender's own number for the answer.
        number: u64,
        /// Which lease.
        lease: u64,
    },
    /// About the other groups, besides consensus.
    Groups(groups::Message),
    /// What a watcher sees of members that the record does not say; the leader counts.
    Reports(Vec<super::Report>),
    /// What the failure detector says when its datagrams do not get through: an encoded
    /// [`swim::Packet`].
    Gossip(Bytes),
    /// A client of the sender wants this node to lead: for the leader, which hands over if it can.
    TransferLeader(NodeId),
    /// About the record's way to members without a part in the control group.
    Feed(Feed),
}

/// What became of a keep-alive or a question for a lease's time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeepAliveAnswer {
    /// It lives this long from the leader's answer on, in milliseconds.
    Alive {
        /// Granted time to live.
        ttl_ms: u64,
        /// What is left of it.
        left_ms: u64,
    },
    /// There is no such lease.
    NotFound,
    /// The asked node does not lead: ask again.
    NotLeader,
}

/// What a local client asks.
#[derive(Clone, PartialEq, Debug)]
pub enum Request {
    /// Change the state; answered when committed and applied here: [`Reply::Outcome`].
    Write(Command),
    /// Read the state: [`Reply::Outcome`].
    Read {
        /// What.
        query: Query,
        /// How fresh.
        consistency: Consistency,
    },
    /// Where a watch of this begins: [`Reply::WatchStarted`] or [`Reply::WatchRefused`]. From then
    /// on changes are told, by [`Output::Changes`], until [`Input::Unwatched`].
    Watch(WatchSpec),
    /// Extend a lease: [`Reply::Lease`].
    KeepAlive(u64),
    /// How long a lease has left: [`Reply::Lease`].
    TimeToLive(u64),
    /// What this node is and knows: [`Reply::Status`]. Never waits.
    Status,
    /// How busy the machine is; what this node runs is known here. Told to others if it is news:
    /// [`Reply::Done`] whether or not it was.
    Load(NodeLoad),
    /// The last changes of this node's opinion about another, and why: [`Reply::Evidence`]. Never
    /// waits.
    Evidence(NodeId),
    /// Hand leadership to that member, whoever leads: [`Reply::Done`] when it does.
    TransferLeader(NodeId),
    /// Ask a group: [`Reply::Group`]. Where this node keeps no replica, one that does answers.
    Group {
        /// Which.
        group: GroupId,
        /// What.
        ask: groups::Ask,
    },
    /// What this node knows of one of the groups it keeps, or of all: [`Reply::GroupStatus`]. Never
    /// waits.
    GroupStatus(Option<GroupId>),
    /// The state as it is here, to be written down elsewhere: [`Reply::Frozen`]. Never waits.
    Freeze,
}

/// How fresh a read is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Consistency {
    /// Sees every write acknowledged before it began, anywhere (R7).
    #[default]
    Linearizable,
    /// The same, without asking a quorum while the leader's lease holds: it rests on clocks that
    /// drift by no more than [`raft::Options::clock_drift_ppm`]. Linearizable by a round where
    /// [`raft::Options::lease_reads`] is off.
    Lease,
    /// Whatever this node has applied.
    Local,
}

/// Answers to requests. One each.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    /// Of a write or a read: the state answered (perhaps by a refusal).
    Outcome(Outcome),
    /// Of a watch: every change of `from` or later is in the history, or will be told.
    WatchStarted {
        /// First revision that will be seen.
        from: Revision,
        /// Present revision.
        revision: Revision,
        /// The last entry applied: the right to watch was looked at after it.
        applied: Index,
    },
    /// Of a watch: history from the asked revision on is compacted away.
    WatchRefused {
        /// The earliest revision that can be watched from.
        compacted: Revision,
    },
    /// Of a keep-alive or a question for time to live; `None` when there is no such lease.
    Lease {
        /// Granted and left, in milliseconds.
        ttl: Option<(u64, u64)>,
        /// Present revision here.
        revision: Revision,
    },
    /// Of a status request.
    Status(Box<NodeStatus>),
    /// Of a question for evidence, the latest last.
    Evidence(Vec<swim::Transition>),
    /// Of a group: its state machine's answer.
    Group(Bytes),
    /// Of a question for the status of groups, in the order of their ids.
    GroupStatus(Vec<GroupStatus>),
    /// The state as it is here.
    Frozen(Box<Frozen>),
    /// It is done.
    Done,
    /// It was not done, or it is not known whether it was.
    Failed(Failure),
}

/// What a node wants done, in order.
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
    /// Save this snapshot when there is time, but not before all that was issued earlier is
    /// durable, then answer with [`Input::Saved`]. One that ends later, installed meanwhile by a
    /// [`raft::Write::Snapshot`], stays.
    Save {
        /// Of which group.
        group: GroupId,
        /// What to save.
        snapshot: raft::Snapshot,
        /// When it is saved, log entries below this are not needed any more.
        keep_from: Index,
    },
    /// Hold these many bytes until nobody else does, and let go of them where nobody waits: the
    /// system takes their memory back page by page, 200 MB in some ten milliseconds.
    Hold(Bytes),
    /// Send on the stream to a peer, not before the named write of that group is durable. In order
    /// per peer as far as the writes allow; may be lost.
    Send {
        /// To whom.
        to: NodeId,
        /// Behind which write.
        after: Option<(GroupId, PersistId)>,
        /// What.
        message: PeerMessage,
    },
    /// Send a gossip datagram.
    Datagram {
        /// Where.
        to: SocketAddr,
        /// Encoded [`swim::Packet`].
        bytes: Bytes,
    },
    /// Keys or rights have changed, and somebody watches. Comes before the replies to what changed
    /// them.
    Changes(Changes),
    /// Answer a request.
    Reply {
        /// Which.
        id: RequestId,
        /// How.
        reply: Reply,
    },
    /// From now on this peer is reached here.
    Route {
        /// Who.
        node: NodeId,
        /// Where.
        address: SocketAddr,
    },
    /// This peer was removed: close its connection, refuse it.
    Unroute(NodeId),
    /// Something worth telling.
    Report(Event),
}

/// What a node reports instead of logging.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// From the control group.
    Raft {
        /// Which group.
        group: GroupId,
        /// What.
        event: raft::Event,
    },
    /// From the other groups.
    Groups(groups::Event),
    /// From the failure detector.
    Swim(swim::Event),
    /// The record changed: who belongs to the cluster, and what admits.
    Members {
        /// Where in the log.
        index: Index,
        /// What.
        change: MemberChange,
    },
    /// A voter begins to tell this node what is committed.
    FeedBegun {
        /// Which.
        by: NodeId,
    },
    /// A voter does not feed this node.
    FeedRefused {
        /// Which.
        by: NodeId,
        /// Why not.
        why: FeedRefusal,
    },
    /// A lease ran out.
    LeaseExpired {
        /// Which.
        lease: u64,
    },
    /// A snapshot of the state was made.
    SnapshotTaken {
        /// Up to here.
        index: Index,
        /// Its size.
        bytes: u64,
    },
    /// This node's disk was found damaged. Told by the driver, which reads it.
    DiskDamaged {
        /// Which file, where, and what became of it.
        what: String,
    },
    /// Two processes are one node: its data directory was copied, or set back to an earlier time.
    /// Told by the shell, which knows them apart.
    Copied {
        /// Which node.
        node: NodeId,
        /// Where they are, and what became of it.
        what: String,
    },
    /// This node wrote a backup, as the settings say. Told by the shell, which writes it.
    BackedUp {
        /// At this revision.
        revision: Revision,
        /// Its size.
        bytes: u64,
        /// Where it is.
        path: String,
    },
    /// A backup that the settings ask for came to nothing. Told by the shell.
    BackupFailed {
        /// Why, and what to do.
        what: String,
    },
    /// A peer's message could not be read; it was dropped.
    BadMessage {
        /// Why.
        why: &'static str,
    },
}

/// What a node is and knows at one moment.
#[derive(Clone, PartialEq, Debug)]
pub struct NodeStatus {
    /// This node.
    pub id: NodeId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// The cluster's membership history.
    pub epoch: Epoch,
    /// The epoch in which others of this cluster go on without this node, as far as it heard.
    pub left_behind_by: Option<Epoch>,
    /// Its part in the control group.
    pub role: Role,
    /// Whether it votes there.
    pub voter: bool,
    /// The present term.
    pub term: Term,
    /// Who leads, as this node knows.
    pub leader: Option<NodeId>,
    /// Last entry in its log.
    pub last_index: Index,
    /// Known to be committed.
    pub commit: Index,
    /// Applied to its state.
    pub applied: Index,
    /// Key-value revision.
    pub revision: Revision,
    /// Earliest revision that can be read.
    pub compacted: Revision,
    /// Keys present.
    pub keys: u64,
    /// Approximate size of the key-value state, in bytes.
    pub state_bytes: u64,
    /// Whether a compaction is not yet carried out in full.
    pub is_sweeping: bool,
    /// How much they may take: above that nothing is added.
    pub quota_bytes: u64,
    /// What operators have set, as applied here.
    pub settings: Settings,
    /// Who votes.
    pub configuration: Configuration,
    /// Members by the record as applied here, in id order.
    pub members: Vec<Member>,
    /// This node's own view, in id order, itself included.
    pub view: Vec<ViewEntry>,
    /// What the planner of who votes makes of it (leader only, once it may change anything).
    pub voter_plan: Option<VoterPlan>,
    /// How far each peer's log is known to match (leader only), in id order.
    pub progress: Vec<(NodeId, Index)>,
    /// Peers whose log has not answered the leader for an election time-out, in id order: known
    /// sooner than the view can tell. On others than the leader as it told the last linearizable
    /// read, if that was lately.
    pub silent: Vec<NodeId>,
    /// Whether this node lost what it had acknowledged, and fetches it from the others (R11).
    pub is_rebuilding: bool,
    /// Peers that do, as their leader hears, in id order.
    pub rebuilding: Vec<NodeId>,
    /// Whose disks are full: this node's, and those of peers as their leader hears. In id order.
    pub full: Vec<NodeId>,
    /// Who feeds this node, if it has no part in the control group.
    pub fed_by: Option<FedBy>,
    /// Who is fed, in id order: by this node and, if it leads, by the other voters.
    pub fed: Vec<FedMember>,
    /// The other groups it keeps replicas of.
    pub groups: GroupCounts,
    /// How long ago a quorum of voters was last heard; `None` when this node has no quorum or does
    /// not lead.
    pub quorum_age: Option<Duration>,
    /// The node's own clock when this was made.
    pub uptime: Duration,
}

/// Names a voter, in words for a person.
pub fn role_name(role: Role) -> String {
    String::from(match role {
        Role::Follower => "follower",
        Role::PreCandidate => "pre-candidate",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
    })
}
