//! Groups of which this node keeps no replica, asked through it.
//!
//! Commands are proposed as by a replica: `(origin, boot, sequence)` makes a repetition harmless,
//! so that they go again, to whoever leads, until somebody answers. Questions go to any replica,
//! which answers from a round of its own. The replica that leads answers commands when it applies
//! them.
//!
//! Whom to ask: the leader that the record names; whom a replica names that does not lead; and,
//! when whoever was asked is silent, the next one.

use super::group::{Home, PROPOSALS_MAX, READS_MAX};
use super::{Answer, Ask, Failure, Matter, Message, Output};
use crate::base::{GroupId, NodeId, Now, Outputs, RequestId};
use crate::state::GroupRecord;
use crate::waiting::{COMMAND_BYTES_MAX, Proposals, RETRY_AFTER_MIN};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// Whoever was asked and says nothing this long is not asked again before the others were: time for
/// a round over the world, and for a disk that is slow.
const SILENCE: Duration = Duration::from_millis(1_000);

/// A question that a replica cannot answer waits this long before the next one is asked.
const TURNED_AWAY_PAUSE: Duration = Duration::from_millis(20);

/// All groups that are asked from afar. Each stays as long as the record has it: its numbers are
/// given once.
#[derive(Clone, Debug)]
pub(super) struct Afar {
    home: Home,
    groups: BTreeMap<GroupId, Remote>,
    /// Those of which something waits for an answer.
    restless: BTreeSet<GroupId>,
    /// Those with something to send at the next flush.
    waiting: BTreeSet<GroupId>,
}

impl Afar {
    pub(super) fn new(home: Home) -> Afar {
        let (groups, restless, waiting) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        Afar { home, groups, restless, waiting }
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = GroupId> + '_ {
        self.groups.keys().copied()
    }

    pub(super) fn is_restless(&self) -> bool {
        !self.restless.is_empty()
    }

    /// A local client asks a group that the record has so.
    pub(super) fn ask(
        &mut self,
        now: Now,
        request: RequestId,
        (record, ask): (GroupRecord, Ask),
        out: &mut Outputs<Output>,
    ) {
        let id = GroupId(record.id);
        let home = self.home;
        let remote = self.groups.entry(id).or_insert_with(|| Remote::new(home, record));
        if let Err(failure) = remote.ask(now, request, ask) {
            fail(request, failure, out);
        }
        self.refresh(id);
    }

    /// The record says who is to lead.
    pub(super) fn on_record(&mut self, record: &GroupRecord) {
        let id = GroupId(record.id);
        if let Some(remote) = self.groups.get_mut(&id)
            && remote.record != *record
        {
            remote.record = record.clone();
            remote.begin_anew(None);
            self.refresh(id);
        }
    }

    /// The record has the group no more.
    pub(super) fn close(&mut self, id: GroupId, out: &mut Outputs<Output>) {
        if let Some(mut remote) = self.groups.remove(&id) {
            remote.abandon(Failure::NoGroup, Failure::NoGroup, out);
        }
        self.restless.remove(&id);
        self.waiting.remove(&id);
    }

    /// Gives up whoever waits: the process stops. A command may be in a log.
    pub(super) fn stop(&mut self, out: &mut Outputs<Output>) {
        for remote in self.groups.values_mut() {
            remote.abandon(Failure::TimedOut, Failure::Stopping, out);
        }
    }

    pub(super) fn cancel(&mut self, request: RequestId) {
        for id in self.restless.clone() {
            if let Some(remote) = self.groups.get_mut(&id) {
                remote.cancel(request);
            }
            self.refresh(id);
        }
    }

    /// These commands were not appended there.
    pub(super) fn on_refused(
        &mut self,
        now: Now,
        from: NodeId,
        refused: Refused<'_>,
        out: &mut Outputs<Output>,
    ) {
        let id = refused.group;
        let Some(remote) = self.groups.get_mut(&id).filter(|remote| remote.has(from)) else {
            return;
        };
        remote.on_refused(now, from, refused, out);
        self.refresh(id);
    }

    /// A replica answered a command or a question of this start of this process.
    pub(super) fn on_answer(
        &mut self,
        now: Now,
        from: NodeId,
        answered: Answered,
        out: &mut Outputs<Output>,
    ) {
        let Answered { group: id, boot, matter, answer } = answered;
        // Numbers begin anew with each start.
        let is_ours = boot == self.home.boot;
        let Some(remote) = self.groups.get_mut(&id).filter(|remote| remote.has(from) && is_ours)
        else {
            return;
        };
        remote.silent_since = None;
        match matter {
            Matter::Command(sequence) => remote.on_settled(now, from, (sequence, answer), out),
            Matter::Question(number) => remote.on_told(now, from, (number, answer), out),
        }
        self.refresh(id);
    }

    pub(super) fn flush(&mut self, now: Now, out: &mut Outputs<Output>) {
        for id in core::mem::take(&mut self.waiting) {
            if let Some(remote) = self.groups.get_mut(&id) {
                remote.flush(now, out);
            }
        }
    }

    /// Whatever has waited too long is tried again or given up.
    pub(super) fn do_chores(&mut self, now: Now, out: &mut Outputs<Output>) {
        for id in self.restless.clone() {
            if let Some(remote) = self.groups.get_mut(&id) {
                remote.do_chores(now, out);
            }
            self.refresh(id);
        }
    }

    fn refresh(&mut self, id: GroupId) {
        let Some(remote) = self.groups.get(&id) else { return };
        if remote.is_restless() {
            self.restless.insert(id);
        } else {
            self.restless.remove(&id);
        }
        if remote.proposals.has_unsent() || !remote.unasked.is_empty() {
            self.waiting.insert(id);
        }
    }
}

/// Commands that a replica did not append.
#[derive(Clone, Copy)]
pub(super) struct Refused<'a> {
    pub(super) group: GroupId,
    pub(super) sequences: &'a [u64],
    /// For want of room.
    pub(super) full: bool,
    /// Who leads, as that replica knows.
    pub(super) leader: Option<NodeId>,
}

/// What a replica says to a command or a question.
pub(super) struct Answered {
    pub(super) group: GroupId,
    /// Of the process that asked.
    pub(super) boot: u64,
    pub(super) matter: Matter,
    pub(super) answer: Answer,
}

/// One group that is asked from afar.
#[derive(Clone, Debug)]
struct Remote {
    home: Home,
    record: GroupRecord,
    proposals: Proposals,
    /// By number.
    questions: BTreeMap<u64, Question>,
    last_number: u64,
    /// Questions to send at the next flush.
    unasked: BTreeSet<u64>,
    /// Whom to ask, when that is not whom the record names.
    found: Option<NodeId>,
    /// Something was sent then, and nothing was heard since.
    silent_since: Option<Now>,
}

#[derive(Clone, Debug)]
struct Question {
    request: RequestId,
    query: Bytes,
    is_local: bool,
    asked: Now,
    /// When it is sent again; `None` until it was sent.
    again: Option<Now>,
}

/// What comes in.
impl Remote {
    fn new(home: Home, record: GroupRecord) -> Remote {
        Remote {
            home,
            record,
            proposals: Proposals::new(home.id, home.boot, PROPOSALS_MAX),
            questions: BTreeMap::new(),
            last_number: 0,
            unasked: BTreeSet::new(),
            found: None,
            silent_since: None,
        }
    }

    fn ask(&mut self, now: Now, request: RequestId, ask: Ask) -> Result<(), Failure> {
        let (query, is_local) = match ask {
            Ask::Propose(command) => return self.proposals.add(now, Some(request), command),
            Ask::Query(query) => (query, false),
            Ask::QueryLocal(query) => (query, true),
        };
        if self.questions.len() >= READS_MAX {
            return Err(Failure::Busy { retry_after: RETRY_AFTER_MIN });
        }
        if query.len() > COMMAND_BYTES_MAX {
            return Err(Failure::TooLarge);
        }
        self.last_number += 1;
        let question = Question { request, query, is_local, asked: now, again: None };
        self.questions.insert(self.last_number, question);
        self.unasked.insert(self.last_number);
        Ok(())
    }

    fn is_restless(&self) -> bool {
        !self.proposals.is_empty() || !self.questions.is_empty()
    }

    fn has(&self, node: NodeId) -> bool {
        self.record.replicas.contains(&node.0)
    }

    fn cancel(&mut self, request: RequestId) {
        self.proposals.cancel(request);
        self.questions.retain(|_, question| question.request != request);
        self.unasked.retain(|number| self.questions.contains_key(number));
    }

    fn abandon(&mut self, commands: Failure, questions: Failure, out: &mut Outputs<Output>) {
        for request in self.proposals.abandon() {
            fail(request, commands, out);
        }
        self.unasked.clear();
        for question in core::mem::take(&mut self.questions).into_values() {
            fail(question.request, questions, out);
        }
    }
}

/// Whom to ask.
impl Remote {
    fn asked(&self) -> Option<NodeId> {
        let named = self.record.leader.or(self.record.replicas.first().copied());
        self.found.or(named.map(NodeId))
    }

    fn next_after(&self, node: NodeId) -> Option<NodeId> {
        let replicas = &self.record.replicas;
        let place = replicas.iter().position(|id| *id == node.0).map_or(0, |place| place + 1);
        replicas.get(place).or(replicas.first()).copied().map(NodeId)
    }

    /// All that waits goes to another: it may be known, or is whom the record names.
    fn begin_anew(&mut self, found: Option<NodeId>) {
        self.found = found;
        self.silent_since = None;
        self.proposals.requeue_all();
        self.unasked.extend(self.questions.keys().copied());
    }

    /// `node` does not lead, or cannot answer; it may know who leads.
    fn turn_from(&mut self, node: NodeId, leader: Option<NodeId>) {
        match leader.filter(|leader| self.has(*leader)) {
            Some(leader) => self.found = Some(leader),
            None if self.asked() == Some(node) => self.found = self.next_after(node),
            None => {}
        }
    }
}

/// What leaves, and what comes of it.
impl Remote {
    fn flush(&mut self, now: Now, out: &mut Outputs<Output>) {
        let Some(to) = self.asked() else { return };
        let (group, boot) = (GroupId(self.record.id), self.home.boot);
        let mut messages: Vec<Message> = (self.proposals.take_messages(now, false).into_iter())
            .map(|proposals| Message::Propose { group, proposals })
            .collect();
        for number in core::mem::take(&mut self.unasked) {
            let Some(question) = self.questions.get_mut(&number) else { continue };
            question.again = Some(now + SILENCE);
            let (query, is_local) = (question.query.clone(), question.is_local);
            messages.push(Message::Question { group, boot, number, query, is_local });
        }
        if !messages.is_empty() {
            self.silent_since.get_or_insert(now);
        }
        for message in messages {
            out.push(Output::Send { to, after: None, message });
        }
    }

    fn on_refused(
        &mut self,
        now: Now,
        from: NodeId,
        refused: Refused<'_>,
        out: &mut Outputs<Output>,
    ) {
        self.silent_since = None;
        if refused.full {
            for request in self.proposals.refused_for_space(now, refused.sequences) {
                fail(request, Failure::NoSpace, out);
            }
            return;
        }
        self.turn_from(from, refused.leader);
        self.proposals.refused(now, refused.sequences);
    }

    fn on_settled(
        &mut self,
        now: Now,
        from: NodeId,
        (sequence, answer): (u64, Answer),
        out: &mut Outputs<Output>,
    ) {
        let result = match answer {
            Answer::Elsewhere => {
                self.turn_from(from, None);
                return self.proposals.refused(now, &[sequence]);
            }
            Answer::Said(bytes) => Ok(bytes),
            // It happened; what was answered is not known.
            Answer::Gone => Err(Failure::TimedOut),
            Answer::Busy { retry_after } => Err(Failure::Busy { retry_after }),
            Answer::TooLong => Err(Failure::TimedOut),
            Answer::Lost => Err(Failure::Lost),
        };
        // Whoever answers commands leads.
        self.found = Some(from);
        if let Some(request) = self.proposals.settle(self.home.boot, sequence) {
            out.push(Output::Reply { id: request, result });
        }
    }

    fn on_told(
        &mut self,
        now: Now,
        from: NodeId,
        (number, answer): (u64, Answer),
        out: &mut Outputs<Output>,
    ) {
        let result = match answer {
            Answer::Said(bytes) => Ok(bytes),
            Answer::Busy { retry_after } => Err(Failure::Busy { retry_after }),
            Answer::TooLong => Err(Failure::TooLarge),
            Answer::Lost => Err(Failure::Lost),
            Answer::Elsewhere | Answer::Gone => {
                self.turn_from(from, None);
                if let Some(question) = self.questions.get_mut(&number) {
                    question.again = Some(now + TURNED_AWAY_PAUSE);
                }
                return;
            }
        };
        self.unasked.remove(&number);
        if let Some(question) = self.questions.remove(&number) {
            out.push(Output::Reply { id: question.request, result });
        }
    }

    fn do_chores(&mut self, now: Now, out: &mut Outputs<Output>) {
        if self.silent_since.is_some_and(|since| since + SILENCE <= now) {
            let next = self.asked().and_then(|asked| self.next_after(asked));
            self.begin_anew(next);
        }
        self.proposals.requeue_silent(now);
        let is_due = |question: &Question| question.again.is_some_and(|again| again <= now);
        let due = self.questions.iter().filter(|(_, question)| is_due(question));
        self.unasked.extend(due.map(|(number, _)| *number));
        let timeout = self.home.request_timeout;
        for request in self.proposals.expire(now, timeout) {
            fail(request, Failure::TimedOut, out);
        }
        // Numbers are given in the order in which they were asked.
        while let Some(first) = self.questions.first_entry()
            && first.get().asked + timeout <= now
        {
            fail(first.remove().request, Failure::TimedOut, out);
        }
        self.unasked.retain(|number| self.questions.contains_key(number));
    }
}

fn fail(id: RequestId, failure: Failure, out: &mut Outputs<Output>) {
    out.push(Output::Reply { id, result: Err(failure) });
}
