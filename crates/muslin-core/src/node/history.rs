//! What the leader does so that history does not grow without end: it compacts by itself, and has
//! what is compacted dropped although nobody writes.

use super::Node;
use super::requests::encoded;
use crate::base::{Now, Revision};
use crate::raft::Role;
use crate::state::{Command, CommandKind, Compact, State, Sweep};
use alloc::collections::VecDeque;
use core::time::Duration;

/// Into so many parts the time is cut for which history is kept: it is kept longer by at most one.
const PARTS: u32 = 60;

/// Compacted is when a tenth more is there than is kept: a busy store compacts now and then, not
/// with every write.
const SLACK: u64 = 10;

/// How often what is compacted is dropped further while nobody writes.
pub(super) const SWEEP_EVERY: Duration = Duration::from_millis(20);

/// Changes that one such step goes over: some milliseconds at most.
const SWEEP_STEP: u32 = 1_000;

/// What a leader remembers of this.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    /// Which revision was present when, ascending; as far as history is kept for its age.
    seen: VecDeque<(Now, Revision)>,
    /// How far history was compacted and swept when the last step was asked for, and when that
    /// was.
    asked: Option<((Revision, Revision), Now)>,
}

impl History {
    /// Notes the present, and forgets what is older than what is kept. The latest revision that is
    /// as old as `keep`.
    fn aged(&mut self, now: Now, revision: Revision, keep: Duration) -> Option<Revision> {
        let is_due = |(at, _): &(Now, Revision)| now.since(*at) >= keep / PARTS;
        if self.seen.back().is_none_or(is_due) {
            self.seen.push_back((now, revision));
        }
        let mut aged = None;
        while let Some((at, old)) = self.seen.front().copied() {
            if now.since(at) < keep {
                break;
            }
            aged = Some(old);
            self.seen.pop_front();
        }
        aged
    }
}

impl Node {
    /// Compacts, and sweeps, if this node leads.
    pub(super) fn keep_history(&mut self, now: Now) {
        if self.raft.role() != Role::Leader {
            self.history = History::default();
            return;
        }
        let keep = self.state.settings().keep_history();
        let aged = self.history.aged(now, self.state.revision(), keep);
        let to = crowded(&self.state).max(aged.unwrap_or_default());
        let kind = if to > self.state.compacted() {
            CommandKind::Compact(Compact { revision: to.0 })
        } else if self.state.is_sweeping() && self.proposals.is_empty() {
            // Otherwise what is applied next sweeps, too.
            CommandKind::Sweep(Sweep { changes: SWEEP_STEP })
        } else {
            return;
        };
        let stands = (self.state.compacted(), self.state.swept());
        let timeout = self.options.request_timeout;
        let is_under_way = |(asked, at)| asked == stands && now.since(at) < timeout;
        if !self.history.asked.is_some_and(is_under_way) {
            self.history.asked = Some((stands, now));
            let command = encoded(&Command::of(kind));
            // Of a leader that was deposed meanwhile nothing is carried out: the next one decides
            // for itself. Busy is no loss: it is decided again.
            let _ = self.proposals.add_as_leader(now, self.raft.term(), command);
        }
    }
}

/// What there is no room for, by number or since the quota is reached.
fn crowded(state: &State) -> Revision {
    if state.is_full() {
        // What was deleted makes room only once it cannot be read in the past either.
        return state.revision();
    }
    let kept = state.settings().keep_revisions();
    let (Revision(present), Revision(compacted)) = (state.revision(), state.compacted());
    let is_due = present.saturating_sub(compacted) > kept.saturating_add(kept / SLACK);
    Revision(if is_due { present - kept } else { 0 })
}
