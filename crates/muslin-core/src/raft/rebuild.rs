//! R11: a replica whose disk has lost what it promised takes no part until the others have taken
//! its vote away. The argument is in the [module](super).

use super::progress::Peer;
use super::replica::Part;
use super::{Condition, DiskRoom, Event, Output, Raft, RebuildId, SessionId};
use crate::base::mutant::{self, Mutant};
use crate::base::{Index, NodeId, Outputs};
use alloc::vec::Vec;

/// Election time-outs without a leader after which a replica that rebuilds and votes alone, by all
/// it knows, gives up: a leader of a group that has grown since would have spoken many times.
const SILENCES_MAX: u32 = 10;

/// A rebuilding under way.
#[derive(Clone, Debug)]
pub(super) struct Rebuild {
    id: RebuildId,
    /// Everything acknowledged before the rebuilding began is committed up to here at the latest.
    fence: Option<Index>,
    /// Election time-outs in which no leader spoke.
    silences: u32,
}

impl Rebuild {
    pub(super) fn numbered(id: RebuildId) -> Rebuild {
        Rebuild { id, fence: None, silences: 0 }
    }
}

/// The replica that rebuilds.
impl Raft {
    /// Whether this replica neither votes nor counts.
    pub fn is_rebuilding(&self) -> bool {
        self.rebuild.is_some()
    }

    /// What its disk has lost was promised when the group had committed no more than this: the
    /// fence, or anything as long as that is not known. It holds after the rebuilding as well, for
    /// what else was on the disk; zero when nothing was lost.
    pub fn lost_up_to(&self) -> Index {
        self.lost_up_to
    }

    /// What its answers say about it.
    pub(super) fn condition(&self) -> Condition {
        Condition {
            rebuild: self.rebuild.as_ref().map(|rebuild| rebuild.id),
            is_full: self.room == DiskRoom::Full,
            commit: self.commit,
        }
    }

    /// Its disk turned out to have lost what it promised. The mark is written before anything else
    /// is promised.
    pub(super) fn begin_rebuild(&mut self, why: &'static str, out: &mut Outputs<Output>) {
        if self.rebuild.is_none() {
            self.rebuild = Some(Rebuild::numbered(RebuildId(self.prng.draw())));
            self.lost_up_to = Index(u64::MAX);
            self.disk.mark_hard_state();
            out.push(Output::Report(Event::RebuildBegun { why }));
        }
    }

    /// A leader is heard: it is asked for the fence, until it is told.
    pub(super) fn seek_fence(&mut self, out: &mut Outputs<Output>) {
        let Some(rebuild) = &mut self.rebuild else { return };
        rebuild.silences = 0;
        if rebuild.fence.is_none() {
            self.ask_for_fence(out);
        }
    }

    pub(super) fn on_fence(&mut self, fence: Index) {
        if let Some(rebuild) = &mut self.rebuild {
            rebuild.fence = Some(fence);
            self.lost_up_to = fence;
        }
    }

    /// Nobody leads, as far as it hears.
    pub(super) fn rebuild_in_silence(&mut self, out: &mut Outputs<Output>) {
        let is_alone = self.is_sole_voter();
        let Some(rebuild) = &mut self.rebuild else { return };
        rebuild.silences = rebuild.silences.saturating_add(1);
        if is_alone && rebuild.silences == SILENCES_MAX {
            out.push(Output::Report(Event::RebuildImpossible));
        }
    }

    /// Ends the rebuilding when a configuration committed at or after the fence does without it.
    pub(super) fn end_rebuild(&mut self, out: &mut Outputs<Output>) {
        let Some(rebuild) = &self.rebuild else { return };
        let is_early = mutant::is_active(Mutant::RebuildEndsEarly);
        let Some(fence) = rebuild.fence.or(is_early.then_some(Index::ZERO)) else { return };
        let is_over = self.commit >= fence && !self.committed_configuration().is_voter(self.id);
        if is_over {
            self.rebuild = None;
            self.disk.mark_hard_state();
            out.push(Output::Report(Event::Rebuilt { commit: self.commit }));
        }
    }
}

/// The leader of one that rebuilds.
impl Raft {
    /// Peers that rebuild, as this leader hears, in id order: their votes must be taken away. Empty
    /// unless it leads.
    pub fn rebuilding(&self) -> Vec<NodeId> {
        let Part::Leader(leader) = &self.part else { return Vec::new() };
        let rebuilds = |peer: &&Peer| peer.condition.rebuild.is_some();
        leader.peers.iter().filter(|(_, peer)| rebuilds(peer)).map(|(id, _)| *id).collect()
    }

    /// Whose disks are full: its own, and those of peers as this leader hears, in id order.
    pub fn without_room(&self) -> Vec<NodeId> {
        let mut full: Vec<NodeId> = match &self.part {
            Part::Leader(leader) => {
                let peers = leader.peers.iter();
                peers.filter(|(_, peer)| peer.condition.is_full).map(|(id, _)| *id).collect()
            }
            Part::Follower | Part::PreCandidate { .. } | Part::Candidate { .. } => Vec::new(),
        };
        if self.room == DiskRoom::Full {
            full.push(self.id);
            full.sort_unstable();
        }
        full
    }

    /// Takes note of how a peer is. False when its answer is to be ignored: it is of another
    /// session, or the first of a rebuilding or after one, with which replication begins anew: what
    /// was said before the one or during the other comes too late to be believed (R10, R11).
    pub(super) fn note_condition(
        &mut self,
        from: NodeId,
        session: SessionId,
        condition: Condition,
        out: &mut Outputs<Output>,
    ) -> bool {
        let Part::Leader(leader) = &mut self.part else { return false };
        let Some(peer) = leader.peers.get_mut(&from).filter(|peer| peer.is_in(session)) else {
            return false;
        };
        let before = core::mem::replace(&mut peer.condition, condition);
        if condition.is_full != before.is_full {
            peer.start_over();
            self.on_peer_room(from, condition.is_full, out);
        }
        if mutant::is_active(Mutant::LossUnnoticed) {
            return true;
        }
        if condition.rebuild != before.rebuild {
            self.meet_anew(from, condition);
            if condition.rebuild.is_some() {
                out.push(Output::Report(Event::PeerRebuilds { peer: from }));
            }
            self.spread(out);
            return false;
        }
        true
    }

    /// What the peer acknowledged before says nothing about its disk any more.
    fn meet_anew(&mut self, id: NodeId, condition: Condition) {
        let (session, last) = (self.draw_session(), self.log.last().index);
        let Part::Leader(leader) = &mut self.part else { return };
        let mut peer = Peer::unknown(session, last.next(), self.now);
        peer.condition = condition;
        leader.peers.insert(id, peer);
    }
}

impl Peer {
    /// Whether its answers count: for commits, for the quorum that keeps a leader, for reads.
    pub(super) fn counts(&self) -> bool {
        self.condition.rebuild.is_none() || mutant::is_active(Mutant::RebuildingReplicaCounts)
    }
}
