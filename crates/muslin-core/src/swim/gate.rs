//! Who may be believed to be a member (M3).

use crate::base::NodeId;
use alloc::boxed::Box;
use bytes::Bytes;
use core::fmt::Debug;

/// Largest ticket.
pub const TICKET_BYTES_MAX: usize = 256;

/// Decides whether a node was admitted, by the ticket in its own words.
///
/// Pure: it neither waits nor asks the world, and says the same of the same ticket until what it
/// knows has changed. It is asked only when a ticket differs from the one that let the node in, so
/// that a signature is checked once and not with each rumor.
pub trait Gate: Debug + Send + Sync {
    /// Whether this ticket, empty when the node showed none, is valid and this node's.
    fn admits(&mut self, node: NodeId, ticket: &Bytes) -> bool;

    /// A copy of it.
    fn boxed(&self) -> Box<dyn Gate>;
}

impl Clone for Box<dyn Gate> {
    fn clone(&self) -> Box<dyn Gate> {
        self.as_ref().boxed()
    }
}

/// Lets everybody in: for membership alone, where whoever has the gossip key is a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OpenGate;

impl Gate for OpenGate {
    fn admits(&mut self, _: NodeId, _: &Bytes) -> bool {
        true
    }

    fn boxed(&self) -> Box<dyn Gate> {
        Box::new(*self)
    }
}
