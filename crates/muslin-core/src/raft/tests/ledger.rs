//! What must hold whatever happens, checked at every step of every test (R1 to R7).

use crate::base::{Index, LogId, NodeId, Term};
use crate::raft::{Configuration, Entry, Event, HardState, Payload, Raft, Role};
use std::collections::BTreeMap;
use std::vec::Vec;

/// What the whole cluster has agreed on so far.
#[derive(Default)]
pub(super) struct Ledger {
    leaders: BTreeMap<Term, NodeId>,
    committed: BTreeMap<Index, Entry>,
    hard_states: BTreeMap<NodeId, HardState>,
}

impl Ledger {
    /// The highest index anyone has handed out.
    pub(super) fn highest(&self) -> Index {
        self.committed.last_key_value().map_or(Index::ZERO, |(index, _)| *index)
    }

    /// The committed entry at an index.
    pub(super) fn name_of(&self, index: Index) -> LogId {
        self.committed[&index].id
    }

    /// The commands committed up to an index.
    pub(super) fn commands_upto(&self, last: Index) -> Vec<&Payload> {
        self.committed.range(..=last).map(|(_, entry)| &entry.payload).collect()
    }

    pub(super) fn reported(&mut self, id: NodeId, raft: &Raft, event: &Event) {
        if let Event::RoleChanged { role: Role::Leader, term, .. } = event {
            let leader = *self.leaders.entry(*term).or_insert(id);
            assert_eq!(leader, id, "R1: two leaders in term {term}");
            self.is_complete(id, raft);
        }
    }

    /// R3: a new leader's log has every committed entry.
    fn is_complete(&self, id: NodeId, raft: &Raft) {
        for (index, entry) in self.committed.range(raft.first_index()..) {
            assert_eq!(
                raft.term_at(*index),
                Some(entry.id.term),
                "R3: {id:?} leads without {index}"
            );
        }
    }

    /// `has` tells whether a node's disk holds an entry.
    pub(super) fn handed_out(
        &mut self,
        raft: &Raft,
        entries: &[Entry],
        has: impl Fn(NodeId, LogId) -> bool,
    ) {
        for entry in entries {
            let known = self.committed.entry(entry.id.index).or_insert_with(|| entry.clone());
            assert_eq!(known, entry, "R3: a committed entry changed");
        }
        let Some(last) = entries.last() else { return };
        if raft.role() == Role::Leader {
            let configuration: &Configuration = raft.configuration();
            assert!(
                configuration.is_quorum(|id| has(id, last.id)),
                "R3, R9: {} is called committed and is not on a quorum of disks",
                last.id
            );
            assert_eq!(last.id.term, raft.term(), "R4: a leader commits by counting its own term");
        }
    }

    pub(super) fn persisted(&mut self, id: NodeId, next: HardState) {
        let last = self.hard_states.entry(id).or_default();
        assert!(next.term >= last.term, "R5: {id:?} went back to term {}", next.term);
        if next.term == last.term && last.vote.is_some() {
            assert_eq!(next.vote, last.vote, "R5: {id:?} voted twice in term {}", next.term);
        }
        assert!(next.commit >= last.commit, "R5: {id:?} took its commit mark back");
        *last = next;
    }

    /// The disk was replaced by an empty one.
    pub(super) fn forget(&mut self, id: NodeId) {
        self.hard_states.remove(&id);
    }
}
