//! Who is let in: what certificates, datagrams and tickets are held against.
//!
//! A certificate of the cluster's authority says which node, and in which epoch it was given. The
//! roster knows the present epoch, the members by the record, and who was removed; the daemon keeps
//! it like the record. It decides the same for streams, datagrams, tickets and the API.
//!
//! # Over a rise of the epoch
//! Whoever lived when the epoch rose has papers of the one before, and is not cut off: the record
//! has carried it into the present epoch, and it renews as soon as it hears of that. A voter is let
//! in whatever the record says of it: the rise is an entry of the log that it follows, and a quorum
//! may hang on it. Everybody else with old papers was gone when it rose, or was removed, forgotten
//! or not: it is refused, and must be admitted again.
//!
//! # Invariants
//! - M2: the epoch never goes back.
//! - A removed node is refused from the moment the removal is applied here, whatever it shows.

use muslin_core::base::{Epoch, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

/// Removed nodes remembered; beyond it the one of the smallest id is forgotten, and the record,
/// which names it no more, keeps it out once the epoch has risen.
const REMOVED_MAX: usize = 65_536;

/// How long a node that was seen to run more than once is spoken of, and not told of again.
const COPIED_FOR: Duration = Duration::from_secs(60);

/// Nodes remembered to have run more than once; beyond it the one of the smallest id is forgotten.
const COPIED_MAX: usize = 64;

/// Who may be heard. Shared by all that listen.
#[derive(Debug)]
pub struct Roster {
    inner: RwLock<Inner>,
    copied: Mutex<BTreeMap<NodeId, Copied>>,
}

/// Two processes that were seen to be one node.
#[derive(Clone, Copy, Debug)]
struct Copied {
    since: Instant,
    /// Where the one is that is heard, and where the other.
    places: [SocketAddr; 2],
    is_told: bool,
}

/// Why a node is not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Barred {
    /// It was removed from the cluster.
    #[error("the node was removed from the cluster: its id is barred for ever")]
    Removed,
    /// Its papers are of an earlier epoch.
    #[error(
        "the node's certificate is of an earlier epoch of the cluster: it must be admitted again"
    )]
    Outdated,
}

/// What the record says of a member, as far as it matters at the door.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// It is of the present epoch: it lived when that began, or was admitted since.
    pub is_current: bool,
    /// It votes in the control group.
    pub votes: bool,
}

#[derive(Debug)]
struct Inner {
    epoch: Epoch,
    members: BTreeMap<NodeId, Standing>,
    removed: BTreeSet<NodeId>,
}

impl Roster {
    /// Begins with the epoch that the node last knew.
    pub fn new(epoch: Epoch) -> Roster {
        let (members, removed) = (BTreeMap::new(), BTreeSet::new());
        let inner = RwLock::new(Inner { epoch, members, removed });
        Roster { inner, copied: Mutex::default() }
    }

    /// A node was seen twice: heard at one address, and at another one as well.
    pub fn note_copied(&self, node: NodeId, heard: SocketAddr, other: SocketAddr) {
        let mut copied = self.copied();
        if copied.get(&node).is_some_and(|one| one.since.elapsed() < COPIED_FOR) {
            return;
        }
        let places = [heard, other];
        copied.insert(node, Copied { since: Instant::now(), places, is_told: false });
        if copied.len() > COPIED_MAX {
            copied.pop_first();
        }
    }

    /// Nodes that were seen to run more than once within the last minute, and where.
    pub fn copied_lately(&self) -> Vec<(NodeId, [SocketAddr; 2])> {
        let copied = self.copied();
        let lately = copied.iter().filter(|(_, one)| one.since.elapsed() < COPIED_FOR);
        lately.map(|(node, one)| (*node, one.places)).collect()
    }

    /// The same, those of which nobody has been told: each is given once.
    pub fn take_copied(&self) -> Vec<(NodeId, [SocketAddr; 2])> {
        let mut copied = self.copied();
        let fresh = copied.iter_mut().filter(|(_, one)| !one.is_told);
        fresh
            .map(|(node, one)| {
                one.is_told = true;
                (*node, one.places)
            })
            .collect()
    }

    fn copied(&self) -> MutexGuard<'_, BTreeMap<NodeId, Copied>> {
        self.copied.lock().expect("no holder of this lock panics")
    }

    /// The present epoch.
    pub fn epoch(&self) -> Epoch {
        self.read().epoch
    }

    /// What the record says, all at once. An epoch that is not higher changes nothing.
    pub fn set(&self, epoch: Epoch, members: BTreeMap<NodeId, Standing>) {
        let mut inner = self.write();
        inner.epoch = inner.epoch.max(epoch);
        inner.members = members;
    }

    /// The epoch is at least this.
    pub fn raise(&self, epoch: Epoch) {
        let mut inner = self.write();
        inner.epoch = inner.epoch.max(epoch);
    }

    /// Bars a node.
    pub fn remove(&self, node: NodeId) {
        let mut inner = self.write();
        inner.members.remove(&node);
        inner.removed.insert(node);
        if inner.removed.len() > REMOVED_MAX {
            inner.removed.pop_first();
        }
    }

    /// A node that has a route is no removed one.
    pub fn restore(&self, node: NodeId) {
        if self.is_removed(node) {
            self.write().removed.remove(&node);
        }
    }

    /// Whether a node was removed.
    pub fn is_removed(&self, node: NodeId) -> bool {
        self.read().removed.contains(&node)
    }

    /// Whether a node that shows papers of this epoch is let in.
    pub fn check(&self, node: NodeId, epoch: Epoch) -> Result<(), Barred> {
        let inner = self.read();
        if inner.removed.contains(&node) {
            return Err(Barred::Removed);
        }
        let standing = inner.members.get(&node);
        let is_let_in = standing.is_some_and(|member| member.is_current || member.votes);
        if epoch >= inner.epoch || is_let_in { Ok(()) } else { Err(Barred::Outdated) }
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().expect("no holder of this lock panics")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Epoch = Epoch(5);
    const OLD: Epoch = Epoch(4);
    const VOTER: NodeId = NodeId(1);
    const LIVED: NodeId = NodeId(2);
    const GONE: NodeId = NodeId(3);
    const STRANGER: NodeId = NodeId(4);

    /// After a rise over which one lived, one voted, and one was gone.
    fn roster() -> Roster {
        let roster = Roster::new(OLD);
        let standing = |is_current, votes| Standing { is_current, votes };
        let members = [
            (VOTER, standing(false, true)),
            (LIVED, standing(true, false)),
            (GONE, standing(false, false)),
        ];
        roster.set(NOW, members.into());
        roster
    }

    #[test]
    fn whoever_lived_over_a_rise_is_let_in_and_whoever_was_gone_is_not() {
        let roster = roster();
        for node in [VOTER, LIVED] {
            assert_eq!(roster.check(node, OLD), Ok(()));
        }
        for node in [GONE, STRANGER] {
            assert_eq!(roster.check(node, OLD), Err(Barred::Outdated));
        }
        assert_eq!(roster.check(STRANGER, NOW), Ok(()), "one admitted while this was away");
    }

    #[test]
    fn a_node_that_runs_twice_is_told_of_once_and_spoken_of_for_a_while() {
        let roster = roster();
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        for _ in 0..3 {
            roster.note_copied(LIVED, at(1), at(2));
        }
        assert_eq!(roster.take_copied(), [(LIVED, [at(1), at(2)])]);
        roster.note_copied(LIVED, at(1), at(3));
        assert_eq!(roster.take_copied(), []);
        assert_eq!(roster.copied_lately(), [(LIVED, [at(1), at(2)])]);
        for id in 100..100 + 2 * COPIED_MAX as u64 {
            roster.note_copied(NodeId(id), at(1), at(2));
        }
        assert_eq!(roster.copied_lately().len(), COPIED_MAX);
    }

    #[test]
    fn a_removed_node_is_refused_at_once_whatever_it_shows() {
        let roster = roster();
        roster.remove(LIVED);
        for epoch in [OLD, NOW, Epoch(9)] {
            assert_eq!(roster.check(LIVED, epoch), Err(Barred::Removed));
        }
        roster.raise(Epoch(2));
        assert_eq!(roster.epoch(), NOW, "M2: it does not go back");
    }
}
