//! Messages of one Raft group.

use super::WireError;
use super::log::{Entry, SnapshotMeta, log_id};
use crate::base::{ClusterId, GroupId, Index, NodeId, Term};
use crate::raft::{self, AppendResult, Bound, Condition, RebuildId, SessionId, Unbound};
use alloc::vec::Vec;
use bytes::Bytes;

#[derive(Clone, PartialEq, ::prost::Message)]
pub(super) struct Raft {
    #[prost(uint64, tag = "1")]
    group: u64,
    #[prost(oneof = "Kind", tags = "2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, ::prost::Oneof)]
enum Kind {
    #[prost(message, tag = "2")]
    PreVote(PreVote),
    #[prost(message, tag = "3")]
    PreVoteReply(VoteReply),
    #[prost(message, tag = "4")]
    Append(Append),
    #[prost(message, tag = "5")]
    Heartbeat(Heartbeat),
    #[prost(message, tag = "6")]
    SnapshotChunk(SnapshotChunk),
    #[prost(message, tag = "7")]
    TimeoutNow(TimeoutNow),
    #[prost(message, tag = "8")]
    ReadIndex(ReadIndex),
    #[prost(message, tag = "9")]
    ReadIndexReply(ReadIndexReply),
    #[prost(message, tag = "10")]
    Vote(Vote),
    #[prost(message, tag = "11")]
    VoteReply(VoteReply),
    #[prost(message, tag = "12")]
    AppendReply(AppendReply),
    #[prost(message, tag = "13")]
    HeartbeatReply(HeartbeatReply),
    #[prost(message, tag = "14")]
    SnapshotReply(SnapshotReply),
}

#[derive(Clone, Copy, PartialEq, ::prost::Message)]
struct PreVote {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    last_term: u64,
    #[prost(uint64, tag = "3")]
    last_index: u64,
}

#[derive(Clone, Copy, PartialEq, ::prost::Message)]
struct Vote {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    last_term: u64,
    #[prost(uint64, tag = "3")]
    last_index: u64,
    #[prost(bool, tag = "4")]
    transfer: bool,
}

#[derive(Clone, Copy, PartialEq, ::prost::Message)]
struct VoteReply {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(bool, tag = "2")]
    granted: bool,
}

#[derive(Clone, PartialEq, ::prost::Message)]
struct Append {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    session: u64,
    #[prost(uint64, tag = "3")]
    prev_term: u64,
    #[prost(uint64, tag = "4")]
    prev_index: u64,
    #[prost(message, repeated, tag = "5")]
    entries: Vec<Entry>,
    #[prost(uint64, tag = "6")]
    commit: u64,
}

#[derive(Clone, Copy, PartialEq, ::prost::Message)]
struct AppendReply {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    session: u64,
    #[prost(oneof = "Answer", tags = "3, 4")]
    answer: Option<Answer>,
    #[prost(fixed64, optional, tag = "5")]
    rebuild: Option<u64>,
    #[prost(bool, tag = "6")]
    full: bool,
    #[prost(uint64, tag = "7")]
    commit: u64,
}

#[derive(Clone, Copy, PartialEq, ::prost::Oneof)]
enum Answer {
    #[prost(uint64, tag = "3")]
    Matched(u64),
    #[prost(message, tag = "4")]
    Rejected(Rejected),
}

#[derive(Clone, Copy, PartialEq, ::prost::Message)]
struct Rejected {
    #[prost(uint64, tag = "1")]
    prev: u64,
    #[prost(uint64, tag = "2")]
    hint_term: u64,
    #[prost(uint64, tag = "3")]
    hint_index: u64,
}

#[derive(Clone, Copy, PartialEq, ::prost::Message)]
struct Heartbeat {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    session: u64,
    #[prost(uint64, tag = "3")]
    commit: u64,
    #[prost(uint64, tag = "4")]
    round: u64,
    #[prost(uint64, tag = "5")]
    matched: u64,
    #[prost(bool, tag = "6")]
    lease: bool,
}

#[derive(Clone, Copy, PartialEq, ::prost::Message)]
struct HeartbeatReply {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    session: u64,
    #[prost(uint64, tag = "3")]
    round: u64,
    #[prost(fixed64, optional, tag = "4")]
    rebuild: Option<u64>,
    #[prost(bool, tag = "5")]
    full: bool,
    #[prost(uint64, tag = "6")]
    commit: u64,
}

#[derive(Clone, PartialEq, ::prost::Message)]
struct SnapshotChunk {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    session: u64,
    #[prost(message, optional, tag = "3")]
    meta: Option<SnapshotMeta>,
    #[prost(uint64, tag = "4")]
    offset: u64,
    #[prost(uint64, tag = "5")]
    total: u64,
    #[prost(fixed64, tag = "6")]
    checksum: u64,
    #[prost(bytes = "bytes", tag = "7")]
    data: Bytes,
    #[prost(fixed64, tag = "8")]
    cluster_high: u64,
    #[prost(fixed64, tag = "9")]
    cluster_low: u64,
}

#[derive(Clone, Copy, PartialEq, ::prost::Message)]
struct SnapshotReply {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    session: u64,
    #[prost(uint64, tag = "3")]
    last_term: u64,
    #[prost(uint64, tag = "4")]
    last_index: u64,
    #[prost(uint64, tag = "5")]
    received: u64,
    #[prost(bool, tag = "6")]
    installed: bool,
    #[prost(fixed64, optional, tag = "7")]
    rebuild: Option<u64>,
    #[prost(bool, tag = "8")]
    full: bool,
    #[prost(uint64, tag = "9")]
    commit: u64,
}

#[derive(Clone, Copy, PartialEq, ::prost::Message)]
struct TimeoutNow {
    #[prost(uint64, tag = "1")]
    term: u64,
}

#[derive(Clone, Copy, PartialEq, ::prost::Message)]
struct ReadIndex {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    id: u64,
    #[prost(bool, tag = "3")]
    lease: bool,
}

#[derive(Clone, PartialEq, ::prost::Message)]
struct ReadIndexReply {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    id: u64,
    #[prost(uint64, optional, tag = "3")]
    index: Option<u64>,
    #[prost(fixed64, repeated, tag = "4")]
    silent: Vec<u64>,
}

impl Raft {
    pub(super) fn new(group: GroupId, message: &raft::Message) -> Raft {
        let kind = match message {
            raft::Message::Unbound(unbound) => unbound.into(),
            raft::Message::Bound(bound) => bound.into(),
        };
        Raft { group: group.0, kind: Some(kind) }
    }

    pub(super) fn into_parts(self) -> Result<(GroupId, raft::Message), WireError> {
        let message = self.kind.ok_or(WireError::UnknownKind)?.try_into()?;
        Ok((GroupId(self.group), message))
    }
}

impl From<&Unbound> for Kind {
    fn from(message: &Unbound) -> Kind {
        match message {
            Unbound::PreVote { term, last } => Kind::PreVote(PreVote {
                term: term.0,
                last_term: last.term.0,
                last_index: last.index.0,
            }),
            Unbound::PreVoteReply { term, granted } => {
                Kind::PreVoteReply(VoteReply { term: term.0, granted: *granted })
            }
            Unbound::Append { term, session, prev, entries, commit } => Kind::Append(Append {
                term: term.0,
                session: session.0,
                prev_term: prev.term.0,
                prev_index: prev.index.0,
                entries: entries.iter().map(Entry::from).collect(),
                commit: commit.0,
            }),
            Unbound::Heartbeat { term, session, commit, matched, round, lease } => {
                Kind::Heartbeat(Heartbeat {
                    term: term.0,
                    session: session.0,
                    commit: commit.0,
                    round: *round,
                    matched: matched.0,
                    lease: *lease,
                })
            }
            Unbound::SnapshotChunk {
                term,
                session,
                cluster,
                meta,
                offset,
                total,
                checksum,
                data,
            } => Kind::SnapshotChunk(SnapshotChunk {
                term: term.0,
                session: session.0,
                meta: Some(meta.into()),
                offset: *offset,
                total: *total,
                checksum: *checksum,
                data: data.clone(),
                cluster_high: (cluster.0 >> 64) as u64,
                cluster_low: cluster.0 as u64,
            }),
            Unbound::TimeoutNow { term } => Kind::TimeoutNow(TimeoutNow { term: term.0 }),
            Unbound::ReadIndex { term, id, lease } => {
                Kind::ReadIndex(ReadIndex { term: term.0, id: *id, lease: *lease })
            }
            Unbound::ReadIndexReply { term, id, index, silent } => {
                Kind::ReadIndexReply(ReadIndexReply {
                    term: term.0,
                    id: *id,
                    index: index.map(|index| index.0),
                    silent: silent.iter().map(|node| node.0).collect(),
                })
            }
        }
    }
}

impl From<&Bound> for Kind {
    fn from(message: &Bound) -> Kind {
        match message {
            Bound::Vote { term, last, transfer } => Kind::Vote(Vote {
                term: term.0,
                last_term: last.term.0,
                last_index: last.index.0,
                transfer: *transfer,
            }),
            Bound::VoteReply { term, granted } => {
                Kind::VoteReply(VoteReply { term: term.0, granted: *granted })
            }
            Bound::AppendReply { term, session, result, condition } => {
                Kind::AppendReply(AppendReply {
                    term: term.0,
                    session: session.0,
                    answer: Some((*result).into()),
                    rebuild: condition.rebuild.map(|id| id.0),
                    full: condition.is_full,
                    commit: condition.commit.0,
                })
            }
            Bound::HeartbeatReply { term, session, round, condition } => {
                Kind::HeartbeatReply(HeartbeatReply {
                    term: term.0,
                    session: session.0,
                    round: *round,
                    rebuild: condition.rebuild.map(|id| id.0),
                    full: condition.is_full,
                    commit: condition.commit.0,
                })
            }
            Bound::SnapshotReply { term, session, last, received, installed, condition } => {
                Kind::SnapshotReply(SnapshotReply {
                    term: term.0,
                    session: session.0,
                    last_term: last.term.0,
                    last_index: last.index.0,
                    received: *received,
                    installed: *installed,
                    rebuild: condition.rebuild.map(|id| id.0),
                    full: condition.is_full,
                    commit: condition.commit.0,
                })
            }
        }
    }
}

impl From<AppendResult> for Answer {
    fn from(result: AppendResult) -> Answer {
        match result {
            AppendResult::Accepted { matched } => Answer::Matched(matched.0),
            AppendResult::Rejected { prev, hint } => Answer::Rejected(Rejected {
                prev: prev.0,
                hint_term: hint.term.0,
                hint_index: hint.index.0,
            }),
        }
    }
}

impl TryFrom<Kind> for raft::Message {
    type Error = WireError;

    fn try_from(kind: Kind) -> Result<raft::Message, WireError> {
        let unbound = match kind {
            Kind::PreVote(m) => {
                let last = log_id(m.last_term, m.last_index);
                Unbound::PreVote { term: Term(m.term), last }
            }
            Kind::PreVoteReply(m) => {
                Unbound::PreVoteReply { term: Term(m.term), granted: m.granted }
            }
            Kind::Append(m) => m.try_into()?,
            Kind::Heartbeat(m) => Unbound::Heartbeat {
                term: Term(m.term),
                session: SessionId(m.session),
                commit: Index(m.commit),
                matched: Index(m.matched),
                round: m.round,
                lease: m.lease,
            },
            Kind::SnapshotChunk(m) => m.try_into()?,
            Kind::TimeoutNow(m) => Unbound::TimeoutNow { term: Term(m.term) },
            Kind::ReadIndex(m) => {
                Unbound::ReadIndex { term: Term(m.term), id: m.id, lease: m.lease }
            }
            Kind::ReadIndexReply(m) => Unbound::ReadIndexReply {
                term: Term(m.term),
                id: m.id,
                index: m.index.map(Index),
                silent: m.silent.into_iter().map(NodeId).collect(),
            },
            Kind::Vote(m) => return Ok(raft::Message::Bound(m.into())),
            Kind::VoteReply(m) => return Ok(raft::Message::Bound(m.into())),
            Kind::AppendReply(m) => return Ok(raft::Message::Bound(m.try_into()?)),
            Kind::HeartbeatReply(m) => return Ok(raft::Message::Bound(m.into())),
            Kind::SnapshotReply(m) => return Ok(raft::Message::Bound(m.into())),
        };
        Ok(raft::Message::Unbound(unbound))
    }
}

impl TryFrom<Append> for Unbound {
    type Error = WireError;

    fn try_from(m: Append) -> Result<Unbound, WireError> {
        let entries = m.entries.into_iter().map(raft::Entry::try_from).collect::<Result<_, _>>()?;
        Ok(Unbound::Append {
            term: Term(m.term),
            session: SessionId(m.session),
            prev: log_id(m.prev_term, m.prev_index),
            entries,
            commit: Index(m.commit),
        })
    }
}

impl TryFrom<SnapshotChunk> for Unbound {
    type Error = WireError;

    fn try_from(m: SnapshotChunk) -> Result<Unbound, WireError> {
        let meta = m.meta.ok_or(WireError::Missing("a snapshot chunk without its meta"))?;
        Ok(Unbound::SnapshotChunk {
            term: Term(m.term),
            session: SessionId(m.session),
            cluster: ClusterId(u128::from(m.cluster_high) << 64 | u128::from(m.cluster_low)),
            meta: meta.try_into()?,
            offset: m.offset,
            total: m.total,
            checksum: m.checksum,
            data: m.data,
        })
    }
}

impl From<Vote> for Bound {
    fn from(m: Vote) -> Bound {
        let last = log_id(m.last_term, m.last_index);
        Bound::Vote { term: Term(m.term), last, transfer: m.transfer }
    }
}

impl From<VoteReply> for Bound {
    fn from(m: VoteReply) -> Bound {
        Bound::VoteReply { term: Term(m.term), granted: m.granted }
    }
}

impl TryFrom<AppendReply> for Bound {
    type Error = WireError;

    fn try_from(m: AppendReply) -> Result<Bound, WireError> {
        let result = match m.answer.ok_or(WireError::UnknownKind)? {
            Answer::Matched(index) => AppendResult::Accepted { matched: Index(index) },
            Answer::Rejected(Rejected { prev, hint_term, hint_index }) => {
                AppendResult::Rejected { prev: Index(prev), hint: log_id(hint_term, hint_index) }
            }
        };
        let condition = condition(m.rebuild, m.full, m.commit);
        Ok(Bound::AppendReply {
            term: Term(m.term),
            session: SessionId(m.session),
            result,
            condition,
        })
    }
}

impl From<HeartbeatReply> for Bound {
    fn from(m: HeartbeatReply) -> Bound {
        Bound::HeartbeatReply {
            term: Term(m.term),
            session: SessionId(m.session),
            round: m.round,
            condition: condition(m.rebuild, m.full, m.commit),
        }
    }
}

impl From<SnapshotReply> for Bound {
    fn from(m: SnapshotReply) -> Bound {
        Bound::SnapshotReply {
            term: Term(m.term),
            session: SessionId(m.session),
            last: log_id(m.last_term, m.last_index),
            received: m.received,
            installed: m.installed,
            condition: condition(m.rebuild, m.full, m.commit),
        }
    }
}

fn condition(rebuild: Option<u64>, is_full: bool, commit: u64) -> Condition {
    Condition { rebuild: rebuild.map(RebuildId), is_full, commit: Index(commit) }
}
