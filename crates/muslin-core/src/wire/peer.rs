//! Messages on the stream between two nodes.

use super::log::Nothing;
use super::raft::Raft;
use super::{WireError, encode};
use crate::base::NodeId;
use crate::node::{KeepAliveAnswer, PeerMessage};
use alloc::vec::Vec;
use bytes::Bytes;
use prost::Message as _;

/// A message for a peer, in one buffer of exactly its size.
pub fn encode_peer(message: &PeerMessage) -> Bytes {
    encode(&Peer { kind: Some(message.into()) })
}

/// Reads what [`encode_peer`] wrote. Commands, proposals and snapshot pieces share the bytes given.
pub fn decode_peer(bytes: Bytes) -> Result<PeerMessage, WireError> {
    Peer::decode(bytes)?.kind.ok_or(WireError::UnknownKind)?.try_into()
}

#[derive(Clone, PartialEq, ::prost::Message)]
struct Peer {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, ::prost::Oneof)]
enum Kind {
    #[prost(message, tag = "1")]
    Raft(Raft),
    #[prost(message, tag = "2")]
    Propose(Propose),
    #[prost(message, tag = "3")]
    ProposeRefused(ProposeRefused),
    #[prost(message, tag = "4")]
    KeepAlive(Lease),
    #[prost(message, tag = "5")]
    KeepAliveReply(KeepAliveReply),
    #[prost(message, tag = "6")]
    TimeToLive(Lease),
}

#[derive(Clone, PartialEq, ::prost::Message)]
struct Propose {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    proposals: Vec<Bytes>,
}

#[derive(Clone, PartialEq, ::prost::Message)]
struct ProposeRefused {
    #[prost(uint64, repeated, tag = "1")]
    sequences: Vec<u64>,
    #[prost(fixed64, optional, tag = "2")]
    leader: Option<u64>,
    #[prost(bool, tag = "3")]
    busy: bool,
}

#[derive(Clone, Copy, PartialEq, ::prost::Message)]
struct Lease {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(uint64, tag = "2")]
    lease: u64,
}

#[derive(Clone, Copy, PartialEq, ::prost::Message)]
struct KeepAliveReply {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(oneof = "Answer", tags = "2, 3, 4")]
    answer: Option<Answer>,
}

#[derive(Clone, Copy, PartialEq, ::prost::Oneof)]
enum Answer {
    #[prost(message, tag = "2")]
    Alive(Alive),
    #[prost(message, tag = "3")]
    NotFound(Nothing),
    #[prost(message, tag = "4")]
    NotLeader(Nothing),
}

#[derive(Clone, Copy, PartialEq, ::prost::Message)]
struct Alive {
    #[prost(uint64, tag = "1")]
    ttl_ms: u64,
    #[prost(uint64, tag = "2")]
    left_ms: u64,
}

impl From<&PeerMessage> for Kind {
    fn from(message: &PeerMessage) -> Kind {
        match message {
            PeerMessage::Raft { group, message } => Kind::Raft(Raft::new(*group, message)),
            PeerMessage::Propose(proposals) => {
                Kind::Propose(Propose { proposals: proposals.clone() })
            }
            PeerMessage::ProposeRefused { sequences, leader, busy } => {
                Kind::ProposeRefused(ProposeRefused {
                    sequences: sequences.clone(),
                    leader: leader.map(|id| id.0),
                    busy: *busy,
                })
            }
            PeerMessage::KeepAlive { number, lease } => {
                Kind::KeepAlive(Lease { number: *number, lease: *lease })
            }
            PeerMessage::KeepAliveReply { number, answer } => {
                Kind::KeepAliveReply(KeepAliveReply {
                    number: *number,
                    answer: Some((*answer).into()),
                })
            }
            PeerMessage::TimeToLive { number, lease } => {
                Kind::TimeToLive(Lease { number: *number, lease: *lease })
            }
        }
    }
}

impl From<KeepAliveAnswer> for Answer {
    fn from(answer: KeepAliveAnswer) -> Answer {
        match answer {
            KeepAliveAnswer::Alive { ttl_ms, left_ms } => Answer::Alive(Alive { ttl_ms, left_ms }),
            KeepAliveAnswer::NotFound => Answer::NotFound(Nothing {}),
            KeepAliveAnswer::NotLeader => Answer::NotLeader(Nothing {}),
        }
    }
}

impl TryFrom<Kind> for PeerMessage {
    type Error = WireError;

    fn try_from(kind: Kind) -> Result<PeerMessage, WireError> {
        Ok(match kind {
            Kind::Raft(raft) => {
                let (group, message) = raft.into_parts()?;
                PeerMessage::Raft { group, message }
            }
            Kind::Propose(Propose { proposals }) => PeerMessage::Propose(proposals),
            Kind::ProposeRefused(ProposeRefused { sequences, leader, busy }) => {
                PeerMessage::ProposeRefused { sequences, leader: leader.map(NodeId), busy }
            }
            Kind::KeepAlive(Lease { number, lease }) => PeerMessage::KeepAlive { number, lease },
            Kind::KeepAliveReply(KeepAliveReply { number, answer }) => {
                let answer = answer.ok_or(WireError::UnknownKind)?.into();
                PeerMessage::KeepAliveReply { number, answer }
            }
            Kind::TimeToLive(Lease { number, lease }) => PeerMessage::TimeToLive { number, lease },
        })
    }
}

impl From<Answer> for KeepAliveAnswer {
    fn from(answer: Answer) -> KeepAliveAnswer {
        match answer {
            Answer::Alive(Alive { ttl_ms, left_ms }) => KeepAliveAnswer::Alive { ttl_ms, left_ms },
            Answer::NotFound(Nothing {}) => KeepAliveAnswer::NotFound,
            Answer::NotLeader(Nothing {}) => KeepAliveAnswer::NotLeader,
        }
    }
}
