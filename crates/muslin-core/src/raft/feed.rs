//! The log by another way: committed entries, told by any replica that has them.
//!
//! Whoever is no member of the configuration is sent nothing by the leader. It may still keep the
//! log, since what is committed is the same everywhere (R3): [`Raft::committed_after`] is what a
//! replica tells, [`Input::Fed`](super::Input::Fed) and
//! [`Input::FedSnapshot`](super::Input::FedSnapshot) are how another one takes it. Nothing of it is
//! acknowledged to the leader or counted by anybody, so no promise rests on it; to the log, the
//! disk and the state it is as if an append had come. A replica that is fed can become a learner,
//! or stop being one, at any entry: its log is a part of the leader's either way.

use super::log::Portion;
use super::replica::Part;
use super::sanity::{follows, is_sane_id, is_sane_term};
use super::{DiskRoom, Entries, Event, Output, Payload, Raft, Snapshot};
use crate::base::mutant::{self, Mutant};
use crate::base::{Index, LogId, NodeId, Outputs, PersistId, Term};
use core::time::Duration;

/// How a replica that feeds others stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// Its term.
    pub term: Term,
    /// Who leads in that term, as it knows.
    pub leader: Option<NodeId>,
    /// What it knows to be committed.
    pub commit: Index,
}

/// Committed entries.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Committed {
    /// The entry just before them.
    pub prev: LogId,
    /// Consecutive.
    pub entries: Entries,
    /// What their payloads weigh.
    pub bytes: usize,
}

/// Committed entries, or none, and how the replica stands that tells them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fed {
    /// The entry just before them.
    pub prev: LogId,
    /// Consecutive and committed.
    pub entries: Entries,
    /// How the teller stands.
    pub standing: Standing,
    /// So long a leader that is told of counts as known.
    pub patience: Duration,
}

/// The replica that tells.
impl Raft {
    /// How this replica stands.
    pub fn standing(&self) -> Standing {
        Standing { term: self.term, leader: self.leader, commit: self.commit }
    }

    /// The committed entries after one, at most so many bytes of them; one always fits. `None` when
    /// the log begins later: then a snapshot is needed.
    pub fn committed_after(&self, after: Index, bytes: usize) -> Option<Committed> {
        if after < self.log.base().index {
            return None;
        }
        let upto = match mutant::is_active(Mutant::FeedsUncommitted) {
            true => self.log.last().index,
            false => self.commit,
        };
        if after >= upto {
            return Some(Committed::default());
        }
        let prev = LogId::new(self.log.term_at(after)?, after);
        let entries = usize::try_from(upto.0 - after.0).unwrap_or(usize::MAX);
        let (entries, bytes) = self.log.gather(after.next(), Portion { entries, bytes });
        Some(Committed { prev, entries, bytes })
    }

    /// Others are being told of the log from this entry on: it is kept for them as for followers
    /// that lag, or as for those that receive a snapshot.
    pub fn keep_for_readers(&mut self, readers: Option<Readers>) {
        self.readers = readers;
    }
}

/// What those that are fed need of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Readers {
    /// The entry before the first one that any of them lacks, of those that are told entries.
    pub entries: Option<Index>,
    /// Where the snapshot ends that some of them receive.
    pub snapshot: Option<Index>,
}

/// The replica that is told.
impl Raft {
    /// The write behind which all entries up to here are on the disk.
    pub fn write_covering(&self, index: Index) -> PersistId {
        self.disk.covering(index)
    }

    /// The last entry that it knows to be committed; `None` when it has not even the beginning.
    pub fn position(&self) -> Option<LogId> {
        let term = self.log.term_at(self.commit).expect("compaction stops at what is committed");
        (!self.is_unfounded()).then(|| LogId::new(term, self.commit))
    }

    /// R3: what is committed there is committed here. What does not continue what is here is left.
    pub(super) fn on_fed(&mut self, fed: Fed, out: &mut Outputs<Output>) {
        let Fed { prev, mut entries, standing, patience } = fed;
        let committed = entries.last().map_or(Term::ZERO, |entry| entry.id.term);
        let vouched = self.vouched(standing, committed);
        if !is_sane_standing(standing) || !self.hear_of(vouched, patience, out) {
            return;
        }
        let term = standing.term;
        let is_sane = is_sane_id(prev, term) && follows(prev, &entries, term);
        if entries.is_empty() || !is_sane || self.room == DiskRoom::Full || self.is_unfounded() {
            return;
        }
        if mutant::is_active(Mutant::FeedSkipsGap) && prev.index > self.log.last().index {
            self.skip_to(prev, out);
        }
        let base = self.log.base().index;
        if prev.index < base {
            // Everything up to the base is committed here as well, and equal.
            let known = usize::try_from(base.0 - prev.index.0).unwrap_or(usize::MAX);
            if known >= entries.len() {
                return;
            }
            entries = entries.slice(known, entries.len());
        } else if self.log.term_at(prev.index) != Some(prev.term) {
            if prev.index <= self.commit {
                out.push(Output::Report(Event::Diverged { at: prev.index }));
            }
            return;
        }
        let last = entries.last().map_or(Index::ZERO, |entry| entry.id.index);
        if self.take(entries, out) && last > self.commit {
            self.commit_to(last, out);
        }
    }

    /// A state that was committed there, whole.
    pub(super) fn on_fed_snapshot(
        &mut self,
        snapshot: Snapshot,
        fed: (Standing, Duration),
        out: &mut Outputs<Output>,
    ) {
        let (standing, patience) = fed;
        let vouched = self.vouched(standing, snapshot.meta.last.term);
        if !is_sane_standing(standing) || !self.hear_of(vouched, patience, out) {
            return;
        }
        let meta = &snapshot.meta;
        let is_sane = is_sane_id(meta.last, standing.term) && !meta.configuration.voters.is_empty();
        if is_sane && self.room == DiskRoom::Room && !self.has_all_of(meta, out) {
            self.incoming = None;
            self.install(snapshot, out);
        }
    }

    /// What of it a quorum has on its disks. A term in which nobody was elected may be on no disk
    /// at all: its candidate crashes, and the group goes on in an earlier term, whose leader nobody
    /// would know who had entered the later one (R5).
    fn vouched(&self, told: Standing, committed: Term) -> Standing {
        let is_sure = told.leader.is_some() || told.term <= self.term;
        let term = if is_sure { told.term } else { committed.max(self.term).min(told.term) };
        Standing { term, ..told }
    }

    /// Takes over the teller's term, and its leader. False when this replica leads: it has all.
    fn hear_of(&mut self, told: Standing, patience: Duration, out: &mut Outputs<Output>) -> bool {
        if matches!(self.part, Part::Leader(_)) {
            return false;
        }
        let leader = told.leader.filter(|leader| *leader != self.id);
        if told.term > self.term {
            self.enter_term(told.term, leader, out);
            self.announce("told of a later term", out);
        } else if told.term == self.term && !self.hears_leader() {
            let is_news = match (self.leader, leader) {
                (None, Some(_)) => true,
                // Whoever votes asks the others itself.
                (Some(_), None) => !self.may_campaign(),
                // R1: a term has one leader.
                _ => false,
            };
            if is_news {
                self.become_follower(leader, out);
                self.announce("told who leads", out);
            }
        }
        if told.term == self.term && leader.is_some() && leader == self.leader {
            self.election_due = self.election_due.max(self.now + patience);
            self.seek_fence(out);
        }
        true
    }

    /// A planted bug: the log goes on behind a gap.
    fn skip_to(&mut self, prev: LogId, out: &mut Outputs<Output>) {
        let missing = (self.log.last().index.0 + 1..=prev.index.0).map(|index| super::Entry {
            id: LogId::new(self.log.last().term.max(Term(1)), Index(index)),
            payload: Payload::Empty,
        });
        let missing: Entries = missing.collect();
        let last = missing.last().map_or(Index::ZERO, |entry| entry.id.index);
        if self.take(missing, out) && last > self.commit {
            self.commit_to(last, out);
        }
    }
}

fn is_sane_standing(told: Standing) -> bool {
    is_sane_term(told.term)
}
