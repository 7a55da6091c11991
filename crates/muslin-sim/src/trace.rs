//! What happened, as one number and, when asked for, as text.
//!
//! The number is FNV-1a over 64-bit words: every input a node was given and every output it made,
//! in order, with time and place. Two runs of one seed that differ anywhere differ in it.

use crate::time::Time;
use muslin_core::base::{Index, LogId, NodeId, PersistId};
use muslin_core::groups;
use muslin_core::node::{Input, Output, PeerMessage, Reply, Request};
use muslin_core::raft::{
    AppendResult, Bound, Entry, HardState, Message, Payload, SessionId, SnapshotMeta, Unbound,
    Write,
};
use muslin_core::state::{KvEvent, Outcome, Response};
use std::fmt;
use std::net::SocketAddr;

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// FNV-1a, a word at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WordHash(u64);

impl WordHash {
    pub(crate) fn new() -> WordHash {
        WordHash(OFFSET)
    }

    pub(crate) fn word(&mut self, word: u64) {
        // The rotation lets the high bits of a word reach the low ones of the result.
        self.0 = (self.0 ^ word).wrapping_mul(PRIME).rotate_left(23);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.word(u64::from_le_bytes(chunk.try_into().expect("chunks are of eight")));
        }
        let mut last = [0; 8];
        last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
        self.word(u64::from_le_bytes(last));
    }

    pub(crate) fn finish(self) -> u64 {
        self.0
    }
}

/// A hash of what an entry says (not of where it stands).
pub(crate) fn payload_hash(payload: &Payload) -> u64 {
    let mut hash = WordHash::new();
    match payload {
        Payload::Empty => hash.word(1),
        Payload::Command(bytes) => {
            hash.word(2);
            hash.bytes(bytes);
        }
        Payload::Configuration(configuration) => {
            hash.word(3);
            for set in [&configuration.voters, &configuration.outgoing, &configuration.learners] {
                hash.word(set.len() as u64);
                set.iter().for_each(|id| hash.word(id.0));
            }
        }
    }
    hash.finish()
}

/// Called with one line for each thing that happens.
pub(crate) struct Sink(pub(crate) Box<dyn FnMut(&str)>);

/// The record of a run.
pub(crate) struct Trace {
    hash: WordHash,
    sink: Option<Sink>,
}

impl Trace {
    pub(crate) fn new(sink: Option<Sink>) -> Trace {
        Trace { hash: WordHash::new(), sink }
    }

    /// The number of the run so far.
    pub(crate) fn finish(&self) -> u64 {
        self.hash.finish()
    }

    /// Tells the reader something that no node sees.
    pub(crate) fn tell(&mut self, at: Time, what: fmt::Arguments<'_>) {
        if let Some(Sink(sink)) = &mut self.sink {
            sink(&format!("{at} {what}"));
        }
    }

    /// A node is given an input.
    pub(crate) fn input(&mut self, at: Time, node: NodeId, input: &Input) {
        self.hash.word(at.0);
        self.hash.word(node.0);
        fold_input(&mut self.hash, input);
        if let Some(Sink(sink)) = &mut self.sink {
            let text = match input {
                Input::Flush => return,
                Input::Datagram { from, bytes } => datagram(*from, bytes),
                other => format!("{other:?}"),
            };
            sink(&format!("{at} {node:?} <- {text}"));
        }
    }

    /// A node made an output.
    pub(crate) fn output(&mut self, at: Time, node: NodeId, output: &Output) {
        fold_output(&mut self.hash, output);
        if let Some(Sink(sink)) = &mut self.sink {
            let text = match output {
                Output::Datagram { to, bytes } => datagram(*to, bytes),
                other => format!("{other:?}"),
            };
            sink(&format!("{at} {node:?} -> {text}"));
        }
    }
}

/// Gossip in words; the bytes say nothing to a reader.
fn datagram(peer: SocketAddr, bytes: &bytes::Bytes) -> String {
    match muslin_core::wire::decode_packet(bytes.clone()) {
        Ok(packet) => format!("Datagram {peer} {packet:?}"),
        Err(_) => format!("Datagram {peer} of {} unreadable bytes", bytes.len()),
    }
}

fn fold_input(hash: &mut WordHash, input: &Input) {
    match input {
        Input::Tick => hash.word(1),
        Input::Flush => hash.word(2),
        Input::Datagram { from, bytes } => {
            hash.word(3);
            hash.word(u64::from(from.port()));
            hash.bytes(bytes);
        }
        Input::Peer { from, message } => {
            hash.word(4);
            hash.word(from.0);
            fold_message(hash, message);
        }
        Input::Persisted { group, id } => {
            hash.word(5);
            hash.word(group.0);
            hash.word(id.0);
        }
        Input::Request { id, request } => {
            hash.word(6);
            hash.word(id.0);
            fold_request(hash, request);
        }
        Input::Cancel(id) => {
            hash.word(7);
            hash.word(id.0);
        }
        Input::Contacts(contacts) => {
            hash.word(8);
            hash.word(contacts.len() as u64);
        }
        Input::Shutdown => hash.word(9),
        Input::Saved { group, index } => {
            hash.word(10);
            hash.word(group.0);
            hash.word(index.0);
        }
        Input::Disk(room) => hash.word((*room as u64) << 8 | 18),
    }
}

fn fold_request(hash: &mut WordHash, request: &Request) {
    hash.word(match request {
        Request::Write(_) => 1,
        Request::Read { .. } => 2,
        Request::Watch(spec) => spec.start_revision << 8 | 3,
        Request::WatchMore { watch } => watch.0 << 8 | 4,
        Request::WatchProgress { watch } => watch.0 << 8 | 5,
        Request::KeepAlive(lease) => lease << 8 | 6,
        Request::TimeToLive(lease) => lease << 8 | 7,
        Request::Status => 8,
        Request::TransferLeader(node) => node.0 << 8 | 9,
        Request::Group { group, .. } => group.0 << 8 | 10,
        Request::GroupStatus(_) => 11,
    });
}

fn fold_output(hash: &mut WordHash, output: &Output) {
    match output {
        Output::Persist { group, id, write } => {
            hash.word(11);
            hash.word(group.0);
            hash.word(id.0);
            fold_write(hash, write);
        }
        Output::Send { to, after, message } => {
            hash.word(12);
            hash.word(to.0);
            hash.word(after.map_or(PersistId::ZERO, |(_, id)| id).0);
            fold_message(hash, message);
        }
        Output::Datagram { to, bytes } => {
            hash.word(13);
            hash.word(u64::from(to.port()));
            hash.bytes(bytes);
        }
        Output::Reply { id, reply } => {
            hash.word(14);
            hash.word(id.0);
            fold_reply(hash, reply);
        }
        Output::Route { node, address } => {
            hash.word(15);
            hash.word(node.0);
            hash.word(u64::from(address.port()));
        }
        Output::Unroute(node) => {
            hash.word(16);
            hash.word(node.0);
        }
        Output::Report(_) => hash.word(17),
        Output::Save { group, snapshot, keep_from } => {
            hash.word(19);
            hash.word(group.0);
            fold_meta(hash, &snapshot.meta);
            hash.word(keep_from.0);
            hash.bytes(&snapshot.data);
        }
    }
}

fn fold_write(hash: &mut WordHash, write: &Write) {
    match write {
        Write::Log { hard_state, entries } => {
            let HardState { term, vote, commit, rebuilding } = hard_state.unwrap_or_default();
            hash.word(u64::from(rebuilding));
            for word in [term.0, vote.unwrap_or_default().0, commit.0, entries.len() as u64] {
                hash.word(word);
            }
            entries.iter().for_each(|entry| fold_entry(hash, entry));
        }
        Write::Snapshot { snapshot, keep_from, discard_log } => {
            fold_meta(hash, &snapshot.meta);
            hash.word(keep_from.0 << 1 | u64::from(*discard_log));
            hash.bytes(&snapshot.data);
        }
    }
}

fn fold_entry(hash: &mut WordHash, entry: &Entry) {
    fold_id(hash, entry.id);
    hash.word(payload_hash(&entry.payload));
}

fn fold_id(hash: &mut WordHash, id: LogId) {
    hash.word(id.term.0);
    hash.word(id.index.0);
}

fn fold_meta(hash: &mut WordHash, meta: &SnapshotMeta) {
    fold_id(hash, meta.last);
    meta.configuration.voters.iter().for_each(|id| hash.word(id.0));
}

fn fold_message(hash: &mut WordHash, message: &PeerMessage) {
    match message {
        PeerMessage::Raft { message: Message::Unbound(message), .. } => fold_unbound(hash, message),
        PeerMessage::Raft { message: Message::Bound(message), .. } => fold_bound(hash, message),
        PeerMessage::Propose(list) => {
            hash.word(31);
            list.iter().for_each(|bytes| hash.bytes(bytes));
        }
        PeerMessage::ProposeRefused { sequences, leader, busy } => {
            hash.word(32);
            sequences.iter().for_each(|sequence| hash.word(*sequence));
            hash.word(leader.unwrap_or_default().0 << 1 | u64::from(*busy));
        }
        PeerMessage::KeepAlive { number, lease } | PeerMessage::TimeToLive { number, lease } => {
            hash.word(33);
            hash.word(*number);
            hash.word(*lease);
        }
        PeerMessage::KeepAliveReply { number, .. } => {
            hash.word(34);
            hash.word(*number);
        }
        PeerMessage::Groups(message) => {
            hash.word(35);
            fold_group_message(hash, message);
        }
    }
}

fn fold_group_message(hash: &mut WordHash, message: &groups::Message) {
    match message {
        groups::Message::Raft { group, .. } => hash.word(group.0 << 8 | 1),
        groups::Message::Alive { boot } => hash.word(boot << 8 | 2),
        groups::Message::Propose { group, proposals } => {
            hash.word(group.0 << 8 | 3);
            proposals.iter().for_each(|bytes| hash.bytes(bytes));
        }
        groups::Message::ProposeRefused { group, sequences } => {
            hash.word(group.0 << 8 | 4);
            sequences.iter().for_each(|sequence| hash.word(*sequence));
        }
        groups::Message::Claims(claims) => claims.iter().for_each(|claim| {
            hash.word(claim.group.0 << 8 | 5);
            hash.word(claim.assignment);
        }),
    }
}

fn fold_unbound(hash: &mut WordHash, message: &Unbound) {
    match message {
        Unbound::PreVote { term, last } => {
            hash.word(41);
            hash.word(term.0);
            fold_id(hash, *last);
        }
        Unbound::PreVoteReply { term, granted } => {
            hash.word(42);
            hash.word(term.0 << 1 | u64::from(*granted));
        }
        Unbound::Append { term, session, prev, entries, commit } => {
            hash.word(43);
            hash.word(term.0);
            fold_place(hash, *session, *commit);
            fold_id(hash, *prev);
            entries.iter().for_each(|entry| fold_entry(hash, entry));
        }
        Unbound::Heartbeat { term, session, commit, round, .. } => {
            hash.word(44);
            hash.word(term.0);
            fold_place(hash, *session, *commit);
            hash.word(*round);
        }
        Unbound::SnapshotChunk { term, session, meta, offset, data, .. } => {
            hash.word(45);
            hash.word(term.0);
            fold_place(hash, *session, Index(*offset));
            fold_meta(hash, meta);
            hash.bytes(data);
        }
        Unbound::TimeoutNow { term } => hash.word(term.0 << 8 | 46),
        Unbound::ReadIndex { term, id, .. } => {
            hash.word(term.0 << 8 | 47);
            hash.word(*id);
        }
        Unbound::ReadIndexReply { term, id, index } => {
            hash.word(term.0 << 8 | 48);
            hash.word(*id);
            hash.word(index.map_or(u64::MAX, |index| index.0));
        }
    }
}

fn fold_bound(hash: &mut WordHash, message: &Bound) {
    match message {
        Bound::Vote { term, last, transfer } => {
            hash.word(term.0 << 8 | u64::from(*transfer) << 7 | 51);
            fold_id(hash, *last);
        }
        Bound::VoteReply { term, granted } => {
            hash.word(term.0 << 8 | u64::from(*granted) << 7 | 52);
        }
        Bound::AppendReply { term, session, result, .. } => {
            hash.word(term.0 << 8 | 53);
            match result {
                AppendResult::Accepted { matched } => fold_place(hash, *session, *matched),
                AppendResult::Rejected { prev, hint } => {
                    fold_place(hash, *session, *prev);
                    fold_id(hash, *hint);
                }
            }
        }
        Bound::HeartbeatReply { term, session, round, .. } => {
            hash.word(term.0 << 8 | 54);
            fold_place(hash, *session, Index(*round));
        }
        Bound::SnapshotReply { term, session, last, received, installed, .. } => {
            hash.word(term.0 << 8 | u64::from(*installed) << 7 | 55);
            fold_place(hash, *session, Index(*received));
            fold_id(hash, *last);
        }
    }
}

fn fold_place(hash: &mut WordHash, session: SessionId, index: Index) {
    hash.word(session.0);
    hash.word(index.0);
}

fn fold_reply(hash: &mut WordHash, reply: &Reply) {
    match reply {
        Reply::Outcome(outcome) => fold_outcome(hash, outcome),
        Reply::WatchStarted { from, revision } => hash.word(from.0 << 32 | revision.0 << 8 | 61),
        Reply::WatchRefused { compacted } => hash.word(compacted.0 << 8 | 62),
        Reply::WatchEvents { events, revision, behind } => {
            hash.word(revision.0 << 8 | u64::from(*behind) << 7 | 63);
            events.iter().for_each(|event| fold_event(hash, event));
        }
        Reply::WatchProgress { revision } => hash.word(revision.0 << 8 | 64),
        Reply::Lease { ttl, revision } => {
            hash.word(revision.0 << 8 | 65);
            hash.word(ttl.map_or(u64::MAX, |(granted, left)| granted << 32 | left));
        }
        Reply::Status(status) => hash.word(status.applied.0 << 8 | 66),
        Reply::Group(answer) => {
            hash.word(69);
            hash.bytes(answer);
        }
        Reply::GroupStatus(statuses) => hash.word((statuses.len() as u64) << 8 | 70),
        Reply::Done => hash.word(67),
        Reply::Failed(failure) => hash.word((*failure as u64) << 8 | 68),
    }
}

fn fold_outcome(hash: &mut WordHash, outcome: &Outcome) {
    hash.word(outcome.revision.0);
    match &outcome.result {
        Ok(response) => fold_response(hash, response),
        Err(_) => hash.word(71),
    }
}

fn fold_response(hash: &mut WordHash, response: &Response) {
    match response {
        Response::Range { kvs, count, .. } => {
            hash.word(*count << 8 | 72);
            kvs.iter().for_each(|kv| hash.word(kv.mod_revision));
        }
        Response::Delete { deleted, .. } => hash.word(*deleted << 8 | 73),
        Response::Txn { succeeded, responses } => {
            hash.word(u64::from(*succeeded) << 8 | 74);
            responses.iter().for_each(|response| fold_response(hash, response));
        }
        _ => hash.word(75),
    }
}

fn fold_event(hash: &mut WordHash, event: &KvEvent) {
    hash.word(event.kind as u64);
    hash.word(event.kv.mod_revision);
    hash.bytes(&event.kv.key);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(bytes: &[u8]) -> u64 {
        let mut hash = WordHash::new();
        hash.bytes(bytes);
        hash.finish()
    }

    #[test]
    fn texts_that_differ_only_in_trailing_zeros_hash_differently() {
        assert_ne!(hash_of(b"a"), hash_of(b"a\0"));
        assert_ne!(hash_of(b""), hash_of(b"\0"));
        assert_ne!(hash_of(b"12345678"), hash_of(b"123456780"));
    }
}
