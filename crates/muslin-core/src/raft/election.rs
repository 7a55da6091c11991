//! Who leads: pre-votes, votes, and how a term begins and ends (Raft 5.2, 5.4.1; thesis 6.4.1,
//! 9.6).

use super::progress::Peer;
use super::reads::Rounds;
use super::replica::{Leader, Part};
use super::{Bound, Drive, Message, Output, Payload, Raft, SessionId, Unbound};
use crate::base::mutant::{self, Mutant};
use crate::base::{LogId, NodeId, Now, Outputs, Term};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

impl Raft {
    /// Whether it may ask for votes: it is not about to go, and it is a voter, or was one in the
    /// last configuration it knows to be committed. Its log may be the only one with the
    /// configuration that leaves it out, and then nobody else can win (thesis 4.2.2).
    pub(super) fn may_campaign(&self) -> bool {
        let committed = self.configurations.as_of(self.commit);
        !self.stopping
            && !self.is_rebuilding()
            && (self.configuration().is_voter(self.id) || committed.is_voter(self.id))
    }

    /// Whether votes are withheld because a leader is in office: it leads itself (it steps down by
    /// its own means when no quorum answers), or has heard the leader lately.
    pub(super) fn hears_leader(&self) -> bool {
        match self.part {
            Part::Leader(_) => true,
            // A passive leader is not heard while all is well: who campaigns was told to.
            _ if self.drive == Drive::Passive => false,
            _ => self.is_bound_by_lease() || (self.leader.is_some() && self.has_heard_lately()),
        }
    }

    fn has_heard_lately(&self) -> bool {
        self.heard.is_some_and(|heard| heard + self.options.election_timeout_min > self.now)
    }

    /// Whether a leader may still count on this replica's giving no vote, whatever has happened to
    /// this replica since it heard that leader.
    pub(super) fn is_bound_by_lease(&self) -> bool {
        self.options.is_bound_by_leases() && self.bound_until > self.now && !self.is_sole_voter()
    }

    /// Remembers whether the leader counts on a lease. That it does must be on the disk before
    /// the answer that extends the lease leaves; that it does not, a later leader says, whom a
    /// quorum elected when every earlier lease was over.
    pub(super) fn note_lease(&mut self, lease: bool) {
        if lease && !self.leased {
            self.disk.mark_hard_state();
        }
        self.leased = lease;
    }

    /// No leader was heard for too long.
    pub(super) fn on_silence(&mut self, out: &mut Outputs<Output>) {
        if self.may_campaign() {
            return self.campaign("no leader was heard", out);
        }
        self.rearm_election();
        self.rebuild_in_silence(out);
        if self.leader.is_some() {
            self.become_follower(None, out);
            self.announce("no leader was heard", out);
        }
    }

    /// Asks the voters whether they would elect it, which raises no term: a replica that was cut
    /// off does not unseat a working leader when it comes back.
    pub(super) fn campaign(&mut self, why: &'static str, out: &mut Outputs<Output>) {
        let is_ticking = self.drive == Drive::Ticking;
        if !self.may_campaign()
            || matches!(self.part, Part::Leader(_))
            || (is_ticking && self.is_bound_by_lease())
        {
            return;
        }
        if self.waits_for_its_vote() {
            return self.rearm_election();
        }
        self.leader = None;
        self.heard = None;
        self.fail_asked(out);
        self.attempts = self.attempts.saturating_add(1);
        self.starting = self.starting.saturating_sub(1);
        let is_first = !matches!(self.part, Part::PreCandidate { .. });
        self.part = Part::PreCandidate { granted: BTreeSet::from([self.id]) };
        self.rearm_election();
        if is_first {
            self.announce(why, out);
        }
        let term = self.term.next();
        let last = self.log.last();
        for to in self.other_voters() {
            out.push(Output::send(to, Unbound::PreVote { term, last }));
        }
        self.count_pre_votes(out);
    }

    /// Whether it is a candidate whose requests have not left, since its vote is not on its disk
    /// (R9). On a slow disk another term would only begin that wait anew, for ever.
    fn waits_for_its_vote(&self) -> bool {
        matches!(&self.part, Part::Candidate { vote, .. } if !self.disk.is_durable(*vote))
    }

    /// Answers honestly and promises nothing.
    pub(super) fn on_pre_vote(
        &mut self,
        from: NodeId,
        term: Term,
        last: LogId,
        out: &mut Outputs<Output>,
    ) {
        let granted = term > self.term
            && !self.stopping
            && self.may_vote()
            && !self.hears_leader()
            && self.is_up_to_date(last);
        let is_behind = self.drive == Drive::Passive
            && last < self.log.last()
            && !mutant::is_active(Mutant::LongerLogStaysSilent);
        let term = if granted { term } else { self.term };
        out.push(Output::send(from, Unbound::PreVoteReply { term, granted }));
        if is_behind && matches!(self.part, Part::Follower) {
            // Whoever was told to campaign cannot win without this replica's vote, perhaps.
            self.attempts = 0;
            self.campaign("has more than the one that asked", out);
        }
    }

    pub(super) fn on_pre_vote_reply(
        &mut self,
        from: NodeId,
        term: Term,
        granted: bool,
        out: &mut Outputs<Output>,
    ) {
        let next = self.term.next();
        if let Part::PreCandidate { granted: by } = &mut self.part
            && granted
            && term == next
        {
            by.insert(from);
            self.count_pre_votes(out);
        }
    }

    fn count_pre_votes(&mut self, out: &mut Outputs<Output>) {
        let Part::PreCandidate { granted } = &self.part else { return };
        if self.configuration().is_quorum(|id| granted.contains(&id)) {
            self.ask_for_votes(false, out);
        }
    }

    /// Enters the next term as a candidate. R5, R9: the requests leave behind the write of its own
    /// vote, and that vote counts when the write is durable.
    fn ask_for_votes(&mut self, transfer: bool, out: &mut Outputs<Output>) {
        let pre_votes = match &self.part {
            Part::PreCandidate { granted } => granted.clone(),
            _ => BTreeSet::new(),
        };
        self.enter_term(self.term.next(), None, out);
        self.vote = Some(self.id);
        self.disk.mark_hard_state();
        let vote = self.persist_hard_state(out);
        let granted = match mutant::is_active(Mutant::PreVotesCounted) {
            true => pre_votes,
            false => BTreeSet::new(),
        };
        self.part = Part::Candidate { granted, vote };
        self.rearm_election();
        self.announce(if transfer { "the leader hands over" } else { "would be elected" }, out);
        let (term, last) = (self.term, self.log.last());
        for to in self.other_voters() {
            out.push(Output::send_behind(vote, to, Bound::Vote { term, last, transfer }));
        }
    }

    /// The present term is the request's: a lower one was answered, a higher one taken over.
    pub(super) fn on_vote(&mut self, from: NodeId, last: LogId, out: &mut Outputs<Output>) {
        if self.stopping {
            return;
        }
        let is_free = self.leader.is_none() && self.vote.is_none_or(|vote| vote == from);
        let granted = is_free && self.may_vote() && self.is_up_to_date(last);
        if granted && self.vote.is_none() {
            assert!(matches!(self.part, Part::Follower | Part::PreCandidate { .. }), "R5");
            self.vote = Some(from);
            self.disk.mark_hard_state();
        }
        if granted {
            self.rearm_election();
        }
        let term = self.term;
        self.promise(from, Bound::VoteReply { term, granted }, out);
    }

    pub(super) fn on_vote_reply(&mut self, from: NodeId, granted: bool, out: &mut Outputs<Output>) {
        if let Part::Candidate { granted: by, .. } = &mut self.part
            && (granted || mutant::is_active(Mutant::RefusedVoteCounted))
        {
            by.insert(from);
            self.count_votes(out);
        }
    }

    /// R9: its own vote is a promise like any other.
    pub(super) fn count_own_vote(&mut self, out: &mut Outputs<Output>) {
        if let Part::Candidate { granted, vote } = &mut self.part
            && self.disk.is_durable(*vote)
            && granted.insert(self.id)
        {
            // The requests leave at this moment: the others get a whole time-out to answer.
            self.rearm_election();
            self.count_votes(out);
        }
    }

    fn count_votes(&mut self, out: &mut Outputs<Output>) {
        let Part::Candidate { granted, .. } = &self.part else { return };
        if self.configuration().is_quorum(|id| granted.contains(&id)) {
            self.become_leader(out);
        }
    }

    /// R11: a vote stands for what this replica promised, and it does not know any more what.
    fn may_vote(&self) -> bool {
        !self.is_rebuilding() || mutant::is_active(Mutant::RebuildingReplicaVotes)
    }

    /// R3: a candidate that lacks a committed entry lags behind someone in every quorum, because
    /// the later term wins and, within a term, the longer log (Raft 5.4.1).
    fn is_up_to_date(&self, last: LogId) -> bool {
        if mutant::is_active(Mutant::VoteByIndexOnly) {
            return last.index >= self.log.last().index;
        }
        last >= self.log.last() || mutant::is_active(Mutant::VoteWithoutLogCheck)
    }

    /// The term begins with an entry of its own: nothing older can commit by counting (R4), and
    /// nothing can be read before it is committed (R7).
    fn become_leader(&mut self, out: &mut Outputs<Output>) {
        assert!(matches!(self.part, Part::Candidate { .. }), "R1: only an elected candidate leads");
        assert!(self.vote == Some(self.id), "R1: it voted for itself");
        let next = self.log.last().index.next();
        let mut members = self.configuration().members();
        members.remove(&self.id);
        let mut peers = BTreeMap::new();
        for id in members {
            peers.insert(id, Peer::unknown(self.draw_session(), next, self.now));
        }
        self.part = Part::Leader(Box::new(Leader {
            peers,
            heartbeat_due: self.now + self.options.heartbeat_interval,
            rounds: Rounds::default(),
            transfer: None,
            outgoing: None,
            is_snapshot_asked: false,
            is_short: false,
            is_lease_intact: true,
            is_outstanding: false,
            shed_again: Now::START,
        }));
        self.leader = Some(self.id);
        self.heard = None;
        self.incoming = None;
        self.attempts = 0;
        self.note_room();
        self.announce("elected by a quorum", out);
        self.append_own(vec![Payload::Empty], out);
    }

    /// R10: drawn anew for each peer and term.
    pub(super) fn draw_session(&mut self) -> SessionId {
        self.session += 1;
        SessionId(self.session)
    }

    /// Enters a term, as a follower of `leader` if that is known.
    pub(super) fn enter_term(
        &mut self,
        term: Term,
        leader: Option<NodeId>,
        out: &mut Outputs<Output>,
    ) {
        assert!(term > self.term, "R5: terms go up");
        self.term = term;
        self.starting = 0;
        self.vote = None;
        if !mutant::is_active(Mutant::TermNotPersisted) {
            self.disk.mark_hard_state();
        }
        self.become_follower(leader, out);
    }

    /// Follows `leader`, or nobody yet. What was asked of the old leader, or of this replica as
    /// leader, fails.
    pub(super) fn become_follower(&mut self, leader: Option<NodeId>, out: &mut Outputs<Output>) {
        debug_assert!(leader != Some(self.id), "R1: nobody follows itself");
        match core::mem::replace(&mut self.part, Part::Follower) {
            Part::Leader(mut former) => {
                self.fail_rounds(&mut former.rounds, out);
                self.rearm_election();
            }
            Part::Candidate { .. } | Part::PreCandidate { .. } => self.rearm_election(),
            Part::Follower => {}
        }
        if self.leader != leader {
            self.fail_asked(out);
        }
        self.leader = leader;
        self.heard = None;
    }

    /// A message of the present term that only its leader sends. False when it must be dropped: R1
    /// makes a second leader in a term impossible, so its message is a forgery.
    pub(super) fn follow(&mut self, from: NodeId, out: &mut Outputs<Output>) -> bool {
        match (&self.part, self.leader) {
            (Part::Leader(_), _) => return false,
            (Part::Follower, Some(leader)) if leader != from => return false,
            (Part::Follower, Some(_)) => {}
            _ => {
                self.become_follower(Some(from), out);
                self.announce("heard the leader", out);
            }
        }
        self.heard = Some(self.now);
        self.starting = 0;
        self.bound_until = self.now + self.options.election_timeout_min;
        self.rearm_election();
        self.seek_fence(out);
        true
    }

    /// A message of an earlier term. A leader of such a term is told, so that it steps down and the
    /// sender, which a higher term keeps from following it, is heard again.
    pub(super) fn answer_outdated(
        &mut self,
        from: NodeId,
        message: Message,
        out: &mut Outputs<Output>,
    ) {
        let term = self.term;
        match message {
            Message::Unbound(
                Unbound::Append { session, .. }
                | Unbound::Heartbeat { session, .. }
                | Unbound::SnapshotChunk { session, .. },
            ) => self.answer_heartbeat(from, session, 0, out),
            Message::Unbound(Unbound::PreVote { .. }) => {
                out.push(Output::send(from, Unbound::PreVoteReply { term, granted: false }));
            }
            Message::Unbound(Unbound::ReadIndex { id, .. }) => {
                let (index, silent) = (None, Vec::new());
                out.push(Output::send(from, Unbound::ReadIndexReply { term, id, index, silent }));
            }
            Message::Bound(Bound::Vote { .. }) if !self.stopping => {
                self.promise(from, Bound::VoteReply { term, granted: false }, out);
            }
            _ => {}
        }
    }

    /// The leader of the present term hands over: no pre-vote, and nobody's stickiness applies.
    pub(super) fn on_timeout_now(&mut self, from: NodeId, out: &mut Outputs<Output>) {
        if self.leader == Some(from) && self.may_campaign() {
            self.ask_for_votes(true, out);
        }
    }

    fn other_voters(&self) -> BTreeSet<NodeId> {
        let configuration = self.configuration();
        let others = configuration.voters.union(&configuration.outgoing);
        others.copied().filter(|id| *id != self.id).collect()
    }
}
