//! Linearizable queries of one group: those that come between two flushes share one read index.

use super::Refusal;
use crate::base::{Index, Now, RequestId};
use crate::raft::ReadId;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// Most queries of one node waiting at one group.
const READS_MAX: usize = 4_096;

/// A read index not told this long is asked for again, under a fresh id: the message may be lost.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// A query to answer once a quorum has confirmed the leader after it was asked.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) asked: Now,
    pub(super) request: RequestId,
    pub(super) query: Bytes,
}

/// Queries on their way.
#[derive(Clone, Debug, Default)]
pub(super) struct Reads {
    last_id: u64,
    /// Not yet given to a round.
    waiting: Vec<Question>,
    /// Asked of the leader, by the id of the round, with the time it began.
    rounds: BTreeMap<ReadId, (Now, Vec<Question>)>,
    /// To be answered when the state has come so far.
    confirmed: BTreeMap<Index, Vec<Question>>,
    count: usize,
}

impl Reads {
    pub(super) fn add(&mut self, question: Question) -> Result<(), Refusal> {
        if self.count >= READS_MAX {
            return Err(Refusal::Busy);
        }
        self.count += 1;
        self.waiting.push(question);
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Puts all that wait in one round; its id was never used before in this process.
    pub(super) fn start_round(&mut self, now: Now) -> ReadId {
        assert!(!self.waiting.is_empty(), "a round is started for someone");
        self.last_id += 1;
        let id = ReadId(self.last_id);
        self.rounds.insert(id, (now, core::mem::take(&mut self.waiting)));
        id
    }

    /// The leader was confirmed: a state at `index` or later answers the round.
    pub(super) fn confirm(&mut self, id: ReadId, index: Index) {
        if let Some((_, questions)) = self.rounds.remove(&id) {
            self.confirmed.entry(index).or_default().extend(questions);
        }
    }

    /// The round cannot be told: its queries wait for another.
    pub(super) fn fail(&mut self, id: ReadId) {
        if let Some((_, questions)) = self.rounds.remove(&id) {
            self.waiting.extend(questions);
        }
    }

    /// Whatever can be answered from a state applied up to `applied`.
    pub(super) fn take_answerable(&mut self, applied: Index) -> Vec<Question> {
        let mut questions = Vec::new();
        while let Some(entry) = self.confirmed.first_entry()
            && *entry.key() <= applied
        {
            questions.extend(entry.remove());
        }
        self.count -= questions.len();
        questions
    }

    /// Rounds whose answer may be lost are asked for again.
    pub(super) fn retry_silent(&mut self, now: Now) {
        let silent: Vec<ReadId> = (self.rounds.iter())
            .filter(|(_, (started, _))| *started + RETRY_AFTER <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in silent {
            self.fail(id);
        }
    }

    /// The client went.
    pub(super) fn cancel(&mut self, gone: RequestId) {
        self.remove(|question| question.request == gone);
    }

    /// Gives up those that waited longer than `timeout`.
    pub(super) fn expire(&mut self, now: Now, timeout: Duration) -> Vec<RequestId> {
        let gone = self.remove(|question| question.asked + timeout <= now);
        gone.into_iter().map(|question| question.request).collect()
    }

    fn remove(&mut self, is_gone: impl Fn(&Question) -> bool) -> Vec<Question> {
        let mut gone = Vec::new();
        let lists = (self.rounds.values_mut().map(|(_, questions)| questions))
            .chain(self.confirmed.values_mut())
            .chain(core::iter::once(&mut self.waiting));
        for list in lists {
            gone.extend(list.extract_if(.., |question| is_gone(question)));
        }
        self.rounds.retain(|_, (_, questions)| !questions.is_empty());
        self.confirmed.retain(|_, questions| !questions.is_empty());
        self.count -= gone.len();
        gone
    }
}
