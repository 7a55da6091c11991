//! Groups that keep no time by themselves: hundreds of them idle without a message.
//!
//! A passive replica sends nothing and wakes for nothing unless something is outstanding: entries
//! or their commit that a live peer lacks, reads, a snapshot, a hand-over, its own campaign. Then
//! it sends again at the pace of heartbeats. Who leads is said from outside. Nothing here is needed
//! for safety: a leader that was deposed without hearing of it can neither commit nor confirm a
//! read, since both need a quorum of its term (R3, R7).

use super::progress::{Mode, Peer};
use super::replica::{Leader, Part};
use super::{Drive, Output, Raft};
use crate::base::{Index, NodeId, Now, Outputs, Wake};
use alloc::collections::BTreeSet;

/// Times a passive replica asks for votes before it gives up: messages are lost, but whoever told
/// it to campaign may have changed its mind.
const ATTEMPTS_MAX: u32 = 3;

impl Raft {
    pub(super) fn is_passive(&self) -> bool {
        self.drive == Drive::Passive
    }

    /// Begins or ceases to keep time. Who leads, what is replicated and what was promised stay.
    pub(super) fn on_drive(&mut self, drive: Drive, out: &mut Outputs<Output>) {
        if self.drive == drive {
            return;
        }
        self.drive = drive;
        self.attempts = 0;
        let now = self.now;
        match &mut self.part {
            Part::Leader(leader) => {
                // Nobody was asked anything for a while: silence is counted from here on.
                leader.peers.values_mut().for_each(|peer| peer.heard = now);
                leader.heartbeat_due = now;
                leader.is_outstanding = false;
                self.spread(out);
            }
            Part::Follower => {
                self.heard = self.leader.map(|_| now);
                self.rearm_election();
            }
            Part::PreCandidate { .. } | Part::Candidate { .. } => self.rearm_election(),
        }
    }

    /// What nodes know of each other's being alive. It concerns passive groups alone: others find
    /// out by themselves.
    pub(super) fn on_liveness(&mut self, id: NodeId, is_alive: bool, out: &mut Outputs<Output>) {
        let is_news = match is_alive {
            true => self.absent.remove(&id),
            false => self.absent.insert(id),
        };
        if !is_news || !self.is_passive() {
            return;
        }
        if is_alive {
            if let Part::Leader(leader) = &mut self.part
                && let Some(peer) = leader.peers.get_mut(&id)
            {
                // An append at once: it tells the peer that it is led, and the leader what it has.
                peer.start_over();
                self.spread(out);
            }
            return;
        }
        if self.leader == Some(id) {
            self.fail_asked(out);
        }
        self.fail_hopeless_reads(out);
    }

    /// Reads that no quorum of live nodes could confirm.
    pub(super) fn fail_hopeless_reads(&mut self, out: &mut Outputs<Output>) {
        if !self.is_passive() {
            return;
        }
        let (id, absent) = (self.id, &self.absent);
        let is_there = |voter: NodeId| voter == id || !absent.contains(&voter);
        if self.configurations.in_force().is_quorum(is_there) {
            return;
        }
        if let Part::Leader(leader) = &mut self.part {
            let mut rounds = core::mem::take(&mut leader.rounds);
            self.fail_rounds(&mut rounds, out);
        }
    }

    /// Something is outstanding and was not answered for a heartbeat interval: asks again.
    pub(super) fn lead_passively(&mut self, out: &mut Outputs<Output>) {
        let due = self.now + self.options.heartbeat_interval;
        if let Part::Leader(leader) = &mut self.part {
            leader.heartbeat_due = due;
            leader.transfer.take_if(|transfer| transfer.until <= self.now);
        }
        self.send_heartbeats(out);
        self.hand_over(out);
    }

    /// A campaign that brought nothing is tried again, a few times.
    pub(super) fn wait_passively(&mut self, out: &mut Outputs<Output>) {
        if !matches!(self.part, Part::Follower) && self.election_due <= self.now {
            if self.attempts < ATTEMPTS_MAX {
                self.campaign("nobody answered its campaign", out);
            } else {
                self.become_follower(None, out);
                self.announce("nobody elects it", out);
            }
        }
        self.ask_again(out);
    }

    /// What becomes outstanding is sent at once, and again a heartbeat interval later.
    pub(super) fn pace_passively(&mut self) {
        let is_outstanding = self.is_outstanding();
        let due = self.now + self.options.heartbeat_interval;
        if let Part::Leader(leader) = &mut self.part {
            if is_outstanding && !leader.is_outstanding {
                leader.heartbeat_due = due;
            }
            leader.is_outstanding = is_outstanding;
        }
    }

    pub(super) fn passive_deadline(&self) -> Option<(Now, Wake)> {
        match &self.part {
            Part::Leader(leader) => {
                leader.is_outstanding.then_some((leader.heartbeat_due, Wake("ask again")))
            }
            Part::Follower => self.asking.retry_due().map(|due| (due, Wake("ask again"))),
            Part::PreCandidate { .. } | Part::Candidate { .. } => {
                Some((self.election_due, Wake("election")))
            }
        }
    }

    fn is_outstanding(&self) -> bool {
        let Part::Leader(leader) = &self.part else { return false };
        leader.transfer.is_some()
            || leader.peers.iter().any(|(id, peer)| self.lacks(leader, *id, peer))
    }

    /// Live peers that have something to answer, or to be told.
    pub(super) fn outstanding_peers(&self) -> BTreeSet<NodeId> {
        let Part::Leader(leader) = &self.part else { return BTreeSet::new() };
        let lacking = leader.peers.iter().filter(|(id, peer)| self.lacks(leader, **id, peer));
        lacking.map(|(id, _)| *id).collect()
    }

    fn lacks(&self, leader: &Leader, id: NodeId, peer: &Peer) -> bool {
        let is_unconfirmed = leader.rounds.latest().is_some_and(|round| peer.round < round);
        !self.absent.contains(&id)
            && (is_unconfirmed || is_behind(peer, self.log.last().index, self.commit))
    }
}

fn is_behind(peer: &Peer, last: Index, commit: Index) -> bool {
    peer.matched < last
        || peer.condition.commit < commit
        || matches!(peer.mode, Mode::AwaitSnapshot | Mode::Snapshot { .. })
        // It was met anew and has not answered: it may have heard of no leader yet.
        || matches!(peer.mode, Mode::Probe { .. })
        // Its last answer left before it knew that it had rebuilt, and there may be no next one.
        || peer.condition.rebuild.is_some()
        // That it has room again it says when it is asked.
        || peer.condition.is_full
}
