//! Linearizable reads without writing (Raft 8, thesis 6.4).
//!
//! R7: an index may be told once two things hold: an entry of the present term is committed, so
//! that the commit index covers all that earlier leaders acknowledged; and, after the question
//! came, a quorum still took this replica for its leader, so that no later one has committed more.

use super::replica::{Leader, Part};
use super::{Output, Raft, ReadId, Unbound};
use crate::base::mutant::{self, Mutant};
use crate::base::{Index, NodeId, Now, Outputs};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Reads waiting at one replica at once: above what a node's own request limit lets through. Beyond
/// it a read fails, and may be asked again.
const READS_WAITING_MAX: usize = 1 << 16;

/// Rounds whose beginning is remembered: an answer to an earlier one would extend no lease.
const ROUNDS_KEPT: usize = 256;

/// Reads at a leader. One round of heartbeats confirms all that gathered before it began.
#[derive(Clone, Debug, Default)]
pub(super) struct Rounds {
    gathered: Vec<Reader>,
    under_way: VecDeque<Round>,
    /// When rounds began, by number, the latest ones; kept only where leases rest on it.
    begun: VecDeque<(u64, Now)>,
}

impl Rounds {
    /// The latest round that is not confirmed.
    pub(super) fn latest(&self) -> Option<u64> {
        self.under_way.back().map(|round| round.number)
    }

    /// When a round began, or an earlier one if that is not known any more.
    pub(super) fn begun_by(&self, round: u64) -> Option<Now> {
        let place = self.begun.partition_point(|(number, _)| *number <= round);
        Some(self.begun.get(place.checked_sub(1)?)?.1)
    }

    fn begin(&mut self, round: u64, now: Now) {
        if self.begun.len() == ROUNDS_KEPT {
            self.begun.pop_front();
        }
        self.begun.push_back((round, now));
    }
}

#[derive(Clone, Debug)]
struct Round {
    /// Unique: an answer to an earlier round says nothing about the time after this one began.
    number: u64,
    /// The commit index when it began.
    index: Index,
    readers: Vec<Reader>,
}

#[derive(Clone, Debug)]
enum Reader {
    Local(ReadId),
    Peer { from: NodeId, id: u64 },
}

/// Reads at a follower. One question is under way at a time, for all that gathered before it left.
#[derive(Clone, Debug, Default)]
pub(super) struct Asking {
    /// The last number used. Begins at random, so that a late answer to an earlier process of this
    /// replica answers nothing.
    number: u64,
    gathered: Vec<Question>,
    asked: Option<Asked>,
    /// Who is silent to the leader, as it told last, and when.
    told: Option<(Now, Vec<NodeId>)>,
}

/// What a leader answers.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) index: Option<Index>,
    pub(super) silent: Vec<NodeId>,
}

/// What a follower asks an index for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Question {
    Read {
        id: ReadId,
        /// An answer by the leader's lease will do.
        lease: bool,
    },
    /// Where its rebuilding may end at the earliest (R11).
    Fence,
}

#[derive(Clone, Debug)]
struct Asked {
    number: u64,
    questions: Vec<Question>,
    retry: Now,
}

impl Asking {
    pub(super) fn starting_at(number: u64) -> Asking {
        Asking { number, ..Asking::default() }
    }

    /// When the question under way counts as lost.
    pub(super) fn retry_due(&self) -> Option<Now> {
        self.asked.as_ref().map(|asked| asked.retry)
    }
}

impl Raft {
    /// `lease` tells that an answer by the leader's lease will do.
    pub(super) fn on_read(&mut self, id: ReadId, lease: bool, out: &mut Outputs<Output>) {
        if self.answers_at_once(lease) {
            return out.push(Output::ReadReady { id, index: self.commit });
        }
        let is_led = self.leader.is_some_and(|leader| !self.is_gone(leader));
        match &mut self.part {
            Part::Leader(leader) if leader.rounds.gathered.len() < READS_WAITING_MAX => {
                leader.rounds.gathered.push(Reader::Local(id));
                self.begin_gathered(out);
                self.fail_hopeless_reads(out);
            }
            Part::Follower if is_led && self.asking.gathered.len() < READS_WAITING_MAX => {
                self.asking.gathered.push(Question::Read { id, lease });
                self.ask(out);
            }
            _ => out.push(Output::ReadFailed { id }),
        }
    }

    /// A follower asks, or one that is fed. What is told is true for anybody.
    pub(super) fn on_read_index(
        &mut self,
        from: NodeId,
        id: u64,
        lease: bool,
        out: &mut Outputs<Output>,
    ) {
        if self.answers_at_once(lease) {
            let (term, index, silent) = (self.term, Some(self.commit), self.silent(self.now));
            let reply = Unbound::ReadIndexReply { term, id, index, silent };
            return out.push(Output::send(from, reply));
        }
        if let Part::Leader(leader) = &mut self.part
            && leader.rounds.gathered.len() < READS_WAITING_MAX
        {
            leader.rounds.gathered.push(Reader::Peer { from, id });
            self.begin_gathered(out);
            return self.fail_hopeless_reads(out);
        }
        let (term, index, silent) = (self.term, None, Vec::new());
        out.push(Output::send(from, Unbound::ReadIndexReply { term, id, index, silent }));
    }

    /// A lease read, or a read by a mutant.
    fn answers_at_once(&self, lease: bool) -> bool {
        let is_careless = mutant::is_active(Mutant::PassiveReadWithoutRound);
        (lease && self.holds_lease())
            || (is_careless && self.is_passive() && matches!(self.part, Part::Leader(_)))
    }

    /// Whether its node is known not to be alive: nothing is asked of it.
    fn is_gone(&self, id: NodeId) -> bool {
        self.is_passive() && self.absent.contains(&id)
    }

    /// R7: whether nobody else can have been elected since a quorum last took this replica for its
    /// leader. Each of them gives no vote for the shortest election time-out after it heard the
    /// round that it answered, which is after that round began here, by a clock that runs no more
    /// than the drift faster than true time; this clock runs no more than that slower.
    fn holds_lease(&self) -> bool {
        let Part::Leader(leader) = &self.part else { return false };
        let is_possible = self.options.lease_reads
            && !self.is_passive()
            && leader.is_lease_intact
            && (leader.transfer.is_none() || mutant::is_active(Mutant::LeaseSurvivesTransfer))
            && self.is_commit_current();
        let begun = self.lease_begun(leader);
        is_possible && begun > Now::START && self.now < begun + self.options.lease_time()
    }

    /// When the latest round began that a quorum has answered; `START` if there is none.
    fn lease_begun(&self, leader: &Leader) -> Now {
        // The arithmetic of indexes serves for moments.
        let begun = self.configuration().quorum_index(|voter| match leader.peers.get(&voter) {
            Some(peer) if peer.counts() => Index(peer.lease_from.0),
            None if voter == self.id => Index(self.now.0),
            _ => Index::ZERO,
        });
        Now(begun.0)
    }

    /// Begins a round for the reads that wait, unless one is under way: its end begins the next.
    pub(super) fn begin_gathered(&mut self, out: &mut Outputs<Output>) {
        let Part::Leader(leader) = &self.part else { return };
        let is_due = !leader.rounds.gathered.is_empty() && leader.rounds.under_way.is_empty();
        if is_due && self.is_commit_current() {
            self.begin_round(out);
        }
    }

    /// Whether the commit index covers all that earlier leaders acknowledged.
    fn is_commit_current(&self) -> bool {
        self.has_committed_in_term() || mutant::is_active(Mutant::ReadBeforeOwnTerm)
    }

    /// Sends heartbeats under a fresh number. Reads join if the commit index can be trusted.
    pub(super) fn begin_round(&mut self, out: &mut Outputs<Output>) {
        let is_current = self.is_commit_current();
        let Part::Leader(leader) = &mut self.part else { return };
        if !mutant::is_active(Mutant::ReadRoundReused) || self.round == 0 {
            self.round += 1;
        }
        if self.options.lease_reads {
            leader.rounds.begin(self.round, self.now);
        }
        if is_current && !leader.rounds.gathered.is_empty() {
            let readers = core::mem::take(&mut leader.rounds.gathered);
            let round = Round { number: self.round, index: self.commit, readers };
            leader.rounds.under_way.push_back(round);
        }
        self.send_heartbeats(out);
        self.settle_reads(out);
    }

    /// Answers the rounds that a quorum (R8: of both configurations) has confirmed.
    pub(super) fn settle_reads(&mut self, out: &mut Outputs<Output>) {
        let term = self.term;
        let Part::Leader(leader) = &self.part else { return };
        if leader.rounds.under_way.is_empty() {
            return;
        }
        let confirmed = confirmed_round(self.id, leader, self.configurations.in_force());
        let silent = self.silent(self.now);
        let Part::Leader(leader) = &mut self.part else { return };
        let mut is_settled = false;
        while let Some(round) = leader.rounds.under_way.front()
            && round.number <= confirmed
        {
            let Some(round) = leader.rounds.under_way.pop_front() else { break };
            is_settled = true;
            for reader in round.readers {
                out.push(answer(reader, term, Some(round.index), &silent));
            }
        }
        if is_settled {
            self.begin_gathered(out);
        }
    }

    /// This replica leads no more: none of the reads can be vouched for.
    pub(super) fn fail_rounds(&mut self, rounds: &mut Rounds, out: &mut Outputs<Output>) {
        if mutant::is_active(Mutant::DeposedAnswersReads) {
            for reader in rounds.under_way.drain(..).flat_map(|round| round.readers) {
                out.push(answer(reader, self.term, Some(self.commit), &[]));
            }
        }
        let under_way = rounds.under_way.drain(..).flat_map(|round| round.readers);
        for reader in under_way.chain(rounds.gathered.drain(..)) {
            out.push(answer(reader, self.term, None, &[]));
        }
    }

    /// Asks the leader for all that gathered, unless a question is under way.
    fn ask(&mut self, out: &mut Outputs<Output>) {
        let Some(leader) = self.leader else { return };
        if self.asking.asked.is_some() || self.asking.gathered.is_empty() {
            return;
        }
        self.asking.number = self.asking.number.wrapping_add(1);
        let number = self.asking.number;
        let questions = core::mem::take(&mut self.asking.gathered);
        let lease = questions.iter().all(|it| matches!(it, Question::Read { lease: true, .. }));
        let retry = self.now + self.options.heartbeat_interval * 2;
        self.asking.asked = Some(Asked { number, questions, retry });
        let term = self.term;
        out.push(Output::send(leader, Unbound::ReadIndex { term, id: number, lease }));
    }

    /// Who answers its leader nothing: as this replica sees that leads, or as the leader told the
    /// last read, if that was lately.
    pub fn silent_as_told(&self, now: Now) -> Vec<NodeId> {
        let lately = self.options.election_timeout_max * 2;
        match (&self.part, &self.asking.told) {
            (Part::Leader(_), _) => self.silent(now),
            (_, Some((at, silent))) if now.since(*at) <= lately => silent.clone(),
            _ => Vec::new(),
        }
    }

    /// R11: under a number of its own, so that no answer of before the rebuilding is taken for it.
    pub(super) fn ask_for_fence(&mut self, out: &mut Outputs<Output>) {
        let asked = self.asking.asked.iter().flat_map(|asked| &asked.questions);
        if !asked.chain(&self.asking.gathered).any(|question| *question == Question::Fence) {
            self.asking.gathered.push(Question::Fence);
            self.ask(out);
        }
    }

    /// No answer came: asks the same again under a fresh number.
    pub(super) fn ask_again(&mut self, out: &mut Outputs<Output>) {
        let now = self.now;
        if let Some(asked) = self.asking.asked.take_if(|asked| asked.retry <= now) {
            self.asking.gathered.splice(..0, asked.questions);
            if mutant::is_active(Mutant::ReadIdReused) {
                self.asking.number = self.asking.number.wrapping_sub(1);
            }
            self.ask(out);
        }
    }

    pub(super) fn on_read_index_reply(
        &mut self,
        from: NodeId,
        number: u64,
        answer: Answer,
        out: &mut Outputs<Output>,
    ) {
        if self.leader != Some(from) {
            return;
        }
        let Some(asked) = self.asking.asked.take_if(|asked| asked.number == number) else { return };
        let Answer { index, silent } = answer;
        self.asking.told = index.map(|_| (self.now, silent));
        for question in asked.questions {
            match (question, index) {
                (Question::Read { id, .. }, Some(index)) => {
                    out.push(Output::ReadReady { id, index })
                }
                (Question::Read { id, .. }, None) => out.push(Output::ReadFailed { id }),
                (Question::Fence, Some(index)) => self.on_fence(index),
                // Asked again at the next heartbeat.
                (Question::Fence, None) => {}
            }
        }
        self.ask(out);
    }

    /// The leader or the term changed: what was asked will not be answered.
    pub(super) fn fail_asked(&mut self, out: &mut Outputs<Output>) {
        self.asking.told = None;
        let asked = self.asking.asked.take().map(|asked| asked.questions).unwrap_or_default();
        for question in asked.into_iter().chain(self.asking.gathered.drain(..)) {
            if let Question::Read { id, .. } = question {
                out.push(Output::ReadFailed { id });
            }
        }
    }
}

fn confirmed_round(id: NodeId, leader: &Leader, configuration: &super::Configuration) -> u64 {
    if mutant::is_active(Mutant::ReadWithoutQuorum) {
        return u64::MAX;
    }
    // The arithmetic of indexes serves for rounds: the latest one that a quorum has answered.
    let answered = configuration.quorum_index(|voter| match leader.peers.get(&voter) {
        Some(peer) if peer.counts() => Index(peer.round),
        None if voter == id => Index(u64::MAX),
        _ => Index::ZERO,
    });
    answered.0
}

fn answer(
    reader: Reader,
    term: crate::base::Term,
    index: Option<Index>,
    silent: &[NodeId],
) -> Output {
    match (reader, index) {
        (Reader::Local(id), Some(index)) => Output::ReadReady { id, index },
        (Reader::Local(id), None) => Output::ReadFailed { id },
        (Reader::Peer { from, id }, index) => {
            let silent = silent.to_vec();
            Output::send(from, Unbound::ReadIndexReply { term, id, index, silent })
        }
    }
}
