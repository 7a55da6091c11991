//! Why a node is held to be what it is held to be.

use super::Liveness;
use crate::base::{Incarnation, NodeId, Now};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Transitions kept of each member: enough for a member that flaps a few times to be explained.
pub const TRANSITIONS_MAX: usize = 16;

/// One change of opinion about a member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transition {
    /// When this node changed its opinion, by its own clock.
    pub at: Now,
    /// What it holds from then on.
    pub state: Liveness,
    /// Of which life.
    pub incarnation: Incarnation,
    /// Who formed the opinion first: whoever probed in vain, or the member itself.
    pub by: NodeId,
    /// Whose packet brought it here; this node itself when it found out by itself.
    pub told_by: NodeId,
    /// What this node tried itself before it suspected.
    pub trail: Option<Trail>,
    /// Who probed in vain, and when this node knew: of a suspicion, and of the end it came to.
    pub accusers: Vec<Accuser>,
}

/// One who probed in vain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accuser {
    /// Who.
    pub node: NodeId,
    /// When this node knew.
    pub at: Now,
}

/// A probe that nobody answered.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trail {
    /// When the member was asked directly.
    pub direct_at: Now,
    /// When others were asked to try.
    pub indirect_at: Option<Now>,
    /// Whom.
    pub asked: Vec<NodeId>,
    /// Who of them said that they had no answer either.
    pub denied: Vec<NodeId>,
    /// When it was asked over a stream.
    pub stream_at: Option<Now>,
    /// When this node gave up.
    pub ended_at: Now,
}

/// How a member that did not answer directly was reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detour {
    /// This one reached it.
    Through(NodeId),
    /// Over a stream.
    Stream,
}

/// What a watcher of a member has to say to whoever decides about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Testimony {
    /// About whom.
    pub node: NodeId,
    /// What the watcher holds, since when, of which life, and why.
    pub transition: Transition,
}

/// The last transitions of one member.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct History {
    last: VecDeque<Transition>,
}

impl History {
    pub(super) fn push(&mut self, transition: Transition) {
        if self.last.len() == TRANSITIONS_MAX {
            self.last.pop_front();
        }
        self.last.push_back(transition);
    }

    /// One more accuser of the suspicion that runs.
    pub(super) fn add_accuser(&mut self, accuser: Accuser) {
        if let Some(last) = self.last.back_mut() {
            assert!(last.state == Liveness::Suspect, "only a suspicion has accusers to come");
            last.accusers.push(accuser);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Transition> {
        self.last.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_keeps_the_last_ones() {
        let mut history = History::default();
        for number in 0..100 {
            history.push(Transition {
                at: Now(number),
                state: Liveness::Alive,
                incarnation: Incarnation(number),
                by: NodeId(1),
                told_by: NodeId(1),
                trail: None,
                accusers: Vec::new(),
            });
        }
        assert_eq!(history.iter().count(), TRANSITIONS_MAX);
        assert_eq!(history.iter().last().map(|one| one.at), Some(Now(99)));
    }
}
