//! What commands from afar were last answered, as this replica applied them.
//!
//! The leader answers when it applies a command, and the answer may be lost with it or on the way:
//! whoever asked sends the command again, and the next leader knows what it came to. No part of the
//! state: what is forgotten here is answered as done, with an answer that is not known any more.

use crate::base::NodeId;
use crate::state::Stub;
use alloc::collections::VecDeque;
use bytes::Bytes;

/// Most answers kept: commands of a few nodes that a leader took with it.
const TOLD_MAX: usize = 256;

/// Most bytes of them.
const TOLD_BYTES_MAX: usize = 256 << 10;

/// The latest answers, the oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    answers: VecDeque<((NodeId, u64, u64), Bytes)>,
    bytes: usize,
}

impl Told {
    pub(super) fn keep(&mut self, stub: Stub, answer: &Bytes) {
        if answer.len() > TOLD_BYTES_MAX {
            return;
        }
        self.bytes += answer.len();
        self.answers.push_back((name(stub), answer.clone()));
        while self.answers.len() > TOLD_MAX || self.bytes > TOLD_BYTES_MAX {
            let (_, oldest) = self.answers.pop_front().expect("there is one to forget");
            self.bytes -= oldest.len();
        }
    }

    pub(super) fn find(&self, stub: Stub) -> Option<Bytes> {
        let named = |(of, _): &&((NodeId, u64, u64), Bytes)| *of == name(stub);
        self.answers.iter().rev().find(named).map(|(_, answer)| answer.clone())
    }
}

fn name(stub: Stub) -> (NodeId, u64, u64) {
    (stub.origin, stub.boot, stub.sequence)
}
