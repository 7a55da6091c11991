//! Taking a leader's log (Raft 5.3).

use super::{
    AppendResult, Bound, DiskRoom, Entries, Entry, Event, Output, Payload, Raft, SessionId,
};
use crate::base::mutant::{self, Mutant};
use crate::base::{Index, LogId, NodeId, Outputs, PersistId, Term};

/// An append of the present term's leader.
pub(super) struct Append {
    pub(super) session: SessionId,
    pub(super) prev: LogId,
    pub(super) entries: Entries,
    pub(super) commit: Index,
}

/// An acknowledgement as it was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Acknowledged {
    to: NodeId,
    term: Term,
    session: SessionId,
    result: AppendResult,
    /// What it leaves behind.
    write: PersistId,
}

impl Raft {
    /// R2: entries are taken only where they continue what is here; then all before them agrees.
    pub(super) fn on_append(&mut self, from: NodeId, append: Append, out: &mut Outputs<Output>) {
        let Append { session, prev, mut entries, commit } = append;
        let result = if prev.index < self.log.base().index {
            // Everything committed here is in every leader's log (R3), so it matches.
            AppendResult::Accepted { matched: self.commit }
        } else if self.is_unfounded() || self.log.term_at(prev.index) != Some(prev.term) {
            AppendResult::Rejected { prev: prev.index, hint: self.hint(prev) }
        } else {
            let offered = entries.len();
            if self.room == DiskRoom::Full {
                let known = self.known_of(&entries);
                let fitting = match mutant::is_active(Mutant::FullFollowerAcks) {
                    true => 0,
                    false => self.reserve.take(&entries[known..]),
                };
                entries.truncate(known + fitting);
            }
            let taken = match mutant::is_active(Mutant::FullFollowerAcks) {
                true => offered,
                false => entries.len(),
            };
            let matched = Index(prev.index.0 + taken as u64);
            if !self.take(entries, out) {
                return;
            }
            // Only what this append verified, not all that is here, is known to be the leader's.
            let commit = commit.min(matched);
            if commit > self.commit {
                self.commit_to(commit, out);
            }
            AppendResult::Accepted { matched }
        };
        self.acknowledge(from, session, result, out);
    }

    /// A replica that joined an existing group has not even the state and the voters at index 0,
    /// which no entry tells: it begins with a snapshot (R6, R8), and says so by refusing the first
    /// entry.
    pub(super) fn is_unfounded(&self) -> bool {
        self.log.last() == LogId::ZERO && self.configuration().voters.is_empty()
    }

    pub(super) fn answer_heartbeat(
        &mut self,
        to: NodeId,
        session: SessionId,
        round: u64,
        out: &mut Outputs<Output>,
    ) {
        let (term, condition) = (self.term, self.condition());
        self.promise(to, Bound::HeartbeatReply { term, session, round, condition }, out);
    }

    fn acknowledge(
        &mut self,
        to: NodeId,
        session: SessionId,
        result: AppendResult,
        out: &mut Outputs<Output>,
    ) {
        let mut write = self.persist_hard_state(out);
        if let AppendResult::Accepted { matched } = result {
            write = self.disk.covering(matched);
        }
        if mutant::is_active(Mutant::AckBeforeDurable) {
            write = PersistId::ZERO;
        }
        if self.is_said_already(Acknowledged { to, term: self.term, session, result, write }) {
            return;
        }
        let term = self.term;
        let condition = self.condition();
        let reply = Bound::AppendReply { term, session, result, condition };
        out.push(Output::send_behind(write, to, reply));
    }

    /// Whether an answer to the same leader that says the same still waits for its write: one is
    /// enough. R10: an answer of another session says nothing about this one.
    fn is_said_already(&mut self, next: Acknowledged) -> bool {
        let is_same = |last: &Acknowledged| {
            let is_of_session =
                mutant::is_active(Mutant::AckOfOlderSessionKept) || last.session == next.session;
            is_of_session && *last == Acknowledged { session: last.session, ..next }
        };
        // A passive leader asks until it is told that its commit index arrived.
        let is_held = !self.disk.is_durable(next.write) && !self.is_passive();
        if is_held && self.acknowledged.as_ref().is_some_and(is_same) {
            return true;
        }
        self.acknowledged = Some(next);
        false
    }

    /// The last entry here that may agree with a log that has `prev`. What is committed does.
    fn hint(&self, prev: LogId) -> LogId {
        let term = self.log.term_at(self.commit).expect("compaction stops at what is committed");
        let committed = LogId::new(term, self.commit);
        let may_agree = self.log.last_at_most(prev.term, prev.index);
        may_agree.map_or(committed, |id| if id.index < committed.index { committed } else { id })
    }

    /// Puts the entries into the log, dropping what conflicts. False when a conflict lies below
    /// what is committed, which no correct leader sends (R3).
    pub(super) fn take(&mut self, entries: Entries, out: &mut Outputs<Output>) -> bool {
        let last = self.log.last().index;
        let known = self.known_of(&entries);
        let known = if mutant::is_active(Mutant::TruncatesKnown) { 0 } else { known };
        let Some(first) = entries.get(known) else { return true };
        let from = first.id.index;
        if from <= self.commit {
            out.push(Output::Report(Event::Diverged { at: from }));
            return false;
        }
        if from <= last {
            self.truncate(from, out);
        }
        let entries = entries.slice(known, entries.len());
        self.log.append(entries.clone());
        for entry in &entries {
            self.note_configuration(entry, out);
        }
        self.persist_entries(entries, out);
        true
    }

    /// How many of the entries, from the first on, are here.
    fn known_of(&self, entries: &[Entry]) -> usize {
        let last = self.log.last().index;
        if mutant::is_active(Mutant::NoTruncation) {
            return entries.iter().take_while(|entry| entry.id.index <= last).count();
        }
        let is_known = |entry: &&Entry| self.log.term_at(entry.id.index) == Some(entry.id.term);
        entries.iter().take_while(is_known).count()
    }

    fn truncate(&mut self, from: Index, out: &mut Outputs<Output>) {
        assert!(from > self.commit, "R3: committed entries stay");
        self.log.truncate(from);
        self.disk.forget_from(from);
        out.push(Output::Report(Event::Truncated { from }));
        if !mutant::is_active(Mutant::TruncationKeepsVoters) && self.configurations.roll_back(from)
        {
            self.report_configuration(out);
        }
    }

    fn note_configuration(&mut self, entry: &Entry, out: &mut Outputs<Output>) {
        if matches!(entry.payload, Payload::Configuration(_)) {
            self.configurations.note(entry);
            self.report_configuration(out);
        }
    }

    /// The leader names a commit index at or below `matched`, which this replica acknowledged to
    /// it.
    pub(super) fn on_heartbeat(
        &mut self,
        commit: Index,
        matched: Index,
        out: &mut Outputs<Output>,
    ) {
        let last = self.log.last().index;
        // R9: a heartbeat names nothing beyond what this replica has acknowledged as durable.
        let acknowledged = commit.max(matched);
        if acknowledged > last && !self.is_rebuilding() {
            out.push(Output::Report(Event::DataLost { acknowledged, lost_after: last }));
            self.begin_rebuild("the leader counts on entries that are not here", out);
        }
        if self.is_rebuilding() {
            // R11: what it acknowledged is gone, and another leader's entries may stand there.
            // Only an append tells what is committed.
            return;
        }
        let commit = commit.min(last);
        if commit > self.commit {
            self.commit_to(commit, out);
        }
    }
}
