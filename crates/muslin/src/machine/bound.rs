//! An application's state machine as a group takes it.

use super::{Codes, StateMachine};
use bytes::Bytes;
use muslin_core::base::Index;
use muslin_core::groups::{GroupMachine, NotASnapshot};
use std::sync::Arc;

/// What stands before the bytes of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Fate {
    /// They are the machine's answer.
    Answered = 0,
    /// The bytes given were none of this kind's; they are the codec's word on that.
    Unreadable = 1,
    /// The answer could not be written; likewise.
    Unwritable = 2,
}

/// A machine with its codec.
pub(super) struct Bound<S, C> {
    machine: S,
    codec: Arc<C>,
}

impl<S: StateMachine, C: Codes<S>> Bound<S, C> {
    pub(super) fn new(machine: S, codec: Arc<C>) -> Bound<S, C> {
        Bound { machine, codec }
    }
}

fn told(fate: Fate, bytes: &[u8]) -> Bytes {
    [&[fate as u8], bytes].concat().into()
}

impl<S: StateMachine, C: Codes<S>> GroupMachine for Bound<S, C> {
    fn apply(&mut self, index: Index, command: Bytes) -> Bytes {
        let command: S::Command = match self.codec.decode(&command) {
            Ok(command) => command,
            // The same on every replica: nothing was done.
            Err(error) => return told(Fate::Unreadable, error.0.as_bytes()),
        };
        let answer = self.machine.apply(index, command);
        match self.codec.encode(&answer) {
            Ok(answer) => told(Fate::Answered, &answer),
            Err(error) => told(Fate::Unwritable, error.0.as_bytes()),
        }
    }

    fn query(&self, query: &[u8]) -> Bytes {
        let query: S::Query = match self.codec.decode(query) {
            Ok(query) => query,
            Err(error) => return told(Fate::Unreadable, error.0.as_bytes()),
        };
        match self.codec.encode(&self.machine.query(query)) {
            Ok(reply) => told(Fate::Answered, &reply),
            Err(error) => told(Fate::Unwritable, error.0.as_bytes()),
        }
    }

    fn snapshot(&self) -> Bytes {
        let encoded = self.codec.encode(&self.machine.snapshot());
        encoded.expect("R6: a machine's snapshot can be written, see its contract")
    }

    fn restore(&mut self, snapshot: Bytes) -> Result<(), NotASnapshot> {
        let snapshot: S::Snapshot = self.codec.decode(&snapshot).map_err(|_| NotASnapshot)?;
        self.machine.restore(snapshot);
        Ok(())
    }
}
