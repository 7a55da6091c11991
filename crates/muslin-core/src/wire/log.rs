//! What a group keeps on disk and repeats to its peers: entries, hard state, configurations.

use super::{WireError, encode};
use crate::base::{Index, LogId, NodeId, Term};
use crate::raft;
use alloc::vec::Vec;
use bytes::Bytes;
use prost::Message as _;

/// An entry, in the log file and in appends.
pub fn encode_entry(entry: &raft::Entry) -> Bytes {
    encode(&Entry::from(entry))
}

/// Reads what [`encode_entry`] wrote. The command shares the bytes given.
pub fn decode_entry(bytes: Bytes) -> Result<raft::Entry, WireError> {
    Entry::decode(bytes)?.try_into()
}

/// A hard state, in the log file.
pub fn encode_hard_state(state: &raft::HardState) -> Bytes {
    let raft::HardState { term, vote, commit, rebuilding, leased } = *state;
    let vote = vote.map(|id| id.0);
    encode(&HardState { term: term.0, vote, commit: commit.0, rebuilding, leased })
}

/// Reads what [`encode_hard_state`] wrote.
pub fn decode_hard_state(bytes: Bytes) -> Result<raft::HardState, WireError> {
    let HardState { term, vote, commit, rebuilding, leased } = HardState::decode(bytes)?;
    let (term, vote, commit) = (Term(term), vote.map(NodeId), Index(commit));
    Ok(raft::HardState { term, vote, commit, rebuilding, leased })
}

/// What a snapshot stands for, in its file and in its chunks.
pub fn encode_snapshot_meta(meta: &raft::SnapshotMeta) -> Bytes {
    encode(&SnapshotMeta::from(meta))
}

/// Reads what [`encode_snapshot_meta`] wrote.
pub fn decode_snapshot_meta(bytes: Bytes) -> Result<raft::SnapshotMeta, WireError> {
    SnapshotMeta::decode(bytes)?.try_into()
}

#[derive(Clone, PartialEq, ::prost::Message)]
pub(super) struct Entry {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    index: u64,
    #[prost(oneof = "Payload", tags = "3, 4, 5")]
    payload: Option<Payload>,
}

#[derive(Clone, PartialEq, ::prost::Oneof)]
enum Payload {
    #[prost(message, tag = "3")]
    Empty(Nothing),
    #[prost(bytes = "bytes", tag = "4")]
    Command(Bytes),
    #[prost(message, tag = "5")]
    Configuration(Configuration),
}

/// A kind that says all by being there.
#[derive(Clone, Copy, PartialEq, ::prost::Message)]
pub(super) struct Nothing {}

#[derive(Clone, PartialEq, ::prost::Message)]
struct HardState {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(fixed64, optional, tag = "2")]
    vote: Option<u64>,
    #[prost(uint64, tag = "3")]
    commit: u64,
    #[prost(bool, tag = "4")]
    rebuilding: bool,
    #[prost(bool, tag = "5")]
    leased: bool,
}

#[derive(Clone, PartialEq, ::prost::Message)]
pub(super) struct SnapshotMeta {
    #[prost(uint64, tag = "1")]
    last_term: u64,
    #[prost(uint64, tag = "2")]
    last_index: u64,
    #[prost(message, optional, tag = "3")]
    configuration: Option<Configuration>,
}

#[derive(Clone, PartialEq, ::prost::Message)]
struct Configuration {
    #[prost(fixed64, repeated, tag = "1")]
    voters: Vec<u64>,
    #[prost(fixed64, repeated, tag = "2")]
    outgoing: Vec<u64>,
    #[prost(fixed64, repeated, tag = "3")]
    learners: Vec<u64>,
}

impl From<&raft::Entry> for Entry {
    fn from(entry: &raft::Entry) -> Entry {
        let payload = match &entry.payload {
            raft::Payload::Empty => Payload::Empty(Nothing {}),
            raft::Payload::Command(command) => Payload::Command(command.clone()),
            raft::Payload::Configuration(configuration) => {
                Payload::Configuration(configuration.into())
            }
        };
        Entry { term: entry.id.term.0, index: entry.id.index.0, payload: Some(payload) }
    }
}

impl TryFrom<Entry> for raft::Entry {
    type Error = WireError;

    fn try_from(entry: Entry) -> Result<raft::Entry, WireError> {
        let payload = match entry.payload.ok_or(WireError::UnknownKind)? {
            Payload::Empty(Nothing {}) => raft::Payload::Empty,
            Payload::Command(command) => raft::Payload::Command(command),
            Payload::Configuration(configuration) => {
                raft::Payload::Configuration(configuration.into())
            }
        };
        Ok(raft::Entry { id: log_id(entry.term, entry.index), payload })
    }
}

impl From<&raft::SnapshotMeta> for SnapshotMeta {
    fn from(meta: &raft::SnapshotMeta) -> SnapshotMeta {
        SnapshotMeta {
            last_term: meta.last.term.0,
            last_index: meta.last.index.0,
            configuration: Some((&meta.configuration).into()),
        }
    }
}

impl TryFrom<SnapshotMeta> for raft::SnapshotMeta {
    type Error = WireError;

    fn try_from(meta: SnapshotMeta) -> Result<raft::SnapshotMeta, WireError> {
        // A state without its voters would leave a group nobody can vote in: never a safe default.
        let configuration =
            meta.configuration.ok_or(WireError::Missing("a snapshot without configuration"))?;
        let last = log_id(meta.last_term, meta.last_index);
        Ok(raft::SnapshotMeta { last, configuration: configuration.into() })
    }
}

impl From<&raft::Configuration> for Configuration {
    fn from(configuration: &raft::Configuration) -> Configuration {
        Configuration {
            voters: configuration.voters.iter().map(|id| id.0).collect(),
            outgoing: configuration.outgoing.iter().map(|id| id.0).collect(),
            learners: configuration.learners.iter().map(|id| id.0).collect(),
        }
    }
}

impl From<Configuration> for raft::Configuration {
    fn from(configuration: Configuration) -> raft::Configuration {
        raft::Configuration {
            voters: configuration.voters.into_iter().map(NodeId).collect(),
            outgoing: configuration.outgoing.into_iter().map(NodeId).collect(),
            learners: configuration.learners.into_iter().map(NodeId).collect(),
        }
    }
}

pub(super) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(Term(term), Index(index))
}
