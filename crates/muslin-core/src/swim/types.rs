//! What nodes gossip, and what goes into and comes out of the detector.

use super::{Buckets, Detour, Digest, Scope, Testimony, Transition};
use crate::base::{Epoch, Incarnation, NodeId, Now};
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::net::SocketAddr;

/// What a node says about itself. Travels in `Alive` only; at most
/// [`METADATA_BYTES_MAX`](super::METADATA_BYTES_MAX) encoded.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Metadata {
    /// Label for people.
    pub name: String,
    /// Duties it performs.
    pub roles: Vec<String>,
    /// Where plain etcd clients reach it, `ip:port`; empty when nowhere.
    pub etcd_address: String,
    /// Oldest and newest protocol version it speaks.
    pub protocol: (u32, u32),
    /// Version of the program.
    pub version: String,
    /// Its disk has lost what it promised: it gives no votes until it has it again (R11).
    pub is_rebuilding: bool,
    /// How busy it is, in thousandths of what it can do. Told anew only when it differs much: each
    /// change travels to everybody.
    pub load: u32,
    /// What the application says of this node, opaque here. Empty when nothing.
    pub application: Bytes,
}

/// One node's opinion of another. A hint, never authority.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub enum Liveness {
    /// It answers.
    Alive,
    /// It does not answer, and may still say otherwise.
    Suspect,
    /// It did not refute the suspicion in time.
    Down,
    /// It said good-bye.
    Left,
}

/// One update, piggy-backed on packets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rumor {
    /// About whom.
    pub node: NodeId,
    /// What.
    pub state: Liveness,
    /// Of which life. Older ones lose; at equal incarnations Down/Left > Suspect > Alive (M2).
    pub incarnation: Incarnation,
    /// Where it is reached. Set in `Alive`; kept from the last one otherwise.
    pub address: Option<SocketAddr>,
    /// Set in `Alive`.
    pub metadata: Option<Metadata>,
    /// What the node was admitted with, opaque here; at most
    /// [`TICKET_BYTES_MAX`](super::TICKET_BYTES_MAX). Travels with the metadata; empty when it has
    /// none.
    pub ticket: Bytes,
    /// Who first said so (the prober, for suspect and down): evidence.
    pub by: NodeId,
    /// Of a member that is down or left, in a [`PacketKind::SyncReply`]: for how many seconds.
    pub gone_s: u32,
}

/// One datagram. At most [`PACKET_BYTES_MAX`](super::PACKET_BYTES_MAX) encoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// Who sends it.
    pub from: NodeId,
    /// The sender's life.
    pub incarnation: Incarnation,
    /// The sender's epoch.
    pub epoch: Epoch,
    /// What it is for.
    pub kind: PacketKind,
    /// What it carries along.
    pub rumors: Vec<Rumor>,
}

/// What a packet is for. `number` pairs answers with questions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PacketKind {
    /// Are you there?
    Ping {
        /// See above.
        number: u64,
        /// Whom the sender thinks it asks; `None` when it knows only an address (a seed).
        target: Option<NodeId>,
    },
    /// I am.
    Ack {
        /// As asked.
        number: u64,
        /// Where the packet that asked came from, as the answerer saw it: the asker learns its own
        /// address. Absent on a stream, which says nothing of where datagrams come from.
        observed: Option<SocketAddr>,
    },
    /// Ask that one for me.
    PingRequest {
        /// The asker's number.
        number: u64,
        /// Whom to ask.
        target: NodeId,
        /// Where.
        address: SocketAddr,
    },
    /// It answered me.
    IndirectAck {
        /// The asker's number.
        number: u64,
        /// Who answered.
        target: NodeId,
    },
    /// It did not answer me in time, and I am well (Lifeguard's NACK).
    Nack {
        /// The asker's number.
        number: u64,
        /// Who did not answer.
        target: NodeId,
    },
    /// Rumors only; also the good-bye.
    Gossip,
    /// This is what I know, in short: tell me where you know otherwise.
    Sync {
        /// What the sender knows.
        digest: Digest,
    },
    /// Members of buckets that differ.
    SyncReply {
        /// The sender wants to hear what the receiver knows of these.
        wanted: Buckets,
    },
}

/// What can happen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// The deadline has come.
    Tick,
    /// A datagram came (opened and authenticated by the shell).
    Packet {
        /// From where.
        from: SocketAddr,
        /// What.
        packet: Packet,
    },
    /// A packet came on an authenticated stream.
    Stream {
        /// From whom, as the stream says.
        from: NodeId,
        /// What.
        packet: Packet,
    },
    /// Addresses where members may be: seeds, last known members, a static list. Replaces the last
    /// list.
    Contacts(Vec<SocketAddr>),
    /// Ask who is there: the record has members at these addresses, and nobody speaks of them.
    Seek(Vec<SocketAddr>),
    /// A peer was heard on a stream: it is alive, at no cost.
    Heard(NodeId),
    /// What this node says about itself has changed.
    Describe(Metadata),
    /// This node was given another ticket.
    Ticket(Bytes),
    /// The others reach this node here: it began without knowing where that is.
    Reside(SocketAddr),
    /// Whom to track from here on: see [`scope`](super::ring::scope).
    Track(Scope),
    /// The record says that this life of this node is over: begin one after it.
    Outlive(Incarnation),
    /// The record's epoch has risen.
    Epoch(Epoch),
    /// Say good-bye, then be silent.
    Leave,
    /// The control group has removed this one for good: forget it, refuse its rumors.
    Forget(NodeId),
}

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Send this datagram.
    Send {
        /// Where.
        to: SocketAddr,
        /// What.
        packet: Packet,
    },
    /// Send this on a stream to a member: a probe when datagrams have failed, or the answer to one.
    /// Once; may be lost.
    Stream {
        /// To whom.
        to: NodeId,
        /// What.
        packet: Packet,
    },
    /// Something changed in the view.
    Report(Event),
}

/// A change of the view, with its evidence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A node is seen alive: new, back, or having refuted a suspicion (`refuted`).
    Alive {
        /// Who.
        node: NodeId,
        /// Where.
        address: SocketAddr,
        /// Of which life.
        incarnation: Incarnation,
        /// It was suspect before.
        refuted: bool,
    },
    /// A node does not answer.
    Suspected {
        /// Who.
        node: NodeId,
        /// Who probed it in vain.
        by: NodeId,
        /// Of which life.
        incarnation: Incarnation,
        /// All that is known of why.
        evidence: Transition,
    },
    /// A node did not refute in time.
    Down {
        /// Who.
        node: NodeId,
        /// Who probed it in vain.
        by: NodeId,
        /// Of which life.
        incarnation: Incarnation,
        /// All that is known of why.
        evidence: Transition,
    },
    /// A member that this node watches is down, left, or back from there: what to tell whoever
    /// decides about members.
    Witnessed(Testimony),
    /// A node did not answer directly and was reached otherwise: a link is bad, the node is not.
    /// Not repeated while the link stays bad.
    Reached {
        /// Who.
        node: NodeId,
        /// How.
        detour: Detour,
    },
    /// A node said good-bye.
    Left {
        /// Who.
        node: NodeId,
    },
    /// A node is at another address, or says something else about itself.
    Changed {
        /// Who.
        node: NodeId,
        /// Where.
        address: SocketAddr,
    },
    /// This node refuted a suspicion about itself.
    RefutedSelf {
        /// Its new life.
        incarnation: Incarnation,
        /// Who had suspected it.
        by: NodeId,
    },
    /// Another node sees this one's packets come from here.
    ObservedAddress {
        /// As it sees it.
        address: SocketAddr,
        /// Who sees it.
        by: NodeId,
    },
    /// Somebody speaks in a later epoch: the record will say so too, or the cluster's membership
    /// history went on without this node. Told once for each.
    Outpaced {
        /// Which.
        epoch: Epoch,
    },
    /// A packet was dropped.
    Dropped {
        /// Why.
        why: &'static str,
    },
}

/// One row of the view.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ViewEntry {
    /// Who.
    pub node: NodeId,
    /// Opinion.
    pub state: Liveness,
    /// Of which life.
    pub incarnation: Incarnation,
    /// Where it is reached.
    pub address: SocketAddr,
    /// What it says about itself.
    pub metadata: Metadata,
    /// When the opinion was formed.
    pub since: Now,
    /// When it was last heard, directly or by rumor.
    pub heard: Now,
    /// Who formed it first: evidence.
    pub by: NodeId,
}
