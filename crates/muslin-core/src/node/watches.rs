//! Where watches begin, and what happens from then on.
//!
//! The node knows that somebody watches, not who: it tells all changes, and whoever keeps the
//! [`Ring`](crate::state::Ring) of them tells each watch its own.

use super::{Failure, Output, Reply};
use crate::base::mutant::{self, Mutant};
use crate::base::{Index, Outputs, RequestId, Revision};
use crate::state::{Asker, Changes, KvEvent, Refusal, RightsAt, State, WatchSpec};
use alloc::vec::Vec;

#[derive(Debug, Default)]
pub(super) struct Watches {
    /// The revision up to which all was told, while somebody watches.
    told: Option<Revision>,
}

impl Watches {
    pub(super) fn are_there(&self) -> bool {
        self.told.is_some()
    }

    /// Nobody watches any more.
    pub(super) fn end(&mut self) {
        self.told = None;
    }

    pub(super) fn start(
        &mut self,
        (applied, state): (Index, &State),
        (id, asker): (RequestId, Asker),
        spec: &WatchSpec,
        out: &mut Outputs<Output>,
    ) {
        let revision = state.revision();
        let from = match spec.start_revision {
            0 => revision.next(),
            asked => Revision(asked),
        };
        let reply = match state.check_watch(&asker, &spec.range) {
            Err(Refusal::Auth(refusal)) => Reply::Failed(Failure::Denied(refusal)),
            Ok(()) | Err(_) if from < state.compacted() => {
                Reply::WatchRefused { compacted: state.compacted() }
            }
            Ok(()) | Err(_) => {
                if self.told.is_none() {
                    self.tell_anew(revision, None, out);
                }
                Reply::WatchStarted { from, revision, applied }
            }
        };
        out.push(Output::Reply { id, reply });
    }

    /// A batch was applied.
    pub(super) fn on_applied(
        &mut self,
        state: &State,
        events: Vec<KvEvent>,
        out: &mut Outputs<Output>,
    ) {
        if !events.is_empty() {
            self.tell(state.revision(), events, None, out);
        }
    }

    /// Rights have changed, after these changes of keys.
    pub(super) fn on_rights_changed(
        &mut self,
        (applied, state): (Index, &State),
        events: Vec<KvEvent>,
        out: &mut Outputs<Output>,
    ) {
        self.tell(state.revision(), events, Some(state.rights_at(applied)), out);
    }

    /// The state was replaced by a later one: what lies between is in its history, or is gone.
    pub(super) fn on_installed(
        &mut self,
        (applied, state): (Index, &State),
        out: &mut Outputs<Output>,
    ) {
        if self.are_there() {
            self.tell_anew(state.revision(), Some(state.rights_at(applied)), out);
        }
    }

    /// What is told from here on follows this revision.
    fn tell_anew(
        &mut self,
        revision: Revision,
        rights: Option<RightsAt>,
        out: &mut Outputs<Output>,
    ) {
        self.told = Some(revision);
        let (after, through) = (revision, revision);
        out.push(Output::Changes(Changes { after, events: Vec::new(), through, rights }));
    }

    fn tell(
        &mut self,
        through: Revision,
        events: Vec<KvEvent>,
        rights: Option<RightsAt>,
        out: &mut Outputs<Output>,
    ) {
        let Some(after) = self.told else { return };
        let early = mutant::is_active(Mutant::EventBeforeCommit) && !events.is_empty();
        let through = if early { through.next() } else { through };
        self.told = Some(through);
        out.push(Output::Changes(Changes { after, events, through, rights }));
    }
}
