//! Who is let in: what certificates, datagrams and tickets are held against.
//!
//! A certificate of the cluster's authority says which node, and in which epoch it was given. The
//! roster knows the present epoch, the members by the record, and who was removed; the daemon keeps
//! it like the record. It decides the same for streams, datagrams, tickets and the API.
//!
//! # Over a rise of the epoch
//! Whoever was there when the epoch rose has papers of the one before, and is not cut off: members
//! are let in with them for [`EPOCH_GRACE`], in which they renew (as soon as they hear of it). A
//! voter is let in whenever it comes: the rise is an entry of the log that it follows, and a quorum
//! may hang on it. Everybody else with old papers, and whoever the record does not name (the
//! removed, forgotten or not), is refused, and must be admitted again.
//!
//! # Invariants
//! - M2: the epoch never goes back.
//! - A removed node is refused from the moment the removal is applied here, whatever it shows.

use crate::identity::{Ticket, TicketKey};
use muslin_core::base::{Epoch, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

/// How long after a rise of the epoch members with older papers are let in: many times what a
/// renewal takes, so that a link that is cut for some seconds costs nobody an admission.
pub const EPOCH_GRACE: Duration = Duration::from_secs(60);

/// Removed nodes remembered; beyond it the one of the smallest id is forgotten, and the record,
/// which names it no more, keeps it out once the epoch has risen.
const REMOVED_MAX: usize = 65_536;

/// Who may be heard. Shared by all that listen.
#[derive(Debug)]
pub struct Roster {
    inner: RwLock<Inner>,
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
    /// It votes in the control group.
    pub votes: bool,
}

#[derive(Debug)]
struct Inner {
    epoch: Epoch,
    /// The last rise, if this process has seen one, and how long members may take to renew.
    risen: Option<Instant>,
    grace: Duration,
    members: BTreeMap<NodeId, Standing>,
    removed: BTreeSet<NodeId>,
}

impl Roster {
    /// Begins with the epoch that the node last knew.
    pub fn new(epoch: Epoch) -> Roster {
        Roster::with_grace(epoch, EPOCH_GRACE)
    }

    /// The same with another time for renewals.
    pub fn with_grace(epoch: Epoch, grace: Duration) -> Roster {
        let (members, removed) = (BTreeMap::new(), BTreeSet::new());
        Roster { inner: RwLock::new(Inner { epoch, risen: None, grace, members, removed }) }
    }

    /// The present epoch.
    pub fn epoch(&self) -> Epoch {
        self.read().epoch
    }

    /// The epoch has risen. What is not higher changes nothing.
    pub fn raise(&self, epoch: Epoch) {
        let mut inner = self.write();
        if epoch > inner.epoch {
            inner.epoch = epoch;
            inner.risen = Some(Instant::now());
        }
    }

    /// The members by the record.
    pub fn set_members(&self, members: BTreeMap<NodeId, Standing>) {
        self.write().members = members;
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
        if epoch >= inner.epoch {
            return Ok(());
        }
        let in_grace = inner.risen.is_some_and(|risen| risen.elapsed() < inner.grace);
        match inner.members.get(&node) {
            Some(standing) if standing.votes || in_grace => Ok(()),
            _ => Err(Barred::Outdated),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().expect("no holder of this lock panics")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().expect("no holder of this lock panics")
    }
}

/// Holds what nodes say of themselves against their tickets.
#[derive(Clone, Debug)]
pub struct TicketGate {
    key: TicketKey,
    roster: std::sync::Arc<Roster>,
}

impl TicketGate {
    /// For tickets of the authority with this key.
    pub fn new(key: TicketKey, roster: std::sync::Arc<Roster>) -> TicketGate {
        TicketGate { key, roster }
    }

    /// The ticket, if it lets this node in at this time.
    pub fn check(&self, node: NodeId, ticket: &[u8], unix_ms: u64) -> Option<Ticket> {
        let ticket = self.key.open(ticket).ok()?;
        let holds = ticket.node == node
            && unix_ms < ticket.expires_unix_ms
            && self.roster.check(node, ticket.epoch).is_ok();
        holds.then_some(ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{FIRST_EPOCH, Identity, NodeSubject, SignedRequest, SigningRequest};
    use std::sync::Arc;

    const NOW: Epoch = Epoch(5);
    const OLD: Epoch = Epoch(4);
    const VOTER: NodeId = NodeId(1);
    const WORKER: NodeId = NodeId(2);
    const STRANGER: NodeId = NodeId(3);

    fn roster(grace: Duration) -> Roster {
        let roster = Roster::with_grace(OLD, grace);
        let standing = |votes| Standing { votes };
        roster.set_members([(VOTER, standing(true)), (WORKER, standing(false))].into());
        roster.raise(NOW);
        roster
    }

    #[test]
    fn members_have_time_to_renew_and_voters_all_they_need() {
        let during = roster(Duration::from_secs(3_600));
        let after = roster(Duration::ZERO);
        for roster in [&during, &after] {
            assert_eq!(roster.check(STRANGER, NOW), Ok(()), "one admitted while this was away");
            assert_eq!(roster.check(STRANGER, OLD), Err(Barred::Outdated));
            assert_eq!(roster.check(VOTER, Epoch(1)), Ok(()));
        }
        assert_eq!(during.check(WORKER, OLD), Ok(()));
        assert_eq!(after.check(WORKER, OLD), Err(Barred::Outdated));
        assert_eq!(after.check(WORKER, NOW), Ok(()));
    }

    #[test]
    fn a_start_with_a_risen_epoch_gives_nobody_time() {
        let roster = Roster::new(NOW);
        roster.set_members([(WORKER, Standing { votes: false })].into());
        roster.raise(NOW);
        assert_eq!(roster.check(WORKER, OLD), Err(Barred::Outdated));
    }

    #[test]
    fn a_removed_node_is_refused_at_once_whatever_it_shows() {
        let roster = roster(Duration::from_secs(3_600));
        roster.remove(WORKER);
        for epoch in [OLD, NOW, Epoch(9)] {
            assert_eq!(roster.check(WORKER, epoch), Err(Barred::Removed));
        }
        roster.raise(Epoch(2));
        assert_eq!(roster.epoch(), NOW, "M2: it does not go back");
    }

    #[test]
    fn a_ticket_holds_for_its_node_its_time_and_its_epoch() {
        let founder = Identity::found("test", VOTER, &[]).unwrap();
        let request = SigningRequest::generate(founder.cluster, WORKER).unwrap();
        let signed = SignedRequest::parse(&request.csr_pem).unwrap();
        let subject = NodeSubject { node: WORKER, epoch: FIRST_EPOCH, addresses: &[] };
        let ticket = founder.issue(("w", &[]), subject, &signed).unwrap().ticket;
        let roster = Arc::new(Roster::new(FIRST_EPOCH));
        let gate = TicketGate::new(founder.ticket_key().unwrap(), roster.clone());
        let present = 1;
        assert!(gate.check(WORKER, &ticket, present).is_some_and(|one| one.is_of("w", &[])));
        assert_eq!(gate.check(VOTER, &ticket, present), None, "another node's");
        assert_eq!(gate.check(WORKER, &ticket, u64::MAX), None, "expired");
        assert_eq!(gate.check(WORKER, &[], present), None, "none");
        roster.raise(Epoch(2));
        assert_eq!(gate.check(WORKER, &ticket, present), None, "of the epoch before");
        roster.set_members([(WORKER, Standing { votes: false })].into());
        assert!(gate.check(WORKER, &ticket, present).is_some(), "in its time to renew");
        roster.remove(WORKER);
        assert_eq!(gate.check(WORKER, &ticket, present), None, "removed");
    }
}
