//! Inputs and outputs of nodes as numbers, for the hash of a run, and as text.

use crate::trace::{WordHash, fold_entry, fold_id, fold_meta, fold_write};
use muslin_core::base::{Index, PersistId};
use muslin_core::groups;
use muslin_core::node::{Failure, Feed, Input, Output, PeerMessage, Reply, Request};
use muslin_core::raft::{AppendResult, Bound, Message, SessionId, Unbound};
use muslin_core::state::{KvEvent, Outcome, Response};
use std::net::SocketAddr;

/// For a reader; a flush is nothing to tell.
pub(super) fn tell_input(input: &Input) -> Option<String> {
    match input {
        Input::Flush => None,
        Input::Datagram { from, bytes } => Some(datagram(*from, bytes)),
        other => Some(format!("{other:?}")),
    }
}

/// For a reader.
pub(super) fn tell_output(output: &Output) -> String {
    match output {
        Output::Datagram { to, bytes } => datagram(*to, bytes),
        other => format!("{other:?}"),
    }
}

/// Gossip in words; the bytes say nothing to a reader.
fn datagram(peer: SocketAddr, bytes: &bytes::Bytes) -> String {
    match muslin_core::wire::decode_packet(bytes.clone()) {
        Ok(packet) => format!("Datagram {peer} {packet:?}"),
        Err(_) => format!("Datagram {peer} of {} unreadable bytes", bytes.len()),
    }
}

pub(super) fn fold_input(hash: &mut WordHash, input: &Input) {
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
        Input::Request { id, asker: _, request } => {
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
        Input::Clock(unix_ms) => {
            hash.word(14);
            hash.word(*unix_ms);
        }
        Input::Epoch(epoch) => {
            hash.word(15);
            hash.word(epoch.0);
        }
        Input::Ticket(ticket) => {
            hash.word(13);
            hash.bytes(ticket);
        }
        Input::Places(places) => {
            hash.word(19);
            hash.word(places.len() as u64);
        }
        Input::Unwatched => hash.word(19),
        Input::Shutdown => hash.word(9),
        Input::SnapshotLost(group) => {
            hash.word(12);
            hash.word(group.0);
        }
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
        Request::KeepAlive(lease) => lease << 8 | 6,
        Request::TimeToLive(lease) => lease << 8 | 7,
        Request::Status => 8,
        Request::Load(load) => u64::from(load.cpu_permille) << 8 | 20,
        Request::Evidence(node) => node.0 << 8 | 19,
        Request::TransferLeader(node) => node.0 << 8 | 9,
        Request::Group { group, .. } => group.0 << 8 | 10,
        Request::GroupStatus(_) => 11,
        Request::Freeze => 12,
    });
}

pub(super) fn fold_output(hash: &mut WordHash, output: &Output) {
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
        Output::Changes(changes) => {
            hash.word(changes.after.0 << 8 | 18);
            hash.word(changes.through.0 << 1 | u64::from(changes.rights.is_some()));
            changes.events.iter().for_each(|event| fold_event(hash, event));
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
        Output::Hold(bytes) => {
            hash.word(19);
            hash.word(bytes.len() as u64);
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

/// Adds a message of consensus.
pub(crate) fn fold_raft(hash: &mut WordHash, message: &Message) {
    match message {
        Message::Unbound(message) => fold_unbound(hash, message),
        Message::Bound(message) => fold_bound(hash, message),
    }
}

fn fold_message(hash: &mut WordHash, message: &PeerMessage) {
    match message {
        PeerMessage::Raft { message, .. } => fold_raft(hash, message),
        PeerMessage::Propose(list) => {
            hash.word(31);
            list.iter().for_each(|bytes| hash.bytes(bytes));
        }
        PeerMessage::ProposeRefused { sequences, leader, busy, .. } => {
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
        PeerMessage::Reports(reports) => {
            hash.word(37);
            for report in reports {
                hash.word(report.node.0);
                hash.word(report.incarnation.0);
            }
        }
        PeerMessage::Groups(message) => {
            hash.word(35);
            fold_group_message(hash, message);
        }
        PeerMessage::Gossip(packet) => {
            hash.word(36);
            hash.bytes(packet);
        }
        PeerMessage::TransferLeader(to) => {
            hash.word(37);
            hash.word(to.0);
        }
        PeerMessage::Feed(feed) => {
            hash.word(38);
            fold_feed(hash, feed);
        }
    }
}

fn fold_feed(hash: &mut WordHash, feed: &Feed) {
    let mut words = |kind: u64, words: [u64; 3]| {
        hash.word(kind);
        words.into_iter().for_each(|word| hash.word(word));
    };
    match feed {
        Feed::Subscribe { session, from, credit } => {
            words(1, [session.0, from.map_or(0, |id| id.index.0), *credit]);
        }
        Feed::Taken { session, upto, .. } => words(2, [session.0, upto.0, 0]),
        Feed::PieceTaken { session, last, received } => {
            words(3, [session.0, last.index.0, *received]);
        }
        Feed::Stop { session } => words(4, [session.0, 0, 0]),
        Feed::Entries { session, prev, entries, told } => {
            words(5, [session.0, prev.index.0, told.standing.commit.0]);
            entries.iter().for_each(|entry| fold_entry(hash, entry));
        }
        Feed::Pulse { session, upto, told } => {
            words(6, [session.0, upto.0, told.standing.commit.0]);
        }
        Feed::Piece { session, piece, .. } => {
            words(7, [session.0, piece.offset, piece.checksum]);
            fold_meta(hash, &piece.meta);
        }
        Feed::Refused { session, why, voters } => {
            words(8, [session.0, *why as u64, voters.len() as u64]);
        }
        Feed::Readers(taken) => {
            for one in taken {
                words(9, [one.node.0, one.upto.0, one.age_ms]);
            }
        }
    }
}

fn fold_group_message(hash: &mut WordHash, message: &groups::Message) {
    match message {
        groups::Message::Raft { group, message } => {
            hash.word(group.0 << 8 | 1);
            fold_raft(hash, message);
        }
        groups::Message::Alive { boot, is_deaf } => {
            hash.word(boot << 9 | u64::from(*is_deaf) << 8 | 2)
        }
        groups::Message::Propose { group, proposals } => {
            hash.word(group.0 << 8 | 3);
            proposals.iter().for_each(|bytes| hash.bytes(bytes));
        }
        groups::Message::ProposeRefused { group, sequences, leader, .. } => {
            hash.word(group.0 << 8 | 4);
            hash.word(leader.map_or(0, |leader| leader.0));
            sequences.iter().for_each(|sequence| hash.word(*sequence));
        }
        groups::Message::Question { group, boot, number, query, is_local } => {
            hash.word(group.0 << 8 | 6);
            hash.word(boot << 1 | u64::from(*is_local));
            hash.word(*number);
            hash.bytes(query);
        }
        groups::Message::Answered { group, boot, matter, answer } => {
            hash.word(group.0 << 8 | 7);
            hash.word(*boot);
            hash.word(match matter {
                groups::Matter::Command(sequence) => sequence << 1,
                groups::Matter::Question(number) => number << 1 | 1,
            });
            fold_answer(hash, answer);
        }
        groups::Message::Claims(claims) => claims.iter().for_each(|claim| {
            hash.word(claim.group.0 << 8 | 5);
            hash.word(claim.assignment);
        }),
    }
}

fn fold_answer(hash: &mut WordHash, answer: &groups::Answer) {
    match answer {
        groups::Answer::Said(bytes) => hash.bytes(bytes),
        groups::Answer::Busy { retry_after } => {
            hash.word((retry_after.as_millis() as u64) << 8 | 2)
        }
        groups::Answer::Gone => hash.word(3),
        groups::Answer::Elsewhere => hash.word(4),
        groups::Answer::TooLong => hash.word(5),
        groups::Answer::Lost => hash.word(6),
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
        Unbound::Heartbeat { term, session, commit, round, lease, .. } => {
            hash.word(44 + (u64::from(*lease) << 32));
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
        Unbound::ReadIndexReply { term, id, index, silent } => {
            hash.word(term.0 << 8 | 48);
            hash.word(*id);
            hash.word(index.map_or(u64::MAX, |index| index.0));
            silent.iter().for_each(|node| hash.word(node.0));
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
        Reply::WatchStarted { from, revision, applied } => {
            hash.word(from.0 << 32 | revision.0 << 8 | 61);
            hash.word(applied.0);
        }
        Reply::WatchRefused { compacted } => hash.word(compacted.0 << 8 | 62),
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
        Reply::Frozen(frozen) => hash.word(frozen.counts().applied.0 << 8 | 76),
        Reply::Evidence(transitions) => hash.word((transitions.len() as u64) << 8 | 75),
        Reply::Done => hash.word(67),
        Reply::Failed(failure) => hash.word(failure_word(*failure) << 8 | 68),
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

fn failure_word(failure: Failure) -> u64 {
    match failure {
        Failure::TimedOut => 0,
        Failure::NoLeader => 1,
        Failure::Busy { retry_after } => 2 | (retry_after.as_millis() as u64) << 8,
        Failure::Stopping => 3,
        Failure::TooLarge => 4,
        Failure::NoSpace => 5,
        Failure::Denied(_) => 11,
        Failure::NoGroup => 6,
        Failure::StandsStill => 7,
        Failure::Starting => 8,
        Failure::Lost => 9,
    }
}
