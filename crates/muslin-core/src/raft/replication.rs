//! Leading: appends, acknowledgements, commits, heartbeats, and stepping down (Raft 5.3, 5.4.2).

use super::replica::{Part, Transfer};
use super::{AppendResult, Entries, Entry, Output, Payload, Raft, Unbound};
use crate::base::mutant::{self, Mutant};
use crate::base::{Index, LogId, NodeId, Outputs, quorum};
use alloc::vec::Vec;
use bytes::Bytes;

impl Raft {
    /// The caller asked [`Raft::accepts_proposals`] first.
    pub(super) fn on_propose(&mut self, proposals: Vec<Bytes>, out: &mut Outputs<Output>) {
        debug_assert!(self.accepts_proposals(), "proposals are offered to a willing leader only");
        if matches!(self.part, Part::Leader(_)) && !proposals.is_empty() {
            self.append_own(proposals.into_iter().map(Payload::Command), out);
        }
    }

    /// Appends entries of the present term, writes them and sends them, both at once: R9 lets
    /// appends leave before the leader's own write, because the leader counts itself only when it
    /// is durable.
    pub(super) fn append_own(
        &mut self,
        payloads: impl IntoIterator<Item = Payload>,
        out: &mut Outputs<Output>,
    ) {
        let mut last = self.log.last().index;
        let mut is_configuration = false;
        let payloads = payloads.into_iter();
        let mut entries = Vec::with_capacity(payloads.size_hint().0);
        for payload in payloads {
            last = last.next();
            let entry = Entry { id: LogId::new(self.term, last), payload };
            if matches!(entry.payload, Payload::Configuration(_)) {
                is_configuration = true;
                self.configurations.note(&entry);
            }
            entries.push(entry);
        }
        let entries = Entries::from(entries);
        self.log.append(entries.clone());
        self.persist_entries(entries, out);
        if is_configuration {
            self.meet_members();
            self.report_configuration(out);
        }
        self.is_flush_due = true;
    }

    /// All that came in this turn is known: commits once for all of it, and sends each peer what
    /// it may be sent, with the commit index.
    pub(super) fn on_flush(&mut self, out: &mut Outputs<Output>) {
        if !core::mem::take(&mut self.is_flush_due) || !matches!(self.part, Part::Leader(_)) {
            return;
        }
        self.advance_commit(out);
        self.spread(out);
        // A joint configuration that was left just now went out with that.
        self.is_flush_due = false;
        if let Part::Leader(leader) = &mut self.part
            && let Some(transfer) = &mut leader.transfer
            && core::mem::take(&mut transfer.has_moved)
        {
            self.hand_over(out);
        }
    }

    /// Whether [`Input::Flush`](super::Input::Flush) would do anything.
    pub fn is_flush_due(&self) -> bool {
        self.is_flush_due
    }

    /// Sends every peer what it may be sent.
    pub(super) fn spread(&mut self, out: &mut Outputs<Output>) {
        let Some((leader, view)) = self.leading() else { return };
        for (id, peer) in &mut leader.peers {
            peer.replicate(*id, &view, out);
        }
        self.serve_snapshots(out);
    }

    /// R10: of the present session, as [`Raft::note_condition`] has seen; no other says anything
    /// about the peer's log.
    pub(super) fn on_append_reply(&mut self, from: NodeId, result: AppendResult) {
        let Some((leader, view)) = self.leading() else { return };
        let Some(peer) = leader.peers.get_mut(&from) else { return };
        peer.heard = view.now;
        match result {
            AppendResult::Accepted { matched } => {
                if matched > view.log.last().index {
                    return;
                }
                peer.accepted(matched, view.log, view.now);
            }
            AppendResult::Rejected { prev, hint } => {
                if !peer.rejected(prev, hint, view.log) {
                    return;
                }
            }
        }
        self.after_progress(from);
    }

    /// A peer has more than before, or it is known better what it lacks: what follows from that
    /// does so at the next flush.
    pub(super) fn after_progress(&mut self, from: NodeId) {
        self.is_flush_due = true;
        if let Part::Leader(leader) = &mut self.part
            && let Some(transfer) = &mut leader.transfer
        {
            transfer.has_moved |= transfer.target == from;
        }
    }

    pub(super) fn on_heartbeat_reply(
        &mut self,
        from: NodeId,
        round: u64,
        out: &mut Outputs<Output>,
    ) {
        let latest = self.round;
        let Some((leader, view)) = self.leading() else { return };
        let Some(peer) = leader.peers.get_mut(&from) else { return };
        if round > latest {
            return;
        }
        peer.heard = view.now;
        peer.round = peer.round.max(round);
        if let Some(begun) = leader.rounds.begun_by(round) {
            peer.lease_from = peer.lease_from.max(begun);
        }
        peer.nudge(from, &view, out);
        self.nudge_snapshot(from, out);
        self.settle_reads(out);
    }

    /// R4: only an entry of the present term commits by being counted. An older one may be on a
    /// quorum and still be overwritten (Raft figure 8); it commits with the first of ours after it.
    pub(super) fn advance_commit(&mut self, out: &mut Outputs<Output>) {
        let index = self.counted_index();
        if index <= self.commit {
            return;
        }
        let is_own = self.log.term_at(index) == Some(self.term);
        if !is_own && !mutant::is_active(Mutant::CommitOldTerm) {
            return;
        }
        let is_first = !self.has_committed_in_term();
        self.commit_to(index, out);
        self.leave_joint(out);
        // At once: whoever is removed by this is told, and may lead no more thereafter.
        self.spread(out);
        if is_first {
            self.begin_gathered(out);
        }
        self.retire_if_removed(out);
    }

    /// The highest index a quorum has on its disks (R3, R8); R9: the leader itself counts for no
    /// more.
    fn counted_index(&self) -> Index {
        let Part::Leader(leader) = &self.part else { return self.commit };
        let own = if mutant::is_active(Mutant::LeaderCountsUnsynced) {
            self.log.last().index
        } else {
            self.disk.durable_index()
        };
        let reached = |id: NodeId| match leader.peers.get(&id) {
            Some(peer) if peer.counts() => peer.matched,
            None if id == self.id => own,
            _ => Index::ZERO,
        };
        let configuration = self.configuration();
        if mutant::is_active(Mutant::LearnerCounted) {
            return quorum::majority_index(&configuration.members(), reached);
        }
        if mutant::is_active(Mutant::JointCountsNewOnly) {
            return quorum::majority_index(&configuration.voters, reached);
        }
        configuration.quorum_index(reached)
    }

    /// The heartbeat is due: keeps authority if a quorum still answers, gives it up if not (thesis
    /// 6.2).
    pub(super) fn lead_on(&mut self, out: &mut Outputs<Output>) {
        if self.quorum_heard(self.now) >= Some(self.options.election_timeout_max)
            && !mutant::is_active(Mutant::DeafLeaderStays)
        {
            return self.step_down("no quorum answers", out);
        }
        let due = self.now + self.options.heartbeat_interval;
        if let Part::Leader(leader) = &mut self.part {
            leader.heartbeat_due = due;
            // The target did not take over in time: lead on as before.
            if leader.transfer.as_ref().is_some_and(|transfer| transfer.until <= self.now) {
                leader.transfer = None;
            }
        }
        self.begin_round(out);
        self.note_room();
        self.leave_full_disk(out);
        self.leave_slow_disk(out);
        self.hand_over(out);
    }

    /// One heartbeat to every peer, under the latest read round.
    pub(super) fn send_heartbeats(&mut self, out: &mut Outputs<Output>) {
        let round = self.round;
        // A passive leader leaves those in peace that have nothing to answer.
        let asked = self.is_passive().then(|| self.outstanding_peers());
        let lease = self.options.lease_reads;
        let Some((leader, view)) = self.leading() else { return };
        for (id, peer) in &leader.peers {
            if view.is_absent(*id) || !asked.as_ref().is_none_or(|asked| asked.contains(id)) {
                continue;
            }
            // Beyond `matched` the peer's log may differ, and a heartbeat verifies nothing.
            let commit = match mutant::is_active(Mutant::HeartbeatCommits) {
                true => view.commit,
                false => view.commit.min(peer.matched),
            };
            let (term, session, matched) = (view.term, peer.session, peer.matched);
            let heartbeat = Unbound::Heartbeat { term, session, commit, matched, round, lease };
            out.push(Output::send(*id, heartbeat));
        }
    }

    /// Leads no more, in the same term.
    pub(super) fn step_down(&mut self, why: &'static str, out: &mut Outputs<Output>) {
        self.become_follower(None, out);
        self.announce(why, out);
    }

    /// Leadership is wanted elsewhere (thesis 3.10): no proposals are taken from here on, so that
    /// the target can catch up; the old leader leads on when that takes longer than an election.
    pub(super) fn on_transfer(&mut self, target: NodeId, out: &mut Outputs<Output>) {
        let until = self.now + self.options.election_timeout_max;
        let is_fit = self.is_fit(target);
        let Part::Leader(leader) = &mut self.part else { return };
        if target == self.id || !is_fit || leader.transfer.is_some() {
            return;
        }
        leader.transfer = Some(Transfer { target, until, has_moved: false });
        self.hand_over(out);
    }

    /// Tells the target to campaign, if leadership is on its way and the target has every entry.
    pub(super) fn hand_over(&mut self, out: &mut Outputs<Output>) {
        let Some((leader, view)) = self.leading() else { return };
        let Some(Transfer { target, .. }) = leader.transfer else { return };
        let is_ready =
            leader.peers.get(&target).is_some_and(|peer| peer.matched == view.log.last().index);
        if is_ready {
            // Its vote, and those it asks for, are given in spite of this leader.
            leader.is_lease_intact = mutant::is_active(Mutant::LeaseSurvivesTransfer);
            let term = self.term;
            out.push(Output::send(target, Unbound::TimeoutNow { term }));
        }
    }

    /// The process is about to stop: whoever leads next should not have to be waited for.
    pub(super) fn on_shutdown(&mut self, out: &mut Outputs<Output>) {
        self.stopping = true;
        if let Some(target) = self.best_heir() {
            self.on_transfer(target, out);
        } else if !matches!(self.part, Part::Leader(_) | Part::Follower) {
            self.step_down("the process stops", out);
        }
    }

    /// The voter that could lead and whose log is longest, if this replica leads.
    pub(super) fn best_heir(&self) -> Option<NodeId> {
        let Part::Leader(leader) = &self.part else { return None };
        let heirs = leader.peers.iter().filter(|(id, _)| self.is_fit(**id));
        heirs.max_by_key(|(id, peer)| (peer.matched, core::cmp::Reverse(**id))).map(|(id, _)| *id)
    }
}
