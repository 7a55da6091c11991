//! A replica of raft-rs in a seat of the simulator.

use crate::bug::{Bug, is_planted};
use crate::log::Log;
use crate::reads::Reads;
use crate::timing::{HEARTBEAT_TICKS, Timing};
use crate::words;
use bytes::Bytes;
use muslin_core::base::{Index, LogId, NodeId, Now, Outputs, PersistId, Prng, Term};
use muslin_core::raft::{
    Change, Configuration, Entries, Event, HardState, ReadId, Recovered, Role, Snapshot,
    SnapshotMeta, Write,
};
use muslin_sim::{Input, Output, Promise, Replica, Seat, View};
use raft::eraftpb::{self, Entry, EntryType, Message, MessageType};
use raft::{Config, INVALID_ID, ProgressState, RawNode, ReadOnlyOption, SnapshotStatus, StateRole};
use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};

/// raft-rs, driven the way its documentation asks for.
///
/// One input at a time, then every [`raft::Ready`] there is: a leader's messages leave at once, all
/// others behind the last write issued; writes are told to be durable when they are
/// ([`RawNode::on_persist_ready`]); committed entries are applied when they are handed out.
pub struct RaftRs {
    node: RawNode<Log>,
    id: NodeId,
    prng: Prng,
    timing: Timing,
    /// Term, role and leader when the election time-out was drawn, and what it is in ticks.
    standing: Option<(u64, StateRole, u64)>,
    timeout: usize,
    /// When the next tick is due.
    next_tick: Now,
    /// Since the start.
    ticks: u64,
    /// The last write issued.
    issued: PersistId,
    /// The one that has the term and the vote.
    vote_written: PersistId,
    /// The last durable one.
    durable: PersistId,
    /// As last written.
    hard_state: HardState,
    /// Readies that are not durable, oldest first.
    held: VecDeque<Held>,
    /// The last entry handed out.
    applied: LogId,
    /// Who votes as of that entry.
    configuration: Configuration,
    founding: Configuration,
    reads: Reads,
    /// Peers that were sent a snapshot, and the tick after which it counts as lost.
    snapshots_due: BTreeMap<u64, u64>,
    /// The snapshot being saved, and what of the log stays.
    saving: Option<(Index, Index)>,
    /// Entries kept behind a snapshot.
    tail: u64,
    uncommitted_max: u64,
}

/// A ready on its way to the disk.
struct Held {
    number: u64,
    /// Its last write, or the last one before it.
    after: PersistId,
    /// The end of its snapshot, if it has one.
    snapshot: Option<u64>,
}

type Out = Outputs<Output<Message>>;

impl Replica for RaftRs {
    type Message = Message;

    fn start(seat: Seat, found: Recovered, now: Now) -> RaftRs {
        let mut prng = Prng::seeded(seat.seed);
        let timing = Timing::of(&seat.options);
        let (log, hard_state) = log_of(&found);
        let config = config_of(&seat, &timing, found.snapshot.last.index.0, prng.chance(500_000));
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let node = RawNode::new(&config, log, &logger).expect("the settings are valid");
        let mut replica = RaftRs {
            node,
            id: seat.id,
            timing,
            standing: None,
            timeout: 0,
            next_tick: now + timing.tick,
            ticks: 0,
            issued: PersistId::ZERO,
            vote_written: PersistId::ZERO,
            durable: PersistId::ZERO,
            hard_state,
            held: VecDeque::new(),
            applied: found.snapshot.last,
            configuration: found.snapshot.configuration,
            founding: seat.founding,
            reads: Reads::of_process(prng.draw()),
            snapshots_due: BTreeMap::new(),
            saving: None,
            tail: seat.options.log_tail_entries,
            uncommitted_max: seat.options.uncommitted_entries_max as u64,
            prng,
        };
        replica.pin_timeout();
        replica
    }

    fn handle(&mut self, now: Now, input: Input<Message>, out: &mut Out) {
        let before = (self.node.raft.term, self.node.raft.leader_id);
        match input {
            Input::Tick => self.tick(now, out),
            Input::Message { message, .. } => self.receive(message),
            Input::Persisted(id) => self.durable = id,
            Input::Propose(proposals) => self.propose(proposals),
            Input::Read(id) | Input::LeaseRead(id) => self.read(id, out),
            Input::Saved(index) => self.on_saved(index),
            // Nothing of raft-rs knows of a full disk; what leaves is the driver's affair.
            Input::Disk(_) | Input::Shutdown => {}
            Input::Change(changes) => self.change(&changes),
            Input::Transfer(to) => self.node.transfer_leader(to.0),
            Input::Snapshot { snapshot, save } => self.on_snapshot(snapshot, save, out),
        }
        self.settle(out);
        if before != (self.node.raft.term, self.node.raft.leader_id) {
            self.reads.fail_all(out);
        }
    }

    fn deadline(&self) -> Option<Now> {
        Some(self.next_tick)
    }

    fn view(&self) -> View {
        let raft = &self.node.raft;
        let log = &raft.raft_log;
        View {
            role: match raft.state {
                StateRole::Follower => Role::Follower,
                StateRole::PreCandidate => Role::PreCandidate,
                StateRole::Candidate => Role::Candidate,
                StateRole::Leader => Role::Leader,
            },
            term: Term(raft.term),
            commit: Index(log.committed),
            applied: self.applied.index,
            last: LogId::new(Term(log.last_term()), Index(log.last_index())),
            leader: (raft.leader_id != INVALID_ID).then_some(NodeId(raft.leader_id)),
        }
    }

    fn accepts_proposals(&self) -> bool {
        let raft = &self.node.raft;
        let log = &raft.raft_log;
        raft.state == StateRole::Leader
            && raft.lead_transferee.is_none()
            && self.has_voted()
            && self.configuration.is_voter(self.id)
            && log.last_index() - log.committed < self.uncommitted_max
    }

    fn snapshot_meta(&self) -> SnapshotMeta {
        SnapshotMeta { last: self.applied, configuration: self.configuration.clone() }
    }

    fn configurations(&self) -> [Configuration; 2] {
        [self.configuration.clone(), self.configuration.clone()]
    }

    fn configures_when_applied() -> bool {
        true
    }

    fn promise(message: &Message) -> Option<Promise> {
        words::promise_of(message)
    }

    fn fold(message: &Message, fold: &mut dyn FnMut(u64)) {
        words::fold(message, fold);
    }
}

impl RaftRs {
    fn tick(&mut self, now: Now, out: &mut Out) {
        self.next_tick = now + self.timing.tick;
        self.ticks += 1;
        if !self.is_installing() {
            self.node.tick();
        }
        self.reads.fail_old(self.ticks, out);
        self.report_lost_snapshots();
    }

    fn receive(&mut self, message: Message) {
        let would_campaign = message.get_msg_type() == MessageType::MsgTimeoutNow;
        if would_campaign && self.is_installing() {
            return;
        }
        // A refusal is of a message that means nothing here any more.
        let _ = self.node.step(message);
    }

    /// Whether a snapshot is on its way to the disk. raft-rs must not campaign then: it would look
    /// for changes of voters among entries that the snapshot has replaced, and panic. TiKV does not
    /// let its time go on either.
    fn is_installing(&self) -> bool {
        self.held.iter().any(|held| held.snapshot.is_some()) && !is_planted(Bug::TicksOverSnapshot)
    }

    fn propose(&mut self, proposals: Vec<Bytes>) {
        let entry = |data: Bytes| Entry { data: data.to_vec(), ..Entry::default() };
        let entries: Vec<Entry> = proposals.into_iter().map(entry).collect();
        let mut message = Message { from: self.id.0, entries, ..Message::default() };
        message.set_msg_type(MessageType::MsgPropose);
        self.node.step(message).expect("a leader that accepts proposals takes them");
    }

    /// raft-rs drops in silence what it cannot answer or pass on.
    fn read(&mut self, id: ReadId, out: &mut Out) {
        let raft = &self.node.raft;
        let is_heard = match raft.state {
            StateRole::Leader => raft.commit_to_current_term(),
            _ => raft.leader_id != INVALID_ID,
        };
        if !is_heard {
            return out.push(Output::ReadFailed { id });
        }
        let patience = 2 * self.timing.election_most as u64;
        let asked = self.reads.ask(self.id, id, self.ticks + patience);
        self.node.read_index(asked);
    }

    /// One change at a time, and out of a joint configuration first: raft-rs asks for as much.
    fn change(&mut self, changes: &[Change]) {
        let raft = &self.node.raft;
        let is_free = !raft.has_pending_conf() && !self.configuration.is_joint();
        if self.accepts_proposals()
            && is_free
            && let Some(to) = words::changed(&self.configuration, changes)
        {
            self.reconfigure(&to);
        }
    }

    fn reconfigure(&mut self, to: &Configuration) {
        let step = words::step_between(&self.configuration, to);
        self.node
            .propose_conf_change(words::encoded(to), step)
            .expect("a leader that accepts proposals takes them");
    }

    /// Whoever leads leaves a joint configuration once it has applied it.
    fn leave_joint(&mut self) {
        if self.configuration.is_joint()
            && self.accepts_proposals()
            && !self.node.raft.has_pending_conf()
        {
            self.reconfigure(&words::left(&self.configuration));
        }
    }

    fn on_snapshot(&mut self, snapshot: Snapshot, save: bool, out: &mut Out) {
        let store = self.node.mut_store();
        let mut sent = words::snapshot_from(&snapshot);
        if is_planted(Bug::SnapshotWithoutVoters) {
            sent.mut_metadata().set_conf_state(words::conf_state_of(&self.founding));
        }
        store.snapshot = Some(sent);
        if save && self.saving.is_none() {
            let last = snapshot.meta.last.index;
            let kept = (last.0 + 1).saturating_sub(self.tail).max(store.base.0 + 1);
            let keep_from = Index(kept.min(last.0 + 1));
            self.saving = Some((last, keep_from));
            out.push(Output::Save { snapshot, keep_from });
        }
    }

    fn on_saved(&mut self, index: Index) {
        if let Some((_, keep_from)) = self.saving.take_if(|(saved, _)| *saved == index) {
            self.node.mut_store().compact(keep_from.0 - 1);
        }
    }

    /// A snapshot that did not arrive keeps its peer waiting until raft-rs is told.
    fn report_lost_snapshots(&mut self) {
        let is_lost = |(_, due): &(&u64, &u64)| **due <= self.ticks;
        let lost: Vec<u64> = self.snapshots_due.iter().filter(is_lost).map(|it| *it.0).collect();
        for peer in lost {
            self.snapshots_due.remove(&peer);
            let progress = self.node.raft.prs().get(peer);
            if progress.is_some_and(|it| it.state == ProgressState::Snapshot)
                && !is_planted(Bug::SnapshotNeverReported)
            {
                self.node.report_snapshot(peer, SnapshotStatus::Failure);
            }
        }
    }

    /// Carries out whatever there is to be done.
    fn settle(&mut self, out: &mut Out) {
        self.tell_durable();
        loop {
            while self.node.has_ready() {
                self.carry_out(out);
                self.tell_durable();
            }
            self.leave_joint();
            if !self.node.has_ready() {
                break;
            }
        }
        if self.node.store().is_snapshot_wanted.take() {
            out.push(Output::SnapshotNeeded);
        }
        self.pin_timeout();
    }

    fn carry_out(&mut self, out: &mut Out) {
        let mut ready = self.node.ready();
        // A leader's promise nothing, and need not wait for what it writes.
        let mut urgent = ready.take_messages();
        if self.has_voted() {
            urgent.drain(..).for_each(|message| self.send(message, None, out));
        }
        if let Some(hard_state) = ready.hs() {
            self.node.mut_store().hard_state = hard_state.clone();
        }
        let snapshot = (!ready.snapshot().is_empty()).then(|| ready.snapshot().clone());
        let ends = snapshot.as_ref().map(|snapshot| snapshot.get_metadata().index);
        let entries = ready.take_entries();
        if ready.must_sync() {
            self.write(snapshot, &entries, out);
        }
        for message in urgent {
            self.send(message, Some(self.vote_written), out);
        }
        let after = self.issued;
        self.held.push_back(Held { number: ready.number(), after, snapshot: ends });
        let is_hasty = is_planted(Bug::AckBeforePersisted);
        for message in ready.take_persisted_messages() {
            self.send(message, (!is_hasty).then_some(after), out);
        }
        for state in ready.take_read_states() {
            self.reads.on_answer(&state, out);
        }
        let committed = ready.take_committed_entries();
        self.node.advance_append_async(ready);
        self.apply(&committed, out);
    }

    /// Whether its term and vote are durable. Other candidates ask for votes behind that write; a
    /// sole voter asks nobody and leads at once, and if power were lost then, it would lead in the
    /// same term once more, with another log. So it says nothing and takes nothing before.
    fn has_voted(&self) -> bool {
        let is_written = self.hard_state.term.0 == self.node.raft.term;
        is_written && self.vote_written <= self.durable || is_planted(Bug::LeadsBeforeVoted)
    }

    fn send(&mut self, message: Message, after: Option<PersistId>, out: &mut Out) {
        if message.get_msg_type() == MessageType::MsgSnapshot {
            let due = self.ticks + 2 * self.timing.election_most as u64;
            self.snapshots_due.insert(message.to, due);
        }
        out.push(Output::Send { to: NodeId(message.to), after, message });
    }

    /// raft-rs asks for hard state and entries to be written as one. The simulator's disks may keep
    /// the first records of a write only, the hard state foremost: hence it never says that more is
    /// committed than what was issued before it. And what is committed is said at the latest before
    /// the next change of voters: a replica that comes back with one in its log must know that the
    /// one before is committed, or it would count the votes of an outdated configuration.
    fn write(&mut self, snapshot: Option<eraftpb::Snapshot>, entries: &[Entry], out: &mut Out) {
        if let Some(snapshot) = snapshot {
            self.persist_log(self.hard_state.commit.0, &[], out);
            self.install(snapshot, out);
        }
        let (store, mut rest) = (self.node.mut_store(), entries);
        store.append(entries);
        let is_change = |entry: &Entry| entry.get_entry_type() != EntryType::EntryNormal;
        while let Some(first) = rest.first() {
            let next = rest[1..].iter().position(is_change).map_or(rest.len(), |it| it + 1);
            let before = match is_planted(Bug::CommitBeforeEntries) {
                true => u64::MAX,
                false => first.index - 1,
            };
            self.persist_log(before, &rest[..next], out);
            rest = &rest[next..];
        }
        if entries.is_empty() {
            self.persist_log(u64::MAX, &[], out);
        }
    }

    /// Writes entries, and the hard state where it changed, with a commit index up to `most`.
    fn persist_log(&mut self, most: u64, entries: &[Entry], out: &mut Out) {
        let eraftpb::HardState { term, vote, commit } = self.node.store().hard_state;
        let hard_state = HardState {
            term: Term(term),
            vote: (vote != INVALID_ID).then_some(NodeId(vote)),
            // A higher one may have been written before.
            commit: Index(commit.min(most)).max(self.hard_state.commit),
            ..HardState::default()
        };
        let hard_state = match () {
            () if is_planted(Bug::TermNotPersisted) => self.hard_state,
            () if is_planted(Bug::VoteNotPersisted) => HardState { vote: None, ..hard_state },
            () => hard_state,
        };
        let changed = (hard_state != self.hard_state).then_some(hard_state);
        if changed.is_none() && entries.is_empty() {
            return;
        }
        let votes = |it: &HardState| (it.term, it.vote);
        let is_vote = votes(&hard_state) != votes(&self.hard_state);
        self.hard_state = hard_state;
        let entries: Entries = entries.iter().map(words::entry_of).collect();
        self.persist(Write::Log { hard_state: changed, entries }, out);
        if is_vote {
            self.vote_written = self.issued;
        }
    }

    fn persist(&mut self, write: Write, out: &mut Out) {
        self.issued = PersistId(self.issued.0 + 1);
        out.push(Output::Persist { id: self.issued, write });
    }

    /// A snapshot from the leader takes the place of log and state.
    fn install(&mut self, snapshot: eraftpb::Snapshot, out: &mut Out) {
        let ours = words::snapshot_of(&snapshot);
        self.node.mut_store().restart(snapshot);
        self.applied = ours.meta.last;
        self.configuration = ours.meta.configuration.clone();
        let keep_from = self.applied.index.next();
        let write = Write::Snapshot { snapshot: ours.clone(), keep_from, discard_log: true };
        self.persist(write, out);
        out.push(Output::Report(Box::new(Event::SnapshotInstalled { last: self.applied })));
        out.push(Output::Install(ours));
    }

    /// Tells raft-rs which of its readies are durable, and applies what that commits.
    fn tell_durable(&mut self) {
        let durable = match is_planted(Bug::CountsUnsynced) {
            true => self.issued,
            false => self.durable,
        };
        while self.held.front().is_some_and(|held| held.after <= durable)
            && let Some(held) = self.held.pop_front()
        {
            self.node.on_persist_ready(held.number);
            if let Some(index) = held.snapshot {
                self.node.advance_apply_to(index);
            }
        }
    }

    fn apply(&mut self, entries: &[Entry], out: &mut Out) {
        let Some(last) = entries.last() else { return };
        let ours: Entries = entries.iter().map(words::entry_of).collect();
        self.applied = LogId::new(Term(last.term), Index(last.index));
        for entry in entries {
            if entry.get_entry_type() != EntryType::EntryNormal {
                self.apply_configuration(words::decoded(&entry.context));
            }
        }
        out.push(Output::Commit(ours));
        self.node.advance_apply_to(last.index);
    }

    /// A change of voters takes effect. A leader without a vote in it leads no longer: raft-rs
    /// leaves that to whoever drives it.
    fn apply_configuration(&mut self, to: Configuration) {
        let is_cut_short = to.is_joint() && is_planted(Bug::JointNotApplied);
        let to = if is_cut_short { words::left(&to) } else { to };
        let mut steps = vec![words::step_between(&self.configuration, &to)];
        if is_cut_short {
            let all = steps.remove(0).changes;
            steps.extend(
                all.into_iter()
                    .map(|it| eraftpb::ConfChangeV2 { changes: vec![it], ..Default::default() }),
            );
        }
        for step in steps {
            self.node.apply_conf_change(&step).expect("a leader proposed it as possible");
        }
        self.configuration = to;
        let raft = &mut self.node.raft;
        if raft.state == StateRole::Leader && !self.configuration.is_voter(self.id) {
            raft.become_follower(raft.term, INVALID_ID);
        }
    }

    /// raft-rs draws election time-outs from a generator of the thread; here all comes from the
    /// seed. They are put in place after every step, and drawn anew where raft-rs may have done so:
    /// when term, role or leader changed.
    fn pin_timeout(&mut self) {
        let raft = &mut self.node.raft;
        let standing = (raft.term, raft.state, raft.leader_id);
        if self.standing != Some(standing) {
            self.standing = Some(standing);
            let spread = (self.timing.election_most - self.timing.election_least) as u64;
            self.timeout = self.timing.election_least + self.prng.below(spread) as usize;
        }
        raft.set_randomized_election_timeout(self.timeout);
    }
}

/// What was on the disk, as raft-rs reads it. The first entry stands for all before it where the
/// log reaches back behind the snapshot: its term is known.
fn log_of(found: &Recovered) -> (Log, HardState) {
    let Recovered { hard_state, snapshot, entries } = found;
    let mut entries: VecDeque<Entry> = entries.iter().map(words::entry_from).collect();
    if is_planted(Bug::EntriesLostAtRestart) && entries.len() > 1 {
        entries.pop_back();
    }
    let under = (snapshot.last.index.0, snapshot.last.term.0);
    let base = match (entries.front(), entries.back()) {
        (Some(first), Some(last)) if first.index <= under.0 && last.index >= under.0 => {
            (first.index, first.term)
        }
        (Some(first), _) if first.index == under.0 + 1 => under,
        // The snapshot was saved ahead of the log.
        _ => {
            entries.clear();
            under
        }
    };
    if entries.front().is_some_and(|first| first.index == base.0) {
        entries.pop_front();
    }
    let last = base.0 + entries.len() as u64;
    let commit = hard_state.commit.0.max(under.0);
    let commit = if is_planted(Bug::EntriesLostAtRestart) { commit.min(last) } else { commit };
    let log = Log {
        hard_state: eraftpb::HardState {
            term: hard_state.term.0,
            vote: hard_state.vote.map_or(INVALID_ID, |vote| vote.0),
            commit,
        },
        voters: words::conf_state_of(&snapshot.configuration),
        base,
        entries,
        snapshot: None,
        is_snapshot_wanted: Cell::new(false),
    };
    (log, *hard_state)
}

fn config_of(seat: &Seat, timing: &Timing, applied: u64, batch_append: bool) -> Config {
    let is_by_lease = is_planted(Bug::ReadWithoutRound);
    Config {
        id: seat.id.0,
        election_tick: timing.election_least,
        heartbeat_tick: HEARTBEAT_TICKS,
        applied: if is_planted(Bug::AppliedForgotten) { 0 } else { applied },
        max_size_per_msg: seat.options.append_bytes_max as u64,
        max_inflight_msgs: seat.options.appends_in_flight_max,
        check_quorum: true,
        pre_vote: true,
        max_election_tick: timing.election_most,
        read_only_option: match is_by_lease {
            true => ReadOnlyOption::LeaseBased,
            false => ReadOnlyOption::Safe,
        },
        batch_append,
        ..Config::default()
    }
}
