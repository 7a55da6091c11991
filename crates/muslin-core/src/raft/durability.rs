//! What was asked of the disk, and what the disk has.
//!
//! R9: a promise leaves only behind the write that makes it true. Everything that is written by a
//! replica is issued here, so this is where the numbers of writes come from, and where it is known
//! which write a promise about a given entry must wait for.

use super::replica::{Part, Raft};
use super::{Entries, Event, HardState, Output, Snapshot, Write};
use crate::base::mutant::{self, Mutant};
use crate::base::{Index, NodeId, Now, Outputs, PersistId, Term};
use alloc::collections::VecDeque;

/// The replica's account of its disk.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    /// The last write issued; numbers begin at 1, `ZERO` is durable from the start.
    issued: PersistId,
    /// The last write known to be durable.
    durable: PersistId,
    /// The write with the present term and vote: what a promise about the term waits for.
    hard_write: PersistId,
    /// Term or vote differ from what was last issued.
    hard_dirty: bool,
    /// Hard state as last issued.
    hard_issued: HardState,
    /// Writes under way that reach up to an index. Both columns go up.
    log_writes: VecDeque<(PersistId, Index)>,
    /// All entries up to here are on the disk as they are in memory.
    durable_index: Index,
    /// When a write last became durable, or the first of those under way was issued.
    moved: Now,
}

impl Disk {
    /// As found at the start: everything recovered is durable.
    pub(super) fn recovered(hard_state: HardState, last: Index) -> Disk {
        Disk {
            issued: PersistId::ZERO,
            durable: PersistId::ZERO,
            hard_write: PersistId::ZERO,
            hard_dirty: false,
            hard_issued: hard_state,
            log_writes: VecDeque::new(),
            durable_index: last,
            moved: Now::START,
        }
    }

    /// All entries up to here are on this replica's disk.
    pub(super) fn durable_index(&self) -> Index {
        self.durable_index
    }

    /// Since when entries have waited without any write becoming durable.
    pub(super) fn stalled_since(&self) -> Option<Now> {
        (!self.log_writes.is_empty()).then_some(self.moved)
    }

    /// Whether this write is done.
    pub(super) fn is_durable(&self, id: PersistId) -> bool {
        id <= self.durable
    }

    /// Term or vote changed: they must be written before anything is promised about them.
    pub(super) fn mark_hard_state(&mut self) {
        self.hard_dirty = true;
    }

    /// The write behind which a promise about the entries up to `index` may leave.
    pub(super) fn covering(&self, index: Index) -> PersistId {
        debug_assert!(!self.hard_dirty, "R5: the term is issued before promises are built");
        let place = self.log_writes.partition_point(|(_, reach)| *reach < index);
        let write = self.log_writes.get(place).map_or(PersistId::ZERO, |(id, _)| *id);
        write.max(self.hard_write)
    }

    /// The entries from `from` on are replaced: writes issued before no longer make them durable.
    pub(super) fn forget_from(&mut self, from: Index) {
        let kept = Index(from.0 - 1);
        self.durable_index = self.durable_index.min(kept);
        for (_, reach) in self.log_writes.iter_mut().rev().take_while(|(_, reach)| *reach > kept) {
            *reach = kept;
        }
    }

    fn issue(&mut self) -> PersistId {
        self.issued = self.issued.next();
        self.issued
    }
}

impl Raft {
    /// Issues term and vote if they changed; the write that has them.
    pub(super) fn persist_hard_state(&mut self, out: &mut Outputs<Output>) -> PersistId {
        if self.disk.hard_dirty {
            let hard_state = self.take_hard_state();
            let id = self.disk.issue();
            self.disk.hard_write = id;
            self.disk.hard_dirty = false;
            let write = Write::Log { hard_state: Some(hard_state), entries: Entries::new() };
            out.push(Output::Persist { id, write });
        }
        self.disk.hard_write
    }

    /// Issues entries that end the log, with the hard state when it changed.
    pub(super) fn persist_entries(&mut self, entries: Entries, out: &mut Outputs<Output>) {
        let last = entries.last().expect("a log write has entries").id.index;
        debug_assert!(last == self.log.last().index, "entries are written as they stand in memory");
        let id = self.disk.issue();
        let mut hard_state = None;
        if self.disk.hard_dirty || self.commit_mark() > self.disk.hard_issued.commit {
            hard_state = Some(self.take_hard_state());
        }
        if self.disk.hard_dirty {
            self.disk.hard_write = id;
            self.disk.hard_dirty = false;
        }
        if self.disk.log_writes.is_empty() {
            self.disk.moved = self.now;
        }
        self.disk.log_writes.push_back((id, last));
        out.push(Output::Persist { id, write: Write::Log { hard_state, entries } });
    }

    /// Issues a snapshot that replaces the log up to its end, which is what the leader sent.
    pub(super) fn persist_installed(&mut self, snapshot: Snapshot, out: &mut Outputs<Output>) {
        self.persist_hard_state(out);
        let id = self.disk.issue();
        let last = snapshot.meta.last.index;
        self.disk.log_writes.push_back((id, last));
        let discard_log = !mutant::is_active(Mutant::InstallKeepsLog);
        let write = Write::Snapshot { snapshot, keep_from: last.next(), discard_log };
        out.push(Output::Persist { id, write });
    }

    /// The snapshot that was saved off the path of the writes is there: the log may shrink. One
    /// installed meanwhile ends later, and has shrunk it already.
    pub(super) fn on_saved(&mut self, index: Index, out: &mut Outputs<Output>) {
        if let Some((last, keep_from)) = self.saving.take_if(|(last, _)| *last == index) {
            // A receiver of a snapshot may have come to need more since it was issued.
            self.compact(keep_from.min(self.keep_from(last)), out);
        }
    }

    /// A write, and all before it, is on stable storage.
    pub(super) fn on_persisted(&mut self, id: PersistId, out: &mut Outputs<Output>) {
        assert!(id <= self.disk.issued, "R9: only what was issued becomes durable");
        if id <= self.disk.durable {
            return;
        }
        self.disk.durable = id;
        self.disk.moved = self.now;
        while let Some(reach) = pop_done(&mut self.disk.log_writes, id) {
            self.disk.durable_index = self.disk.durable_index.max(reach);
        }
        match &self.part {
            Part::Candidate { .. } => self.count_own_vote(out),
            Part::Leader(_) => self.is_flush_due = true,
            Part::Follower | Part::PreCandidate { .. } => {}
        }
    }

    fn compact(&mut self, keep_from: Index, out: &mut Outputs<Output>) {
        let upto = Index(keep_from.0.saturating_sub(1));
        if upto <= self.log.base().index {
            return;
        }
        assert!(upto <= self.applied, "R3: only what a snapshot holds is compacted");
        self.log.compact(upto);
        self.configurations.forget_before(self.applied);
        out.push(Output::Report(Event::Compacted { upto }));
    }

    /// What is safe to call committed in a write: committed, and on this disk before the write is.
    /// A recovered log that ends earlier is damaged, not torn.
    pub(super) fn commit_mark(&self) -> Index {
        self.commit.min(self.disk.durable_index)
    }

    fn take_hard_state(&mut self) -> HardState {
        let next = self.hard_state();
        let issued = self.disk.hard_issued;
        assert!(is_forward((issued.term, issued.vote), (next.term, next.vote)), "R5");
        // A write under way may have been issued by a longer log: the mark itself never goes back.
        let commit = next.commit.max(issued.commit);
        self.disk.hard_issued = HardState { commit, ..next };
        if mutant::is_active(Mutant::VoteNotPersisted) {
            return HardState { vote: None, ..self.disk.hard_issued };
        }
        self.disk.hard_issued
    }
}

/// The first of the writes under way, if it is done.
fn pop_done(under_way: &mut VecDeque<(PersistId, Index)>, durable: PersistId) -> Option<Index> {
    let (id, index) = *under_way.front()?;
    if id > durable {
        return None;
    }
    under_way.pop_front();
    Some(index)
}

/// R5: terms go up, and within one a vote is given once.
fn is_forward(from: (Term, Option<NodeId>), to: (Term, Option<NodeId>)) -> bool {
    to.0 > from.0 || (to.0 == from.0 && (from.1.is_none() || from.1 == to.1))
}
