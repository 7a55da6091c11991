//! Outputs in words, for transcripts.

use crate::raft::{
    AppendResult, Bound, Configuration, Entry, Event, Message, Payload, Role, Unbound, Write,
};
use std::borrow::ToOwned;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

pub(super) fn message(message: &Message) -> String {
    match message {
        Message::Unbound(message) => unbound(message),
        Message::Bound(message) => bound(message),
    }
}

/// The first word of its description: what scripts lose and hold.
pub(super) fn kind(of: &Message) -> String {
    message(of).split(' ').next().unwrap_or_default().to_owned()
}

fn unbound(message: &Unbound) -> String {
    match message {
        Unbound::PreVote { term, last } => format!("PreVote term={term} last={last}"),
        Unbound::PreVoteReply { term, granted } => {
            format!("PreVoteReply term={term} granted={granted}")
        }
        Unbound::Append { term, session, prev, entries, commit } => format!(
            "Append term={term} session={} prev={prev} [{}] commit={commit}",
            session.0,
            list(entries)
        ),
        Unbound::Heartbeat { term, session, commit, round, .. } => {
            format!("Heartbeat term={term} session={} commit={commit} round={round}", session.0)
        }
        Unbound::SnapshotChunk { term, meta, offset, total, data, .. } => format!(
            "SnapshotChunk term={term} last={} {offset}..{}/{total}",
            meta.last,
            offset + data.len() as u64
        ),
        Unbound::TimeoutNow { term } => format!("TimeoutNow term={term}"),
        Unbound::ReadIndex { term, .. } => format!("ReadIndex term={term}"),
        Unbound::ReadIndexReply { term, index, .. } => {
            format!(
                "ReadIndexReply term={term} index={}",
                index.map_or("none".into(), |i| i.to_string())
            )
        }
    }
}

fn bound(message: &Bound) -> String {
    match message {
        Bound::Vote { term, last, transfer } => {
            format!("Vote term={term} last={last}{}", if *transfer { " transfer" } else { "" })
        }
        Bound::VoteReply { term, granted } => format!("VoteReply term={term} granted={granted}"),
        Bound::AppendReply { term, session, result, .. } => match result {
            AppendResult::Accepted { matched } => {
                format!("AppendReply term={term} session={} matched={matched}", session.0)
            }
            AppendResult::Rejected { prev, hint } => {
                format!("AppendReply term={term} session={} rejects={prev} hint={hint}", session.0)
            }
        },
        Bound::HeartbeatReply { term, round, .. } => {
            format!("HeartbeatReply term={term} round={round}")
        }
        Bound::SnapshotReply { term, last, received, installed, .. } => format!(
            "SnapshotReply term={term} last={last} received={received}{}",
            if *installed { " installed" } else { "" }
        ),
    }
}

pub(super) fn event(event: &Event) -> String {
    match event {
        Event::RoleChanged { role, term, leader, why } => {
            let leader = leader.map_or("nobody".into(), |id| format!("{id:?}"));
            format!("{} term={term} leader={leader} ({why})", role_name(*role))
        }
        Event::ConfigurationChanged { index, configuration: members } => {
            format!("configuration at {index}: {}", configuration(members))
        }
        Event::ChangeRefused { why } => format!("change refused: {why}"),
        Event::Truncated { from } => format!("truncated from {from}"),
        Event::SnapshotInstalled { last } => format!("installed snapshot {last}"),
        Event::SnapshotSent { to, last } => format!("sends snapshot {last} to {to:?}"),
        Event::DataLost { acknowledged, lost_after } => {
            format!("lost what it acknowledged: up to {acknowledged}, has {lost_after}")
        }
        Event::RebuildBegun { why } => format!("rebuilds: {why}"),
        Event::Rebuilt { commit } => format!("is rebuilt at {commit}"),
        Event::RebuildImpossible => "cannot rebuild: it votes alone".into(),
        Event::Diverged { at } => format!("has committed something else than the leader at {at}"),
        Event::PeerRebuilds { peer } => format!("hears that {peer:?} rebuilds"),
        Event::DiskRoomChanged { of, room } => format!("disk of {of:?}: {room:?}"),
        Event::LeadershipShed { to, why } => format!("hands over to {to:?}: {why}"),
        Event::SnapshotRefused { from, why } => {
            format!("refuses the snapshot of {from:?}: {why}")
        }
        Event::Compacted { upto } => format!("compacted up to {upto}"),
    }
}

pub(super) fn write(write: &Write) -> String {
    match write {
        Write::Log { hard_state, entries } => {
            let mut parts = Vec::new();
            if let Some(hard) = hard_state {
                let vote = hard.vote.map_or("none".into(), |id| format!("{id:?}"));
                parts.push(format!("term={} vote={vote} commit={}", hard.term, hard.commit));
            }
            if !entries.is_empty() {
                parts.push(format!("[{}]", list(entries)));
            }
            parts.join(" ")
        }
        Write::Snapshot { snapshot, keep_from, discard_log } => format!(
            "snapshot {} keep_from={keep_from}{}",
            snapshot.meta.last,
            if *discard_log { " discard_log" } else { "" }
        ),
    }
}

pub(super) fn list(entries: &[Entry]) -> String {
    entries.iter().map(entry).collect::<Vec<_>>().join(" ")
}

fn entry(entry: &Entry) -> String {
    match &entry.payload {
        Payload::Empty => format!("{}", entry.id),
        Payload::Command(bytes) => format!("{}={}", entry.id, String::from_utf8_lossy(bytes)),
        Payload::Configuration(members) => format!("{}={{{}}}", entry.id, configuration(members)),
    }
}

pub(super) fn configuration(of: &Configuration) -> String {
    let mut text = format!("voters={:?}", of.voters);
    if !of.outgoing.is_empty() {
        text += &format!(" outgoing={:?}", of.outgoing);
    }
    if !of.learners.is_empty() {
        text += &format!(" learners={:?}", of.learners);
    }
    text
}

pub(super) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Follower => "follower",
        Role::PreCandidate => "pre-candidate",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
    }
}
