//! What no correct peer sends. Refused before anything is believed, so that the asserts of this
//! module speak about our own bugs alone.

use super::{AppendResult, Bound, Entry, Message, Payload, Unbound};
use crate::base::{Index, LogId, Term};

/// No group lives to see this term: even one election each nanosecond takes a century.
const TERM_MAX: Term = Term(1 << 62);

/// No group lives to see this index.
const INDEX_MAX: Index = Index(1 << 62);

/// The term a message is of (for a pre-vote: asks about).
pub(super) fn term_of(message: &Message) -> Term {
    match message {
        Message::Unbound(message) => match message {
            Unbound::PreVote { term, .. }
            | Unbound::PreVoteReply { term, .. }
            | Unbound::Append { term, .. }
            | Unbound::Heartbeat { term, .. }
            | Unbound::SnapshotChunk { term, .. }
            | Unbound::TimeoutNow { term }
            | Unbound::ReadIndex { term, .. }
            | Unbound::ReadIndexReply { term, .. } => *term,
        },
        Message::Bound(message) => match message {
            Bound::Vote { term, .. }
            | Bound::VoteReply { term, .. }
            | Bound::AppendReply { term, .. }
            | Bound::HeartbeatReply { term, .. }
            | Bound::SnapshotReply { term, .. } => *term,
        },
    }
}

/// Whether a correct peer could have sent this.
pub(super) fn is_sane(message: &Message) -> bool {
    let term = term_of(message);
    if !is_sane_term(term) {
        return false;
    }
    match message {
        Message::Unbound(message) => match message {
            Unbound::Append { prev, entries, commit, .. } => {
                is_sane_id(*prev, term) && *commit <= INDEX_MAX && follows(*prev, entries, term)
            }
            Unbound::Heartbeat { commit, .. } => *commit <= INDEX_MAX,
            Unbound::SnapshotChunk { meta, offset, total, data, .. } => {
                let end = offset.checked_add(data.len() as u64);
                is_sane_id(meta.last, term)
                    && !meta.configuration.voters.is_empty()
                    && end.is_some_and(|end| end <= *total)
            }
            Unbound::ReadIndexReply { index, .. } => index.is_none_or(|index| index <= INDEX_MAX),
            Unbound::PreVote { last, .. } => is_sane_id(*last, term),
            Unbound::PreVoteReply { .. }
            | Unbound::TimeoutNow { .. }
            | Unbound::ReadIndex { .. } => true,
        },
        Message::Bound(message) => match message {
            Bound::Vote { last, .. } => is_sane_id(*last, term),
            Bound::AppendReply { result, .. } => match result {
                AppendResult::Accepted { matched } => *matched <= INDEX_MAX,
                AppendResult::Rejected { prev, hint } => {
                    *prev <= INDEX_MAX && hint.index <= INDEX_MAX
                }
            },
            Bound::VoteReply { .. }
            | Bound::HeartbeatReply { .. }
            | Bound::SnapshotReply { .. } => true,
        },
    }
}

pub(super) fn is_sane_term(term: Term) -> bool {
    term > Term::ZERO && term <= TERM_MAX
}

pub(super) fn is_sane_id(id: LogId, term: Term) -> bool {
    id.index <= INDEX_MAX && id.term <= term && (id.index == Index::ZERO) == (id.term == Term::ZERO)
}

/// Whether the entries continue `prev` without a gap and without a step back, up to `term`.
pub(super) fn follows(prev: LogId, entries: &[Entry], term: Term) -> bool {
    let mut last = prev;
    entries.iter().all(|entry| {
        let is_next = entry.id.index == last.index.next()
            && entry.id.term >= last.term.max(Term(1))
            && entry.id.term <= term;
        last = entry.id;
        is_next && has_voters(&entry.payload)
    })
}

fn has_voters(payload: &Payload) -> bool {
    match payload {
        Payload::Configuration(configuration) => !configuration.voters.is_empty(),
        Payload::Empty | Payload::Command(_) => true,
    }
}
