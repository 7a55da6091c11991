//! The log in memory, from which raft-rs reads what it sends and applies.

use crate::words;
use muslin_core::base::NodeId;
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError, util};
use std::cell::Cell;
use std::collections::VecDeque;

/// What a replica of raft-rs reads back: all it has issued, durable or not.
pub(crate) struct Log {
    pub(crate) hard_state: HardState,
    /// Who votes as of the snapshot it started from.
    pub(crate) voters: ConfState,
    /// Index and term of the entry before the first one here.
    pub(crate) base: (u64, u64),
    pub(crate) entries: VecDeque<Entry>,
    /// For peers that need what is gone.
    pub(crate) snapshot: Option<Snapshot>,
    /// A peer needs one, and there is none.
    pub(crate) is_snapshot_wanted: Cell<bool>,
}

impl Log {
    /// Entries at indexes that exist replace them and all after them.
    pub(crate) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(first.index > self.base.0, "what is compacted is never written again");
        self.entries.truncate((first.index - self.base.0 - 1) as usize);
        assert_eq!(first.index, self.last() + 1, "a log has no gaps");
        self.entries.extend(entries.iter().cloned());
    }

    /// Forgets entries up to and with this one; its term stays known.
    pub(crate) fn compact(&mut self, upto: u64) {
        if upto <= self.base.0 {
            return;
        }
        let term = self.term(upto).expect("what is applied is in the log");
        self.entries.drain(..(upto - self.base.0) as usize);
        self.base = (upto, term);
    }

    /// A snapshot replaces the log.
    pub(crate) fn restart(&mut self, snapshot: Snapshot) {
        let meta = snapshot.get_metadata();
        self.base = (meta.index, meta.term);
        self.entries.clear();
        self.snapshot = Some(snapshot);
    }

    fn last(&self) -> u64 {
        self.base.0 + self.entries.len() as u64
    }
}

impl Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.voters.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.base.0 {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        let place = |index: u64| (index - self.base.0 - 1) as usize;
        let asked = self.entries.range(place(low)..place(high));
        let mut entries: Vec<Entry> = asked.cloned().collect();
        util::limit_size(&mut entries, max_size.into());
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.base.0 {
            return Ok(self.base.1);
        }
        let place = index.checked_sub(self.base.0 + 1);
        let place = place.ok_or(raft::Error::Store(StorageError::Compacted))?;
        let entry = self.entries.get(place as usize);
        entry.map(|entry| entry.term).ok_or(raft::Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.base.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    /// Of where the peer is a member: no replica takes one that does not name it.
    fn snapshot(&self, at_least: u64, to: u64) -> raft::Result<Snapshot> {
        let serves = |snapshot: &&Snapshot| {
            let meta = snapshot.get_metadata();
            let members = words::configuration_of(meta.get_conf_state()).members();
            meta.index >= at_least.max(self.base.0) && members.contains(&NodeId(to))
        };
        match self.snapshot.as_ref().filter(serves) {
            Some(snapshot) => Ok(snapshot.clone()),
            None => {
                self.is_snapshot_wanted.set(true);
                Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable))
            }
        }
    }
}
