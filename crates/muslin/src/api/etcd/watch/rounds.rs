//! Questions to a whole stream: up to where has everything been told?

use muslin_core::base::Revision;
use std::collections::{BTreeSet, VecDeque};

/// Questions that may be open; whoever asks more waits.
const OPEN_MAX: usize = 16;

/// Questions that are not answered yet, oldest first.
#[derive(Default)]
pub(super) struct Rounds(VecDeque<Round>);

struct Round {
    revision: Revision,
    /// Watches that have something to read at or below that revision, as far as is known.
    waits: BTreeSet<i64>,
}

impl Rounds {
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= OPEN_MAX
    }

    pub(super) fn open(&mut self, revision: Revision, waits: BTreeSet<i64>) {
        self.0.push_back(Round { revision, waits });
    }

    /// A watch has told all before `next`; `None` if it has nothing more to read, or is gone.
    pub(super) fn on_told(&mut self, id: i64, next: Option<Revision>) {
        for round in &mut self.0 {
            if next.is_none_or(|next| next > round.revision) {
                round.waits.remove(&id);
            }
        }
    }

    /// The next question that can be answered.
    pub(super) fn answered(&mut self) -> Option<Revision> {
        let is_answered = self.0.front()?.waits.is_empty();
        is_answered.then(|| self.0.pop_front()).flatten().map(|round| round.revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_answered_when_all_have_told_what_was_before_it() {
        let mut rounds = Rounds::default();
        rounds.open(Revision(5), BTreeSet::from([1, 2]));
        rounds.open(Revision(7), BTreeSet::from([2]));
        assert_eq!(rounds.answered(), None);
        rounds.on_told(2, Some(Revision(6)));
        rounds.on_told(1, Some(Revision(5)));
        assert_eq!(rounds.answered(), None, "one has told 4");
        rounds.on_told(1, None);
        assert_eq!(rounds.answered(), Some(Revision(5)));
        assert_eq!(rounds.answered(), None, "two has told 5");
        rounds.on_told(2, Some(Revision(8)));
        assert_eq!(rounds.answered(), Some(Revision(7)));
        assert_eq!(rounds.answered(), None);
    }
}
