//! R5: persisted vote and term never go back, and what a message promises is on its sender's disk
//! when it leaves.

use super::Broken;
use crate::disk::Image;
use crate::replica::Promise;
use muslin_core::base::{NodeId, Term};
use muslin_core::raft::HardState;
use std::collections::BTreeMap;

#[derive(Default)]
pub(crate) struct Promises {
    /// Who got whose vote in which term, as told on the wire.
    votes: BTreeMap<(NodeId, Term), NodeId>,
}

impl Promises {
    /// Whether a node told another on the wire that it has its vote.
    pub(crate) fn has_voted(&self, voter: NodeId, term: Term, candidate: NodeId) -> bool {
        self.votes.get(&(voter, term)) == Some(&candidate)
    }

    /// A hard state is written over another.
    pub(crate) fn on_hard_state(
        &mut self,
        node: NodeId,
        old: HardState,
        new: HardState,
    ) -> Result<(), Broken> {
        let is_older = new.term < old.term;
        let is_other_vote = new.term == old.term && old.vote.is_some() && new.vote != old.vote;
        if is_older || is_other_vote {
            return Err(Broken::new("R5", format!("{node:?} writes {new:?} over {old:?}")));
        }
        if old.rebuilding && !new.rebuilding {
            self.forget_lost_votes(node, new.term);
        }
        Ok(())
    }

    /// A node that lost its disk votes again, since in this term a majority without it took it
    /// back. What it promised in later terms before may be forgotten: whoever stands there with its
    /// vote needs one more of that majority, and each of those has either gone on to the later term
    /// and cannot have taken it back in this one, or has an entry that this candidate lacks.
    fn forget_lost_votes(&mut self, node: NodeId, term: Term) {
        self.votes.retain(|(voter, of), _| *voter != node || *of <= term);
    }

    /// A promise leaves a node whose disk holds this.
    pub(crate) fn on_send(
        &mut self,
        (from, to): (NodeId, NodeId),
        disk: &Image,
        promise: Promise,
    ) -> Result<(), Broken> {
        let hard_state = disk.hard_state;
        let term = term_of(promise);
        if hard_state.rebuilding
            && matches!(promise, Promise::Candidacy { .. } | Promise::Vote { .. })
        {
            let facts = format!("{from:?} rebuilds, and sends {promise:?} to {to:?}");
            return Err(Broken::new("R11", facts));
        }
        if hard_state.term < term {
            let facts = format!("{from:?} sends {promise:?} and its disk has {hard_state:?}");
            return Err(Broken::new("R5", facts));
        }
        match promise {
            Promise::Candidacy { .. } => self.on_vote(from, term, from, hard_state),
            Promise::Vote { .. } => self.on_vote(from, term, to, hard_state),
            // Of an older term it promises nothing any more.
            _ if hard_state.term > term => Ok(()),
            Promise::Accepted { matched, .. } => {
                if disk.last().index < matched {
                    let last = disk.last();
                    let facts =
                        format!("{from:?} acknowledges up to {matched}, its disk ends at {last}");
                    return Err(Broken::new("R3", facts));
                }
                Ok(())
            }
            Promise::Installed { last, .. } => {
                if !disk.has(last) {
                    let facts = format!("{from:?} says it installed {last}, its disk has it not");
                    return Err(Broken::new("R3", facts));
                }
                Ok(())
            }
            Promise::Entered { .. } => Ok(()),
        }
    }

    fn on_vote(
        &mut self,
        voter: NodeId,
        term: Term,
        candidate: NodeId,
        disk: HardState,
    ) -> Result<(), Broken> {
        if disk.term == term && disk.vote != Some(candidate) {
            let facts =
                format!("{voter:?} votes for {candidate:?} in {term} and its disk has {disk:?}");
            return Err(Broken::new("R5", facts));
        }
        let first = *self.votes.entry((voter, term)).or_insert(candidate);
        if first != candidate {
            let facts = format!("{voter:?} votes in {term} for {first:?} and for {candidate:?}");
            return Err(Broken::new("R5", facts));
        }
        Ok(())
    }
}

fn term_of(promise: Promise) -> Term {
    match promise {
        Promise::Candidacy { term }
        | Promise::Vote { term }
        | Promise::Accepted { term, .. }
        | Promise::Installed { term, .. }
        | Promise::Entered { term } => term,
    }
}
