//! R1: one leader per term.

use super::Broken;
use muslin_core::base::{NodeId, Term};
use std::collections::BTreeMap;

#[derive(Default)]
pub(crate) struct Leaders {
    by_term: BTreeMap<Term, NodeId>,
}

impl Leaders {
    /// A node says that it leads.
    pub(crate) fn on_leader(&mut self, term: Term, node: NodeId) -> Result<(), Broken> {
        let first = *self.by_term.entry(term).or_insert(node);
        if first != node {
            let facts = format!("{first:?} and {node:?} both lead in term {term}");
            return Err(Broken::new("R1", facts));
        }
        Ok(())
    }

    /// How many terms had a leader.
    pub(crate) fn count(&self) -> u64 {
        self.by_term.len() as u64
    }
}
