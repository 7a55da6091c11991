//! Knowing of others from before: last known members after a restart, the answer to an admission.

use super::evidence::History;
use super::machine::Swim;
use super::members::{MEMBERS_MAX, Member, Standing};
use super::{Liveness, METADATA_BYTES_MAX, Rumor};
use crate::base::Now;
use crate::wire;

impl Swim {
    /// Takes others into the view without a word to anybody, since they are no news: those that
    /// live, say where they are and are not known yet, as long as there is room.
    #[must_use]
    pub fn recalling(mut self, rumors: impl IntoIterator<Item = Rumor>, now: Now) -> Swim {
        for rumor in rumors {
            let is_new = rumor.node != self.id && self.members.find(rumor.node).is_none();
            if is_new && rumor.state == Liveness::Alive && self.members.len() < MEMBERS_MAX {
                self.recall(rumor, now);
            }
        }
        self
    }

    fn recall(&mut self, rumor: Rumor, now: Now) {
        let (Some(address), Some(metadata)) = (rumor.address, rumor.metadata) else { return };
        let is_too_large = wire::metadata_len(&metadata) > METADATA_BYTES_MAX;
        let is_covered = self.scope.covers(rumor.node);
        // M3: a ticket may have lost its worth since.
        if is_too_large || !is_covered || !self.gate.admits(rumor.node, &rumor.ticket) {
            return;
        }
        let member = Member {
            standing: Standing::Alive,
            incarnation: rumor.incarnation,
            described: rumor.incarnation,
            address,
            metadata,
            ticket: rumor.ticket,
            since: now,
            heard: now,
            by: rumor.by,
            history: History::default(),
            is_detoured: false,
        };
        self.members.insert(rumor.node, member, &mut self.rng);
    }

    /// How many others this node knows of, whatever it thinks of them.
    pub fn known(&self) -> usize {
        self.members.len()
    }
}

#[cfg(test)]
mod tests {
    use crate::base::{Epoch, Incarnation, Machine, NodeId, Now, Outputs};
    use crate::swim::{Input, Liveness, Metadata, Options, Rumor, Swim};
    use alloc::vec::Vec;

    #[test]
    fn those_known_from_before_are_probed_and_are_no_news() {
        let rumor = |node: u64, state| Rumor {
            node: NodeId(node),
            state,
            incarnation: Incarnation(3),
            address: Some(([10, 0, 0, node as u8], 1).into()),
            metadata: Some(Metadata::default()),
            by: NodeId(node),
            ticket: bytes::Bytes::new(),
            gone_s: 0,
        };
        let known =
            [rumor(1, Liveness::Alive), rumor(2, Liveness::Alive), rumor(3, Liveness::Down)];
        let (address, now) = (([10, 0, 0, 1], 1).into(), Now::START);
        let (options, metadata) = (Options::lan(), Metadata::default());
        let swim = Swim::new(NodeId(1), Epoch(1), address, metadata, options, 1, now);
        let mut swim = swim.recalling(known, now);
        assert_eq!(swim.alive().collect::<Vec<_>>(), [NodeId(1), NodeId(2)]);
        assert_eq!(swim.known(), 1, "itself and the dead one are not taken in");
        let mut out = Outputs::new();
        let (at, _) = swim.deadline().expect("there is somebody to probe");
        swim.handle(at, Input::Tick, &mut out);
        let sent: Vec<_> = out.drain().collect();
        assert!(!sent.is_empty(), "it probes");
        assert!(!alloc::format!("{sent:?}").contains("NodeId(3)"), "nothing is said of the dead");
    }
}
