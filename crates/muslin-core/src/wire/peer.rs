//! Messages on the stream between two nodes.

use super::feed::Feed;
use super::log::Nothing;
use super::raft::Raft;
use super::{WireError, encode};
use crate::base::{GroupId, Incarnation, NodeId};
use crate::groups::{Answer as GroupAnswer, Claim, Matter, Message as GroupMessage};
use crate::node::{KeepAliveAnswer, PeerMessage, Report as NodeReport};
use crate::swim::Liveness;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
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
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 20")]
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
    #[prost(message, tag = "7")]
    Alive(StillAlive),
    #[prost(message, tag = "8")]
    GroupPropose(GroupPropose),
    #[prost(message, tag = "9")]
    GroupProposeRefused(GroupProposeRefused),
    #[prost(message, tag = "10")]
    GroupClaims(GroupClaims),
    #[prost(bytes = "bytes", tag = "11")]
    Gossip(Bytes),
    #[prost(message, tag = "12")]
    Reports(Reports),
    #[prost(message, tag = "13")]
    Feed(Feed),
    #[prost(message, tag = "14")]
    GroupQuestion(GroupQuestion),
    #[prost(message, tag = "15")]
    GroupAnswered(GroupAnswered),
    #[prost(message, tag = "20")]
    TransferLeader(TransferLeader),
}

#[derive(Clone, PartialEq, ::prost::Message)]
struct Reports {
    #[prost(message, repeated, tag = "1")]
    reports: Vec<Report>,
}

#[derive(Clone, Copy, PartialEq, ::prost::Message)]
struct Report {
    #[prost(fixed64, tag = "1")]
    node: u64,
    /// 0 alive, 2 down, 3 left.
    #[prost(uint32, tag = "2")]
    state: u32,
    #[prost(uint64, tag = "3")]
    incarnation: u64,
    #[prost(fixed64, tag = "4")]
    probed_by: u64,
    #[prost(uint64, tag = "5")]
    silent_ms: u64,
    #[prost(bool, tag = "6")]
    is_unheard: bool,
}

#[derive(Clone, Copy, PartialEq, ::prost::Message)]
struct TransferLeader {
    #[prost(fixed64, tag = "1")]
    to: u64,
}

#[derive(Clone, Copy, PartialEq, ::prost::Message)]
struct StillAlive {
    #[prost(uint64, tag = "1")]
    boot: u64,
    #[prost(bool, tag = "2")]
    is_deaf: bool,
}

#[derive(Clone, PartialEq, ::prost::Message)]
struct GroupPropose {
    #[prost(uint64, tag = "1")]
    group: u64,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    proposals: Vec<Bytes>,
}

#[derive(Clone, PartialEq, ::prost::Message)]
struct GroupProposeRefused {
    #[prost(uint64, tag = "1")]
    group: u64,
    #[prost(uint64, repeated, tag = "2")]
    sequences: Vec<u64>,
    #[prost(bool, tag = "3")]
    full: bool,
    #[prost(fixed64, optional, tag = "4")]
    leader: Option<u64>,
}

#[derive(Clone, PartialEq, ::prost::Message)]
struct GroupQuestion {
    #[prost(uint64, tag = "1")]
    group: u64,
    #[prost(uint64, tag = "2")]
    boot: u64,
    #[prost(uint64, tag = "3")]
    number: u64,
    #[prost(bytes = "bytes", tag = "4")]
    query: Bytes,
    #[prost(bool, tag = "5")]
    is_local: bool,
}

#[derive(Clone, PartialEq, ::prost::Message)]
struct GroupAnswered {
    #[prost(uint64, tag = "1")]
    group: u64,
    #[prost(uint64, tag = "2")]
    boot: u64,
    #[prost(oneof = "Asked", tags = "3, 4")]
    asked: Option<Asked>,
    #[prost(oneof = "Said", tags = "5, 6, 7, 8, 9, 10")]
    said: Option<Said>,
}

#[derive(Clone, Copy, PartialEq, ::prost::Oneof)]
enum Asked {
    #[prost(uint64, tag = "3")]
    Command(u64),
    #[prost(uint64, tag = "4")]
    Question(u64),
}

#[derive(Clone, PartialEq, ::prost::Oneof)]
enum Said {
    #[prost(bytes = "bytes", tag = "5")]
    Result(Bytes),
    #[prost(message, tag = "6")]
    Gone(Nothing),
    #[prost(uint64, tag = "7")]
    BusyMs(u64),
    #[prost(message, tag = "8")]
    Elsewhere(Nothing),
    #[prost(message, tag = "9")]
    TooLong(Nothing),
    #[prost(message, tag = "10")]
    Lost(Nothing),
}

#[derive(Clone, PartialEq, ::prost::Message)]
struct GroupClaims {
    #[prost(message, repeated, tag = "1")]
    claims: Vec<GroupClaim>,
}

#[derive(Clone, Copy, PartialEq, ::prost::Message)]
struct GroupClaim {
    #[prost(uint64, tag = "1")]
    group: u64,
    #[prost(uint64, tag = "2")]
    assignment: u64,
    #[prost(bool, tag = "3")]
    declines: bool,
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
    #[prost(bool, tag = "4")]
    full: bool,
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
            PeerMessage::ProposeRefused { sequences, leader, busy, full } => {
                Kind::ProposeRefused(ProposeRefused {
                    sequences: sequences.clone(),
                    leader: leader.map(|id| id.0),
                    busy: *busy,
                    full: *full,
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
            PeerMessage::Groups(message) => message.into(),
            PeerMessage::Gossip(packet) => Kind::Gossip(packet.clone()),
            PeerMessage::Feed(feed) => Kind::Feed(feed.into()),
            PeerMessage::Reports(reports) => {
                Kind::Reports(Reports { reports: reports.iter().map(Report::from).collect() })
            }
            PeerMessage::TransferLeader(to) => Kind::TransferLeader(TransferLeader { to: to.0 }),
        }
    }
}

impl From<&GroupMessage> for Kind {
    fn from(message: &GroupMessage) -> Kind {
        match message {
            GroupMessage::Raft { group, message } => Kind::Raft(Raft::new(*group, message)),
            GroupMessage::Alive { boot, is_deaf } => {
                Kind::Alive(StillAlive { boot: *boot, is_deaf: *is_deaf })
            }
            GroupMessage::Propose { group, proposals } => {
                Kind::GroupPropose(GroupPropose { group: group.0, proposals: proposals.clone() })
            }
            GroupMessage::ProposeRefused { group, sequences, full, leader } => {
                let (group, sequences) = (group.0, sequences.clone());
                let (full, leader) = (*full, leader.map(|id| id.0));
                Kind::GroupProposeRefused(GroupProposeRefused { group, sequences, full, leader })
            }
            GroupMessage::Question { group, boot, number, query, is_local } => {
                Kind::GroupQuestion(GroupQuestion {
                    group: group.0,
                    boot: *boot,
                    number: *number,
                    query: query.clone(),
                    is_local: *is_local,
                })
            }
            GroupMessage::Answered { group, boot, matter, answer } => {
                let asked = Some(match matter {
                    Matter::Command(sequence) => Asked::Command(*sequence),
                    Matter::Question(number) => Asked::Question(*number),
                });
                let said = Some(answer.into());
                Kind::GroupAnswered(GroupAnswered { group: group.0, boot: *boot, asked, said })
            }
            GroupMessage::Claims(claims) => {
                let claim = |claim: &Claim| GroupClaim {
                    group: claim.group.0,
                    assignment: claim.assignment,
                    declines: claim.declines,
                };
                Kind::GroupClaims(GroupClaims { claims: claims.iter().map(claim).collect() })
            }
        }
    }
}

impl From<&GroupAnswer> for Said {
    fn from(answer: &GroupAnswer) -> Said {
        match answer {
            GroupAnswer::Said(bytes) => Said::Result(bytes.clone()),
            GroupAnswer::Gone => Said::Gone(Nothing {}),
            GroupAnswer::Busy { retry_after } => Said::BusyMs(retry_after.as_millis() as u64),
            GroupAnswer::Elsewhere => Said::Elsewhere(Nothing {}),
            GroupAnswer::TooLong => Said::TooLong(Nothing {}),
            GroupAnswer::Lost => Said::Lost(Nothing {}),
        }
    }
}

impl From<Said> for GroupAnswer {
    fn from(said: Said) -> GroupAnswer {
        match said {
            Said::Result(bytes) => GroupAnswer::Said(bytes),
            Said::Gone(Nothing {}) => GroupAnswer::Gone,
            Said::BusyMs(millis) => {
                GroupAnswer::Busy { retry_after: Duration::from_millis(millis) }
            }
            Said::Elsewhere(Nothing {}) => GroupAnswer::Elsewhere,
            Said::TooLong(Nothing {}) => GroupAnswer::TooLong,
            Said::Lost(Nothing {}) => GroupAnswer::Lost,
        }
    }
}

impl TryFrom<GroupAnswered> for GroupMessage {
    type Error = WireError;

    fn try_from(answered: GroupAnswered) -> Result<GroupMessage, WireError> {
        let GroupAnswered { group, boot, asked, said } = answered;
        let matter = match asked.ok_or(WireError::UnknownKind)? {
            Asked::Command(sequence) => Matter::Command(sequence),
            Asked::Question(number) => Matter::Question(number),
        };
        let answer = said.ok_or(WireError::UnknownKind)?.into();
        Ok(GroupMessage::Answered { group: GroupId(group), boot, matter, answer })
    }
}

impl From<&NodeReport> for Report {
    fn from(report: &NodeReport) -> Report {
        let state = match report.state {
            Liveness::Alive => 0,
            Liveness::Suspect => 1,
            Liveness::Down => 2,
            Liveness::Left => 3,
        };
        Report {
            node: report.node.0,
            state,
            incarnation: report.incarnation.0,
            probed_by: report.probed_by.0,
            silent_ms: report.silent_ms,
            is_unheard: report.is_unheard,
        }
    }
}

impl TryFrom<Report> for NodeReport {
    type Error = WireError;

    fn try_from(report: Report) -> Result<NodeReport, WireError> {
        let state = match report.state {
            0 => Liveness::Alive,
            1 => Liveness::Suspect,
            2 => Liveness::Down,
            3 => Liveness::Left,
            _ => return Err(WireError::UnknownKind),
        };
        Ok(NodeReport {
            node: NodeId(report.node),
            state,
            incarnation: Incarnation(report.incarnation),
            probed_by: NodeId(report.probed_by),
            silent_ms: report.silent_ms,
            is_unheard: report.is_unheard,
        })
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
            Kind::ProposeRefused(ProposeRefused { sequences, leader, busy, full }) => {
                PeerMessage::ProposeRefused { sequences, leader: leader.map(NodeId), busy, full }
            }
            Kind::KeepAlive(Lease { number, lease }) => PeerMessage::KeepAlive { number, lease },
            Kind::KeepAliveReply(KeepAliveReply { number, answer }) => {
                let answer = answer.ok_or(WireError::UnknownKind)?.into();
                PeerMessage::KeepAliveReply { number, answer }
            }
            Kind::TimeToLive(Lease { number, lease }) => PeerMessage::TimeToLive { number, lease },
            Kind::Alive(StillAlive { boot, is_deaf }) => {
                PeerMessage::Groups(GroupMessage::Alive { boot, is_deaf })
            }
            Kind::GroupPropose(GroupPropose { group, proposals }) => {
                let group = GroupId(group);
                PeerMessage::Groups(GroupMessage::Propose { group, proposals })
            }
            Kind::GroupProposeRefused(refused) => {
                let GroupProposeRefused { group, sequences, full, leader } = refused;
                let (group, leader) = (GroupId(group), leader.map(NodeId));
                let refused = GroupMessage::ProposeRefused { group, sequences, full, leader };
                PeerMessage::Groups(refused)
            }
            Kind::GroupQuestion(GroupQuestion { group, boot, number, query, is_local }) => {
                let group = GroupId(group);
                let question = GroupMessage::Question { group, boot, number, query, is_local };
                PeerMessage::Groups(question)
            }
            Kind::GroupAnswered(answered) => PeerMessage::Groups(answered.try_into()?),
            Kind::GroupClaims(GroupClaims { claims }) => {
                let claim = |GroupClaim { group, assignment, declines }| Claim {
                    group: GroupId(group),
                    assignment,
                    declines,
                };
                let claims = claims.into_iter().map(claim);
                PeerMessage::Groups(GroupMessage::Claims(claims.collect()))
            }
            Kind::Gossip(packet) => PeerMessage::Gossip(packet),
            Kind::Feed(feed) => PeerMessage::Feed(feed.try_into()?),
            Kind::Reports(Reports { reports }) => {
                let reports = reports.into_iter().map(NodeReport::try_from);
                PeerMessage::Reports(reports.collect::<Result<_, _>>()?)
            }
            Kind::TransferLeader(TransferLeader { to }) => PeerMessage::TransferLeader(NodeId(to)),
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
