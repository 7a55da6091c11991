//! The table that makes a retried proposal take effect once (Raft thesis 6.3).

use super::digest::Digest;
use crate::base::{NodeId, mutant};
use alloc::collections::{BTreeMap, VecDeque};

/// Most proposals of one node that may be unsettled at once: beyond it they are refused. One bit
/// each; at 100,000 a second it is more than half a second's worth.
pub const SESSION_WINDOW: u64 = 1 << 16;

/// Most nodes remembered; a removed member is forgotten. Each costs 100 bytes, 8 KiB more at the
/// most.
pub const SESSIONS_MAX: usize = 1 << 16;

/// What a proposal is to the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// To be applied.
    Fresh,
    /// It was applied before, or its process has ended.
    Duplicate,
    /// Too much of its node is unsettled.
    TooFar,
}

/// What makes a proposal known again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stub {
    pub(crate) origin: NodeId,
    pub(crate) boot: u64,
    pub(crate) sequence: u64,
    pub(crate) settled_below: u64,
}

/// One table entry per node that ever proposed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Sessions {
    pub(super) table: BTreeMap<NodeId, Session>,
}

/// What was applied of one process.
///
/// `words` has a bit for each sequence from `settled_below` rounded down to 64; bits below
/// `settled_below` are clear, so that equal sessions are equal values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Session {
    pub(super) boot: u64,
    pub(super) settled_below: u64,
    pub(super) words: VecDeque<u64>,
}

impl Sessions {
    /// Of nobody.
    pub(super) const NONE: Sessions = Sessions { table: BTreeMap::new() };

    /// Judges a proposal, and remembers it if it is to be applied; otherwise nothing changes.
    pub(crate) fn admit(&mut self, stub: Stub) -> Verdict {
        let is_full = self.table.len() >= SESSIONS_MAX;
        match self.table.get_mut(&stub.origin) {
            Some(session) if stub.boot < session.boot => return Verdict::Duplicate,
            Some(session) if stub.boot == session.boot => return session.admit(stub),
            None if is_full => return Verdict::TooFar,
            Some(_) | None => {}
        }
        // The process is seen for the first time; what an earlier one of its node left goes.
        let mut session = Session::new(stub.boot);
        let verdict = session.admit(stub);
        if verdict == Verdict::Fresh {
            self.table.insert(stub.origin, session);
        }
        verdict
    }

    /// Adds everything to a digest.
    pub(crate) fn digest(&self, digest: Digest) -> Digest {
        let mut digest = digest.number(self.table.len() as u64);
        for (origin, session) in &self.table {
            digest = digest.number(origin.0).number(session.boot).number(session.settled_below);
            digest = digest.number(session.words.len() as u64);
            digest = session.words.iter().fold(digest, |digest, word| digest.number(*word));
        }
        digest
    }

    /// Forgets a node that may not propose any more.
    pub(super) fn forget(&mut self, origin: NodeId) {
        self.table.remove(&origin);
    }
}

impl Session {
    /// A process of which nothing was applied. Sequences start at 1, so that 0 counts as settled.
    pub(super) fn new(boot: u64) -> Session {
        Session { boot, settled_below: 1, words: VecDeque::new() }
    }

    fn admit(&mut self, stub: Stub) -> Verdict {
        let is_settled = stub.sequence < self.settled_below
            && !mutant::is_active(mutant::Mutant::RetriesForgottenEarly);
        let was_applied =
            is_settled || stub.sequence >= self.settled_below && self.contains(stub.sequence);
        if was_applied && !mutant::is_active(mutant::Mutant::RetryAppliedTwice) {
            return Verdict::Duplicate;
        }
        let settled_below = self.settled_below.max(stub.settled_below);
        if stub.sequence.saturating_sub(settled_below) >= SESSION_WINDOW {
            return Verdict::TooFar;
        }
        self.settle(settled_below);
        if stub.sequence >= self.settled_below {
            self.insert(stub.sequence);
        }
        Verdict::Fresh
    }

    /// Which word a sequence is in; beyond all words on any machine if it is far away.
    fn place(&self, sequence: u64) -> usize {
        let place = sequence / 64 - self.settled_below / 64;
        usize::try_from(place).unwrap_or(usize::MAX)
    }

    fn contains(&self, sequence: u64) -> bool {
        let word = self.words.get(self.place(sequence)).copied().unwrap_or(0);
        word & (1 << (sequence % 64)) != 0
    }

    fn insert(&mut self, sequence: u64) {
        let place = self.place(sequence);
        if self.words.len() <= place {
            self.words.resize(place + 1, 0);
        }
        self.words[place] |= 1 << (sequence % 64);
        debug_assert!(self.words.len() <= SESSION_WORDS_MAX, "the window bounds the table");
    }

    fn settle(&mut self, below: u64) {
        let passed = self.place(below).min(self.words.len());
        self.words.drain(..passed);
        self.settled_below = below;
        if let Some(first) = self.words.front_mut() {
            *first &= u64::MAX << (below % 64);
        }
    }
}

/// Words of a session that uses its whole window: one more when the window begins inside a word.
pub(super) const SESSION_WORDS_MAX: usize = (SESSION_WINDOW / 64) as usize + 1;
