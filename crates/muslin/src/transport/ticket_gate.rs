//! Who may be believed to be a member, by the ticket in its own words.

use super::Roster;
use crate::identity::{Ticket, TicketKey};
use bytes::Bytes;
use muslin_core::base::NodeId;
use muslin_core::swim::Gate;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Holds what nodes say of themselves against their tickets.
#[derive(Clone, Debug)]
pub struct TicketGate {
    key: TicketKey,
    roster: Arc<Roster>,
}

impl TicketGate {
    /// For tickets of the authority with this key.
    pub fn new(key: TicketKey, roster: Arc<Roster>) -> TicketGate {
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

impl Gate for TicketGate {
    fn admits(&mut self, node: NodeId, ticket: &Bytes) -> bool {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        self.check(node, ticket, unix_ms).is_some()
    }

    fn boxed(&self) -> Box<dyn Gate> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{FIRST_EPOCH, Identity, NodeSubject, SignedRequest, SigningRequest};
    use crate::transport::Standing;
    use muslin_core::base::Epoch;

    const VOTER: NodeId = NodeId(1);
    const LIVED: NodeId = NodeId(2);

    #[test]
    fn a_ticket_holds_for_its_node_its_time_and_its_epoch() {
        let founder = Identity::found("test", VOTER, &[]).unwrap();
        let request = SigningRequest::generate(founder.cluster, LIVED).unwrap();
        let signed = SignedRequest::parse(&request.csr_pem).unwrap();
        let subject = NodeSubject { node: LIVED, epoch: FIRST_EPOCH, addresses: &[] };
        let ticket = founder.issue(("w", &[]), subject, &signed).unwrap().ticket;
        let roster = Arc::new(Roster::new(FIRST_EPOCH));
        let gate = TicketGate::new(founder.ticket_key().unwrap(), roster.clone());
        let present = 1;
        assert!(gate.check(LIVED, &ticket, present).is_some_and(|one| one.is_of("w", &[])));
        assert_eq!(gate.check(VOTER, &ticket, present), None, "another node's");
        assert_eq!(gate.check(LIVED, &ticket, u64::MAX), None, "expired");
        assert_eq!(gate.check(LIVED, &[], present), None, "none");
        roster.raise(Epoch(2));
        assert_eq!(gate.check(LIVED, &ticket, present), None, "of the epoch before");
        let carried = Standing { is_current: true, votes: false };
        roster.set(Epoch(2), [(LIVED, carried)].into());
        assert!(gate.check(LIVED, &ticket, present).is_some(), "it lived over the rise");
        roster.remove(LIVED);
        assert_eq!(gate.check(LIVED, &ticket, present), None, "removed");
    }
}
