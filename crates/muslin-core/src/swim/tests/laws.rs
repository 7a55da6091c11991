//! What must hold at every node after every input, whatever happens.

use crate::base::{Incarnation, NodeId};
use crate::swim::{Event, Input, Liveness, Output, Scope, Swim, TRANSITIONS_MAX};
use alloc::collections::BTreeMap;

/// What each observer has seen of each node.
#[derive(Debug, Default)]
pub(super) struct Laws {
    /// The latest life in which the observer saw the node alive or refuting.
    alive_in: BTreeMap<(u64, NodeId), Incarnation>,
    /// The latest life of the node that the observer spoke of at all.
    life: BTreeMap<(u64, NodeId), Incarnation>,
    own: BTreeMap<u64, Incarnation>,
    /// Members removed for good, of which the observer may begin anew.
    slices: BTreeMap<u64, Scope>,
}

impl Laws {
    /// A process begins: what the one before it saw is not its own.
    pub(super) fn on_start(&mut self, node: u64) {
        self.alive_in.retain(|(observer, _), _| *observer != node);
        self.life.retain(|(observer, _), _| *observer != node);
        self.own.remove(&node);
        self.slices.remove(&node);
    }

    pub(super) fn before(&mut self, node: u64, input: &Input) {
        if let Input::Track(scope) = input {
            self.slices.insert(node, scope.clone());
        }
    }

    /// Checks one step of one node.
    pub(super) fn after(&mut self, observer: u64, swim: &Swim, out: &[Output]) {
        let own = self.own.entry(observer).or_default();
        assert!(swim.incarnation() >= *own, "M2: n{observer} has gone back in its own life");
        *own = swim.incarnation();
        for output in out {
            if let Output::Report(event) = output {
                self.on_event(observer, event);
                if let Event::Down { node, .. } = event {
                    assert!(swim.evidence(*node).count() <= TRANSITIONS_MAX, "it is bounded");
                }
            }
        }
        self.check_bounds(observer, swim);
    }

    fn on_event(&mut self, observer: u64, event: &Event) {
        let (node, life, state) = match event {
            Event::Alive { node, incarnation, .. } => (*node, *incarnation, Liveness::Alive),
            Event::Suspected { node, incarnation, evidence, .. } => {
                assert!(evidence.state == Liveness::Suspect && !evidence.accusers.is_empty());
                (*node, *incarnation, Liveness::Suspect)
            }
            Event::Down { node, incarnation, evidence, .. } => {
                assert!(evidence.state == Liveness::Down && evidence.incarnation == *incarnation);
                let has_accused = evidence.accusers.iter().any(|one| one.node == evidence.by);
                assert!(has_accused || evidence.by == *node, "whoever began it is among them");
                (*node, *incarnation, Liveness::Down)
            }
            _ => return,
        };
        let known = self.life.entry((observer, node)).or_default();
        assert!(life >= *known, "M2: n{observer} has gone back from {known} to {life} of {node}");
        *known = life;
        let refuted = self.alive_in.entry((observer, node)).or_default();
        match state {
            Liveness::Alive => *refuted = life,
            // M1: whoever was seen in a later life dies of nothing that was said of an earlier one.
            _ => assert!(life >= *refuted, "M1: n{observer}: a refuted suspicion of {node} killed"),
        }
    }

    fn check_bounds(&self, observer: u64, swim: &Swim) {
        if let Some(Scope::Slice(slice)) = self.slices.get(&observer) {
            assert!(swim.known() <= slice.len(), "n{observer} keeps more than its slice");
        }
    }
}
