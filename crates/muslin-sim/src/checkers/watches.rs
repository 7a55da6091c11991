//! K2: a watch is told every change of its keys, in order, once, over restarts and changes of
//! leader.

use super::Broken;
use crate::model::Model;
use muslin_core::base::{NodeId, Revision};
use muslin_core::state::{KvEvent, WatchSpec};

/// One client's wish to follow some keys. It outlives the nodes that tell it: when one is lost it
/// is continued elsewhere from where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Following {
    pub(crate) spec: WatchSpec,
    /// The first revision not told; `None` until a node said where it begins.
    next: Option<Revision>,
    /// The first change in the model's history not told.
    cursor: usize,
}

impl Following {
    pub(crate) fn new(spec: WatchSpec) -> Following {
        Following { spec, next: None, cursor: 0 }
    }

    /// What to ask of a node: from where it stands.
    pub(crate) fn request(&self) -> WatchSpec {
        let start_revision = self.next.map_or(self.spec.start_revision, |next| next.0);
        WatchSpec { start_revision, ..self.spec.clone() }
    }

    /// A node begins to tell.
    pub(crate) fn on_started(
        &mut self,
        node: NodeId,
        model: &Model,
        (from, revision): (Revision, Revision),
    ) -> Result<(), Broken> {
        let asked = self.request().start_revision;
        let expected = if asked == 0 { revision.next() } else { Revision(asked) };
        if from != expected || revision > model.revision() {
            let facts = format!(
                "{node:?} starts a watch asked from {asked} at {from} in revision {revision}; \
                 committed is {}",
                model.revision()
            );
            return Err(Broken::new("K2", facts));
        }
        if self.next.is_none() {
            self.next = Some(from);
            self.cursor = model.events().partition_point(|it| it.kv.mod_revision < from.0);
        }
        Ok(())
    }

    /// A node refuses, because history is gone.
    pub(crate) fn on_refused(
        &self,
        node: NodeId,
        model: &Model,
        compacted: Revision,
    ) -> Result<(), Broken> {
        let asked = self.next.unwrap_or(Revision(self.spec.start_revision));
        if asked > compacted || compacted > model.compacted() {
            let facts = format!(
                "{node:?} refuses a watch from {asked}, saying history is gone up to {compacted}; \
                 it is gone up to {}",
                model.compacted()
            );
            return Err(Broken::new("K2", facts));
        }
        Ok(())
    }

    /// A node tells changes.
    pub(crate) fn on_events(
        &mut self,
        node: NodeId,
        model: &Model,
        (events, revision): (&[KvEvent], Revision),
    ) -> Result<(), Broken> {
        for event in events {
            self.skip_unwanted(model, u64::MAX);
            let mut expected = model.events().get(self.cursor).map(|it| self.as_told(it));
            if let Some(expected) = &mut expected
                && event.prev.is_none()
                && event.kv.mod_revision <= model.compacted().0
            {
                // What was before the compacted revision is not to be seen.
                expected.prev = None;
            }
            if expected.as_ref() != Some(event) {
                let facts = format!(
                    "{node:?} tells a watch of {:?} from {:?} of {event:?}; next is {expected:?}",
                    self.spec.range, self.next
                );
                return Err(Broken::new("K2", facts));
            }
            self.cursor += 1;
        }
        self.on_told(node, model, revision)
    }

    /// A node says that everything up to a revision is told.
    pub(crate) fn on_told(
        &mut self,
        node: NodeId,
        model: &Model,
        revision: Revision,
    ) -> Result<(), Broken> {
        self.skip_unwanted(model, revision.0);
        let missed = model.events().get(self.cursor).filter(|it| it.kv.mod_revision <= revision.0);
        if missed.is_some() || revision > model.revision() {
            let facts = format!(
                "{node:?} says a watch of {:?} was told all up to {revision}; not told was \
                 {missed:?}, committed is {}",
                self.spec.range,
                model.revision()
            );
            return Err(Broken::new("K2", facts));
        }
        self.next = self.next.max(Some(revision.next()));
        Ok(())
    }

    /// How many of the changes that ever happened are behind it.
    #[cfg(test)]
    pub(crate) fn told(&self) -> usize {
        self.cursor
    }

    /// Whether nothing that happened remains to be told.
    pub(crate) fn is_complete(&mut self, model: &Model) -> bool {
        self.skip_unwanted(model, u64::MAX);
        self.next.is_some() && self.cursor == model.events().len()
    }

    fn skip_unwanted(&mut self, model: &Model, upto: u64) {
        while let Some(event) = model.events().get(self.cursor)
            && event.kv.mod_revision <= upto
            && !self.spec.range.contains(&event.kv.key)
        {
            self.cursor += 1;
        }
    }

    fn as_told(&self, event: &KvEvent) -> KvEvent {
        let prev = if self.spec.prev_kv { event.prev.clone() } else { None };
        KvEvent { prev, ..event.clone() }
    }
}
