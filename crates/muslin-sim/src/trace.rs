//! What happened, as one number and, when asked for, as text.
//!
//! The number is FNV-1a over 64-bit words: every input a node was given and every output it made,
//! in order, with time and place. Two runs of one seed that differ anywhere differ in it.

use crate::subject::Subject;
use crate::time::Time;
use muslin_core::base::{LogId, NodeId};
use muslin_core::raft::{Entry, HardState, Payload, SnapshotMeta, Write};
use std::fmt;

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// FNV-1a, a word at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WordHash(u64);

impl WordHash {
    pub(crate) fn new() -> WordHash {
        WordHash(OFFSET)
    }

    pub(crate) fn word(&mut self, word: u64) {
        // The rotation lets the high bits of a word reach the low ones of the result.
        self.0 = (self.0 ^ word).wrapping_mul(PRIME).rotate_left(23);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.word(u64::from_le_bytes(chunk.try_into().expect("chunks are of eight")));
        }
        let mut last = [0; 8];
        last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
        self.word(u64::from_le_bytes(last));
    }

    pub(crate) fn finish(self) -> u64 {
        self.0
    }
}

/// A hash of what an entry says (not of where it stands).
pub(crate) fn payload_hash(payload: &Payload) -> u64 {
    let mut hash = WordHash::new();
    match payload {
        Payload::Empty => hash.word(1),
        Payload::Command(bytes) => {
            hash.word(2);
            hash.bytes(bytes);
        }
        Payload::Configuration(configuration) => {
            hash.word(3);
            for set in [&configuration.voters, &configuration.outgoing, &configuration.learners] {
                hash.word(set.len() as u64);
                set.iter().for_each(|id| hash.word(id.0));
            }
        }
    }
    hash.finish()
}

/// Called with one line for each thing that happens.
pub(crate) struct Sink(pub(crate) Box<dyn FnMut(&str)>);

/// The record of a run.
pub(crate) struct Trace {
    hash: WordHash,
    sink: Option<Sink>,
}

impl Trace {
    pub(crate) fn new(sink: Option<Sink>) -> Trace {
        Trace { hash: WordHash::new(), sink }
    }

    /// The number of the run so far.
    pub(crate) fn finish(&self) -> u64 {
        self.hash.finish()
    }

    /// Tells the reader something that no node sees.
    pub(crate) fn tell(&mut self, at: Time, what: fmt::Arguments<'_>) {
        if let Some(Sink(sink)) = &mut self.sink {
            sink(&format!("{at} {what}"));
        }
    }

    /// A machine is given an input.
    pub(crate) fn input<S: Subject>(&mut self, at: Time, node: NodeId, input: &S::Input) {
        self.hash.word(at.0);
        self.hash.word(node.0);
        S::fold_input(&mut self.hash, input);
        if let Some(Sink(sink)) = &mut self.sink
            && let Some(text) = S::tell_input(input)
        {
            sink(&format!("{at} {node:?} <- {text}"));
        }
    }

    /// A machine made an output.
    pub(crate) fn output<S: Subject>(&mut self, at: Time, node: NodeId, output: &S::Output) {
        S::fold_output(&mut self.hash, output);
        if let Some(Sink(sink)) = &mut self.sink
            && let Some(text) = S::tell_output(output)
        {
            sink(&format!("{at} {node:?} -> {text}"));
        }
    }
}

/// Adds a write to the hash of a run.
pub(crate) fn fold_write(hash: &mut WordHash, write: &Write) {
    match write {
        Write::Log { hard_state, entries } => {
            let HardState { term, vote, commit, rebuilding, leased } =
                hard_state.unwrap_or_default();
            hash.word(u64::from(rebuilding) | u64::from(leased) << 1);
            for word in [term.0, vote.unwrap_or_default().0, commit.0, entries.len() as u64] {
                hash.word(word);
            }
            entries.iter().for_each(|entry| fold_entry(hash, entry));
        }
        Write::Snapshot { snapshot, keep_from, discard_log } => {
            fold_meta(hash, &snapshot.meta);
            hash.word(keep_from.0 << 1 | u64::from(*discard_log));
            hash.bytes(&snapshot.data);
        }
    }
}

/// Adds an entry, with its place.
pub(crate) fn fold_entry(hash: &mut WordHash, entry: &Entry) {
    fold_id(hash, entry.id);
    hash.word(payload_hash(&entry.payload));
}

/// Adds a place of the log.
pub(crate) fn fold_id(hash: &mut WordHash, id: LogId) {
    hash.word(id.term.0);
    hash.word(id.index.0);
}

/// Adds what a snapshot stands for.
pub(crate) fn fold_meta(hash: &mut WordHash, meta: &SnapshotMeta) {
    fold_id(hash, meta.last);
    meta.configuration.voters.iter().for_each(|id| hash.word(id.0));
}
#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(bytes: &[u8]) -> u64 {
        let mut hash = WordHash::new();
        hash.bytes(bytes);
        hash.finish()
    }

    #[test]
    fn texts_that_differ_only_in_trailing_zeros_hash_differently() {
        assert_ne!(hash_of(b"a"), hash_of(b"a\0"));
        assert_ne!(hash_of(b""), hash_of(b"\0"));
        assert_ne!(hash_of(b"12345678"), hash_of(b"123456780"));
    }
}
