//! Followers of key changes on this node.
//!
//! A watch is *live* when it has been told everything: each batch is passed on as it is applied. It
//! is *behind* while history has to be read: it is told a piece, and the next one when its reader
//! has room.

use super::{Output, Reply};
use crate::base::mutant::{self, Mutant};
use crate::base::{Outputs, RequestId, Revision};
use crate::state::{Compacted, KvEvent, State, WatchSpec};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Events of history told at once; whole revisions, so a larger one still goes out in one piece.
const PIECE_EVENTS: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct Watches {
    watches: BTreeMap<RequestId, Watcher>,
}

#[derive(Debug)]
struct Watcher {
    spec: WatchSpec,
    /// The first revision not told.
    next: Revision,
    is_behind: bool,
}

impl Watches {
    pub(super) fn start(
        &mut self,
        state: &State,
        id: RequestId,
        spec: WatchSpec,
        out: &mut Outputs<Output>,
    ) {
        let revision = state.revision();
        let from = match spec.start_revision {
            0 => revision.next(),
            asked => Revision(asked),
        };
        if from < state.compacted() {
            return refuse(state, id, out);
        }
        let reply = Reply::WatchStarted { from, revision };
        out.push(Output::Reply { id, reply });
        self.watches.insert(id, Watcher { spec, next: from, is_behind: from <= revision });
        if from <= revision {
            self.tell_more(state, id, out);
        }
    }

    pub(super) fn cancel(&mut self, id: RequestId) {
        self.watches.remove(&id);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.watches.is_empty()
    }

    /// A watch's reader has room: the next piece of history, or it is live.
    pub(super) fn tell_more(&mut self, state: &State, id: RequestId, out: &mut Outputs<Output>) {
        let Some(watcher) = self.watches.get_mut(&id) else { return };
        if !watcher.is_behind {
            return;
        }
        match state.events_since(watcher.next, &watcher.spec.range, PIECE_EVENTS) {
            Err(Compacted(_)) => {
                self.watches.remove(&id);
                refuse(state, id, out);
            }
            Ok(piece) => {
                watcher.next = piece.through.next();
                watcher.is_behind = piece.through < state.revision();
                let behind = watcher.is_behind;
                let events = wanted(&watcher.spec, &piece.events);
                // A piece without a wanted event is still told while behind: its reader asks for
                // more.
                if behind || !events.is_empty() {
                    let reply = Reply::WatchEvents { events, revision: piece.through, behind };
                    out.push(Output::Reply { id, reply });
                }
            }
        }
    }

    /// A batch was applied: `events`, in order, up to `revision`.
    pub(super) fn on_applied(
        &mut self,
        events: &[KvEvent],
        revision: Revision,
        out: &mut Outputs<Output>,
    ) {
        if events.is_empty() {
            return;
        }
        for (id, watcher) in self.watches.iter_mut().filter(|(_, watcher)| !watcher.is_behind) {
            let start = events.partition_point(|event| event.kv.mod_revision < watcher.next.0);
            let told = wanted(&watcher.spec, &events[start..]);
            watcher.next = watcher.next.max(revision.next());
            if !told.is_empty() {
                let reply = Reply::WatchEvents { events: told, revision, behind: false };
                out.push(Output::Reply { id: *id, reply });
            }
        }
    }

    /// The state was replaced by a later one: what lies between is in its history, or is gone.
    pub(super) fn on_installed(&mut self, state: &State, out: &mut Outputs<Output>) {
        let mut late = Vec::new();
        for (id, watcher) in &mut self.watches {
            if mutant::is_active(Mutant::InstallLosesEvents) && !watcher.is_behind {
                watcher.next = watcher.next.max(state.revision().next());
            }
            if mutant::is_active(Mutant::InstallRepeatsEvents) && !watcher.is_behind {
                watcher.next = Revision(watcher.next.0.saturating_sub(1));
            }
            if !watcher.is_behind && watcher.next <= state.revision() {
                watcher.is_behind = true;
                late.push(*id);
            }
        }
        for id in late {
            self.tell_more(state, id, out);
        }
    }

    /// How far a watch has been told, if it is live.
    pub(super) fn tell_progress(&self, state: &State, id: RequestId, out: &mut Outputs<Output>) {
        let Some(watcher) = self.watches.get(&id) else { return };
        let revision = match watcher.is_behind {
            false => state.revision(),
            true => Revision(watcher.next.0.saturating_sub(1)),
        };
        out.push(Output::Reply { id, reply: Reply::WatchProgress { revision } });
    }
}

fn refuse(state: &State, id: RequestId, out: &mut Outputs<Output>) {
    let reply = Reply::WatchRefused { compacted: state.compacted() };
    out.push(Output::Reply { id, reply });
}

/// The events a watcher asked for, with the earlier pair only if it asked for that too.
fn wanted(spec: &WatchSpec, events: &[KvEvent]) -> Vec<KvEvent> {
    events.iter().filter_map(|event| spec.view(event)).collect()
}
