//! Full and slow disks: a group goes on with the disks that work, and says why when it cannot.

use super::log::weight;
use super::progress::Peer;
use super::replica::Part;
use super::{DiskRoom, Entry, Event, Output, Raft};
use crate::base::{NodeId, Outputs};

/// After leadership was offered because of a slow disk, it is not offered again for so many
/// election time-outs: an offer stops proposals while it lasts.
const SHED_PAUSE: u32 = 10;

/// Bytes of entries that a replica takes after its disk has become full: what was on its way, and
/// the first entries of a leader, without which nothing can be read. A quarter of what the store
/// keeps back.
const RESERVE_BYTES: usize = 4 << 20;

/// What an entry takes besides its payload, about.
const ENTRY_BYTES: usize = 64;

/// Room that is left when there is none.
#[derive(Clone, Debug)]
pub(super) struct Reserve {
    bytes: usize,
}

impl Default for Reserve {
    fn default() -> Reserve {
        Reserve { bytes: RESERVE_BYTES }
    }
}

impl Reserve {
    /// How many of the entries, from the first on, find room. It is theirs from then on.
    pub(super) fn take(&mut self, entries: &[Entry]) -> usize {
        let mut fits = |entry: &&Entry| {
            let left = self.bytes.checked_sub(ENTRY_BYTES + weight(entry));
            left.map(|left| self.bytes = left).is_some()
        };
        entries.iter().take_while(|entry| fits(entry)).count()
    }
}

impl Raft {
    /// The disk has become full, or has room again. What was issued still fits, and hard states
    /// always do; of entries the [`Reserve`] takes some.
    pub(super) fn on_disk(&mut self, room: DiskRoom, out: &mut Outputs<Output>) {
        if self.room == room {
            return;
        }
        self.room = room;
        self.reserve = Reserve::default();
        out.push(Output::Report(Event::DiskRoomChanged { of: self.id, room }));
        self.note_room();
        self.leave_full_disk(out);
    }

    /// A peer's disk has become full, or has room again.
    pub(super) fn on_peer_room(&mut self, of: NodeId, is_full: bool, out: &mut Outputs<Output>) {
        let room = if is_full { DiskRoom::Full } else { DiskRoom::Room };
        out.push(Output::Report(Event::DiskRoomChanged { of, room }));
        self.note_room();
        self.leave_full_disk(out);
        self.spread(out);
    }

    /// Whether the group takes no writes because disks are full, and no leader could help: of this
    /// leader with nobody to hand over to, or of so many that no quorum is left.
    pub fn lacks_room(&self) -> bool {
        let Part::Leader(leader) = &self.part else { return false };
        leader.is_short || (self.room == DiskRoom::Full && leader.transfer.is_none())
    }

    /// Whether what others write does not come here, since this disk is full.
    pub fn stands_still(&self) -> bool {
        self.room == DiskRoom::Full && !matches!(self.part, Part::Leader(_))
    }

    /// Sees whether a quorum answers and has room.
    pub(super) fn note_room(&mut self) {
        let own = self.room == DiskRoom::Room;
        let (now, patience) = (self.now, self.options.election_timeout_max);
        let is_passive = self.is_passive();
        let is_silent = |peer: &Peer| !is_passive && peer.heard + patience <= now;
        let configuration = self.configurations.in_force();
        let Part::Leader(leader) = &mut self.part else { return };
        let is_any_full = !own || leader.peers.values().any(|peer| peer.condition.is_full);
        let has_room = |id: NodeId| match leader.peers.get(&id) {
            Some(peer) => peer.counts() && !peer.condition.is_full && !is_silent(peer),
            None => id == self.id && own,
        };
        leader.is_short = is_any_full && !configuration.is_quorum(has_room);
    }

    /// A leader without room hands over to a voter that has some.
    pub(super) fn leave_full_disk(&mut self, out: &mut Outputs<Output>) {
        if self.room == DiskRoom::Full {
            self.shed("its disk is full", out);
        }
    }

    /// A leader whose disk has done nothing for longer than any election takes, while a quorum has
    /// what it has not, is of less use than another.
    pub(super) fn leave_slow_disk(&mut self, out: &mut Outputs<Output>) {
        let patience = self.options.election_timeout_max;
        let Part::Leader(leader) = &mut self.part else { return };
        let is_due = self.disk.stalled_since().is_some_and(|since| since + patience <= self.now);
        let goes_on_without = self.commit > self.disk.durable_index();
        if is_due && goes_on_without && leader.shed_again <= self.now {
            leader.shed_again = self.now + patience * SHED_PAUSE;
            self.shed("its disk does not answer", out);
        }
    }

    /// Hands leadership to the best voter, if one is fit for it.
    fn shed(&mut self, why: &'static str, out: &mut Outputs<Output>) {
        let Part::Leader(leader) = &self.part else { return };
        if self.stopping || leader.transfer.is_some() || !self.has_committed_in_term() {
            return;
        }
        if let Some(to) = self.best_heir().filter(|to| self.is_answering(*to)) {
            out.push(Output::Report(Event::LeadershipShed { to, why }));
            self.on_transfer(to, out);
        }
    }

    /// Whether a peer could lead: it votes, counts and has room.
    pub(super) fn is_fit(&self, id: NodeId) -> bool {
        let Part::Leader(leader) = &self.part else { return false };
        self.configuration().voters.contains(&id)
            && leader.peers.get(&id).is_some_and(|peer| peer.counts() && !peer.condition.is_full)
    }

    /// Whether it answers, as far as one can know.
    pub(super) fn is_answering(&self, id: NodeId) -> bool {
        let Part::Leader(leader) = &self.part else { return false };
        if self.is_passive() {
            return !self.absent.contains(&id);
        }
        let patience = self.options.election_timeout_max;
        leader.peers.get(&id).is_some_and(|peer| peer.heard + patience > self.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::LogId;
    use crate::raft::Payload;

    fn entry(bytes: usize) -> Entry {
        Entry { id: LogId::ZERO, payload: Payload::Command(alloc::vec![0; bytes].into()) }
    }

    #[test]
    fn a_reserve_takes_entries_in_order_until_one_does_not_fit() {
        let mut reserve = Reserve::default();
        assert_eq!(reserve.take(&[entry(1 << 20), entry(4 << 20), entry(10)]), 1);
        assert_eq!(reserve.take(&[entry(10), entry(3 << 20)]), 1, "the first has left its place");
        let empty = Entry { id: LogId::ZERO, payload: Payload::Empty };
        assert_eq!(reserve.take(&[empty]), 1);
    }
}
