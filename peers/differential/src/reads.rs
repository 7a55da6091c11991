//! Reads that wait for their index.

use crate::bug::{Bug, is_planted};
use muslin_core::base::{Index, NodeId, Outputs};
use muslin_core::raft::ReadId;
use muslin_sim::Output;
use raft::ReadState;
use raft::eraftpb::Message;
use std::collections::VecDeque;

/// Reads asked of raft-rs under contexts that no other process ever uses.
pub(crate) struct Reads {
    process: u64,
    waiting: VecDeque<Waiting>,
}

/// Contexts of a node with [`Bug::ReadIdReused`].
const REUSED: u64 = 8;

struct Waiting {
    id: ReadId,
    context: Vec<u8>,
    /// The tick after which nobody expects an answer.
    due: u64,
}

type Out = Outputs<Output<Message>>;

impl Reads {
    /// With a number drawn for the process: contexts must differ between lives, since answers to
    /// the one before may come late.
    pub(crate) fn of_process(drawn: u64) -> Reads {
        Reads { process: drawn, waiting: VecDeque::new() }
    }

    /// The context for a read of a node.
    pub(crate) fn ask(&mut self, node: NodeId, id: ReadId, due: u64) -> Vec<u8> {
        let words = match is_planted(Bug::ReadIdReused) {
            true => [node.0, 0, id.0 % REUSED],
            false => [node.0, self.process, id.0],
        };
        let context: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        self.waiting.push_back(Waiting { id, context: context.clone(), due });
        context
    }

    /// An index for one of them, or for one that nobody waits for.
    pub(crate) fn on_answer(&mut self, state: &ReadState, out: &mut Out) {
        let asked = self.waiting.iter().position(|it| it.context == state.request_ctx);
        let Some(read) = asked.and_then(|place| self.waiting.remove(place)) else { return };
        let is_hasty = is_planted(Bug::ReadBeforeApplied);
        let index = if is_hasty { Index::ZERO } else { Index(state.index) };
        out.push(Output::ReadReady { id: read.id, index });
    }

    /// Those that were asked too long ago: raft-rs says nothing when a question is lost.
    pub(crate) fn fail_old(&mut self, ticks: u64, out: &mut Out) {
        while self.waiting.front().is_some_and(|read| read.due <= ticks)
            && let Some(read) = self.waiting.pop_front()
        {
            out.push(Output::ReadFailed { id: read.id });
        }
    }

    /// Whoever was asked leads no longer.
    pub(crate) fn fail_all(&mut self, out: &mut Out) {
        for read in self.waiting.drain(..) {
            out.push(Output::ReadFailed { id: read.id });
        }
    }
}
