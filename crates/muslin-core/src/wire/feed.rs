//! Messages of the record's feed.

use super::WireError;
use super::log::{Entry, SnapshotMeta, log_id};
use crate::base::{ClusterId, Index, LogId, NodeId, Term};
use crate::node::{
    Feed as NodeFeed, FeedId, FeedRefusal, Health, Piece as NodePiece, Taken as NodeTaken,
    Told as NodeTold,
};
use crate::raft::{self, Standing};
use alloc::vec::Vec;
use bytes::Bytes;

#[derive(Clone, PartialEq, ::prost::Message)]
pub(super) struct Feed {
    #[prost(fixed64, tag = "1")]
    session: u64,
    #[prost(oneof = "Kind", tags = "2, 3, 4, 5, 6, 7, 8, 9, 10")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, ::prost::Oneof)]
enum Kind {
    #[prost(message, tag = "2")]
    Subscribe(Subscribe),
    #[prost(message, tag = "3")]
    Took(Took),
    #[prost(message, tag = "4")]
    PieceTaken(PieceTaken),
    #[prost(message, tag = "5")]
    Stop(super::log::Nothing),
    #[prost(message, tag = "6")]
    Entries(Entries),
    #[prost(message, tag = "7")]
    Pulse(Pulse),
    #[prost(message, tag = "8")]
    Piece(Piece),
    #[prost(message, tag = "9")]
    Refused(Refused),
    #[prost(message, tag = "10")]
    Readers(Readers),
}

#[derive(Clone, Copy, PartialEq, ::prost::Message)]
struct Subscribe {
    #[prost(uint64, tag = "1")]
    from_term: u64,
    #[prost(uint64, optional, tag = "2")]
    from_index: Option<u64>,
    #[prost(uint64, tag = "3")]
    credit: u64,
}

#[derive(Clone, Copy, PartialEq, ::prost::Message)]
struct Took {
    #[prost(uint64, tag = "1")]
    upto: u64,
    #[prost(bool, tag = "2")]
    full: bool,
    #[prost(bool, tag = "3")]
    rebuilding: bool,
}

#[derive(Clone, Copy, PartialEq, ::prost::Message)]
struct PieceTaken {
    #[prost(uint64, tag = "1")]
    last_term: u64,
    #[prost(uint64, tag = "2")]
    last_index: u64,
    #[prost(uint64, tag = "3")]
    received: u64,
}

#[derive(Clone, Copy, PartialEq, ::prost::Message)]
struct Told {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(fixed64, optional, tag = "2")]
    leader: Option<u64>,
    #[prost(uint64, tag = "3")]
    commit: u64,
    #[prost(uint64, optional, tag = "4")]
    age_ms: Option<u64>,
}

#[derive(Clone, PartialEq, ::prost::Message)]
struct Entries {
    #[prost(message, optional, tag = "1")]
    told: Option<Told>,
    #[prost(uint64, tag = "2")]
    prev_term: u64,
    #[prost(uint64, tag = "3")]
    prev_index: u64,
    #[prost(message, repeated, tag = "4")]
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, PartialEq, ::prost::Message)]
struct Pulse {
    #[prost(message, optional, tag = "1")]
    told: Option<Told>,
    #[prost(uint64, tag = "2")]
    upto: u64,
}

#[derive(Clone, PartialEq, ::prost::Message)]
struct Piece {
    #[prost(message, optional, tag = "1")]
    told: Option<Told>,
    #[prost(fixed64, tag = "2")]
    cluster_high: u64,
    #[prost(fixed64, tag = "3")]
    cluster_low: u64,
    #[prost(message, optional, tag = "4")]
    meta: Option<SnapshotMeta>,
    #[prost(uint64, tag = "5")]
    offset: u64,
    #[prost(uint64, tag = "6")]
    total: u64,
    #[prost(fixed64, tag = "7")]
    checksum: u64,
    #[prost(bytes = "bytes", tag = "8")]
    data: Bytes,
}

#[derive(Clone, PartialEq, ::prost::Message)]
struct Refused {
    /// 1 no voter, 2 no member, 3 replicated, 4 busy.
    #[prost(uint32, tag = "1")]
    why: u32,
    #[prost(fixed64, repeated, tag = "2")]
    voters: Vec<u64>,
}

#[derive(Clone, PartialEq, ::prost::Message)]
struct Readers {
    #[prost(message, repeated, tag = "1")]
    taken: Vec<Taken>,
}

#[derive(Clone, Copy, PartialEq, ::prost::Message)]
struct Taken {
    #[prost(fixed64, tag = "1")]
    node: u64,
    #[prost(uint64, tag = "2")]
    upto: u64,
    #[prost(uint64, tag = "3")]
    age_ms: u64,
    #[prost(bool, tag = "4")]
    full: bool,
    #[prost(bool, tag = "5")]
    rebuilding: bool,
}

impl From<&NodeFeed> for Feed {
    fn from(feed: &NodeFeed) -> Feed {
        use NodeFeed as F;
        let (session, kind) = match feed {
            F::Subscribe { session, from, credit } => {
                let kind = Subscribe {
                    from_term: from.map_or(0, |id| id.term.0),
                    from_index: from.map(|id| id.index.0),
                    credit: *credit,
                };
                (*session, Kind::Subscribe(kind))
            }
            F::Taken { session, upto, health } => {
                let Health { is_full: full, is_rebuilding: rebuilding } = *health;
                (*session, Kind::Took(Took { upto: upto.0, full, rebuilding }))
            }
            F::PieceTaken { session, last, received } => {
                let (last_term, last_index) = (last.term.0, last.index.0);
                let kind = PieceTaken { last_term, last_index, received: *received };
                (*session, Kind::PieceTaken(kind))
            }
            F::Stop { session } => (*session, Kind::Stop(super::log::Nothing {})),
            F::Entries { session, prev, entries, told } => {
                (*session, Kind::Entries(Entries::of(*prev, entries, *told)))
            }
            F::Pulse { session, upto, told } => {
                (*session, Kind::Pulse(Pulse { told: Some((*told).into()), upto: upto.0 }))
            }
            F::Piece { session, piece, told } => (*session, Kind::Piece(Piece::of(piece, *told))),
            F::Refused { session, why, voters } => {
                let voters = voters.iter().map(|id| id.0).collect();
                (*session, Kind::Refused(Refused { why: number_of(*why), voters }))
            }
            F::Readers(taken) => {
                let taken = taken.iter().map(Taken::from).collect();
                (FeedId::default(), Kind::Readers(Readers { taken }))
            }
        };
        Feed { session: session.0, kind: Some(kind) }
    }
}

impl Entries {
    fn of(prev: LogId, entries: &raft::Entries, told: NodeTold) -> Entries {
        Entries {
            told: Some(told.into()),
            prev_term: prev.term.0,
            prev_index: prev.index.0,
            entries: entries.iter().map(Entry::from).collect(),
        }
    }
}

impl Piece {
    fn of(piece: &NodePiece, told: NodeTold) -> Piece {
        Piece {
            told: Some(told.into()),
            cluster_high: (piece.cluster.0 >> 64) as u64,
            cluster_low: piece.cluster.0 as u64,
            meta: Some((&piece.meta).into()),
            offset: piece.offset,
            total: piece.total,
            checksum: piece.checksum,
            data: piece.data.clone(),
        }
    }
}

impl From<NodeTold> for Told {
    fn from(told: NodeTold) -> Told {
        let NodeTold { standing: Standing { term, leader, commit }, age_ms } = told;
        Told { term: term.0, leader: leader.map(|id| id.0), commit: commit.0, age_ms }
    }
}

impl From<&NodeTaken> for Taken {
    fn from(taken: &NodeTaken) -> Taken {
        Taken {
            node: taken.node.0,
            upto: taken.upto.0,
            age_ms: taken.age_ms,
            full: taken.health.is_full,
            rebuilding: taken.health.is_rebuilding,
        }
    }
}

impl From<Taken> for NodeTaken {
    fn from(taken: Taken) -> NodeTaken {
        let Taken { node, upto, age_ms, full, rebuilding } = taken;
        let health = Health { is_full: full, is_rebuilding: rebuilding };
        NodeTaken { node: NodeId(node), upto: Index(upto), age_ms, health }
    }
}

fn number_of(why: FeedRefusal) -> u32 {
    match why {
        FeedRefusal::NoVoter => 1,
        FeedRefusal::NoMember => 2,
        FeedRefusal::Replicated => 3,
        FeedRefusal::Busy => 4,
    }
}

fn refusal_of(number: u32) -> Result<FeedRefusal, WireError> {
    Ok(match number {
        1 => FeedRefusal::NoVoter,
        2 => FeedRefusal::NoMember,
        3 => FeedRefusal::Replicated,
        4 => FeedRefusal::Busy,
        _ => return Err(WireError::UnknownKind),
    })
}

fn told_of(told: Option<Told>) -> Result<NodeTold, WireError> {
    let Told { term, leader, commit, age_ms } =
        told.ok_or(WireError::Missing("a feed without its standing"))?;
    let (term, leader, commit) = (Term(term), leader.map(NodeId), Index(commit));
    Ok(NodeTold { standing: Standing { term, leader, commit }, age_ms })
}

impl TryFrom<Feed> for NodeFeed {
    type Error = WireError;

    fn try_from(feed: Feed) -> Result<NodeFeed, WireError> {
        use NodeFeed as F;
        let session = FeedId(feed.session);
        Ok(match feed.kind.ok_or(WireError::UnknownKind)? {
            Kind::Subscribe(Subscribe { from_term, from_index, credit }) => {
                let from = from_index.map(|index| log_id(from_term, index));
                F::Subscribe { session, from, credit }
            }
            Kind::Took(Took { upto, full, rebuilding }) => {
                let health = Health { is_full: full, is_rebuilding: rebuilding };
                F::Taken { session, upto: Index(upto), health }
            }
            Kind::PieceTaken(PieceTaken { last_term, last_index, received }) => {
                F::PieceTaken { session, last: log_id(last_term, last_index), received }
            }
            Kind::Stop(_) => F::Stop { session },
            Kind::Entries(Entries { told, prev_term, prev_index, entries }) => F::Entries {
                session,
                prev: log_id(prev_term, prev_index),
                entries: entries
                    .into_iter()
                    .map(raft::Entry::try_from)
                    .collect::<Result<_, _>>()?,
                told: told_of(told)?,
            },
            Kind::Pulse(Pulse { told, upto }) => {
                F::Pulse { session, upto: Index(upto), told: told_of(told)? }
            }
            Kind::Piece(piece) => {
                let told = told_of(piece.told)?;
                F::Piece { session, piece: piece.try_into()?, told }
            }
            Kind::Refused(Refused { why, voters }) => {
                let (why, voters) = (refusal_of(why)?, voters.into_iter().map(NodeId).collect());
                F::Refused { session, why, voters }
            }
            Kind::Readers(Readers { taken }) => {
                F::Readers(taken.into_iter().map(NodeTaken::from).collect())
            }
        })
    }
}

impl TryFrom<Piece> for NodePiece {
    type Error = WireError;

    fn try_from(piece: Piece) -> Result<NodePiece, WireError> {
        let meta =
            piece.meta.ok_or(WireError::Missing("a piece of a snapshot without its meta"))?;
        Ok(NodePiece {
            cluster: ClusterId(
                u128::from(piece.cluster_high) << 64 | u128::from(piece.cluster_low),
            ),
            meta: meta.try_into()?,
            offset: piece.offset,
            total: piece.total,
            checksum: piece.checksum,
            data: piece.data,
        })
    }
}
